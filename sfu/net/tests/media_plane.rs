//! The media plane over real sockets, with str0m as the peer.

mod support;

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use lightstick_sfu::{
    CloseReason, MediaConfig, MediaEvent, OpenError, OpenSession, Reason, Refusal, RoleConfig,
};
use lightstick_types::{Bitrate, LayerChoice, RoomId, SessionId};
use str0m::format::Codec;
use str0m::media::Direction;
use support::plane::Plane;
use support::{Client, Seen, vp8};

/// Where an answer wants UDP to be sent to.
fn udp_candidate(answer: &str) -> SocketAddr {
    let candidate = answer
        .lines()
        .find(|l| l.starts_with("a=candidate"))
        .expect("a candidate");
    let words: Vec<&str> = candidate.split(' ').collect();
    format!("{}:{}", words[4], words[5])
        .parse()
        .expect("an address")
}

/// The value of an attribute's first line.
fn attribute<'a>(sdp: &'a str, name: &str) -> &'a str {
    sdp.lines()
        .find_map(|line| line.strip_prefix(name))
        .expect("the attribute")
        .trim_end()
}

#[test]
fn media_reaches_viewers_on_every_shard_bit_for_bit() {
    let plane = Plane::start(2);
    let mut publisher = plane.publisher(1);
    publisher.until_connected();
    // Two viewers go to two shards; only one of them is the room's home.
    let mut viewers = [plane.viewer(1), plane.viewer(1)];
    viewers.iter_mut().for_each(Client::until_connected);
    let (pt, opus) = (publisher.pt(Codec::Vp8), publisher.pt(Codec::Opus));

    let mut sent = Vec::new();
    for frame in 0..120_u32 {
        for packet in 0..3_u32 {
            let payload = vp8(
                packet == 0,
                packet == 0 && frame % 10 == 0,
                frame as u16,
                packet as u8,
            );
            let seq = u64::from(frame * 3 + packet + 60_000);
            publisher.write(
                publisher.video,
                pt,
                seq,
                frame * 3_000,
                packet == 2,
                &payload,
            );
            sent.push(payload);
        }
        publisher.write(
            publisher.audio,
            opus,
            u64::from(frame) + 1,
            frame * 960,
            false,
            &[0xfc, 1, 2, frame as u8],
        );
        publisher.turn(Duration::from_millis(2));
        viewers
            .iter_mut()
            .for_each(|viewer| viewer.turn(Duration::from_millis(2)));
    }
    for viewer in &mut viewers {
        let last = sent.last().unwrap().clone();
        let (pt, opus) = (viewer.pt(Codec::Vp8), viewer.pt(Codec::Opus));
        viewer.until("the last packet", |viewer| {
            viewer
                .seen
                .iter()
                .any(|seen| matches!(seen, Seen::Packet(p) if *p.payload == *last))
        });
        let packets = viewer.packets(pt);
        let start = sent
            .iter()
            .position(|payload| **payload == *packets[0].payload)
            .unwrap();
        assert!(
            sent[start][0] & 0x10 != 0 && sent[start][4] & 1 == 0,
            "starts with a keyframe"
        );
        assert_eq!(packets.len(), sent.len() - start, "every packet once");
        for (n, (packet, payload)) in packets.iter().zip(&sent[start..]).enumerate() {
            assert_eq!(*packet.payload, **payload, "packet {n}");
            assert_eq!(*packet.seq_no, *packets[0].seq_no + n as u64, "continuous");
        }
        assert!(viewer.packets(opus).len() > 60, "audio came too");
    }
    assert_eq!(
        plane.total(|s| s.drop_ring.get() + s.drop_refused.get() + s.panics.get()),
        0
    );
    assert!(plane.total(|s| s.keyframe_requests_out.get()) >= 1);
    let media = plane
        .runtime
        .block_on(plane.plane().room_media(RoomId(1)))
        .expect("media");
    assert_eq!(media.tracks.len(), 2, "{media:?}");
}

