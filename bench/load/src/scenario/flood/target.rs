//! A session of the server, and its port for media over TCP.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};
use socket2::{Domain, Socket, Type};
use str0m::ice::{StunMessage, TransId};

use crate::cli::Place;
use crate::session::{Depth, Session, SessionKind};
use crate::signal::Signal;

/// To a connection, and to an answer on it.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What an answer says.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) tcp: SocketAddr,
    signal: Signal,
    bind: IpAddr,
}

impl Target {
    /// Asks for an answer, and leaves again.
    pub(super) fn find(place: &Place, token: Option<&str>, bind: IpAddr) -> Result<Self> {
        let signal = Signal::new(&place.watching_url(), token);
        let (answer, url, _) = join(&signal, bind)?;
        signal.close(&url)?;
        let tcp = tcp_port(&answer)?;
        Ok(Self { tcp, signal, bind })
    }

    /// Joins over TCP from an address of this machine, up to the answer to the first check.
    pub(super) fn check_from(&self, from: IpAddr) -> Result<()> {
        let (answer, url, theirs) = join(&self.signal, self.bind)?;
        let checked = self.check(&answer, &theirs, from);
        self.signal.close(&url)?;
        checked
    }

    fn check(&self, answer: &str, theirs: &str, from: IpAddr) -> Result<()> {
        let to = tcp_port(answer)?;
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((from, 0)).into())?;
        socket.connect_timeout(&to.into(), TIMEOUT)?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        let mut stream = TcpStream::from(socket);
        let ours = attribute(answer, "a=ice-ufrag:")?;
        let password = attribute(answer, "a=ice-pwd:")?;
        let username = format!("{ours}:{theirs}");
        let check = StunMessage::binding_request(&username, TransId::new(), true, 1, 1, false);
        let crypto = str0m::crypto::from_feature_flags();
        let hmac = |key: &[u8], parts: &[&[u8]]| crypto.sha1_hmac_provider.sha1_hmac(key, parts);
        let mut frame = vec![0; 1_024];
        let length = check
            .to_bytes(Some(password.as_bytes()), &mut frame[2..], hmac)
            .ok()
            .context("a check")?;
        frame.truncate(2 + length);
        frame[..2].copy_from_slice(&(length as u16).to_be_bytes());
        stream.write_all(&frame)?;
        // RFC 4571: the length comes first.
        stream.read_exact(&mut [0; 2])?;
        Ok(())
    }
}

/// An answer, where its session is ended, and the user fragment of the offer.
fn join(signal: &Signal, bind: IpAddr) -> Result<(String, String, String)> {
    let offered = Session::offer(SessionKind::View(Depth::Light), bind)?;
    let theirs = attribute(&offered.offer, "a=ice-ufrag:")?;
    let opened = signal.open(&offered.offer)?;
    Ok((opened.answer, opened.url, theirs))
}

fn tcp_port(answer: &str) -> Result<SocketAddr> {
    let mut lines = answer.lines();
    let candidate = lines
        .find(|line| line.starts_with("a=candidate") && line.contains(" tcp "))
        .context("the server takes no media over TCP")?;
    let words: Vec<&str> = candidate.split(' ').collect();
    let (ip, port) = words.get(4).zip(words.get(5)).context("a candidate")?;
    Ok(SocketAddr::new(ip.parse()?, port.parse()?))
}

pub(super) fn attribute(sdp: &str, name: &str) -> Result<String> {
    let value = sdp.lines().find_map(|line| line.strip_prefix(name));
    Ok(value
        .with_context(|| format!("no {name}"))?
        .trim_end()
        .to_owned())
}
