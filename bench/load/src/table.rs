//! The report for people.

use std::fmt::{self, Display, Formatter};

use crate::circumstances::Circumstances;
use crate::generator::Generator;
use crate::millis::Millis;
use crate::report::{
    Chat, Delivery, Joins, Left, Leftovers, Link, Published, Report, Server, SocketCosts,
};

const MIB: f64 = 1_048_576.0;

fn line(f: &mut Formatter<'_>, name: &str, value: impl Display) -> fmt::Result {
    writeln!(f, "  {name:<30}{value}")
}

impl Display for Millis {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.count == 0 {
            return f.write_str("none");
        }
        let Self {
            p50, p95, p99, max, ..
        } = self;
        write!(
            f,
            "p50 {p50:.2}  p95 {p95:.2}  p99 {p99:.2}  max {max:.2} ms"
        )
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {}", self.command, self.url)?;
        if let Some(circumstances) = &self.circumstances {
            write!(f, "{circumstances}")?;
        }
        if let Some(joins) = &self.joins {
            write!(f, "{joins}")?;
        }
        if let Some(published) = &self.published {
            write!(f, "{published}")?;
        }
        if let Some(delivery) = &self.delivery {
            write!(f, "{delivery}")?;
        }
        if let Some(server) = &self.server {
            write!(f, "{server}")?;
        }
        for (name, grown) in &self.counters {
            writeln!(f, "  {name} {grown:+}")?;
        }
        if let Some(SocketCosts {
            cpu_us_per_frame,
            rss_per_connection,
        }) = &self.sockets
        {
            line(f, "CPU a frame", format_args!("{cpu_us_per_frame:.2} us"))?;
            let kib = rss_per_connection / 1024.0;
            line(f, "memory a connection", format_args!("{kib:.1} KiB"))?;
        }
        if let Some(counts) = &self.sockets_attack {
            writeln!(f, "WebSockets")?;
            for (what, count) in counts {
                line(f, "", format_args!("{count} x {what}"))?;
            }
        }
        if let Some(leftovers) = &self.leftovers {
            write!(f, "{leftovers}")?;
        }
        if let Some(generator) = &self.generator {
            write!(f, "{generator}")?;
        }
        if let Some(sweep) = &self.sweep {
            write!(f, "{sweep}")?;
        }
        if let Some(flood) = &self.flood {
            write!(f, "{flood}")?;
        }
        if let Some(storm) = &self.storm {
            write!(f, "{storm}")?;
        }
        for why in &self.failed {
            writeln!(f, "FAILED: {why}")?;
        }
        Ok(())
    }
}

impl Display for Circumstances {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        line(f, "date", &self.date)?;
        line(f, "command", &self.command)?;
        let Self {
            cpu,
            cores,
            kernel,
            load,
            ..
        } = self;
        line(
            f,
            "machine",
            format_args!("{cores} x {cpu}, Linux {kernel}, load {load:.2}"),
        )
    }
}

impl Display for Joins {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "joins")?;
        let Self {
            joined,
            failed,
            connected,
            painted,
            lost,
            per_second,
            behind,
            ..
        } = self;
        line(
            f,
            "sessions",
            format_args!(
                "{joined} joined, {connected} connected, {painted} with a keyframe, {failed} failed, {lost} lost"
            ),
        )?;
        for (why, count) in &self.failures {
            line(f, "", format_args!("{count} x {why}"))?;
        }
        line(
            f,
            "rate",
            format_args!("{per_second:.1}/s, {behind} began late"),
        )?;
        line(f, "offer to answer", self.request_ms)?;
        line(f, "to ICE and DTLS done", self.connected_ms)?;
        line(f, "to the first packet", self.first_packet_ms)?;
        line(f, "to the first whole keyframe", self.first_keyframe_ms)
    }
}

impl Display for Published {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "publisher")?;
        line(
            f,
            "packets",
            format_args!("{} video, {} audio", self.video_packets, self.audio_packets),
        )?;
        line(
            f,
            "keyframes",
            format_args!("{}, {} asked for", self.keyframes, self.keyframe_requests),
        )?;
        line(
            f,
            "late at most",
            format_args!("{:.1} ms", self.late_max_ms),
        )
    }
}

