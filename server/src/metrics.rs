//! The metric catalogue: every name, help text, unit and label that Prometheus sees, in one place.
//!
//! Shards and signaling count for themselves; a scrape reads their counters and adds nothing to
//! their work. Rooms and participants are never labels.

use std::sync::Arc;

use lightstick_sfu::{Cell, DELAY_BOUNDS_US, ESTIMATE_BOUNDS_KBPS, ShardStats};
use lightstick_signaling::{SignalingStats, StatsSnapshot};
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};
use prometheus::{Encoder as _, TextEncoder};

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
    /// What it is.
    pub kind: Kind,
    /// What it means.
    pub help: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
    source: Source,
}

type ShardValue = fn(&ShardStats) -> f64;
type Rows = fn(&StatsSnapshot) -> Vec<(Vec<&'static str>, f64)>;

#[derive(Clone, Copy, Debug)]
enum Source {
    /// One value a shard; the label is `shard`.
    Shard(ShardValue),
    /// Several values a shard, by a second label.
    ShardBy(&'static [(&'static str, ShardValue)]),
    /// One histogram a shard; the label is `shard`.
    Histogram(fn(&ShardStats) -> Metric),
    /// Values of signaling, each with its labels' values.
    Signaling(Rows),
    /// A constant 1 that carries the version.
    Build,
}

