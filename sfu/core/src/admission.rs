//! Who holds one of a bounded number of connections: peers that have authenticated themselves keep
//! theirs, strangers lose theirs after a while, and at once when somebody else comes.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use lightstick_types::Network;

/// How many connections there are, and for how long a stranger may hold one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub total: usize,
    /// Of them, those of one IPv4 address or IPv6 /64.
    pub per_network: usize,
    /// A stranger that has not authenticated itself after this long is closed.
    pub patience: Duration,
    /// New connections of one network a second in the long run, where as many may come at once
    /// as it may hold.
    pub rate: u32,
}

/// Why a new connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Its network opens too many, or holds as many as it may, all of them authenticated.
    Network,
    /// All connections are held by peers that are authenticated.
    Full,
}

/// The connections of a shard, by numbers of the caller that only ever grow.
#[derive(Debug)]
pub struct Admission {
    limits: Limits,
    connections: HashMap<usize, Connection>,
    networks: HashMap<Network, Held>,
    /// The longest idle first: nothing that a stranger sends makes it younger.
    strangers: BTreeSet<(Instant, usize)>,
}

#[derive(Clone, Copy, Debug)]
struct Connection {
    network: Network,
    /// Since when nobody answers for it. None: a session does.
    stranger_since: Option<Instant>,
}

/// What one network holds. It is remembered while there is more than nothing to say.
#[derive(Debug, Default)]
struct Held {
    connections: usize,
    strangers: BTreeSet<(Instant, usize)>,
    /// When it may open as many at once again as it may hold.
    rested_at: Option<Instant>,
}

