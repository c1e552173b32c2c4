//! A packet on its way to a viewer allocates nothing: thousands of viewers times hundreds of
//! packets a second would pay for it.
//!
//! Alone in its binary, because it counts what the whole process allocates.

#![allow(clippy::disallowed_methods)] // Virtual time starts somewhere.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant, UNIX_EPOCH};

use lightstick_sfu_core::codec;
use lightstick_sfu_core::downtrack::DownTrack;
use lightstick_sfu_core::egress::{
    Accepted, Egress, ExtensionIds, Fit, Heard, Place, StreamConfig,
};
use lightstick_sfu_core::history::History;
use lightstick_sfu_core::layers::{LayerRates, LayerSet};
use lightstick_sfu_core::paced::{PacedTrack, Step};
use lightstick_sfu_core::packet::{Format, MediaPacket, PacketExtensions};
use lightstick_sfu_core::srtp::{self, End, Profile};
use lightstick_types::{
    Bitrate, Codec, Layer, LayerChoice, NodeId, SourceId, StreamId, TrackId, TrackKind,
};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, SeqCst);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const VP8: Format = Format {
    codec: Codec::Vp8,
    profile: 0,
};
const PACKETS: u64 = 1_000;

fn packet(start: Instant, sequence: u64) -> Arc<MediaPacket> {
    let first = sequence.is_multiple_of(10);
    // A VP8 descriptor with a picture id and two temporal layers; a keyframe at the very start.
    let picture = (sequence / 10) as u8;
    let layer = if picture.is_multiple_of(2) { 0 } else { 0x60 };
    let mut payload = vec![0x80, 0xE0, 0x80, picture & 0x7F, picture / 2, layer];
    payload[0] |= if first { 0x10 } else { 0 };
    payload.push(u8::from(sequence != 0));
    payload.resize(1_100, 7);
    let now = start + Duration::from_millis(sequence);
    Arc::new(MediaPacket {
        source: SourceId::new(NodeId(0), 1),
        stream: StreamId {
            track: TrackId::FIRST_VIDEO,
            layer: Layer::High,
        },
        format: VP8,
        sequence,
        timestamp: (sequence / 10) as u32 * 3_000,
        marker: sequence % 10 == 9,
        info: codec::inspect(Codec::Vp8, &payload).unwrap_or_default(),
        extensions: PacketExtensions {
            playout_delay: Some((0, 0)),
            captured_at: Some(UNIX_EPOCH),
            ..PacketExtensions::default()
        },
        payload: payload.into(),
        primary: None,
        received_at: now,
        sampled_at: now,
    })
}

#[test]
fn media_resends_and_reports_allocate_nothing() -> Result<(), srtp::KeyError> {
    let start = Instant::now();
    let packets: Vec<_> = (0..PACKETS)
        .map(|sequence| packet(start, sequence))
        .collect();
    for profile in [Profile::Aes128Gcm, Profile::Aes256Gcm] {
        let material: Vec<u8> = (0..profile.material_len() as u8).collect();
        let (mut peer, _) = srtp::keys(&material, profile, End::Client)?;
        let config = StreamConfig {
            kind: TrackKind::Video,
            mid: "0".into(),
            cname: "show".into(),
            ssrc: 1,
            resend_ssrc: Some(2),
            clock_rate: 90_000,
            accepted: vec![Accepted {
                format: VP8,
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
        let keys = srtp::keys(&material, profile, End::Server)?;
        let mut egress = Egress::new(keys, [config], 512, start, UNIX_EPOCH);
        let [track, mut thinned, newcomer] = [(); 3].map(|()| {
            let mut track = DownTrack::new(TrackId::FIRST_VIDEO, 90_000, LayerChoice::Auto);
            track.set_live([Layer::High].into_iter().collect::<LayerSet>());
            track
        });
        let mut rates = LayerRates::default();
        let half = (500_000, 15.0);
        rates.set(Layer::High, [half, half, (0, 0.0), (0, 0.0)]);
        thinned.on_estimate(start, Bitrate::kbps(600), &rates);
        let mut newcomer = PacedTrack::new(newcomer, 90_000, 0, start);
        let mut track = PacedTrack::new(track, 90_000, 0, start);
        let (mut history, mut heard) = (History::default(), Heard::default());
        history.push(&packets[0], 0);
        heard.lost.reserve(64);
        let mut out = Vec::with_capacity(1 << 16);
        let mut reports: Vec<Vec<u8>> = Vec::new();
        for number in 0..PACKETS as u16 {
            let mut nack = vec![0x81, 205, 0, 3, 0, 0, 0, 9, 0, 0, 0, 1];
            nack.extend(number.to_be_bytes());
            nack.extend([0, 1]);
            peer.seal_rtcp(&mut nack, 0).unwrap_or_default();
            reports.push(nack);
        }

        let before = ALLOCATIONS.load(SeqCst);
        let (mut sent, mut thinned_sent, mut resent, mut reported) = (0, 0, 0, 0);
        for (packet, nack) in packets.iter().zip(&mut reports) {
            history.push(packet, 0);
            out.clear();
            thinned_sent += u64::from(thinned.forward(packet, 0).is_some());
            if let Some(rewritten) = track.live(packet, 0, false, packet.received_at) {
                let fit = Fit::Payload(1_110);
                sent += u64::from(
                    egress
                        .media(
                            Place::Video(0),
                            packet,
                            &rewritten,
                            fit,
                            packet.received_at,
                            &mut out,
                        )
                        .is_ok(),
                );
                track.sent(packet.received_at, packet.payload.len() as u64);
            }
            if egress.hear(nack, packet.received_at, &mut heard).is_ok() {
                for &lost in &heard.lost {
                    let again = egress.resend(lost, &history, packet.received_at, &mut out);
                    resent += u64::from(again.is_ok());
                }
            }
            reported += u64::from(egress.report(packet.received_at, &mut out));
        }
        let mut replayed = 0;
        let mut now = start + Duration::from_millis(PACKETS);
        if let Some(begin) = history.start(TrackId::FIRST_VIDEO.layer(Layer::High), now) {
            newcomer.start(
                TrackId::FIRST_VIDEO.layer(Layer::High),
                begin,
                &history,
                now,
            );
        }
        while let Some(at) = newcomer.deadline() {
            now = at.max(now);
            newcomer.begin_run(now, &history);
            let _ = newcomer.longest(&history);
            while let Step::Packet(packet, _) = newcomer.next(now, &history) {
                newcomer.sent(now, packet.payload.len() as u64);
                replayed += 1;
            }
        }
        let allocated = ALLOCATIONS.load(SeqCst) - before;
        assert_eq!(allocated, 0, "{profile:?}");
        // A replay does without the upper temporal layer, but for the newest frame: with that it is
        // at the present.
        assert_eq!((sent, replayed), (PACKETS, PACKETS / 2 + 10));
        assert_eq!(thinned_sent, PACKETS / 2);
        assert!(resent > PACKETS / 5, "{resent}");
        let _ = reported;
    }
    Ok(())
}
