//! Quantiles of durations, as they are reported.

use serde::{Deserialize, Serialize};

use crate::tally::Times;

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Millis {
    /// How many there were. The rest is 0 where there was none.
    pub count: u64,
    /// Half took no longer.
    pub p50: f64,
    /// 95 of 100 took no longer.
    pub p95: f64,
    /// 99 of 100 took no longer.
    pub p99: f64,
    /// 999 of 1,000 took no longer.
    pub p999: f64,
    pub max: f64,
}

impl From<&Times> for Millis {
    fn from(times: &Times) -> Self {
        Self {
            count: times.len(),
            p50: times.quantile_ms(0.5),
            p95: times.quantile_ms(0.95),
            p99: times.quantile_ms(0.99),
            p999: times.quantile_ms(0.999),
            max: times.max_ms(),
        }
    }
}
