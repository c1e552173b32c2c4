//! `/api/v1/rooms`.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use lightstick_sfu::{LayerMedia, TrackMedia};
use lightstick_signaling_core::rooms::{Activity, RoomSummary};
use lightstick_types::{Codec, HintCode, Layer, RoomId, TrackId, TrackKind};
use serde::{Deserialize, Serialize};

use super::access::{Admin, Artist};
use crate::App;
use crate::extract::{RoomPath, read_body, require_type};
use crate::problem::{Code, Problem, ProblemBody};
use crate::schema;
use crate::viewer::{json_body, read_track};

/// Entries of a page of a list, unless asked otherwise.
const PAGE: usize = 100;
/// Entries of a page at most.
const PAGE_MAX: usize = 500;
/// Largest request for another main track, in bytes.
const MAIN_BYTES_MAX: usize = 1_024;

/// Which part of a list.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Page {
    /// The `next` of the page before.
    #[serde(default)]
    after: u64,
    /// At most so many entries: 1 to 500, else 100.
    limit: Option<usize>,
}

impl Page {
    pub(crate) fn of(query: Result<Query<Self>, QueryRejection>) -> Result<(u64, usize), Problem> {
        let Query(page) =
            query.map_err(|error| Problem::new(Code::MalformedRequest, error.body_text()))?;
        let limit = page.limit.unwrap_or(PAGE);
        if (1..=PAGE_MAX).contains(&limit) {
            Ok((page.after, limit))
        } else {
            Err(Problem::new(
                Code::MalformedRequest,
                format!("limit must be 1 to {PAGE_MAX}"),
            ))
        }
    }
}

/// One track of a room.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Track {
    /// Names it in this room: `audio`, `video-1`, `video-2`, ... in the order of the offer.
    #[schema(value_type = String, example = "video-2")]
    id: TrackId,
    /// Audio or video.
    #[schema(value_type = schema::TrackKind)]
    kind: TrackKind,
    /// Its codec.
    #[schema(value_type = schema::Codec)]
    codec: Codec,
    /// The layers that can be had, lowest first; only where one room is asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    layers: Vec<TrackLayer>,
}

/// One layer of a track.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TrackLayer {
    /// Which.
    #[schema(value_type = schema::Layer)]
    layer: Layer,
    /// Its simulcast id on the wire.
    rid: Option<String>,
    /// Over the last second, in bits per second.
    bitrate_bps: u64,
    /// Over the last second.
    frames_per_second: f32,
    /// Since the last keyframe.
    keyframe_age_seconds: Option<f64>,
    /// Nobody watches it, and the publisher is asked not to send it.
    paused: bool,
}

/// One thing that the artist should change.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RoomHint {
    /// What it is about: programs look at this.
    #[schema(value_type = schema::HintCode)]
    code: HintCode,
    /// What is wrong and what to set, in English.
    message: String,
    /// For how long it has been so.
    age_seconds: f64,
}

/// A room.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Room {
    /// Its name.
    name: String,
    /// Whether media flows.
    #[schema(value_type = schema::Activity)]
    state: Activity,
    /// Its tracks, audio first.
    tracks: Vec<Track>,
    /// The layers of the main video track that can be had, lowest first.
    #[schema(value_type = Vec<schema::Layer>)]
    layers: Vec<Layer>,
    /// The video track that is shown first to viewers who have not chosen themselves.
    #[schema(value_type = Option<String>, example = "video-1")]
    main: Option<TrackId>,
    /// What is wrong with the publisher's stream; empty: nothing that can be seen.
    hints: Vec<RoomHint>,
    /// How many watch.
    viewers: usize,
    /// Who publishes: the `sub` of the token.
    publisher: Option<String>,
    /// Since somebody came first.
    age_seconds: f64,
    /// Since media flowed first, breaks included.
    live_seconds: Option<f64>,
}

impl Room {
    fn new(summary: RoomSummary, media: Option<Vec<TrackMedia>>) -> Self {
        let tracks = match media {
            Some(tracks) => tracks.into_iter().map(Track::from).collect(),
            None => summary
                .tracks
                .into_iter()
                .map(|(id, codec)| Track {
                    id,
                    kind: id.kind(),
                    codec,
                    layers: Vec::new(),
                })
                .collect(),
        };
        Self {
            name: summary.name.into(),
            state: summary.activity,
            tracks,
            layers: summary.layers,
            main: summary.main,
            hints: summary
                .hints
                .into_iter()
                .map(|(hint, age)| RoomHint {
                    code: hint.code,
                    message: hint.to_string(),
                    age_seconds: age.as_secs_f64(),
                })
                .collect(),
            viewers: summary.viewers,
            publisher: summary.publisher.map(|name| name.as_ref().to_owned()),
            age_seconds: summary.age.as_secs_f64(),
            live_seconds: summary.live_for.map(|since| since.as_secs_f64()),
        }
    }
}

