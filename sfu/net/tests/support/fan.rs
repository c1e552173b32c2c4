//! A client with a member's chat channels.

use std::net::Ipv4Addr;
use std::sync::Arc;

use lightstick_chat_proto::{Effects, Part, Pong, ServerFrame, part};
use lightstick_chat_wire::{Channel, Frame, Tick};
use lightstick_sfu::{ChatCommand, ChatEvent, OpenSession, RoleConfig};
use lightstick_types::{ChatMember, ChatRole, LayerChoice, RoomId, RoomName, SessionId, ShardId};
use prost::Message as _;
use str0m::channel::{ChannelConfig, ChannelId, Reliability};
use str0m::media::Direction;

use super::plane::Plane;
use super::{Client, Seen};

pub(crate) struct Fan {
    pub(crate) client: Client,
    pub(crate) session: SessionId,
    pub(crate) shard: ShardId,
}

/// The name of a room.
pub(crate) fn room(id: u64) -> RoomName {
    format!("room-{id}").parse().expect("a room name")
}

/// How clients open a channel of ours.
pub(crate) fn config(channel: Channel) -> ChannelConfig {
    ChannelConfig {
        label: channel.label().to_owned(),
        ordered: channel == Channel::Ctl,
        reliability: match channel {
            Channel::Fx => Reliability::MaxRetransmits { retransmits: 0 },
            Channel::Ctl | Channel::Chat => Reliability::Reliable,
        },
        ..ChannelConfig::default()
    }
}

fn member(id: u64) -> Arc<ChatMember> {
    Arc::new(ChatMember {
        room: room(id),
        user: "mina".to_owned(),
        name: "Mina".to_owned(),
        role: ChatRole::Guest,
        write: true,
        caption: false,
        address: Ipv4Addr::LOCALHOST.into(),
        anonymous: false,
        show: true,
    })
}

/// A frame with a number, filled up to about a length.
pub(crate) fn frame(number: u64, bytes: usize) -> Frame {
    let filler = Effects {
        names: vec!["x".repeat(bytes)],
        ..Effects::default()
    };
    let pong = part::Part::Pong(Pong { number });
    let filler = (bytes > 0).then_some(part::Part::Effects(filler));
    Frame::new([pong].into_iter().chain(filler))
}

/// A tick with a frame on each channel, of the same number.
pub(crate) fn tick(number: u64, chat_bytes: usize) -> Arc<Tick> {
    Arc::new(Tick {
        ctl: Some(frame(number, 0)),
        chat: Some(frame(number, chat_bytes)),
        fx: Some(frame(number, 0)),
        messages: 1,
    })
}

/// The numbers and gaps in frames.
pub(crate) fn numbers(parts: &[part::Part]) -> Vec<u64> {
    let number = |part: &part::Part| match part {
        part::Part::Pong(pong) => Some(pong.number),
        _ => None,
    };
    parts.iter().filter_map(number).collect()
}

impl Fan {
    /// A connected viewer or publisher whose `ctl` channel is open, and those others.
    pub(crate) fn join(plane: &mut Plane, id: u64, role: RoleConfig, channels: &[Channel]) -> Self {
        let mut fan = Self::offered(plane, id, role, channels, true);
        let open = fan.client.channels.len();
        fan.client.until("its channels", |client| {
            let opened = |seen: &&Seen| matches!(seen, Seen::Opened(_));
            client.seen.iter().filter(opened).count() == open
        });
        match plane.chat_event("its opening") {
            ChatEvent::Opened {
                shard,
                session,
                member: opened,
            } => {
                assert_eq!((shard, session), (fan.shard, fan.session));
                assert_eq!(opened, member(id));
            }
            other => panic!("{other:?} instead of its opening"),
        }
        fan
    }

    pub(crate) fn viewer(plane: &mut Plane, id: u64, channels: &[Channel]) -> Self {
        let choice = LayerChoice::Auto;
        Self::join(plane, id, RoleConfig::Viewer { choice }, channels)
    }

