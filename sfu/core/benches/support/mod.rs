//! A publisher and its viewers, for the benchmarks.

use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use bytes::Bytes;
use lightstick_sfu_core::downtrack::DownTrack;
use lightstick_sfu_core::egress::{Accepted, Egress, ExtensionIds, Fit, Place, StreamConfig};
use lightstick_sfu_core::layers::LayerSet;
use lightstick_sfu_core::packet::{Format, MediaPacket, PacketExtensions};
use lightstick_sfu_core::srtp::{self, End, Profile, RtcpOpener, Sealer};
use lightstick_sfu_core::uptrack::{Incoming, Source, SourceConfig};
use lightstick_types::{Bitrate, Codec, Layer, LayerChoice, NodeId, SourceId, TrackId, TrackKind};

/// As most packets of a video are, in bytes.
pub(crate) const PAYLOAD: usize = 1_100;
/// What the viewers' media is sent on.
pub(crate) const SSRC: u32 = 0x0B0B_0001;
const RESEND_SSRC: u32 = 0x0B0B_0002;
/// Of the viewer that reports.
const PEER: u32 = 0x0A0A_0001;
/// 330 packets a second.
pub(crate) const APART: Duration = Duration::from_micros(3_030);
const PACKETS_PER_FRAME: u64 = 11;
/// The server's default.
const RESEND_PACKETS: usize = 512;
/// So many packets from the start, a stream still says which section it belongs to.
const WARM_UP: usize = 256;

const H264: Format = Format {
    codec: Codec::H264,
    profile: 0x42_E0_1F,
};
/// A whole IDR picture, and the middle of another one (RFC 6184).
const KEYFRAME: [u8; 4] = [0x65, 0xB8, 0x00, 0x04];
const MIDDLE: [u8; 4] = [0x7C, 0x01, 0xC3, 0xD8];

/// A publisher's packets, one after the other, in virtual time.
pub(crate) struct Feed {
    source: Source,
    start: Instant,
    sequence: u64,
    payloads: [Bytes; 2],
}

impl Feed {
    pub(crate) fn new(start: Instant) -> Self {
        let config = SourceConfig {
            bitrate_max: Bitrate(1_000_000_000),
            keyframe_interval: Duration::from_secs(1),
            playout_delay: Some((0, 40)),
        };
        let payload = |head: &[u8]| {
            let mut payload = head.to_vec();
            payload.resize(PAYLOAD, 7);
            payload.into()
        };
        Self {
            source: Source::new(SourceId::new(NodeId(0), 1), config, start),
            start,
            sequence: 0,
            payloads: [payload(&KEYFRAME), payload(&MIDDLE)],
        }
    }

    /// The next packet as it comes from the socket, opened.
    pub(crate) fn incoming(&mut self) -> Incoming {
        let sequence = self.sequence;
        self.sequence += 1;
        Incoming {
            track: TrackId::FIRST_VIDEO,
            layer: Layer::High,
            format: H264,
            sequence,
            timestamp: (sequence / PACKETS_PER_FRAME) as u32 * 3_000,
            marker: (sequence + 1).is_multiple_of(PACKETS_PER_FRAME),
            extensions: PacketExtensions::default(),
            payload: self.payloads[usize::from(sequence > 0)].clone(),
            report: None,
            received_at: self.start + APART * sequence as u32,
        }
    }

    /// The next packet as viewers get it.
    pub(crate) fn packet(&mut self) -> Arc<MediaPacket> {
        let incoming = self.incoming();
        let (packet, _) = self.ingest(incoming);
        packet
    }

    /// Takes in what [`incoming`](Self::incoming) gave.
    pub(crate) fn ingest(&mut self, incoming: Incoming) -> (Arc<MediaPacket>, Instant) {
        let at = incoming.received_at;
        let taken = self.source.ingest(incoming, UNIX_EPOCH);
        let (packet, _) = taken.expect("the publisher keeps to its limits");
        (Arc::new(packet), at)
    }
}

/// One viewer's media and its link.
pub(crate) struct Viewer {
    pub(crate) egress: Egress,
    pub(crate) track: DownTrack,
}

