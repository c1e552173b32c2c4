//! Wall-clock time as RTP writes it (RFC 3550 section 4): seconds since 1900 as 32.32 fixed point.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Seconds from 1900 to 1970.
const UNIX_EPOCH_SECONDS: u64 = 2_208_988_800;

/// A time as 32.32 fixed point; it wraps in 2036.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ntp(pub u64);

impl Ntp {
    /// The middle 32 bits: 16.16 seconds, as reports echo them.
    #[must_use]
    pub fn middle(self) -> u32 {
        (self.0 >> 16) as u32
    }
}

impl From<SystemTime> for Ntp {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
        Self((since.as_secs().wrapping_add(UNIX_EPOCH_SECONDS) << 32) | fraction)
    }
}

/// The wall clock of one session: read once, and from then on as steady as an [`Instant`]. A clock
/// that is set in between changes no round-trip time and no lip sync.
#[derive(Clone, Copy, Debug)]
pub struct SessionClock {
    now: Instant,
    wall: SystemTime,
}

impl SessionClock {
    /// The clock of a session that begins now.
    #[must_use]
    pub fn new(now: Instant, wall: SystemTime) -> Self {
        Self { now, wall }
    }

    #[must_use]
    pub fn ntp(&self, now: Instant) -> Ntp {
        let wall = self.wall + now.saturating_duration_since(self.now);
        wall.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_session_clock_goes_on_with_the_monotonic_one() {
        let (now, wall) = (Instant::now(), UNIX_EPOCH + Duration::from_secs(77));
        let clock = SessionClock::new(now, wall);
        let later = Duration::from_millis(2_500);
        assert_eq!(clock.ntp(now + later), Ntp::from(wall + later));
    }

    #[test]
    fn the_unix_epoch_and_a_half_second_more() {
        let at = UNIX_EPOCH + Duration::from_millis(1_500);
        let ntp = Ntp::from(at);
        assert_eq!(ntp.0, ((UNIX_EPOCH_SECONDS + 1) << 32) | 0x8000_0000);
        assert_eq!(
            ntp.middle(),
            ((UNIX_EPOCH_SECONDS as u32 + 1) << 16) | 0x8000
        );
    }
}
