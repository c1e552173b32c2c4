//! The queue that packets wait in: the least delay of the last moments beside the least of many
//! seconds.

use super::Micros;

/// A queue stands once packets wait so long, and is gone once they wait less than that.
const QUEUE_STANDS: Micros = 20_000;
const QUEUE_GONE: Micros = 10_000;

/// Long enough to span the queue of a bad moment, short enough for clocks that drift.
const BASE_PERIOD: Micros = 10_000_000;
const RECENT_PERIOD: Micros = 40_000;

/// The least value of the last one to two periods.
#[derive(Clone, Copy, Debug)]
struct Least {
    period: Micros,
    since: Micros,
    before: Option<Micros>,
    current: Option<Micros>,
}

impl Least {
    fn new(period: Micros) -> Self {
        Self {
            period,
            since: 0,
            before: None,
            current: None,
        }
    }

    fn add(&mut self, at: Micros, value: Micros) {
        if self.current.is_none() {
            self.since = at;
        }
        if at - self.since >= self.period {
            let recent = at - self.since < 2 * self.period;
            self.before = self.current.take().filter(|_| recent);
            self.since = at;
        }
        self.current = Some(self.current.map_or(value, |least| least.min(value)));
    }

    fn get(&self) -> Option<Micros> {
        match (self.before, self.current) {
            (Some(before), Some(current)) => Some(before.min(current)),
            (before, current) => before.or(current),
        }
    }
}

/// What the delays say of the queue in front of the link.
#[derive(Clone, Debug)]
pub(super) struct StandingQueue {
    base: Least,
    recent: Least,
    /// Since which arrival it stands.
    busy_since: Option<Micros>,
    last_arrival: Micros,
}

impl StandingQueue {
    pub(super) fn new() -> Self {
        Self {
            base: Least::new(BASE_PERIOD),
            recent: Least::new(RECENT_PERIOD),
            busy_since: None,
            last_arrival: 0,
        }
    }

    /// How long packets wait at least, as far as this can be seen from here.
    pub(super) fn delay(&self) -> Micros {
        match (self.recent.get(), self.base.get()) {
            (Some(recent), Some(base)) => recent - base,
            _ => 0,
        }
    }

    /// For how long a queue has been standing, on the receiver's clock: for so long, what comes in
    /// is what the link carries.
    pub(super) fn busy_for(&self) -> Option<Micros> {
        self.busy_since.map(|since| self.last_arrival - since)
    }

    /// Takes a packet's delay, up to the difference of the clocks.
    pub(super) fn add(&mut self, arrival: Micros, delay: Micros) {
        self.base.add(arrival, delay);
        self.recent.add(arrival, delay);
        self.last_arrival = self.last_arrival.max(arrival);
        let waits = self.delay();
        if waits >= QUEUE_STANDS {
            self.busy_since.get_or_insert(arrival);
        } else if waits < QUEUE_GONE {
            self.busy_since = None;
        }
    }
}
