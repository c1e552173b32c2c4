//! The chat's data channels over real sockets, with str0m as the peer.

mod support;

use lightstick_chat_proto::part;
use lightstick_chat_wire::{BUSY_BYTES, Channel, REQUEST_BYTES_MAX};
use lightstick_sfu::{
    ChatCommand, ChatEvent, ChatRefused, CloseReason, MediaEvent, RemoteIce, RoleConfig,
};
use lightstick_types::{Bitrate, LayerChoice};
use str0m::channel::ChannelConfig;
use str0m::format::Codec;
use support::fan::{Fan, config, frame, numbers, tick};
use support::plane::Plane;
use support::{Client, PATIENCE, Seen, vp8};

const VIEWER: RoleConfig = RoleConfig::Viewer {
    choice: LayerChoice::Auto,
};
const PUBLISHER: RoleConfig = RoleConfig::Publisher {
    bitrate_max: Bitrate(20_000_000),
};

/// Turns a client until something of the plane is as it should be.
fn until(client: &mut Client, what: &str, plane: &Plane, done: impl Fn(&Plane) -> bool) {
    client.until(what, |_| done(plane));
}

#[test]
fn members_write_and_are_shown_and_told() {
    let mut plane = Plane::start(2);
    // On both shards, and one who sends the video.
    let mut fans = [
        Fan::viewer(&mut plane, 1, &Channel::ALL),
        Fan::viewer(&mut plane, 1, &Channel::ALL),
        Fan::join(&mut plane, 1, PUBLISHER, &Channel::ALL),
        Fan::viewer(&mut plane, 2, &Channel::ALL),
    ];
    assert_eq!(fans[0].shard.0 + fans[1].shard.0, 1, "one on each shard");
    assert_eq!(plane.total(|s| s.chat.members.get()), 4);
    for (n, fan) in fans.iter_mut().enumerate() {
        fan.write(true, &[n as u8, 7, 7]);
        until(&mut fan.client, "the frame", &plane, |plane| {
            plane.total(|s| s.chat.frames_in.get()) == n as u64 + 1
        });
        assert_eq!(fan.frame(&mut plane), [n as u8, 7, 7]);
    }
    for number in 1..=20 {
        plane.show(1, &tick(number, 50));
    }
    for (n, fan) in fans.iter().enumerate() {
        fan.tell(&plane, frame(100 + n as u64, 0));
    }
    let wanted: Vec<u64> = (1..=20).collect();
    for (n, fan) in fans.iter_mut().enumerate() {
        let [ctl, chat, fx] = fan.client.channels[..] else {
            panic!("three channels");
        };
        let own = 100 + n as u64;
        let told = fan.parts_until("what it is told", ctl, |parts| {
            numbers(parts).contains(&own)
        });
        let shown: &[u64] = if n == 3 { &[] } else { &wanted };
        // In the order of the commands.
        assert_eq!(numbers(&told), [shown, &[own]].concat());
        for (id, label) in [(chat, "chat"), (fx, "fx")] {
            let all = shown.len();
            let parts = fan.parts_until(label, id, |parts| numbers(parts).len() == all);
            let mut got = numbers(&parts);
            got.sort_unstable();
            assert_eq!(got, shown, "{label}");
        }
    }
    let out = |channel: Channel| plane.total(|s| s.chat.frames_out[channel as usize].get());
    // Ticks that gather while a shard is busy leave as one.
    assert!(
        (3..=60).contains(&out(Channel::Chat)),
        "{}",
        out(Channel::Chat)
    );
    assert_eq!(
        plane.total(|s| s.chat.missed.get() + s.chat.behind.get() + s.chat.drop_packet.get()),
        0
    );
}

#[test]
fn a_client_with_ctl_alone_hears_everything_there() {
    let mut plane = Plane::start(1);
    let mut fan = Fan::viewer(&mut plane, 1, &[Channel::Ctl]);
    plane.show(1, &tick(5, 2_000));
    let ctl = fan.client.channels[0];
    let parts = fan.parts_until("a tick", ctl, |parts| numbers(parts).len() == 3);
    assert_eq!(numbers(&parts), [5, 5, 5]);
}

