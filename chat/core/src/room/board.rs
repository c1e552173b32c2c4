//! What holds in a room until somebody changes it, and how a newcomer finds it.

use std::time::{Duration, Instant};

use lightstick_chat_proto as proto;
use lightstick_chat_proto::part::Part;
use lightstick_chat_wire::{FRAME_BYTES_MAX, Frame};

use super::draft::user_of;
use crate::poll::Poll;
use crate::stream::Stream;

/// What a welcome takes beside what was missed, at most.
pub(super) const WELCOME_BYTES: usize = 1_024;
/// Highlighted messages that newcomers find on top. The oldest make room.
const HIGHLIGHTED_MAX: usize = 20;

#[derive(Debug)]
pub(super) struct Board {
    settings: proto::Settings,
    pinned: Option<proto::Message>,
    announcement: Option<proto::Announcement>,
    poll: Option<Poll>,
    /// With the time when they are taken down.
    highlighted: Vec<(Instant, proto::Message)>,
    /// What a newcomer gets, with the version of the stream that it was made from.
    snapshot: Option<(u64, Frame)>,
}

impl Board {
    pub(super) fn new(settings: proto::Settings, pinned: Option<proto::Message>) -> Self {
        Self {
            settings,
            pinned,
            announcement: None,
            poll: None,
            highlighted: Vec::new(),
            snapshot: None,
        }
    }

    pub(super) fn settings(&self) -> &proto::Settings {
        &self.settings
    }

    /// What everybody may know of the settings: the blocked terms are for moderators.
    pub(super) fn public_settings(&self) -> proto::Settings {
        proto::Settings {
            blocked_terms: Vec::new(),
            ..self.settings.clone()
        }
    }

    pub(super) fn set_settings(&mut self, settings: proto::Settings) {
        self.settings = settings;
        self.snapshot = None;
    }

    pub(super) fn pinned(&self) -> Option<&proto::Message> {
        self.pinned.as_ref()
    }

    pub(super) fn pin(&mut self, message: Option<proto::Message>) {
        self.pinned = message;
        self.snapshot = None;
    }

    pub(super) fn announcement(&self) -> Option<&proto::Announcement> {
        self.announcement.as_ref()
    }

    pub(super) fn announce(&mut self, announcement: proto::Announcement) {
        self.announcement = Some(announcement);
        self.snapshot = None;
    }

    pub(super) fn poll(&self) -> Option<&Poll> {
        self.poll.as_ref()
    }

    pub(super) fn poll_mut(&mut self) -> Option<&mut Poll> {
        self.poll.as_mut()
    }

    pub(super) fn start_poll(&mut self, poll: Poll) {
        self.poll = Some(poll);
        self.snapshot = None;
    }

    pub(super) fn end_poll(&mut self) -> Option<Poll> {
        self.snapshot = None;
        self.poll.take()
    }

    /// Keeps a message on top for a while, from the stream's next entry on.
    pub(super) fn highlight(&mut self, now: Instant, message: proto::Message, span: Duration) {
        self.highlighted.retain(|(until, _)| *until > now);
        if self.highlighted.len() == HIGHLIGHTED_MAX {
            self.highlighted.remove(0);
        }
        self.highlighted.push((now + span, message));
    }

    /// Takes messages down that are gone, by their id and user.
    pub(super) fn remove(&mut self, gone: impl Fn(u64, &str) -> bool) {
        let is_gone = |message: &proto::Message| gone(message.id, user_of(message));
        self.highlighted.retain(|(_, message)| !is_gone(message));
        if self.pinned.as_ref().is_some_and(is_gone) {
            self.pinned = None;
        }
        self.snapshot = None;
    }

