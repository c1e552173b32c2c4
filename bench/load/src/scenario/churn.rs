//! `churn`

use std::thread;
use std::time::Instant;

use anyhow::{Result, bail};

use super::visits::Visits;
use super::watch::merge;
use super::{Reading, Workers, bind_address};
use crate::cli::Churn;
use crate::generator::{Generator, Strain};
use crate::joiner::{Joiner, Protocol};
use crate::metrics::{Counter, read_all};
use crate::report::{Joins, Left, Leftovers, Report, Server};
use crate::signal::Signal;
use crate::stamp;
use crate::tally::Window;

pub(super) fn run(args: &Churn) -> Result<Report> {
    let common = &args.common;
    let bind = bind_address(common, &args.url)?;
    let gauges = Counter::all(args.metrics.as_ref(), &args.gauges);
    read_all(&gauges)?;
    let workers = Workers::start(common.threads)?;
    let joiner = Joiner {
        signal: Protocol::Whip(Signal::new(&args.url, common.token.as_deref())),
        bind,
        workers: workers.handles(),
        full: usize::MAX,
        link: None,
        chat: None,
    };
    let visits = |first_id, count| Visits {
        first_id,
        count,
        rate: args.join_rate,
        stay: Some(args.stay),
        vanish: args.vanish,
    };
    let warm_up = args.warm_up as usize;
    let (warmed, gone) = visits(0, warm_up).run(&joiner);
    if warmed.joined.is_empty() {
        bail!("cannot join: {:?}", warmed.failures);
    }
    thread::sleep(args.rest);

    let (before, gauges_before) = (Reading::take(common)?, read_all(&gauges)?);
    let from = Instant::now();
    joiner.workers.iter().for_each(|w| {
        w.measure(Window {
            from_us: stamp::now_us(),
            to_us: u64::MAX,
        });
    });
    let (joins, leaves) = visits(warm_up, args.count()).run(&joiner);
    let middle = Reading::take(common)?;
    let lasted = from.elapsed();
    thread::sleep(args.rest);
    let (after, gauges_after) = (Reading::take(common)?, read_all(&gauges)?);

    drop(joiner);
    let workers = workers.finish()?;
    let viewers: Vec<_> = workers.iter().flat_map(|w| w.viewers.clone()).collect();
    // Those of the warm-up are no part of the figures.
    let measured: Vec<_> = viewers.into_iter().filter(|v| v.started >= from).collect();
    let joined = joins.joined.len();
    let secs = joins.took.as_secs_f64();
    let around = before.server.zip(middle.server);
    let server = before.server.zip(after.server).map(|(before, after)| {
        let mut server = Server::new(before, before, after, secs);
        server.ms_per_join = (joined > 0).then(|| server.cpu_secs * 1e3 / joined as f64);
        server
    });
    let names = gauges.iter().map(Counter::name);
    let gauges = names.zip(gauges_before.into_iter().zip(gauges_after));
    let leftovers = server.map(|server| Leftovers {
        warm_up: warmed.joined.len() as u64,
        joins: joined as u64,
        rss_growth: server.rss_growth(),
        fds: server.fds_after as i64 - server.fds_before as i64,
        gauges: gauges
            .map(|(name, (before, after))| (name.to_owned(), Left { before, after }))
            .collect(),
    });
    let outcome = merge(merge(joins, leaves), merge(warmed, gone));
    Ok(Report {
        command: "churn",
        url: args.url.clone(),
        joins: Some(Joins::new(&outcome, &measured)),
        server,
        leftovers,
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
