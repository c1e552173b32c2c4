//! How many connections there are, and whose.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use lightstick_types::Network;

use super::ConnectionLimits;

/// Counts connections. Each accept and each close takes the lock for a moment.
#[derive(Debug)]
pub(super) struct Places {
    total_max: usize,
    per_address_max: usize,
    trusted: Vec<Network>,
    taken: Mutex<Taken>,
    stats: Arc<ConnectionStats>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    by_address: HashMap<Network, usize>,
}

/// One connection's place. Dropping it makes room.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    address: Network,
}

impl Places {
    pub(super) fn new(limits: &ConnectionLimits, stats: Arc<ConnectionStats>) -> Self {
        let trusted = limits.trusted_proxies.iter();
        Self {
            total_max: limits.connections_max,
            per_address_max: limits.connections_per_address_max,
            trusted: trusted.map(|ip| Network::from(*ip)).collect(),
            taken: Mutex::default(),
            stats,
        }
    }

    /// A place for a connection, or none: a limit is reached, and that is counted.
    pub(super) fn take(self: &Arc<Self>, ip: IpAddr) -> Option<Place> {
        let address = Network::from(ip);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.total >= self.total_max {
            self.stats.refuse(ConnectionLimit::Total);
            return None;
        }
        let held = taken.by_address.get(&address).copied().unwrap_or_default();
        if held >= self.per_address_max && !self.trusted.contains(&address) {
            self.stats.refuse(ConnectionLimit::Address);
            return None;
        }
        taken.total += 1;
        taken.by_address.insert(address, held + 1);
        self.stats.set_open(taken.total);
        Some(Place {
            places: Arc::clone(self),
            address,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let taken = self.places.taken.lock();
        let mut taken = taken.unwrap_or_else(PoisonError::into_inner);
        taken.total -= 1;
        if let Some(held) = taken.by_address.get_mut(&self.address) {
            *held -= 1;
            if *held == 0 {
                taken.by_address.remove(&self.address);
            }
        }
        self.places.stats.set_open(taken.total);
    }
}

/// The counters of a listener.
#[derive(Debug, Default)]
pub struct ConnectionStats {
    open: AtomicU64,
    refused: [AtomicU64; ConnectionLimit::ALL.len()],
}

impl ConnectionStats {
    /// Connections now, WebSockets among them.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.open.load(Relaxed)
    }

    /// Connections closed at once so far, by the limit that they met; every limit is there.
    #[must_use]
    pub fn refused(&self) -> [(ConnectionLimit, u64); ConnectionLimit::ALL.len()] {
        ConnectionLimit::ALL.map(|limit| (limit, self.refused[limit as usize].load(Relaxed)))
    }

    fn set_open(&self, connections: usize) {
        self.open.store(connections as u64, Relaxed);
    }

    fn refuse(&self, limit: ConnectionLimit) {
        self.refused[limit as usize].fetch_add(1, Relaxed);
    }
}

/// Which limit a connection met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionLimit {
    /// That of all connections.
    Total,
    /// That of one address.
    Address,
}

impl ConnectionLimit {
    pub const ALL: [Self; 2] = [Self::Total, Self::Address];

    /// As a metric's label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Address => "address",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_and_given_back() {
        let stats = Arc::new(ConnectionStats::default());
        let limits = ConnectionLimits {
            connections_max: 4,
            connections_per_address_max: 2,
            trusted_proxies: vec!["192.0.2.9".parse().unwrap()],
            ..ConnectionLimits::default()
        };
        let places = Arc::new(Places::new(&limits, Arc::clone(&stats)));
        let take = |ip: &str| places.take(ip.parse().unwrap());
        let mut held = vec![take("192.0.2.1"), take("192.0.2.1")];
        assert!(take("192.0.2.1").is_none(), "the address has its share");
        assert!(take("::ffff:192.0.2.1").is_none(), "the same address");
        held.extend([take("192.0.2.9"), take("192.0.2.9")]);
        assert!(take("192.0.2.2").is_none(), "all are taken");
        assert!(held.iter().all(Option::is_some));
        assert_eq!(stats.open(), 4);
        held.clear();
        assert_eq!(stats.open(), 0);
        assert!(places.taken.lock().unwrap().by_address.is_empty());
        let refused = [(ConnectionLimit::Total, 1), (ConnectionLimit::Address, 2)];
        assert_eq!(stats.refused(), refused);
        // A proxy may bring more than an address, though not more than all.
        let held: Vec<_> = (0..4).map(|_| take("192.0.2.9")).collect();
        assert!(held.iter().all(Option::is_some));
    }
}
