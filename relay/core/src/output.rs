//! What a relay is told by its own node, and what it wants done.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lightstick_types::{NodeId, NodeIdentity, RoomId, RoomName, StreamId};

use crate::close::CloseReason;
use crate::envelope::{Channel, Class, Flow, Priority};
use crate::message::{Message, Withdrawal};
use crate::route::RoomSource;
use crate::tally::Tally;

/// A link to another node, as the carrier numbers its connections. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u32);

/// Which end of a link has dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// This node: the other end is its parent.
    ToParent,
    /// The other end, which is a child of this node.
    ToChild,
}

/// Something to do, by [`Relay::poll`](crate::Relay::poll).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    Send(Send),
    /// Close the connection. The relay has forgotten the link; [`Event::LinkClosed`] tells the same to
    /// those that only watch.
    Close {
        link: LinkId,
        reason: CloseReason,
    },
    /// For whoever has opened the room.
    ToRoom {
        room: RoomId,
        message: ToRoom,
    },
    Event(Event),
}

/// Bytes for the other end of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Send {
    pub link: LinkId,
    pub channel: Channel,
    pub priority: Priority,
    /// What is not written by then is dropped, and its stream reset.
    pub deadline: Option<Instant>,
    /// Of frames: what supersedes what.
    pub flow: Option<Flow>,
    pub is_keyframe: bool,
    /// The envelope, or the whole of a message.
    pub head: Bytes,
    /// The payload, as it was given.
    pub body: Bytes,
}

impl Send {
    /// Bytes of the message.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no message is empty")]
    pub fn len(&self) -> usize {
        self.head.len() + self.body.len()
    }

    /// The message in one piece, copied where it is of two.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        match self.body.is_empty() {
            true => self.head.clone(),
            false => [&self.head[..], &self.body].concat().into(),
        }
    }

    /// Whether this frame, if it is not written yet, is of no use once `newer` was sent.
    #[must_use]
    pub fn is_superseded_by(&self, newer: &Self) -> bool {
        newer.is_keyframe && self.flow.is_some() && self.flow == newer.flow
    }
}

/// For the owner of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToRoom {
    /// The room is subscribed to over this link, which feeds it from now on. One that did before goes on
    /// until [`FeedEnded`](Self::FeedEnded), so that media of both come for a while.
    FeedStarted { link: LinkId },
    /// Nothing comes over this link any more.
    FeedEnded { link: LinkId },
    /// No node above knows of the room. [`FeedStarted`](Self::FeedStarted) says when it begins.
    Unknown,
    /// The room has ended at its origin, or cannot be reached any more.
    Withdrawn(Withdrawal),
    /// Another node claims the room under a higher epoch, or under the same one and counts more: all
    /// others take it as the origin.
    Superseded(RoomSource),
    /// A node below gets the room from here.
    Subscribed { link: LinkId, resume: Bytes },
    /// It does not any more.
    Unsubscribed { link: LinkId },
    /// No node below and nobody here has wanted the room for a while. It may be closed.
    Idle,
    /// Media of the hop above.
    Down {
        link: LinkId,
        class: Class,
        payload: Bytes,
    },
    /// What a hop below asks for.
    Up { link: LinkId, payload: Bytes },
    /// The link is full: frames of this stream are dropped on their way to the hop below, up to a
    /// keyframe that the link has room for.
    Held { link: LinkId, stream: StreamId },
    /// The newest state of the show.
    Show { version: u64, state: Bytes },
    /// At the origin: chat of a node, or of one of those below it.
    ChatUp { from: NodeId, payload: Bytes },
    /// Chat of the origin.
    ChatDown { payload: Bytes },
}

/// For the node as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The hellos were exchanged.
    LinkUp {
        link: LinkId,
        id: NodeId,
        node: NodeIdentity,
    },
    /// Nothing has been heard for [`SUSPECT_AFTER`](crate::limits::SUSPECT_AFTER).
    LinkSuspect { link: LinkId },
    /// Something has been heard again.
    LinkRecovered { link: LinkId },
    /// The other end says that it will leave.
    LinkDraining { link: LinkId, after: Duration },
    /// `None`: the connection was lost.
    LinkClosed {
        link: LinkId,
        reason: Option<CloseReason>,
    },
    /// A node below subscribes to a room that nobody has opened here: open it
    /// ([`Local::Open`]), or refuse ([`Relay::refuse_room`](crate::Relay::refuse_room)).
    RoomNeeded { name: RoomName },
    /// Another node is the origin of this room.
    RoomAnnounced { name: RoomName, source: RoomSource },
    /// No other node is.
    RoomWithdrawn { name: RoomName, reason: Withdrawal },
    /// This node drains, and no node below gets anything from it any more.
    Drained,
}

/// What the owner of a room tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Local {
    /// The room has this id here from now on.
    Open { name: RoomName },
    /// The room's id is forgotten: nothing more is wanted or given.
    Close,
    /// The room's publisher is at this node, under this epoch.
    Publish { epoch: u64 },
    /// The show has ended, or its publisher goes elsewhere.
    Unpublish,
    /// Somebody here wants the room's media.
    Watch,
    /// Nobody here does. The subscription goes on for a while, [`RelayConfig::linger`](crate::RelayConfig).
    Unwatch,
    /// Where another link would have to go on, at most [`RESUME_MAX`](crate::limits::RESUME_MAX) bytes.
    /// The last one is sent with each subscription.
    Resume(Bytes),
    /// To the hop above.
    Up(Bytes),
    /// To a hop below.
    Down {
        to: LinkId,
        class: Class,
        payload: Bytes,
    },
    /// At the origin: the show's state. A version that is not higher than the last one is left out.
    Show { version: u64, state: Bytes },
    /// To the room's origin.
    ChatUp(Bytes),
    /// At the origin: to one node, or to all that have subscribed.
    ChatDown { to: Option<NodeId>, payload: Bytes },
}

/// Why what an owner tells is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocalError {
    #[error("no such room is open")]
    NoSuchRoom,
    #[error("the room is open under another id, or the id is another room's")]
    AlreadyOpen,
    #[error("the room is not published here")]
    NotPublished,
    #[error("nothing feeds the room")]
    NoFeed,
    #[error("nobody subscribes over this link")]
    NotSubscribed,
    #[error("the payload is too long")]
    TooLong,
    #[error("the link has too much to send")]
    Busy,
}

/// Outputs in their order, and counts.
#[derive(Debug, Default)]
pub(crate) struct Out {
    pub(crate) queue: VecDeque<Output>,
    pub(crate) tally: Tally,
}

impl Out {
    pub(crate) fn event(&mut self, event: Event) {
        self.queue.push_back(Output::Event(event));
    }

    /// To the owner, if there is one.
    pub(crate) fn tell(&mut self, room: Option<RoomId>, message: ToRoom) {
        if let Some(room) = room {
            self.queue.push_back(Output::ToRoom { room, message });
        }
    }

    pub(crate) fn control(&mut self, link: LinkId, message: &Message) {
        let priority = match message {
            Message::ChatUp { .. } | Message::ChatDown { .. } => Priority::Chat,
            _ => Priority::Control,
        };
        self.queue.push_back(Output::Send(Send {
            link,
            channel: Channel::Control,
            priority,
            deadline: None,
            flow: None,
            is_keyframe: false,
            head: message.encode(),
            body: Bytes::new(),
        }));
    }

    pub(crate) fn close(&mut self, link: LinkId, reason: CloseReason) {
        self.tally.add_closed(reason);
        self.queue.push_back(Output::Close { link, reason });
        let reason = Some(reason);
        self.event(Event::LinkClosed { link, reason });
    }
}