#[test]
fn what_clients_of_ours_never_send_is_dropped_and_counted() {
    let mut plane = Plane::start(1);
    let mut fan = Fan::viewer(&mut plane, 1, &Channel::ALL);
    fan.write(true, &vec![1; REQUEST_BYTES_MAX + 1]);
    fan.write(true, &vec![2; 16_000]);
    fan.write(false, b"{}");
    let chat = fan.client.channels[1];
    let mut stray = fan.client.rtc.channel(chat).expect("an open channel");
    assert!(stray.write(true, &[9]).expect("a sound channel"));
    fan.write(true, &vec![3; REQUEST_BYTES_MAX]);
    until(&mut fan.client, "all of it", &plane, |plane| {
        plane.total(|s| s.chat.frames_in.get() + s.chat.drop_stray.get()) == 2
    });
    // Their writer is to be told so, by what stands at their beginning.
    for (first, length) in [(1, REQUEST_BYTES_MAX), (2, REQUEST_BYTES_MAX), (b'{', 2)] {
        let event = plane.chat_event("a refusal");
        let ChatEvent::Refused { head, why, .. } = event else {
            panic!("{event:?}");
        };
        assert_eq!((head[0], head.len()), (first, length));
        assert_eq!(why, ChatRefused::Unreadable);
    }
    assert_eq!(fan.frame(&mut plane), vec![3; REQUEST_BYTES_MAX]);
    let count = |each: fn(&lightstick_sfu::ChatStats) -> u64| plane.total(|s| each(&s.chat));
    assert_eq!(count(|s| s.drop_oversize.get()), 2);
    assert_eq!(count(|s| s.drop_text.get()), 1);
    assert_eq!(count(|s| s.drop_stray.get()), 1);

    // Labels that nobody knows, and a second `ctl` in place of the first.
    for label in ["video", "ctl ", ""] {
        let id = fan.open(ChannelConfig {
            label: label.to_owned(),
            ..ChannelConfig::default()
        });
        fan.client.until("its end", |client| {
            let closed = |seen: &Seen| matches!(seen, Seen::ChannelClosed(closed) if *closed == id);
            client.seen.iter().any(closed)
        });
    }
    assert_eq!(count(|s| s.channels_refused.get()), 3);
    assert_eq!(plane.total(|s| s.viewers.get()), 1);
    let before = fan.client.channels[0];
    fan.client.channels[0] = fan.open(config(Channel::Ctl));
    fan.client.until("the change", |client| {
        let closed = |seen: &Seen| matches!(seen, Seen::ChannelClosed(id) if *id == before);
        client.seen.iter().any(closed)
    });
    assert!(matches!(
        plane.chat_event("an end"),
        ChatEvent::Closed { .. }
    ));
    assert!(matches!(
        plane.chat_event("a beginning"),
        ChatEvent::Opened { .. }
    ));
    fan.write(true, &[4]);
    until(&mut fan.client, "a frame on it", &plane, |plane| {
        plane.total(|s| s.chat.frames_in.get()) == 2
    });
    assert_eq!(fan.frame(&mut plane), [4]);
    assert_eq!(plane.total(|s| s.chat.channels[0].get()), 1);
    assert_eq!(plane.total(|s| s.chat.members.get()), 1);
}

#[test]
fn who_is_no_member_has_no_channels() {
    let mut plane = Plane::start(1);
    let mut fan = Fan::offered(&plane, 1, VIEWER, &Channel::ALL, false);
    fan.client.until("three ends", |client| {
        let closed = |seen: &&Seen| matches!(seen, Seen::ChannelClosed(_));
        client.seen.iter().filter(closed).count() == 3
    });
    assert_eq!(plane.total(|s| s.chat.channels_ignored.get()), 3);
    assert_eq!(plane.total(|s| s.viewers.get()), 1, "it watches on");
    plane.show(1, &tick(1, 1));
    plane.plane().close(fan.shard, fan.session);
    plane.event("the end", |event| {
        matches!(event, MediaEvent::SessionClosed { .. })
    });
    assert!(
        plane.chat.try_recv().is_err(),
        "the chat hears nothing of it"
    );
}

