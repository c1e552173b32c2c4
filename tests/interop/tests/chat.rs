//! The `webrtc` crate's data channels with the media plane.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lightstick_chat_proto::{Pong, ServerFrame, part};
use lightstick_chat_wire::{Channel, Frame, Tick};
use lightstick_interop::{Repair, Viewer};
use lightstick_sfu::{ChatCommand, ChatEvent, MediaConfig, MediaPlane, OpenSession, RoleConfig};
use lightstick_types::{ChatMember, ChatRole, Codec, LayerChoice, RoomId, RoomName, SessionId};
use prost::Message as _;
use tokio::time::timeout;
use webrtc::data_channel::{DataChannel, DataChannelEvent};

const PATIENCE: Duration = Duration::from_secs(20);
const CHANNELS: [(&str, bool, Option<u16>); 3] = [
    ("ctl", true, None),
    ("chat", false, None),
    ("fx", false, Some(0)),
];

/// The next event that `wanted` finds something in.
async fn next<T>(
    channel: &Arc<dyn DataChannel>,
    mut wanted: impl FnMut(DataChannelEvent) -> Option<T>,
) -> Result<T> {
    loop {
        let event = timeout(PATIENCE, channel.poll()).await?;
        if let Some(found) = wanted(event.context("the channel ended")?) {
            return Ok(found);
        }
    }
}

/// The number in the next frame.
async fn number(channel: &Arc<dyn DataChannel>) -> Result<u64> {
    let data = next(channel, |event| match event {
        DataChannelEvent::OnMessage(message) => Some(message),
        _ => None,
    })
    .await?;
    ensure!(!data.is_string, "text instead of protobuf");
    let frame = ServerFrame::decode(&*data.data)?;
    match frame.parts.first().and_then(|part| part.part.as_ref()) {
        Some(part::Part::Pong(pong)) => Ok(pong.number),
        other => bail!("{other:?} instead of a number"),
    }
}

fn frame(number: u64) -> Frame {
    Frame::new([part::Part::Pong(Pong { number })])
}

#[tokio::test(flavor = "multi_thread")]
async fn chats() -> Result<()> {
    let config = MediaConfig {
        shards: 1,
        pin: false,
        port: 0,
        bind: vec![Ipv4Addr::LOCALHOST.into()],
        ..MediaConfig::default()
    };
    let (plane, _events, threads) = MediaPlane::start(config)?;
    let mut chat = plane.take_chat_events().context("its events")?;
    let room: RoomName = "interop".parse()?;
    let (mut viewer, offer, channels) =
        Viewer::offer_with_channels(Codec::Vp8, Repair::Rtx, &CHANNELS).await?;
    let session = SessionId::random();
    let opened = plane
        .open(OpenSession {
            session,
            room: RoomId(1),
            role: RoleConfig::Viewer {
                choice: LayerChoice::Auto,
            },
            member: Some(Arc::new(ChatMember {
                room: room.clone(),
                user: "guest-1".to_owned(),
                name: "Guest".to_owned(),
                role: ChatRole::Guest,
                write: true,
                caption: false,
                address: Ipv4Addr::LOCALHOST.into(),
                anonymous: false,
                show: true,
            })),
            offer,
        })
        .await?;
    viewer.accept(&opened.answer).await?;
    for channel in &channels {
        let open = |event| matches!(event, DataChannelEvent::OnOpen).then_some(());
        next(channel, open).await?;
    }
    let event = timeout(PATIENCE, chat.recv()).await?.context("an event")?;
    ensure!(matches!(event, ChatEvent::Opened { .. }), "{event:?}");

    channels[0].send((&b"hello"[..]).into()).await?;
    match timeout(PATIENCE, chat.recv()).await? {
        Some(ChatEvent::Frame { bytes, .. }) => ensure!(&*bytes == b"hello", "{bytes:?}"),
        other => bail!("{other:?} instead of a frame"),
    }

    let tell = ChatCommand::Tell {
        session,
        frame: frame(1),
    };
    ensure!(plane.chat(opened.shard, tell).is_ok(), "a full queue");
    ensure!(number(&channels[0]).await? == 1);
    for n in 2..50 {
        let tick = Arc::new(Tick {
            ctl: Some(frame(n)),
            chat: Some(frame(n)),
            fx: Some(frame(n)),
            messages: 1,
        });
        let show = ChatCommand::Show {
            room: room.clone(),
            tick,
        };
        ensure!(plane.chat(opened.shard, show).is_ok(), "a full queue");
        for (channel, label) in channels.iter().zip(Channel::ALL) {
            ensure!(number(channel).await? == n, "{label:?}");
        }
    }

    let close = ChatCommand::Close { session };
    ensure!(plane.chat(opened.shard, close).is_ok(), "a full queue");
    for channel in &channels {
        let closed = |event| matches!(event, DataChannelEvent::OnClose).then_some(());
        next(channel, closed).await?;
    }
    let event = timeout(PATIENCE, chat.recv()).await?.context("an event")?;
    ensure!(matches!(event, ChatEvent::Closed { .. }), "{event:?}");
    let held = |each: fn(&lightstick_sfu::ShardStats) -> u64| each(&plane.stats()[0]);
    ensure!(held(|s| s.viewers.get()) == 1, "the session is gone too");
    ensure!(held(|s| s.chat.drop_packet.get()) == 0, "packets refused");
    viewer.close().await?;
    drop(plane);
    tokio::task::spawn_blocking(|| threads.join()).await??;
    Ok(())
}
