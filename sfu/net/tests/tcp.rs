//! ICE over TCP, from peers that authenticate themselves and from others.

mod support;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use lightstick_sfu::{MediaConfig, RoleConfig, ShardStats};
use lightstick_types::{LayerChoice, SessionId, ShardId};
use socket2::{Domain, Socket, Type};
use str0m::ice::{StunMessage, TransId};
use str0m::media::Direction;
use support::plane::Plane;
use support::{Client, PATIENCE};

/// A viewer that was answered, and what a check over TCP needs.
struct Viewer {
    session: SessionId,
    shard: ShardId,
    port: SocketAddr,
    username: String,
    password: String,
}

impl Viewer {
    fn answered(plane: &Plane) -> Self {
        let (_, offer) = Client::offer(Direction::RecvOnly);
        let session = SessionId::random();
        let request = lightstick_sfu::OpenSession {
            session,
            room: lightstick_types::RoomId(1),
            role: RoleConfig::Viewer {
                choice: LayerChoice::Auto,
            },
            member: None,
            offer: offer.clone(),
        };
        let opened = plane.runtime.block_on(plane.plane().open(request));
        let opened = opened.expect("an answer");
        let attribute = |sdp: &str, name: &str| {
            let value = sdp.lines().find_map(|line| line.strip_prefix(name));
            value.expect("the attribute").trim_end().to_owned()
        };
        let answer = &opened.answer;
        let tcp = |line: &&str| line.starts_with("a=candidate") && line.contains(" tcp ");
        let candidate = answer.lines().find(tcp).expect("a candidate over TCP");
        let words: Vec<&str> = candidate.split(' ').collect();
        let (ours, theirs) = (
            attribute(answer, "a=ice-ufrag:"),
            attribute(&offer, "a=ice-ufrag:"),
        );
        Self {
            session,
            shard: opened.shard,
            port: format!("{}:{}", words[4], words[5])
                .parse()
                .expect("an address"),
            username: format!("{ours}:{theirs}"),
            password: attribute(answer, "a=ice-pwd:"),
        }
    }

    /// A check in its frame.
    fn check(&self, password: &str) -> Vec<u8> {
        let crypto = str0m::crypto::from_feature_flags();
        let hmac = |key: &[u8], parts: &[&[u8]]| crypto.sha1_hmac_provider.sha1_hmac(key, parts);
        let id = TransId::new();
        let request = StunMessage::binding_request(&self.username, id, true, 1, 1, false);
        let mut bytes = vec![0; 512];
        let length = request
            .to_bytes(Some(password.as_bytes()), &mut bytes, hmac)
            .expect("a check");
        frame(&bytes[..length])
    }

    /// A connection whose check was answered.
    fn connected(&self) -> TcpStream {
        let mut stream = connect(self.port);
        self.checked(&mut stream);
        stream
    }

    /// The same from another address of this machine.
    fn connected_from_elsewhere(&self) -> TcpStream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let elsewhere = SocketAddr::from(([127, 0, 0, 2], 0));
        socket.bind(&elsewhere.into()).expect("an address");
        socket.connect(&self.port.into()).expect("a connection");
        socket
            .set_read_timeout(Some(PATIENCE))
            .expect("a read timeout");
        let mut stream = TcpStream::from(socket);
        self.checked(&mut stream);
        stream
    }

    fn checked(&self, stream: &mut TcpStream) {
        let check = self.check(&self.password);
        stream.write_all(&check).expect("a check is written");
        let mut length = [0; 2];
        stream.read_exact(&mut length).expect("an answer");
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer).expect("a whole answer");
    }
}

fn frame(packet: &[u8]) -> Vec<u8> {
    let mut frame = (packet.len() as u16).to_be_bytes().to_vec();
    frame.extend_from_slice(packet);
    frame
}

fn connect(port: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(port).expect("a connection");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a read timeout");
    stream
}

/// Waits for the end of a connection. What comes before it is passed over.
fn ends(mut stream: TcpStream) {
    let mut buffer = [0; 2_048];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
                return;
            }
        }
    }
}

