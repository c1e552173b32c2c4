//! Which stream of its publisher a packet is of.

use std::sync::LazyLock;

use lightstick_sfu_core::binding::Binding;
use lightstick_sfu_core::demux::extensions;
use lightstick_sfu_core::offer::Offer;
use lightstick_types::Role;

const OFFER: &str = "v=0\na=group:BUNDLE a v\na=ice-ufrag:abcd\na=ice-pwd:0123456789012345678901\n\
    a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:\
    99:AA:BB:CC:DD:EE:FF\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 96\na=mid:a\na=sendonly\na=rtcp-mux\na=rtpmap:96 opus/48000/2\n\
    a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96 97\na=mid:v\na=sendonly\na=rtpmap:96 VP8/90000\n\
    a=rtpmap:97 rtx/90000\na=fmtp:97 apt=96\na=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\n\
    a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\n\
    a=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id\n\
    a=rid:h send\na=rid:l send\na=simulcast:send h;l\n";

static BINDING: LazyLock<Binding> = LazyLock::new(|| {
    let offer = Offer::read(OFFER, Role::Publisher).expect("an offer");
    Binding::new(&offer)
});

/// A packet's header extensions stay within the packet, and its place has what its payload type
/// says.
pub fn binding(packet: &[u8]) {
    let bytes: usize = extensions(packet).map(|(_, value)| value.len() + 1).sum();
    assert!(bytes <= packet.len());
    if let Some(place) = BINDING.place(packet) {
        let format = BINDING.format(place.stream.track, packet[1] & 0x7f);
        assert_eq!(format.is_some(), !place.repair);
    }
}
