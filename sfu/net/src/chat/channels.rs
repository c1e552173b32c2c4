//! One session's chat: its data channels, and how frames leave on them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lightstick_chat_wire::{
    BUSY_BYTES, Channel, FRAME_BYTES_MAX, Frame, Link, REQUEST_BYTES_MAX, Reader,
};
use lightstick_types::ChatMember;
use lightstick_types::rate::{Bucket, Limit};
use str0m::Rtc;
use str0m::channel::{ChannelData, ChannelId};

use crate::stats::ChatStats;

/// Bytes that were written to a session's channels and not acknowledged, at most: a link that is
/// not busy yet takes a tick's longest frames.
pub(crate) const UNSENT_BYTES_MAX: usize = BUSY_BYTES + 2 * FRAME_BYTES_MAX;
/// At how many unacknowledged bytes a channel says that it has drained. Three channels together are
/// busy only if one of them holds more.
const DRAINED_BYTES: usize = BUSY_BYTES / 4;
/// Channels that a session may open in its life. Further ones are closed at once.
const OPENS_MAX: u8 = 32;
/// Frames that are taken from one client. What is above it is dropped and counted.
const FRAMES: Limit = Limit {
    every: Duration::from_millis(50),
    burst: 60,
};

/// Frames that are dropped and whose writer is told so.
const REFUSALS: Limit = Limit {
    every: Duration::from_millis(100),
    burst: 20,
};

/// What happens on a session's data channels.
#[derive(Debug)]
pub(crate) enum ChannelEvent {
    Opened(ChannelId, String),
    Data(ChannelData),
    Drained,
    Closed(ChannelId),
}

/// Why a client's frame is dropped; with its beginning where the client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// More than [`FRAMES`].
    Flood(Option<Bytes>),
    /// Longer than [`REQUEST_BYTES_MAX`].
    Oversize(Option<Bytes>),
    /// Text, where protobuf was to come.
    Text(Option<Bytes>),
    /// On a channel that clients do not write on.
    Stray,
}

/// What an opened channel changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opened {
    /// An unknown label, or one channel too many: close it.
    Unknown,
    /// It takes the place of this one, which is to be closed.
    Taken(Channel, Option<ChannelId>),
}

/// The chat of a session that has a member.
pub(crate) struct Chat {
    pub(crate) member: Arc<ChatMember>,
    channels: [Option<ChannelId>; Channel::ALL.len()],
    opens: u8,
    frames: Bucket,
    refusals: Bucket,
    pub(crate) reader: Reader,
    /// Its place in the list of its room, while `ctl` is open.
    pub(crate) place: Option<Place>,
    /// It is counted among those who are behind, and among those who get counts only.
    counted: (bool, bool),
}

/// Where a session stands in its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The room's key.
    pub(crate) room: usize,
    /// The index in the room's list.
    pub(crate) index: u32,
    /// The last tick that it was shown.
    pub(crate) shown: u64,
}

impl Chat {
    pub(crate) fn new(member: Arc<ChatMember>) -> Self {
        Self {
            member,
            channels: [None; Channel::ALL.len()],
            opens: 0,
            frames: Bucket::default(),
            refusals: Bucket::default(),
            reader: Reader::default(),
            place: None,
            counted: (false, false),
        }
    }

    /// A channel has opened. The newest of a label counts: a client that has lost one opens another
    /// before we hear of the loss.
    pub(crate) fn open(&mut self, id: ChannelId, label: &str) -> Opened {
        let channel = Channel::of(label).filter(|_| self.opens < OPENS_MAX);
        let Some(channel) = channel else {
            return Opened::Unknown;
        };
        self.opens += 1;
        Opened::Taken(channel, self.channels[channel as usize].replace(id))
    }

    /// A channel has closed; returns which one.
    pub(crate) fn close(&mut self, id: ChannelId) -> Option<Channel> {
        let closed = Channel::ALL
            .into_iter()
            .find(|channel| self.channels[*channel as usize] == Some(id))?;
        self.channels[closed as usize] = None;
        Some(closed)
    }

