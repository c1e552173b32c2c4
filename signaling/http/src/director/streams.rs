//! Event streams that a viewer has asked for by POST: which events go where.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio_util::sync::{CancellationToken, DropGuard};

/// A stream's number within its session.
pub(crate) type StreamNumber = u64;

/// The events that a stream is to say: all, or some.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EventKinds(Option<Arc<[String]>>);

impl EventKinds {
    pub(crate) fn only(names: Vec<String>) -> Self {
        Self(Some(names.into()))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0
            .as_ref()
            .is_none_or(|names| names.iter().any(|known| known == name))
    }
}

/// The streams of one session. They end with it.
#[derive(Default)]
pub(super) struct Streams {
    made: StreamNumber,
    streams: VecDeque<Stream>,
}

struct Stream {
    number: StreamNumber,
    kinds: EventKinds,
    ended: CancellationToken,
    _end: DropGuard,
}

impl Streams {
    /// Makes a stream. Beyond `max` of them the oldest ends: clients that come back make new ones
    /// and forget the old.
    pub(super) fn add(&mut self, kinds: EventKinds, max: usize) -> StreamNumber {
        while self.streams.len() >= max {
            self.streams.pop_front();
        }
        self.made += 1;
        let ended = CancellationToken::new();
        self.streams.push_back(Stream {
            number: self.made,
            kinds,
            ended: ended.clone(),
            _end: ended.drop_guard(),
        });
        self.made
    }

    /// What a stream is to say, and when it is over.
    pub(super) fn get(&self, number: StreamNumber) -> Option<(EventKinds, CancellationToken)> {
        let stream = self.streams.iter().find(|s| s.number == number)?;
        Some((stream.kinds.clone(), stream.ended.clone()))
    }

    /// Ends a stream. False: there is none.
    pub(super) fn remove(&mut self, number: StreamNumber) -> bool {
        let before = self.streams.len();
        self.streams.retain(|stream| stream.number != number);
        self.streams.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room() {
        let mut streams = Streams::default();
        let [a, b, c] = [(); 3].map(|()| streams.add(EventKinds::default(), 3));
        let (_, ended) = streams.get(a).unwrap();
        assert!(!ended.is_cancelled());
        streams.add(EventKinds::default(), 3);
        assert!(streams.get(a).is_none() && ended.is_cancelled());
        let (_, ended) = streams.get(b).unwrap();
        assert!(streams.remove(b) && !streams.remove(b));
        assert!(ended.is_cancelled());
        let (_, ended) = streams.get(c).unwrap();
        drop(streams);
        assert!(ended.is_cancelled(), "they end with the session");
    }
}
