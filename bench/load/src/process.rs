//! What a process and the machine spend, from `/proc`.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::time::Duration;

/// A process at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// User and system time of all its threads, past ones too, in steps of 10 ms.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub rss: u64,
    pub fds: u64,
    pub threads: u64,
    /// Datagrams that its UDP sockets had no room for, of those that are open.
    pub udp_dropped: u64,
}

/// CPU time of each thread of a process at one moment, by thread id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Threads(BTreeMap<u64, Duration>);

/// The machine at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// CPU time that nothing used, in clock ticks over all cores.
    pub idle: u64,
    /// All CPU time, in clock ticks.
    pub total: u64,
    /// UDP datagrams that some socket of this network namespace had no room for.
    pub udp_dropped: u64,
}

impl Usage {
    /// Reads a process.
    ///
    /// # Errors
    /// When it is gone or belongs to somebody else.
    pub fn of(pid: u32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let fds = fs::read_dir(format!("/proc/{pid}/fd"))?;
        // One may have been closed since it was listed.
        let fds: Vec<_> = fds
            .filter_map(|fd| fs::read_link(fd.ok()?.path()).ok())
            .filter_map(|link| link.into_os_string().into_string().ok())
            .collect();
        let usage = Self::parse(&stat, &status, fds.len() as u64)
            .ok_or_else(|| io::Error::other(format!("/proc/{pid} is not as expected")))?;
        let sockets: HashSet<&str> = fds.iter().filter_map(|link| socket(link)).collect();
        // Of the namespace that this process is in, as everything else here.
        let tables = ["/proc/net/udp", "/proc/net/udp6"].map(fs::read_to_string);
        let tables = tables.iter().flatten();
        Ok(Self {
            udp_dropped: tables.map(|table| dropped(table, &sockets)).sum(),
            ..usage
        })
    }

    fn parse(stat: &str, status: &str, fds: u64) -> Option<Self> {
        let rss_kib: u64 = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?
            .split_whitespace()
            .next()?
            .parse()
            .ok()?;
        Some(Self {
            cpu: cpu_of(stat)?,
            rss: rss_kib * 1_024,
            fds,
            threads: field(stat, 20)?,
            udp_dropped: 0,
        })
    }
}

impl Threads {
    /// Reads the threads of a process.
    ///
    /// # Errors
    /// When it is gone or belongs to somebody else.
    pub fn of(pid: u32) -> io::Result<Self> {
        let mut threads = BTreeMap::new();
        for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
            let entry = entry?;
            let id = entry.file_name().to_str().and_then(|id| id.parse().ok());
            // A thread may have ended since its name was listed.
            let stat = fs::read_to_string(entry.path().join("stat")).ok();
            if let (Some(id), Some(cpu)) = (id, stat.as_deref().and_then(cpu_of)) {
                threads.insert(id, cpu);
            }
        }
        Ok(Self(threads))
    }

    /// The CPU time since `before` of the thread that used most.
    #[must_use]
    pub fn busiest_since(&self, before: &Self) -> Duration {
        let spent = self.0.iter().map(|(id, cpu)| {
            let before = before.0.get(id).copied().unwrap_or_default();
            cpu.saturating_sub(before)
        });
        spent.max().unwrap_or_default()
    }
}

/// The inode of a socket, from what its descriptor links to.
fn socket(link: &str) -> Option<&str> {
    link.strip_prefix("socket:[")?.strip_suffix(']')
}

/// Drops of some sockets, by inode, from a table such as `/proc/net/udp`.
fn dropped(table: &str, sockets: &HashSet<&str>) -> u64 {
    let drops = table.lines().skip(1).filter_map(|line| {
        let mut columns = line.split_whitespace().skip(9);
        let inode = columns.next()?;
        let drops = columns.last()?.parse::<u64>().ok()?;
        sockets.contains(inode).then_some(drops)
    });
    drops.sum()
}

/// A field of `/proc/PID/stat`, as proc(5) counts them.
fn field(stat: &str, number: usize) -> Option<u64> {
    // The command's name may hold blanks and brackets; the last bracket ends it. The third field
    // is the first behind it.
    let fields = stat.rsplit_once(')')?.1;
    fields.split_whitespace().nth(number - 3)?.parse().ok()
}

/// User and system time together.
fn cpu_of(stat: &str) -> Option<Duration> {
    let ticks = field(stat, 14)? + field(stat, 15)?;
    let per_second = rustix::param::clock_ticks_per_second();
    Some(Duration::from_millis(ticks * 1_000 / per_second))
}

