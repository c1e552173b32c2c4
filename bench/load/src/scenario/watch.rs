//! `view` and `run`

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};

use super::publish::Publisher;
use super::wait_until;
use super::{CONNECT_TIMEOUT, DRAIN, Reading, Workers, bind_address, next_window, sleep_until};
use crate::cli::{Common, Crowd, Publishing, Run, View};
use crate::generator::{Generator, Strain};
use crate::joiner::{Joiner, Outcome, Protocol};
use crate::metrics::{Counter, read_all};
use crate::playback::{Playback, Repair};
use crate::process::Usage;
use crate::report::{Chat, Delivery, Joins, Link, Published, Report, Server};
use crate::signal::Signal;
use crate::tally::{ChatTally, SLICE, Times, Window, WireLog};

pub(super) fn view(args: &View) -> Result<Report> {
    let token = args.common.token.as_deref();
    let signal = Protocol::Whip(Signal::new(&args.url, token));
    let report = watch(&args.url, signal, &args.crowd, &args.common, None)?;
    Ok(Report {
        command: "view",
        url: args.url.clone(),
        ..report
    })
}

pub(super) fn run(args: &Run) -> Result<Report> {
    let Publishing { media, common } = &args.publishing;
    let place = &args.place;
    let bind = bind_address(common, &place.url)?;
    let publishing = place.publishing(common.token.as_deref())?;
    let watching = place.watching(common.watch_token.as_deref())?;
    let source = media.source();
    let start = || Publisher::start(&place.url, publishing.clone(), bind, source);
    let report = watch(&place.url, watching, &args.crowd, common, Some(&start))?;
    Ok(Report {
        command: "run",
        url: place.url.clone(),
        ..report
    })
}

fn watch(
    url: &str,
    signal: Protocol,
    crowd: &Crowd,
    common: &Common,
    publish: Option<&dyn Fn() -> Result<Publisher>>,
) -> Result<Report> {
    let bind = bind_address(common, url)?;
    let counters = Counter::all(crowd.metrics.as_ref(), &crowd.counters);
    read_all(&counters)?;
    let publisher = publish.map(|start| start()).transpose()?;
    let before = Reading::take(common)?;
    let workers = Workers::start(common.threads)?;
    let joiner = Joiner {
        signal,
        bind,
        workers: workers.handles(),
        full: crowd.full.map_or(usize::MAX, |full| full as usize),
        link: crowd.link(),
        chat: crowd.chat(),
    };
    let viewers = crowd.viewers as usize;
    let stop = AtomicBool::new(false);
    let outcome = joiner.join_all(0, viewers, crowd.join_rate, &stop, |_| ());
    if outcome.joined.is_empty() {
        bail!(
            "none of {viewers} viewers could join: {:?}",
            outcome.failures
        );
    }
    let joined = outcome.joined.len() as u64;
    wait_until(CONNECT_TIMEOUT, || {
        let counts = workers.count();
        counts.flowing + counts.lost >= joined
    });
    thread::sleep(crowd.settle);

    let window = next_window(Duration::from_secs(crowd.secs));
    joiner.workers.iter().for_each(|w| w.measure(window));
    if let Some(publisher) = &publisher {
        publisher.measure(window);
    }
    sleep_until(window.from_us);
    let (from, counted_from) = (Reading::take(common)?, read_all(&counters)?);
    let cores = server_cores(common, window)?;
    let (to, counted_to) = (Reading::take(common)?, read_all(&counters)?);
    thread::sleep(DRAIN);

    let left = joiner.leave_all(&outcome.joined);
    drop(joiner);
    let workers = workers.finish()?;
    let sent = publisher.map(Publisher::finish).transpose()?;

    let viewers: Vec<_> = workers.iter().flat_map(|w| w.viewers.clone()).collect();
    let mut transit = Times::default();
    workers.iter().for_each(|w| transit.add(&w.gauges.transit));
    let secs = crowd.secs as f64;
    let mut wire = WireLog::default();
    workers.iter().for_each(|w| wire.add(&w.gauges.wire));
    let mut delivery = Delivery::new(&viewers, &transit, secs, sent);
    let mut chat = ChatTally::default();
    workers.iter().for_each(|w| chat.add(&w.gauges.chat));
    delivery.chat = crowd.chat().map(|_| Chat::new(&chat, secs));
    delivery.link = crowd.link().map(Link::from);
    delivery.playback = Playback::of(&viewers, window);
    delivery.repair = Repair::of(&wire, &cores);
    let server = before.server.zip(from.server).zip(to.server);
    let around = server.map(|((_, from), to)| (from, to));
    let server = server.map(|((before, from), to)| {
        let mut server = Server::new(before, from, to, secs);
        let grown = server.rss_after.saturating_sub(server.rss_before);
        server.rss_per_viewer = Some(grown / joined);
        server.ns_per_packet =
            (delivery.packets > 0).then(|| server.cpu_secs * 1e9 / delivery.packets as f64);
        server
    });
    Ok(Report {
        joins: Some(Joins::new(&merge(outcome, left), &viewers)),
        delivery: Some(delivery),
        published: sent.map(Published::from),
        server,
        counters: grown(&counters, &counted_from, &counted_to),
        generator: Some(Generator::new(
            (from.own, to.own),
            (from.machine, to.machine),
            &Strain::of(&workers),
            around,
            secs,
        )),
        ..Report::default()
    })
}

/// Waits for the window's end. Gives what the server used in each slice of it, as a number of
/// cores, where its process is known.
fn server_cores(common: &Common, window: Window) -> Result<Vec<f64>> {
    let Some(pid) = common.server_pid else {
        sleep_until(window.to_us);
        return Ok(Vec::new());
    };
    let (mut cores, mut at_us) = (Vec::new(), window.from_us);
    let mut cpu = Usage::of(pid)?.cpu;
    while at_us < window.to_us {
        let end_us = (at_us + SLICE.as_micros() as u64).min(window.to_us);
        sleep_until(end_us);
        let now = Usage::of(pid)?.cpu;
        let secs = (end_us - at_us) as f64 / 1e6;
        cores.push(now.saturating_sub(cpu).as_secs_f64() / secs);
        (cpu, at_us) = (now, end_us);
    }
    Ok(cores)
}

fn grown(counters: &[Counter], from: &[f64], to: &[f64]) -> BTreeMap<String, f64> {
    let grown = to.iter().zip(from).map(|(to, from)| to - from);
    let names = counters.iter().map(|c| c.name().to_owned());
    names.zip(grown).collect()
}

/// Leaving that failed counts with the failures of joining, under its own name.
pub(super) fn merge(mut joins: Outcome, leaves: Outcome) -> Outcome {
    for (why, count) in leaves.failures {
        *joins.failures.entry(why).or_default() += count;
    }
    joins
}
