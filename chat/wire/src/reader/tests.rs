use lightstick_chat_proto::{Batch, Effects, Entry, Message, ServerFrame, entry};
use prost::Message as _;

use super::*;

/// A link that takes `room` bytes and sends them when told to.
#[derive(Default)]
struct Wire {
    unsent: usize,
    full: bool,
    got: Vec<(Channel, ServerFrame)>,
}

impl Link for Wire {
    fn unsent_bytes(&mut self) -> usize {
        self.unsent
    }

    fn write(&mut self, channel: Channel, frame: &Frame) -> bool {
        if self.full {
            return false;
        }
        self.unsent += frame.len();
        let read = ServerFrame::decode(frame.proto().clone()).unwrap();
        self.got.push((channel, read));
        true
    }
}

impl Wire {
    fn parts(&self) -> impl Iterator<Item = &part::Part> {
        let parts = self.got.iter().flat_map(|(_, frame)| &frame.parts);
        parts.filter_map(|part| part.part.as_ref())
    }

    /// Ids of the messages that arrived.
    fn ids(&self) -> Vec<u64> {
        let batches = self.parts().filter_map(|part| match part {
            part::Part::Batch(batch) => Some(batch),
            _ => None,
        });
        let entries = batches.flat_map(|batch| &batch.entries);
        let ids = entries.filter_map(|entry| match &entry.entry {
            Some(entry::Entry::Message(message)) => Some(message.id),
            _ => None,
        });
        ids.collect()
    }

    fn missed(&self) -> u32 {
        let gaps = self.parts().filter_map(|part| match part {
            part::Part::Gap(gap) => Some(gap.messages),
            _ => None,
        });
        gaps.sum()
    }

    fn counts(&self) -> usize {
        let effects = |part: &&part::Part| matches!(part, part::Part::Effects(_));
        self.parts().filter(effects).count()
    }
}

fn frame(id: u64, bytes: usize) -> Frame {
    let message = Message {
        id,
        text: "x".repeat(bytes),
        ..Message::default()
    };
    let entry = Entry {
        entry: Some(entry::Entry::Message(message)),
    };
    Frame::new([part::Part::Batch(Batch {
        first_offset: id,
        entries: vec![entry],
        skipped: 0,
    })])
}

fn tick(id: u64, bytes: usize) -> Tick {
    let effects = Effects {
        present: 1,
        ..Effects::default()
    };
    Tick {
        ctl: None,
        chat: Some(frame(id, bytes)),
        fx: Some(Frame::new([part::Part::Effects(effects)])),
        messages: 1,
    }
}

const TICK: Duration = Duration::from_millis(200);

#[test]
fn a_link_that_keeps_up_gets_everything_at_once() {
    let (mut reader, mut wire) = (Reader::default(), Wire::default());
    let now = Instant::now();
    for id in 1..=3 {
        let written = reader.offer(now, &tick(id, 100), &mut wire);
        assert_eq!(written.frames, 2);
        wire.unsent = 0;
    }
    assert_eq!(wire.ids(), [1, 2, 3]);
    assert!(!reader.is_behind());
}

#[test]
fn a_link_with_one_channel_gets_a_tick_as_one_frame_while_it_keeps_up() {
    let (mut reader, mut wire) = (Reader::default(), Wire::default());
    let now = Instant::now();
    let mut offer = |id, wire: &mut Wire| {
        let tick = tick(id, 100);
        reader.offer_whole(now, &tick, tick.whole().as_ref(), wire)
    };
    assert_eq!(offer(1, &mut wire).frames, 1);
    assert_eq!((wire.got.len(), wire.counts()), (1, 1));
    wire.unsent = BUSY_BYTES;
    assert_eq!(offer(2, &mut wire).frames, 0);
    wire.unsent = 0;
    assert_eq!(
        offer(3, &mut wire).frames,
        2,
        "what waited, then the new one"
    );
    assert_eq!(wire.ids(), [1, 2, 3]);
    assert_eq!(wire.got.len(), 3);
    assert_eq!(wire.missed(), 0);
}

