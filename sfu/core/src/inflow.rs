//! What a peer may make a shard verify and decrypt: so many datagrams of each kind a second, counted
//! before anything is done with them. More than a sound peer ever sends; the rest is dropped.

use std::time::{Duration, Instant};

use lightstick_types::rate::{Bucket, Limit};

use crate::demux::Kind;

/// Connectivity checks, and answers to ours, from an address that has authenticated itself: agents
/// pace theirs at 20 a second (RFC 8445 section 14.2), and may have some pairs.
const CHECKS: Limit = Limit {
    every: Duration::from_millis(20),
    burst: 100,
};
/// Those from other addresses. They have a budget of their own: whoever forges checks must not
/// keep the peer's away.
const STRANGE_CHECKS: Limit = Limit {
    every: Duration::from_millis(20),
    burst: 50,
};
/// DTLS records: data channels.
const RECORDS: Limit = Limit {
    every: Duration::from_millis(2),
    burst: 1_000,
};
/// RTCP: transport-wide feedback each 50 ms, or with each frame, and a NACK with each loss.
const REPORTS: Limit = Limit {
    every: Duration::from_millis(5),
    burst: 400,
};
/// A session's budgets.
#[derive(Clone, Debug)]
pub struct Inflow {
    checks: Bucket,
    strange_checks: Bucket,
    records: Bucket,
    reports: Bucket,
    media: Bucket,
    media_limit: Limit,
}

impl Inflow {
    /// Full budgets. Of media, `media_packets` a second.
    #[must_use]
    pub fn new(media_packets: u32) -> Self {
        let packets = media_packets.max(1);
        Self {
            checks: Bucket::default(),
            strange_checks: Bucket::default(),
            records: Bucket::default(),
            reports: Bucket::default(),
            media: Bucket::default(),
            media_limit: Limit {
                every: Duration::from_secs(1) / packets,
                burst: packets,
            },
        }
    }

    /// Whether one more datagram of a kind may be handled, from an address that has `known`ly
    /// authenticated itself or from another.
    pub fn admits(&mut self, kind: Kind, known: bool, now: Instant) -> bool {
        match kind {
            Kind::Stun if known => self.checks.take(now, CHECKS),
            Kind::Stun => self.strange_checks.take(now, STRANGE_CHECKS),
            Kind::Dtls => self.records.take(now, RECORDS),
            Kind::Rtcp => self.reports.take(now, REPORTS),
            Kind::Rtp => self.media.take(now, self.media_limit),
            Kind::Junk => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(inflow: &mut Inflow, kind: Kind, known: bool, start: Instant, each_us: u64) -> u64 {
        let times = (0..10_000_000 / each_us).map(|n| start + Duration::from_micros(n * each_us));
        times.filter(|now| inflow.admits(kind, known, *now)).count() as u64
    }

    #[test]
    fn a_flood_of_any_kind_gets_its_rate() {
        // Ten seconds of 20,000 datagrams a second.
        for (kind, known, most) in [
            (Kind::Stun, true, 100 + 500_u64),
            (Kind::Stun, false, 50 + 500),
            (Kind::Dtls, true, 1_000 + 5_000),
            (Kind::Rtcp, true, 400 + 2_000),
            (Kind::Rtp, true, 300 + 3_000),
            (Kind::Junk, true, 0),
        ] {
            let mut inflow = Inflow::new(300);
            let got = admitted(&mut inflow, kind, known, Instant::now(), 50);
            let expected = most.saturating_sub(2)..=most;
            assert!(expected.contains(&got), "{kind:?} {known}: {got}");
        }
    }

    #[test]
    fn what_sound_peers_send_passes() {
        // A datagram each so many microseconds, for ten seconds.
        for (kind, each_us) in [
            (Kind::Stun, 50_000),
            (Kind::Rtcp, 8_000),
            (Kind::Dtls, 5_000),
            (Kind::Rtp, 1_000),
        ] {
            let mut inflow = Inflow::new(1_100);
            let got = admitted(&mut inflow, kind, true, Instant::now(), each_us);
            assert_eq!(got, 10_000_000 / each_us, "{kind:?}");
        }
    }

    #[test]
    fn forged_checks_leave_the_peer_its_own() {
        let now = Instant::now();
        let mut inflow = Inflow::new(1);
        while inflow.admits(Kind::Stun, false, now) {}
        assert!(inflow.admits(Kind::Stun, true, now));
    }
}
