//! A publisher's media while its session is parked: connected, and not in its room yet.
//!
//! The session is ready to be promoted with its first packet of video, or where none is promised or
//! comes, of audio: a take-over must not freeze the picture for longer than it has to. From its first
//! packet on everything is kept for the room, so that the time until the promotion costs no picture.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use lightstick_types::TrackKind;

use crate::codec::inspect;
use crate::health::{Fault, Health, Hints, Promise};
use crate::uptrack::Incoming;

/// Packets kept at most, and bytes of their payload: a large keyframe and what follows it for some
/// hundred milliseconds. A promotion takes less than one. What comes beyond is dropped.
const PACKETS_MAX: usize = 512;
const BYTES_MAX: usize = 512 << 10;
/// A session whose audio comes waits so long for the video that it has promised.
const VIDEO_WITHIN: Duration = Duration::from_millis(500);

/// A parked publisher's media and health.
#[derive(Debug)]
pub struct Parked {
    health: Health,
    promises_video: bool,
    connected_at: Option<Instant>,
    readiness: Readiness,
    packets: VecDeque<Incoming>,
    bytes: usize,
    /// Something had no room.
    cut: bool,
}

/// Whether the session can be promoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readiness {
    /// No media has come.
    Silent,
    /// Audio has come, and there is still time for video until then.
    Until(Instant),
    Ready,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Taken {
    /// It is kept, and the session can be promoted from now on.
    Ready,
    /// It is kept, and the session can be promoted when [`Parked::poll_timeout`] has come.
    Waits,
    /// It is kept, or is padding before any media.
    Noted,
    /// It is not of its codec, or there is no room for it.
    Dropped,
}

/// What a promoted session brings into its room.
#[derive(Debug)]
pub struct Promoted {
    /// What is known of its health.
    pub health: Health,
    /// Its first packets, in the order in which they came.
    pub packets: VecDeque<Incoming>,
    /// Later packets were dropped: keyframes must be asked for.
    pub cut: bool,
}

impl Parked {
    /// Of a session that was just opened, and whose offer makes this promise.
    #[must_use]
    pub fn new(promise: Promise) -> Self {
        let mut health = Health::default();
        health.promise(promise);
        Self {
            health,
            promises_video: promise.video,
            connected_at: None,
            readiness: Readiness::Silent,
            packets: VecDeque::new(),
            bytes: 0,
            cut: false,
        }
    }

    /// From now on media can come.
    pub fn handle_connected(&mut self, now: Instant) {
        self.connected_at = Some(now);
        self.health.connected(now);
    }

    /// Since when media can come.
    #[must_use]
    pub fn connected_at(&self) -> Option<Instant> {
        self.connected_at
    }

    /// Takes a packet that was authenticated.
    pub fn push(&mut self, packet: Incoming) -> Taken {
        let is_first = self.packets.is_empty();
        if packet.payload.is_empty() {
            if is_first {
                return Taken::Noted;
            }
        } else if inspect(packet.format.codec, &packet.payload).is_none() {
            return Taken::Dropped;
        }
        let bytes = self.bytes + packet.payload.len();
        if self.packets.len() == PACKETS_MAX || bytes > BYTES_MAX {
            self.cut = true;
        }
        // What follows a gap can't be decoded, and would only be reported lost.
        if self.cut {
            return Taken::Dropped;
        }
        self.bytes = bytes;
        let (kind, at) = (packet.track.kind(), packet.received_at);
        self.packets.push_back(packet);
        match self.readiness {
            Readiness::Ready => Taken::Noted,
            _ if kind == TrackKind::Video || !self.promises_video => {
                self.readiness = Readiness::Ready;
                Taken::Ready
            }
            Readiness::Silent => {
                self.readiness = Readiness::Until(at + VIDEO_WITHIN);
                Taken::Waits
            }
            Readiness::Until(_) => Taken::Noted,
        }
    }

