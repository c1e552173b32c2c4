//! Synthetic media over time: what a 720p30 camera and a microphone would send.

use std::time::{Duration, Instant};

use lightstick_types::{Bitrate, Codec, TrackKind};

use crate::clip::Clip;
use crate::payload::{self, PAYLOAD_MAX, PAYLOAD_MIN, Place};
use crate::stamp::Stamp;

/// A keyframe is this many times as large as a delta frame.
const KEYFRAME_RATIO: u64 = 8;
/// Frames differ in size by up to this share, in percent, either way.
const SIZE_SPREAD: u64 = 15;
/// Of synthetic video and of clips.
pub const FRAMES_PER_SECOND: u32 = 30;
const SECOND: Duration = Duration::from_secs(1);
const OPUS_PACKET: Duration = Duration::from_millis(20);
/// A frame's packets leave at this multiple of the bit rate, as browsers pace them.
const PACE: f64 = 2.5;

#[derive(Clone, Copy, Debug)]
pub struct SourceConfig {
    /// H.264 or VP8.
    pub codec: Codec,
    /// Of the video's payloads, keyframes included.
    pub video: Bitrate,
    /// Of the audio's payloads.
    pub audio: Bitrate,
    /// From one keyframe to the next, where nobody asks for more.
    pub gop: Duration,
    /// Sent in a loop in place of synthetic video, whatever keyframes are asked for; it says what
    /// the codec and the bit rate are.
    pub clip: Option<&'static Clip>,
}

/// One RTP packet to send now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaPacket {
    pub kind: TrackKind,
    /// In the track's clock rate.
    pub rtp_time: u32,
    /// The last of its video frame.
    pub marker: bool,
    /// The packet's number in its track, from 0: also the one in its stamp.
    pub seq: u32,
    /// When it should have left; later than that means that the generator is behind.
    pub due: Instant,
    pub payload: Vec<u8>,
}

/// A publisher's media. Ask [`Self::next_due`], then [`Self::poll`] until it gives nothing.
#[derive(Debug)]
pub struct MediaSource {
    config: SourceConfig,
    started: Instant,
    microphone: Microphone,
    keyframes: Keyframes,
    delta_bytes: u64,
    noise: u64,
    next_frame: Instant,
    /// When the packets before have left at their pace.
    paced_until: Instant,
    frame: Option<Frame>,
    frames: u32,
    video_seq: u32,
}

/// The audio track.
#[derive(Debug)]
struct Microphone {
    started: Instant,
    bytes: usize,
    next: Instant,
    seq: u32,
}

impl Microphone {
    fn new(bitrate: Bitrate, now: Instant) -> Self {
        let bytes = (bitrate.0 as f64 / 8.0 * OPUS_PACKET.as_secs_f64()) as usize;
        Self {
            started: now,
            bytes: bytes.min(PAYLOAD_MAX),
            next: now,
            seq: 0,
        }
    }

    fn packet(&mut self, now_us: u64) -> MediaPacket {
        let due = self.next;
        self.next += OPUS_PACKET;
        let stamp = Stamp {
            sent_us: now_us,
            seq: self.seq,
            keyframe: false,
        };
        self.seq += 1;
        MediaPacket {
            kind: TrackKind::Audio,
            rtp_time: rtp_time(due - self.started, Codec::Opus),
            marker: false,
            seq: stamp.seq,
            due,
            payload: payload::opus(stamp, self.bytes),
        }
    }
}

/// Which frames are keyframes.
#[derive(Debug)]
struct Keyframes {
    /// Frames from one to the next, where nobody asks for more.
    every: u32,
    /// Frames since the last one, itself included.
    since: u32,
    asked: bool,
    begun: u64,
}

impl Keyframes {
    fn new(every: u32) -> Self {
        Self {
            every,
            // A whole GOP ago: the first frame is a keyframe.
            since: every,
            asked: false,
            begun: 0,
        }
    }

    /// Whether the next frame is one.
    fn next(&mut self) -> bool {
        let keyframe = self.asked || self.since >= self.every;
        self.since += 1;
        if keyframe {
            self.asked = false;
            self.since = 1;
            self.begun += 1;
        }
        keyframe
    }
}

/// A video frame whose packets are leaving.
#[derive(Debug)]
struct Frame {
    keyframe: bool,
    bytes: usize,
    place: Place,
    rtp_time: u32,
    due: Instant,
}

