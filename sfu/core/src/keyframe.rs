//! Keyframe requests: however many viewers ask, a layer's publisher hears at most one in an
//! interval; and what is learned about how it answers.

use std::time::{Duration, Instant};

/// Merges the keyframe requests for one layer of one track.
#[derive(Clone, Debug)]
pub struct KeyframeGate {
    interval: Duration,
    sent_at: Option<Instant>,
    /// Asked since the last request or keyframe, and not yet sent on.
    wanted: bool,
}

impl KeyframeGate {
    /// A gate that lets one request through in each `interval`.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self {
            interval,
            sent_at: None,
            wanted: false,
        }
    }

    /// A viewer asks. Whether the request goes upstream is [`Self::poll`]'s answer.
    pub fn request(&mut self) {
        self.wanted = true;
    }

    /// A keyframe has begun to come in: it serves everyone who asked before.
    pub fn keyframe(&mut self) {
        self.wanted = false;
    }

    /// True when a request must be sent upstream now; the gate counts it as sent.
    pub fn poll(&mut self, now: Instant) -> bool {
        let due = self.wanted && self.sent_at.is_none_or(|at| at + self.interval <= now);
        if due {
            self.sent_at = Some(now);
            self.wanted = false;
        }
        due
    }

    /// When to [`Self::poll`] next, after a poll that held the request back; `None` while no request is pending.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        if self.wanted {
            self.sent_at.map(|at| at + self.interval)
        } else {
            None
        }
    }
}

/// How often one viewer's requests are passed on: a keyframe is as large as many pictures for
/// everybody who watches. What is held back is passed on when its time comes, for not every receiver
/// asks twice, unless a keyframe has come meanwhile.
#[derive(Clone, Copy, Debug)]
pub struct RequestPace {
    next_at: Option<Instant>,
    wait: Duration,
    /// Packets went missing since the last request that was passed on.
    has_lost: bool,
    /// When the viewer asked first of what is held back.
    held_since: Option<Instant>,
}

impl Default for RequestPace {
    fn default() -> Self {
        Self {
            next_at: None,
            wait: Self::FIRST,
            has_lost: false,
            held_since: None,
        }
    }
}

impl RequestPace {
    /// From one request to the next; then twice as long each time.
    const FIRST: Duration = Duration::from_millis(500);
    /// Longest time between requests of a viewer that loses packets, and of one that loses none.
    const LOSSY: Duration = Duration::from_secs(4);
    const LOSSLESS: Duration = Duration::from_secs(32);

    /// The viewer has reported missing packets.
    pub fn lost(&mut self) {
        self.has_lost = true;
    }

    /// When to [`Self::poll`]; `None` while nothing is held back.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.held_since.and(self.next_at)
    }

    /// Whether what was held back is passed on now. `keyframe_at`: when the last keyframe of the
    /// viewer's layer began.
    pub fn poll(&mut self, now: Instant, keyframe_at: Option<Instant>) -> bool {
        if self.deadline().is_none_or(|at| now < at) {
            return false;
        }
        let held_since = self.held_since.take();
        let served = keyframe_at.is_some_and(|at| held_since.is_some_and(|since| at >= since));
        !served && self.request(now)
    }

    /// The viewer asks for a keyframe. Whether that is passed on at once.
    pub fn request(&mut self, now: Instant) -> bool {
        let since = match self.next_at {
            Some(at) if now < at => {
                self.held_since.get_or_insert(now);
                return false;
            }
            Some(at) => now.saturating_duration_since(at),
            None => Duration::ZERO,
        };
        // Whoever has been quiet for as long as it had to wait begins anew.
        if since >= self.wait {
            self.wait = Self::FIRST;
        }
        let longest = match std::mem::take(&mut self.has_lost) {
            true => Self::LOSSY,
            false => Self::LOSSLESS,
        };
        self.held_since = None;
        self.wait = self.wait.min(longest);
        self.next_at = Some(now + self.wait);
        self.wait *= 2;
        true
    }
}

