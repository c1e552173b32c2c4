//! What a newcomer starts from: the last keyframe and what followed it, a keyframe that is asked
//! for, or one that comes anyhow. The one that shows it something, and the present, soonest.

use std::time::Duration;

use lightstick_types::Bitrate;

use crate::history::Start;

/// What a frame costs a decoder that has to hurry: a phone, or a core that several share.
const DECODE: Duration = Duration::from_millis(3);
/// What a keyframe costs everybody who watches already: it is many times a frame, and the picture
/// pays for it. Nobody gains by it who would gain less than this.
const ASKING: Duration = Duration::from_millis(50);
/// A keyframe that is waited for may be late by as much and half of its time again, until the
/// replay is the better choice after all.
const PATIENCE: Duration = Duration::from_millis(100);
/// A keyframe that may never come is asked for again after this.
const PATIENCE_UNKNOWN: Duration = Duration::from_millis(500);
/// Assumed of a keyframe where none is known, in bytes.
const KEYFRAME_GUESS: u64 = 60_000;
/// Nobody waits longer than this for a first picture that a replay would show at once.
const PICTURE_MAX: Duration = Duration::from_millis(400);
/// A replay that takes longer than this is not through before others would rather ask again.
const REPLAY_MAX: Duration = Duration::from_secs(15);
/// A replay that takes longer is shortened by a keyframe that may come for asking.
const REPLAY_LONG: Duration = Duration::from_millis(500);
/// What a replay is not worth more than: nothing else will come for sure.
const FAR: Duration = Duration::from_secs(3_600);

/// What a newcomer to a layer could start from.
#[derive(Clone, Copy, Debug)]
pub struct Situation {
    /// What the history holds.
    pub replay: Option<Start>,
    /// How soon a keyframe that is asked for comes; `None`: nobody knows whether one does.
    pub answer: Option<Duration>,
    /// The publisher is known to ignore requests.
    pub deaf: bool,
    /// It was asked for already, by somebody else.
    pub asked: bool,
    /// How soon the next keyframe comes by itself, where that is known.
    pub regular: Option<Duration>,
    /// What the viewer is sent in a second.
    pub pace: Bitrate,
    /// What the layer takes; 0 where it is not known.
    pub layer: Bitrate,
}

/// What it starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// From the last keyframe. A keyframe that comes meanwhile ends it.
    Replay {
        start: Start,
        /// It takes long, and it is worth a try to ask for such a keyframe.
        ask: bool,
    },
    /// From a keyframe that is to be asked for. If it has not come after this time, choose again.
    Ask(Duration),
    /// From the next keyframe, which comes without being asked for. If it has not come after this
    /// time, choose again.
    Wait(Duration),
}

/// Chooses by cost: the mean of the time until there is a picture and the time until that is the
/// present, which a new keyframe is at once; and what others pay for it. But nobody sits before a
/// black picture for long where there is one to show.
#[must_use]
pub fn choose(situation: &Situation) -> Choice {
    let Situation {
        replay,
        answer,
        asked,
        regular,
        ..
    } = *situation;
    let keyframe = situation.keyframe();
    let after = |wait: Option<Duration>| wait.map_or(FAR, |wait| wait + keyframe);
    let (soon, answered) = (after(regular), after(answer));
    let asking = if asked { Duration::ZERO } else { ASKING };
    let late = |wait: Duration| wait + wait / 2 + PATIENCE;
    let patience = |wait: Option<Duration>| wait.map_or(PATIENCE_UNKNOWN, late);
    if let Some(start) = replay {
        let replayed = situation.replayed(&start);
        let other = soon.min(answered + asking);
        let dark = other > PICTURE_MAX && replayed.min(soon) <= REPLAY_MAX;
        if dark || (keyframe + replayed) / 2 <= other {
            let ask = replayed > REPLAY_LONG && answer.is_none() && !situation.deaf;
            return Choice::Replay { start, ask };
        }
    }
    if soon <= answered + asking && regular.is_some() {
        Choice::Wait(patience(regular))
    } else if asked && answer.is_some() {
        Choice::Wait(patience(answer))
    } else {
        Choice::Ask(patience(answer))
    }
}

impl Situation {
    /// How long a replay takes: the show goes on meanwhile, and its frames come on top.
    fn replayed(&self, start: &Start) -> Duration {
        let gain = self.pace.bps().saturating_sub(self.layer.bps());
        if gain == 0 {
            return FAR;
        }
        self.sent(start.bytes, gain) + DECODE * start.frames
    }

    /// Time to send a cached keyframe.
    fn keyframe(&self) -> Duration {
        let bytes = self.replay.map_or(KEYFRAME_GUESS, |s| s.keyframe_bytes);
        self.sent(bytes, self.pace.bps().max(1)) + DECODE
    }

