//! Wall-clock time as RTP writes it (RFC 3550 section 4): seconds since 1900 as 32.32 fixed point.

use std::time::{SystemTime, UNIX_EPOCH};

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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

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
