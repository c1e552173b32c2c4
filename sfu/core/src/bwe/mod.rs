//! What a viewer's link carries: a bandwidth estimator for the sending side, without IO.
//!
//! A packet that leaves is noted in `sent.rs` and gets a transport-wide sequence number. The
//! viewer's feedback (`feedback.rs`) says when it came: `delay.rs` sees from that whether queues
//! grow, `loss.rs` whether too much is missing, and `rate.rs` makes an estimate of it. What is not
//! sent cannot be measured, so `probe.rs` asks for padding while a low layer leaves the link idle.
//! Feedback that stays away (`silence.rs`) lets the estimate fade. Clients without such feedback
//! are judged by `reports.rs`.

mod delay;
mod feedback;
mod loss;
mod overuse;
mod probe;
mod queue;
mod rate;
mod reports;
mod round_trip;
mod sent;
mod silence;
mod window;

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use lightstick_types::Bitrate;

pub use feedback::{Feedback, FeedbackError, PACKETS_MAX, PacketStatus};
pub use probe::{ClusterId, Probe};

use delay::DelayDetector;
use loss::LossBound;
use overuse::Usage;
use probe::{Prober, Shown, Situation};
use rate::{LIMITED, Measured, RateControl};
use reports::Reports;
use round_trip::RoundTrip;
use sent::Sent;
use silence::Silence;
use window::Window;

/// Microseconds: of our clock since the estimator began, of the receiver's since anything.
type Micros = i64;

/// A step of the receiver's reference time, section 3.1 of the feedback draft.
const REFERENCE: Micros = 64_000;
/// A step of its deltas.
const DELTA: Micros = 250;
/// A queue must have stood for this long before the rate that comes in counts as the link's.
const BUSY_MIN: Micros = 120_000;
const BUSY_MAX: Micros = 500_000;
/// A queue shorter than this when it is asked whether to probe.
const QUEUE_CALM: Micros = 20_000;
/// What is left of the estimate with each interval of silence.
const FADE: f64 = 0.7;
/// After this long without it, a viewer's feedback no longer stands against its reports.
const FEEDBACK_GONE: Micros = 30_000_000;

/// The bandwidth estimator of one viewer.
///
/// Call [`Self::sent`] or [`Self::sent_probe`] for each packet, the `on_` functions for what the
/// viewer sends, and [`Self::poll_probe`] several times a second, whether or not more is wanted.
/// About 9.5 KiB, allocated once.
#[derive(Clone, Debug)]
pub struct Estimator {
    start: Instant,
    sent: Sent,
    /// The last reference time that was read, without wraps.
    reference: Option<i64>,
    /// Bytes that came, by the receiver's clock and by ours.
    arrived: Window,
    left: Window,
    delay: DelayDetector,
    rate: RateControl,
    loss: LossBound,
    reports: Reports,
    prober: Prober,
    silence: Silence,
    round_trip: RoundTrip,
}

impl Estimator {
    /// An estimator that begins with a guess, which the first feedback or report makes an
    /// estimate.
    #[must_use]
    pub fn new(now: Instant, start: Bitrate) -> Self {
        let guess = start.bps() as f64;
        Self {
            start: now,
            sent: Sent::new(),
            reference: None,
            arrived: Window::new(),
            left: Window::new(),
            delay: DelayDetector::new(),
            rate: RateControl::new(guess),
            loss: LossBound::new(),
            reports: Reports::new(guess),
            prober: Prober::new(),
            silence: Silence::default(),
            round_trip: RoundTrip::default(),
        }
    }

    /// Notes a packet that leaves and returns its transport-wide sequence number. To be called
    /// also where the viewer's client takes no such number: reports are judged by what is sent.
    #[inline]
    pub fn sent(&mut self, now: Instant, bytes: usize) -> u16 {
        let now = self.micros(now);
        self.sent.push(now, bytes)
    }

    /// Notes a packet of padding or retransmission that leaves for a probe.
    pub fn sent_probe(&mut self, now: Instant, bytes: usize, cluster: ClusterId) -> u16 {
        let now = self.micros(now);
        self.prober.sent(now, cluster, self.sent.next(), bytes);
        self.sent.push(now, bytes)
    }

    /// Reads a transport-wide feedback: what follows the two SSRCs of an RTCP packet of type 205
    /// and FMT 15. Packets that are not remembered, or known about already, are passed over.
    pub fn on_feedback(&mut self, now: Instant, fci: &[u8]) -> Result<(), FeedbackError> {
        let feedback = Feedback::parse(fci)?;
        let now = self.micros(now);
        let origin = self.unwrap_reference(feedback.reference_time) * REFERENCE;
        let mut newest_sent = None;
        let mut news = false;
        for packet in feedback.packets() {
            let came = packet.arrival.is_some();
            let Some(settled) = self.sent.settle(now, packet.sequence, came) else {
                continue;
            };
            news = true;
            self.silence.spoke_of(settled.index);
            let Some(ticks) = packet.arrival else {
                self.loss.lost();
                continue;
            };
            let arrival = origin + Micros::from(ticks) * DELTA;
            newest_sent = newest_sent.max(Some(settled.sent));
            self.loss.received(settled.was_lost);
            self.arrived.add(arrival, settled.bytes);
            self.left.add(settled.sent, settled.bytes);
            self.prober.received(&settled, arrival);
            if self.prober.disturbs(settled.sent) {
                self.delay.skip();
            } else {
                self.delay.on_packet(settled.sent, arrival);
            }
        }
        if !news {
            return Ok(());
        }
        self.silence.heard(now);
        if let Some(sent) = newest_sent {
            self.round_trip.guess(now, now - sent);
        }
        let measured = self.measured();
        self.rate.update(now, &measured);
        self.loss
            .update(now, self.rate.estimate(), measured.delivered);
        self.settle_probe(now);
        Ok(())
    }