#[test]
fn a_viewer_that_waits_gets_the_publisher_and_its_successor() {
    let mut plane = Plane::start(2);
    let mut viewer = plane.viewer(7);
    viewer.until_connected();
    let pt = viewer.pt(Codec::Vp8);
    let mut next = None;
    for round in 0..2_u32 {
        let mut publisher = plane.publisher(7);
        publisher.until_connected();
        let vp8_pt = publisher.pt(Codec::Vp8);
        for frame in 0..30_u32 {
            let payload = vp8(true, frame % 10 == 0, frame as u16, 0);
            let seq = u64::from(frame + 500 * round + 1);
            publisher.write(publisher.video, vp8_pt, seq, frame * 3_000, true, &payload);
            publisher.turn(Duration::from_millis(2));
            viewer.turn(Duration::from_millis(2));
        }
        viewer.until("video", |v| {
            v.seen
                .iter()
                .filter(|s| matches!(s, Seen::Packet(_)))
                .count()
                > 15
        });
        for packet in viewer.packets(pt) {
            assert!(
                next.is_none_or(|next| *packet.seq_no == next),
                "continuous in round {round}"
            );
            next = Some(*packet.seq_no + 1);
        }
        publisher.rtc.close().unwrap();
        publisher.turn(Duration::from_millis(20));
        plane.event("the publisher's end", |event| {
            matches!(
                event,
                MediaEvent::SessionClosed {
                    reason: CloseReason::PeerClosed,
                    ..
                }
            )
        });
    }
}

#[test]
fn junk_changes_nothing_for_others() {
    let plane = Plane::start(1);
    let mut publisher = plane.publisher(1);
    publisher.until_connected();
    let (_, offer) = Client::offer(Direction::RecvOnly);
    let opened = plane
        .open(
            1,
            RoleConfig::Viewer {
                choice: LayerChoice::Auto,
            },
            offer,
        )
        .unwrap();
    let candidate = opened
        .answer
        .lines()
        .find(|l| l.starts_with("a=candidate"))
        .unwrap();
    let words: Vec<&str> = candidate.split(' ').collect();
    let server = format!("{}:{}", words[4], words[5]).parse().unwrap();

    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut random = 1_u32;
    for length in 0..1_200_usize {
        let bytes: Vec<u8> = (0..length)
            .map(|_| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (random >> 24) as u8
            })
            .collect();
        stranger.send_to(&bytes, server).unwrap();
        // From the publisher's own address too: truncated STUN, DTLS, RTP and RTCP.
        publisher.send_raw(server, &bytes);
        let first = [0x00, 0x16, 0x80, 0x80][length % 4];
        let second = if length % 4 == 3 { 200 } else { 96 };
        let mut shaped = bytes;
        for (at, byte) in [first, second].into_iter().enumerate().take(shaped.len()) {
            shaped[at] = byte;
        }
        publisher.send_raw(server, &shaped);
        if length % 64 == 0 {
            publisher.turn(Duration::from_millis(1));
        }
    }
    let mut viewer = plane.viewer(1);
    viewer.until_connected();
    let pt = publisher.pt(Codec::Vp8);
    for frame in 0..40_u32 {
        let payload = vp8(true, true, frame as u16, 0);
        publisher.write(
            publisher.video,
            pt,
            u64::from(frame) + 1,
            frame * 3_000,
            true,
            &payload,
        );
        publisher.turn(Duration::from_millis(2));
        viewer.turn(Duration::from_millis(2));
    }
    viewer.until("video", |v| {
        v.seen
            .iter()
            .filter(|s| matches!(s, Seen::Packet(_)))
            .count()
            > 20
    });
    assert_eq!(plane.total(|s| s.panics.get()), 0);
    assert!(plane.total(|s| s.drop_junk.get() + s.drop_stranger.get() + s.drop_stun.get()) > 1_000);
    // A stranger is never answered.
    stranger.set_nonblocking(true).unwrap();
    assert!(stranger.recv_from(&mut [0; 100]).is_err());
}

