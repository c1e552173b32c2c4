//! Sweeps as a picture: viewers against server CPU, transit and loss, as SVG.

mod scale;
mod svg;

use serde::Deserialize;

use crate::sweep::{Ending, Step, Sweep};
use scale::Scale;
use svg::{Anchor, Dot, Svg};

/// Colours that people with colour blindness tell apart (Okabe and Ito), used in turn.
const COLOURS: [&str; 6] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9",
];
const WIDTH: f64 = 920.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 28.0;
const PANEL: f64 = 210.0;
const BETWEEN: f64 = 58.0;
/// Above the first line of the legend.
const HEAD: f64 = 64.0;
const LEGEND_LINE: f64 = 20.0;
/// Below the last panel: ticks, axis, a footnote.
const FOOT: f64 = 74.0;

/// The part of a report that a plot needs.
#[derive(Clone, Debug, Deserialize)]
pub struct Plotted {
    pub circumstances: Option<Machine>,
    pub sweep: Sweep,
}

/// Where a sweep was taken.
#[derive(Clone, Debug, Deserialize)]
pub struct Machine {
    /// When, in UTC.
    pub date: String,
    /// The processor's name.
    pub cpu: String,
    /// How many of its cores.
    pub cores: u64,
    pub kernel: String,
}

/// One of the pictures, from top to bottom.
struct Panel {
    title: &'static str,
    y: Scale,
    value: fn(&Step) -> Option<f64>,
    limit: Option<f64>,
}

/// Where a panel's points go.
struct Frame {
    x: Scale,
    top: f64,
}

impl Frame {
    fn x(&self, viewers: f64) -> f64 {
        LEFT + self.x.place(viewers) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, scale: &Scale, value: f64) -> f64 {
        self.top + (1.0 - scale.place(value)) * PANEL
    }
}

fn cores(step: &Step) -> Option<f64> {
    step.server.map(|server| server.cores)
}

fn transit(step: &Step) -> Option<f64> {
    (step.transit_ms.count > 0).then_some(step.transit_ms.p99)
}

fn loss(step: &Step) -> Option<f64> {
    Some(step.loss.worst() * 100.0)
}

/// Draws the sweeps into one picture.
#[must_use]
pub fn draw(sweeps: &[Plotted], title: &str) -> String {
    let values = |of: fn(&Step) -> Option<f64>| {
        let steps = sweeps.iter().flat_map(|s| &s.sweep.steps);
        steps.filter_map(of).collect::<Vec<_>>()
    };
    let max = |values: Vec<f64>| values.into_iter().fold(0.0, f64::max);
    let limit = |of: fn(&Plotted) -> f64| {
        // Different limits in one picture would have to be told apart; then there is none.
        let first = sweeps.first().map(of)?;
        sweeps.iter().all(|s| of(s) == first).then_some(first)
    };
    let transit_limit = limit(|s| s.sweep.limits.transit_ms);
    let loss_limit = limit(|s| s.sweep.limits.loss * 100.0);
    let transits: Vec<f64> = values(transit).into_iter().chain(transit_limit).collect();
    let panels = [
        Panel {
            title: "Server CPU, cores",
            y: Scale::linear(max(values(cores))),
            value: cores,
            limit: None,
        },
        Panel {
            title: "Transit p99, ms (logarithmic)",
            y: Scale::log(&transits),
            value: transit,
            limit: transit_limit,
        },
        Panel {
            title: "Loss, % of packets",
            y: Scale::linear(max(values(loss)).max(loss_limit.unwrap_or(0.0) * 1.5)),
            value: loss,
            limit: loss_limit,
        },
    ];
    let x = Scale::linear(max(values(|step| Some(step.viewers as f64))));

    let top = HEAD + sweeps.len() as f64 * LEGEND_LINE + BETWEEN;
    let height = top + 3.0 * PANEL + 2.0 * BETWEEN + FOOT;
    let mut svg = Svg::new(WIDTH, height);
    head(&mut svg, sweeps, title);
    let mut frame = Frame { x, top };
    for panel in &panels {
        axes(&mut svg, &frame, panel);
        for (sweep, colour) in sweeps.iter().zip(COLOURS.iter().cycle()) {
            curve(&mut svg, &frame, panel, &sweep.sweep.steps, colour);
        }
        frame.top += PANEL + BETWEEN;
    }
    foot(&mut svg, height);
    svg.finish()
}

fn head(svg: &mut Svg, sweeps: &[Plotted], title: &str) {
    svg.text((LEFT, 30.0), Anchor::Start, "title", title);
    if let Some(at) = sweeps.first().and_then(|s| s.circumstances.as_ref()) {
        let Machine {
            date,
            cpu,
            cores,
            kernel,
        } = at;
        let text = format!("{cores} x {cpu}, Linux {kernel}, {date}");
        svg.text((LEFT, 50.0), Anchor::Start, "small", &text);
    }
    for (index, (sweep, colour)) in sweeps.iter().zip(COLOURS.iter().cycle()).enumerate() {
        let y = HEAD + (index as f64 + 0.7) * LEGEND_LINE;
        svg.line((LEFT, y - 4.0), (LEFT + 22.0, y - 4.0), colour, "curve");
        svg.dot((LEFT + 11.0, y - 4.0), colour, Dot::Solid);
        let text = format!("{}: {}", sweep.sweep.label, in_short(&sweep.sweep.ending));
        svg.text((LEFT + 30.0, y), Anchor::Start, "label", &text);
    }
}

