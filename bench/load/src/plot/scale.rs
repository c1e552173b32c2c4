//! From values to places on an axis, and the round numbers written beside it.

/// Ticks wanted on an axis; there may be a few more or less.
const TICKS: f64 = 6.0;

#[derive(Clone, Debug)]
pub(super) struct Scale {
    from: f64,
    to: f64,
    log: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    pub(super) value: f64,
    pub(super) label: String,
}

impl Scale {
    /// From 0 to a round number that is not below `max`.
    pub(super) fn linear(max: f64) -> Self {
        let max = if max > 0.0 { max } else { 1.0 };
        let step = round_up(max / TICKS);
        Self {
            from: 0.0,
            to: (max / step - 1e-9).ceil() * step,
            log: false,
        }
    }

    /// Logarithmic, between round numbers around `values`; those that are not above 0 are left out.
    pub(super) fn log(values: &[f64]) -> Self {
        let values = || values.iter().copied().filter(|v| *v > 0.0);
        let (min, max) = (values().reduce(f64::min), values().reduce(f64::max));
        let (min, max) = min.zip(max).unwrap_or((1.0, 10.0));
        Self {
            from: 1.0 / round_up(1.0 / min),
            // Never as long as a point.
            to: round_up(max * 1.01),
            log: true,
        }
    }

    /// Where `value` is, from 0 at the start to 1 at the end; beyond them, at them.
    pub(super) fn place(&self, value: f64) -> f64 {
        let place = if self.log {
            (value.max(self.from) / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        place.clamp(0.0, 1.0)
    }

    /// Round numbers along the axis, in order.
    pub(super) fn ticks(&self) -> Vec<Tick> {
        let tick = |value: f64| Tick {
            value,
            label: label(value),
        };
        if !self.log {
            let step = round_up(self.to / TICKS);
            let count = (self.to / step).round() as u32;
            return (0..=count).map(|n| tick(f64::from(n) * step)).collect();
        }
        let mut ticks = vec![tick(self.from)];
        while let Some(last) = ticks.last()
            && last.value < self.to * 0.999
        {
            let next = round_up(last.value * 1.01);
            ticks.push(tick(next));
        }
        ticks
    }
}

/// The least of 1, 2 and 5 times a power of ten that is not below `value`.
fn round_up(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let digits = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|d| d * power >= value * 0.999_999);
    digits.unwrap_or(10.0) * power
}

/// Without the digits that a round number does not need.
fn label(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: &Scale) -> String {
        let labels: Vec<_> = scale.ticks().into_iter().map(|t| t.label).collect();
        labels.join(" ")
    }

    #[test]
    fn linear_axes_start_at_zero_and_end_at_a_round_number() {
        let check = |max, text: &str| assert_eq!(labels(&Scale::linear(max)), text, "{max}");
        check(0.0, "0 0.2 0.4 0.6 0.8 1");
        check(1.0, "0 0.2 0.4 0.6 0.8 1");
        check(0.0075, "0 0.002 0.004 0.006 0.008");
        check(600.0, "0 100 200 300 400 500 600");
        check(2_000.0, "0 500 1000 1500 2000");
        check(87.0, "0 20 40 60 80 100");
    }

    #[test]
    fn logarithmic_axes_hold_their_values() {
        let check = |values: &[f64], text: &str| assert_eq!(labels(&Scale::log(values)), text);
        check(&[0.7, 3.0, 0.0], "0.5 1 2 5");
        check(&[1.0, 200.0], "1 2 5 10 20 50 100 200 500");
        check(&[], "1 2 5 10 20");
    }

    #[test]
    fn places_run_from_start_to_end() {
        let linear = Scale::linear(100.0);
        assert_eq!(
            [0.0, 50.0, 100.0, 900.0].map(|v| linear.place(v)),
            [0.0, 0.5, 1.0, 1.0]
        );
        let log = Scale::log(&[1.0, 99.0]);
        assert_eq!(
            [0.0, 1.0, 10.0, 100.0].map(|v| log.place(v)),
            [0.0, 0.0, 0.5, 1.0]
        );
    }
}
