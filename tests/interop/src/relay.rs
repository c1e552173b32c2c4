//! A path between a peer and the server that loses packets, and knows which.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// Longer than any datagram of a WebRTC peer, in bytes.
const DATAGRAM_MAX: usize = 2_048;

/// Which way packets are lost on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the peer to the server.
    Up,
    /// From the server to the peer.
    Down,
}

/// What is lost. A packet's number is lost once: sent again, it gets through.
#[derive(Clone, Copy, Debug)]
pub struct Loss {
    pub way: Way,
    /// RTP of this payload type only.
    pub payload_type: u8,
    /// One packet of so many.
    pub every: usize,
    /// Nothing more is lost after so many packets.
    pub most: usize,
}

/// The path. It ends when it is dropped.
#[derive(Debug)]
pub struct Relay {
    lost: watch::Receiver<Vec<u16>>,
    _running: AbortOnDropHandle<()>,
}

impl Relay {
    /// Puts a path in front of the server's media port that an SDP answer names, and returns it
    /// with the answer that leads over it.
    ///
    /// # Errors
    /// When the answer has no UDP candidate, or there is no socket to be had.
    pub async fn before(answer: &str, loss: Loss) -> Result<(Self, String)> {
        let front = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let back = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (server, answer) = lead_over(answer, front.local_addr()?)?;
        back.connect(server).await?;
        let (lost_tx, lost) = watch::channel(Vec::new());
        let losing = Losing {
            loss,
            seen: 0,
            lost: lost_tx,
        };
        let running = AbortOnDropHandle::new(tokio::spawn(run(front, back, losing)));
        let relay = Self {
            lost,
            _running: running,
        };
        Ok((relay, answer))
    }

    /// The RTP sequence numbers that were lost so far.
    #[must_use]
    pub fn lost(&self) -> Vec<u16> {
        self.lost.borrow().clone()
    }
}

/// The server's UDP address in an answer, and the answer with another address in its place. Other
/// candidates are left out.
fn lead_over(answer: &str, over: SocketAddr) -> Result<(SocketAddr, String)> {
    let mut server = None;
    let mut out = String::with_capacity(answer.len());
    for line in answer.lines() {
        let Some(candidate) = line.strip_prefix("a=candidate:") else {
            out.push_str(line);
            out.push_str("\r\n");
            continue;
        };
        // RFC 8839 section 5.1: foundation, component, transport, priority, address, port.
        let mut fields: Vec<String> = candidate.split(' ').map(str::to_owned).collect();
        let [_, _, transport, _, address, port, ..] = &mut fields[..] else {
            continue;
        };
        if !transport.eq_ignore_ascii_case("udp") || server.is_some() {
            continue;
        }
        server = Some(SocketAddr::new(address.parse()?, port.parse()?));
        (*address, *port) = (over.ip().to_string(), over.port().to_string());
        out.push_str(&format!("a=candidate:{}\r\n", fields.join(" ")));
    }
    let server = server.context("the answer has no UDP candidate")?;
    Ok((server, out))
}

async fn run(front: UdpSocket, back: UdpSocket, mut losing: Losing) {
    let mut peer = None;
    let (mut up, mut down) = ([0; DATAGRAM_MAX], [0; DATAGRAM_MAX]);
    loop {
        // A socket's error tells of an end that is gone; what it would get is lost with it.
        let _: io::Result<usize> = tokio::select! {
            got = front.recv_from(&mut up) => match got {
                Ok((len, from)) => {
                    peer = Some(from);
                    if losing.loses(Way::Up, &up[..len]) {
                        continue;
                    }
                    back.send(&up[..len]).await
                }
                Err(error) => Err(error),
            },
            got = back.recv(&mut down) => match (got, peer) {
                (Ok(len), Some(peer)) if !losing.loses(Way::Down, &down[..len]) => {
                    front.send_to(&down[..len], peer).await
                }
                (got, _) => got,
            },
        };
    }
}

struct Losing {
    loss: Loss,
    seen: usize,
    lost: watch::Sender<Vec<u16>>,
}

impl Losing {
    fn loses(&mut self, way: Way, datagram: &[u8]) -> bool {
        // RFC 7983 section 7, RFC 3550 section 5.1.
        let &[128..=191, second, high, low, ..] = datagram else {
            return false;
        };
        if way != self.loss.way || second & 0x7F != self.loss.payload_type {
            return false;
        }
        let number = u16::from_be_bytes([high, low]);
        let lost = self.lost.borrow();
        if lost.len() >= self.loss.most || lost.contains(&number) {
            return false;
        }
        drop(lost);
        self.seen += 1;
        let loses = self.seen.is_multiple_of(self.loss.every);
        if loses {
            self.lost.send_modify(|lost| lost.push(number));
        }
        loses
    }
}
