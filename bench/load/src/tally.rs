//! What a viewer counts: packets, gaps, first times, transit.

mod burst;
mod chat;
mod playback;
mod wire;

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use lightstick_types::{Codec, TrackKind};

pub use self::burst::Burst;
pub use self::chat::ChatTally;
pub use self::playback::{HELD_BACK, Piece, Player, Shown};
pub use self::wire::{SLICE, Wire, WireLog};
#[cfg(doc)]
use crate::depth::Depth;
use crate::payload;

/// Sequence numbers that are told apart from duplicates, counted back from the highest.
const WINDOW: u64 = 1_024;
const WORDS: usize = (WINDOW / 64) as usize;

/// The span of sending times that a measurement counts, on the clock of
/// [`stamp::now_us`](crate::stamp::now_us): from `from_us`, up to but not at `to_us`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// First microsecond in it.
    pub from_us: u64,
    /// First microsecond behind it.
    pub to_us: u64,
}

impl Window {
    /// Whether something sent at `us` counts.
    #[must_use]
    pub fn holds(self, us: u64) -> bool {
        (self.from_us..self.to_us).contains(&us)
    }
}

/// Durations in microseconds, from 1 us to 100 s, to three digits.
#[derive(Clone, Debug)]
pub struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, 100_000_000, 3).expect("the bounds are in order"))
    }
}

impl Times {
    pub fn record_us(&mut self, us: u64) {
        self.0.saturating_record(us.max(1));
    }

    /// Adds all of another's.
    pub fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// Whether none was recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value that a share of `quantile` (0 to 1) does not exceed, in milliseconds.
    #[must_use]
    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1e3
    }

    /// The largest, in milliseconds.
    #[must_use]
    pub fn max_ms(&self) -> f64 {
        self.0.max() as f64 / 1e3
    }
}

/// Which numbers of a sequence came, and which did not.
#[derive(Clone, Debug, Default)]
pub struct Sequence {
    span: Option<(u64, u64)>,
    seen: [u64; WORDS],
    unique: u64,
    duplicates: u64,
}

impl Sequence {
    /// Notes a number; false for one that was there already, or is too old to tell.
    pub fn note(&mut self, seq: u64) -> bool {
        let Some((first, highest)) = self.span else {
            self.span = Some((seq, seq));
            self.mark(seq);
            self.unique = 1;
            return true;
        };
        if seq > highest {
            if seq - highest >= WINDOW {
                self.seen = [0; WORDS];
            } else {
                (highest + 1..=seq).for_each(|s| self.clear(s));
            }
            self.span = Some((first, seq));
        } else if highest - seq >= WINDOW || self.marked(seq) {
            self.duplicates += 1;
            return false;
        } else {
            self.span = Some((first.min(seq), highest));
        }
        self.mark(seq);
        self.unique += 1;
        true
    }

    /// The number that `low` stands for: the nearest to the highest seen that ends in it.
    #[must_use]
    pub fn extend(&self, low: u16) -> u64 {
        let Some((_, highest)) = self.span else {
            return low.into();
        };
        let ahead = low.wrapping_sub(highest as u16) as i16;
        highest.saturating_add_signed(ahead.into())
    }

    /// Numbers between the lowest and the highest that never came.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.span
            .map_or(0, |(first, highest)| highest - first + 1 - self.unique)
    }

    /// Packets that came again.
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    fn mark(&mut self, seq: u64) {
        self.seen[(seq % WINDOW / 64) as usize] |= 1 << (seq % 64);
    }

    fn clear(&mut self, seq: u64) {
        self.seen[(seq % WINDOW / 64) as usize] &= !(1 << (seq % 64));
    }

    fn marked(&self, seq: u64) -> bool {
        self.seen[(seq % WINDOW / 64) as usize] & 1 << (seq % 64) != 0
    }
}

/// One RTP packet as it arrived, opened.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Of which codec its payload type is.
    pub codec: Codec,
    /// Stream on the wire.
    pub ssrc: u32,
    /// Extended sequence number.
    pub seq: u64,
    pub rtp_time: u32,
    pub marker: bool,
    pub payload: &'a [u8],
    /// When the viewer handled it.
    pub at: Instant,
    /// When the kernel had it, on the clock of the stamps.
    pub at_us: u64,
}

