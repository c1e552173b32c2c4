use crossbeam_channel::{Sender, bounded};
use lightstick_chat_wire::{REQUEST_BYTES_MAX, Tick};
use tokio::sync::mpsc::Receiver as Events;

use super::*;
use crate::session::Shared;
use crate::testing::{VIEWER, member, opening, session, shared};

const SHARD: ShardId = ShardId(3);

/// A shard's chat without the shard.
struct Here {
    shared: Shared,
    sessions: Sessions,
    stats: ShardStats,
    outbox: ChatOutbox,
    commands: Sender<ChatCommand>,
    events: Events<ChatEvent>,
    now: Instant,
}

impl Here {
    fn new(events_max: usize) -> Self {
        let now = Instant::now();
        let (commands, inbox) = bounded(64);
        let (sender, events) = mpsc::channel(events_max);
        Self {
            shared: shared(),
            sessions: Sessions::new(now),
            stats: ShardStats::default(),
            outbox: ChatOutbox::new(SHARD, inbox, Arc::default(), sender),
            commands,
            events,
            now,
        }
    }

    fn join(&mut self, is_member: bool) -> u32 {
        let key = self.sessions.next_key();
        let opening = opening(VIEWER, is_member.then(member));
        self.sessions.insert(session(key, *opening, &self.shared));
        key
    }

    fn id(&self, key: u32) -> SessionId {
        self.sessions.get(key).expect("a session").id
    }

