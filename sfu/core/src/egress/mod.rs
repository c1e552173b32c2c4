//! A viewer's media on its way out: numbered and chosen packets become SRTP, reports are written
//! and read, lost packets are sent again.
//!
//! An [`Egress`] owns its session's keys and everything that is sent under them: media, resent
//! packets (RFC 4588) and RTCP. It writes into buffers of the caller, whose sockets it does not
//! know.

mod header;
mod sent;
mod stream;

use std::time::{Duration, Instant, SystemTime};

use lightstick_types::{Bitrate, TrackKind, VIDEO_TRACKS_MAX};

pub use header::ExtensionIds;
use header::{Fixed, Writer};
pub use stream::{Accepted, StreamConfig};
use stream::{Outgoing, accepted, append_payload};

use crate::bwe::{ClusterId, Estimator, Probe};
use crate::history::History;
use crate::ntp::SessionClock;
use crate::packet::{HEADERS, MediaPacket};
use crate::rewrite::Rewritten;
use crate::rtcp::{self, Feedback, RtcpError};
use crate::sections::Sections;
use crate::srtp::{OpenError, RtcpOpener, Sealer};

/// Sender reports go out this often: often enough for lip sync soon after a join, and cheap.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// A packet is not sent again sooner than this, nor within three quarters of a round trip: a receiver
/// asks again after a whole one, as far as it and we know how long that is.
const RESEND_APART_MIN: Duration = Duration::from_millis(10);
/// However long a round trip is said to take, a packet is sent again after this.
const RESEND_APART_MAX: Duration = Duration::from_secs(1);
/// Of the bytes of video sent, one part in this many may be sent again: what is lost beyond is not
/// repaired by sending still more into the same link.
const RESEND_PART: u64 = 4;
/// What may be sent again at once, and before any media was sent.
const RESEND_BURST_BYTES: u64 = 64 << 10;
/// Assumed of a link that has not reported yet: enough for any usual show, so that everybody
/// starts with the best picture.
const FIRST_ESTIMATE: Bitrate = Bitrate(8_000_000);
/// A probe repeats the last so many packets.
const PROBE_PACKETS: u16 = 32;
/// Most bytes of padding that make a packet as long as its neighbours.
const PAD_MAX: usize = 96;

/// How long a packet should be, so that it fits into a run of equal datagrams. Padding makes up for
/// what is missing, where that is little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// As the longest payload of its run, in bytes: it is the first.
    Payload(usize),
    /// As the datagrams of its run, in bytes.
    Datagram(usize),
}

/// Why a viewer does not get a packet that was meant for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// The viewer's offer has no such codec or profile.
    #[error("no such format was negotiated")]
    Format,
    /// Nothing was negotiated to send it on.
    #[error("no such stream was negotiated")]
    Stream,
    /// Its number was used before, or is too old.
    #[error("the packet number was already used")]
    Number,
    /// What is to be sent again is not kept any more, or was just sent.
    #[error("the packet is no longer kept, or was just sent again")]
    Gone,
    /// Too much was sent again already.
    #[error("over the retransmission budget")]
    Budget,
}

/// Why an RTCP datagram is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotHeard {
    #[error(transparent)]
    Sealed(#[from] OpenError),
    /// It is authentic, and no RTCP.
    #[error(transparent)]
    Rtcp(#[from] RtcpError),
}

/// What a viewer's RTCP said, for the caller to act on. Reused from datagram to datagram.
#[derive(Debug, Default)]
pub struct Heard {
    /// Packets of video that are missing: the section, by its place from 0 on, and the number.
    pub lost: Vec<(u8, u16)>,
    /// How often it was said that a picture can't be decoded.
    pub keyframe_requests: u64,
    /// Of which section that was said.
    pub undecodable: [bool; VIDEO_TRACKS_MAX],
    /// There is a new estimate of what the link carries.
    pub estimated: bool,
    /// Transport-wide feedback that could not be read.
    pub broken: u64,
    /// By how many packets the reported losses have grown.
    pub newly_lost: u64,
}

impl Heard {
    /// Lost packets of one datagram that are read; more cannot be repaired in time anyhow.
    const LOST_MAX: usize = 1_024;
    /// Packets that the transport-wide feedback of one datagram may speak of: some seconds' worth.
    /// Few bytes claim many.
    const STATUSES_MAX: u16 = 8_192;

    fn clear(&mut self) {
        self.lost.clear();
        (self.keyframe_requests, self.newly_lost, self.broken) = (0, 0, 0);
        self.undecodable = Default::default();
        self.estimated = false;
    }
}

/// A viewer's sending side.
#[derive(Debug)]
pub struct Egress {
    sealer: Sealer,
    opener: RtcpOpener,
    audio: Option<Outgoing>,
    video: Sections<Outgoing>,
    started_at: Instant,
    clock: SessionClock,
    report_at: Instant,
    resend_credit: u64,
    /// Counts the packets of probes.
    probed: u16,
    estimator: Estimator,
}

/// Why a packet is sent once more.
#[derive(Clone, Copy)]
enum Why {
    Lost,
    Probe(ClusterId),
}

/// Which of a viewer's streams a packet leaves on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Audio,
    /// A video section, by its place from 0 on.
    Video(usize),
}