/// The header of an RTP packet that stays encrypted.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    pub kind: TrackKind,
    /// Stream on the wire.
    pub ssrc: u32,
    pub seq: u16,
    /// The whole datagram's length.
    pub bytes: usize,
    /// When the viewer handled it.
    pub at: Instant,
    /// When the kernel had it, on the clock of the stamps.
    pub at_us: u64,
}

#[derive(Clone, Debug, Default)]
pub struct TrackTally {
    /// Packets that came, duplicates not counted.
    pub packets: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Stamped packets sent within the measured window that came, each once.
    pub in_window: u64,
    /// Packets with or without a stamp that came while the measured window lasted.
    pub came_in_window: u64,
    /// Packets that were counted by their header alone.
    pub headers: u64,
    /// Packets with a stamp whose rest was not as sent.
    pub corrupt: u64,
    /// Packets without a stamp: another publisher's media.
    pub unstamped: u64,
    rtp: RtpSequence,
    stamps: Sequence,
}

impl TrackTally {
    /// RTP sequence numbers that never came, up to the highest that did.
    #[must_use]
    pub fn rtp_missing(&self) -> u64 {
        self.rtp.missing()
    }

    /// RTP sequence numbers that went missing since the last [`ViewerTally::begin_window`].
    #[must_use]
    pub fn rtp_missing_in_window(&self) -> u64 {
        // Late packets fill gaps from before it.
        self.rtp
            .missing()
            .saturating_sub(self.rtp.missing_at_window)
    }

    fn begin_window(&mut self) {
        (self.in_window, self.came_in_window) = (0, 0);
        self.rtp.missing_at_window = self.rtp.missing();
    }

    #[must_use]
    pub fn ssrc_changes(&self) -> u64 {
        self.rtp.ssrc_changes
    }

    /// Packets that came again under the same RTP sequence number or stamp.
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        self.rtp.numbers.duplicates() + self.stamps.duplicates()
    }
}

/// The RTP sequence numbers of a track, whose SSRC may change.
#[derive(Clone, Debug, Default)]
struct RtpSequence {
    ssrc: Option<u32>,
    ssrc_changes: u64,
    numbers: Sequence,
    missing_before: u64,
    missing_at_window: u64,
}

impl RtpSequence {
    /// A new SSRC starts a sequence of its own.
    fn follow(&mut self, ssrc: u32) {
        if self.ssrc.is_some_and(|before| before != ssrc) {
            self.ssrc_changes += 1;
            self.missing_before += self.numbers.missing();
            self.numbers = Sequence::default();
        }
        self.ssrc = Some(ssrc);
    }

    fn missing(&self) -> u64 {
        self.missing_before + self.numbers.missing()
    }
}

/// A keyframe that is coming in.
#[derive(Clone, Copy, Debug)]
struct Assembly {
    rtp_time: u32,
    first: u64,
    last: Option<u64>,
    packets: u64,
}

#[derive(Clone, Debug)]
pub struct ViewerTally {
    /// Just before its offer was sent.
    pub started: Instant,
    /// From there to ICE and DTLS done.
    pub connected: Option<Duration>,
    /// To the first RTP packet of any track.
    pub first_packet: Option<Duration>,
    /// To the last packet of the first keyframe that came whole: what a decoder needs to paint.
    pub first_keyframe: Option<Duration>,
    /// The last packet of any track.
    pub last_packet: Option<Instant>,
    /// The connection ended, or was lost, before the viewer left.
    pub lost: bool,
    /// Packets of it may be counted by their headers alone: see [`Depth::Light`].
    pub light: bool,
    pub audio: TrackTally,
    pub video: TrackTally,
    /// What players of each of [`HELD_BACK`] would have shown; of no use where packets carry no
    /// stamp, or are read by their headers.
    pub players: [Player; HELD_BACK.len()],
    keyframe: Option<Assembly>,
}

