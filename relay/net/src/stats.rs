//! Counts of links and of refusals, for metrics and `cluster status`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quinn::Connection;

use crate::event::{CloseReason, Direction, DownReason, LinkId, Peer};
use crate::tls::Refusal;

/// A counter. Written on the relay's thread, read by whoever scrapes.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counts {
    ($(#[$doc:meta])* $counts:ident, $counters:ident { $($(#[$field_doc:meta])* $field:ident,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $counts {
            $($(#[$field_doc])* pub $field: u64,)+
        }

        #[derive(Debug, Default)]
        pub(crate) struct $counters {
            $(pub(crate) $field: Counter,)+
        }

        impl $counters {
            fn get(&self) -> $counts {
                $counts { $($field: self.$field.get(),)+ }
            }
        }

        impl std::ops::AddAssign for $counts {
            fn add_assign(&mut self, other: Self) {
                $(self.$field += other.$field;)+
            }
        }
    };
}

counts! {
    /// Frames of a link. Of those to send, each is counted once, when it is settled.
    FrameCounts, FrameCounters {
        /// Delivered to the peer, acknowledged.
        delivered,
        /// Not begun: past the deadline.
        late,
        /// Given up half-way: past the deadline.
        expired,
        /// Given up: a newer keyframe of the stream took their place while the link was behind.
        superseded,
        /// Dropped for frames of higher priority, or not begun for them.
        shed,
        /// Not begun: too large, or the peer allows no more streams or bytes.
        blocked,
        /// Received whole.
        received,
        /// Given up half-way by the peer.
        received_resets,
    }
}

counts! {
    /// Messages and datagrams of a link.
    MessageCounts, MessageCounters {
        /// Messages handed to the control stream.
        control_sent,
        control_received,
        datagrams_sent,
        /// Not sent: too large, or older than what the buffer holds.
        datagrams_dropped,
        datagrams_received,
    }
}

/// What a link's path is like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathStats {
    pub rtt: Duration,
    /// What may be under way, in bytes.
    pub congestion_window: u64,
    /// UDP payload, in bytes.
    pub mtu: u16,
    pub packets_sent: u64,
    pub packets_lost: u64,
    pub congestion_events: u64,
    /// UDP payloads, in bytes.
    pub bytes_sent: u64,
    pub bytes_received: u64,
}

/// A link as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkStats {
    pub link: LinkId,
    pub peer: Peer,
    pub direction: Direction,
    pub path: PathStats,
    pub frames: FrameCounts,
    pub messages: MessageCounts,
}

/// Counts of the transport since its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayStats {
    /// Links that are up.
    pub links: Vec<LinkStats>,
    /// Frames and messages of links that are down.
    pub closed_frames: FrameCounts,
    pub closed_messages: MessageCounts,
    /// Links that came up.
    pub links_up: u64,
    /// Attempts to connect to upstreams that failed.
    pub dials_failed: u64,
    /// Peers that this node refused, in the order of [`Refusal::ALL`].
    pub refused: [u64; Refusal::ALL.len()],
    /// Refusals of this node by peers, in the same order.
    pub refused_by_peers: [u64; Refusal::ALL.len()],
    /// Connections refused before the handshake: too many at once.
    pub refused_busy: u64,
    /// Datagrams that are not QUIC.
    pub junk_datagrams: u64,
    /// Changes of certificate files that could not be used.
    pub reloads_failed: u64,
}

#[derive(Debug, Default)]
pub(crate) struct LinkCounters {
    pub(crate) frames: FrameCounters,
    pub(crate) messages: MessageCounters,
}

struct LinkEntry {
    peer: Peer,
    direction: Direction,
    connection: Connection,
    counters: Arc<LinkCounters>,
}

#[derive(Default)]
struct Links {
    up: BTreeMap<LinkId, LinkEntry>,
    closed_frames: FrameCounts,
    closed_messages: MessageCounts,
}

/// Where the transport counts.
#[derive(Default)]
pub(crate) struct Counters {
    /// Locked when a link comes or goes, and by who reads.
    links: Mutex<Links>,
    pub(crate) links_up: Counter,
    pub(crate) dials_failed: Counter,
    refused: [Counter; Refusal::ALL.len()],
    refused_by_peers: [Counter; Refusal::ALL.len()],
    pub(crate) refused_busy: Counter,
    pub(crate) junk_datagrams: Arc<AtomicU64>,
    pub(crate) reloads_failed: Counter,
}

impl Counters {
    pub(crate) fn insert(
        &self,
        link: LinkId,
        peer: Peer,
        direction: Direction,
        connection: Connection,
        counters: Arc<LinkCounters>,
    ) {
        self.links_up.add(1);
        let entry = LinkEntry {
            peer,
            direction,
            connection,
            counters,
        };
        self.links().up.insert(link, entry);
    }

    pub(crate) fn remove(&self, link: LinkId) {
        let mut links = self.links();
        if let Some(entry) = links.up.remove(&link) {
            links.closed_frames += entry.counters.frames.get();
            links.closed_messages += entry.counters.messages.get();
        }
    }

    /// Links that other nodes have made.
    pub(crate) fn links_incoming(&self) -> usize {
        let incoming = |entry: &&LinkEntry| entry.direction == Direction::Incoming;
        self.links().up.values().filter(incoming).count()
    }

    /// Closes the connection of a link whose queue is full.
    pub(crate) fn close(&self, link: LinkId, reason: &CloseReason) {
        if let Some(entry) = self.links().up.get(&link) {
            crate::link::close(&entry.connection, reason);
        }
    }

    pub(crate) fn count(&self, reason: &DownReason) {
        match reason {
            DownReason::Refused(refusal) => self.refused[*refusal as usize].add(1),
            DownReason::RefusedByPeer(refusal) => self.refused_by_peers[*refusal as usize].add(1),
            _ => {}
        }
    }

    fn links(&self) -> std::sync::MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RelayStats {
        let links = self.links();
        let up = links.up.iter().map(|(link, entry)| LinkStats {
            link: *link,
            peer: entry.peer.clone(),
            direction: entry.direction,
            path: path(&entry.connection),
            frames: entry.counters.frames.get(),
            messages: entry.counters.messages.get(),
        });
        RelayStats {
            links: up.collect(),
            closed_frames: links.closed_frames,
            closed_messages: links.closed_messages,
            links_up: self.links_up.get(),
            dials_failed: self.dials_failed.get(),
            refused: self.refused.each_ref().map(Counter::get),
            refused_by_peers: self.refused_by_peers.each_ref().map(Counter::get),
            refused_busy: self.refused_busy.get(),
            junk_datagrams: self.junk_datagrams.load(Ordering::Relaxed),
            reloads_failed: self.reloads_failed.get(),
        }
    }
}

fn path(connection: &Connection) -> PathStats {
    let stats = connection.stats();
    PathStats {
        rtt: stats.path.rtt,
        congestion_window: stats.path.cwnd,
        mtu: stats.path.current_mtu,
        packets_sent: stats.path.sent_packets,
        packets_lost: stats.path.lost_packets,
        congestion_events: stats.path.congestion_events,
        bytes_sent: stats.udp_tx.bytes,
        bytes_received: stats.udp_rx.bytes,
    }
}

/// Reads the transport's counts, from any thread.
#[derive(Clone)]
pub struct StatsReader(pub(crate) Arc<Counters>);

impl StatsReader {
    #[must_use]
    pub fn read(&self) -> RelayStats {
        self.0.read()
    }
}

impl std::fmt::Debug for StatsReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StatsReader")
    }
}