#[test]
fn refusals_leave_nothing_behind() {
    let plane = Plane::start(1);
    let viewer = || RoleConfig::Viewer {
        choice: LayerChoice::Auto,
    };
    let check = |offer: String, want: fn(&OpenError) -> bool| {
        let got = plane.open(1, viewer(), offer).unwrap_err();
        assert!(want(&got), "{got:?}");
    };
    check("nonsense".to_owned(), |e| {
        matches!(e, OpenError::Malformed(_))
    });
    check("v=0\r\n".repeat(100_000), |e| {
        !matches!(e, OpenError::Shard(_))
    });
    let (_, offer) = Client::offer(Direction::SendOnly);
    check(offer, |e| {
        matches!(
            e,
            OpenError::Unacceptable(Refusal {
                reason: Reason::Direction,
                ..
            })
        )
    });
    let (_, offer) = Client::offer(Direction::RecvOnly);
    let foreign = ["VP8", "VP9", "AV1", "H264", "opus", "red"]
        .iter()
        .fold(offer, |sdp, codec| {
            sdp.replace(&format!(" {codec}/"), " theora/")
        });
    check(foreign, |e| {
        matches!(
            e,
            OpenError::Unacceptable(Refusal {
                reason: Reason::Codec { .. },
                ..
            })
        )
    });
    assert_eq!(plane.total(|s| s.viewers.get() + s.publishers.get()), 0);
}

#[test]
fn closing_tells_the_peer_and_frees_the_session() {
    let mut plane = Plane::start(2);
    let (mut client, offer) = Client::offer(Direction::RecvOnly);
    let request = OpenSession {
        session: SessionId::random(),
        room: RoomId(3),
        role: RoleConfig::Viewer {
            choice: LayerChoice::Low,
        },
        member: None,
        offer,
    };
    let session = request.session;
    let opened = plane.runtime.block_on(plane.plane().open(request)).unwrap();
    client.answer(&opened.answer);
    client.until_connected();
    plane.event("the connection", |e| {
        matches!(e, MediaEvent::SessionConnected { .. })
    });
    assert_eq!(plane.total(|s| s.viewers.get()), 1);
    plane.plane().close(opened.shard, session);
    plane.event("the end", |event| {
        matches!(
            event,
            MediaEvent::SessionClosed {
                reason: CloseReason::Requested,
                ..
            }
        )
    });
    client.until("the goodbye", |c| {
        c.seen.iter().any(|seen| matches!(seen, Seen::Closed))
    });
    assert_eq!(plane.total(|s| s.viewers.get()), 0);
    let gone = plane
        .runtime
        .block_on(plane.plane().session_media(opened.shard, session));
    assert!(gone.is_none());
}

#[test]
fn an_address_that_does_not_answer_gets_three_times_what_it_sent() {
    let plane = Plane::start(1);
    let (_, offer) = Client::offer(Direction::RecvOnly);
    let opened = plane
        .open(
            1,
            RoleConfig::Viewer {
                choice: LayerChoice::Auto,
            },
            offer.clone(),
        )
        .unwrap();
    let server = udp_candidate(&opened.answer);
    // A peer with the right password sends checks that nominate an address, and a ClientHello
    // from there, but it never answers: the address is somebody else's.
    let victim = UdpSocket::bind("127.0.0.1:0").unwrap();
    victim
        .set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    let username = format!(
        "{}:{}",
        attribute(&opened.answer, "a=ice-ufrag:"),
        attribute(&offer, "a=ice-ufrag:")
    );
    let password = attribute(&opened.answer, "a=ice-pwd:");
    let crypto = str0m::crypto::from_feature_flags();
    let hmac = |key: &[u8], parts: &[&[u8]]| crypto.sha1_hmac_provider.sha1_hmac(key, parts);
    let (mut sent, mut received, mut buffer) = (0, 0, [0; 2_000]);
    for _ in 0..40 {
        let id = str0m::ice::TransId::new();
        let check = str0m::ice::StunMessage::binding_request(&username, id, true, 1, 1, true);
        let mut bytes = [0; 500];
        let length = check
            .to_bytes(Some(password.as_bytes()), &mut bytes, hmac)
            .unwrap();
        sent += victim.send_to(&bytes[..length], server).unwrap();
        sent += victim.send_to(CLIENT_HELLO, server).unwrap();
        while let Ok((length, _)) = victim.recv_from(&mut buffer) {
            received += length;
        }
        assert!(received <= 3 * sent, "{received} bytes for {sent}");
    }
    assert!(received > 500, "the checks were answered: {received}");
}