    fn with<T>(&mut self, act: impl FnOnce(&mut ChatOutbox, &mut ChatTurn<'_>) -> T) -> T {
        let mut turn = ChatTurn {
            sessions: &mut self.sessions,
            stats: &self.stats,
            now: self.now,
        };
        act(&mut self.outbox, &mut turn)
    }

    /// A channel of this label has opened.
    fn open(&mut self, key: u32, label: &str) -> ChannelId {
        let session = self.sessions.get_mut(key).expect("a session");
        let mut api = session.connection.rtc.direct_api();
        let id = api.create_data_channel(str0m::channel::ChannelConfig::default());
        let opened = ChannelEvent::Opened(id, label.to_owned());
        self.with(|outbox, turn| outbox.handle_event(key, opened, turn));
        id
    }

    fn write(&mut self, key: u32, id: ChannelId, bytes: usize) {
        let data = ChannelEvent::Data(ChannelData {
            id,
            binary: true,
            data: vec![1; bytes],
        });
        self.with(|outbox, turn| outbox.handle_event(key, data, turn));
    }

    fn close(&mut self, key: u32, id: ChannelId) {
        let closed = ChannelEvent::Closed(id);
        self.with(|outbox, turn| outbox.handle_event(key, closed, turn));
    }

    fn show(&mut self) {
        let tick = Tick {
            ctl: None,
            chat: Some(Frame::new([])),
            fx: None,
            messages: 1,
        };
        let room = member().room;
        let show = ChatCommand::Show {
            room,
            tick: Arc::new(tick),
        };
        self.commands.send(show).expect("room in the queue");
    }

    fn work(&mut self) -> Worked {
        self.with(|outbox, turn| outbox.work(turn))
    }

    /// What is done until nothing is left to do.
    fn rest(&mut self) -> Vec<Worked> {
        std::iter::from_fn(|| Some(self.work()).filter(|worked| *worked != Worked::Idle)).collect()
    }

    /// The next event, in a word, and whose.
    fn event(&mut self) -> Option<(&'static str, SessionId)> {
        let (shard, event, session) = match self.events.try_recv().ok()? {
            ChatEvent::Opened { shard, session, .. } => (shard, "opened", session),
            ChatEvent::Frame { shard, session, .. } => (shard, "frame", session),
            ChatEvent::Refused { shard, session, .. } => (shard, "refused", session),
            ChatEvent::Resync { shard, session } => (shard, "resync", session),
            ChatEvent::Closed { shard, session } => (shard, "closed", session),
        };
        assert_eq!(shard, SHARD);
        Some((event, session))
    }
}

#[test]
fn a_member_comes_writes_and_goes() {
    let mut here = Here::new(8);
    let key = here.join(true);
    let id = here.id(key);
    let ctl = here.open(key, "ctl");
    assert_eq!(here.event(), Some(("opened", id)));
    assert_eq!(here.stats.chat.members.get(), 1);
    assert_eq!(here.sessions.next_dirty(), Some(key), "it has to be polled");
    here.write(key, ctl, 10);
    assert_eq!(here.event(), Some(("frame", id)));
    here.write(key, ctl, REQUEST_BYTES_MAX + 1);
    assert_eq!(here.event(), Some(("refused", id)));
    let counts = &here.stats.chat;
    assert_eq!((counts.frames_in.get(), counts.bytes_in.get()), (1, 10));
    assert_eq!(counts.drop_oversize.get(), 1);
    // A second channel of the same label takes the first one's place.
    let again = here.open(key, "ctl");
    assert_eq!(here.event(), Some(("closed", id)));
    assert_eq!(here.event(), Some(("opened", id)));
    here.close(key, ctl);
    assert_eq!(here.event(), None, "it is the old one's");
    here.close(key, again);
    assert_eq!(here.event(), Some(("closed", id)));
    let counts = &here.stats.chat;
    assert_eq!(counts.members.get(), 0);
    assert_eq!(counts.channels.iter().map(|c| c.get()).sum::<u64>(), 0);
    here.outbox.count_held(&here.stats);
    assert_eq!(here.stats.held_chat_rooms.get(), 0);
}

#[test]
fn whoever_is_no_member_has_no_channels() {
    let mut here = Here::new(8);
    let key = here.join(false);
    let id = here.open(key, "ctl");
    here.write(key, id, 10);
    assert_eq!(here.event(), None);
    assert_eq!(here.stats.chat.channels_ignored.get(), 1);
    assert_eq!(here.stats.chat.drop_stray.get(), 1);
    let member = here.join(true);
    here.open(member, "no such label");
    assert_eq!(here.event(), None);
    assert_eq!(here.stats.chat.channels_refused.get(), 1);
}

#[test]
fn while_the_chat_is_behind_frames_are_dropped_and_ends_wait() {
    let mut here = Here::new(1);
    let key = here.join(true);
    let id = here.id(key);
    let ctl = here.open(key, "ctl");
    here.write(key, ctl, 10);
    here.close(key, ctl);
    assert_eq!(here.stats.chat.drop_queue.get(), 1);
    assert_eq!(here.event(), Some(("opened", id)));
    assert_eq!(here.event(), None, "nobody has flushed");
    here.outbox.flush();
    assert_eq!(here.event(), Some(("closed", id)));
    assert_eq!(here.event(), None);
}

#[test]
fn commands_and_members_take_turns() {
    let mut here = Here::new(64);
    let members: Vec<u32> = (0..3).map(|_| here.join(true)).collect();
    for key in &members {
        here.open(*key, "ctl");
    }
    for _ in 0..=RUN {
        here.show();
    }
    assert!(here.outbox.begin_slice());
    let worked: Vec<Worked> = (0..RUN).map(|_| here.work()).collect();
    assert_eq!(worked, [Worked::Done; RUN]);
    let wrote: Vec<Worked> = (0..3).map(|_| here.work()).collect();
    for key in &members {
        assert!(wrote.contains(&Worked::Wrote(*key)), "{wrote:?}");
    }
    // The last command comes in its turn, and all are visited again.
    let rest = here.rest();
    for key in &members {
        assert!(rest.contains(&Worked::Wrote(*key)), "{rest:?}");
    }
    assert!(!here.outbox.has_more() && !here.outbox.begin_slice());
}

#[test]
fn whoever_takes_the_place_of_one_who_left_is_shown_what_comes() {
    let mut here = Here::new(64);
    let members: Vec<u32> = (0..3).map(|_| here.join(true)).collect();
    for key in &members {
        here.open(*key, "ctl");
    }
    let (mut gone, _) = here.sessions.remove(members[0]).expect("a session");
    here.with(|outbox, turn| outbox.end(&mut gone, turn));
    assert_eq!(here.stats.chat.members.get(), 2);
    here.show();
    let rest = here.rest();
    let mut wrote: Vec<u32> = rest
        .iter()
        .filter_map(|worked| match worked {
            Worked::Wrote(key) => Some(*key),
            Worked::Idle | Worked::Done => None,
        })
        .collect();
    wrote.sort_unstable();
    assert_eq!(wrote, members[1..]);
    // The moved one leaves from its new place.
    let (mut gone, _) = here.sessions.remove(members[2]).expect("a session");
    here.with(|outbox, turn| outbox.end(&mut gone, turn));
    here.show();
    assert_eq!(here.rest(), [Worked::Done, Worked::Wrote(members[1])]);
}

#[test]
fn a_command_concerns_its_session_alone() {
    let mut here = Here::new(8);
    let key = here.join(true);
    let session = here.id(key);
    here.open(key, "ctl");
    let frame = Frame::new([]);
    for command in [
        ChatCommand::Tell {
            session: SessionId::random(),
            frame: frame.clone(),
        },
        ChatCommand::Close {
            session: SessionId::random(),
        },
    ] {
        here.commands.send(command).expect("room in the queue");
        assert_eq!(here.work(), Worked::Done);
    }
    here.commands
        .send(ChatCommand::Tell { session, frame })
        .expect("room in the queue");
    assert_eq!(here.work(), Worked::Wrote(key));
    here.commands
        .send(ChatCommand::Close { session })
        .expect("room in the queue");
    assert_eq!(here.work(), Worked::Wrote(key));
}