impl Egress {
    /// The sending side of a session whose keys are there. Audio streams beyond the first, video
    /// streams beyond [`VIDEO_TRACKS_MAX`], and those whose SSRC is taken, are left out. Of each
    /// video stream the last `resend_packets` can be sent again.
    #[must_use]
    pub fn new(
        (mut sealer, opener): (Sealer, RtcpOpener),
        configs: impl IntoIterator<Item = StreamConfig>,
        resend_packets: usize,
        now: Instant,
        wall_now: SystemTime,
    ) -> Self {
        let (mut audio, mut video) = (None, Vec::new());
        for config in configs {
            let kind = config.kind;
            let Some(outgoing) = Outgoing::new(config, &mut sealer, resend_packets) else {
                continue;
            };
            match kind {
                TrackKind::Audio if audio.is_none() => audio = Some(outgoing),
                TrackKind::Video if video.len() < VIDEO_TRACKS_MAX => video.push(outgoing),
                TrackKind::Audio | TrackKind::Video => {}
            }
        }
        Self {
            sealer,
            opener,
            audio,
            video: video.into_iter().collect(),
            started_at: now,
            clock: SessionClock::new(now, wall_now),
            report_at: now + REPORT_EVERY,
            resend_credit: RESEND_BURST_BYTES,
            probed: 0,
            estimator: Estimator::new(now, FIRST_ESTIMATE),
        }
    }

    fn streams(&self) -> impl Iterator<Item = &Outgoing> {
        self.audio.iter().chain(self.video.iter())
    }

