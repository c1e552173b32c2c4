//! What is sent, and whether what arrives is the same.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lightstick_bench::payload::stamp_of;
use lightstick_bench::source::{MediaPacket, MediaSource, SourceConfig};
use lightstick_bench::stamp;
use lightstick_types::{Bitrate, Codec, TrackKind};

use crate::peer::{Publisher, Received};

/// Of the synthetic video, in bit/s: light enough for any machine that runs tests.
pub const VIDEO_BITRATE: Bitrate = Bitrate(1_000_000);

/// All that a publisher sent, each track in the order of its numbers.
#[derive(Debug, Default)]
pub struct Sent {
    pub audio: Vec<MediaPacket>,
    /// H.264 or VP8.
    pub video: Vec<MediaPacket>,
}

impl Sent {
    fn track(&self, kind: TrackKind) -> &[MediaPacket] {
        match kind {
            TrackKind::Audio => &self.audio,
            TrackKind::Video => &self.video,
        }
    }
}

/// Publishes synthetic media at its natural pace: at least for `time`, and on until `done`.
///
/// # Errors
/// When the publisher's connection goes.
pub async fn publish_for(
    publisher: &Publisher,
    codec: Codec,
    time: Duration,
    mut done: impl FnMut(&Sent) -> bool,
) -> Result<Sent> {
    let config = SourceConfig {
        clip: None,
        codec,
        video: VIDEO_BITRATE,
        audio: Bitrate(64_000),
        gop: Duration::from_secs(1),
    };
    let started = Instant::now();
    let mut source = MediaSource::new(config, started);
    let mut sent = Sent::default();
    while started.elapsed() < time || !done(&sent) {
        tokio::time::sleep_until(source.next_due().into()).await;
        while let Some(packet) = source.poll(Instant::now(), stamp::now_us()) {
            publisher.send(&packet).await?;
            match packet.kind {
                TrackKind::Audio => sent.audio.push(packet),
                TrackKind::Video => sent.video.push(packet),
            }
        }
    }
    Ok(sent)
}

/// Publishes video whose only keyframes are its first frame and those that are asked for, until it
/// is dropped. Ends by itself only when the connection goes.
///
/// # Errors
/// How the connection went.
pub async fn publish_on_request(publisher: &Publisher, codec: Codec) -> Result<()> {
    let config = SourceConfig {
        clip: None,
        codec,
        video: VIDEO_BITRATE,
        audio: Bitrate(64_000),
        gop: Duration::from_secs(3_600),
    };
    let mut source = MediaSource::new(config, Instant::now());
    loop {
        tokio::select! {
            asked = publisher.keyframe_asked() => {
                asked?;
                source.request_keyframe();
            }
            () = tokio::time::sleep_until(source.next_due().into()) => {
                while let Some(packet) = source.poll(Instant::now(), stamp::now_us()) {
                    publisher.send(&packet).await?;
                }
            }
        }
    }
}

/// The packets of a track by their numbers, each once: as a jitter buffer hands them on when lost
/// ones have come again.
#[must_use]
pub fn in_order(kind: TrackKind, received: &[Received]) -> Vec<Received> {
    let mut track: Vec<_> = received
        .iter()
        .filter(|r| r.kind == kind)
        .cloned()
        .collect();
    let Some(first) = track.first().map(|r| r.packet.header.sequence_number) else {
        return track;
    };
    let place = |r: &Received| r.packet.header.sequence_number.wrapping_sub(first) as i16;
    track.sort_by_key(place);
    track.dedup_by_key(|r| place(r));
    track
}