/// A publisher that left as many requests unanswered as this answers none.
const UNANSWERED_MAX: u8 = 2;
/// Keyframes are regular whose distances differ by no more than one part in so many, and this.
const REGULAR_PART: u32 = 32;
const REGULAR_JITTER: Duration = Duration::from_millis(20);
/// An answer later than this is none: a keyframe has come by itself.
const ANSWER_MAX: Duration = Duration::from_millis(1_500);

/// How one layer's keyframes come: how soon after a request, and how often by themselves.
#[derive(Clone, Debug, Default)]
pub struct KeyframeHabit {
    /// The request that no keyframe has followed yet.
    open: Option<Instant>,
    asked_at: Option<Instant>,
    /// Rises at once and falls slowly: one keyframe that happened to come early proves little.
    answer: Option<Duration>,
    unanswered: u8,
    keyframe_at: Option<Instant>,
    /// The last keyframe came without having been asked for.
    by_itself: bool,
    /// Time between the last two that came by themselves, and whether it was the same before.
    interval: Option<(Duration, bool)>,
}

impl KeyframeHabit {
    /// A request leaves for the publisher.
    pub fn asked(&mut self, now: Instant) {
        self.asked_at = Some(now);
        let passed = self.open.map(|open| now.saturating_duration_since(open));
        match passed {
            // The first of several requests is what a keyframe answers.
            Some(passed) if passed <= ANSWER_MAX => return,
            Some(passed) => self.learn(passed),
            None => {}
        }
        self.open = Some(now);
    }

    /// A keyframe has begun to come in.
    pub fn keyframe(&mut self, now: Instant) {
        // One that came before the request does not answer it.
        let asked = self.open.take_if(|open| *open <= now);
        let passed = self
            .keyframe_at
            .replace(now)
            .map(|last| now.saturating_duration_since(last));
        let same = |before: Duration, passed: Duration| {
            passed.abs_diff(before) <= before / REGULAR_PART + REGULAR_JITTER
        };
        // Nor does one that was due anyhow.
        let due = self
            .interval
            .zip(passed)
            .is_some_and(|((before, _), passed)| same(before, passed));
        match asked {
            Some(_) if due => self.unanswered = self.unanswered.saturating_add(1),
            Some(open) => self.learn(now.saturating_duration_since(open)),
            None => {}
        }
        let by_itself = due || asked.is_none();
        let both = std::mem::replace(&mut self.by_itself, by_itself) && by_itself;
        self.interval = passed.filter(|_| both).map(|passed| (passed, due));
    }

    fn learn(&mut self, took: Duration) {
        if took > ANSWER_MAX {
            self.unanswered = self.unanswered.saturating_add(1);
            return;
        }
        self.unanswered = 0;
        self.answer = Some(match self.answer {
            Some(before) if took < before => (before * 3 + took) / 4,
            _ => took,
        });
    }

    /// How soon a keyframe would be here that is asked for now, where one request may leave in
    /// each `interval`. `None`: the publisher ignores requests, or has not yet shown that it does not.
    #[must_use]
    pub fn answer(&self, now: Instant, interval: Duration) -> Option<Duration> {
        if self.is_deaf() {
            return None;
        }
        let answer = self.answer?;
        let since = |at: Instant| now.saturating_duration_since(at);
        let closed = |at| interval.saturating_sub(since(at));
        // What is overdue may be asked for once more when the interval has passed.
        self.open
            .and_then(|open| answer.checked_sub(since(open)))
            .or_else(|| Some(self.asked_at.map_or(Duration::ZERO, closed) + answer))
    }

    /// Whether the publisher ignores requests.
    #[must_use]
    pub fn is_deaf(&self) -> bool {
        self.unanswered >= UNANSWERED_MAX
    }