    /// Appends a packet to `out`, sealed.
    ///
    /// # Errors
    /// [`NotSent`]; `out` is as it was then.
    #[inline]
    pub fn media(
        &mut self,
        place: Place,
        packet: &MediaPacket,
        rewritten: &Rewritten,
        fit: Fit,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Result<(), NotSent> {
        let outgoing = match place {
            Place::Audio => self.audio.as_mut(),
            Place::Video(place) => self.video.get_mut(place),
        };
        let outgoing = outgoing.ok_or(NotSent::Stream)?;
        let (accepted, payload) = outgoing.place(packet).ok_or(NotSent::Format)?;
        let payload = if rewritten.empty { &[] } else { payload };
        let index = outgoing
            .stream
            .claim(rewritten.sequence)
            .ok_or(NotSent::Number)?;
        let start = out.len();
        let fixed = Fixed {
            payload_type: accepted.payload_type,
            marker: packet.marker && !rewritten.empty,
            timestamp: rewritten.timestamp,
        };
        let mut writer = Writer::begin(out, &index, fixed);
        let ids = &outgoing.config.extensions;
        // Headers and tag of all streams are about alike.
        let bytes = payload.len() + HEADERS;
        writer.transport_sequence(ids, self.estimator.sent(now, bytes));
        if !outgoing.known {
            writer.mid(ids, outgoing.config.mid.as_bytes());
        }
        writer.passed_on(ids, &packet.extensions);
        let header = writer.end();
        append_payload(out, payload, packet, rewritten);
        let missing = match fit {
            Fit::Payload(longest) => longest.saturating_sub(payload.len()),
            Fit::Datagram(length) => {
                let natural = out.len() - start + self.sealer.tag_len();
                length.saturating_sub(natural)
            }
        };
        if (1..=PAD_MAX).contains(&missing) {
            header::pad(out, start, missing as u8);
        }
        self.sealer.seal_rtp(index, out, start, header);
        outgoing.count(rewritten, payload.len());
        if let Some(resend) = outgoing.resend.as_mut().filter(|_| !rewritten.empty) {
            resend.sent.note(packet, rewritten);
            let credit = self.resend_credit + payload.len() as u64 / RESEND_PART;
            self.resend_credit = credit.min(RESEND_BURST_BYTES);
        }
        Ok(())
    }

    /// Appends a video packet once more, as RFC 4588 wants it: on a stream of its own, with its
    /// first number in front of the payload.
    ///
    /// # Errors
    /// [`NotSent`]; `out` is as it was then.
    pub fn resend(
        &mut self,
        (place, lost): (u8, u16),
        history: &History,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Result<(), NotSent> {
        self.repeat((place, lost), Why::Lost, history, now, out)
    }

    /// Appends a packet of the first section's recent past once more, as padding of a probe.
    ///
    /// # Errors
    /// [`NotSent`]; `out` is as it was then.
    pub fn probe(
        &mut self,
        cluster: ClusterId,
        history: &History,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Result<(), NotSent> {
        let last = self.video.first().ok_or(NotSent::Stream)?.last_number;
        self.probed = self.probed.wrapping_add(1);
        let repeated = last.wrapping_sub(self.probed % PROBE_PACKETS);
        self.repeat((0, repeated), Why::Probe(cluster), history, now, out)
    }

    fn repeat(
        &mut self,
        (place, number): (u8, u16),
        why: Why,
        history: &History,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Result<(), NotSent> {
        let outgoing = self.video.get_mut(place.into()).ok_or(NotSent::Stream)?;
        let resend = outgoing.resend.as_mut().ok_or(NotSent::Stream)?;
        let trip = self.estimator.round_trip().unwrap_or_default();
        let entry = match why {
            Why::Lost => {
                let since = now.saturating_duration_since(self.started_at);
                let apart = (trip * 3 / 4).clamp(RESEND_APART_MIN, RESEND_APART_MAX);
                resend.sent.take(number, since, apart)
            }
            Why::Probe(_) => resend.sent.get(number),
        };
        let entry = entry.ok_or(NotSent::Gone)?;
        let (highest, _) = history.head(entry.stream());
        let packet = history
            .get(entry.stream(), entry.source_sequence(highest))
            .filter(|packet| entry.is_of(packet))
            .ok_or(NotSent::Gone)?;
        let rewritten = entry.rewritten(packet);
        let credit = match why {
            Why::Lost => self
                .resend_credit
                .checked_sub(packet.payload.len() as u64)
                .ok_or(NotSent::Budget)?,
            Why::Probe(_) => self.resend_credit,
        };
        let payload_type = accepted(&outgoing.config.accepted, packet.format)
            .and_then(|accepted| accepted.resend_payload_type)
            .ok_or(NotSent::Format)?;
        let index = resend.stream.claim_next().ok_or(NotSent::Number)?;
        self.resend_credit = credit;
        let start = out.len();
        let fixed = Fixed {
            payload_type,
            marker: packet.marker,
            timestamp: rewritten.timestamp,
        };
        let mut writer = Writer::begin(out, &index, fixed);
        let ids = &outgoing.config.extensions;
        let bytes = packet.payload.len() + HEADERS;
        let transport_sequence = match why {
            Why::Lost => self.estimator.sent(now, bytes),
            Why::Probe(cluster) => self.estimator.sent_probe(now, bytes, cluster),
        };
        writer.transport_sequence(ids, transport_sequence);
        writer.mid(ids, outgoing.config.mid.as_bytes());
        writer.passed_on(ids, &packet.extensions);
        let header = writer.end();
        out.extend_from_slice(&number.to_be_bytes());
        append_payload(out, &packet.payload, packet, &rewritten);
        self.sealer.seal_rtp(index, out, start, header);
        Ok(())
    }

    /// When [`report`](Self::report) is due.
    #[must_use]
    pub fn report_at(&self) -> Instant {
        self.report_at
    }

    /// Appends a sealed compound of sender reports, one for each stream that has sent, where it is
    /// due. False: nothing was appended.
    pub fn report(&mut self, now: Instant, out: &mut Vec<u8>) -> bool {
        if now < self.report_at {
            return false;
        }
        self.report_at = now + REPORT_EVERY;
        let start = out.len();
        let ntp = self.clock.ntp(now);
        for outgoing in self.streams() {
            if let Some(info) = outgoing.sender_info(now, ntp) {
                rtcp::write_sender_report(&info, out);
            }
        }
        if out.len() == start {
            return false;
        }
        let senders = self.streams().filter(|o| o.last.is_some());
        rtcp::write_cnames(senders.map(|o| (o.stream.ssrc(), &*o.config.cname)), out);
        if self.sealer.seal_rtcp(out, start).is_err() {
            out.truncate(start);
            return false;
        }
        true
    }

    /// Reads a datagram of SRTCP, which is opened in place, into `heard`.
    ///
    /// # Errors
    /// [`NotHeard`]. What an RTCP compound says before it breaks off is in `heard`.
    pub fn hear(
        &mut self,
        datagram: &mut [u8],
        now: Instant,
        heard: &mut Heard,
    ) -> Result<(), NotHeard> {
        heard.clear();
        let Self {
            opener,
            audio,
            video,
            estimator,
            clock,
            ..
        } = self;
        let mut statuses = Heard::STATUSES_MAX;
        let compound = opener.open(datagram)?;
        rtcp::read(compound, |feedback| match feedback {
            Feedback::Report(block) => {
                let of = |o: &&mut Outgoing| o.stream.ssrc() == block.ssrc;
                let mut streams = audio.iter_mut().chain(video.iter_mut());
                let Some(outgoing) = streams.find(of) else {
                    return;
                };
                outgoing.known = true;
                heard.newly_lost += outgoing.newly_lost(&block);
                if outgoing.config.kind == TrackKind::Video {
                    let trip = block.round_trip(clock.ntp(now));
                    let trip = trip.map(|trip| Duration::from_secs_f64(f64::from(trip) / 65_536.0));
                    estimator.on_report(now, block.fraction_lost, trip);
                    heard.estimated = true;
                }
            }
            Feedback::Nack { ssrc, lost } => {
                if let Some(place) = section_of(video, ssrc) {
                    let room = Heard::LOST_MAX - heard.lost.len();
                    let lost = lost.iter().map(|number| (place as u8, number));
                    heard.lost.extend(lost.take(room));
                }
            }
            Feedback::KeyframeRequest { ssrc } => {
                if let Some(place) = section_of(video, ssrc) {
                    heard.undecodable[place] = true;
                    heard.keyframe_requests += 1;
                }
            }
            Feedback::TransportWide(information) => {
                let claimed = rtcp::packets_claimed(information);
                let Some(left) = statuses.checked_sub(claimed) else {
                    heard.broken += 1;
                    return;
                };
                statuses = left;
                // Feedback that breaks off says less, and is no reason to drop what else is here.
                heard.broken += u64::from(estimator.on_feedback(now, information).is_err());
                heard.estimated = true;
            }
            Feedback::Remb(bps) => {
                estimator.on_remb(Bitrate(bps));
                heard.estimated = true;
            }
        })?;
        Ok(())
    }

    /// What the viewer's link is believed to carry; `None` before it reported anything.
    #[must_use]
    pub fn estimate(&self) -> Option<Bitrate> {
        self.estimator.estimate()
    }

    /// Whether a probe is to be sent now; see [`Estimator::poll_probe`]. To be called several times
    /// a second.
    pub fn poll_probe(&mut self, now: Instant, wanted: Option<Bitrate>) -> Option<Probe> {
        self.estimator.poll_probe(now, wanted)
    }

    /// Round-trip time by the last reports.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.estimator.round_trip()
    }

    /// Fraction of the packets lost by the last reports, 0 to 1.
    #[must_use]
    pub fn loss(&self) -> Option<f32> {
        self.estimator.loss()
    }
}

/// The video section that a stream is of.
fn section_of(video: &Sections<Outgoing>, ssrc: u32) -> Option<usize> {
    video.iter().position(|o| o.stream.ssrc() == ssrc)
}

#[cfg(test)]
mod tests;
