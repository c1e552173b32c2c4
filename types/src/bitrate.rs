//! Bit rates.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A bit rate in bits per second.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Bitrate(pub u64);

impl Bitrate {
    /// A rate given in kilobits (1,000 bits) per second.
    #[must_use]
    pub const fn kbps(kbps: u64) -> Self {
        Self(kbps * 1_000)
    }

    /// Bits per second.
    #[must_use]
    pub const fn bps(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Bitrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0..1_000 => write!(f, "{} bit/s", self.0),
            1_000..1_000_000 => write!(f, "{:.0} kbit/s", self.0 as f64 / 1e3),
            _ => write!(f, "{:.2} Mbit/s", self.0 as f64 / 1e6),
        }
    }
}
