//! One viewer that misses everything: NACKs and keyframe requests without end.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use socket2::SockRef;

use super::super::{CONNECT_TIMEOUT, wait_until};
use super::Attack;
use super::keys::Keys;
use crate::cli;
use crate::session::{Depth, Session, SessionKind};
use crate::signal::Signal;
use crate::worker::Worker;

/// Reports are written in runs of what is due in this time.
const RUN: Duration = Duration::from_millis(1);
/// Sender of the reports: not the one that the session itself uses.
const SENDER: u32 = 0x00F1_00D0;
/// Numbers that one report says are lost: items of one number and the 16 behind it.
const ITEMS: u16 = 8;

pub(super) fn start(
    args: &cli::Flood,
    bind: IpAddr,
    attack: &Arc<Attack>,
) -> Result<Vec<JoinHandle<()>>> {
    let token = args.publishing.common.watch_token.as_deref();
    let signal = Signal::new(&args.place.watching_url(), token);
    let (offered, keys) = Keys::of(|| Session::offer(SessionKind::View(Depth::Full), bind));
    let offered = offered?;
    let opened = signal.open(&offered.offer)?;
    let mut session = offered.accept(&opened.answer)?;
    let socket: UdpSocket = SockRef::from(&*session.socket()).try_clone()?.into();
    let to = udp_port(&opened.answer, bind).context("the server takes no media over UDP")?;
    let video = video_ssrc(&opened.answer).context("the answer names no SSRC")?;
    let worker = Worker::start("attacker")?;
    worker.handle().add(0, session);
    if !wait_until(CONNECT_TIMEOUT, || worker.handle().count().connected == 1) {
        bail!("the attacker did not connect");
    }
    let mut sealer = keys.sealer().context("the handshake left no keys")?;
    let (attack, rate) = (Arc::clone(attack), args.rate);
    let flood = move || {
        let (begun, mut sent) = (Instant::now(), 0_u64);
        let mut report = Vec::new();
        while attack.goes_on() {
            let due = (begun.elapsed().as_secs_f64() * rate) as u64;
            while sent < due {
                sent += 1;
                write(&mut report, video, sent as u16);
                if sealer.seal_rtcp(&mut report, 0).is_err() || socket.send_to(&report, to).is_err()
                {
                    attack.count("reports not sent", 1);
                }
            }
            thread::sleep(RUN);
        }
        attack.count("reports sent", sent);
        let alive = worker.handle().count().alive;
        attack.count("attackers still connected", alive);
        if worker.finish().is_err() || signal.close(&opened.url).is_err() {
            attack.count("attackers that could not leave", 1);
        }
    };
    Ok(vec![thread::spawn(flood)])
}

/// A generic NACK (RFC 4585 section 6.2.1) and a PLI (section 6.3.1).
fn write(out: &mut Vec<u8>, video: u32, number: u16) {
    out.clear();
    out.extend([0x81, 205, 0, 2 + ITEMS as u8]);
    out.extend(SENDER.to_be_bytes());
    out.extend(video.to_be_bytes());
    for item in 0..ITEMS {
        let first = number.wrapping_mul(7).wrapping_add(item * 17);
        out.extend(first.to_be_bytes());
        out.extend([0xff, 0xff]);
    }
    out.extend([0x81, 206, 0, 2]);
    out.extend(SENDER.to_be_bytes());
    out.extend(video.to_be_bytes());
}

fn udp_port(answer: &str, bind: IpAddr) -> Option<SocketAddr> {
    let candidates = answer.lines().filter(|line| {
        line.starts_with("a=candidate") && line.to_ascii_lowercase().contains(" udp ")
    });
    let mut addresses = candidates.filter_map(|candidate| {
        let words: Vec<&str> = candidate.split(' ').collect();
        let ip: IpAddr = words.get(4)?.parse().ok()?;
        Some(SocketAddr::new(ip, words.get(5)?.parse().ok()?))
    });
    addresses.find(|address| address.is_ipv6() == bind.is_ipv6())
}

/// The SSRC of video: of a group with what is sent again, the first.
fn video_ssrc(answer: &str) -> Option<u32> {
    let video = &answer[answer.find("m=video")?..];
    let line = video.lines().find(|line| line.starts_with("a=ssrc"))?;
    let numbers = line.trim_start_matches("a=ssrc-group:FID");
    let numbers = numbers.trim_start_matches("a=ssrc:");
    numbers.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_ssrc_of_video_is_found() {
        let group = "m=audio 9\r\na=ssrc:1 cname:a\r\nm=video 9\r\na=ssrc-group:FID 22 33\r\n";
        assert_eq!(video_ssrc(group), Some(22));
        assert_eq!(video_ssrc("m=video 9\r\na=ssrc:44 cname:a\r\n"), Some(44));
        assert_eq!(video_ssrc("m=audio 9\r\na=ssrc:1 cname:a\r\n"), None);
    }

    #[test]
    fn a_report_misses_many_and_asks_for_a_keyframe() {
        use lightstick_sfu_core::rtcp::{self, Feedback};

        let mut report = Vec::new();
        write(&mut report, 9, 3);
        let (mut lost, mut requests) = (0, 0);
        let read = rtcp::read(&report, |feedback| match feedback {
            Feedback::Nack { ssrc: 9, lost: all } => lost += all.iter().count(),
            Feedback::KeyframeRequest { ssrc: 9 } => requests += 1,
            other => panic!("{other:?}"),
        });
        assert_eq!((read, lost, requests), (Ok(()), 17 * usize::from(ITEMS), 1));
    }
}