#[test]
fn ticks_of_a_busy_link_are_joined() {
    let (mut reader, mut wire) = (Reader::default(), Wire::default());
    let mut now = Instant::now();
    wire.unsent = BUSY_BYTES;
    for id in 1..=4 {
        reader.offer(now, &tick(id, 100), &mut wire);
        now += TICK;
    }
    assert!(wire.got.is_empty());
    wire.unsent = 0;
    assert_eq!(reader.settle(now, &mut wire).frames, 1);
    assert_eq!(wire.ids(), [1, 2, 3, 4]);
    assert_eq!(wire.got.len(), 1);
}

#[test]
fn what_waits_for_more_than_a_second_is_missed_and_counted() {
    let (mut reader, mut wire) = (Reader::default(), Wire::default());
    let mut now = Instant::now();
    wire.unsent = BUSY_BYTES;
    for id in 1..=10 {
        reader.offer(now, &tick(id, 100), &mut wire);
        now += TICK;
    }
    wire.unsent = 0;
    reader.settle(now, &mut wire);
    assert_eq!(wire.missed() as usize + wire.ids().len(), 10);
    assert_eq!(wire.ids().last(), Some(&10));
    assert!(wire.ids().len() <= 6, "{:?}", wire.ids());
}

#[test]
fn after_five_seconds_there_are_counts_only() {
    let (mut reader, mut wire) = (Reader::default(), Wire::default());
    let mut now = Instant::now();
    wire.unsent = BUSY_BYTES;
    for id in 1..=50 {
        wire.unsent = BUSY_BYTES;
        reader.offer(now, &tick(id, 100), &mut wire);
        now += TICK;
    }
    assert!(wire.ids().is_empty());
    assert!(wire.counts() > 20, "{}", wire.counts());
    wire.unsent = 0;
    reader.settle(now, &mut wire);
    reader.offer(now, &tick(51, 100), &mut wire);
    assert_eq!(wire.missed(), 50);
    assert_eq!(wire.ids(), [51]);
}

#[test]
fn what_must_arrive_waits_and_keeps_its_order() {
    let (mut reader, mut wire) = (Reader::default(), Wire::default());
    let mut now = Instant::now();
    wire.unsent = BUSY_BYTES;
    for id in 1..=20 {
        let control = Tick {
            ctl: Some(frame(id, 100)),
            ..Tick::default()
        };
        reader.offer(now, &control, &mut wire);
        now += TICK;
    }
    reader.offer_own(now, &frame(21, 10), &mut wire);
    wire.unsent = 0;
    reader.settle(now, &mut wire);
    assert_eq!(wire.ids(), (1..=21).collect::<Vec<_>>());
}

#[test]
fn too_much_of_it_asks_for_a_new_beginning() {
    let (mut reader, mut wire) = (Reader::default(), Wire::default());
    let now = Instant::now();
    wire.unsent = BUSY_BYTES;
    for id in 1..=40 {
        let control = Tick {
            ctl: Some(frame(id, 1_000)),
            ..Tick::default()
        };
        reader.offer(now, &control, &mut wire);
    }
    assert!(!reader.take_resync(), "its link is still busy");
    wire.unsent = 0;
    reader.settle(now, &mut wire);
    assert!(reader.take_resync());
    assert!(!reader.take_resync());
    assert!(wire.ids().is_empty());
}

#[test]
fn a_refused_write_is_tried_again() {
    let (mut reader, mut wire) = (Reader::default(), Wire::default());
    let now = Instant::now();
    wire.full = true;
    reader.offer(now, &tick(1, 100), &mut wire);
    assert!(reader.is_behind());
    wire.full = false;
    reader.offer(now, &tick(2, 100), &mut wire);
    assert_eq!(wire.ids(), [1, 2]);
}