    /// A client that was answered and no more.
    pub(crate) fn offered(
        plane: &Plane,
        id: u64,
        role: RoleConfig,
        channels: &[Channel],
        is_member: bool,
    ) -> Self {
        let direction = match role {
            RoleConfig::Publisher { .. } => Direction::SendOnly,
            RoleConfig::Viewer { .. } => Direction::RecvOnly,
        };
        let configs: Vec<ChannelConfig> = channels.iter().copied().map(config).collect();
        let (mut client, offer) = Client::offer_with(direction, &configs);
        let session = SessionId::random();
        let request = OpenSession {
            session,
            room: RoomId(id),
            role,
            member: is_member.then(|| member(id)),
            offer,
        };
        let opened = plane.runtime.block_on(plane.plane().open(request));
        let opened = opened.expect("an answer");
        assert_eq!(
            opened.answer.contains("a=max-message-size:16384\r\n"),
            !channels.is_empty(),
            "{}",
            opened.answer
        );
        client.answer(&opened.answer);
        Self {
            client,
            session,
            shard: opened.shard,
        }
    }

    /// Opens one more channel.
    pub(crate) fn open(&mut self, config: ChannelConfig) -> ChannelId {
        self.client.rtc.direct_api().create_data_channel(config)
    }

    /// Writes on its first channel, which is `ctl`.
    pub(crate) fn write(&mut self, binary: bool, bytes: &[u8]) {
        let id = self.client.channels[0];
        let mut channel = self.client.rtc.channel(id).expect("an open channel");
        assert!(channel.write(binary, bytes).expect("a sound channel"));
    }

    /// Reads until `done` says that the parts that came on a channel are enough.
    pub(crate) fn parts_until(
        &mut self,
        what: &str,
        id: ChannelId,
        mut done: impl FnMut(&[part::Part]) -> bool,
    ) -> Vec<part::Part> {
        let mut parts = Vec::new();
        self.client.until(what, |client| {
            parts.extend(take_parts(client, id));
            done(&parts)
        });
        parts
    }

    /// What the plane's next event about this fan says it wrote.
    pub(crate) fn frame(&self, plane: &mut Plane) -> Vec<u8> {
        match plane.chat_event("a frame") {
            ChatEvent::Frame {
                shard,
                session,
                bytes,
            } => {
                assert_eq!((shard, session), (self.shard, self.session));
                bytes.into()
            }
            other => panic!("{other:?} instead of a frame"),
        }
    }

    pub(crate) fn tell(&self, plane: &Plane, frame: Frame) {
        let session = self.session;
        let told = plane
            .plane()
            .chat(self.shard, ChatCommand::Tell { session, frame });
        told.expect("room in the queue");
    }
}

/// Takes what came on a channel out of what a client has seen.
fn take_parts(client: &mut Client, id: ChannelId) -> Vec<part::Part> {
    let (data, rest) = std::mem::take(&mut client.seen)
        .into_iter()
        .partition(|seen| matches!(seen, Seen::Data(data) if data.id == id));
    client.seen = rest;
    let data: Vec<Seen> = data;
    let mut parts = Vec::new();
    for seen in data {
        let Seen::Data(data) = seen else { continue };
        assert!(data.binary, "protobuf is binary");
        let frame = ServerFrame::decode(&*data.data).expect("a frame");
        parts.extend(frame.parts.into_iter().filter_map(|Part { part }| part));
    }
    parts
}

impl Plane {
    /// Shows a room's members a tick, on all shards.
    pub(crate) fn show(&self, id: u64, tick: &Arc<Tick>) {
        for shard in self.plane().shards() {
            let shown = self.plane().chat(
                shard,
                ChatCommand::Show {
                    room: room(id),
                    tick: Arc::clone(tick),
                },
            );
            shown.expect("room in the queue");
        }
    }
}