/// A DTLS 1.2 ClientHello (RFC 6347 section 4.2.1) without a cookie: ECDHE-ECDSA with AES-GCM,
/// P-256, SHA-256, extended master secret and use_srtp.
const CLIENT_HELLO: &[u8] = &[
    22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 110, // record
    1, 0, 0, 98, 0, 0, 0, 0, 0, 0, 0, 98, // handshake
    254, 253, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23,
    24, 25, 26, 27, 28, 29, 30, 31, 32, // version, random
    0, 0, // session id, cookie
    0, 4, 192, 43, 192, 44, 1, 0, // suites, compression
    0, 50, // extensions
    0, 10, 0, 4, 0, 2, 0, 23, // groups
    0, 11, 0, 2, 1, 0, // point formats
    0, 13, 0, 4, 0, 2, 4, 3, // signature algorithms
    0, 23, 0, 0, // extended master secret
    0, 14, 0, 9, 0, 6, 0, 7, 0, 8, 0, 1, 0, // use_srtp
    255, 1, 0, 1, 0, // renegotiation info
    0, 35, 0, 2, 0, 0,
];

#[test]
fn a_peer_that_vanishes_is_forgotten() {
    let mut plane = Plane::with(MediaConfig {
        shards: 1,
        connect_timeout: Duration::from_secs(2),
        consent_timeout: Duration::from_secs(6),
        ..MediaConfig::default()
    });
    let mut vanishing = plane.viewer(1);
    vanishing.until_connected();
    let (_, offer) = Client::offer(Direction::RecvOnly);
    plane
        .open(
            1,
            RoleConfig::Viewer {
                choice: LayerChoice::Auto,
            },
            offer,
        )
        .unwrap();
    let mut reasons = Vec::new();
    for _ in 0..2 {
        let event = plane.event("an end", |event| {
            matches!(event, MediaEvent::SessionClosed { .. })
        });
        if let MediaEvent::SessionClosed { reason, .. } = event {
            reasons.push(reason);
        }
    }
    assert!(
        reasons.contains(&CloseReason::ConnectTimeout),
        "{reasons:?}"
    );
    assert!(
        reasons.contains(&CloseReason::ConsentExpired),
        "{reasons:?}"
    );
    assert_eq!(plane.total(|s| s.viewers.get()), 0);
}

#[test]
fn a_publisher_far_over_its_limit_is_closed_and_others_go_on() {
    let mut plane = Plane::start(1);
    let (mut flood, offer) = Client::offer(Direction::SendOnly);
    let role = RoleConfig::Publisher {
        bitrate_max: Bitrate::kbps(50),
    };
    flood.answer(&plane.open(1, role, offer).unwrap().answer);
    flood.until_connected();
    let mut other = plane.publisher(2);
    other.until_connected();
    let (pt, other_pt) = (flood.pt(Codec::Vp8), other.pt(Codec::Vp8));
    let mut frame = 0_u32;
    flood.until("the end", |flood| {
        for _ in 0..4 {
            frame += 1;
            let payload = vp8(true, true, frame as u16, 0);
            flood.write(
                flood.video,
                pt,
                u64::from(frame),
                frame * 3_000,
                true,
                &payload,
            );
        }
        let payload = vp8(true, true, frame as u16, 0);
        other.write(
            other.video,
            other_pt,
            u64::from(frame),
            frame * 3_000,
            true,
            &payload,
        );
        other.turn(Duration::from_millis(1));
        flood.seen.iter().any(|seen| matches!(seen, Seen::Closed))
    });
    plane.event("the end", |event| {
        matches!(
            event,
            MediaEvent::SessionClosed {
                reason: CloseReason::BitrateExceeded,
                ..
            }
        )
    });
    assert!(plane.total(|s| s.drop_media.get()) > 100);
    assert_eq!(plane.total(|s| s.publishers.get()), 1);
    assert!(
        plane
            .runtime
            .block_on(plane.plane().room_media(RoomId(2)))
            .is_some()
    );
}

