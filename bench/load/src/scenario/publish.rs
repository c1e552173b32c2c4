//! `publish`

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{CONNECT_TIMEOUT, bind_address, wait_until};
use crate::cli::{Publish, Publishing};
use crate::joiner::{Joined, Joiner, Protocol};
use crate::report::{Published, Report};
use crate::session::{PublisherTally, SessionKind};
use crate::signal::Signal;
use crate::source::SourceConfig;
use crate::tally::Window;
use crate::worker::{Measured, Worker};

/// A publisher on a thread of its own, so that viewers do not disturb its pace.
pub(super) struct Publisher {
    worker: Worker,
    joiner: Joiner,
    joined: Joined,
}

impl Publisher {
    /// Publishes, and returns once media flows.
    pub(super) fn start(
        url: &str,
        signal: Protocol,
        bind: std::net::IpAddr,
        source: SourceConfig,
    ) -> Result<Self> {
        let worker = Worker::start("publisher")?;
        let joiner = Joiner {
            signal,
            bind,
            workers: vec![worker.handle().clone()],
            full: 0,
            link: None,
            chat: None,
        };
        let (joined, _) = joiner
            .join(0, SessionKind::Publish(source))
            .with_context(|| format!("cannot publish to {url}"))?;
        let publisher = Self {
            worker,
            joiner,
            joined,
        };
        if !wait_until(CONNECT_TIMEOUT, || {
            publisher.worker.handle().count().flowing == 1
        }) {
            let _ = publisher.joiner.leave(&publisher.joined);
            bail!("the publisher did not connect to {url}");
        }
        Ok(publisher)
    }

    /// Says which packets to count.
    pub(super) fn measure(&self, window: Window) {
        self.worker.handle().measure(window);
    }

    pub(super) fn collect(&self) -> Measured {
        self.worker.handle().collect()
    }

    /// Whether the connection still stands.
    pub(super) fn alive(&self) -> bool {
        self.worker.handle().count().alive == 1
    }

    pub(super) fn finish(self) -> Result<PublisherTally> {
        let left = self.joiner.leave(&self.joined);
        drop(self.joiner);
        let report = self.worker.finish()?;
        let tally = report.publishers.first().copied();
        let tally = tally.context("the publisher's thread knows of no publisher")?;
        if !tally.lost {
            left?;
        }
        Ok(tally)
    }
}

pub(super) fn run(args: &Publish) -> Result<Report> {
    let Publishing { media, common } = &args.publishing;
    let bind = bind_address(common, &args.url)?;
    let token = common.token.as_deref();
    let signal = Protocol::Whip(Signal::new(&args.url, token));
    let source = media.source_of(args.clip.as_deref())?;
    let publisher = Publisher::start(&args.url, signal, bind, source)?;
    eprintln!("publishing to {} for {} s", args.url, args.secs);
    // Sleeps until it is over, but not on when the server has gone.
    let mut lost = false;
    for _ in 0..args.secs {
        thread::sleep(Duration::from_secs(1));
        lost = !publisher.alive();
        if lost {
            break;
        }
    }
    let mut tally = publisher.finish()?;
    tally.lost |= lost;
    Ok(Report {
        command: "publish",
        url: args.url.clone(),
        published: Some(Published::from(tally)),
        ..Report::default()
    })
}
