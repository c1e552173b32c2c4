//! The order of what a room shows, and its recent past.
//!
//! Every entry gets the next offset. The ring keeps entries encoded, so that whoever comes back
//! is served by copying; a deleted message is replaced there, and nobody is sent it again.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use lightstick_chat_proto::{Entry, Position, Removed, entry};
use lightstick_chat_wire::Frame;
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

/// Entries of one room, oldest first.
#[derive(Debug)]
pub(crate) struct Stream {
    epoch: u64,
    next: u64,
    ring: VecDeque<Slot>,
    entries_max: usize,
    removed: Bytes,
    /// Rises with every change.
    version: u64,
    /// Whoever comes back after the same fault asks from the same place.
    recovery: Option<(Position, u64, Frame)>,
}

#[derive(Debug)]
struct Slot {
    /// The message's id; 0: no message.
    id: u64,
    user: Arc<str>,
    entry: Bytes,
}

impl Stream {
    pub(crate) fn new(epoch: u64, entries_max: usize) -> Self {
        let removed = Entry {
            entry: Some(entry::Entry::Removed(Removed {})),
        };
        Self {
            epoch,
            next: 1,
            ring: VecDeque::new(),
            entries_max,
            removed: removed.encode_to_vec().into(),
            version: 0,
            recovery: None,
        }
    }

    /// A number that differs after every change.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// The place of the last entry.
    pub(crate) fn position(&self) -> Position {
        Position {
            epoch: self.epoch,
            offset: self.next - 1,
        }
    }

    /// Appends what is encoded already. Returns its offset.
    pub(crate) fn push(&mut self, entry: Bytes, id: u64, user: &Arc<str>) -> u64 {
        if self.ring.len() == self.entries_max {
            self.ring.pop_front();
        }
        self.ring.push_back(Slot {
            id,
            user: Arc::clone(user),
            entry,
        });
        self.version += 1;
        self.next += 1;
        self.next - 1
    }

    /// Forgets the text of messages. Returns the ids of those that were there.
    pub(crate) fn remove(&mut self, gone: impl Fn(u64, &str) -> bool) -> Vec<u64> {
        let mut ids = Vec::new();
        for slot in &mut self.ring {
            if slot.id != 0 && gone(slot.id, &slot.user) {
                ids.push(slot.id);
                slot.id = 0;
                slot.entry = self.removed.clone();
            }
        }
        if !ids.is_empty() {
            self.version += 1;
        }
        ids
    }

    /// How many messages are still here of those that are asked for.
    pub(crate) fn count(&self, wanted: impl Fn(u64, &str) -> bool) -> usize {
        let slots = self.ring.iter();
        slots
            .filter(|slot| slot.id != 0 && wanted(slot.id, &slot.user))
            .count()
    }

    /// Who wrote a message that is still here.
    pub(crate) fn author(&self, id: u64) -> Option<&Arc<str>> {
        let slot = self.ring.iter().rev().find(|slot| slot.id == id)?;
        Some(&slot.user)
    }

    /// A message that is still here.
    pub(crate) fn message(&self, id: u64) -> Option<lightstick_chat_proto::Message> {
        let slot = self
            .ring
            .iter()
            .rev()
            .find(|slot| slot.id == id && id != 0)?;
        match Entry::decode(slot.entry.clone()).ok()?.entry? {
            entry::Entry::Message(message) => Some(message),
            _ => None,
        }
    }

    /// The last messages that are still here, oldest first.
    pub(crate) fn last_messages(&self, max: usize) -> Vec<lightstick_chat_proto::Message> {
        let slots = self.ring.iter().rev().filter(|slot| slot.id != 0);
        let mut messages: Vec<_> = slots
            .filter_map(
                |slot| match Entry::decode(slot.entry.clone()).ok()?.entry? {
                    entry::Entry::Message(message) => Some(message),
                    _ => None,
                },
            )
            .take(max)
            .collect();
        messages.reverse();
        messages
    }

    /// All that was shown after a place; `None` where not all of it is here, or it is longer than
    /// `bytes_max`.
    pub(crate) fn recover(&mut self, position: Position, bytes_max: usize) -> Option<Frame> {
        if let Some((known, version, frame)) = &self.recovery
            && (known, *version) == (&position, self.version)
        {
            return Some(frame.clone());
        }
        let frame = self.since(position)?;
        if frame.len() > bytes_max {
            return None;
        }
        self.recovery = Some((position, self.version, frame.clone()));
        Some(frame)
    }

    /// All that was shown after a place, or `None` where not all of it is here.
    fn since(&self, position: Position) -> Option<Frame> {
        let first = self.next - self.ring.len() as u64;
        let known = position.epoch == self.epoch
            && position.offset < self.next
            && position.offset + 1 >= first;
        if !known {
            return None;
        }
        let skip = (position.offset + 1 - first) as usize;
        let entries = self.ring.iter().skip(skip).map(|slot| &slot.entry);
        Some(batch(position.offset + 1, entries, 0))
    }
}

