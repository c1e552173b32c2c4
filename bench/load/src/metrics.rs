//! One counter or gauge of a server's Prometheus endpoint.

use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::blocking::{Client, Response};

use crate::signal::http_client;

const TIMEOUT: Duration = Duration::from_secs(5);

/// A counter or gauge that can be asked for.
#[derive(Clone, Debug)]
pub struct Counter {
    client: Client,
    url: String,
    name: String,
}

impl Counter {
    /// The counter `name` at `url`, such as `http://127.0.0.1:9464/metrics`.
    #[must_use]
    pub fn new(url: &str, name: &str) -> Self {
        Self {
            client: http_client(TIMEOUT),
            url: url.to_owned(),
            name: name.to_owned(),
        }
    }

    /// Those called `names` at `url`; none where there is no URL.
    #[must_use]
    pub fn all(url: Option<&String>, names: &[String]) -> Vec<Self> {
        let names = names.iter();
        url.map_or_else(Vec::new, |url| {
            names.map(|name| Self::new(url, name)).collect()
        })
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its value now, over all labels.
    ///
    /// # Errors
    /// When the endpoint does not answer, or does not know the name.
    pub fn read(&self) -> Result<f64> {
        let url = &self.url;
        let response = (self.client.get(url).send())
            .and_then(Response::error_for_status)
            .with_context(|| format!("{url} does not answer (--metrics)"))?;
        sum(&response.text()?, &self.name).with_context(|| format!("{url} has no {}", self.name))
    }
}

/// The values of all, in their order.
///
/// # Errors
/// As of [`Counter::read`].
pub fn read_all(counters: &[Counter]) -> Result<Vec<f64>> {
    counters.iter().map(Counter::read).collect()
}

/// The sum of a metric over all its labels, in the Prometheus text format.
fn sum(text: &str, name: &str) -> Option<f64> {
    let samples = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let value = match rest.strip_prefix('{') {
            Some(labelled) => labelled.rsplit_once('}')?.1,
            None => rest.strip_prefix(' ')?,
        };
        value.split_whitespace().next()?.parse::<f64>().ok()
    });
    samples.reduce(|sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_summed_and_longer_names_are_others() {
        let text = "# HELP a_total A\na_total{shard=\"0\"} 2\na_total{shard=\"}1\"} 3.5 1700\n\
                    a_total_more 9\nb 1\nb_bad x\n";
        assert_eq!(sum(text, "a_total"), Some(5.5));
        assert_eq!(sum(text, "b"), Some(1.0));
        for absent in ["c", "b_bad", "a"] {
            assert_eq!(sum(text, absent), None, "{absent}");
        }
    }
}