impl Machine {
    /// Reads the machine.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn now() -> io::Result<Self> {
        let stat = fs::read_to_string("/proc/stat")?;
        let snmp = fs::read_to_string("/proc/net/snmp")?;
        Self::parse(&stat, &snmp).ok_or_else(|| io::Error::other("/proc is not as expected"))
    }

    /// The share of the CPU time since `before` that nothing used, 0 to 1.
    #[must_use]
    pub fn idle_since(&self, before: &Self) -> f64 {
        let total = self.total.saturating_sub(before.total).max(1);
        self.idle.saturating_sub(before.idle) as f64 / total as f64
    }

    /// CPU time since `before` that something used, on all cores together.
    #[must_use]
    pub fn busy_since(&self, before: &Self) -> Duration {
        let idle = self.idle.saturating_sub(before.idle);
        let ticks = self.total.saturating_sub(before.total).saturating_sub(idle);
        Duration::from_millis(ticks * 1_000 / rustix::param::clock_ticks_per_second())
    }

    fn parse(stat: &str, snmp: &str) -> Option<Self> {
        let cpu: Vec<u64> = stat
            .lines()
            .next()?
            .strip_prefix("cpu ")?
            .split_whitespace()
            .map_while(|n| n.parse().ok())
            .collect();
        let mut udp = snmp.lines().filter_map(|line| line.strip_prefix("Udp: "));
        let (names, values) = (udp.next()?, udp.next()?);
        let column = names.split(' ').position(|name| name == "RcvbufErrors")?;
        Some(Self {
            idle: cpu.get(3)? + cpu.get(4)?,
            // Guest time (fields 9 and 10) is in user time already.
            total: cpu.iter().take(8).sum(),
            udp_dropped: values.split(' ').nth(column)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_proc_writes() {
        let stat = "7 (a) b c) S 1 7 7 0 -1 4194560 9 0 0 0 150 50 0 0 20 0 5 0 99 1 2";
        let status = "Name:\ta\nVmRSS:\t    2048 kB\nThreads:\t5\n";
        let usage = Usage::parse(stat, status, 9).unwrap();
        assert_eq!(usage.cpu, Duration::from_secs(2));
        assert_eq!((usage.rss, usage.fds, usage.threads), (2 << 20, 9, 5));

        let stat = "cpu  10 1 5 80 4 0 0 0 3 0\ncpu0 1 2 3\n";
        let snmp = "Ip: A\nIp: 1\nUdp: InDatagrams RcvbufErrors\nUdp: 12 3\n";
        let machine = Machine::parse(stat, snmp).unwrap();
        assert_eq!((machine.idle, machine.total), (84, 100));
        assert_eq!(machine.udp_dropped, 3);
        let before = Machine {
            idle: 80,
            total: 76,
            udp_dropped: 0,
        };
        assert_eq!(machine.busy_since(&before), Duration::from_millis(200));
    }

    #[test]
    fn the_busiest_thread_is_the_one_that_used_most_since() {
        let at = |threads: &[(u64, u64)]| {
            let threads = threads.iter();
            Threads(
                threads
                    .map(|(id, ms)| (*id, Duration::from_millis(*ms)))
                    .collect(),
            )
        };
        // The first ended, the third is new.
        let (before, after) = (at(&[(1, 900), (2, 500)]), at(&[(2, 550), (3, 70)]));
        assert_eq!(after.busiest_since(&before), Duration::from_millis(70));
        assert_eq!(at(&[]).busiest_since(&before), Duration::ZERO);
    }

    #[test]
    fn drops_are_told_apart_by_socket() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
            1: 0100007F:1F90 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 77 2 0000000000000000 5\n\
            2: 0100007F:1F91 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 78 2 0000000000000000 9\n";
        let of = |links: &[&'static str]| {
            let sockets = links.iter().filter_map(|link| socket(link));
            dropped(table, &sockets.collect())
        };
        assert_eq!(of(&["socket:[77]", "/dev/null", "socket:[5]"]), 5);
        assert_eq!(of(&["socket:[77]", "socket:[78]"]), 14);
        assert_eq!(of(&[]), 0);
    }

    #[test]
    fn reads_itself_and_its_machine() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.rss > 0 && usage.fds > 0 && usage.threads > 0);
        assert!(!Threads::of(std::process::id()).unwrap().0.is_empty());
        assert!(Machine::now().unwrap().total > 0);
        assert!(Usage::of(u32::MAX).is_err());
    }
}
