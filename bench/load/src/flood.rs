//! A room before and during an attack on the media ports: what its viewers feel of it. Without IO.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use crate::sweep::{Spent, Step};

/// What is attacked, and what came of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Flood {
    pub what: &'static str,
    /// The viewers before it.
    pub before: Step,
    /// The same viewers during it.
    pub during: Step,
    /// What became of the attackers' connections and datagrams, by its name.
    pub counts: BTreeMap<String, u64>,
}

impl Flood {
    /// What was not as it should be, in words.
    pub fn failures(&self) -> impl Iterator<Item = String> {
        let broke = self.during.broke.clone().into_iter();
        broke.map(|why| format!("during: {why}"))
    }
}

impl Display for Flood {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { before, during, .. } = self;
        writeln!(f, "{}, {} viewers", self.what, during.viewers)?;
        let mut line = |name: &str, of: &dyn Fn(&Step) -> String| {
            writeln!(f, "  {name:<30}{:>14}{:>14}", of(before), of(during))
        };
        line("", &|step| match std::ptr::eq(step, before) {
            true => format!("before {:.0} s", step.secs),
            false => format!("during {:.0} s", step.secs),
        })?;
        line("frozen, % of the time", &|step| {
            format!("{:.2}", step.frozen * 100.0)
        })?;
        line("transit p50, ms", &|step| {
            format!("{:.2}", step.transit_ms.p50)
        })?;
        line("transit p99, ms", &|step| {
            format!("{:.2}", step.transit_ms.p99)
        })?;
        line("loss, %", &|step| {
            format!("{:.4}", step.loss.worst() * 100.0)
        })?;
        let spent = |of: fn(Spent) -> f64| {
            move |step: &Step| {
                let share = step.server.map(|spent| format!("{:.1}", of(spent) * 100.0));
                share.unwrap_or_else(|| "-".to_owned())
            }
        };
        line("server, busiest thread, %", &spent(|s| s.busiest_thread))?;
        line("server, % of a core", &spent(|s| s.cores))?;
        line("machine idle, %", &|step| {
            format!("{:.0}", step.generator.machine_idle * 100.0)
        })?;
        for (what, count) in &self.counts {
            writeln!(f, "  {what:<44}{count:>14}")?;
        }
        Ok(())
    }
}