/// Holds what a viewer received of a track against what was sent: one after the other without a
/// gap from the first that came, each byte, time step and marker the same. Returns the number of
/// the first, and how many came.
///
/// VP8's picture id may be written anew, and must go on without a gap. The time of a newcomer's first
/// frames may be moved: they are a replay, a millisecond apart, that ends in the time as it was sent.
///
/// # Errors
/// The first difference.
pub fn compare(
    codec: Codec,
    kind: TrackKind,
    received: &[Received],
    sent: &Sent,
) -> Result<(usize, usize)> {
    let codec = match kind {
        TrackKind::Audio => Codec::Opus,
        TrackKind::Video => codec,
    };
    let sent = sent.track(kind);
    let received: Vec<_> = received
        .iter()
        .filter(|r| r.kind == kind)
        .map(|r| &r.packet)
        .collect();
    let first = received.first().context("nothing came")?;
    let offset = stamp_of(codec, &first.payload)
        .context("the first packet carries no stamp")?
        .stamp
        .seq as usize;
    let last = received.last().context("nothing came")?;
    let last_sent = sent
        .get(offset + received.len() - 1)
        .context("more came than was sent")?;
    let mut live = false;
    for (index, packet) in received.iter().enumerate() {
        let at = || format!("{kind:?} packet {index} of {}", received.len());
        let original = sent.get(offset + index).with_context(at)?;
        let (got, wanted) = match codec {
            Codec::Vp8 => (
                &packet.payload[VP8_DESCRIPTOR..],
                &original.payload[VP8_DESCRIPTOR..],
            ),
            _ => (&packet.payload[..], &original.payload[..]),
        };
        ensure!(
            got == wanted,
            "{}: the payload differs: stamp {:?}, wanted {}",
            at(),
            stamp_of(codec, &packet.payload),
            original.seq,
        );
        if codec == Codec::Vp8 {
            let steps = picture_id(&packet.payload)
                .wrapping_sub(picture_id(&first.payload))
                .wrapping_sub(
                    picture_id(&original.payload).wrapping_sub(picture_id(&sent[offset].payload)),
                );
            ensure!(steps & 0x7FFF == 0, "{}: the picture id jumps", at());
            ensure!(
                packet.payload[..2] == original.payload[..2],
                "{}: the descriptor differs",
                at()
            );
        }
        let (header, first) = (&packet.header, &first.header);
        ensure!(
            header.sequence_number == first.sequence_number.wrapping_add(index as u16),
            "{}: the sequence number jumps",
            at()
        );
        ensure!(header.ssrc == first.ssrc, "{}: another SSRC", at());
        ensure!(
            header.payload_type == first.payload_type,
            "{}: another payload type",
            at()
        );
        // Counted from the end: a newcomer's replay goes by timestamps of the present, which rise
        // from frame to frame; from its end on time runs as it was sent.
        let moved = header
            .timestamp
            .wrapping_sub(last.header.timestamp)
            .wrapping_sub(original.rtp_time.wrapping_sub(last_sent.rtp_time));
        let rises = index.checked_sub(1).is_none_or(|before| {
            let step = header
                .timestamp
                .wrapping_sub(received[before].header.timestamp)
                .cast_signed();
            let same_frame = original.rtp_time == sent[offset + before].rtp_time;
            if same_frame { step == 0 } else { step > 0 }
        });
        let replayed = rises && moved.cast_signed() > 0;
        live |= moved == 0;
        ensure!(
            moved == 0 || (kind == TrackKind::Video && !live && replayed),
            "{}: the time step differs",
            at()
        );
        // RFC 3551 section 4.1 gives a marker to the first packet of a talk spurt, which a server
        // that starts in the middle of one may set; video's must be as sent.
        ensure!(
            kind == TrackKind::Audio || header.marker == original.marker,
            "{}: the marker differs",
            at()
        );
    }
    Ok((offset, received.len()))
}

/// Whether what a viewer received of a track carries stamps that follow each other without a gap,
/// under sequence numbers that do, and is undamaged behind them. For a publisher that keeps no list
/// of what it sent. Returns how many came.
///
/// # Errors
/// The first packet that is out of place.
pub fn whole(codec: Codec, kind: TrackKind, received: &[Received]) -> Result<usize> {
    let codec = match kind {
        TrackKind::Audio => Codec::Opus,
        TrackKind::Video => codec,
    };
    let mut previous = None;
    let mut count = 0;
    for Received { packet, .. } in received.iter().filter(|r| r.kind == kind) {
        let found = stamp_of(codec, &packet.payload)
            .with_context(|| format!("{kind:?} packet {count} carries no stamp"))?;
        ensure!(found.intact, "{kind:?} packet {count} is damaged");
        let numbers = (found.stamp.seq, packet.header.sequence_number);
        if let Some((stamp, rtp)) = previous.replace(numbers) {
            let next: (u32, u16) = (stamp + 1, rtp.wrapping_add(1));
            ensure!(
                numbers == next,
                "{kind:?} packet {count}: (stamp, sequence number) is {numbers:?}, not {next:?}"
            );
        }
        count += 1;
    }
    Ok(count)
}

/// Bytes of the descriptor that the synthetic VP8 carries (RFC 7741 section 4.2).
const VP8_DESCRIPTOR: usize = 4;

fn picture_id(payload: &[u8]) -> u16 {
    u16::from_be_bytes([payload[2] & 0x7F, payload[3]])
}
