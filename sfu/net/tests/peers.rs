//! Peers that move, begin the handshake or wait for it, and show all kinds of certificates.

mod support;

use lightstick_sfu::{CloseReason, MediaEvent, RemoteIce, RoleConfig};
use lightstick_types::{Bitrate, LayerChoice, SessionId, ShardId};
use str0m::config::DtlsCert;
use str0m::format::Codec;
use str0m::media::Direction;
use str0m::{IceCreds, Rtc};
use support::plane::Plane;
use support::{Client, Seen, vp8};

const PUBLISH: RoleConfig = RoleConfig::Publisher {
    bitrate_max: Bitrate(20_000_000),
};
const VIEW: RoleConfig = RoleConfig::Viewer {
    choice: LayerChoice::Auto,
};

fn direction(role: &RoleConfig) -> Direction {
    match role {
        RoleConfig::Publisher { .. } => Direction::SendOnly,
        RoleConfig::Viewer { .. } => Direction::RecvOnly,
    }
}

/// A show of small pictures, each a keyframe.
struct Show {
    publisher: Client,
    viewer: Client,
    frames: u64,
}

impl Show {
    fn start(publisher: Client, viewer: Client) -> Self {
        let mut show = Self {
            publisher,
            viewer,
            frames: 0,
        };
        show.publisher.until_connected();
        show.viewer.until_connected();
        show
    }

    fn is_seen(&mut self) -> bool {
        let pt = self.viewer.pt(Codec::Vp8);
        !self.viewer.packets(pt).is_empty()
    }

    /// Sends pictures until one of them is seen that was sent from now on.
    fn goes_on(&mut self, what: &str) {
        // What is on its way is no news.
        for _ in 0..20 {
            self.viewer.turn(std::time::Duration::from_millis(5));
        }
        self.is_seen();
        let (pt, video) = (self.publisher.pt(Codec::Vp8), self.publisher.video);
        let begun = std::time::Instant::now();
        while !self.is_seen() {
            assert!(begun.elapsed() < support::PATIENCE, "{what}");
            self.frames += 1;
            let (n, time) = (self.frames, (self.frames * 3_000) as u32);
            let payload = vp8(true, true, n as u16, n as u8);
            self.publisher.write(video, pt, n, time, true, &payload);
            self.publisher.turn(std::time::Duration::from_millis(10));
            self.viewer.turn(std::time::Duration::from_millis(10));
        }
    }
}

/// The session of the role in a room, and its shard.
fn open(
    plane: &Plane,
    role: &RoleConfig,
    client: (Client, String),
) -> (Client, SessionId, ShardId) {
    let (mut client, offer) = client;
    let session = SessionId::random();
    let request = lightstick_sfu::OpenSession {
        session,
        room: lightstick_types::RoomId(1),
        role: role.clone(),
        member: None,
        offer,
    };
    let opened = plane.runtime.block_on(plane.plane().open(request));
    let opened = opened.expect("an answer");
    client.answer(&opened.answer);
    (client, session, opened.shard)
}

fn remote(plane: &Plane, shard: ShardId, session: SessionId) -> Option<std::net::SocketAddr> {
    let media = plane.plane().session_media(shard, session);
    plane.runtime.block_on(media)?.remote
}

#[test]
fn a_show_goes_on_when_ports_change() {
    let plane = Plane::start(1);
    let (viewer, session, shard) = open(&plane, &VIEW, Client::offer(Direction::RecvOnly));
    let mut show = Show::start(plane.publisher(1), viewer);
    show.goes_on("the show begins");
    for round in 0..3 {
        show.viewer.rebind();
        show.goes_on(&format!("the viewer has moved, {round}"));
        assert_eq!(remote(&plane, shard, session), Some(show.viewer.address()));
        show.publisher.rebind();
        show.goes_on(&format!("the publisher has moved, {round}"));
    }
    assert_eq!(plane.total(|s| s.viewers.get() + s.publishers.get()), 2);
}

#[test]
fn a_viewer_that_sends_no_checks_is_found_by_its_reports() {
    let plane = Plane::start(1);
    // str0m reports to publishers under one SSRC in all of its sessions, as Chromium does.
    let mut others: Vec<Client> = (0..12).map(|_| plane.viewer(1)).collect();
    let (viewer, session, shard) = open(&plane, &VIEW, Client::offer(Direction::RecvOnly));
    let mut show = Show::start(plane.publisher(1), viewer);
    for other in &mut others {
        other.until_connected();
        std::mem::swap(other, &mut show.viewer);
        show.goes_on("another viewer sees it and reports");
        std::mem::swap(other, &mut show.viewer);
    }
    show.goes_on("the show begins");
    show.viewer.checks_no_more = true;
    for round in 0..3 {
        show.viewer.rebind();
        show.goes_on(&format!("the viewer has moved, {round}"));
        assert_eq!(remote(&plane, shard, session), Some(show.viewer.address()));
    }
}

