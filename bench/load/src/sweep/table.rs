//! A sweep for people.

use std::fmt::{self, Display, Formatter};

use super::{Ending, Estimate, Step, Sweep};
use crate::millis::Millis;

/// Stands in place of a figure that there is none of.
const NONE: &str = "-";

const COLUMNS: [(&str, &str, usize); 16] = [
    ("", "viewers", 9),
    ("delivered", "packets/s", 10),
    ("loss", "%", 7),
    ("transit", "p50 ms", 8),
    ("", "p99", 8),
    ("", "p99.9", 8),
    ("server", "cores", 7),
    ("busiest", "thread", 8),
    ("ns a", "packet", 7),
    ("memory", "MiB", 7),
    ("KiB a", "viewer", 7),
    ("packets", "a send", 8),
    ("gener.", "cores", 7),
    ("busiest", "thread", 8),
    ("ns light", "packet", 9),
    ("machine", "idle", 8),
];

fn cells(step: &Step) -> [String; 16] {
    let none = || NONE.to_owned();
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let Millis {
        count,
        p50,
        p99,
        p999,
        ..
    } = step.transit_ms;
    let ms = |ms: f64| {
        if count > 0 {
            format!("{ms:.1}")
        } else {
            none()
        }
    };
    let server = step.server.as_ref();
    let packets = step.sends.and_then(|sends| sends.packets_per_call);
    let generator = &step.generator;
    let or_none = |text: Option<String>| text.unwrap_or_else(none);
    let mark = match (step.spoiled(), step.disturbed()) {
        (true, _) => "*",
        (false, true) => "~",
        (false, false) => "",
    };
    [
        format!("{mark}{}", step.viewers),
        format!("{:.0}", step.packets_per_sec),
        format!("{:.3}", step.loss.worst() * 100.0),
        ms(p50),
        ms(p99),
        ms(p999),
        or_none(server.map(|s| format!("{:.2}", s.cores))),
        or_none(server.map(|s| percent(s.busiest_thread))),
        or_none(server.and_then(|s| Some(format!("{:.0}", s.ns_per_packet?)))),
        or_none(server.map(|s| format!("{:.0}", s.rss as f64 / 1_048_576.0))),
        or_none(server.map(|s| format!("{:.0}", s.rss_per_viewer as f64 / 1_024.0))),
        or_none(packets.map(|p| format!("{p:.2}"))),
        format!("{:.2}", generator.cores),
        percent(generator.busiest_thread),
        or_none(step.light_ns_per_packet.map(|ns| format!("{ns:.0}"))),
        percent(generator.machine_idle),
    ]
}

fn row<'a>(f: &mut Formatter<'_>, cells: impl Iterator<Item = &'a str>) -> fmt::Result {
    let mut line = String::new();
    for (cell, (_, _, width)) in cells.zip(COLUMNS) {
        line += &format!("{cell:>width$}");
    }
    writeln!(f, "{line}")
}

impl Display for Sweep {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "steps of {}", self.label)?;
        if let Some(step) = self.steps.first() {
            writeln!(
                f,
                "  {:.0} s each, {} full viewers, the others light (RTP headers only)",
                step.secs, step.viewers_full
            )?;
        }
        row(f, COLUMNS.iter().map(|(above, ..)| *above))?;
        row(f, COLUMNS.iter().map(|(_, below, _)| *below))?;
        for step in &self.steps {
            row(f, cells(step).iter().map(String::as_str))?;
        }
        for step in &self.steps {
            let viewers = step.viewers;
            for why in &step.broke {
                writeln!(f, "BROKE at {viewers}: {why}")?;
            }
            if let Some(server) = step.server.filter(|server| server.udp_dropped > 0) {
                let dropped = server.udp_dropped;
                writeln!(
                    f,
                    "DROPPED at {viewers}: {dropped} datagrams that the server did not read in time"
                )?;
            }
            for why in &step.generator.saturated {
                writeln!(f, "SATURATED at {viewers} (*, figures are spoiled): {why}")?;
            }
            for why in &step.generator.disturbed {
                writeln!(f, "DISTURBED at {viewers} (~): {why}")?;
            }
        }
        write!(f, "{}", self.ending)
    }
}

impl Display for Ending {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Knee {
                held: Some(held),
                broke,
                why,
            } => writeln!(
                f,
                "KNEE: holds {held} viewers, not {broke} ({})",
                why.join("; ")
            ),
            Self::Knee {
                held: None,
                broke,
                why,
            } => writeln!(
                f,
                "KNEE: below {broke} viewers, the first step ({}); use a smaller --from",
                why.join("; ")
            ),
            Self::Open {
                held,
                why,
                estimate,
            } => {
                let held = match held {
                    Some(held) => format!("holds {held} viewers"),
                    None => "no step can be trusted".to_owned(),
                };
                writeln!(
                    f,
                    "OPEN: {held}; the knee was not found: {}",
                    why.join("; ")
                )?;
                estimate.iter().try_for_each(|e| write!(f, "{e}"))
            }
        }
    }
}

impl Display for Estimate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "EXTRAPOLATED, not measured: {:.0} viewers a core, from {:.0} ns a packet and {:.0} \
             packets/s a viewer at {} viewers{}",
            self.viewers_per_core,
            self.ns_per_packet,
            self.packets_per_viewer,
            self.at_viewers,
            if self.disturbed {
                ", beside other processes"
            } else {
                ""
            }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::Limits;

    #[test]
    fn spoiled_steps_and_guesses_are_marked() {
        let mut step = Step {
            viewers: 70,
            ..Step::default()
        };
        step.generator.saturated.push("tired".to_owned());
        let text = Sweep {
            label: "a".to_owned(),
            limits: Limits {
                loss: 0.005,
                transit_ms: 200.0,
            },
            ending: Ending::of(std::slice::from_ref(&step)),
            steps: vec![step],
        }
        .to_string();
        assert!(text.contains("*70"), "{text}");
        assert!(text.contains("SATURATED at 70"), "{text}");
        assert!(text.contains("OPEN: no step can be trusted"), "{text}");
        assert!(!text.contains("EXTRAPOLATED"), "{text}");
    }
}
