//! More and more viewers of one room: which steps held, and where the knee is. Without IO.

mod table;

use serde::{Deserialize, Serialize};

use crate::generator::Generator;
use crate::millis::Millis;

/// How many viewers each step has.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Viewers of the first step.
    pub from: u64,
    /// How a step follows from the one before.
    pub growth: Growth,
    /// Viewers of the last step.
    pub to: u64,
}

/// From step to step.
#[derive(Clone, Copy, Debug)]
pub enum Growth {
    /// So many times as many, rounded.
    Factor(f64),
    Step(u64),
}

impl Plan {
    /// The number of viewers of every step, growing.
    pub fn steps(self) -> impl Iterator<Item = u64> {
        std::iter::successors(Some(self.from.min(self.to)), move |&viewers| {
            let next = match self.growth {
                Growth::Factor(factor) => (viewers as f64 * factor).round() as u64,
                Growth::Step(step) => viewers + step,
            };
            (viewers < self.to).then(|| next.max(viewers + 1).min(self.to))
        })
    }
}

/// What a step must not exceed.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// Share of the packets that may be lost, 0 to 1.
    pub loss: f64,
    /// Transit at p99, in milliseconds.
    pub transit_ms: f64,
}

/// Lost packets, as shares from 0 to 1 of those that should have come.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Loss {
    /// Stamps that full viewers never saw, retransmissions included.
    pub end_to_end: f64,
    /// Gaps in the RTP sequence numbers of all viewers.
    pub rtp: f64,
    /// What came to a light viewer, against what came to a full one in the same span: sees also
    /// what a server drops before it numbers packets.
    pub shortfall: f64,
}

/// Packets of one step.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    /// Sent by the publisher.
    pub sent: u64,
    /// Of each full viewer, how many of those came, sooner or later.
    pub full: Vec<u64>,
    /// What came to full viewers within the step.
    pub came_full: u64,
    pub light: u64,
    /// What came to them within the step.
    pub came_light: u64,
    /// Gaps in the sequence numbers of all viewers.
    pub rtp_missing: u64,
}

impl From<&Counted> for Loss {
    fn from(counted: &Counted) -> Self {
        let Counted {
            sent,
            ref full,
            came_full,
            light,
            came_light,
            rtp_missing,
        } = *counted;
        let share = |lost: u64, of: u64| lost as f64 / of.max(1) as f64;
        let missed = full.iter().map(|came| sent.saturating_sub(*came)).sum();
        let mean = |came: u64, viewers: u64| came as f64 / viewers as f64;
        let full = full.len() as u64;
        let less = if full > 0 && light > 0 {
            // Not against what was sent: in flight at one end of the step and not at the other may
            // be a keyframe's worth, and full viewers know what came of it.
            (mean(came_full, full) - mean(came_light, light)).max(0.0)
        } else {
            0.0
        };
        Self {
            end_to_end: share(missed, sent * full),
            rtp: share(rtp_missing, came_full + came_light + rtp_missing),
            shortfall: (less / sent.max(1) as f64).min(1.0),
        }
    }
}

impl Loss {
    /// The largest of the three.
    #[must_use]
    pub fn worst(&self) -> f64 {
        self.end_to_end.max(self.rtp).max(self.shortfall)
    }
}

/// What the server spent in a step.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Spent {
    /// CPU time, as a number of cores.
    pub cores: f64,
    /// The share of the time that its busiest thread ran.
    pub busiest_thread: f64,
    /// CPU time a packet delivered to a viewer, in nanoseconds, everything included.
    pub ns_per_packet: Option<f64>,
    /// Datagrams that came faster than it read them.
    #[serde(default)]
    pub udp_dropped: u64,
    /// Resident memory at the end of the step, in bytes.
    pub rss: u64,
    /// What it grew by since before the first viewer, for each viewer.
    pub rss_per_viewer: u64,
}

/// The server's send calls in a step, from its metrics.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Sends {
    pub calls_per_sec: f64,
    /// Packets delivered to viewers for each call.
    pub packets_per_call: Option<f64>,
}

/// One number of viewers, measured.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Step {
    /// Viewers that had joined.
    pub viewers: u64,
    /// Of them, those that opened and timed every packet; the others read RTP headers.
    pub viewers_full: u64,
    /// Length of the measured span in seconds.
    pub secs: f64,
    /// Packets that came to all viewers.
    pub packets: u64,
    /// The same in a second.
    pub packets_per_sec: f64,
    /// What did not come.
    pub loss: Loss,
    /// From the publisher's sending to the kernel's receiving, of the full viewers' packets.
    pub transit_ms: Millis,
    /// The share of the time, 0 to 1, that full viewers' pictures stood still.
    #[serde(default)]
    pub frozen: f64,
    /// With `--server-pid`.
    pub server: Option<Spent>,
    /// With `--metrics`.
    pub sends: Option<Sends>,
    /// The most that a packet of the publisher left behind its time, in milliseconds.
    pub late_max_ms: f64,
    /// CPU time of the light viewers' threads for each packet that came to them, in nanoseconds.
    pub light_ns_per_packet: Option<f64>,
    /// Its own state. Where it is saturated, all figures of the step are spoiled.
    pub generator: Generator,
    /// Earlier attempts that other processes spoiled.
    #[serde(default)]
    pub repeated: u32,
    /// Limits that the step broke; empty when it held.
    pub broke: Vec<String>,
}