#[test]
fn a_port_may_change_while_a_peer_joins_or_restarts() {
    let plane = Plane::start(1);
    let (mut viewer, session, shard) = open(&plane, &VIEW, Client::offer(Direction::RecvOnly));
    // Its first check is answered at a port that it has left by then.
    viewer.turn(std::time::Duration::from_millis(1));
    viewer.rebind();
    let mut show = Show::start(plane.publisher(1), viewer);
    show.goes_on("the show begins");

    let creds = IceCreds::new();
    let ice = RemoteIce {
        ufrag: creds.ufrag.clone(),
        pwd: creds.pass.clone(),
    };
    let restarted = plane.plane().restart_ice(shard, session, ice);
    let local = plane.runtime.block_on(restarted).expect("a restart");
    // The answer is still on its way to the peer.
    show.viewer.rebind();
    show.goes_on("the viewer has moved before it knows of the restart");
    let mut api = show.viewer.rtc.direct_api();
    api.set_local_ice_credentials(creds);
    api.set_remote_ice_credentials(IceCreds {
        ufrag: local.ufrag,
        pass: local.pwd,
    });
    show.viewer.rebind();
    show.goes_on("the viewer has moved after it");
    assert_eq!(remote(&plane, shard, session), Some(show.viewer.address()));
}

#[test]
fn either_side_begins_the_handshake() {
    let plane = Plane::start(1);
    for setup in ["actpass", "active", "passive"] {
        for role in &[PUBLISH, VIEW] {
            let (client, offer) = Client::offer(direction(role));
            let offer = offer.replace("a=setup:actpass", &format!("a=setup:{setup}"));
            let (mut client, ..) = open(&plane, role, (client, offer));
            client.until_connected();
        }
    }
}

/// A client with a certificate of its own, and the fingerprint that its offer has.
fn certified(role: &RoleConfig, fingerprint: impl Fn(&DtlsCert) -> String) -> (Client, String) {
    let provider = str0m::crypto::from_feature_flags().dtls_provider;
    let certificate = provider.generate_certificate().expect("a certificate");
    let line = fingerprint(&certificate);
    let config = Rtc::builder().set_dtls_cert(certificate);
    let (client, offer) = Client::offer_of(config, direction(role), &[]);
    let lines: Vec<&str> = offer
        .lines()
        .map(|given| match given.starts_with("a=fingerprint:") {
            true => line.trim_end(),
            false => given,
        })
        .collect();
    (client, lines.join("\r\n") + "\r\n")
}

fn print(name: &str, algorithm: &'static aws_lc_rs::digest::Algorithm, of: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(algorithm, of);
    let pairs: Vec<String> = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    format!("a=fingerprint:{name} {}", pairs.join(":"))
}

#[test]
fn certificates_are_known_by_any_hash() {
    use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA224, SHA256, SHA384, SHA512};
    let plane = Plane::start(1);
    for (name, algorithm) in [
        ("sha-1", &SHA1_FOR_LEGACY_USE_ONLY),
        ("sha-224", &SHA224),
        ("sha-256", &SHA256),
        ("sha-384", &SHA384),
        ("sha-512", &SHA512),
    ] {
        for role in &[PUBLISH, VIEW] {
            let offered = certified(role, |cert| print(name, algorithm, &cert.certificate));
            let (mut client, ..) = open(&plane, role, offered);
            client.until_connected();
        }
    }
    let several = certified(&VIEW, |cert| {
        let other = print("sha-256", &SHA256, b"another certificate");
        let theirs = print("sha-256", &SHA256, &cert.certificate);
        format!("{other}\r\n{theirs}")
            .to_uppercase()
            .replace("A=FINGERPRINT", "a=fingerprint")
    });
    let (mut client, ..) = open(&plane, &VIEW, several);
    client.until_connected();
}

#[test]
fn another_certificate_ends_the_handshake() {
    let mut plane = Plane::start(1);
    for role in &[PUBLISH, VIEW] {
        for setup in ["actpass", "passive"] {
            let algorithm = &aws_lc_rs::digest::SHA256;
            let (client, offer) = certified(role, |_| print("sha-256", algorithm, b"another"));
            let offer = offer.replace("a=setup:actpass", &format!("a=setup:{setup}"));
            let (mut client, ..) = open(&plane, role, (client, offer));
            client.until("the end", |_| {
                plane.total(|s| s.viewers.get() + s.publishers.get()) == 0
            });
            let event = plane.event("an end", |event| {
                !matches!(event, MediaEvent::LayersChanged { .. })
            });
            let refused = matches!(
                event,
                MediaEvent::SessionClosed {
                    reason: CloseReason::TransportError,
                    ..
                }
            );
            assert!(refused, "{event:?}");
            assert!(
                !client
                    .seen
                    .iter()
                    .any(|seen| matches!(seen, Seen::Packet(_)))
            );
        }
    }
}