impl Admission {
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            connections: HashMap::new(),
            networks: HashMap::new(),
            strangers: BTreeSet::new(),
        }
    }

    /// Lets in a connection from `ip`, as a stranger. `Some` is the stranger whose place it takes,
    /// which is to be closed.
    ///
    /// # Errors
    /// [`Refused`]; nothing has changed, but the rate of its network.
    pub fn admit(&mut self, id: usize, ip: IpAddr, now: Instant) -> Result<Option<usize>, Refused> {
        let network = Network::from(ip);
        let Limits {
            total,
            per_network,
            rate,
            ..
        } = self.limits;
        let held = self.networks.entry(network).or_default();
        let every = Duration::from_secs(1) / rate.max(1);
        let burst = every * u32::try_from(per_network).unwrap_or(u32::MAX);
        let rested_at = held.rested_at.map_or(now, |at| at.max(now)) + every;
        if rested_at > now + burst {
            return Err(Refused::Network);
        }
        held.rested_at = Some(rested_at);
        let evicted = if held.connections >= per_network {
            Some(*held.strangers.first().ok_or(Refused::Network)?)
        } else if self.connections.len() >= total {
            Some(*self.strangers.first().ok_or(Refused::Full)?)
        } else {
            None
        };
        if let Some((_, evicted)) = evicted {
            self.remove(evicted, now);
        }
        let held = self.networks.entry(network).or_default();
        held.rested_at = Some(rested_at);
        held.connections += 1;
        held.strangers.insert((now, id));
        self.strangers.insert((now, id));
        self.connections.insert(
            id,
            Connection {
                network,
                stranger_since: Some(now),
            },
        );
        Ok(evicted.map(|(_, id)| id))
    }

    /// A session answers for the connection. False: it did already, or there is no such connection.
    pub fn authenticated(&mut self, id: usize) -> bool {
        let Some(connection) = self.connections.get_mut(&id) else {
            return false;
        };
        let Some(since) = connection.stranger_since.take() else {
            return false;
        };
        self.strangers.remove(&(since, id));
        if let Some(held) = self.networks.get_mut(&connection.network) {
            held.strangers.remove(&(since, id));
        }
        true
    }

    /// No session answers for the connection any more.
    pub fn released(&mut self, id: usize, now: Instant) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if connection.stranger_since.is_none() {
            connection.stranger_since = Some(now);
            self.strangers.insert((now, id));
            let held = self.networks.entry(connection.network).or_default();
            held.strangers.insert((now, id));
        }
    }

    /// Whether a session answers for the connection.
    #[must_use]
    pub fn is_authenticated(&self, id: usize) -> bool {
        let connection = self.connections.get(&id);
        connection.is_some_and(|connection| connection.stranger_since.is_none())
    }

    /// The connection is closed.
    pub fn remove(&mut self, id: usize, now: Instant) {
        let Some(connection) = self.connections.remove(&id) else {
            return;
        };
        if let Some(since) = connection.stranger_since {
            self.strangers.remove(&(since, id));
        }
        if let Some(held) = self.networks.get_mut(&connection.network) {
            held.connections = held.connections.saturating_sub(1);
            if let Some(since) = connection.stranger_since {
                held.strangers.remove(&(since, id));
            }
            if held.connections == 0 && held.rested_at.is_none_or(|at| at <= now) {
                self.networks.remove(&connection.network);
            }
        }
    }

    /// The next stranger whose time is up, which is to be closed and [removed](Self::remove).
    #[must_use]
    pub fn overdue(&self, now: Instant) -> Option<usize> {
        let (since, id) = self.strangers.first()?;
        (*since + self.limits.patience <= now).then_some(*id)
    }

    /// When [`Self::overdue`] has something to say next.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let (since, _) = self.strangers.first()?;
        Some(*since + self.limits.patience)
    }

    /// Forgets networks that hold nothing and have rested. To be called now and then.
    pub fn sweep(&mut self, now: Instant) {
        self.networks
            .retain(|_, held| held.connections > 0 || held.rested_at.is_some_and(|at| at > now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);
    const LIMITS: Limits = Limits {
        total: 8,
        per_network: 4,
        patience: PATIENCE,
        rate: 2,
    };

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn ms(start: Instant, ms: usize) -> Instant {
        start + Duration::from_millis(ms as u64)
    }

    #[test]
    fn a_network_that_is_full_of_strangers_loses_the_idlest() {
        let start = Instant::now();
        let mut admission = Admission::new(Limits {
            rate: 1_000,
            ..LIMITS
        });
        for id in 0..4 {
            assert_eq!(admission.admit(id, ip(1), ms(start, id)), Ok(None));
        }
        assert!(admission.authenticated(0));
        assert!(!admission.authenticated(0), "a second time changes nothing");
        assert_eq!(admission.admit(4, ip(1), ms(start, 10)), Ok(Some(1)));
        for id in [2, 3, 4] {
            admission.authenticated(id);
        }
        let refused = admission.admit(5, ip(1), ms(start, 20));
        assert_eq!(refused, Err(Refused::Network));
        // Others are not concerned.
        assert_eq!(admission.admit(6, ip(2), ms(start, 20)), Ok(None));
        admission.released(3, ms(start, 30));
        assert_eq!(admission.admit(7, ip(1), ms(start, 40)), Ok(Some(3)));
    }

    #[test]
    fn when_all_is_full_the_idlest_stranger_of_anybody_goes() {
        let start = Instant::now();
        let mut admission = Admission::new(LIMITS);
        for id in 0..8 {
            let from = ip(1 + id as u8 / 4);
            assert_eq!(admission.admit(id, from, ms(start, id)), Ok(None));
        }
        assert_eq!(admission.admit(8, ip(9), ms(start, 9)), Ok(Some(0)));
        for id in 1..9 {
            admission.authenticated(id);
        }
        let refused = admission.admit(9, ip(9), ms(start, 10));
        assert_eq!(refused, Err(Refused::Full));
        assert_eq!(admission.deadline(), None);
    }

    #[test]
    fn strangers_are_overdue_in_order_and_friends_never() {
        let start = Instant::now();
        let mut admission = Admission::new(LIMITS);
        for id in 0..3 {
            admission
                .admit(id, ip(1), ms(start, id * 1_000))
                .expect("room for three");
        }
        admission.authenticated(1);
        assert_eq!(admission.overdue(ms(start, 4_999)), None);
        assert_eq!(admission.deadline(), Some(start + PATIENCE));
        let late = ms(start, 60_000);
        assert_eq!(admission.overdue(late), Some(0));
        admission.remove(0, late);
        assert_eq!(admission.overdue(late), Some(2));
        admission.remove(2, late);
        assert_eq!(
            (admission.overdue(late), admission.deadline()),
            (None, None)
        );
        assert!(admission.is_authenticated(1));
        // Whom nobody answers for any more gets the same time once more.
        admission.released(1, late);
        assert_eq!(admission.deadline(), Some(late + PATIENCE));
    }

    #[test]
    fn a_network_that_comes_again_and_again_gets_the_rate() {
        let start = Instant::now();
        let mut admission = Admission::new(LIMITS);
        let mut admitted = 0;
        for id in 0..10_000 {
            let now = ms(start, id);
            if admission.admit(id, ip(1), now).is_ok() {
                admitted += 1;
                admission.remove(id, now);
            }
        }
        assert_eq!(admitted, 4 + 2 * 10 - 1);
        assert_eq!(admission.admit(20_000, ip(2), ms(start, 10_000)), Ok(None));
    }

    #[test]
    fn nothing_is_remembered_of_those_who_have_gone_and_rested() {
        let start = Instant::now();
        let mut admission = Admission::new(LIMITS);
        for id in 0..200 {
            let from = ip(id as u8);
            admission.admit(id, from, start).expect("room for one more");
            admission.remove(id, start);
        }
        assert_eq!(admission.networks.len(), 200);
        admission.sweep(ms(start, 501));
        assert!(admission.networks.is_empty() && admission.connections.is_empty());
        assert!(admission.strangers.is_empty());
    }
}
