//! A second publisher of a room over real sockets: parked until it is promoted. The test is the
//! director.

mod support;

use std::time::Duration;

use lightstick_sfu::{CloseReason, MediaConfig, MediaEvent, OpenSession, RoleConfig};
use lightstick_types::{Bitrate, HintCode, RoomId, SessionId, ShardId};
use str0m::format::Codec;
use str0m::media::{Direction, Pt};
use support::plane::Plane;
use support::{Client, Seen, vp8};

const ROOM: u64 = 4;
const TURN: Duration = Duration::from_millis(2);

/// A publisher whose packets are numbered in their last byte.
struct Publisher {
    client: Client,
    session: SessionId,
    shard: ShardId,
    frame: u32,
    /// Marks its payload as its own.
    mark: u8,
}

impl Publisher {
    fn open(plane: &Plane, mark: u8) -> Self {
        Self::open_with(plane, mark, |offer| offer)
    }

    fn open_with(plane: &Plane, mark: u8, change: impl FnOnce(String) -> String) -> Self {
        let (mut client, offer) = Client::offer(Direction::SendOnly);
        let session = SessionId::random();
        let request = OpenSession {
            session,
            room: RoomId(ROOM),
            role: RoleConfig::Publisher {
                bitrate_max: Bitrate::kbps(50_000),
            },
            member: None,
            offer: change(offer),
        };
        let opened = plane.runtime.block_on(plane.plane().open(request));
        let opened = opened.expect("an answer");
        client.answer(&opened.answer);
        Self {
            client,
            session,
            shard: opened.shard,
            frame: 0,
            mark,
        }
    }

    /// Sends the next frame: a keyframe, where `key`.
    fn send(&mut self, key: bool) {
        let mut payload = vp8(true, key, self.frame as u16, self.mark);
        payload.truncate(500);
        payload.push(self.frame as u8);
        let pt = self.client.pt(Codec::Vp8);
        let (seq, time) = (u64::from(self.frame) + 1, self.frame * 3_000);
        let video = self.client.video;
        self.client.write(video, pt, seq, time, true, &payload);
        self.client.turn(TURN);
        self.frame += 1;
    }

    fn is_connected(&self) -> bool {
        let connected = |seen: &Seen| matches!(seen, Seen::Connected);
        self.client.seen.iter().any(connected)
    }

    fn was_asked(&self) -> bool {
        let asked = |seen: &Seen| matches!(seen, Seen::KeyframeRequest(..));
        self.client.seen.iter().any(asked)
    }
}

/// What a viewer got: whose, and which frame, and its sequence number.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Got {
    mark: u8,
    frame: u8,
    keyframe: bool,
    sequence: u64,
}

/// A running show with a viewer.
struct Show {
    plane: Plane,
    live: Publisher,
    viewer: Client,
    pt: Pt,
    got: Vec<Got>,
    events: Vec<MediaEvent>,
}

impl Show {
    fn start(config: MediaConfig) -> Self {
        let plane = Plane::undirected(MediaConfig {
            shards: 2,
            ..config
        });
        // Not on the shard of the room's home.
        let mut viewer = plane.viewer(ROOM + 1);
        viewer.until_connected();
        let mut viewer = plane.viewer(ROOM);
        viewer.until_connected();
        let pt = viewer.pt(Codec::Vp8);
        let mut live = Publisher::open(&plane, 1);
        live.client.until_connected();
        let mut show = Self {
            plane,
            live,
            viewer,
            pt,
            got: Vec::new(),
            events: Vec::new(),
        };
        show.promote_when_ready();
        show.until("the first picture", |show| !show.got.is_empty());
        show
    }

    /// The next frame of the show goes out, and what has come in is looked at.
    fn turn(&mut self) {
        self.live.send(self.live.frame.is_multiple_of(10));
        self.look();
    }

    fn look(&mut self) {
        self.viewer.turn(TURN);
        for packet in self.viewer.packets(self.pt) {
            self.got.push(Got {
                mark: packet.payload[100],
                frame: packet.payload[packet.payload.len() - 1],
                keyframe: packet.payload[4] & 1 == 0,
                sequence: *packet.seq_no,
            });
        }
        while let Ok(event) = self.plane.events.try_recv() {
            self.events.push(event);
        }
    }

    fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let begun = std::time::Instant::now();
        while !done(self) {
            assert!(
                begun.elapsed() < support::PATIENCE,
                "waited in vain for {what}"
            );
            self.turn();
        }
    }

    fn promote_when_ready(&mut self) {
        let session = self.live.session;
        self.until("its first media", |show| show.is_ready(session));
        self.plane.plane().promote(self.live.shard, session);
    }

    fn is_ready(&self, session: SessionId) -> bool {
        let ready = |event: &MediaEvent| matches!(event, MediaEvent::PublisherReady { session: of } if *of == session);
        self.events.iter().any(ready)
    }

    /// Why a session has ended.
    fn end_of(&self, session: SessionId) -> Option<CloseReason> {
        self.events.iter().find_map(|event| match event {
            MediaEvent::SessionClosed {
                session: of,
                reason,
            } if *of == session => Some(*reason),
            _ => None,
        })
    }

    /// Another publisher comes and connects while the show goes on.
    fn connected(&mut self, mark: u8) -> Publisher {
        let mut other = Publisher::open(&self.plane, mark);
        self.until("a connection", |_| {
            other.client.turn(TURN);
            other.is_connected()
        });
        other
    }

    /// And sends until the shard says so, which is parked.
    fn ready(&mut self, mark: u8) -> Publisher {
        let mut other = self.connected(mark);
        self.until("a word of its media", |show| {
            other.send(other.frame == 0);
            show.is_ready(other.session)
        });
        other
    }

    /// Nothing of the show is missing, and nothing else was seen.
    fn is_whole(&mut self) {
        let last = (self.live.frame - 1) as u8;
        self.until("all so far", |show| {
            show.got.iter().rev().any(|got| got.frame == last)
        });
        for pair in self.got.windows(2) {
            assert_eq!(pair[1].sequence, pair[0].sequence + 1, "{pair:?}");
            assert_eq!(pair[1].mark, self.live.mark, "{pair:?}");
            assert_eq!(pair[1].frame, pair[0].frame.wrapping_add(1), "{pair:?}");
        }
        assert_eq!(self.end_of(self.live.session), None);
    }

    /// Everybody goes, and nothing is left.
    fn wind_down(mut self) {
        self.look();
        let connected: Vec<SessionId> = self.events.iter().filter_map(connected_session).collect();
        for shard in self.plane.plane().shards() {
            let close = |session: &SessionId| self.plane.plane().close(shard, *session);
            connected.iter().for_each(close);
        }
        let begun = std::time::Instant::now();
        let held = |plane: &Plane| {
            plane.total(|s| {
                s.publishers.get()
                    + s.viewers.get()
                    + s.held_rooms.get()
                    + s.held_addresses.get()
                    + s.held_names.get()
                    + s.held_timers.get()
            })
        };
        while held(&self.plane) > 0 {
            assert!(begun.elapsed() < support::PATIENCE, "something is left");
            std::thread::yield_now();
        }
        assert_eq!(self.plane.total(|s| s.panics.get()), 0);
    }
}

fn connected_session(event: &MediaEvent) -> Option<SessionId> {
    match event {
        MediaEvent::SessionConnected { session, .. } => Some(*session),
        _ => None,
    }
}

#[test]
fn one_that_never_connects_or_never_sends_leaves_the_show_alone() {
    let mut show = Show::start(MediaConfig {
        connect_timeout: Duration::from_secs(1),
        first_media_timeout: Duration::from_secs(1),
        ..MediaConfig::default()
    });
    let away = Publisher::open(&show.plane, 2);
    let mut silent = show.connected(3);
    show.until("their ends", |show| {
        silent.client.turn(TURN);
        show.end_of(away.session).is_some() && show.end_of(silent.session).is_some()
    });
    let reason = show.end_of(away.session);
    assert_eq!(reason, Some(CloseReason::ConnectTimeout));
    assert_eq!(show.end_of(silent.session), Some(CloseReason::NoMedia));
    show.is_whole();
    show.wind_down();
}

#[test]
fn one_that_is_closed_by_either_side_leaves_the_show_alone() {
    let mut show = Show::start(MediaConfig::default());
    let (away, connected) = (Publisher::open(&show.plane, 2), show.connected(3));
    let (kicked, mut closing) = (show.ready(4), show.ready(5));
    for session in [away.session, connected.session, kicked.session] {
        show.plane.plane().close(show.live.shard, session);
        show.until("its end", |show| show.end_of(session).is_some());
        assert_eq!(show.end_of(session), Some(CloseReason::Requested));
        // What comes late finds nothing.
        show.plane.plane().promote(show.live.shard, session);
    }
    closing.client.rtc.close().expect("a session to close");
    show.until("its end", |show| {
        closing.client.turn(TURN);
        show.end_of(closing.session).is_some()
    });
    let reason = show.end_of(closing.session);
    assert_eq!(reason, Some(CloseReason::PeerClosed));
    show.is_whole();
    show.wind_down();
}

