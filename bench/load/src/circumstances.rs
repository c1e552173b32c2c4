//! When, where and how a figure was taken: without these it says nothing.

use std::fs;
use std::io;

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Flags whose values are nobody's business.
const SECRET: [&str; 2] = ["--token", "--watch-token"];

/// What belongs to every figure.
#[derive(Clone, Debug, Serialize)]
pub struct Circumstances {
    /// At the end, in UTC (RFC 3339).
    pub date: String,
    /// The command line, without tokens.
    pub command: String,
    /// The processor's name.
    pub cpu: String,
    /// How many of its cores this machine has.
    pub cores: u64,
    pub kernel: String,
    /// Mean number of running processes over the last minute, these included.
    pub load: f64,
}

impl Circumstances {
    /// Those of this moment.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn now() -> io::Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
        let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let loadavg = fs::read_to_string("/proc/loadavg")?;
        let model = cpuinfo.lines().find_map(|l| l.strip_prefix("model name"));
        let date = OffsetDateTime::now_utc().replace_nanosecond(0).ok();
        Ok(Self {
            date: date
                .and_then(|d| d.format(&Rfc3339).ok())
                .ok_or_else(|| io::Error::other("the clock is not within the years of RFC 3339"))?,
            command: without_secrets(std::env::args()),
            cpu: model
                .map_or("unknown", |m| m.trim_start_matches([':', ' ', '\t']))
                .to_owned(),
            cores: std::thread::available_parallelism()?.get() as u64,
            kernel: release.trim().to_owned(),
            load: loadavg
                .split(' ')
                .next()
                .and_then(|l| l.parse().ok())
                .ok_or_else(|| io::Error::other("/proc/loadavg is not as expected"))?,
        })
    }
}

fn without_secrets(args: impl Iterator<Item = String>) -> String {
    let mut words = Vec::new();
    let mut hide = false;
    for (index, word) in args.enumerate() {
        let name = word.split('=').next().unwrap_or_default();
        let secret = SECRET.contains(&name);
        words.push(match (index, hide) {
            (0, _) => word.rsplit('/').next().unwrap_or(&word).to_owned(),
            (_, true) => "...".to_owned(),
            _ if secret && word.contains('=') => format!("{name}=..."),
            _ => word.clone(),
        });
        hide = secret && !word.contains('=');
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_not_shown() {
        let line = "/usr/bin/bench run http://a --token eyJ.x --watch-token=eyJ.y --viewers 3";
        let shown = without_secrets(line.split(' ').map(str::to_owned));
        assert_eq!(
            shown,
            "bench run http://a --token ... --watch-token=... --viewers 3"
        );
    }

    #[test]
    fn this_machine_can_be_described() {
        let now = Circumstances::now().unwrap();
        assert!(now.cores > 0 && !now.cpu.is_empty() && !now.kernel.is_empty());
        assert!(
            now.date.starts_with("20") && now.date.ends_with('Z'),
            "{}",
            now.date
        );
    }
}