impl Step {
    /// Notes which of `limits` the figures break; `trouble` are viewers that failed to join or
    /// were lost, in words.
    pub fn judge(&mut self, limits: Limits, trouble: Vec<String>) {
        let percent = |share: f64| share * 100.0;
        self.broke = trouble;
        let loss = self.loss.worst();
        if loss > limits.loss {
            let (loss, limit) = (percent(loss), percent(limits.loss));
            self.broke.push(format!("loss {loss:.2} % > {limit:.2} %"));
        }
        let p99 = self.transit_ms.p99;
        if p99 > limits.transit_ms {
            let limit = limits.transit_ms;
            self.broke
                .push(format!("transit p99 {p99:.0} ms > {limit:.0} ms"));
        }
        if self.packets == 0 {
            self.broke.push("no media".to_owned());
        }
    }

    /// Whether the server did what it should, and the figures are its own.
    #[must_use]
    pub fn held(&self) -> bool {
        self.broke.is_empty() && !self.spoiled()
    }

    /// Whether the generator or the machine spoiled the figures. Other processes do so where a
    /// limit broke beside them: who knows by whom. What held beside them would without them.
    #[must_use]
    pub fn spoiled(&self) -> bool {
        !self.generator.saturated.is_empty() || !self.broke.is_empty() && self.disturbed()
    }

    /// Whether other processes used the machine: CPU time and transit may suffer from it.
    #[must_use]
    pub fn disturbed(&self) -> bool {
        !self.generator.disturbed.is_empty()
    }

    /// Whether it might have gone well without what else ran on the machine.
    #[must_use]
    pub fn spoiled_by_others(&self) -> bool {
        self.spoiled() && self.disturbed()
    }
}

/// What a server could carry by its CPU time a packet. Not measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Viewers for each core that the server has for itself.
    pub viewers_per_core: f64,
    /// The step that it is taken from: the largest that held.
    pub at_viewers: u64,
    /// CPU time a packet there, in nanoseconds.
    pub ns_per_packet: f64,
    /// Packets a second to each viewer there.
    pub packets_per_viewer: f64,
    /// Other processes used the machine there.
    #[serde(default)]
    pub disturbed: bool,
}

/// How a sweep ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Ending {
    /// The server broke a limit while the generator had room: the knee is between two steps.
    Knee {
        /// Viewers of the last step that held; none when the first broke already.
        held: Option<u64>,
        /// Viewers of the step that did not.
        broke: u64,
        why: Vec<String>,
    },
    /// The server held as far as it could be tried.
    Open {
        /// Viewers of the last step that held.
        held: Option<u64>,
        /// Why there is no more.
        why: Vec<String>,
        /// What CPU time alone would allow.
        estimate: Option<Estimate>,
    },
}

impl Ending {
    /// That of measured steps, in order. None but the last broke a limit.
    #[must_use]
    pub fn of(steps: &[Step]) -> Self {
        let clean = steps.iter().rfind(|step| step.held());
        let held = clean.map(|step| step.viewers);
        match steps.last() {
            Some(last) if !last.spoiled() && !last.broke.is_empty() => Self::Knee {
                held,
                broke: last.viewers,
                why: last.broke.clone(),
            },
            last => Self::Open {
                held,
                why: match last {
                    Some(last) if last.spoiled() => {
                        let Generator {
                            saturated,
                            disturbed,
                            ..
                        } = &last.generator;
                        [saturated.as_slice(), disturbed].concat()
                    }
                    _ => vec!["the sweep was not asked for more viewers".to_owned()],
                },
                estimate: clean.and_then(Estimate::of),
            },
        }
    }
}