#[test]
fn a_flood_is_cut_off_where_it_comes_in() {
    let mut plane = Plane::start(1);
    let mut fan = Fan::viewer(&mut plane, 1, &[Channel::Ctl]);
    for n in 0..1_000_u32 {
        fan.write(true, &n.to_be_bytes());
    }
    until(&mut fan.client, "the flood", &plane, |plane| {
        plane.total(|s| s.chat.drop_flood.get() + s.chat.drop_packet.get()) > 400
    });
    let taken = plane.total(|s| s.chat.frames_in.get());
    let (mut frames, mut refusals) = (0_u32, 0);
    while u64::from(frames) < taken {
        match plane.chat_event("a frame") {
            ChatEvent::Frame { bytes, .. } => {
                assert_eq!(bytes, frames.to_be_bytes()[..]);
                frames += 1;
            }
            ChatEvent::Refused { why, .. } => {
                assert_eq!(why, ChatRefused::TooFast);
                refusals += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    // A few are told, not each.
    assert!(refusals < 150, "{refusals}");
    // The burst, and what the time until here has earned.
    assert!((60..300).contains(&taken), "{taken}");
    // It still hears.
    fan.tell(&plane, frame(3, 0));
    let ctl = fan.client.channels[0];
    fan.parts_until("what it is told", ctl, |parts| numbers(parts) == [3]);
}

#[test]
fn streams_without_end_do_not_reach_the_stack() {
    let mut plane = Plane::start(1);
    let mut fan = Fan::viewer(&mut plane, 1, &Channel::ALL);
    let mut other = Fan::viewer(&mut plane, 1, &Channel::ALL);
    for n in 0..200 {
        fan.open(ChannelConfig {
            label: "more".to_owned(),
            negotiated: Some(1_000 + n),
            ..ChannelConfig::default()
        });
    }
    fan.client.until("its own opening", |client| {
        let opened = |seen: &&Seen| matches!(seen, Seen::Opened(_));
        client.seen.iter().filter(opened).count() == 203
    });
    let Some(Seen::Opened(last)) = fan.client.seen.pop() else {
        panic!("the last channel");
    };
    let mut channel = fan.client.rtc.channel(last).expect("an open channel");
    assert!(channel.write(true, &[1]).expect("a sound channel"));
    until(&mut fan.client, "a refusal", &plane, |plane| {
        plane.total(|s| s.chat.drop_packet.get()) > 0
    });
    plane.show(1, &tick(1, 1));
    let chat = other.client.channels[1];
    other.parts_until("a tick", chat, |parts| numbers(parts) == [1]);
}

#[test]
fn who_never_reads_holds_little_and_is_told_of_the_gap() {
    let mut plane = Plane::start(1);
    let mut publisher = plane.publisher(1);
    publisher.until_connected();
    let mut deaf = Fan::viewer(&mut plane, 1, &Channel::ALL);
    let mut other = Fan::viewer(&mut plane, 1, &Channel::ALL);
    let (pt, mine) = (publisher.pt(Codec::Vp8), other.client.pt(Codec::Vp8));
    deaf.client.deaf = true;
    let before = plane.total(|s| s.chat.bytes_out.get());
    let mut written = 0;
    // The other reads each tick before the next is shown, so only one is behind.
    for number in 1..=30 {
        plane.show(1, &tick(number, 6_000));
        let chat = other.client.channels[1];
        let key = number == 1;
        publisher.write(
            publisher.video,
            pt,
            number,
            number as u32 * 3_000,
            true,
            &vp8(true, key, number as u16, 1),
        );
        publisher.turn(std::time::Duration::from_millis(1));
        let parts = other.parts_until("a tick", chat, |parts| !numbers(parts).is_empty());
        assert_eq!(numbers(&parts), [number]);
        written += 6_000 + 40;
    }
    assert_eq!(plane.total(|s| s.chat.behind.get()), 1);
    let to_deaf = plane.total(|s| s.chat.bytes_out.get()) - before - written;
    assert!(to_deaf < (BUSY_BYTES + 8_000) as u64, "{to_deaf} bytes");
    let missed = plane.total(|s| s.chat.missed.get());
    assert!(missed > 15, "{missed}");
    // Neither the others' video nor its own has suffered.
    for client in [&mut other.client, &mut deaf.client] {
        let mut count = 0;
        client.until("the video", |client| {
            count += client.packets(mine).len();
            count >= 29
        });
    }

    deaf.client.deaf = false;
    let ctl = deaf.client.channels[0];
    let parts = deaf.parts_until("the last tick and the gap", ctl, |parts| {
        numbers(parts).contains(&30)
            && parts
                .iter()
                .any(|part| matches!(part, part::Part::Gap(gap) if gap.messages > 0))
    });
    // What must not be left out was not.
    assert_eq!(numbers(&parts), (1..=30).collect::<Vec<u64>>());
    let gap = parts.iter().find_map(|part| match part {
        part::Part::Gap(gap) if !gap.counts_only => Some(gap.messages),
        _ => None,
    });
    let missed = plane.total(|s| s.chat.missed.get());
    assert_eq!(gap.map(u64::from), Some(missed));
    assert_eq!(plane.total(|s| s.chat.behind.get()), 0);
}

#[test]
fn who_is_too_far_behind_is_to_be_brought_up_to_date() {
    let mut plane = Plane::start(1);
    let mut fan = Fan::viewer(&mut plane, 1, &[Channel::Ctl]);
    fan.client.deaf = true;
    for number in 0..20 {
        fan.tell(&plane, frame(number, 5_000));
    }
    until(&mut fan.client, "the loss", &plane, |plane| {
        // All was offered, and nothing of it waits any more.
        plane.total(|s| s.chat.frames_out[0].get()) > 2 && plane.total(|s| s.chat.behind.get()) == 0
    });
    assert!(plane.chat.try_recv().is_err(), "not before it hears again");
    fan.client.deaf = false;
    until(&mut fan.client, "the wish", &plane, |plane| {
        plane.total(|s| s.chat.resyncs.get()) == 1
    });
    match plane.chat_event("the wish") {
        ChatEvent::Resync { shard, session } => {
            assert_eq!((shard, session), (fan.shard, fan.session));
        }
        other => panic!("{other:?} instead of a wish"),
    }
    fan.tell(&plane, frame(99, 0));
    let ctl = fan.client.channels[0];
    fan.parts_until("the present", ctl, |parts| numbers(parts).contains(&99));
}

#[test]
fn the_chat_closes_channels_and_the_session_goes_on() {
    let mut plane = Plane::start(1);
    let mut fan = Fan::viewer(&mut plane, 1, &Channel::ALL);
    let session = fan.session;
    fan.tell(&plane, frame(1, 9_000));
    let closed = plane
        .plane()
        .chat(fan.shard, ChatCommand::Close { session });
    closed.expect("room in the queue");
    let ctl = fan.client.channels[0];
    fan.parts_until("the last word", ctl, |parts| numbers(parts) == [1]);
    fan.client.until("three ends", |client| {
        let closed = |seen: &&Seen| matches!(seen, Seen::ChannelClosed(_));
        client.seen.iter().filter(closed).count() == 3
    });
    assert!(matches!(
        plane.chat_event("the end"),
        ChatEvent::Closed { .. }
    ));
    assert_eq!(plane.total(|s| s.viewers.get()), 1);
    assert_eq!(plane.total(|s| s.chat.members.get()), 0);
    assert_eq!(
        plane.total(|s| s.chat.channels.iter().map(|c| c.get()).sum()),
        0
    );
    // It may come again.
    fan.client.channels = vec![fan.open(config(Channel::Ctl))];
    until(&mut fan.client, "its return", &plane, |plane| {
        plane.total(|s| s.chat.members.get()) == 1
    });
    assert!(matches!(
        plane.chat_event("its return"),
        ChatEvent::Opened { .. }
    ));
    // The end of the session is the end of its chat.
    plane.plane().close(fan.shard, session);
    assert!(matches!(
        plane.chat_event("the end"),
        ChatEvent::Closed { .. }
    ));
    plane.event("the end", |event| {
        let asked = CloseReason::Requested;
        matches!(event, MediaEvent::SessionClosed { reason, .. } if *reason == asked)
    });
    let held = |plane: &Plane| {
        plane.total(|s| s.held_chat_rooms.get() + s.chat.members.get() + s.chat.channels[0].get())
    };
    let start = std::time::Instant::now();
    while held(&plane) > 0 {
        assert!(start.elapsed() < PATIENCE, "{} left", held(&plane));
        let media = plane.plane().session_media(fan.shard, session);
        assert!(plane.runtime.block_on(media).is_none());
    }
}

#[test]
fn channels_outlive_an_ice_restart() {
    let mut plane = Plane::start(1);
    let mut fan = Fan::viewer(&mut plane, 1, &Channel::ALL);
    let creds = str0m::IceCreds::new();
    let ice = RemoteIce {
        ufrag: creds.ufrag.clone(),
        pwd: creds.pass.clone(),
    };
    let restarted = plane.plane().restart_ice(fan.shard, fan.session, ice);
    let local = plane.runtime.block_on(restarted).expect("a restart");
    let mut api = fan.client.rtc.direct_api();
    api.set_local_ice_credentials(creds);
    api.set_remote_ice_credentials(str0m::IceCreds {
        ufrag: local.ufrag,
        pass: local.pwd,
    });
    fan.write(true, &[5]);
    until(&mut fan.client, "its frame", &plane, |plane| {
        plane.total(|s| s.chat.frames_in.get()) == 1
    });
    assert_eq!(fan.frame(&mut plane), [5]);
    plane.show(1, &tick(8, 1));
    let ctl = fan.client.channels[0];
    fan.parts_until("a tick", ctl, |parts| numbers(parts) == [8]);
    assert_eq!(plane.total(|s| s.chat.members.get()), 1);
}
