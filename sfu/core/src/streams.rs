//! Sets of a room's streams.

use lightstick_types::{Layer, StreamId, TrackId};

use crate::layers::LayerSet;

/// A set of streams: audio, and layers of video tracks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamSet(u32);

const _: () = assert!(StreamId::COUNT <= u32::BITS as usize);

impl StreamSet {
    pub fn insert(&mut self, stream: StreamId) {
        self.0 |= 1 << stream.index();
    }

    pub fn remove(&mut self, stream: StreamId) {
        self.0 &= !(1 << stream.index());
    }

    #[must_use]
    #[inline]
    pub fn contains(self, stream: StreamId) -> bool {
        self.0 & (1 << stream.index()) != 0
    }

    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What is in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in either.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in it and not in the other.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Its streams, in the order of [`StreamId::index`].
    pub fn iter(self) -> impl Iterator<Item = StreamId> {
        StreamId::all().filter(move |stream| self.contains(*stream))
    }

    /// The layers of one video track that are in it.
    #[must_use]
    pub fn of(self, track: TrackId) -> LayerSet {
        let holds = |layer: &Layer| {
            let layer = *layer;
            self.contains(StreamId { track, layer })
        };
        Layer::ALL.into_iter().filter(holds).collect()
    }

    /// These layers of a video track.
    #[must_use]
    pub fn layers(track: TrackId, layers: LayerSet) -> Self {
        let stream = |layer| StreamId { track, layer };
        layers.iter().map(stream).collect()
    }

    /// The tracks that it has streams of.
    pub fn tracks(self) -> impl Iterator<Item = TrackId> {
        let tracks = [TrackId::AUDIO].into_iter().chain(TrackId::videos());
        tracks.filter(move |track| !self.of(*track).is_empty())
    }
}

impl FromIterator<StreamId> for StreamSet {
    fn from_iter<I: IntoIterator<Item = StreamId>>(streams: I) -> Self {
        let mut set = Self::default();
        streams.into_iter().for_each(|stream| set.insert(stream));
        set
    }
}

impl From<StreamId> for StreamSet {
    fn from(stream: StreamId) -> Self {
        [stream].into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_of_one_track_are_none_of_another() {
        let second = TrackId::video(1).unwrap();
        let layers: LayerSet = [Layer::Low, Layer::High].into_iter().collect();
        let set = StreamSet::layers(second, layers);
        assert_eq!(set.of(second), layers);
        assert!(set.of(TrackId::FIRST_VIDEO).is_empty());
        assert!(set.tracks().eq([second]));
        let all: StreamSet = StreamId::all().collect();
        assert_eq!(all.iter().count(), StreamId::COUNT);
        assert!(all.without(set).and(set).is_empty());
        assert_eq!(all.without(set).or(set), all);
    }
}