impl Estimate {
    fn of(step: &Step) -> Option<Self> {
        let ns_per_packet = step.server?.ns_per_packet.filter(|ns| *ns > 0.0)?;
        let packets_per_viewer = step.packets_per_sec / step.viewers.max(1) as f64;
        Some(Self {
            viewers_per_core: 1e9 / (ns_per_packet * packets_per_viewer),
            at_viewers: step.viewers,
            ns_per_packet,
            packets_per_viewer,
            disturbed: step.disturbed(),
        })
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sweep {
    /// What the server is called in tables and plots.
    pub label: String,
    /// What a step had to keep.
    pub limits: Limits,
    /// In the order of their viewers.
    pub steps: Vec<Step>,
    /// What came of it.
    pub ending: Ending,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(from: u64, growth: Growth, to: u64) -> Vec<u64> {
        Plan { from, growth, to }.steps().collect()
    }

    #[test]
    fn plans_grow_and_end_at_their_end() {
        assert_eq!(plan(10, Growth::Factor(2.0), 50), [10, 20, 40, 50]);
        assert_eq!(plan(10, Growth::Step(15), 40), [10, 25, 40]);
        assert_eq!(plan(1, Growth::Factor(1.1), 4), [1, 2, 3, 4]);
        assert_eq!(plan(9, Growth::Step(1), 3), [3]);
    }

    const LIMITS: Limits = Limits {
        loss: 0.005,
        transit_ms: 200.0,
    };

    /// A step of 300 packets a second to each viewer, at 10 us each.
    fn step(viewers: u64, shortfall: f64, p99: f64, saturated: bool) -> Step {
        let saturated = saturated.then(|| "tired".to_owned());
        let mut step = Step {
            viewers,
            packets: 1,
            packets_per_sec: viewers as f64 * 300.0,
            loss: Loss {
                shortfall,
                ..Loss::default()
            },
            transit_ms: Millis {
                p99,
                ..Millis::default()
            },
            server: Some(Spent {
                ns_per_packet: Some(10_000.0),
                ..Spent::default()
            }),
            generator: Generator {
                saturated: saturated.into_iter().collect(),
                ..Generator::default()
            },
            ..Step::default()
        };
        step.judge(LIMITS, Vec::new());
        step
    }

    #[test]
    fn a_step_breaks_on_loss_transit_trouble_and_silence() {
        let check = |step: Step, broke: &[&str]| assert_eq!(step.broke, broke);
        check(step(5, 0.005, 200.0, false), &[]);
        check(step(5, 0.006, 9.0, false), &["loss 0.60 % > 0.50 %"]);
        check(step(5, 0.0, 201.0, false), &["transit p99 201 ms > 200 ms"]);
        let mut silent = Step::default();
        silent.judge(LIMITS, vec!["1 x HTTP 503".to_owned()]);
        check(silent, &["1 x HTTP 503", "no media"]);
    }

    #[test]
    fn losses_of_every_kind_are_seen() {
        let check = |counted: &Counted, losses: [f64; 3]| {
            let loss = Loss::from(counted);
            assert_eq!([loss.end_to_end, loss.rtp, loss.shortfall], losses);
        };
        let counted = Counted {
            sent: 100,
            full: vec![90, 100],
            came_full: 200,
            light: 4,
            came_light: 396,
            rtp_missing: 0,
        };
        check(&counted, [0.05, 0.0, 0.01]);
        // What is in flight at the end of a step is lost to none.
        let late = Counted {
            full: vec![100, 100],
            came_full: 140,
            came_light: 280,
            ..counted.clone()
        };
        check(&late, [0.0, 0.0, 0.0]);
        let gaps = Counted {
            rtp_missing: 140,
            ..late
        };
        check(&gaps, [0.0, 0.25, 0.0]);
        // Nothing is no division by it; more than was expected is no loss.
        check(&Counted::default(), [0.0; 3]);
        let more = Counted {
            full: vec![101, 101],
            came_light: 999,
            ..counted
        };
        check(&more, [0.0; 3]);
    }

    #[test]
    fn the_knee_is_between_the_last_that_held_and_the_first_that_broke() {
        let held = step(100, 0.0, 5.0, false);
        let ending = Ending::of(&[held.clone(), step(200, 0.1, 5.0, false)]);
        let why = vec!["loss 10.00 % > 0.50 %".to_owned()];
        assert_eq!(
            ending,
            Ending::Knee {
                held: Some(100),
                broke: 200,
                why
            }
        );
        let first = Ending::of(&[step(200, 0.1, 5.0, false)]);
        assert!(matches!(
            first,
            Ending::Knee {
                held: None,
                broke: 200,
                ..
            }
        ));
    }

    #[test]
    fn a_saturated_generator_leaves_the_end_open_whatever_broke() {
        let held = step(100, 0.0, 5.0, false);
        let ending = Ending::of(&[held.clone(), step(200, 0.1, 900.0, true)]);
        let Ending::Open {
            held: at,
            why,
            estimate,
        } = ending
        else {
            panic!("{ending:?}");
        };
        assert_eq!((at, why), (Some(100), vec!["tired".to_owned()]));
        // 300 packets at 10 us are 3 ms a second: 333 fill one.
        let estimate = estimate.unwrap();
        assert_eq!(estimate.viewers_per_core.round(), 333.0);
        assert_eq!(estimate.at_viewers, 100);

        let mut beside_others = step(200, 0.1, 5.0, false);
        beside_others.generator.disturbed.push("busy".to_owned());
        let ending = Ending::of(&[held.clone(), beside_others]);
        assert!(matches!(
            ending,
            Ending::Open {
                held: Some(100),
                ..
            }
        ));

        let spoiled = Ending::of(&[step(100, 0.0, 5.0, true)]);
        assert!(matches!(
            spoiled,
            Ending::Open {
                held: None,
                estimate: None,
                ..
            }
        ));
    }

    #[test]
    fn a_sweep_that_nothing_stopped_is_open() {
        let ending = Ending::of(&[step(100, 0.0, 5.0, false)]);
        assert!(matches!(
            ending,
            Ending::Open {
                held: Some(100),
                estimate: Some(_),
                ..
            }
        ));
    }
}
