//! What signaling counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use axum::http::StatusCode;
use lightstick_signaling_core::rooms::{Counts, LeaveReason};
use lightstick_types::Role;

use crate::problem::Code;
use crate::serve::{ConnectionLimit, ConnectionStats};

/// How a POST to `/whip` or `/whep` ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JoinOutcome {
    /// 201.
    Joined,
    /// The request could not be read or served: 400, 408, 413, 415, 422.
    BadRequest,
    /// No token, or a wrong one: 401, 403.
    Unauthorized,
    /// The room was busy, or not live: 409.
    Conflict,
    /// A limit of rates or counts: 429, or a full room or server.
    Limited,
    /// The media plane, or the director, was overloaded: 503.
    Overloaded,
    /// The server was shutting down: 503.
    Draining,
    /// A fault of the server: 500, or 503 where a media thread has ended.
    Failed,
    /// The client went away before the answer.
    Abandoned,
}

impl JoinOutcome {
    pub const ALL: [Self; 9] = [
        Self::Joined,
        Self::BadRequest,
        Self::Unauthorized,
        Self::Conflict,
        Self::Limited,
        Self::Overloaded,
        Self::Draining,
        Self::Failed,
        Self::Abandoned,
    ];

    /// As a metric's label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Joined => "joined",
            Self::BadRequest => "bad_request",
            Self::Unauthorized => "unauthorized",
            Self::Conflict => "conflict",
            Self::Limited => "limited",
            Self::Overloaded => "overloaded",
            Self::Draining => "draining",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
        }
    }

    pub(crate) fn of(code: Code) -> Self {
        match code {
            Code::RoomFull | Code::RoomsFull => Self::Limited,
            Code::Draining => Self::Draining,
            Code::MediaGone => Self::Failed,
            _ => match code.status() {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Self::Unauthorized,
                StatusCode::CONFLICT => Self::Conflict,
                StatusCode::TOO_MANY_REQUESTS => Self::Limited,
                StatusCode::SERVICE_UNAVAILABLE => Self::Overloaded,
                status if status.is_server_error() => Self::Failed,
                _ => Self::BadRequest,
            },
        }
    }
}

/// Which resource a request was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// `/whip/{room}`.
    Whip,
    /// `/whep/{room}`.
    Whep,
    /// A session's own URL.
    Session,
    /// A viewer's events.
    Events,
    /// A viewer's layer.
    Layer,
    /// `/api`.
    Api,
    /// `/chat/{room}`.
    Chat,
}

impl Route {
    pub const ALL: [Self; 7] = [
        Self::Whip,
        Self::Whep,
        Self::Session,
        Self::Events,
        Self::Layer,
        Self::Api,
        Self::Chat,
    ];

    /// As a metric's label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Whip => "whip",
            Self::Whep => "whep",
            Self::Session => "session",
            Self::Events => "events",
            Self::Layer => "layer",
            Self::Api => "api",
            Self::Chat => "chat",
        }
    }

    /// The route of a path template.
    pub(crate) fn of(template: &str) -> Self {
        match template {
            "/whip/{room}" => Self::Whip,
            "/whep/{room}" => Self::Whep,
            "/whip/{room}/{session}/events"
            | "/whep/{room}/{session}/events"
            | "/whep/{room}/{session}/events/{stream}" => Self::Events,
            "/whep/{room}/{session}/layer" => Self::Layer,
            "/chat/{room}" => Self::Chat,
            _ if template.starts_with("/api") => Self::Api,
            _ => Self::Session,
        }
    }
}

/// Every reason for which a session can end, in the order of [`StatsSnapshot::left`].
const LEAVE_REASONS: [LeaveReason; 14] = [
    LeaveReason::Deleted,
    LeaveReason::Kicked,
    LeaveReason::RoomClosed,
    LeaveReason::RoomExpired,
    LeaveReason::Replaced,
    LeaveReason::Abandoned,
    LeaveReason::Drained,
    LeaveReason::PeerClosed,
    LeaveReason::ConnectTimeout,
    LeaveReason::NoMedia,
    LeaveReason::ConsentExpired,
    LeaveReason::BitrateExceeded,
    LeaveReason::TransportError,
    LeaveReason::Internal,
];

/// Status classes 1xx to 5xx.
const CLASSES: usize = 5;

/// The counters. They are written by handlers and the director, and read by a scrape.
#[derive(Debug)]
pub struct SignalingStats {
    joins: [[AtomicU64; JoinOutcome::ALL.len()]; Role::ALL.len()],
    requests: [[AtomicU64; CLASSES]; Route::ALL.len()],
    refusals: Box<[AtomicU64]>,
    left: [AtomicU64; LEAVE_REASONS.len()],
    rooms: AtomicU64,
    rooms_started: AtomicU64,
    publishers: AtomicU64,
    viewers: AtomicU64,
    connections: Arc<ConnectionStats>,
}