    /// When it need not wait for video any longer.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.readiness {
            Readiness::Until(at) => Some(at),
            Readiness::Silent | Readiness::Ready => None,
        }
    }

    /// Lets time pass. True: the session can be promoted from now on.
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        let over = self.poll_timeout().is_some_and(|at| at <= now);
        if over {
            self.readiness = Readiness::Ready;
        }
        over
    }

    /// A packet shows a fault.
    pub fn note(&mut self, fault: Fault, now: Instant) {
        self.health.note(fault, now);
    }

    /// Looks at the publisher's health. True: it has changed.
    pub fn look(&mut self, now: Instant) -> bool {
        let packets = &self.packets;
        let last_packet = |kind| {
            let mut newest = packets.iter().rev();
            let packet = newest.find(|packet| packet.track.kind() == kind);
            packet.map(|packet| packet.received_at)
        };
        self.health.look(now, last_packet, Hints::default())
    }

    /// What was found wrong with the publisher.
    #[must_use]
    pub fn hints(&self) -> Hints {
        self.health.told()
    }

    /// Ends the parking.
    #[must_use]
    pub fn promote(self) -> Promoted {
        Promoted {
            health: self.health,
            packets: self.packets,
            cut: self.cut,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lightstick_types::{Codec, HintCode, Layer, TrackId};

    use super::*;
    use crate::packet::{Format, PacketExtensions};

    const BOTH: Promise = Promise {
        audio: true,
        video: true,
        mono: false,
    };

    /// A VP8 packet that begins a keyframe (RFC 7741 section 4.2), filled up to a length.
    fn packet(now: Instant, sequence: u64, bytes: usize) -> Incoming {
        let mut payload = vec![0; bytes];
        if let Some(first) = payload.first_mut() {
            *first = 0x10;
        }
        Incoming {
            track: TrackId::FIRST_VIDEO,
            layer: Layer::High,
            format: Format {
                codec: Codec::Vp8,
                profile: 0,
            },
            sequence,
            timestamp: 0,
            marker: false,
            extensions: PacketExtensions::default(),
            payload: payload.into(),
            report: None,
            received_at: now,
        }
    }

    #[test]
    fn the_first_media_packet_makes_it_ready_once() {
        let now = Instant::now();
        let mut parked = Parked::new(BOTH);
        let broken = Incoming {
            payload: vec![0x80].into(),
            ..packet(now, 2, 0)
        };
        for (packet, taken) in [
            (packet(now, 1, 0), Taken::Noted),
            (broken.clone(), Taken::Dropped),
            (packet(now, 3, 100), Taken::Ready),
            (packet(now, 4, 0), Taken::Noted),
            (broken, Taken::Dropped),
            (packet(now, 5, 100), Taken::Noted),
        ] {
            assert_eq!(parked.push(packet), taken);
        }
        let promoted = parked.promote();
        let kept: Vec<u64> = promoted.packets.iter().map(|p| p.sequence).collect();
        assert_eq!((kept, promoted.cut), (vec![3, 4, 5], false));
    }

    #[test]
    fn audio_waits_for_promised_video_for_half_a_second() {
        let now = Instant::now();
        let audio = |sequence| Incoming {
            track: TrackId::AUDIO,
            format: Format {
                codec: Codec::Opus,
                profile: 0,
            },
            ..packet(now, sequence, 50)
        };
        let mut parked = Parked::new(BOTH);
        assert_eq!(parked.push(audio(1)), Taken::Waits);
        assert_eq!(parked.push(audio(2)), Taken::Noted);
        assert!(!parked.handle_timeout(now + VIDEO_WITHIN / 2));
        assert_eq!(parked.push(packet(now, 7, 100)), Taken::Ready);
        assert_eq!(parked.poll_timeout(), None);
        assert!(!parked.handle_timeout(now + VIDEO_WITHIN));
        assert_eq!(parked.promote().packets.len(), 3);

        // The camera brings nothing.
        let mut parked = Parked::new(BOTH);
        assert_eq!(parked.push(audio(1)), Taken::Waits);
        let at = parked.poll_timeout().unwrap();
        assert_eq!(at, now + VIDEO_WITHIN);
        assert!(parked.handle_timeout(at) && !parked.handle_timeout(at));
        assert_eq!(parked.push(packet(now, 7, 100)), Taken::Noted);

        let mut parked = Parked::new(Promise {
            video: false,
            ..BOTH
        });
        assert_eq!(
            parked.push(audio(1)),
            Taken::Ready,
            "nothing else will come"
        );
    }

    #[test]
    fn what_is_kept_is_bounded_and_has_no_gap() {
        let now = Instant::now();
        for (bytes, kept) in [(100, PACKETS_MAX), (1_200, BYTES_MAX / 1_200)] {
            let mut parked = Parked::new(BOTH);
            let dropped = (0..2 * PACKETS_MAX as u64)
                .filter(|n| parked.push(packet(now, *n, bytes)) == Taken::Dropped)
                .count();
            assert_eq!(dropped, 2 * PACKETS_MAX - kept);
            // A smaller one that would fit comes after the gap all the same.
            assert_eq!(parked.push(packet(now, 9_999, 1)), Taken::Dropped);
            let promoted = parked.promote();
            let sequences = promoted.packets.iter().map(|packet| packet.sequence);
            assert!(sequences.eq(0..kept as u64) && promoted.cut);
        }
    }

    #[test]
    fn silence_is_told_and_goes_with_the_session() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut parked = Parked::new(BOTH);
        assert!(!parked.look(at(60)), "nothing can come yet");
        parked.handle_connected(at(60));
        assert_eq!(parked.connected_at(), Some(at(60)));
        assert!(!parked.look(at(64)));
        assert!(parked.look(at(65)));
        let codes = |hints: Hints| hints.iter().map(|hint| hint.code).collect::<Vec<_>>();
        let silent = [HintCode::NoVideoPackets, HintCode::NoAudioPackets];
        assert_eq!(codes(parked.hints()), silent);
        assert_eq!(parked.push(packet(at(70), 1, 10)), Taken::Ready);
        for _ in 0..10 {
            parked.note(Fault::Unplaced, at(70));
        }
        assert!(parked.look(at(70)));
        let now = [HintCode::NoAudioPackets, HintCode::UnplacedPackets];
        assert_eq!(codes(parked.hints()), now);
        assert_eq!(codes(parked.promote().health.told()), now);
    }
}
