//! One room's record.

use std::collections::BTreeMap;
use std::time::Instant;

use lightstick_types::{Codec, RoomName, SessionId, StreamId, TrackId};

use super::waiting::Opener;
use super::{Participant, SessionNumber};

/// Where a room's show stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// No media yet.
    NotStarted,
    /// Media flows, or flowed and nobody has said that the publisher is gone.
    Live,
    /// The publisher's connection was lost; the room waits for them.
    Interrupted {
        /// Then the show is over.
        until: Instant,
    },
    /// The show is over.
    Ended {
        /// Then viewers who are still here are sent away.
        until: Instant,
    },
}

/// What there is of a room's show.
pub(super) struct Show {
    pub(super) phase: Phase,
    pub(super) live_since: Option<Instant>,
    /// Who published last.
    pub(super) owner: Option<Participant>,
    /// Tracks that have carried media.
    pub(super) tracks: Vec<(TrackId, Codec)>,
    /// Video streams that can be had.
    pub(super) streams: Vec<StreamId>,
    /// The track to show first, where one was chosen.
    pub(super) main: Option<TrackId>,
}

/// A room's viewers, and when they are told how many they are.
#[derive(Default)]
pub(super) struct Audience {
    pub(super) admitted: usize,
    /// Those of them that the media plane has opened.
    pub(super) watching: usize,
    /// When viewers were last told their number.
    pub(super) counted_at: Option<Instant>,
    /// When they must be told again.
    pub(super) count_due: Option<Instant>,
}

pub(super) struct Room {
    pub(super) name: RoomName,
    pub(super) created: Instant,
    pub(super) show: Show,
    /// The session that publishes: promoted, one at most.
    pub(super) publisher: Option<SessionId>,
    /// Sessions that will publish with their first media, oldest first. All are younger than the
    /// publisher.
    pub(super) parked: Vec<SessionId>,
    /// The publisher's or parked session whose connection was lost last.
    pub(super) lost: Option<SessionId>,
    /// Every session, publishers included, oldest first.
    pub(super) sessions: BTreeMap<SessionNumber, SessionId>,
    pub(super) audience: Audience,
    /// This room's entry in the registry's deadlines.
    pub(super) scheduled: Option<Instant>,
    /// Whether the registry counts it as started.
    pub(super) counted_started: bool,
    /// Whose waiting room it is, while it is one.
    pub(super) opener: Option<Opener>,
}

impl Room {
    pub(super) fn new(name: RoomName, now: Instant, opener: Opener) -> Self {
        Self {
            name,
            created: now,
            show: Show {
                phase: Phase::NotStarted,
                live_since: None,
                owner: None,
                tracks: Vec::new(),
                streams: Vec::new(),
                main: None,
            },
            publisher: None,
            parked: Vec::new(),
            lost: None,
            sessions: BTreeMap::new(),
            audience: Audience::default(),
            scheduled: None,
            counted_started: false,
            opener: Some(opener),
        }
    }

    pub(super) fn has_publisher(&self) -> bool {
        self.publishers().next().is_some()
    }

    /// The session that publishes, and those that are parked.
    pub(super) fn publishers(&self) -> impl Iterator<Item = SessionId> {
        self.publisher.iter().chain(&self.parked).copied()
    }

    /// Whether it has, or had, a publisher.
    pub(super) fn is_started(&self) -> bool {
        self.has_publisher() || !matches!(self.show.phase, Phase::NotStarted)
    }

    /// Whether nothing would be lost without it.
    pub(super) fn is_idle(&self) -> bool {
        self.sessions.is_empty()
            && matches!(self.show.phase, Phase::NotStarted | Phase::Ended { .. })
    }

    /// For whom the room is kept while they are away.
    pub(super) fn held_for(&self) -> Option<&Participant> {
        match self.show.phase {
            Phase::Interrupted { .. } => self.show.owner.as_ref(),
            _ => None,
        }
    }

    /// When the phase ends by itself. While a publisher is here, or coming, it does not.
    pub(super) fn phase_due(&self) -> Option<Instant> {
        match self.show.phase {
            _ if self.has_publisher() => None,
            Phase::Interrupted { until } | Phase::Ended { until } => Some(until),
            Phase::NotStarted | Phase::Live => None,
        }
    }

    /// The earlier of the phase's end and the next count.
    pub(super) fn due(&self) -> Option<Instant> {
        [self.phase_due(), self.audience.count_due]
            .into_iter()
            .flatten()
            .min()
    }
}