impl Display for Delivery {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "media, over {:.1} s", self.secs)?;
        if let Some(Link { loss, rtt_ms }) = self.link {
            let percent = loss * 100.0;
            line(
                f,
                "links",
                format_args!("{percent} % lost each way, {rtt_ms} ms there and back"),
            )?;
        }
        let rate = self.packets as f64 / self.secs.max(1e-3);
        line(
            f,
            "delivered",
            format_args!(
                "{} packets, {rate:.0}/s, {:.2} Mbit/s a viewer",
                self.packets,
                self.bitrate_mean / 1e6
            ),
        )?;
        if let (Some(missing), Some(loss), Some(worst)) =
            (self.missing, self.loss, self.missing_worst_viewer)
        {
            line(
                f,
                "lost end to end",
                format_args!(
                    "{missing} ({:.4} %), {} of them video, worst viewer {worst}",
                    loss * 100.0,
                    self.missing_video.unwrap_or(0)
                ),
            )?;
        }
        line(
            f,
            "RTP",
            format_args!(
                "{} missing, {} duplicates, {} damaged, {} without stamp",
                self.rtp_missing, self.duplicates, self.corrupt, self.unstamped
            ),
        )?;
        if self.viewers_light > 0 {
            line(
                f,
                "viewers",
                format_args!(
                    "{} full, {} light (RTP headers only)",
                    self.viewers_full, self.viewers_light
                ),
            )?;
        }
        line(f, "transit", self.transit_ms)?;
        for playback in &self.playback {
            let name = format!("frozen, {} ms held back", playback.held_back_ms);
            line(f, &name, playback)?;
        }
        if let Some(repair) = &self.repair {
            write!(f, "{repair}")?;
        }
        if let Some(chat) = &self.chat {
            write!(f, "{chat}")?;
        }
        Ok(())
    }
}

impl Display for Chat {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            welcomed,
            frames,
            frames_per_sec,
            messages,
            skipped,
            missed,
            unreadable,
            written,
            blocked,
            acknowledged,
            refused,
            ..
        } = self;
        writeln!(f, "chat")?;
        let kbps = self.bitrate_mean / 1e3;
        line(
            f,
            "frames",
            format_args!(
                "{frames} to {welcomed} viewers, {frames_per_sec:.1}/s and {kbps:.1} kbit/s each, {unreadable} unreadable"
            ),
        )?;
        line(
            f,
            "messages",
            format_args!(
                "{messages} came, {skipped} skipped for all, {missed} missed by slow links"
            ),
        )?;
        line(f, "stamp to arrival", self.delay_ms)?;
        line(
            f,
            "written",
            format_args!("{written}, {acknowledged} accepted, {blocked} not sent"),
        )?;
        for (code, count) in refused {
            line(f, "", format_args!("{count} x refused: {code}"))?;
        }
        Ok(())
    }
}

impl Display for Server {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "server")?;
        line(
            f,
            "CPU",
            format_args!("{:.2} s, {:.3} cores", self.cpu_secs, self.cores),
        )?;
        if let Some(ns) = self.ns_per_packet {
            line(f, "CPU a delivered packet", format_args!("{ns:.0} ns"))?;
        }
        if let Some(ms) = self.ms_per_join {
            line(f, "CPU a join", format_args!("{ms:.2} ms"))?;
        }
        let mib = |bytes: u64| bytes as f64 / MIB;
        line(
            f,
            "resident memory",
            format_args!(
                "{:.1} MiB before, {:.1} after",
                mib(self.rss_before),
                mib(self.rss_after)
            ),
        )?;
        if let Some(bytes) = self.rss_per_viewer {
            line(
                f,
                "memory a viewer",
                format_args!("{:.0} KiB", bytes as f64 / 1_024.0),
            )?;
        }
        line(
            f,
            "descriptors",
            format_args!("{} before, {} after", self.fds_before, self.fds_after),
        )
    }
}

impl Display for Leftovers {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { joins, warm_up, .. } = self;
        writeln!(
            f,
            "left behind by {joins} joins, after {warm_up} to warm up"
        )?;
        line(
            f,
            "resident memory",
            format_args!("{:+.2} %", self.rss_growth * 100.0),
        )?;
        line(f, "descriptors", format_args!("{:+}", self.fds))?;
        for (name, Left { before, after }) in &self.gauges {
            line(f, name, format_args!("{before} before, {after} after"))?;
        }
        Ok(())
    }
}

impl Display for Generator {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "generator")?;
        line(
            f,
            "CPU",
            format_args!(
                "{:.3} cores, busiest thread {:.0} %, machine idle {:.0} %",
                self.cores,
                self.busiest_thread * 100.0,
                self.machine_idle * 100.0
            ),
        )?;
        line(
            f,
            "memory",
            format_args!("{:.0} MiB", self.rss as f64 / MIB),
        )?;
        if let Some(cores) = self.others_cores {
            line(f, "other processes", format_args!("{cores:.3} cores"))?;
        }
        line(f, "arrivals waited", self.lag_ms)?;
        line(
            f,
            "datagrams",
            format_args!(
                "{} dropped by the kernel, {} not sent",
                self.udp_dropped, self.send_blocked
            ),
        )?;
        for why in &self.saturated {
            writeln!(f, "SATURATED: {why}")?;
        }
        for why in &self.disturbed {
            writeln!(f, "DISTURBED: {why}")?;
        }
        Ok(())
    }
}