/// Every metric of ours. The process's own (`process_*`) come from the client library.
pub const CATALOGUE: &[Definition] = &[
    gauge(
        "lightstick_build_info",
        "Always 1; the version is a label",
        &["version"],
        Source::Build,
    ),
    gauge(
        "lightstick_rooms",
        "Rooms by whether an artist has been there",
        &["state"],
        Source::Signaling(|s| {
            let waiting = s.rooms.saturating_sub(s.rooms_started);
            vec![
                (vec!["started"], s.rooms_started as f64),
                (vec!["waiting"], waiting as f64),
            ]
        }),
    ),
    gauge(
        "lightstick_sessions",
        "Sessions that hold a WebRTC connection or make one",
        &["shard", "role"],
        Source::ShardBy(&[
            ("publisher", |s| s.publishers.get() as f64),
            ("viewer", |s| s.viewers.get() as f64),
        ]),
    ),
    gauge(
        "lightstick_shard_entries",
        "What a shard holds, by table; without sessions, every table is empty",
        &["shard", "table"],
        Source::ShardBy(&[
            ("rooms", |s| s.held_rooms.get() as f64),
            ("addresses", |s| s.held_addresses.get() as f64),
            ("names", |s| s.held_names.get() as f64),
            ("timers", |s| s.held_timers.get() as f64),
            ("joins", |s| s.joins_waiting.get() as f64),
            ("chat_rooms", |s| s.held_chat_rooms.get() as f64),
        ]),
    ),
    counter(
        "lightstick_joins_total",
        "POSTs to WHIP and WHEP by outcome",
        &["role", "outcome"],
        Source::Signaling(|s| {
            let row = |(role, outcome, n): &(
                lightstick_signaling::rooms::SessionRole,
                lightstick_signaling::JoinOutcome,
                u64,
            )| { (vec![role_name(*role), outcome.as_str()], *n as f64) };
            s.joins.iter().map(row).collect()
        }),
    ),
    counter(
        "lightstick_sessions_left_total",
        "Ended sessions by reason",
        &["reason"],
        Source::Signaling(|s| {
            s.left
                .iter()
                .map(|(r, n)| (vec![r.as_str()], *n as f64))
                .collect()
        }),
    ),
    counter(
        "lightstick_http_requests_total",
        "Requests by route and class of status",
        &["route", "class"],
        Source::Signaling(|s| {
            const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
            let class = |c: u8| CLASSES[usize::from(c.clamp(1, 5)) - 1];
            s.requests
                .iter()
                .map(|(r, c, n)| (vec![r.as_str(), class(*c)], *n as f64))
                .collect()
        }),
    ),
    counter(
        "lightstick_refusals_total",
        "Problems sent, by their code",
        &["code"],
        Source::Signaling(|s| {
            s.refusals
                .iter()
                .map(|(c, n)| (vec![c.as_str()], *n as f64))
                .collect()
        }),
    ),
    shard(
        "lightstick_datagrams_received_total",
        "Datagrams and TCP frames received",
        |s| s.datagrams_in.get() as f64,
    ),
    shard("lightstick_received_bytes_total", "Bytes of those", |s| {
        s.bytes_in.get() as f64
    }),
    shard(
        "lightstick_datagrams_sent_total",
        "Datagrams and TCP frames sent",
        |s| s.datagrams_out.get() as f64,
    ),
    shard("lightstick_sent_bytes_total", "Bytes of those", |s| {
        s.bytes_out.get() as f64
    }),
    shard(
        "lightstick_send_calls_total",
        "Send system calls; one carries many datagrams",
        |s| s.send_calls.get() as f64,
    ),
    shard(
        "lightstick_rtp_received_total",
        "RTP packets from publishers",
        |s| s.rtp_in.get() as f64,
    ),
    shard(
        "lightstick_rtp_forwarded_total",
        "RTP packets given to viewers",
        |s| s.rtp_out.get() as f64,
    ),
    shard(
        "lightstick_rtp_paced_total",
        "Of those, packets that pacing sent later than they came: of keyframes, and to newcomers",
        |s| s.paced_out.get() as f64,
    ),
    shard(
        "lightstick_rtp_missing_total",
        "Packets missing from publishers when the next ones came; some are repaired later",
        |s| s.rtp_in_lost.get() as f64,
    ),
    shard(
        "lightstick_viewer_lost_total",
        "Packets that viewers reported lost",
        |s| s.rtp_out_lost.get() as f64,
    ),
    shard(
        "lightstick_retransmissions_sent_total",
        "Packets sent to viewers again",
        |s| s.rtx_out.get() as f64,
    ),
    shard(
        "lightstick_nacks_received_total",
        "NACKs from viewers",
        |s| s.nacks_in.get() as f64,
    ),
    shard("lightstick_nacks_sent_total", "NACKs to publishers", |s| {
        s.nacks_out.get() as f64
    }),
    shard(
        "lightstick_keyframe_requests_received_total",
        "PLI and FIR from viewers",
        |s| s.keyframe_requests_in.get() as f64,
    ),
    shard(
        "lightstick_keyframe_requests_sent_total",
        "PLI to publishers, after merging",
        |s| s.keyframe_requests_out.get() as f64,
    ),
    shard(
        "lightstick_layer_switches_total",
        "Times a viewer was given another layer, its first included",
        |s| s.layer_switches.get() as f64,
    ),
    counter(
        "lightstick_layer_wishes_total",
        "Layers that publishers were asked to pause, and to send again",
        &["shard", "wish"],
        Source::ShardBy(&[
            ("pause", |s| s.layers_paused.get() as f64),
            ("resume", |s| s.layers_resumed.get() as f64),
        ]),
    ),
    counter(
        "lightstick_dropped_total",
        "What was not processed or not sent, by reason",
        &["shard", "reason"],
        Source::ShardBy(&[
            ("junk", |s| s.drop_junk.get() as f64),
            ("stranger", |s| s.drop_stranger.get() as f64),
            ("stun", |s| s.drop_stun.get() as f64),
            ("refused", |s| s.drop_refused.get() as f64),
            ("media", |s| s.drop_media.get() as f64),
            ("socket", |s| s.drop_socket.get() as f64),
            ("ring", |s| s.drop_ring.get() as f64),
            ("join", |s| s.joins_shed.get() as f64),
            ("behind", |s| s.drop_behind.get() as f64),
        ]),
    ),
    counter(
        "lightstick_starts_total",
        "What newcomers started from; one who waited in vain counts again",
        &["shard", "from"],
        Source::ShardBy(&[
            ("replay", |s| s.starts_replayed.get() as f64),
            ("asked", |s| s.starts_asked.get() as f64),
            ("waited", |s| s.starts_waited.get() as f64),
        ]),
    ),
    shard(
        "lightstick_withheld_bytes_total",
        "Bytes kept back from addresses that have not proven themselves",
        |s| s.drop_unproven.get() as f64,
    ),
    shard(
        "lightstick_session_panics_total",
        "Sessions whose handling failed and was contained",
        |s| s.panics.get() as f64,
    ),
    shard(
        "lightstick_shard_busy_seconds_total",
        "Time a shard spent working; its rate is the shard's load",
        |s| s.busy_us.get() as f64 / 1e6,
    ),
    gauge(
        "lightstick_chat_members",
        "Sessions that take part in a chat, and of those the ones whose links are too slow for it",
        &["shard", "state"],
        Source::ShardBy(&[
            ("here", |s| s.chat.members.get() as f64),
            ("behind", |s| s.chat.behind.get() as f64),
            ("counts_only", |s| s.chat.counts_only.get() as f64),
        ]),
    ),
    gauge(
        "lightstick_chat_channels",
        "Open data channels by label",
        &["shard", "channel"],
        Source::ShardBy(&[
            ("ctl", |s| s.chat.channels[0].get() as f64),
            ("chat", |s| s.chat.channels[1].get() as f64),
            ("fx", |s| s.chat.channels[2].get() as f64),
        ]),
    ),
    counter(
        "lightstick_chat_frames_sent_total",
        "Frames written to data channels, by the channel that they are meant for",
        &["shard", "channel"],
        Source::ShardBy(&[
            ("ctl", |s| s.chat.frames_out[0].get() as f64),
            ("chat", |s| s.chat.frames_out[1].get() as f64),
            ("fx", |s| s.chat.frames_out[2].get() as f64),
        ]),
    ),
    shard(
        "lightstick_chat_sent_bytes_total",
        "Bytes of those, before encryption",
        |s| s.chat.bytes_out.get() as f64,
    ),
    shard(
        "lightstick_chat_frames_received_total",
        "Frames taken from data channels",
        |s| s.chat.frames_in.get() as f64,
    ),
    shard(
        "lightstick_chat_received_bytes_total",
        "Bytes of those, after decryption",
        |s| s.chat.bytes_in.get() as f64,
    ),
    shard(
        "lightstick_chat_missed_total",
        "Messages that members were not sent because their links were too slow; each is told how many",
        |s| s.chat.missed.get() as f64,
    ),
    shard(
        "lightstick_chat_resyncs_total",
        "Times that a member had to be brought up to date from its room's history",
        |s| s.chat.resyncs.get() as f64,
    ),
    counter(
        "lightstick_chat_late_ticks_total",
        "Ticks that met others not shown to all yet: shown together with them, or lost for some",
        &["shard", "outcome"],
        Source::ShardBy(&[
            ("merged", |s| s.chat.late.get() as f64),
            ("lost", |s| s.chat.overrun.get() as f64),
        ]),
    ),
    counter(
        "lightstick_chat_dropped_total",
        "Chat frames and SCTP packets that were not processed or not sent, by reason",
        &["shard", "reason"],
        Source::ShardBy(&[
            ("flood", |s| s.chat.drop_flood.get() as f64),
            ("oversize", |s| s.chat.drop_oversize.get() as f64),
            ("text", |s| s.chat.drop_text.get() as f64),
            ("stray", |s| s.chat.drop_stray.get() as f64),
            ("queue", |s| s.chat.drop_queue.get() as f64),
            ("unsent", |s| s.chat.drop_unsent.get() as f64),
            ("packet", |s| s.chat.drop_packet.get() as f64),
        ]),
    ),
    counter(
        "lightstick_chat_channels_closed_total",
        "Data channels closed by us: of unknown labels or too many, and of sessions without a chat",
        &["shard", "reason"],
        Source::ShardBy(&[
            ("refused", |s| s.chat.channels_refused.get() as f64),
            ("ignored", |s| s.chat.channels_ignored.get() as f64),
        ]),
    ),
    Definition {
        name: "lightstick_forward_delay_seconds",
        kind: Kind::Histogram,
        help: "From the publisher's datagram to the viewers' sockets, a packet and viewer; without what pacing held",
        labels: &["shard"],
        source: Source::Histogram(|s| {
            let bounds = DELAY_BOUNDS_US.iter().map(|us| *us as f64 / 1e6);
            histogram(
                &s.forward_delay,
                bounds,
                s.forward_delay_us.get() as f64 / 1e6,
            )
        }),
    },
    Definition {
        name: "lightstick_viewer_estimate_bits_per_second",
        kind: Kind::Histogram,
        help: "Viewers of now by what their links are estimated to carry; no counters, so without rate()",
        labels: &["shard"],
        source: Source::Histogram(|s| {
            let bounds = ESTIMATE_BOUNDS_KBPS.iter().map(|kbps| *kbps as f64 * 1e3);
            histogram(&s.estimates, bounds, s.estimates_bps.get() as f64)
        }),
    },
];