impl MediaSource {
    /// A source that starts with a keyframe at `now`.
    #[must_use]
    pub fn new(config: SourceConfig, now: Instant) -> Self {
        let frames = (config.gop.as_secs_f64() * f64::from(FRAMES_PER_SECOND)).max(1.0);
        let gop_bytes = config.video.0 as f64 / 8.0 * config.gop.as_secs_f64();
        let delta_bytes = gop_bytes / (frames - 1.0 + KEYFRAME_RATIO as f64);
        Self {
            config,
            started: now,
            microphone: Microphone::new(config.audio, now),
            keyframes: Keyframes::new(frames.round() as u32),
            delta_bytes: delta_bytes as u64,
            noise: 0x2545_F491_4F6C_DD1D,
            next_frame: now,
            paced_until: now,
            frame: None,
            frames: 0,
            video_seq: 0,
        }
    }

    /// When the next packet is due.
    #[must_use]
    pub fn next_due(&self) -> Instant {
        let video = self.frame.as_ref().map_or(self.next_frame, |f| f.due);
        video.min(self.microphone.next)
    }

    /// Makes the next frame a keyframe (an answer to PLI or FIR).
    pub fn request_keyframe(&mut self) {
        self.keyframes.asked = true;
    }

    /// Keyframes begun so far.
    #[must_use]
    pub fn keyframes(&self) -> u64 {
        self.keyframes.begun
    }

    /// The next packet that is due at `now`, stamped as sent at `now_us`.
    pub fn poll(&mut self, now: Instant, now_us: u64) -> Option<MediaPacket> {
        if self.microphone.next <= now {
            return Some(self.microphone.packet(now_us));
        }
        if self.frame.is_none() && self.next_frame <= now {
            self.frame = Some(self.begin_frame());
        }
        let frame = self.frame.as_mut().filter(|f| f.due <= now)?;
        let left = frame.place.count - frame.place.index;
        let stamp = Stamp {
            sent_us: now_us,
            seq: self.video_seq,
            keyframe: frame.keyframe,
        };
        let payload = if let Some(clip) = self.config.clip {
            clip.payload(frame.place.frame - 1, frame.place.index)
        } else {
            let len = frame.bytes.div_ceil(left).clamp(PAYLOAD_MIN, PAYLOAD_MAX);
            payload::video(self.config.codec, stamp, frame.place, len)
        };
        frame.bytes = frame.bytes.saturating_sub(payload.len());
        let packet = MediaPacket {
            kind: TrackKind::Video,
            rtp_time: frame.rtp_time,
            marker: left == 1,
            seq: self.video_seq,
            due: frame.due,
            payload,
        };
        self.video_seq += 1;
        frame.place.index += 1;
        let pace = PACE * self.config.video.0 as f64 / 8.0;
        frame.due += Duration::from_secs_f64(packet.payload.len() as f64 / pace);
        self.paced_until = frame.due;
        if packet.marker {
            self.frame = None;
        }
        Some(packet)
    }

    fn begin_frame(&mut self) -> Frame {
        let due = self.next_frame;
        self.frames += 1;
        self.next_frame = self.started + SECOND * self.frames / FRAMES_PER_SECOND;
        if let Some(clip) = self.config.clip {
            return self.clip_frame(clip, due);
        }
        let keyframe = self.keyframes.next();
        let mut bytes = self.delta_bytes * (100 - SIZE_SPREAD + self.random(2 * SIZE_SPREAD)) / 100;
        if keyframe {
            bytes *= KEYFRAME_RATIO;
        }
        let mut bytes = bytes as usize;
        let mut count = bytes.div_ceil(PAYLOAD_MAX).max(1);
        if keyframe && self.config.codec == Codec::H264 {
            // Its parameter sets are a payload of their own, and the picture is two at least.
            count = count.max(2) + 1;
            bytes = bytes.max(count * PAYLOAD_MIN);
        }
        Frame {
            keyframe,
            bytes,
            place: Place {
                index: 0,
                count,
                frame: self.frames,
            },
            rtp_time: rtp_time(due - self.started, self.config.codec),
            due: due.max(self.paced_until),
        }
    }

    fn clip_frame(&mut self, clip: &Clip, due: Instant) -> Frame {
        let (count, keyframe) = clip.frame(self.frames - 1);
        self.keyframes.begun += u64::from(keyframe);
        Frame {
            keyframe,
            bytes: 0,
            place: Place {
                index: 0,
                count,
                frame: self.frames,
            },
            rtp_time: rtp_time(due - self.started, self.config.codec),
            due: due.max(self.paced_until),
        }
    }

    /// A number from 0 to `max`, the same ones in every run.
    fn random(&mut self, max: u64) -> u64 {
        self.noise ^= self.noise << 13;
        self.noise ^= self.noise >> 7;
        self.noise ^= self.noise << 17;
        self.noise % (max + 1)
    }
}