/// The counters at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatsSnapshot {
    /// POSTs to `/whip` and `/whep` so far, by role and outcome; every pair is there.
    pub joins: Vec<(Role, JoinOutcome, u64)>,
    /// Requests so far, by route and status class (2 for 2xx); every pair is there.
    pub requests: Vec<(Route, u8, u64)>,
    /// Problems sent so far, by code; every code is there.
    pub refusals: Vec<(Code, u64)>,
    /// Sessions ended so far, by reason; every reason is there.
    pub left: Vec<(LeaveReason, u64)>,
    pub rooms: u64,
    /// Rooms now that have or had a publisher.
    pub rooms_started: u64,
    /// Opened publisher sessions now.
    pub publishers: u64,
    /// Opened viewer sessions now.
    pub viewers: u64,
    /// HTTP connections now, WebSockets among them.
    pub connections: u64,
    /// HTTP connections closed at once so far, by the limit that they met; every limit is there.
    pub connections_refused: Vec<(ConnectionLimit, u64)>,
}

impl Default for SignalingStats {
    fn default() -> Self {
        Self {
            joins: Default::default(),
            requests: Default::default(),
            refusals: Code::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            left: Default::default(),
            rooms: AtomicU64::new(0),
            rooms_started: AtomicU64::new(0),
            publishers: AtomicU64::new(0),
            viewers: AtomicU64::new(0),
            connections: Arc::default(),
        }
    }
}

impl SignalingStats {
    pub(crate) fn joined(&self, role: Role, outcome: JoinOutcome) {
        self.joins[role as usize][outcome as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn answered(&self, route: Route, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES) - 1;
        self.requests[route as usize][class].fetch_add(1, Relaxed);
    }

    pub(crate) fn refused(&self, code: Code) {
        self.refusals[code.index()].fetch_add(1, Relaxed);
    }

    pub(crate) fn left(&self, reason: LeaveReason) {
        self.left[reason as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn set_counts(&self, counts: Counts) {
        self.rooms.store(counts.rooms as u64, Relaxed);
        self.rooms_started
            .store(counts.rooms_started as u64, Relaxed);
        self.publishers.store(counts.publishers as u64, Relaxed);
        self.viewers.store(counts.viewers as u64, Relaxed);
    }

    /// The counters of the public listener, for [`crate::serve`].
    #[must_use]
    pub fn connections(&self) -> Arc<ConnectionStats> {
        Arc::clone(&self.connections)
    }

    /// Every counter, read one after the other.
    #[must_use]
    pub fn snapshot(&self) -> StatsSnapshot {
        let mut snapshot = StatsSnapshot {
            refusals: Code::ALL
                .iter()
                .map(|code| (*code, self.refusals[code.index()].load(Relaxed)))
                .collect(),
            left: LEAVE_REASONS
                .iter()
                .zip(&self.left)
                .map(|(reason, count)| (*reason, count.load(Relaxed)))
                .collect(),
            rooms: self.rooms.load(Relaxed),
            rooms_started: self.rooms_started.load(Relaxed),
            publishers: self.publishers.load(Relaxed),
            viewers: self.viewers.load(Relaxed),
            connections: self.connections.open(),
            connections_refused: self.connections.refused().to_vec(),
            ..StatsSnapshot::default()
        };
        for role in Role::ALL {
            for outcome in JoinOutcome::ALL {
                let count = self.joins[role as usize][outcome as usize].load(Relaxed);
                snapshot.joins.push((role, outcome, count));
            }
        }
        for route in Route::ALL {
            for class in 1..=CLASSES {
                let count = self.requests[route as usize][class - 1].load(Relaxed);
                snapshot.requests.push((route, class as u8, count));
            }
        }
        snapshot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_fit_declarations() {
        for (index, outcome) in JoinOutcome::ALL.iter().enumerate() {
            assert_eq!(*outcome as usize, index);
        }
        for (index, route) in Route::ALL.iter().enumerate() {
            assert_eq!(*route as usize, index);
        }
        for (index, reason) in LEAVE_REASONS.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
        assert_eq!(LeaveReason::Internal as usize, LEAVE_REASONS.len() - 1);
    }

    #[test]
    fn snapshot_shows_what_was_counted() {
        let stats = SignalingStats::default();
        stats.joined(Role::Viewer, JoinOutcome::of(Code::RoomFull));
        stats.answered(Route::Whep, StatusCode::SERVICE_UNAVAILABLE);
        stats.refused(Code::RoomFull);
        stats.left(LeaveReason::Kicked);
        let seen = stats.snapshot();
        assert!(
            seen.joins
                .contains(&(Role::Viewer, JoinOutcome::Limited, 1))
        );
        assert!(seen.requests.contains(&(Route::Whep, 5, 1)));
        assert!(seen.refusals.contains(&(Code::RoomFull, 1)));
        assert!(seen.left.contains(&(LeaveReason::Kicked, 1)));
        let total: u64 = seen.joins.iter().map(|(_, _, n)| n).sum();
        assert_eq!(total, 1);
    }
}