impl From<TrackMedia> for Track {
    fn from(track: TrackMedia) -> Self {
        Self {
            id: track.id,
            kind: track.id.kind(),
            codec: track.codec,
            layers: track.layers.into_iter().map(TrackLayer::from).collect(),
        }
    }
}

impl From<LayerMedia> for TrackLayer {
    fn from(layer: LayerMedia) -> Self {
        Self {
            layer: layer.layer,
            rid: layer.rid,
            bitrate_bps: layer.bitrate.bps(),
            frames_per_second: layer.frames_per_second,
            keyframe_age_seconds: layer.keyframe_age.map(|age| age.as_secs_f64()),
            paused: layer.paused,
        }
    }
}

/// A page of rooms.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct RoomList {
    /// Oldest first.
    rooms: Vec<Room>,
    /// For the next page's `after`; none on the last page.
    next: Option<u64>,
}

/// The rooms that the token is for.
#[utoipa::path(
    get,
    path = "/api/v1/rooms",
    tag = "rooms",
    params(Page),
    security(("bearer" = [])),
    responses(
        (status = 200, body = RoomList),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(
    State(app): State<App>,
    admin: Admin,
    query: Result<Query<Page>, QueryRejection>,
) -> Result<Json<RoomList>, Problem> {
    let (after, limit) = Page::of(query)?;
    let mut rooms = app
        .director
        .rooms(Some(RoomId(after)), limit + 1, admin.pattern())
        .await?;
    let more = rooms.len() > limit;
    rooms.truncate(limit);
    let next = rooms.last().filter(|_| more).map(|room| room.id.0);
    let rooms = rooms
        .into_iter()
        .map(|room| Room::new(room, None))
        .collect();
    Ok(Json(RoomList { rooms, next }))
}

/// One room, with what each layer carries now.
#[utoipa::path(
    get,
    path = "/api/v1/rooms/{room}",
    tag = "rooms",
    params(("room" = String, Path)),
    security(("bearer" = [])),
    responses(
        (status = 200, body = Room),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get(
    State(app): State<App>,
    RoomPath(room): RoomPath,
    admin: Admin,
) -> Result<Json<Room>, Problem> {
    admin.require(&room)?;
    let summary = app.director.room(room).await?;
    let media = app.media.room_media(summary.id).await;
    Ok(Json(Room::new(summary, media.map(|media| media.tracks))))
}

/// Close a room: its show is over, and everybody in it is sent away.
#[utoipa::path(
    delete,
    path = "/api/v1/rooms/{room}",
    tag = "rooms",
    params(("room" = String, Path)),
    security(("bearer" = [])),
    responses(
        (status = 204, description = "Closed"),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn close(
    State(app): State<App>,
    RoomPath(room): RoomPath,
    admin: Admin,
) -> Result<StatusCode, Problem> {
    admin.require(&room)?;
    app.director.close_room(room).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which video track is shown first.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MainRequest {
    /// Such as `video-2`. None: the first one.
    #[schema(example = "video-2")]
    track: Option<String>,
}

/// Choose the video track that a room shows first.
///
/// For `admin` and for the room's publisher. It is what the first video section of each viewer
/// carries that has not chosen itself, until the show is over.
#[utoipa::path(
    put,
    path = "/api/v1/rooms/{room}/main",
    tag = "rooms",
    params(("room" = String, Path)),
    request_body = MainRequest,
    security(("bearer" = [])),
    responses(
        (status = 204, description = "Noted; it comes with the track's next keyframe"),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn set_main(
    State(app): State<App>,
    RoomPath(room): RoomPath,
    artist: Artist,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let publisher = artist.require(&room)?;
    require_type(&headers, "application/json")?;
    let body = read_body(&app, body, MAIN_BYTES_MAX).await?;
    let request: MainRequest = json_body(&body)?;
    let track = request.track.as_deref().map(read_track).transpose()?;
    app.director.set_main(room, track, publisher).await?;
    Ok(StatusCode::NO_CONTENT)
}
