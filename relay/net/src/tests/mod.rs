//! Nodes over loopback.

mod delivery;
mod driven;
mod hostile;
mod links;
mod proxy;
mod refusals;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lightstick_types::{NodeIdentity, NodeRole};
use rustls::pki_types::UnixTime;
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::time::{interval, timeout};

use crate::{
    CertificateFiles, Credentials, Direction, Frame, Issued, LinkConfig, LinkId, Outgoing, Peer,
    Priority, RelayCommand, RelayConfig, RelayEvent, RelayStats, Transport, issue_ca, issue_node,
};

/// For what takes milliseconds: only a fault takes longer.
const PATIENCE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// A CA and the certificates that it has made.
pub(crate) struct Cluster {
    folder: TempDir,
    ca: Issued,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca = issue_ca(OffsetDateTime::now_utc(), DAY * 100).unwrap();
        fs::write(folder.path().join("ca.pem"), &ca.certificate).unwrap();
        Self { folder, ca }
    }

    fn identity(name: &str, role: NodeRole) -> NodeIdentity {
        NodeIdentity {
            name: name.parse().unwrap(),
            role,
            region: "kr".parse().unwrap(),
        }
    }

    fn files(&self, name: &str) -> CertificateFiles {
        CertificateFiles {
            ca: self.folder.path().join("ca.pem"),
            certificate: self.folder.path().join(format!("{name}.pem")),
            key: self.folder.path().join(format!("{name}.key")),
        }
    }

    /// A certificate made at some time, in the files of `name`.
    fn issue_at(
        &self,
        name: &str,
        identity: &NodeIdentity,
        now: OffsetDateTime,
    ) -> CertificateFiles {
        let issued = issue_node(&self.ca.key, identity, now, DAY).unwrap();
        let files = self.files(name);
        fs::write(&files.certificate, issued.certificate).unwrap();
        fs::write(&files.key, issued.key).unwrap();
        files
    }

    fn credentials_at(&self, name: &str, role: NodeRole, now: OffsetDateTime) -> Credentials {
        let files = self.issue_at(name, &Self::identity(name, role), now);
        let now = Duration::from_secs(now.unix_timestamp() as u64);
        Credentials::load_at(&files, UnixTime::since_unix_epoch(now)).unwrap()
    }

    pub(crate) fn credentials(&self, name: &str, role: NodeRole) -> Credentials {
        self.credentials_at(name, role, OffsetDateTime::now_utc())
    }

    /// A node on a free port, with a certificate of its own.
    fn node(&self, name: &str, role: NodeRole, upstreams: &[SocketAddr]) -> Node {
        let credentials = self.credentials(name, role);
        let mut config = config(upstreams);
        let files = self.files(name);
        (config.ca_file, config.cert_file, config.key_file) =
            (files.ca, files.certificate, files.key);
        Node::start(config, credentials)
    }
}

/// Certificate files that do not exist: what a node started with stays.
fn config(upstreams: &[SocketAddr]) -> RelayConfig {
    RelayConfig {
        bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        upstreams: upstreams.iter().map(|address| (*address).into()).collect(),
        reload_every: Duration::from_millis(20),
        backoff_min: Duration::from_millis(10),
        backoff_max: Duration::from_millis(50),
        link: LinkConfig {
            // A machine that stands still for a while ends no link.
            idle_timeout: PATIENCE,
            ..LinkConfig::default()
        },
        ..RelayConfig::default()
    }
}

struct Node {
    transport: Transport,
    address: SocketAddr,
}

impl Node {
    fn start(config: RelayConfig, credentials: Credentials) -> Self {
        let transport = Transport::bind(config, credentials).unwrap();
        let address = transport.local_addr().unwrap();
        Self { transport, address }
    }

    /// The next event that is no backlog: those come or not as the machine is busy.
    async fn next(&mut self) -> RelayEvent {
        loop {
            let next = timeout(PATIENCE, self.transport.next()).await;
            match next.expect("an event").expect("no task has ended") {
                RelayEvent::Backlog { .. } => {}
                event => return event,
            }
        }
    }

    async fn up(&mut self) -> (LinkId, Peer, Direction) {
        match self.next().await {
            RelayEvent::LinkUp {
                link,
                peer,
                direction,
            } => (link, peer, direction),
            other => panic!("{other:?}"),
        }
    }

    async fn message(&mut self) -> (LinkId, crate::Channel, Bytes) {
        match self.next().await {
            RelayEvent::Message {
                link,
                channel,
                bytes,
            } => (link, channel, bytes),
            other => panic!("{other:?}"),
        }
    }

    async fn down(&mut self) -> (LinkId, crate::DownReason) {
        match self.next().await {
            RelayEvent::LinkDown { link, reason } => (link, reason),
            other => panic!("{other:?}"),
        }
    }

    fn send(&mut self, link: LinkId, message: Outgoing) {
        self.transport.handle(RelayCommand::Send { link, message });
    }

    fn control(&mut self, link: LinkId, bytes: &'static [u8]) {
        self.send(link, Outgoing::Control(Bytes::from_static(bytes).into()));
    }

    fn stats(&self) -> RelayStats {
        self.transport.stats().read()
    }

    /// Counts come without an event.
    async fn stats_when(&self, holds: impl Fn(&RelayStats) -> bool) -> RelayStats {
        let look = async {
            let mut every = interval(Duration::from_millis(2));
            loop {
                every.tick().await;
                let stats = self.stats();
                if holds(&stats) {
                    return stats;
                }
            }
        };
        match timeout(PATIENCE, look).await {
            Ok(stats) => stats,
            Err(_) => panic!("{:#?}", self.stats()),
        }
    }
}

/// Whether a message gets through a link in both directions.
async fn exchange(a: (&mut Node, LinkId), b: (&mut Node, LinkId)) {
    a.0.control(a.1, b"ping");
    assert_eq!(&b.0.message().await.2[..], b"ping");
    b.0.control(b.1, b"pong");
    assert_eq!(&a.0.message().await.2[..], b"pong");
}

fn frame(priority: u8, stream: u64, within: Duration) -> Frame {
    Frame {
        priority: Priority::new(priority),
        deadline: Instant::now() + within,
        stream: Some(stream),
        is_keyframe: false,
    }
}