impl Viewer {
    /// A viewer, and the keys of its browser.
    pub(crate) fn new(profile: Profile, start: Instant) -> (Self, Peer) {
        let (ours, theirs) = (keys(profile, End::Server), keys(profile, End::Client));
        let config = StreamConfig {
            kind: TrackKind::Video,
            mid: "1".into(),
            cname: "lightstick".into(),
            ssrc: SSRC,
            resend_ssrc: Some(RESEND_SSRC),
            clock_rate: 90_000,
            accepted: vec![Accepted {
                format: H264,
                payload_type: 96,
                resend_payload_type: Some(97),
            }],
            extensions: ExtensionIds {
                mid: Some(4),
                transport_sequence: Some(3),
                playout_delay: Some(5),
                capture_time: Some(6),
                ..ExtensionIds::default()
            },
        };
        let mut track = DownTrack::new(TrackId::FIRST_VIDEO, 90_000, LayerChoice::Auto);
        track.set_live([Layer::High].into_iter().collect::<LayerSet>());
        let viewer = Self {
            egress: Egress::new(ours, [config], RESEND_PACKETS, start, UNIX_EPOCH),
            track,
        };
        (viewer, Peer(theirs.0))
    }

    /// Forwards a packet: chosen, numbered, written and sealed at the end of `out`.
    #[inline]
    pub(crate) fn send(&mut self, packet: &MediaPacket, out: &mut Vec<u8>) {
        let rewritten = self.track.forward(packet, 0).expect("it follows on");
        let fit = Fit::Payload(PAYLOAD);
        let sent = self.egress.media(
            Place::Video(0),
            packet,
            &rewritten,
            fit,
            packet.received_at,
            out,
        );
        sent.expect("it was negotiated");
    }
}

/// Many viewers of one feed, some while after they joined.
pub(crate) fn watching(profile: Profile, viewers: usize) -> (Feed, Vec<Viewer>, Vec<u8>) {
    // Virtual time starts somewhere.
    #[allow(clippy::disallowed_methods)]
    let start = Instant::now();
    let mut feed = Feed::new(start);
    let mut crowd: Vec<_> = (0..viewers)
        .map(|_| Viewer::new(profile, start).0)
        .collect();
    let mut out = Vec::with_capacity(1 << 16);
    for _ in 0..WARM_UP {
        let packet = feed.packet();
        for viewer in &mut crowd {
            out.clear();
            viewer.send(&packet, &mut out);
        }
    }
    (feed, crowd, out)
}

pub(crate) fn keys(profile: Profile, end: End) -> (Sealer, RtcpOpener) {
    let material: Vec<u8> = (0..profile.material_len() as u8).collect();
    srtp::keys(&material, profile, end).expect("of the right length")
}

/// The browser at the other end, as far as it reports.
pub(crate) struct Peer(Sealer);

impl Peer {
    /// What a browser sends ten times a second, sealed: how its stream arrives, two packets that
    /// it misses, and when the last packets came, of which `first` is the transport-wide number
    /// and `count` says how many.
    pub(crate) fn compound(&mut self, lost: u16, first: u16, count: u8) -> Vec<u8> {
        let mut out = vec![0x81, 201, 0, 7];
        out.extend(PEER.to_be_bytes());
        out.extend(SSRC.to_be_bytes());
        out.extend([0; 20]);
        out.extend([0x81, 205, 0, 3]);
        out.extend(PEER.to_be_bytes());
        out.extend(SSRC.to_be_bytes());
        out.extend(lost.to_be_bytes());
        out.extend([0, 1]);
        // draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1: one run of packets
        // that came with a small delta each.
        let mut feedback = vec![0x8F, 205, 0, 0];
        feedback.extend(PEER.to_be_bytes());
        feedback.extend(SSRC.to_be_bytes());
        feedback.extend(first.to_be_bytes());
        feedback.extend(u16::from(count).to_be_bytes());
        let sixty_fourths = u32::from(first) * APART.as_micros() as u32 / 64_000;
        feedback.extend((sixty_fourths << 8 | u32::from(count)).to_be_bytes());
        feedback.extend((0x2000 | u16::from(count)).to_be_bytes());
        feedback.resize(feedback.len() + usize::from(count), 12);
        feedback.resize(feedback.len().next_multiple_of(4), 0);
        let words = (feedback.len() / 4 - 1) as u16;
        feedback[2..4].copy_from_slice(&words.to_be_bytes());
        out.extend(feedback);
        self.0.seal_rtcp(&mut out, 0).expect("indices are left");
        out
    }
}
