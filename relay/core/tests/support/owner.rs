//! A node's rooms as shards and the director would own them: hops that pass frames on, a show's state
//! and chat.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lightstick_relay_core::{Class, Event, LinkId, Local, Relay, ToRoom, Withdrawal};
use lightstick_types::{Layer, NodeId, RoomId, RoomName, TrackId};

/// A room that is open at a node.
#[derive(Debug, Default)]
pub(crate) struct Hop {
    pub(crate) below: BTreeSet<LinkId>,
    /// The links that feed it, the newest last.
    pub(crate) feeds: Vec<LinkId>,
    pub(crate) is_watched: bool,
    pub(crate) is_published: bool,
    pub(crate) is_unknown: bool,
    pub(crate) frame: Option<u64>,
    pub(crate) seen_at: Option<Instant>,
    pub(crate) longest_gap: Duration,
    pub(crate) missed: u64,
    pub(crate) show: Option<u64>,
    pub(crate) chat: BTreeMap<NodeId, u64>,
    pub(crate) answer: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Owner {
    pub(crate) hops: BTreeMap<RoomId, Hop>,
    pub(crate) ids: BTreeMap<RoomName, RoomId>,
    next: u64,
    chat: u64,
}

pub(crate) fn class(frame: u64) -> Class {
    Class::Frame {
        stream: TrackId::FIRST_VIDEO.layer(Layer::High),
        is_keyframe: frame.is_multiple_of(25),
        is_past: false,
    }
}

pub(crate) fn bytes(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes.try_into().expect("eight bytes"))
}

impl Owner {
    /// The room's id, opened if it is not yet.
    pub(crate) fn open(&mut self, relay: &mut Relay, name: &RoomName, now: Instant) -> RoomId {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        self.next += 1;
        let id = RoomId(self.next);
        self.ids.insert(name.clone(), id);
        self.hops.insert(id, Hop::default());
        let name = name.clone();
        relay
            .handle_local(id, Local::Open { name }, now)
            .expect("a new id");
        id
    }

    pub(crate) fn hop(&self, name: &RoomName) -> Option<&Hop> {
        self.hops.get(self.ids.get(name)?)
    }

    pub(crate) fn watch(&mut self, relay: &mut Relay, name: &RoomName, watch: bool, now: Instant) {
        let id = self.open(relay, name, now);
        let hop = self.hops.get_mut(&id).expect("opened");
        if std::mem::replace(&mut hop.is_watched, watch) == watch {
            return;
        }
        (hop.seen_at, hop.is_unknown) = (None, false);
        let local = match watch {
            true => Local::Watch,
            false => Local::Unwatch,
        };
        relay.handle_local(id, local, now).expect("it is open");
    }

    pub(crate) fn publish(
        &mut self,
        relay: &mut Relay,
        name: &RoomName,
        epoch: Option<u64>,
        now: Instant,
    ) {
        let id = self.open(relay, name, now);
        let hop = self.hops.get_mut(&id).expect("opened");
        hop.is_published = epoch.is_some();
        let local = epoch.map_or(Local::Unpublish, |epoch| Local::Publish { epoch });
        relay.handle_local(id, local, now).expect("it is open");
        if epoch.is_none() && !hop.is_watched {
            self.close(relay, id, now);
        }
    }

    fn close(&mut self, relay: &mut Relay, id: RoomId, now: Instant) {
        relay
            .handle_local(id, Local::Close, now)
            .expect("it is open");
        self.hops.remove(&id);
        self.ids.retain(|_, known| *known != id);
    }

    pub(crate) fn handle_event(&mut self, relay: &mut Relay, event: &Event, now: Instant) {
        if let Event::RoomNeeded { name } = event {
            assert!(!self.ids.contains_key(name), "{name} is open");
            self.open(relay, name, now);
        }
    }

    pub(crate) fn handle_message(
        &mut self,
        relay: &mut Relay,
        id: RoomId,
        message: ToRoom,
        now: Instant,
    ) {
        // What was said before the room was closed.
        let Some(hop) = self.hops.get_mut(&id) else {
            return;
        };
        match message {
            ToRoom::Subscribed { link, .. } => assert!(hop.below.insert(link), "twice"),
            ToRoom::Unsubscribed { link } => assert!(hop.below.remove(&link), "never"),
            ToRoom::FeedStarted { link } => {
                hop.feeds.retain(|known| *known != link);
                hop.feeds.push(link);
                hop.is_unknown = false;
                assert!(hop.feeds.len() <= 2, "{:?}", hop.feeds);
            }
            ToRoom::FeedEnded { link } => {
                assert!(hop.feeds.contains(&link), "{link:?} of {:?}", hop.feeds);
                hop.feeds.retain(|known| *known != link);
            }
            ToRoom::Unknown | ToRoom::Withdrawn(Withdrawal::Ended | Withdrawal::Unreachable) => {
                hop.is_unknown = true;
            }
            ToRoom::Idle => {
                assert!(hop.below.is_empty() && hop.feeds.is_empty() && !hop.is_watched);
                if !hop.is_published {
                    self.close(relay, id, now);
                }
            }
            ToRoom::Down {
                link,
                class,
                payload,
            } => {
                assert!(hop.feeds.contains(&link), "{link:?} feeds nothing");
                if let Class::Frame { .. } = class {
                    self.pass_on(relay, id, number(&payload), now);
                }
            }
            ToRoom::Show { version, .. } => {
                assert!(Some(version) >= hop.show, "{version} after {:?}", hop.show);
                hop.show = Some(version);
            }
            ToRoom::ChatUp { from, payload } => {
                let (last, number) = (hop.chat.get(&from), number(&payload));
                if last.is_some_and(|last| *last >= number) {
                    // It has come the way that was taken before.
                    return;
                }
                hop.chat.insert(from, number);
                let to = Some(from);
                let answer = Local::ChatDown { to, payload };
                // The way back may be gone.
                let _ = relay.handle_local(id, answer, now);
            }
            ToRoom::ChatDown { payload } => {
                let number = number(&payload);
                assert!(number > hop.answer, "answers out of order");
                hop.answer = number;
            }
            ToRoom::Up { .. } | ToRoom::Superseded(_) | ToRoom::Held { .. } => {}
        }
    }

    /// A frame goes to every hop below, once.
    pub(crate) fn pass_on(&mut self, relay: &mut Relay, id: RoomId, frame: u64, now: Instant) {
        let hop = self.hops.get_mut(&id).expect("it is open");
        if hop.frame.is_some_and(|last| last >= frame) {
            return;
        }
        if let (Some(last), Some(at)) = (hop.frame, hop.seen_at) {
            hop.longest_gap = hop.longest_gap.max(now - at);
            hop.missed += frame - last - 1;
        }
        (hop.frame, hop.seen_at) = (Some(frame), Some(now));
        for to in hop.below.clone() {
            let (class, payload) = (class(frame), bytes(frame));
            let down = Local::Down { to, class, payload };
            // The subscription may have ended meanwhile.
            let _ = relay.handle_local(id, down, now);
        }
    }

    /// Somebody at this node says something.
    pub(crate) fn chat(&mut self, relay: &mut Relay, name: &RoomName, now: Instant) {
        if let Some(id) = self.ids.get(name) {
            self.chat += 1;
            // There may be no feed.
            let _ = relay.handle_local(*id, Local::ChatUp(bytes(self.chat)), now);
        }
    }
}