impl ViewerTally {
    /// A viewer that starts to join at `started`; `light` says how closely it will look.
    #[must_use]
    pub fn new(started: Instant, light: bool) -> Self {
        Self {
            started,
            light,
            connected: None,
            first_packet: None,
            first_keyframe: None,
            last_packet: None,
            lost: false,
            audio: TrackTally::default(),
            video: TrackTally::default(),
            players: HELD_BACK.map(Player::new),
            keyframe: None,
        }
    }

    /// Starts to count for another window.
    pub fn begin_window(&mut self) {
        self.audio.begin_window();
        self.video.begin_window();
        self.players.iter_mut().for_each(Player::begin_window);
    }

    /// Counts a packet; its transit goes to `transit` when it was sent within `window`.
    pub fn note(&mut self, packet: Arrival<'_>, window: Window, transit: &mut Times) {
        let since_start = packet.at - self.started;
        self.first_packet.get_or_insert(since_start);
        self.last_packet = Some(packet.at);
        let track = match packet.codec.kind() {
            TrackKind::Audio => &mut self.audio,
            TrackKind::Video => &mut self.video,
        };
        track.rtp.follow(packet.ssrc);
        if !track.rtp.numbers.note(packet.seq) {
            return;
        }
        track.packets += 1;
        track.came_in_window += u64::from(window.holds(packet.at_us));
        track.bytes += packet.payload.len() as u64;
        match payload::stamp_of(packet.codec, packet.payload) {
            Some(found) => {
                track.corrupt += u64::from(!found.intact);
                let new = track.stamps.note(found.stamp.seq.into());
                if new && !self.light && packet.codec.kind() == TrackKind::Video {
                    let starts = payload::starts_keyframe(packet.codec, packet.payload);
                    let piece = Piece {
                        number: found.stamp.seq,
                        rtp_time: packet.rtp_time,
                        starts_keyframe: starts == Some(true),
                        ends_frame: packet.marker,
                        sent_us: found.stamp.sent_us,
                        at_us: packet.at_us,
                    };
                    self.players.iter_mut().for_each(|p| p.note(piece, window));
                }
                if new && window.holds(found.stamp.sent_us) {
                    track.in_window += 1;
                    transit.record_us(packet.at_us.saturating_sub(found.stamp.sent_us));
                }
            }
            None => track.unstamped += 1,
        }
        if packet.codec.kind() == TrackKind::Video && self.first_keyframe.is_none() {
            self.assemble(packet, since_start);
        }
    }

    /// Counts a packet of which only the header can be read.
    pub fn note_header(&mut self, header: Header, window: Window) {
        self.last_packet = Some(header.at);
        let track = match header.kind {
            TrackKind::Audio => &mut self.audio,
            TrackKind::Video => &mut self.video,
        };
        track.rtp.follow(header.ssrc);
        if !track.rtp.numbers.note(track.rtp.numbers.extend(header.seq)) {
            return;
        }
        track.packets += 1;
        track.headers += 1;
        track.came_in_window += u64::from(window.holds(header.at_us));
        track.bytes += header.bytes as u64;
    }

