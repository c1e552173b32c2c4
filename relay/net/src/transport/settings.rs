//! Settings of the QUIC library.

use std::sync::Arc;

use quinn::congestion::{BbrConfig, CubicConfig};
use quinn::{ClientConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt};

use crate::config::{CongestionControl, LinkConfig};
use crate::congestion::LiveConfig;
use crate::tls::Credentials;

/// Handshakes that wait to be looked at, and the bytes that are kept of them. Beyond them, the library
/// refuses more.
const INCOMING_MAX: usize = 256;
const INCOMING_BYTES_MAX: u64 = 16 << 10;
const INCOMING_TOTAL_BYTES_MAX: u64 = 1 << 20;

pub(crate) fn server(credentials: &Credentials, link: &LinkConfig) -> ServerConfig {
    let mut config = ServerConfig::with_crypto(credentials.server());
    config.transport_config(Arc::new(transport(link)));
    config.max_incoming(INCOMING_MAX);
    config.incoming_buffer_size(INCOMING_BYTES_MAX);
    config.incoming_buffer_size_total(INCOMING_TOTAL_BYTES_MAX);
    config
}

pub(crate) fn client(credentials: &Credentials, link: &LinkConfig) -> ClientConfig {
    let mut config = ClientConfig::new(credentials.client());
    config.transport_config(Arc::new(transport(link)));
    config
}

fn transport(link: &LinkConfig) -> TransportConfig {
    let idle = link.idle_timeout.as_millis().min(u128::from(u32::MAX));
    let window = VarInt::from_u32(link.receive_window_bytes);
    let mut config = TransportConfig::default();
    config
        .max_concurrent_uni_streams(VarInt::from_u32(link.streams_max))
        // Nothing of the protocol uses them.
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(idle as u32))))
        .keep_alive_interval(Some(link.keep_alive))
        .initial_rtt(link.initial_rtt)
        .initial_mtu(link.initial_mtu)
        .receive_window(window)
        // A frame is written in one go.
        .stream_receive_window(VarInt::from_u32(link.frame_bytes_max as u32 + 1))
        .send_window(u64::from(link.receive_window_bytes))
        // Each frame's stream has a priority of its own. Without fairness, a stream that the end of a
        // packet interrupts would go on before streams of higher priority.
        .send_fairness(true)
        .datagram_receive_buffer_size(Some(link.datagram_buffer_bytes))
        .datagram_send_buffer_size(link.datagram_buffer_bytes);
    match link.congestion {
        CongestionControl::Live => config.congestion_controller_factory(Arc::new(LiveConfig)),
        CongestionControl::Cubic => {
            config.congestion_controller_factory(Arc::new(CubicConfig::default()))
        }
        CongestionControl::Bbr => {
            config.congestion_controller_factory(Arc::new(BbrConfig::default()))
        }
    };
    config
}
