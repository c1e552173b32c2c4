//! Connections that are there to be there, and viewers who want in from another address.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{Attack, Target};
use crate::cli;

const CONNECT_TIMEOUT: Duration = Duration::from_millis(200);
/// A sign of life of each connection.
const DRIBBLE: Duration = Duration::from_secs(4);
/// From one viewer to the next.
const VIEWERS: Duration = Duration::from_millis(500);
/// Where they come from: attackers and other viewers use the first address of this machine.
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

pub(super) fn start(
    args: &cli::Flood,
    target: Target,
    attack: &Arc<Attack>,
) -> Vec<JoinHandle<()>> {
    let (to, connections) = (target.tcp, args.connections as usize);
    let holding = Arc::clone(attack);
    let joining = Arc::clone(attack);
    vec![
        thread::spawn(move || hold(to, connections, &holding)),
        thread::spawn(move || join(&target, &joining)),
    ]
}

fn hold(to: SocketAddr, connections: usize, attack: &Attack) {
    let mut streams: Vec<Option<(TcpStream, Instant)>> = (0..connections).map(|_| None).collect();
    while attack.goes_on() {
        for place in &mut streams {
            let Some((stream, written)) = place else {
                if let Ok(stream) = TcpStream::connect_timeout(&to, CONNECT_TIMEOUT)
                    && stream.set_nonblocking(true).is_ok()
                {
                    attack.count("connections opened", 1);
                    *place = Some((stream, Instant::now()));
                }
                continue;
            };
            // The length of a frame that never comes whole.
            let dribbled = match written.elapsed() > DRIBBLE {
                true => stream.write(&[0]).map(|_| *written = Instant::now()),
                false => Ok(()),
            };
            let lives = match stream.read(&mut [0; 16]) {
                Ok(n) => n > 0,
                Err(error) => error.kind() == ErrorKind::WouldBlock,
            };
            if !lives || dribbled.is_err() {
                attack.count("connections closed by the server", 1);
                *place = None;
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
    let held = streams.iter().flatten().count();
    attack.count("connections held at the end", held as u64);
}

fn join(target: &Target, attack: &Attack) {
    while attack.goes_on() {
        match target.check_from(ELSEWHERE) {
            Ok(()) => attack.count("viewers over TCP let in", 1),
            Err(error) => attack.count(&format!("viewers over TCP kept out: {error}"), 1),
        }
        thread::sleep(VIEWERS);
    }
}