    fn assemble(&mut self, packet: Arrival<'_>, since_start: Duration) {
        let assembly = match &mut self.keyframe {
            Some(assembly) if assembly.rtp_time == packet.rtp_time => assembly,
            _ if payload::starts_keyframe(packet.codec, packet.payload) == Some(true) => {
                self.keyframe.insert(Assembly {
                    rtp_time: packet.rtp_time,
                    first: packet.seq,
                    last: None,
                    packets: 0,
                })
            }
            _ => return,
        };
        assembly.packets += 1;
        if packet.marker {
            assembly.last = Some(packet.seq);
        }
        if assembly
            .last
            .is_some_and(|last| last + 1 == assembly.first + assembly.packets)
        {
            self.first_keyframe = Some(since_start);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Place;
    use crate::stamp::Stamp;

    #[test]
    fn sequences_know_gaps_duplicates_and_late_ones() {
        let check = |seqs: &[u64], missing, duplicates| {
            let mut sequence = Sequence::default();
            seqs.iter().for_each(|s| {
                sequence.note(*s);
            });
            assert_eq!(sequence.missing(), missing, "{seqs:?}");
            assert_eq!(sequence.duplicates(), duplicates, "{seqs:?}");
        };
        check(&[], 0, 0);
        check(&[5, 6, 7], 0, 0);
        check(&[5, 8], 2, 0);
        check(&[5, 8, 6], 1, 0);
        check(&[5, 8, 6, 6, 5], 1, 2);
        check(&[5, 4], 0, 0);
        check(&[5, 3], 1, 0);
        check(&[5, 5 + WINDOW], WINDOW - 1, 0);
        check(&[5, 6 + WINDOW, 6, 7], WINDOW - 1, 1);
        check(&[0, 100, 1_100, 1_000, 1_000], 1_097, 1);
    }

    fn keyframe(count: usize, seqs: &[usize]) -> ViewerTally {
        let at = Instant::now();
        let mut tally = ViewerTally::new(at, false);
        let window = Window {
            from_us: 10,
            to_us: 20,
        };
        let mut transit = Times::default();
        for index in seqs.iter().copied() {
            let stamp = Stamp {
                sent_us: 10 + index as u64,
                seq: index as u32,
                keyframe: true,
            };
            let place = Place {
                index,
                count,
                frame: 1,
            };
            let packet = Arrival {
                codec: Codec::H264,
                ssrc: 1,
                seq: 100 + index as u64,
                rtp_time: 9,
                marker: index + 1 == count,
                payload: &payload::video(Codec::H264, stamp, place, 500),
                at: at + Duration::from_millis(index as u64),
                at_us: 5_000,
            };
            tally.note(packet, window, &mut transit);
        }
        assert_eq!(transit.len(), tally.video.in_window);
        tally
    }

    #[test]
    fn the_first_keyframe_counts_once_it_is_whole() {
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(keyframe(4, &[0, 1, 2, 3]).first_keyframe, ms(3));
        assert_eq!(keyframe(4, &[0, 2, 3, 1]).first_keyframe, ms(1));
        assert_eq!(keyframe(4, &[0, 1, 3]).first_keyframe, None);
        assert_eq!(keyframe(4, &[2, 3]).first_keyframe, None);
    }

    #[test]
    fn short_sequence_numbers_are_extended() {
        let check = |highest: u64, low: u16, extended| {
            let mut sequence = Sequence::default();
            sequence.note(highest);
            assert_eq!(sequence.extend(low), extended, "{low} after {highest}");
        };
        check(70_000, 4_465, 70_001);
        check(70_000, 4_463, 69_999);
        check(65_535, 0, 65_536);
        check(65_536, 65_535, 65_535);
        check(3, 65_535, 0);
        assert_eq!(Sequence::default().extend(9), 9);
    }

    #[test]
    fn headers_alone_show_gaps_and_go_on_from_whole_packets() {
        let mut tally = keyframe(4, &[0, 1, 2, 3]);
        let window = Window {
            from_us: 10,
            to_us: 20,
        };
        for seq in [104, 105, 107, 107] {
            let header = Header {
                kind: TrackKind::Video,
                ssrc: 1,
                seq,
                bytes: 1_000,
                at: tally.started,
                at_us: 15,
            };
            tally.note_header(header, window);
        }
        assert_eq!((tally.video.packets, tally.video.headers), (7, 3));
        assert_eq!(
            (tally.video.rtp_missing(), tally.video.duplicates()),
            (1, 1)
        );
        assert_eq!(
            (tally.video.came_in_window, tally.video.ssrc_changes()),
            (3, 0)
        );
    }

    #[test]
    fn the_window_counts_what_was_sent_in_it() {
        let tally = keyframe(15, &[0, 1, 2, 9, 10, 14, 2]);
        assert_eq!(tally.video.in_window, 4);
        assert_eq!(tally.video.packets, 6);
        assert_eq!(tally.video.rtp_missing(), 9);
        assert_eq!((tally.video.corrupt, tally.video.duplicates()), (0, 1));
    }
}
