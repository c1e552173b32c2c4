//! `storm`

use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};

use super::room::{Crowd, Room};
use super::visits::Visits;
use super::{next_window, sleep_until};
use crate::cli;
use crate::report::{Joins, Report};
use crate::storm::{Rush, Storm};
use crate::worker::Id;

/// For the last joins to be through.
const TAIL: Duration = Duration::from_secs(1);

pub(super) fn run(args: &cli::Storm) -> Result<Report> {
    let (place, publishing) = (&args.place, &args.publishing);
    let most = args.viewers + args.joins;
    let mut room = Room::open(place, publishing, most, None)?;
    let trouble = room.grow(args.viewers, args.full, args.join_rate);
    if !trouble.is_empty() {
        bail!("there is no steady room to storm: {}", trouble.join(", "));
    }
    thread::sleep(args.settle);
    let window = next_window(Duration::from_secs(args.secs));
    let mut before = room.measure(window, None)?.step;
    before.judge(args.limits(), room.lost().into_iter().collect());
    eprintln!("steady: transit p99 {:.1} ms", before.transit_ms.p99);

    let mut guests = Crowd::start(place, &publishing.common, args.newcomer_threads, 0)?;
    let visits = Visits {
        first_id: Id::default(),
        count: args.joins as usize,
        rate: args.joins as f64 / args.over.as_secs_f64(),
        stay: args.stay,
        vanish: 0,
    };
    let window = next_window(args.over + TAIL);
    let (seen, (joins, left)) = thread::scope(|scope| {
        let coming = scope.spawn(|| {
            sleep_until(window.from_us);
            visits.run(&guests.joiner)
        });
        let seen = room.measure(window, Some(&guests));
        (
            seen,
            coming.join().expect("the thread of joins does not panic"),
        )
    });
    let seen = seen?;
    let mut during = seen.step;
    during.judge(args.limits(), room.lost().into_iter().collect());
    let rush = Rush {
        joined: joins.joined.len() as u64,
        lasted: joins.took,
        guests_came: seen.guests_came,
        keyframe_requests: seen.published.keyframe_requests,
        keyframe_requests_most: seen.published.keyframe_requests_most,
    };

    guests.outcome = joins;
    let (outcome, newcomers) = if args.stay.is_some() {
        guests.end(left)?
    } else {
        guests.settle();
        guests.finish()?
    };
    let (_, published) = room.finish()?;
    Ok(Report {
        command: "storm",
        url: place.url.clone(),
        joins: Some(Joins::new(&outcome, &newcomers)),
        published: Some(published),
        storm: Some(Storm::new(before, during, &rush)),
        ..Report::default()
    })
}