#[test]
fn one_with_another_certificate_leaves_the_show_alone() {
    let mut show = Show::start(MediaConfig::default());
    let mut foreign = Publisher::open_with(&show.plane, 2, |offer| {
        let line = offer
            .lines()
            .find(|line| line.starts_with("a=fingerprint:"));
        let line = line.expect("a fingerprint").trim_end();
        offer.replace(
            line,
            &format!("a=fingerprint:sha-256 {}", ["AA"; 32].join(":")),
        )
    });
    show.until("its end", |show| {
        foreign.client.turn(TURN);
        show.end_of(foreign.session).is_some()
    });
    let reason = show.end_of(foreign.session);
    assert_eq!(reason, Some(CloseReason::TransportError));
    show.is_whole();
    show.wind_down();
}

#[test]
fn one_that_is_promoted_brings_every_packet_that_it_has_sent() {
    let mut show = Show::start(MediaConfig::default());
    let second = show.ready(2);
    let mut third = show.ready(3);
    // The director takes its time; the show goes on meanwhile.
    for _ in 0..30 {
        third.send(false);
        show.turn();
    }
    show.is_whole();
    let (before, last) = (show.got.len(), show.got[show.got.len() - 1].sequence);
    for _ in 0..2 {
        show.plane.plane().promote(third.shard, third.session);
    }
    for replaced in [show.live.session, second.session] {
        show.plane.plane().close(third.shard, replaced);
    }
    let sent = third.frame as usize;
    show.live = third;
    let begun = std::time::Instant::now();
    let of_third = |show: &Show| {
        show.got[before..]
            .iter()
            .filter(|got| got.mark == 3)
            .count()
    };
    while of_third(&show) < sent {
        assert!(begun.elapsed() < support::PATIENCE, "its packets");
        show.live.client.turn(TURN);
        show.look();
    }
    let new: Vec<Got> = show.got[before..].to_vec();
    // What the one before sent on the way still came.
    let first = new.iter().position(|got| got.mark == 3).unwrap();
    assert!(new[first].keyframe && new[first].frame == 0);
    for (n, got) in new.iter().enumerate() {
        assert_eq!(got.sequence, last + 1 + n as u64, "{got:?}");
    }
    for (n, got) in new[first..].iter().enumerate() {
        assert_eq!((got.mark, got.frame), (3, n as u8));
    }
    assert!(new[..first].iter().all(|got| got.mark == 1));
    show.wind_down();
}

#[test]
fn one_that_waits_for_too_long_is_asked_for_a_keyframe() {
    let mut show = Show::start(MediaConfig::default());
    let mut second = show.ready(2);
    let dropped = |show: &Show| show.plane.total(|s| s.drop_media.get());
    assert_eq!(dropped(&show), 0);
    while dropped(&show) == 0 {
        assert!(second.frame < 1_000, "what is kept has a bound");
        second.send(false);
    }
    let kept = second.frame - 1;
    assert!(!second.was_asked());
    show.plane.plane().promote(second.shard, second.session);
    show.plane.plane().close(second.shard, show.live.session);
    std::mem::swap(&mut show.live, &mut second);
    let begun = std::time::Instant::now();
    while !show.live.was_asked() {
        assert!(begun.elapsed() < support::PATIENCE, "a request");
        show.live.client.turn(TURN);
        show.look();
    }
    show.live.send(true);
    let key = (show.live.frame - 1) as u8;
    while !show
        .got
        .iter()
        .any(|got| got.mark == 2 && got.keyframe && got.frame == key)
    {
        assert!(begun.elapsed() < support::PATIENCE, "the keyframe");
        show.live.client.turn(TURN);
        show.look();
    }
    assert!(kept >= 400, "{kept} packets");
    show.wind_down();
}

#[test]
fn silence_is_told_of_a_parked_session() {
    let plane = Plane::undirected(MediaConfig::default());
    let mut silent = Publisher::open(&plane, 1);
    silent.client.until_connected();
    let mut plane = plane;
    let mut told = None;
    silent.client.until("a hint", |_| {
        while let Ok(event) = plane.events.try_recv() {
            if let MediaEvent::HintsChanged { session, hints } = event {
                told = Some((session, hints));
            }
        }
        told.is_some()
    });
    let (session, hints) = told.unwrap();
    assert_eq!(session, silent.session);
    let codes: Vec<HintCode> = hints.iter().map(|hint| hint.code).collect();
    let silence = [HintCode::NoVideoPackets, HintCode::NoAudioPackets];
    assert_eq!(codes, silence);
}