    /// The room as a newcomer finds it, encoded once for all who come before it changes.
    pub(super) fn snapshot(
        &mut self,
        now: Instant,
        stream: &Stream,
        messages_max: usize,
        present: usize,
    ) -> Frame {
        if self.highlighted.iter().any(|(until, _)| *until <= now) {
            self.highlighted.retain(|(until, _)| *until > now);
            self.snapshot = None;
        }
        if let Some((version, frame)) = &self.snapshot
            && *version == stream.version()
        {
            return frame.clone();
        }
        let highlighted = self.highlighted.iter();
        let mut snapshot = proto::Snapshot {
            settings: Some(self.public_settings()),
            messages: stream.last_messages(messages_max),
            pinned: self.pinned.clone(),
            poll: self.poll.as_ref().map(|poll| poll.shown(false)),
            highlighted: highlighted.map(|(_, message)| message.clone()).collect(),
            present: present as u32,
            announcement: self.announcement.clone(),
        };
        let frame = loop {
            let frame = Frame::new([Part::Snapshot(snapshot.clone())]);
            let none = snapshot.messages.is_empty() && snapshot.highlighted.is_empty();
            if frame.len() <= FRAME_BYTES_MAX - WELCOME_BYTES || none {
                break frame;
            }
            if snapshot.messages.is_empty() {
                snapshot.highlighted.remove(0);
                continue;
            }
            // The oldest half is what a newcomer misses least.
            let half = snapshot.messages.len().div_ceil(2);
            snapshot.messages.drain(..half);
        };
        self.snapshot = Some((stream.version(), frame.clone()));
        frame
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    fn message(id: u64, text: &str) -> proto::Message {
        proto::Message {
            id,
            text: text.into(),
            ..Default::default()
        }
    }

    fn read(frame: &Frame) -> proto::Snapshot {
        let frame = proto::ServerFrame::decode(frame.proto().clone()).unwrap();
        match frame.parts.into_iter().next().unwrap().part {
            Some(Part::Snapshot(snapshot)) => snapshot,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_snapshot_is_made_again_when_something_has_changed() {
        let now = Instant::now();
        let mut stream = Stream::new(1, 10);
        let mut board = Board::new(proto::Settings::default(), None);
        let first = board.snapshot(now, &stream, 5, 1);
        let same = board.snapshot(now, &stream, 5, 2);
        assert_eq!(read(&same).present, 1, "encoded once for all");
        assert_eq!(first.proto(), same.proto());
        stream.push(bytes::Bytes::new(), 0, &"".into());
        assert_eq!(read(&board.snapshot(now, &stream, 5, 3)).present, 3);
        board.pin(Some(message(4, "pinned")));
        let pinned = |frame: &Frame| read(frame).pinned.map(|message| message.id);
        assert_eq!(pinned(&board.snapshot(now, &stream, 5, 3)), Some(4));
        board.remove(|id, _| id == 4);
        assert_eq!(pinned(&board.snapshot(now, &stream, 5, 3)), None);
    }

    #[test]
    fn highlighted_messages_come_down_by_themselves() {
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let stream = Stream::new(1, 10);
        let mut board = Board::new(proto::Settings::default(), None);
        for id in 0..=HIGHLIGHTED_MAX as u64 {
            board.highlight(now, message(id, "paid"), Duration::from_secs(10 + id));
        }
        let ids = |board: &mut Board, at| {
            let shown = read(&board.snapshot(at, &stream, 5, 0)).highlighted;
            shown.iter().map(|message| message.id).collect::<Vec<_>>()
        };
        let all: Vec<_> = (1..=HIGHLIGHTED_MAX as u64).collect();
        assert_eq!(ids(&mut board, now), all, "the oldest made room");
        assert_eq!(ids(&mut board, after(12)), all[2..]);
    }

    #[test]
    fn a_snapshot_fits_into_a_frame_with_its_welcome() {
        let now = Instant::now();
        let stream = Stream::new(1, 10);
        let mut board = Board::new(proto::Settings::default(), None);
        for id in 0..8 {
            let paid = message(id, &"x".repeat(4_000));
            board.highlight(now, paid, Duration::from_secs(60));
        }
        let frame = board.snapshot(now, &stream, 5, 0);
        assert!(frame.len() <= FRAME_BYTES_MAX - WELCOME_BYTES);
        assert_eq!(read(&frame).highlighted.last().unwrap().id, 7);
    }
}
