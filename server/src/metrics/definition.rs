//! How a metric is described, and where its values come from.

use lightstick_chat::PlaneStats;
use lightstick_chat::archive::ArchiveStatsSnapshot;
use lightstick_sfu::ShardStats;
use lightstick_signaling::StatsSnapshot;
use prometheus::proto::Metric;

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Buckets, sum and count.
    Histogram,
}

/// One metric as the outside sees it.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// Its name, unit last.
    pub name: &'static str,
    pub kind: Kind,
    pub help: &'static str,
    pub labels: &'static [&'static str],
    pub(super) source: Source,
}

pub(super) type ShardValue = fn(&ShardStats) -> f64;
pub(super) type ChatValue = fn(&PlaneStats) -> f64;
pub(super) type ArchiveValue = fn(&ArchiveStatsSnapshot) -> f64;
pub(super) type Rows = fn(&StatsSnapshot) -> Vec<(Vec<&'static str>, f64)>;

#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    /// One value a shard; the label is `shard`.
    Shard(ShardValue),
    /// Several values a shard, by a second label.
    ShardBy(&'static [(&'static str, ShardValue)]),
    /// One histogram a shard; the label is `shard`.
    Histogram(fn(&ShardStats) -> Metric),
    /// Values of signaling, each with its labels' values.
    Signaling(Rows),
    /// One value of all chats.
    Chat(ChatValue),
    /// Several values of all chats, by a label.
    ChatBy(&'static [(&'static str, ChatValue)]),
    /// One value of the chats' archive.
    Archive(ArchiveValue),
    /// Several values of it, by a label.
    ArchiveBy(&'static [(&'static str, ArchiveValue)]),
    /// A constant 1 that carries the version.
    Build,
}

pub(super) const fn counter(
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
    source: Source,
) -> Definition {
    Definition {
        name,
        kind: Kind::Counter,
        help,
        labels,
        source,
    }
}

pub(super) const fn gauge(
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
    source: Source,
) -> Definition {
    Definition {
        name,
        kind: Kind::Gauge,
        help,
        labels,
        source,
    }
}

pub(super) const fn shard(name: &'static str, help: &'static str, value: ShardValue) -> Definition {
    counter(name, help, &["shard"], Source::Shard(value))
}