fn rtp_time(since_start: Duration, codec: Codec) -> u32 {
    (since_start.as_nanos() * u128::from(codec.clock_rate()) / 1_000_000_000) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(codec: Codec, secs: u64, ask_at: Option<u64>) -> (MediaSource, Vec<MediaPacket>) {
        let start = Instant::now();
        let config = SourceConfig {
            codec,
            video: Bitrate(2_500_000),
            audio: Bitrate(64_000),
            gop: Duration::from_secs(2),
            clip: None,
        };
        let mut source = MediaSource::new(config, start);
        let mut packets = Vec::new();
        let mut asked = ask_at.map(|s| start + Duration::from_secs(s));
        loop {
            let now = source.next_due();
            if now >= start + Duration::from_secs(secs) {
                return (source, packets);
            }
            if asked.take_if(|at| now >= *at).is_some() {
                source.request_keyframe();
            }
            while let Some(packet) = source.poll(now, 1) {
                packets.push(packet);
            }
        }
    }

    #[test]
    fn rate_sizes_and_numbers_are_those_of_a_camera() {
        for codec in [Codec::H264, Codec::Vp8] {
            let (source, packets) = run(codec, 20, None);
            let of = |kind| packets.iter().filter(move |p| p.kind == kind);
            assert_eq!(of(TrackKind::Audio).count(), 1_000);
            let bits = of(TrackKind::Video)
                .map(|p| p.payload.len() * 8)
                .sum::<usize>()
                / 20;
            assert!((2_350_000..2_650_000).contains(&bits), "{bits}");
            assert_eq!(of(TrackKind::Video).filter(|p| p.marker).count(), 600);
            assert_eq!(source.keyframes(), 10);
            for kind in [TrackKind::Audio, TrackKind::Video] {
                assert!(of(kind).enumerate().all(|(i, p)| p.seq == i as u32));
                assert!(of(kind).all(|p| p.payload.len() <= PAYLOAD_MAX));
                assert!(of(kind).is_sorted_by_key(|p| p.rtp_time));
            }
        }
    }

    #[test]
    fn a_clip_is_sent_in_a_loop_whoever_asks_for_keyframes() {
        let mut file = b"DKIF\0\0\x20\0VP80".to_vec();
        file.resize(32, 0);
        for first in [0x10, 0x11, 0x11] {
            file.extend([2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, first, 7]);
        }
        let clip: &Clip = Box::leak(Box::new(Clip::parse(&file).unwrap()));
        let start = Instant::now();
        let mut source = MediaSource::new(
            SourceConfig {
                codec: Codec::Vp8,
                video: clip.bitrate(FRAMES_PER_SECOND),
                audio: Bitrate(64_000),
                gop: Duration::from_secs(2),
                clip: Some(clip),
            },
            start,
        );
        let mut frames = Vec::new();
        while frames.len() < 7 {
            source.request_keyframe();
            let now = source.next_due();
            let packet = source.poll(now, 1).expect("one is due");
            if packet.kind == TrackKind::Video {
                assert!(packet.marker);
                frames.push((packet.payload[3], packet.payload[4], packet.rtp_time));
            }
        }
        let key = |n: u8| if n.is_multiple_of(3) { 0x10 } else { 0x11 };
        let expected: Vec<_> = (0..7).map(|n| (n, key(n), 3_000 * u32::from(n))).collect();
        let near = |(a, b): (&(u8, u8, u32), &(u8, u8, u32))| {
            (a.0, a.1) == (b.0, b.1) && a.2.abs_diff(b.2) <= 1
        };
        assert!(frames.iter().zip(&expected).all(near), "{frames:?}");
        assert_eq!(source.keyframes(), 3);
    }

    #[test]
    fn what_waits_behind_a_keyframe_leaves_at_the_same_pace() {
        let (_, packets) = run(Codec::Vp8, 4, None);
        let video: Vec<_> = packets
            .iter()
            .filter(|p| p.kind == TrackKind::Video)
            .collect();
        let pace = PACE * 2_500_000.0 / 8.0;
        for pair in video.windows(2) {
            let apart = (pair[1].due - pair[0].due).as_secs_f64();
            let wanted = pair[0].payload.len() as f64 / pace;
            assert!(apart > wanted - 1e-6, "{apart} s behind {}", pair[0].seq);
        }
    }

    #[test]
    fn a_keyframe_asked_for_comes_at_once_and_restarts_the_gop() {
        let (source, packets) = run(Codec::H264, 8, Some(1));
        assert_eq!(source.keyframes(), 5);
        let starts: Vec<_> = packets
            .iter()
            .filter(|p| p.kind == TrackKind::Video)
            .filter(|p| p.payload[0] & 0x1F == 24)
            .map(|p| p.rtp_time / 9_000)
            .collect();
        assert_eq!(starts, [0, 10, 30, 50, 70]);
    }
}