#[test]
fn what_is_lost_on_either_side_is_sent_again() {
    let plane = Plane::start(2);
    let mut publisher = plane.publisher(1);
    publisher.until_connected();
    let mut viewer = plane.viewer(1);
    viewer.until_connected();
    let (sent_pt, pt) = (publisher.pt(Codec::Vp8), viewer.pt(Codec::Vp8));
    (publisher.lose_every, viewer.lose_every) = (23, 17);
    let frames = 200_u32;
    for frame in 0..frames {
        let payload = vp8(true, frame == 0, frame as u16, frame as u8);
        publisher.write(
            publisher.video,
            sent_pt,
            u64::from(frame) + 1,
            frame * 3_000,
            true,
            &payload,
        );
        publisher.turn(Duration::from_millis(2));
        viewer.turn(Duration::from_millis(2));
    }
    // The last packet has nothing behind it that would show its loss.
    (publisher.lose_every, viewer.lose_every) = (0, 0);
    let mut seen = std::collections::BTreeMap::new();
    let mut frame = frames;
    viewer.until("every packet", |viewer| {
        let payload = vp8(true, false, frame as u16, frame as u8);
        let seq = u64::from(frame) + 1;
        publisher.write(publisher.video, sent_pt, seq, frame * 3_000, true, &payload);
        frame += 1;
        publisher.turn(Duration::from_millis(2));
        for packet in viewer.packets(pt) {
            // Bytes 2 and 3 hold the picture id, which the server may renumber; the filler not.
            seen.insert(*packet.seq_no, *packet.payload.last().unwrap());
        }
        seen.len() >= frames as usize
            && seen
                .keys()
                .zip(seen.keys().skip(1))
                .all(|(a, b)| a + 1 == *b)
    });
    let first = *seen.values().next().unwrap();
    for (n, filler) in seen.values().enumerate() {
        assert_eq!(*filler, first.wrapping_add(n as u8), "packet {n}");
    }
    // Counters of the streams come once a second.
    viewer.until("the counters", |_| {
        publisher.turn(Duration::from_millis(2));
        [
            plane.total(|s| s.nacks_in.get()),
            plane.total(|s| s.nacks_out.get()),
            plane.total(|s| s.rtx_out.get()),
        ]
        .iter()
        .all(|count| *count > 0)
    });
}

#[test]
fn without_a_keyframe_viewers_wait_and_the_publisher_is_asked_once_a_second() {
    let plane = Plane::start(1);
    let mut publisher = plane.publisher(1);
    publisher.until_connected();
    let mut viewer = plane.viewer(1);
    viewer.until_connected();
    let (sent_pt, pt) = (publisher.pt(Codec::Vp8), viewer.pt(Codec::Vp8));
    let mut frame = 0_u32;
    let start = std::time::Instant::now();
    let asked = |publisher: &Client| {
        let asked = |seen: &&Seen| matches!(seen, Seen::KeyframeRequest(..));
        publisher.seen.iter().filter(asked).count()
    };
    publisher.until("three requests", |publisher| {
        let payload = vp8(true, false, frame as u16, 0);
        publisher.write(
            publisher.video,
            sent_pt,
            u64::from(frame) + 1,
            frame * 3_000,
            true,
            &payload,
        );
        frame += 1;
        viewer.turn(Duration::from_millis(2));
        asked(publisher) >= 3
    });
    // At 0, 1 and 2 seconds at the earliest.
    assert!(start.elapsed() >= Duration::from_millis(1_900));
    assert!(
        viewer.packets(pt).is_empty(),
        "nothing that cannot be shown"
    );
    let payload = vp8(true, true, frame as u16, 0);
    publisher.write(
        publisher.video,
        sent_pt,
        u64::from(frame) + 1,
        frame * 3_000,
        true,
        &payload,
    );
    viewer.until("the keyframe", |viewer| {
        publisher.turn(Duration::from_millis(2));
        !viewer.packets(pt).is_empty()
    });
}