fn in_short(ending: &Ending) -> String {
    match ending {
        Ending::Knee {
            held: Some(held),
            broke,
            ..
        } => format!("knee between {held} and {broke} viewers"),
        Ending::Knee { broke, .. } => format!("knee below {broke} viewers"),
        Ending::Open {
            held: Some(held),
            estimate,
            ..
        } => {
            let guess = estimate.map_or(String::new(), |e| {
                let cores = e.viewers_per_core;
                format!(" (extrapolated by CPU: {cores:.0} a core)")
            });
            format!("holds {held} viewers, knee not found{guess}")
        }
        Ending::Open { .. } => "no step can be trusted".to_owned(),
    }
}

fn axes(svg: &mut Svg, frame: &Frame, panel: &Panel) {
    let (right, bottom) = (WIDTH - RIGHT, frame.top + PANEL);
    svg.text(
        (LEFT, frame.top - 12.0),
        Anchor::Start,
        "panel",
        panel.title,
    );
    for tick in panel.y.ticks() {
        let y = frame.y(&panel.y, tick.value);
        svg.line((LEFT, y), (right, y), "#e3e3e3", "thin");
        svg.text((LEFT - 8.0, y + 4.0), Anchor::End, "small", &tick.label);
    }
    for tick in frame.x.ticks() {
        let x = frame.x(tick.value);
        svg.line((x, frame.top), (x, bottom), "#f0f0f0", "thin");
        svg.text((x, bottom + 17.0), Anchor::Middle, "small", &tick.label);
    }
    svg.line((LEFT, bottom), (right, bottom), "#555", "thin");
    svg.line((LEFT, frame.top), (LEFT, bottom), "#555", "thin");
    if let Some(limit) = panel.limit {
        let y = frame.y(&panel.y, limit);
        svg.line((LEFT, y), (right, y), "#888", "dashed");
        svg.text((right, y - 5.0), Anchor::End, "small", "limit");
    }
}

fn curve(svg: &mut Svg, frame: &Frame, panel: &Panel, steps: &[Step], colour: &str) {
    let points = steps.iter().filter_map(|step| {
        let value = (panel.value)(step)?;
        let at = (frame.x(step.viewers as f64), frame.y(&panel.y, value));
        Some((at, step, value))
    });
    let points: Vec<_> = points.collect();
    for pair in points.windows(2) {
        let class = if pair[1].1.spoiled() {
            "guess"
        } else {
            "curve"
        };
        svg.line(pair[0].0, pair[1].0, colour, class);
    }
    for (at, step, value) in points {
        let hint = format!("{} viewers: {value:.3}", step.viewers);
        let dot = match (step.spoiled(), step.disturbed()) {
            (true, _) => Dot::Hollow,
            (false, true) => Dot::Pale,
            (false, false) => Dot::Solid,
        };
        svg.hinted(&hint, |svg| svg.dot(at, colour, dot));
    }
}

fn foot(svg: &mut Svg, height: f64) {
    let middle = LEFT + (WIDTH - LEFT - RIGHT) / 2.0;
    svg.text(
        (middle, height - 36.0),
        Anchor::Middle,
        "label",
        "Viewers of one room",
    );
    let text = "Hollow: the generator or the machine was overloaded, the figures are not the \
                server's. Pale: other processes ran too.";
    svg.text((middle, height - 14.0), Anchor::Middle, "small", text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::Limits;

    fn sweep(label: &str, saturated: bool) -> Plotted {
        let mut step = Step {
            viewers: 50,
            packets: 1,
            ..Step::default()
        };
        step.transit_ms.count = 1;
        step.transit_ms.p99 = 3.0;
        let mut last = step.clone();
        last.viewers = 100;
        last.generator.saturated = saturated.then(|| "tired".to_owned()).into_iter().collect();
        let steps = vec![step, last];
        Plotted {
            circumstances: None,
            sweep: Sweep {
                label: label.to_owned(),
                limits: Limits {
                    loss: 0.005,
                    transit_ms: 200.0,
                },
                ending: Ending::of(&steps),
                steps,
            },
        }
    }

    #[test]
    fn several_sweeps_share_a_picture_and_spoiled_steps_are_hollow() {
        let picture = draw(&[sweep("a", false), sweep("<b>", true)], "t & u");
        assert!(picture.starts_with("<svg ") && picture.trim_end().ends_with("</svg>"));
        assert!(picture.contains("t &amp; u") && picture.contains("&lt;b&gt;: holds 50"));
        assert!(!picture.contains("NaN") && !picture.contains("inf"));
        // One in each of the panels that have a value: there is no server to read.
        assert_eq!(picture.matches("class=\"hollow\"").count(), 2);
        assert_eq!(picture.matches("50 viewers:").count(), 4);
    }

    #[test]
    fn what_a_report_writes_can_be_plotted() {
        let report = crate::report::Report {
            command: "sweep",
            sweep: Some(sweep("a", true).sweep),
            ..Default::default()
        };
        let json = serde_json::to_string(&report).unwrap();
        let read: Plotted = serde_json::from_str(&json).unwrap();
        assert!(read.sweep.steps[1].spoiled());
        assert_eq!(draw(&[], ""), draw(&[], ""));
    }
}
