//! The controller in whole QUIC connections, in virtual time over a path that delays, queues and loses.

mod pair;
mod path;

use std::time::Duration;

use crate::config::CongestionControl::{self, Bbr, Cubic, Live};
use pair::{Outcome, Pair, Source};
use path::{Loss, Path};

const MS: Duration = Duration::from_millis(1);

/// What a path between continents is like: 200 ms of round trip, more rate than is needed.
fn ocean(loss: Loss) -> Path {
    Path::new(20_000_000, 100 * MS, 500_000, loss)
}

/// Half a minute of 4 Mbit/s in three layers, with a keyframe of five frames' size every two seconds.
fn stream(control: CongestionControl, loss: Loss) -> Outcome {
    Pair::new(control, ocean(loss)).run(Source::layers(4_000_000), 30_000 * MS)
}

#[test]
fn frames_are_on_time_at_five_percent_of_loss() {
    // A frame that is lost three times is late: with bursts, that is one in some hundred.
    for (loss, seeds, wanted) in [
        (Loss::single(0.05), 1..4, 0.999),
        (Loss::bursts(0.05, 8.0), 11..14, 0.997),
    ] {
        let (mut on_time, mut frames) = (0, 0);
        for seed in seeds {
            let outcome = stream(Live, loss.with_seed(seed));
            on_time += outcome.on_time;
            frames += outcome.frames;
        }
        let part = f64::from(on_time) / f64::from(frames);
        println!("{loss:?}: {part:.5} of {frames} frames on time");
        assert!(part >= wanted, "{loss:?}: {part:.5} of {frames}");
    }
}

#[test]
fn cubic_starves_where_this_does_not() {
    let part = |control| stream(control, Loss::single(0.05).with_seed(11)).part();
    let (live, cubic, bbr) = (part(Live), part(Cubic), part(Bbr));
    println!("on time: live {live:.4}, cubic {cubic:.4}, bbr {bbr:.4}");
    assert!(live > 0.99 && cubic < 0.5, "live {live}, cubic {cubic}");
}

#[test]
fn a_path_that_is_too_narrow_gets_no_standing_queue() {
    let narrow = Path::new(2_000_000, 50 * MS, 250_000, Loss::none());
    let outcome = Pair::new(Live, narrow).run(Source::layers(4_000_000), 20_000 * MS);
    println!("{outcome:?}");
    // Its queue holds a second, and a keyframe alone is a third of one.
    assert!(outcome.queue_mean < 150 * MS, "{outcome:?}");
    assert!(outcome.delivered_rate > 1_100_000.0, "{outcome:?}");
    // All but the time in which it finds out.
    assert!(outcome.base_part() > 0.9, "{outcome:?}");
}

#[test]
fn a_path_that_narrows_is_yielded_to() {
    let path = Path::new(20_000_000, 50 * MS, 250_000, Loss::none());
    let path = path.narrowing(5_000 * MS, 2_000_000);
    let outcome = Pair::new(Live, path).run(Source::layers(4_000_000), 20_000 * MS);
    println!("{outcome:?}");
    assert!(outcome.queue_mean < 100 * MS, "{outcome:?}");
    // All but the time in which the queue empties.
    assert!(outcome.base_part() > 0.9, "{outcome:?}");
}