#[test]
fn a_newcomer_starts_from_the_last_keyframe_without_another() {
    let plane = Plane::start(2);
    let mut publisher = plane.publisher(1);
    publisher.until_connected();
    let sent_pt = publisher.pt(Codec::Vp8);
    let mut frame = 0_u32;
    let asked = |publisher: &Client| {
        let asked = |seen: &&Seen| matches!(seen, Seen::KeyframeRequest(..));
        publisher.seen.iter().filter(asked).count()
    };
    let mut next_frame = |publisher: &mut Client, key: bool| {
        let payload = vp8(true, key, frame as u16, frame as u8);
        let seq = u64::from(frame) + 1;
        publisher.write(publisher.video, sent_pt, seq, frame * 3_000, true, &payload);
        publisher.turn(Duration::from_millis(2));
        frame += 1;
        (frame - 1) as u8
    };
    let mut first = plane.viewer(1);
    first.until_connected();
    first.until("the request", |_| {
        next_frame(&mut publisher, false);
        asked(&publisher) == 1
    });
    let mut viewers: Vec<Client> = (0..4).map(|_| plane.viewer(1)).collect();
    let keyframe = next_frame(&mut publisher, true);
    let keyframe_at = std::time::Instant::now();
    for viewer in &mut viewers {
        viewer.until("a connection", |viewer| {
            next_frame(&mut publisher, false);
            viewer
                .seen
                .iter()
                .any(|seen| matches!(seen, Seen::Connected))
        });
        // On a machine too slow for this, a later newcomer is right to ask again.
        let in_time = keyframe_at.elapsed() < Duration::from_millis(800);
        let pt = viewer.pt(Codec::Vp8);
        viewer.until("the keyframe and what follows it", |viewer| {
            let again = asked(&publisher) > 1;
            next_frame(&mut publisher, again);
            viewer
                .seen
                .iter()
                .filter(|s| matches!(s, Seen::Packet(p) if p.header.payload_type == pt))
                .count()
                > 10
        });
        let packets = viewer.packets(pt);
        assert_eq!(packets[0].payload[4] & 1, 0, "a keyframe comes first");
        if in_time {
            let filler = *packets[0].payload.last().unwrap();
            assert_eq!(filler, keyframe, "the keyframe that others got");
        }
        for pair in packets.windows(2) {
            assert_eq!(*pair[1].seq_no, *pair[0].seq_no + 1, "no packet is missing");
            let ticks = pair[1]
                .header
                .timestamp
                .wrapping_sub(pair[0].header.timestamp);
            assert!((1..=3_000).contains(&ticks), "{ticks} ticks between frames");
        }
    }
}

#[test]
fn a_big_keyframe_is_spread_and_audio_overtakes_it() {
    // More than twice a burst, and still less than the viewer's socket holds unread.
    const PACKETS: u64 = 72;
    let plane = Plane::start(1);
    let mut publisher = plane.publisher(1);
    publisher.until_connected();
    let mut viewer = plane.viewer(1);
    viewer.until_connected();
    let (sent_pt, pt) = (publisher.pt(Codec::Vp8), viewer.pt(Codec::Vp8));
    let (sent_opus, opus) = (publisher.pt(Codec::Opus), viewer.pt(Codec::Opus));
    let (mut sequence, mut frame) = (0, 0_u32);
    let mut packets = Vec::new();
    viewer.until("a keyframe that audio overtakes", |viewer| {
        // All of a keyframe but its last packet, audio, and that packet: in order of sending,
        // audio comes last but one.
        for n in 0..PACKETS {
            sequence += 1;
            let payload = vp8(n == 0, n == 0, frame as u16, n as u8);
            let last = n + 1 == PACKETS;
            if last {
                let (audio, seq) = (publisher.audio, u64::from(frame) + 1);
                publisher.write(audio, sent_opus, seq, frame * 960, true, &[0xfc; 40]);
            }
            let video = publisher.video;
            publisher.write(video, sent_pt, sequence, frame * 3_000, last, &payload);
        }
        publisher.turn(Duration::from_millis(2));
        frame += 1;
        let mut audio_at = None;
        let mut video_after_audio = 0;
        let mut left = PACKETS;
        viewer.until("the whole keyframe", |viewer| {
            publisher.turn(Duration::from_millis(1));
            for seen in std::mem::take(&mut viewer.seen) {
                let Seen::Packet(packet) = seen else { continue };
                if packet.header.payload_type == opus {
                    audio_at = Some(left);
                } else if packet.header.payload_type == pt {
                    video_after_audio += u64::from(audio_at.is_some());
                    left = left.saturating_sub(1);
                    packets.push(packet);
                }
            }
            left == 0 || frame == 1 && packets.is_empty()
        });
        video_after_audio > PACKETS / 4
    });
    assert!(plane.total(|s| s.paced_out.get()) > PACKETS / 2);
    for pair in packets.windows(2) {
        assert_eq!(
            *pair[1].seq_no,
            *pair[0].seq_no + 1,
            "in order, none missing"
        );
    }
    for keyframe in packets.chunks(PACKETS as usize) {
        for (n, packet) in keyframe.iter().enumerate() {
            assert_eq!(*packet.payload.last().unwrap(), n as u8);
        }
    }
}