    fn sent(&self, bytes: u64, bps: u64) -> Duration {
        Duration::from_micros(bytes.saturating_mul(8_000_000) / bps).min(FAR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// What 720p30 at 2.5 Mbit/s holds `age` after its keyframe of 70 kB.
    fn held(age: u64) -> Start {
        Start {
            from: 1,
            to: 1_000,
            frames: age as u32 * 30 / 1_000 + 1,
            bytes: 70_000 + age * 240,
            keyframe_bytes: 70_000,
            generation: 0,
        }
    }

    fn at(age: Option<u64>, answer: Option<u64>, asked: bool, regular: Option<u64>) -> Choice {
        choose(&Situation {
            replay: age.map(held),
            answer: answer.map(ms),
            deaf: false,
            asked,
            regular: regular.map(ms),
            pace: Bitrate(20_000_000),
            layer: Bitrate(2_500_000),
        })
    }

    #[test]
    fn a_publisher_that_answers_is_asked_when_the_keyframe_is_old() {
        let replays =
            |age, answer| matches!(at(Some(age), answer, false, None), Choice::Replay { .. });
        for age in [0, 200, 500, 800] {
            assert!(replays(age, Some(80)), "{age} ms old");
        }
        for age in [1_400, 1_800, 2_200] {
            let choice = at(Some(age), Some(80), false, None);
            assert_eq!(choice, Choice::Ask(ms(80 + 40) + PATIENCE), "{age} ms old");
        }
        // A slow one only when nothing else is left.
        for age in [0, 1_000, 2_200] {
            assert!(replays(age, Some(1_000)), "{age} ms old");
            assert!(replays(age, None), "{age} ms old");
        }
    }

    #[test]
    fn those_who_join_together_share_one_request() {
        let old = Some(1_600);
        assert!(matches!(at(old, Some(90), false, None), Choice::Ask(_)));
        assert!(matches!(at(old, Some(60), true, None), Choice::Wait(_)));
        assert!(matches!(
            at(Some(800), Some(60), true, None),
            Choice::Wait(_)
        ));
        assert!(matches!(
            at(Some(100), Some(60), true, None),
            Choice::Replay { .. }
        ));
    }

    #[test]
    fn what_comes_anyhow_is_waited_for_when_it_is_near() {
        assert_eq!(
            at(Some(1_900), None, false, Some(100)),
            Choice::Wait(ms(150) + PATIENCE)
        );
        assert!(matches!(
            at(Some(1_000), None, false, Some(1_000)),
            Choice::Replay { .. }
        ));
        assert!(matches!(
            at(Some(1_900), Some(80), false, Some(60)),
            Choice::Wait(_)
        ));
    }

    #[test]
    fn nobody_waits_for_seconds_where_there_is_something_to_show() {
        // Ten seconds between keyframes: only the last moment before the next is waited for.
        for age in [1_000, 5_000, 9_000, 9_600] {
            let choice = at(Some(age), None, false, Some(10_000 - age));
            assert!(matches!(choice, Choice::Replay { .. }), "{age} ms old");
        }
        let near = at(Some(9_700), None, false, Some(300));
        assert!(matches!(near, Choice::Wait(_)));
        // Even where that takes long, as long as it ends.
        let slow = |regular: Option<u64>, deaf| {
            choose(&Situation {
                replay: Some(held(9_000)),
                answer: None,
                deaf,
                asked: false,
                regular: regular.map(ms),
                pace: Bitrate(3_000_000),
                layer: Bitrate(2_500_000),
            })
        };
        assert!(matches!(slow(Some(1_000), true), Choice::Replay { .. }));
        // Or as nothing else comes at all.
        assert!(matches!(slow(None, true), Choice::Replay { .. }));
        assert!(matches!(slow(Some(30_000), true), Choice::Replay { .. }));
    }

    #[test]
    fn a_long_replay_asks_for_what_would_end_it_where_that_may_help() {
        let asks = |age, deaf| {
            let choice = choose(&Situation {
                replay: Some(held(age)),
                answer: None,
                deaf,
                asked: false,
                regular: None,
                pace: Bitrate(20_000_000),
                layer: Bitrate(2_500_000),
            });
            matches!(choice, Choice::Replay { ask: true, .. })
        };
        assert!(asks(5_000, false));
        assert!(!asks(5_000, true));
        assert!(!asks(500, false));
    }

    #[test]
    fn with_nothing_held_one_asks_whatever_the_answer() {
        assert!(matches!(at(None, Some(80), false, None), Choice::Ask(_)));
        assert_eq!(at(None, None, false, None), Choice::Ask(PATIENCE_UNKNOWN));
        assert!(matches!(at(None, Some(80), true, None), Choice::Wait(_)));
        assert!(matches!(at(None, None, false, Some(300)), Choice::Wait(_)));
    }

    #[test]
    fn a_link_that_could_not_catch_up_is_not_given_a_replay() {
        let choice = choose(&Situation {
            replay: Some(held(500)),
            answer: Some(ms(80)),
            deaf: false,
            asked: false,
            regular: None,
            pace: Bitrate(2_000_000),
            layer: Bitrate(2_500_000),
        });
        assert!(matches!(choice, Choice::Ask(_)));
    }
}