/// A frame with one batch of entries that are encoded already.
pub(crate) fn batch<'a>(
    first_offset: u64,
    entries: impl Iterator<Item = &'a Bytes> + Clone,
    skipped: u32,
) -> Frame {
    // The fields of `ServerFrame`, `Part` and `Batch`, by their numbers in chat.proto.
    const PARTS: u32 = 1;
    const BATCH: u32 = 3;
    const FIRST_OFFSET: u32 = 1;
    const ENTRIES: u32 = 2;
    const SKIPPED: u32 = 3;
    // All keys here take one byte.
    let nested = |len: usize| 1 + encoded_len_varint(len as u64) + len;
    let number = |value: u64| {
        if value == 0 {
            0
        } else {
            1 + encoded_len_varint(value)
        }
    };
    let inner: usize = entries
        .clone()
        .map(|entry| nested(entry.len()))
        .sum::<usize>()
        + number(first_offset)
        + number(skipped.into());
    let mut out = BytesMut::with_capacity(nested(nested(inner)));
    encode_key(PARTS, WireType::LengthDelimited, &mut out);
    encode_varint(nested(inner) as u64, &mut out);
    encode_key(BATCH, WireType::LengthDelimited, &mut out);
    encode_varint(inner as u64, &mut out);
    if first_offset != 0 {
        encode_key(FIRST_OFFSET, WireType::Varint, &mut out);
        encode_varint(first_offset, &mut out);
    }
    for entry in entries {
        encode_key(ENTRIES, WireType::LengthDelimited, &mut out);
        encode_varint(entry.len() as u64, &mut out);
        out.put_slice(entry);
    }
    if skipped != 0 {
        encode_key(SKIPPED, WireType::Varint, &mut out);
        encode_varint(skipped.into(), &mut out);
    }
    Frame::encoded(out.freeze())
}

#[cfg(test)]
mod tests {
    use lightstick_chat_proto::{Batch, Message, Part, ServerFrame, part};

    use super::*;

    fn entry(id: u64) -> Entry {
        Entry {
            entry: Some(entry::Entry::Message(Message {
                id,
                text: format!("message {id}"),
                ..Message::default()
            })),
        }
    }

    fn filled(count: u64, entries_max: usize) -> Stream {
        let mut stream = Stream::new(9, entries_max);
        for id in 1..=count {
            let user = format!("user-{}", id % 3).into();
            stream.push(entry(id).encode_to_vec().into(), id, &user);
        }
        stream
    }

    fn read(frame: &Frame) -> Vec<(u64, Option<entry::Entry>)> {
        let frame = ServerFrame::decode(frame.proto().clone()).unwrap();
        let mut all = Vec::new();
        for Part { part } in frame.parts {
            let Some(part::Part::Batch(batch)) = part else {
                panic!("not a batch")
            };
            let offsets = batch.first_offset..;
            all.extend(offsets.zip(batch.entries.into_iter().map(|entry| entry.entry)));
        }
        all
    }

    #[test]
    fn a_batch_is_what_prost_would_write() {
        for (first, count, skipped) in [(1, 0, 0), (1, 1, 0), (300, 3, 70_000), (0, 40, 1)] {
            let entries: Vec<Entry> = (1..=count).map(entry).collect();
            let encoded: Vec<Bytes> = entries.iter().map(|e| e.encode_to_vec().into()).collect();
            let expected = Frame::new([part::Part::Batch(Batch {
                first_offset: first,
                entries,
                skipped,
            })]);
            assert_eq!(
                batch(first, encoded.iter(), skipped).proto(),
                expected.proto()
            );
        }
    }

    #[test]
    fn recovery_is_whole_or_refused() {
        let stream = filled(10, 4);
        let at = |epoch, offset| stream.since(Position { epoch, offset });
        assert_eq!(stream.position().offset, 10);
        for (epoch, offset, expected) in [
            (9, 10, Some(vec![])),
            (9, 9, Some(vec![10])),
            (9, 6, Some(vec![7, 8, 9, 10])),
            (9, 5, None),
            (9, 0, None),
            (9, 11, None),
            (9, u64::MAX, None),
            (8, 9, None),
        ] {
            let got = at(epoch, offset).map(|frame| {
                let offsets = read(&frame).into_iter().map(|(offset, _)| offset);
                offsets.collect::<Vec<_>>()
            });
            assert_eq!(got, expected, "{epoch} {offset}");
        }
    }

    #[test]
    fn what_is_recovered_is_as_new_as_the_stream() {
        let mut stream = filled(10, 10);
        let from = Position {
            epoch: 9,
            offset: 8,
        };
        let count = |frame: Option<Frame>| read(&frame.unwrap()).len();
        assert_eq!(count(stream.recover(from, 1_000)), 2);
        stream.push(entry(11).encode_to_vec().into(), 11, &"user-2".into());
        assert_eq!(count(stream.recover(from, 1_000)), 3);
        stream.remove(|id, _| id == 11);
        let frame = stream.recover(from, 1_000).unwrap();
        let removed = Some(entry::Entry::Removed(Removed {}));
        assert_eq!(read(&frame)[2], (11, removed));
        assert!(stream.recover(from, frame.len()).is_some());
        let earlier = Position {
            epoch: 9,
            offset: 2,
        };
        assert!(stream.recover(earlier, frame.len()).is_none(), "too long");
    }

    #[test]
    fn what_is_deleted_is_never_sent_again() {
        let mut stream = filled(6, 10);
        assert_eq!(stream.remove(|id, _| id == 2), [2]);
        assert_eq!(stream.remove(|_, user| user == "user-0"), [3, 6]);
        assert_eq!(stream.remove(|id, _| id == 2), Vec::<u64>::new());
        let frame = stream
            .since(Position {
                epoch: 9,
                offset: 0,
            })
            .unwrap();
        let texts = read(&frame).into_iter().map(|(_, entry)| match entry {
            Some(entry::Entry::Message(message)) => message.text,
            Some(entry::Entry::Removed(_)) => String::new(),
            other => panic!("{other:?}"),
        });
        let texts: Vec<_> = texts.collect();
        assert_eq!(texts, ["message 1", "", "", "message 4", "message 5", ""]);
        let left: Vec<_> = stream.last_messages(2).iter().map(|m| m.id).collect();
        assert_eq!(left, [4, 5]);
        assert!(stream.message(2).is_none() && stream.message(0).is_none());
        assert_eq!(stream.author(4).map(|user| &**user), Some("user-1"));
    }
}
