//! `flood`

mod frames;
mod keys;
mod places;
mod reports;
mod target;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Result, bail};

use self::target::Target;
use super::room::Room;
use super::{bind_address, next_window};
use crate::cli::{self, FloodKind};
use crate::flood::Flood;
use crate::report::Report;

#[derive(Default)]
struct Attack {
    stopped: AtomicBool,
    counts: Mutex<BTreeMap<String, u64>>,
}

impl Attack {
    fn goes_on(&self) -> bool {
        !self.stopped.load(Ordering::Relaxed)
    }

    fn count(&self, what: &str, n: u64) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(what.to_owned()).or_default() += n;
    }
}

pub(super) fn run(args: &cli::Flood) -> Result<Report> {
    let (place, publishing) = (&args.place, &args.publishing);
    let common = &publishing.common;
    let mut room = Room::open(place, publishing, args.viewers, None)?;
    let trouble = room.grow(args.viewers, args.viewers, args.join_rate);
    if !trouble.is_empty() {
        bail!("there is no steady room to flood: {}", trouble.join(", "));
    }
    thread::sleep(args.settle);
    let secs = Duration::from_secs(args.secs);
    let before = room.measure(next_window(secs), None)?.step;

    let attack = Arc::new(Attack::default());
    let bind = bind_address(common, &place.url)?;
    let target = Target::find(place, common.watch_token.as_deref(), bind)?;
    let attackers: Vec<JoinHandle<()>> = match args.kind {
        FloodKind::Frames => frames::start(args, &target, &attack),
        FloodKind::Places => places::start(args, target.clone(), &attack),
        FloodKind::Reports => reports::start(args, bind, &attack)?,
    };
    // Measured once it is under way.
    thread::sleep(args.settle);
    let during = room.measure(next_window(secs), None);
    attack.stopped.store(true, Ordering::Relaxed);
    for attacker in attackers {
        if attacker.join().is_err() {
            bail!("an attacker panicked");
        }
    }
    let mut during = during?.step;
    during.judge(args.limits(), room.lost().into_iter().collect());
    let frozen = during.frozen * 100.0;
    if frozen > args.max_frozen {
        let limit = args.max_frozen;
        during
            .broke
            .push(format!("frozen {frozen:.2} % > {limit:.2} %"));
    }
    let (joins, published) = room.finish()?;
    let mut counts = attack.counts.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(Report {
        command: "flood",
        url: place.url.clone(),
        joins: Some(joins),
        published: Some(published),
        flood: Some(Flood {
            what: args.kind.what(),
            before,
            during,
            counts: std::mem::take(&mut *counts),
        }),
        ..Report::default()
    })
}