const fn counter(
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

const fn gauge(
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

const fn shard(name: &'static str, help: &'static str, value: ShardValue) -> Definition {
    counter(name, help, &["shard"], Source::Shard(value))
}

fn role_name(role: lightstick_signaling::rooms::SessionRole) -> &'static str {
    use lightstick_signaling::rooms::SessionRole;
    match role {
        SessionRole::Publisher => "publisher",
        SessionRole::Viewer => "viewer",
    }
}

/// Reads the counters when it is asked to.
#[derive(Debug)]
pub struct Metrics {
    shards: Vec<Arc<ShardStats>>,
    signaling: Arc<SignalingStats>,
}

impl Metrics {
    /// Metrics of these shards and this signaling.
    #[must_use]
    pub fn new(shards: Vec<Arc<ShardStats>>, signaling: Arc<SignalingStats>) -> Self {
        Self { shards, signaling }
    }

    /// Everything in the Prometheus text format.
    ///
    /// # Errors
    /// A family that the format cannot express; the catalogue's test rules it out.
    pub fn scrape(&self) -> Result<String, prometheus::Error> {
        let snapshot = self.signaling.snapshot();
        let mut families: Vec<MetricFamily> = CATALOGUE
            .iter()
            .map(|definition| self.family(definition, &snapshot))
            .collect();
        families.extend(prometheus::gather());
        let mut text = Vec::new();
        TextEncoder::new().encode(&families, &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn family(&self, definition: &Definition, snapshot: &StatsSnapshot) -> MetricFamily {
        let mut metrics = Vec::new();
        let mut add = |labels: Vec<&str>, value: Metric| {
            metrics.push(labelled(value, definition.labels, &labels));
        };
        let number = |value| plain(definition.kind, value);
        match definition.source {
            Source::Build => add(vec![env!("CARGO_PKG_VERSION")], number(1.0)),
            Source::Signaling(rows) => {
                for (labels, value) in rows(snapshot) {
                    add(labels, number(value));
                }
            }
            Source::Shard(value) => {
                for (index, shard) in self.shards.iter().enumerate() {
                    add(vec![&index.to_string()], number(value(shard)));
                }
            }
            Source::ShardBy(values) => {
                for (index, shard) in self.shards.iter().enumerate() {
                    for (label, value) in values {
                        add(vec![&index.to_string(), label], number(value(shard)));
                    }
                }
            }
            Source::Histogram(read) => {
                for (index, shard) in self.shards.iter().enumerate() {
                    add(vec![&index.to_string()], read(shard));
                }
            }
        }
        let mut family = MetricFamily::default();
        family.set_name(definition.name.to_owned());
        family.set_help(definition.help.to_owned());
        family.set_field_type(match definition.kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
            Kind::Histogram => MetricType::HISTOGRAM,
        });
        family.set_metric(metrics);
        family
    }
}

fn plain(kind: Kind, value: f64) -> Metric {
    let mut metric = Metric::default();
    if kind == Kind::Gauge {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
    } else {
        let mut counter = Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
    }
    metric
}

/// Cells hold each bucket alone; the last of them has no bound.
fn histogram(cells: &[Cell], bounds: impl Iterator<Item = f64>, sum: f64) -> Metric {
    let mut histogram = Histogram::default();
    let mut buckets = Vec::new();
    let mut total = 0;
    let mut bounds = bounds.fuse();
    for cell in cells {
        total += cell.get();
        // The format's own `+Inf` bucket says the same as the count.
        let Some(bound) = bounds.next() else {
            break;
        };
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(bound);
        bucket.set_cumulative_count(total);
        buckets.push(bucket);
    }
    histogram.set_bucket(buckets);
    histogram.set_sample_count(total);
    histogram.set_sample_sum(sum);
    let mut metric = Metric::default();
    metric.set_histogram(histogram);
    metric
}

fn labelled(mut metric: Metric, names: &[&str], values: &[&str]) -> Metric {
    let pairs = names.iter().zip(values).map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    });
    metric.set_label(pairs.collect());
    metric
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn metrics() -> Metrics {
        Metrics::new(vec![Arc::default(), Arc::default()], Arc::default())
    }

    #[test]
    fn the_catalogue_is_sound_and_whole_on_a_scrape() {
        let text = metrics().scrape().unwrap();
        let mut names = BTreeSet::new();
        for definition in CATALOGUE {
            assert!(
                names.insert(definition.name),
                "{} stands twice",
                definition.name
            );
            assert!(
                !definition
                    .labels
                    .iter()
                    .any(|l| ["room", "session", "participant"].contains(l))
            );
            let total = definition.name.ends_with("_total");
            assert_eq!(
                total,
                definition.kind == Kind::Counter,
                "{}",
                definition.name
            );
            assert!(
                text.contains(&format!("# TYPE {} ", definition.name)),
                "{}",
                definition.name
            );
        }
        assert!(
            text.contains("lightstick_sessions{role=\"viewer\",shard=\"1\"} 0")
                || text.contains("lightstick_sessions{shard=\"1\",role=\"viewer\"} 0"),
            "{text}"
        );
        assert!(text.contains("process_resident_memory_bytes"));
        for bound in ["0.001", "+Inf"] {
            let bucket =
                format!("lightstick_forward_delay_seconds_bucket{{shard=\"0\",le=\"{bound}\"}} 0");
            assert!(text.contains(&bucket), "{bucket}");
        }
        for bound in ["800000", "+Inf"] {
            let bucket = format!(
                "lightstick_viewer_estimate_bits_per_second_bucket{{shard=\"1\",le=\"{bound}\"}} 0"
            );
            assert!(text.contains(&bucket), "{bucket}");
        }
    }

    #[test]
    fn dashboards_and_alerts_use_what_exists() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../grafana");
        let known: BTreeSet<&str> = CATALOGUE.iter().map(|definition| definition.name).collect();
        let mut used = 0;
        for entry in std::fs::read_dir(root).expect("the grafana folder") {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            for word in text
                .split(|c| !is_name(c))
                .filter(|w| w.starts_with("lightstick_"))
            {
                let base = ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|suffix| word.strip_suffix(suffix).filter(|b| known.contains(b)))
                    .unwrap_or(word);
                assert!(
                    known.contains(base),
                    "{}: {word} is not in the catalogue",
                    path.display()
                );
                used += 1;
            }
        }
        assert!(used > 20, "only {used} metrics are shown");
    }
}
