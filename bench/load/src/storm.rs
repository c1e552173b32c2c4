//! Many join a room at once: what those who were there already felt of it. Without IO.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use serde::Serialize;

use crate::millis::Millis;
use crate::sweep::Step;

/// What came with the newcomers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rush {
    /// Newcomers that the server took.
    pub joined: u64,
    /// From the first join to the answer to the last.
    pub lasted: Duration,
    /// Packets that came to them within the measured span.
    pub guests_came: u64,
    /// PLI and FIR that came to the publisher.
    pub keyframe_requests: u64,
    /// The most of those within one second.
    pub keyframe_requests_most: u64,
}

/// A room before and during a storm of joins.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Storm {
    /// Newcomers that the server took.
    pub joined: u64,
    /// From the first join to the answer to the last, in seconds. More than `during.secs`: what
    /// came behind it is not measured.
    pub lasted_secs: f64,
    /// Those who were there already, in the calm before.
    pub before: Step,
    /// The same viewers while the others joined. What the server spent is for both.
    pub during: Step,
    /// Packets that came to newcomers within that time.
    pub newcomer_packets: u64,
    /// Requests for keyframes that the publisher, which sends one layer, got within that time.
    pub keyframe_requests: u64,
    /// The most of those within any one second, less 50 ms for jitter.
    pub keyframe_requests_per_second_max: u64,
    /// CPU time beyond that of the calm, for each join, in milliseconds; the newcomers' media
    /// included.
    pub server_ms_per_join: Option<f64>,
    /// The same without media: less what all packets delivered meanwhile would have cost at the
    /// price of the calm. An estimate; below 0 where many packets are cheaper than few.
    pub server_ms_per_join_without_media: Option<f64>,
}

impl Storm {
    #[must_use]
    pub fn new(before: Step, during: Step, rush: &Rush) -> Self {
        let (calm, storm) = (before.server, during.server);
        let each = |secs: f64| (rush.joined > 0).then(|| secs * 1e3 / rush.joined as f64);
        let spent = storm.map(|storm| storm.cores * during.secs);
        let usual = calm.map(|calm| calm.cores * during.secs);
        let packets = (during.packets + rush.guests_came) as f64;
        let media = calm.and_then(|calm| Some(calm.ns_per_packet? * packets / 1e9));
        let beyond = |part: Option<f64>| each(spent? - part?);
        Self {
            joined: rush.joined,
            lasted_secs: rush.lasted.as_secs_f64(),
            newcomer_packets: rush.guests_came,
            keyframe_requests: rush.keyframe_requests,
            keyframe_requests_per_second_max: rush.keyframe_requests_most,
            server_ms_per_join: beyond(usual),
            server_ms_per_join_without_media: beyond(media),
            before,
            during,
        }
    }

    /// What was not as it should be, in words.
    pub fn failures(&self) -> impl Iterator<Item = String> {
        let of = |name: &'static str, step: &Step| {
            let broke = step.broke.clone().into_iter();
            broke.map(move |why| format!("{name}: {why}"))
        };
        of("before", &self.before).chain(of("during", &self.during))
    }
}

impl Display for Storm {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { before, during, .. } = self;
        writeln!(
            f,
            "those already there: {} viewers, {} of them full",
            before.viewers, before.viewers_full
        )?;
        let mut line = |name: &str, of: &dyn Fn(&Step) -> String| {
            writeln!(f, "  {name:<30}{:>14}{:>14}", of(before), of(during))
        };
        line("", &|step| {
            let secs = step.secs;
            if std::ptr::eq(step, before) {
                format!("before {secs:.0} s")
            } else {
                format!("during {secs:.0} s")
            }
        })?;
        let names = ["p50", "p99", "p99.9", "max"];
        for (at, name) in names.into_iter().enumerate() {
            let of = |t: Millis| [t.p50, t.p99, t.p999, t.max][at];
            line(&format!("transit {name}, ms"), &|step| {
                format!("{:.2}", of(step.transit_ms))
            })?;
        }
        line("loss, %", &|step| {
            format!("{:.4}", step.loss.worst() * 100.0)
        })?;
        line("server, cores", &|step| {
            step.server
                .map_or("-".into(), |s| format!("{:.3}", s.cores))
        })?;
        line("server, busiest thread, %", &|step| {
            let busiest = |s: crate::sweep::Spent| format!("{:.0}", s.busiest_thread * 100.0);
            step.server.map_or("-".into(), busiest)
        })?;
        line("generator, cores", &|step| {
            format!("{:.3}", step.generator.cores)
        })?;
        line("generator, busiest thread, %", &|step| {
            format!("{:.0}", step.generator.busiest_thread * 100.0)
        })?;
        line("machine idle, %", &|step| {
            format!("{:.0}", step.generator.machine_idle * 100.0)
        })?;
        writeln!(f, "storm")?;
        let mut line = |name: &str, value: String| writeln!(f, "  {name:<30}{value}");
        let Self {
            joined,
            lasted_secs,
            ..
        } = self;
        line(
            "newcomers",
            format!("{joined} joined in {lasted_secs:.2} s"),
        )?;
        if *lasted_secs > during.secs {
            line("", "it lasted longer than what was measured".into())?;
        }
        line(
            "keyframes asked for",
            format!(
                "{}, at most {} in one second",
                self.keyframe_requests, self.keyframe_requests_per_second_max
            ),
        )?;
        if let Some(ms) = self.server_ms_per_join {
            line("CPU a join, media included", format!("{ms:.2} ms"))?;
        }
        if let Some(ms) = self.server_ms_per_join_without_media {
            line("CPU a join, less media", format!("{ms:.2} ms (estimate)"))?;
        }
        for (name, step) in [("before", before), ("during", during)] {
            for why in &step.generator.saturated {
                writeln!(f, "SATURATED {name}: {why}")?;
            }
            for why in &step.generator.disturbed {
                writeln!(f, "DISTURBED {name}: {why}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::Spent;

    fn step(secs: f64, packets: u64, cores: f64) -> Step {
        Step {
            secs,
            packets,
            server: Some(Spent {
                cores,
                ns_per_packet: Some(cores * secs * 1e9 / packets as f64),
                ..Spent::default()
            }),
            ..Step::default()
        }
    }

    #[test]
    fn a_join_costs_what_the_calm_does_not_explain() {
        // 1 us a packet in the calm; then 11 s at 0.3 cores.
        let (before, during) = (step(10.0, 1_000_000, 0.1), step(11.0, 1_100_000, 0.3));
        let rush = Rush {
            joined: 1_000,
            guests_came: 900_000,
            ..Rush::default()
        };
        let storm = Storm::new(before.clone(), during.clone(), &rush);
        let rounded = |ms: Option<f64>| ms.map(|ms| (ms * 1e6).round() / 1e6);
        assert_eq!(rounded(storm.server_ms_per_join), Some(2.2));
        assert_eq!(rounded(storm.server_ms_per_join_without_media), Some(1.3));

        let nobody = Storm::new(before.clone(), during.clone(), &Rush::default());
        assert_eq!(nobody.server_ms_per_join, None);
        let blind = Step {
            server: None,
            ..during
        };
        let storm = Storm::new(before, blind, &rush);
        assert_eq!(storm.server_ms_per_join_without_media, None);
    }

    #[test]
    fn what_broke_says_when() {
        let mut storm = Storm::default();
        storm.during.broke.push("no media".into());
        assert_eq!(storm.failures().collect::<Vec<_>>(), ["during: no media"]);
    }
}
