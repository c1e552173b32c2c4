//! The metric catalogue: every name, help text, unit and label that Prometheus sees, in one place.
//!
//! Shards and signaling count for themselves; a scrape reads their counters and adds nothing to
//! their work. Rooms and participants are never labels.

mod chat;
mod definition;
mod media;

use std::sync::Arc;

use lightstick_chat::PlaneStats;
use lightstick_chat::archive::{ArchiveStats, ArchiveStatsSnapshot};
use lightstick_sfu::{Cell, ShardStats};
use lightstick_signaling::{SignalingStats, StatsSnapshot};
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};
use prometheus::{Encoder as _, TextEncoder};

use definition::Source;
pub use definition::{Definition, Kind};

/// Every metric of ours. The process's own (`process_*`) come from the client library.
pub fn catalogue() -> impl Iterator<Item = &'static Definition> {
    media::METRICS.iter().chain(chat::METRICS)
}

/// The counters of the chat; all zero without one.
#[derive(Clone, Debug, Default)]
pub struct ChatStats {
    /// Of all rooms.
    pub plane: Arc<PlaneStats>,
    /// Of the archive.
    pub archive: Arc<ArchiveStats>,
}

/// Reads the counters when it is asked to.
#[derive(Debug)]
pub struct Metrics {
    shards: Vec<Arc<ShardStats>>,
    signaling: Arc<SignalingStats>,
    chat: ChatStats,
}

impl Metrics {
    /// Metrics of these shards, this signaling and this chat.
    #[must_use]
    pub fn new(
        shards: Vec<Arc<ShardStats>>,
        signaling: Arc<SignalingStats>,
        chat: ChatStats,
    ) -> Self {
        Self {
            shards,
            signaling,
            chat,
        }
    }

    /// Everything in the Prometheus text format.
    ///
    /// # Errors
    /// A family that the format cannot express; the catalogue's test rules it out.
    pub fn scrape(&self) -> Result<String, prometheus::Error> {
        let snapshot = self.signaling.snapshot();
        let archive = self.chat.archive.snapshot();
        let mut families: Vec<MetricFamily> = catalogue()
            .map(|definition| self.family(definition, &snapshot, &archive))
            .collect();
        families.extend(prometheus::gather());
        let mut text = Vec::new();
        TextEncoder::new().encode(&families, &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn family(
        &self,
        definition: &Definition,
        snapshot: &StatsSnapshot,
        archive: &ArchiveStatsSnapshot,
    ) -> MetricFamily {
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
            Source::Chat(value) => add(vec![], number(value(&self.chat.plane))),
            Source::ChatBy(values) => {
                for (label, value) in values {
                    add(vec![label], number(value(&self.chat.plane)));
                }
            }
            Source::Archive(value) => add(vec![], number(value(archive))),
            Source::ArchiveBy(values) => {
                for (label, value) in values {
                    add(vec![label], number(value(archive)));
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
        Metrics::new(
            vec![Arc::default(), Arc::default()],
            Arc::default(),
            ChatStats::default(),
        )
    }

    #[test]
    fn the_catalogue_is_sound_and_whole_on_a_scrape() {
        let text = metrics().scrape().unwrap();
        let mut names = BTreeSet::new();
        for definition in catalogue() {
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
    fn the_manual_lists_the_catalogue() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md");
        let manual = std::fs::read_to_string(path).expect("the manual");
        let rows: Vec<String> = catalogue()
            .map(|definition| {
                let kind = match definition.kind {
                    Kind::Counter => "counter",
                    Kind::Gauge => "gauge",
                    Kind::Histogram => "histogram",
                };
                let (name, help) = (definition.name, definition.help);
                let labels = definition.labels.join(", ");
                let labels = if labels.is_empty() {
                    " "
                } else {
                    &format!(" {labels} ")
                };
                format!("| `{name}` | {kind} |{labels}| {help} |")
            })
            .collect();
        let is_row = |line: &&str| line.starts_with("| `lightstick_");
        if std::env::var("METRICS_TABLE").is_ok_and(|wish| wish == "write") {
            let before = manual.lines().take_while(|line| !is_row(line));
            let after = manual.lines().skip_while(|line| !is_row(line));
            let after = after.skip_while(is_row);
            let rows = rows.iter().map(String::as_str);
            let lines: Vec<&str> = before.chain(rows).chain(after).collect();
            std::fs::write(path, lines.join("\n") + "\n").expect("the manual is written");
            return;
        }
        let listed: Vec<&str> = manual.lines().filter(is_row).collect();
        assert_eq!(
            listed, rows,
            "METRICS_TABLE=write updates docs/operations.md"
        );
    }

    #[test]
    fn dashboards_and_alerts_use_what_exists() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../grafana");
        let known: BTreeSet<&str> = catalogue().map(|definition| definition.name).collect();
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
