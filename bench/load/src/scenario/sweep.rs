//! `sweep`

use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::next_window;
use super::room::Room;
use crate::cli;
use crate::metrics::Counter;
use crate::report::Report;
use crate::sweep::{Ending, Step, Sweep};

pub(super) fn run(args: &cli::Sweep) -> Result<Report> {
    let (place, ramp) = (&args.place, &args.ramp);
    let sends = (args.metrics.as_ref()).map(|url| Counter::new(url, &args.send_counter));
    let mut room = Room::open(place, &args.publishing, ramp.to, sends)?;
    let mut steps = Vec::new();
    for viewers in ramp.plan().steps() {
        let trouble = room.grow(viewers, ramp.full, ramp.join_rate);
        let mut step = measure(&room, ramp, &trouble)?;
        eprintln!("{}", progress(&step));
        while step.spoiled_by_others() && step.repeated < ramp.repeat {
            let repeated = step.repeated + 1;
            step = measure(&room, ramp, &trouble)?;
            step.repeated = repeated;
            eprintln!(
                "again, for other processes were in the way: {}",
                progress(&step)
            );
        }
        let noise = step.broke.is_empty() && step.spoiled_by_others();
        let on = step.held() || ramp.keep_going && noise;
        steps.push(step);
        if !on {
            break;
        }
    }
    let (joins, published) = room.finish()?;
    Ok(Report {
        command: "sweep",
        url: place.url.clone(),
        joins: Some(joins),
        published: Some(published),
        sweep: Some(Sweep {
            label: args.label.clone().unwrap_or_else(|| host(&place.url)),
            limits: ramp.limits(),
            ending: Ending::of(&steps),
            steps,
        }),
        ..Report::default()
    })
}

/// Measures the viewers that there are; `trouble` is what went wrong as they joined.
fn measure(room: &Room<'_>, ramp: &cli::Ramp, trouble: &[String]) -> Result<Step> {
    thread::sleep(ramp.settle);
    let mut step = room
        .measure(next_window(Duration::from_secs(ramp.secs)), None)?
        .step;
    let mut trouble = trouble.to_vec();
    trouble.extend(room.lost());
    step.judge(ramp.limits(), trouble);
    Ok(step)
}

fn progress(step: &Step) -> String {
    let cores = step.server.map_or(String::new(), |server| {
        format!("server {:.2} cores, ", server.cores)
    });
    format!(
        "{} viewers: {cores}transit p99 {:.1} ms, loss {:.3} %{}",
        step.viewers,
        step.transit_ms.p99,
        step.loss.worst() * 100.0,
        if step.spoiled() { " (SATURATED)" } else { "" }
    )
}

fn host(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest).to_owned()
}