#[test]
fn newcomers_start_from_a_keyframe_that_a_quick_publisher_is_asked_for() {
    let plane = Plane::start(1);
    let mut publisher = plane.publisher(1);
    publisher.until_connected();
    let sent_pt = publisher.pt(Codec::Vp8);
    let (mut frame, mut answered) = (0_u32, 0);
    let mut next_frame = |publisher: &mut Client| {
        let asked = |seen: &&Seen| matches!(seen, Seen::KeyframeRequest(..));
        let asked = publisher.seen.iter().filter(asked).count();
        let key = asked > answered;
        answered = asked;
        let payload = vp8(true, key, frame as u16, frame as u8);
        let seq = u64::from(frame) + 1;
        publisher.write(publisher.video, sent_pt, seq, frame * 3_000, true, &payload);
        publisher.turn(Duration::from_millis(2));
        frame += 1;
        (frame, asked)
    };
    let mut first = plane.viewer(1);
    first.until_connected();
    let pt = first.pt(Codec::Vp8);
    first.until("the first keyframe", |first| {
        next_frame(&mut publisher);
        !first.packets(pt).is_empty()
    });
    // The next may be asked for after a second, and many frames are much to decode.
    let since = std::time::Instant::now();
    first.until("an old keyframe", |_| {
        for _ in 0..3 {
            next_frame(&mut publisher);
        }
        let (frame, asked) = next_frame(&mut publisher);
        assert_eq!(asked, 1);
        frame > 300 && since.elapsed() > Duration::from_secs(1)
    });
    let together = std::time::Instant::now();
    let mut crowd: Vec<Client> = (0..4).map(|_| plane.viewer(1)).collect();
    let mut asked = 0;
    first.until("a picture for everybody, and what follows it", |_| {
        asked = next_frame(&mut publisher).1;
        crowd
            .iter_mut()
            .for_each(|viewer| viewer.turn(Duration::from_millis(1)));
        let of_video = |s: &&Seen| matches!(s, Seen::Packet(p) if p.header.payload_type == pt);
        let has_more = |viewer: &Client| viewer.seen.iter().filter(of_video).count() > 10;
        crowd.iter().all(has_more)
    });
    assert!(plane.total(|s| s.starts_asked.get()) >= 1);
    // Together they ask once, and again only where a slow machine made them late.
    let more = together.elapsed().as_secs() as usize;
    assert!((2..=2 + more).contains(&asked), "{asked} requests");
    for viewer in &mut crowd {
        let packets = viewer.packets(pt);
        assert_eq!(packets[0].payload[4] & 1, 0, "a keyframe comes first");
        for pair in packets.windows(2) {
            assert_eq!(*pair[1].seq_no, *pair[0].seq_no + 1, "no packet is missing");
        }
    }
}