    /// The channels that are open.
    pub(crate) fn open_channels(&self) -> impl Iterator<Item = (Channel, ChannelId)> {
        Channel::ALL
            .into_iter()
            .filter_map(|channel| Some((channel, self.channels[channel as usize]?)))
    }

    /// `ctl` is gone: what waited for it means nothing any more. Its place, if it had one.
    pub(crate) fn leave(&mut self, stats: &ChatStats) -> Option<Place> {
        let place = self.place.take()?;
        stats.members.decrease();
        self.reader = Reader::default();
        self.count(stats);
        Some(place)
    }

    /// Keeps count of those who are behind.
    pub(crate) fn count(&mut self, stats: &ChatStats) {
        let now = (self.reader.is_behind(), self.reader.is_counts_only());
        let before = std::mem::replace(&mut self.counted, now);
        for (gauge, before, now) in [
            (&stats.behind, before.0, now.0),
            (&stats.counts_only, before.1, now.1),
        ] {
            match (before, now) {
                (false, true) => gauge.increase(),
                (true, false) => gauge.decrease(),
                _ => {}
            }
        }
    }

    /// Takes what a client has written.
    pub(crate) fn take(&mut self, data: ChannelData, now: Instant) -> Result<Bytes, Dropped> {
        let flood = !self.frames.take(now, FRAMES);
        if self.channels[Channel::Ctl as usize] != Some(data.id) {
            return Err(match flood {
                true => Dropped::Flood(None),
                false => Dropped::Stray,
            });
        }
        let why = if flood {
            Dropped::Flood
        } else if !data.binary {
            Dropped::Text
        } else if data.data.len() > REQUEST_BYTES_MAX {
            Dropped::Oversize
        } else {
            return Ok(data.data.into());
        };
        let told = self.refusals.take(now, REFUSALS);
        Err(why(told.then(|| {
            let mut head = data.data;
            head.truncate(REQUEST_BYTES_MAX);
            head.into()
        })))
    }

    /// Its state, and the way to write.
    pub(crate) fn split<'a>(
        &'a mut self,
        rtc: &'a mut Rtc,
        stats: &'a ChatStats,
    ) -> (&'a mut Reader, ChannelLink<'a>) {
        let link = ChannelLink {
            rtc,
            channels: &self.channels,
            stats,
        };
        (&mut self.reader, link)
    }
}

/// Sets up one of the chat's channels.
pub(crate) fn prepare(rtc: &mut Rtc, id: ChannelId) {
    if let Some(mut channel) = rtc.channel(id) {
        channel.set_buffered_amount_low_threshold(DRAINED_BYTES);
    }
}

/// The data channels of a session. All share one budget of unacknowledged bytes.
pub(crate) struct ChannelLink<'a> {
    rtc: &'a mut Rtc,
    channels: &'a [Option<ChannelId>; Channel::ALL.len()],
    stats: &'a ChatStats,
}

impl Link for ChannelLink<'_> {
    fn unsent_bytes(&mut self) -> usize {
        let open = self.channels.iter().flatten();
        open.map(|id| {
            let channel = self.rtc.channel(*id);
            channel.map_or(0, |mut channel| channel.buffered_amount())
        })
        .sum()
    }

    fn write(&mut self, channel: Channel, frame: &Frame) -> bool {
        // A client may leave the others closed and hear everything on `ctl`.
        let id = self.channels[channel as usize].or(self.channels[Channel::Ctl as usize]);
        let open = id.and_then(|id| self.rtc.channel(id));
        match open.map(|mut open| open.write(true, frame.proto())) {
            Some(Ok(true)) => {
                self.stats.frames_out[channel as usize].add(1);
                self.stats.bytes_out.add(frame.len() as u64);
                true
            }
            Some(Ok(false)) => false,
            // The peer takes no message of this length, or the channel is closing: to wait would
            // not help, and the session hears of the end in its own time.
            Some(Err(error)) => {
                tracing::debug!(%error, "a frame was refused");
                self.stats.drop_unsent.add(1);
                true
            }
            None => {
                self.stats.drop_unsent.add(1);
                true
            }
        }
    }
}
