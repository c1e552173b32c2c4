//! `churn`

use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Instant;

use anyhow::{Result, bail};

use super::visits::Visits;
use super::watch::merge;
use super::{Reading, Workers, bind_address};
use crate::cli::Churn;
use crate::joiner::{Joiner, Protocol};
use crate::report::{Generator, Joins, Report, Server, Strain};
use crate::signal::Signal;
use crate::stamp;
use crate::tally::Window;

pub(super) fn run(args: &Churn) -> Result<Report> {
    let common = &args.common;
    let bind = bind_address(common, &args.url)?;
    let workers = Workers::start(common.threads)?;
    let joiner = Joiner {
        signal: Protocol::Whip(Signal::new(&args.url, common.token.as_deref())),
        bind,
        workers: workers.handles(),
        full: usize::MAX,
    };
    // One join beforehand, so that what the server makes once is not taken for growth.
    let stop = AtomicBool::new(false);
    let first = joiner.join_all(0, 1, args.join_rate, &stop, |_| ());
    if first.joined.is_empty() {
        bail!("cannot join: {:?}", first.failures);
    }
    joiner.leave_all(&first.joined);

    let before = Reading::take(common)?;
    let count = (args.secs as f64 * args.join_rate).ceil() as usize;
    let from = Instant::now();
    joiner.workers.iter().for_each(|w| {
        w.measure(Window {
            from_us: stamp::now_us(),
            to_us: u64::MAX,
        });
    });
    let visits = Visits {
        first_id: 1,
        count,
        rate: args.join_rate,
        stay: Some(args.stay),
        vanish: args.vanish,
    };
    let (joins, leaves) = visits.run(&joiner);
    let middle = Reading::take(common)?;
    let lasted = from.elapsed();
    thread::sleep(args.rest);
    let after = Reading::take(common)?;

    drop(joiner);
    let workers = workers.finish()?;
    let viewers: Vec<_> = workers.iter().flat_map(|w| w.viewers.clone()).collect();
    let joined = joins.joined.len();
    let secs = joins.took.as_secs_f64();
    let around = before.server.zip(middle.server);
    let server = before.server.zip(after.server).map(|(before, after)| {
        let mut server = Server::new(before, before, after, secs);
        server.ms_per_join = (joined > 0).then(|| server.cpu_secs * 1e3 / joined as f64);
        server
    });
    Ok(Report {
        command: "churn",
        url: args.url.clone(),
        // The one beforehand is no part of the figures: it came before the others.
        joins: Some(Joins::new(&merge(joins, leaves), &viewers[1..])),
        server,
        generator: Some(Generator::new(
            (before.own, middle.own),
            (before.machine, middle.machine),
            &Strain::of(&workers),
            around,
            lasted.as_secs_f64(),
        )),
        ..Report::default()
    })
}