    /// Hears a receiver report: the part of the packets that was lost, in 256ths, and the round
    /// trip where it can be told (RFC 3550 section 6.4.1).
    pub fn on_report(&mut self, now: Instant, fraction_lost: u8, round_trip: Option<Duration>) {
        let now = self.micros(now);
        if let Some(sample) = round_trip {
            self.round_trip.on_report(now, whole_micros(sample));
        }
        let sent = self.sent.rate(now, 1_000_000);
        self.reports.on_report(now, fraction_lost, sent);
    }

    /// Hears a REMB message. It counts only where there is no transport-wide feedback.
    pub fn on_remb(&mut self, bitrate: Bitrate) {
        self.reports.on_remb(bitrate.bps() as f64);
    }

    /// What the link is believed to carry, headers of RTP included as far as the caller counts
    /// them. `None`: nothing is known yet.
    #[must_use]
    pub fn estimate(&self) -> Option<Bitrate> {
        let bps = if self.silence.heard_at().is_some() {
            let bound = self.loss.bound().unwrap_or(f64::INFINITY);
            self.rate.estimate().min(bound)
        } else {
            self.reports.estimate()?
        };
        Some(Bitrate(bps as u64))
    }

    /// The smoothed round trip.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip
            .get()
            .map(|micros| Duration::from_micros(micros.max(0) as u64))
    }

    /// The part of the packets that was lost lately, 0 to 1.
    #[must_use]
    pub fn loss(&self) -> Option<f32> {
        self.loss.loss().or(self.reports.loss())
    }

    /// Lets time pass, and says whether to probe now. `wanted` is the rate of all that would be
    /// sent with the next higher layer, `None` where there is nothing to gain. Probes that fail
    /// come ever more seldom, down to one in 8 seconds; where a layer was gained by one and lost
    /// again soon, in 64.
    pub fn poll_probe(&mut self, now: Instant, wanted: Option<Bitrate>) -> Option<Probe> {
        let now = self.micros(now);
        self.settle_probe(now);
        let heard_at = self.silence.heard_at()?;
        if self.hear_silence(now, heard_at) {
            return None;
        }
        let estimate = self.estimate()?.bps() as f64;
        let cut_at = self.rate.cut_at().max(self.loss.cut_at());
        self.prober.review(now, estimate, cut_at);
        let at = Situation {
            now,
            estimate,
            delivered: self.arrived.rate(BUSY_MAX)?,
            wanted: wanted?.bps() as f64,
        };
        // Close to the estimate, what is sent moves it by itself.
        let idle = at.delivered < LIMITED * at.estimate;
        let calm = self.delay.usage() == Usage::Normal && self.delay.queue().delay() < QUEUE_CALM;
        if at.estimate >= at.wanted || !idle || !calm {
            return None;
        }
        self.prober.poll(&at)
    }

    fn measured(&self) -> Measured {
        let acked = self.arrived.rate(BUSY_MAX);
        let busy = self
            .delay
            .queue()
            .busy_for()
            .filter(|busy| *busy >= BUSY_MIN)
            .and_then(|busy| self.arrived.rate(busy.min(BUSY_MAX)));
        // A stall that ends lets more in at once than was ever sent in that time; what left and
        // what came agree only for what the link carries.
        let delivered = self
            .arrived
            .rate(1_000_000)
            .zip(self.left.rate(1_000_000))
            .map(|(came, left)| came.min(left));
        Measured {
            usage: self.delay.usage(),
            busy,
            acked,
            delivered,
            round_trip: self.round_trip.assumed(),
        }
    }

    fn settle_probe(&mut self, now: Micros) {
        match self.prober.settle(now, self.silence.last()) {
            Some(Shown::Carries(bps)) => {
                self.rate.raise(bps);
                self.loss.raise(bps);
            }
            Some(Shown::Full(bps)) => {
                let delivered = self.arrived.rate(BUSY_MAX).unwrap_or(0.0);
                self.rate.limit(now, bps, delivered);
            }
            None => {}
        }
    }

    /// Whether feedback is overdue; the estimate fades meanwhile.
    fn hear_silence(&mut self, now: Micros, heard_at: Micros) -> bool {
        if now - heard_at > FEEDBACK_GONE && self.reports.estimate().is_some() {
            self.silence.forget();
            return true;
        }
        let round_trip = self.round_trip.assumed();
        if !self
            .silence
            .is_overdue(now, heard_at, &self.sent, round_trip)
        {
            return false;
        }
        if self.silence.fades(now) {
            self.rate.fade(FADE);
        }
        true
    }

    /// The reference time has 24 bits and wraps after twelve days; it may also step back a little
    /// where feedback is reordered.
    fn unwrap_reference(&mut self, reference: u32) -> i64 {
        let last = self.reference.unwrap_or(i64::from(reference));
        let step = (reference.wrapping_sub(last as u32) << 8).cast_signed() >> 8;
        let unwrapped = last + i64::from(step);
        self.reference = Some(unwrapped);
        unwrapped
    }

    #[inline]
    fn micros(&self, now: Instant) -> Micros {
        whole_micros(now.saturating_duration_since(self.start))
    }
}

/// In 64 bits: `Duration::as_micros` calculates in 128.
#[inline]
fn whole_micros(duration: Duration) -> Micros {
    duration.as_secs() as Micros * 1_000_000 + Micros::from(duration.subsec_micros())
}
