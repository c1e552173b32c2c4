//! `/api/v1/rooms/{room}/sessions`.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use futures_util::stream::{self, StreamExt as _};
use lightstick_sfu::SessionMedia;
use lightstick_signaling_core::rooms::SessionSummary;
use lightstick_types::{Layer, Role, TrackId};
use std::collections::BTreeMap;

use serde::Serialize;

use super::access::Admin;
use super::rooms::Page;
use crate::App;
use crate::extract::{NumberedSessionPath, RoomPath};
use crate::problem::{Problem, ProblemBody};
use crate::schema;

/// Questions to the media plane that one request keeps open at a time.
const QUESTIONS_MAX: usize = 32;

/// A session.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Session {
    /// Names the session in this API. It is not the one in the session's URL.
    id: String,
    /// What it does.
    #[schema(value_type = schema::Role)]
    role: Role,
    /// The `sub` of its token.
    participant: Option<String>,
    /// Whether ICE and DTLS have come up.
    connected: bool,
    /// Whether its media is the room's: a publisher's is not before its first packet, nor a viewer's.
    publishing: bool,
    /// Since the POST.
    age_seconds: f64,
    /// The shard that it is on.
    shard: u16,
    /// What the media plane says of it; none if it is just gone.
    media: Option<Media>,
}

/// What the media plane says of a session.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Media {
    /// The other end's address.
    remote: Option<String>,
    /// `udp` or `tcp`.
    transport: &'static str,
    /// The DTLS version in use.
    dtls: Option<&'static str>,
    /// From the peer.
    bytes_received: u64,
    /// To the peer.
    bytes_sent: u64,
    /// The layer that a viewer gets in its first video section.
    #[schema(value_type = Option<schema::Layer>)]
    layer: Option<Layer>,
    /// The layer that a viewer gets of each video track.
    #[schema(value_type = BTreeMap<String, schema::Layer>)]
    layers: BTreeMap<TrackId, Layer>,
    /// The last round trip seen.
    round_trip_seconds: Option<f64>,
    /// Loss that the peer reported last, 0 to 1.
    loss: Option<f32>,
    /// What a viewer's link is estimated to carry, in bits per second; none before it reports, and
    /// for publishers.
    estimate_bps: Option<u64>,
}

impl From<SessionMedia> for Media {
    fn from(media: SessionMedia) -> Self {
        Self {
            remote: media.remote.map(|remote| remote.to_string()),
            transport: media.transport,
            dtls: media.dtls,
            bytes_received: media.bytes_received,
            bytes_sent: media.bytes_sent,
            layer: media.streams.first().map(|stream| stream.layer),
            layers: media.streams.iter().map(|s| (s.track, s.layer)).collect(),
            round_trip_seconds: media.round_trip.map(|time| time.as_secs_f64()),
            loss: media.loss,
            estimate_bps: media.estimate.map(|estimate| estimate.bps()),
        }
    }
}

/// A page of sessions.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct SessionList {
    /// Oldest first.
    sessions: Vec<Session>,
    /// For the next page's `after`; none on the last page.
    next: Option<u64>,
}

/// The sessions of a room.
#[utoipa::path(
    get,
    path = "/api/v1/rooms/{room}/sessions",
    tag = "rooms",
    params(("room" = String, Path), Page),
    security(("bearer" = [])),
    responses(
        (status = 200, body = SessionList),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(
    State(app): State<App>,
    RoomPath(room): RoomPath,
    admin: Admin,
    query: Result<Query<Page>, QueryRejection>,
) -> Result<Json<SessionList>, Problem> {
    admin.require(&room)?;
    let (after, limit) = Page::of(query)?;
    let mut found = app.director.sessions(room, after, limit + 1).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|session| session.number);
    let sessions = stream::iter(found)
        .map(|summary| with_media(&app, summary))
        .buffered(QUESTIONS_MAX)
        .collect()
        .await;
    Ok(Json(SessionList { sessions, next }))
}

async fn with_media(app: &App, summary: SessionSummary) -> Session {
    let media = app
        .media
        .session_media(summary.shard, summary.session)
        .await;
    Session {
        id: summary.number.to_string(),
        role: summary.role,
        participant: summary.participant.map(|name| name.as_ref().to_owned()),
        connected: summary.connected,
        publishing: summary.publishing,
        age_seconds: summary.age.as_secs_f64(),
        shard: summary.shard.0,
        media: media.map(Media::from),
    }
}

/// End a session. A publisher's show is over then.
#[utoipa::path(
    delete,
    path = "/api/v1/rooms/{room}/sessions/{session}",
    tag = "rooms",
    params(("room" = String, Path), ("session" = String, Path, description = "Its id in this API")),
    security(("bearer" = [])),
    responses(
        (status = 204, description = "Ended"),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn kick(
    State(app): State<App>,
    path: NumberedSessionPath,
    admin: Admin,
) -> Result<StatusCode, Problem> {
    admin.require(&path.room)?;
    app.director.kick(path.room, path.session).await?;
    Ok(StatusCode::NO_CONTENT)
}