    /// Whether it is known whether the publisher answers requests.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.is_deaf() || self.answer.is_some()
    }

    /// Whether a request is on its way.
    #[must_use]
    pub fn is_asked(&self, now: Instant) -> bool {
        self.open
            .is_some_and(|at| now.saturating_duration_since(at) <= ANSWER_MAX)
    }

    /// Whether another request may leave: none has in the last `interval`.
    #[must_use]
    pub fn may_ask(&self, now: Instant, interval: Duration) -> bool {
        self.asked_at
            .is_none_or(|at| now.saturating_duration_since(at) >= interval)
    }

    /// How soon the next keyframe comes by itself, where they come regularly.
    #[must_use]
    pub fn regular(&self, now: Instant) -> Option<Duration> {
        let (interval, _) = self.interval.filter(|(_, steady)| *steady)?;
        let next = self.keyframe_at? + interval;
        next.checked_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_learned_and_distrusted() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let ms = |ms| Some(Duration::from_millis(ms));
        let mut habit = KeyframeHabit::default();
        habit.asked(at(0));
        assert_eq!(habit.answer(at(50), SECOND), None, "it was never asked");
        habit.keyframe(at(80));
        assert_eq!(
            habit.answer(at(400), SECOND),
            ms(680),
            "not before a second"
        );
        assert_eq!(habit.answer(at(2_000), SECOND), ms(80));
        habit.asked(at(2_000));
        assert_eq!(habit.answer(at(2_050), SECOND), ms(30), "one is on its way");
        habit.keyframe(at(2_400));
        assert_eq!(habit.answer(at(9_000), SECOND), ms(400), "worse at once");
        habit.asked(at(9_000));
        habit.keyframe(at(9_080));
        assert_eq!(habit.answer(at(19_000), SECOND), ms(320), "better slowly");
        assert_eq!(habit.regular(at(19_000)), None);
    }

    #[test]
    fn a_publisher_that_ignores_requests_is_known_soon() {
        let start = Instant::now();
        let mut habit = KeyframeHabit::default();
        for n in 0..3 {
            habit.asked(start + 2 * n * SECOND);
        }
        assert_eq!(habit.answer(start + 60 * SECOND, SECOND), None);
        assert!(!habit.is_asked(start + 60 * SECOND));
        assert!(habit.is_deaf());
        // It was asleep, not deaf.
        habit.asked(start + 60 * SECOND);
        habit.keyframe(start + 60 * SECOND + SECOND / 10);
        assert!(habit.answer(start + 70 * SECOND, SECOND).is_some());
    }

    #[test]
    fn asking_each_second_makes_no_answer_of_the_next_request() {
        let start = Instant::now();
        let mut habit = KeyframeHabit::default();
        for n in 0..6 {
            habit.asked(start + n * SECOND);
        }
        assert!(habit.is_deaf());
        let mut slow = KeyframeHabit::default();
        slow.asked(start);
        slow.asked(start + SECOND);
        slow.keyframe(start + SECOND + SECOND / 10);
        let answer = slow.answer(start + 9 * SECOND, SECOND);
        assert_eq!(answer, Some(SECOND + SECOND / 10));
    }

    #[test]
    fn keyframes_that_come_by_themselves_are_foreseen() {
        let start = Instant::now();
        let mut habit = KeyframeHabit::default();
        for n in 0..3 {
            habit.keyframe(start + 2 * n * SECOND);
        }
        assert_eq!(habit.regular(start + 5 * SECOND), Some(SECOND));
        assert_eq!(habit.regular(start + 7 * SECOND), None, "it did not come");
        // A request just before one that is due proves nothing.
        habit.asked(start + 6 * SECOND - SECOND / 10);
        habit.keyframe(start + 6 * SECOND + SECOND / 50);
        assert_eq!(habit.answer(start + 7 * SECOND, SECOND), None);
        assert!(habit.regular(start + 7 * SECOND).is_some());
        habit.asked(start + 7 * SECOND);
        habit.keyframe(start + 7 * SECOND + SECOND / 10);
        assert_eq!(habit.regular(start + 7 * SECOND + SECOND / 5), None);
        assert!(habit.answer(start + 8 * SECOND, SECOND).is_some());
    }

    const SECOND: Duration = Duration::from_secs(1);

    /// Requests that are passed on in a minute of one each 50 ms.
    fn passed_in_a_minute(lossy: bool) -> usize {
        let start = Instant::now();
        let mut pace = RequestPace::default();
        (0..1_200)
            .filter(|n| {
                if lossy {
                    pace.lost();
                }
                pace.request(start + *n * SECOND / 20)
            })
            .count()
    }

    #[test]
    fn a_viewer_that_asks_all_the_time_is_passed_on_ever_less() {
        // At 0, 0.5, 1.5, 3.5, 7.5, 15.5 and 31.5 s; with losses each 4 s from the fourth on.
        assert_eq!(passed_in_a_minute(false), 7);
        assert_eq!(passed_in_a_minute(true), 4 + 14);
    }

    #[test]
    fn a_viewer_that_asks_once_too_soon_is_passed_on_later() {
        let start = Instant::now();
        let mut pace = RequestPace::default();
        assert!(pace.request(start));
        assert_eq!(pace.deadline(), None);
        assert!(!pace.request(start + SECOND / 10));
        assert!(!pace.request(start + SECOND / 5));
        assert_eq!(pace.deadline(), Some(start + SECOND / 2));
        assert!(!pace.poll(start + SECOND / 4, None), "too soon");
        assert!(pace.poll(start + SECOND / 2, Some(start + SECOND / 20)));
        assert_eq!(pace.deadline(), None, "once");
        // One that is served meanwhile is forgotten.
        assert!(!pace.request(start + SECOND));
        assert!(!pace.poll(start + 2 * SECOND, Some(start + SECOND)));
        assert_eq!(pace.deadline(), None);
    }

    #[test]
    fn a_viewer_that_asks_now_and_then_is_always_passed_on() {
        let start = Instant::now();
        let mut pace = RequestPace::default();
        for n in 0..20 {
            assert!(pace.request(start + n * 2 * SECOND), "request {n}");
        }
        // A storm, and then quiet.
        let storm = start + 60 * SECOND;
        for n in 0..200 {
            pace.request(storm + n * SECOND / 20);
        }
        assert!(pace.request(storm + 60 * SECOND));
        assert!(pace.request(storm + 62 * SECOND));
    }

    #[test]
    fn a_thousand_joins_make_one_request_a_second() {
        let start = Instant::now();
        let mut gate = KeyframeGate::new(SECOND);
        let mut sent = Vec::new();
        // 1,000 viewers ask over ten seconds, one each 10 ms; a keyframe answers 80 ms after each
        // request that went upstream.
        let mut keyframe_due = None;
        for ms in 0..10_000_u64 {
            let now = start + Duration::from_millis(ms);
            if keyframe_due == Some(ms) {
                gate.keyframe();
            }
            if ms % 10 == 0 {
                gate.request();
            }
            if gate.poll(now) {
                sent.push(ms);
                keyframe_due = Some(ms + 80);
            }
        }
        assert_eq!(sent.first(), Some(&0), "the first request goes at once");
        assert!(sent.len() <= 10, "{sent:?}");
        assert!(sent.windows(2).all(|w| w[1] - w[0] >= 1_000), "{sent:?}");
    }

    #[test]
    fn a_keyframe_in_time_serves_those_who_wait() {
        let start = Instant::now();
        let mut gate = KeyframeGate::new(SECOND);
        gate.request();
        assert!(gate.poll(start));
        gate.request();
        assert!(!gate.poll(start + SECOND / 2));
        assert_eq!(gate.deadline(), Some(start + SECOND));
        gate.keyframe();
        assert_eq!(gate.deadline(), None);
        assert!(!gate.poll(start + 2 * SECOND));
    }

    #[test]
    fn a_request_that_waits_goes_when_the_interval_ends() {
        let start = Instant::now();
        let mut gate = KeyframeGate::new(SECOND);
        gate.request();
        assert!(gate.poll(start));
        gate.request();
        assert!(!gate.poll(start + SECOND - Duration::from_nanos(1)));
        assert!(gate.poll(start + SECOND));
        assert!(!gate.poll(start + 5 * SECOND), "nobody asked again");
    }
}