/// Waits until the shard has counted.
fn counted(plane: &Plane, expected: u64, each: impl Fn(&ShardStats) -> u64 + Copy) {
    let start = Instant::now();
    while plane.total(each) != expected {
        let got = plane.total(each);
        assert!(start.elapsed() < PATIENCE, "{got} instead of {expected}");
        std::thread::yield_now();
    }
}

#[test]
fn a_first_frame_that_is_no_check_ends_the_connection() {
    let plane = Plane::start(1);
    let viewer = Viewer::answered(&plane);
    let rtp = [&[0x80, 96][..], &[0; 30]].concat();
    for junk in [frame(&[7]), frame(&rtp), vec![0xff, 0xff, 1]] {
        let mut stream = connect(viewer.port);
        stream.write_all(&junk).expect("junk is written");
        ends(stream);
    }
    counted(&plane, 2, |s| s.tcp.closed_junk.get());
    counted(&plane, 1, |s| s.tcp.closed_oversize.get());
    assert_eq!(plane.total(|s| s.tcp.connections.get()), 0);
    // A session's own connection goes on, and bears some junk.
    let mut stream = viewer.connected();
    for _ in 0..10 {
        stream.write_all(&frame(&[7])).expect("junk is written");
    }
    viewer.checked(&mut stream);
    for _ in 0..10 {
        // It may be closed before all is written.
        let _ = stream.write_all(&frame(&[7]));
    }
    ends(stream);
    counted(&plane, 3, |s| s.tcp.closed_junk.get());
}

#[test]
fn few_wrong_passwords_are_verified_and_none_is_answered() {
    let plane = Plane::start(1);
    let viewer = Viewer::answered(&plane);
    let mut stream = connect(viewer.port);
    for _ in 0..3 {
        let check = viewer.check("not the password at all");
        stream.write_all(&check).expect("a check is written");
    }
    // The right one comes too late.
    stream
        .write_all(&viewer.check(&viewer.password))
        .expect("a check is written");
    let mut buffer = [0; 64];
    match stream.read(&mut buffer) {
        Ok(n) => assert_eq!(n, 0, "nothing is answered"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    counted(&plane, 3, |s| s.drop_stun.get());
}

#[test]
fn strangers_make_room_for_a_viewer() {
    let config = MediaConfig {
        shards: 1,
        tcp_connections_max: 4,
        tcp_connections_per_address_max: 4,
        ..MediaConfig::default()
    };
    let plane = Plane::with(config);
    let viewer = Viewer::answered(&plane);
    let mut strangers: Vec<TcpStream> = (0..4).map(|_| connect(viewer.port)).collect();
    counted(&plane, 4, |s| s.tcp.connections.get());
    let mut stream = viewer.connected_from_elsewhere();
    ends(strangers.remove(0));
    counted(&plane, 1, |s| s.tcp.closed_evicted.get());
    // Who is authenticated stays, whoever comes.
    strangers.extend((0..6).map(|_| connect(viewer.port)));
    let came = |s: &ShardStats| s.tcp.closed_evicted.get() + s.tcp.refused_network.get();
    counted(&plane, 7, came);
    viewer.checked(&mut stream);
    counted(&plane, 4, |s| s.tcp.connections.get());
}

#[test]
fn a_connection_ends_with_its_session() {
    let plane = Plane::start(1);
    let viewer = Viewer::answered(&plane);
    let stream = viewer.connected();
    plane.plane().close(viewer.shard, viewer.session);
    ends(stream);
    counted(&plane, 1, |s| s.tcp.closed_session.get());
    counted(&plane, 0, |s| {
        s.tcp.connections.get() + s.tcp.queued_bytes.get()
    });
}

#[test]
fn frames_are_put_together_however_they_are_cut() {
    let plane = Plane::start(1);
    let viewer = Viewer::answered(&plane);
    let mut stream = connect(viewer.port);
    let check = viewer.check(&viewer.password);
    stream.set_nodelay(true).expect("no delay");
    for byte in &check {
        stream.write_all(&[*byte]).expect("a byte is written");
    }
    let mut length = [0; 2];
    stream.read_exact(&mut length).expect("an answer");
    assert_eq!(plane.total(|s| s.drop_junk.get()), 0);
}
