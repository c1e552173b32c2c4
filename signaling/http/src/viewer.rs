//! A viewer's events and layer: the WHEP extensions.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use lightstick_sfu::{MainChoice, ViewerChoice};
use lightstick_signaling_core::rooms::{Activity, VideoTrack};
use lightstick_types::{Layer, LayerChoice, Role, TrackId};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::App;
use crate::director::{EventKinds, Watch};
use crate::extract::{ClientAddress, SessionPath, StreamPath, read_body, require_type};
use crate::feed::TrackBody;
use crate::problem::{Code, Problem, ProblemBody};
use crate::schema;
use crate::session::{command_problem, url};

/// A comment goes out after this much silence, so that proxies and clients know the stream lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Largest layer request, and largest list of events, in bytes.
const LAYER_BYTES_MAX: usize = 1_024;
const KINDS_BYTES_MAX: usize = 1_024;

/// Reads the body of a POST: nothing, or a JSON array of names. Names that no event has are of other
/// servers.
fn event_kinds(headers: &HeaderMap, body: &[u8]) -> Result<EventKinds, Problem> {
    if body.is_empty() {
        return Ok(EventKinds::default());
    }
    require_type(headers, "application/json")?;
    json_body(body).map(EventKinds::only)
}

/// Reads a JSON body.
pub(crate) fn json_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        let code = if error.is_data() {
            Code::UnacceptableBody
        } else {
            Code::MalformedRequest
        };
        Problem::new(code, error.to_string())
    })
}

/// Events of a viewer's room, as server-sent events.
///
/// `active {}`, `inactive {"reason"}`, `layers {"layers","current"}` of the main track,
/// `tracks {"tracks":[{"id","layers"}],"main"}`, `viewercount {"viewers"}` and
/// `reconnect {"retryAfterMs"}`. The present state comes first. The stream ends with the session.
#[utoipa::path(
    get,
    path = "/whep/{room}/{session}/events",
    tag = "whep",
    params(("room" = String, Path), ("session" = String, Path)),
    responses(
        (status = 200, description = "The stream", body = String, content_type = "text/event-stream"),
        (status = 404, description = "No such session", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many streams", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn events(
    State(app): State<App>,
    path: SessionPath,
    client: ClientAddress,
) -> Result<impl IntoResponse, Problem> {
    let url = url(Role::Viewer, path, client);
    Ok(sse(follow(app.director.watch(url, None).await?)))
}

/// Make a stream of some events (draft-ietf-wish-whep-03 section 4.9.1).
///
/// The body lists the events to send; without one, all are. The response's Location is the stream.
/// Of more streams than a session may have, the oldest ends.
#[utoipa::path(
    post,
    path = "/whep/{room}/{session}/events",
    tag = "whep",
    params(("room" = String, Path), ("session" = String, Path)),
    request_body = Vec<String>,
    responses(
        (status = 201, description = "Made, with Location"),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn make_stream(
    State(app): State<App>,
    path: SessionPath,
    client: ClientAddress,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let body = read_body(&app, body, KINDS_BYTES_MAX).await?;
    let kinds = event_kinds(&headers, &body)?;
    let base = format!("/whep/{}/{}", path.room, path.session);
    let url = url(Role::Viewer, path, client);
    let stream = app.director.add_stream(url, kinds).await?;
    let location = [(header::LOCATION, format!("{base}/events/{stream}"))];
    Ok((StatusCode::CREATED, location).into_response())
}

/// Events of a stream that was made by POST, as server-sent events.
#[utoipa::path(
    get,
    path = "/whep/{room}/{session}/events/{stream}",
    tag = "whep",
    params(("room" = String, Path), ("session" = String, Path), ("stream" = u64, Path)),
    responses(
        (status = 200, description = "The stream", body = String, content_type = "text/event-stream"),
        (status = 404, description = "No such session or stream", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many streams", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn stream(
    State(app): State<App>,
    path: StreamPath,
    client: ClientAddress,
) -> Result<impl IntoResponse, Problem> {
    let StreamPath { session, stream } = path;
    let url = url(Role::Viewer, session, client);
    Ok(sse(follow(app.director.watch(url, Some(stream)).await?)))
}

/// End a stream that was made by POST.
#[utoipa::path(
    delete,
    path = "/whep/{room}/{session}/events/{stream}",
    tag = "whep",
    params(("room" = String, Path), ("session" = String, Path), ("stream" = u64, Path)),
    responses(
        (status = 200, description = "It is over"),
        (status = 404, description = "No such session or stream", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn end_stream(
    State(app): State<App>,
    path: StreamPath,
    client: ClientAddress,
) -> Result<StatusCode, Problem> {
    let StreamPath { session, stream } = path;
    let url = url(Role::Viewer, session, client);
    app.director.end_stream(url, stream).await?;
    Ok(StatusCode::OK)
}

/// A stream of events with keep-alive comments, which neither caches nor proxies may hold back.
pub(crate) fn sse<S>(stream: S) -> impl IntoResponse
where
    S: Stream<Item = Result<Event, Infallible>> + Send + 'static,
{
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    (
        [("cache-control", "no-store"), ("x-accel-buffering", "no")],
        Sse::new(stream).keep_alive(keep_alive),
    )
}

#[derive(Serialize)]
struct Layers<'a> {
    layers: &'a [Layer],
    current: Option<Layer>,
}

#[derive(Serialize)]
struct Tracks {
    tracks: Vec<TrackBody>,
    /// What the viewer's first video section carries.
    main: Option<TrackId>,
}

/// What the stream has said last, so that it says only what is new.
#[derive(Default, PartialEq)]
struct Told {
    activity: Option<Activity>,
    layers: Option<(Vec<Layer>, Option<Layer>)>,
    tracks: Option<(Vec<VideoTrack>, Option<TrackId>)>,
    viewers: Option<usize>,
    reconnect: bool,
}

struct Follower {
    watch: Watch,
    told: Told,
    pending: VecDeque<Event>,
    ended: bool,
}

fn follow(watch: Watch) -> impl Stream<Item = Result<Event, Infallible>> + Send + 'static {
    let mut follower = Follower {
        watch,
        told: Told::default(),
        pending: VecDeque::new(),
        ended: false,
    };
    follower.compare();
    stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((Ok(event), follower))
    })
}

impl Follower {
    async fn next(&mut self) -> Option<Event> {
        while self.pending.is_empty() {
            if self.ended {
                return None;
            }
            self.ended = tokio::select! {
                changed = self.watch.room.changed() => changed.is_err(),
                changed = self.watch.session.changed() => changed.is_err(),
                () = over(self.watch.ended.as_ref()) => true,
            };
            // The session, the room or the stream is gone: what it said last still goes out.
            self.compare();
        }
        self.pending.pop_front()
    }

    /// Queues an event for each thing that differs from what was told.
    fn compare(&mut self) {
        let view = self.watch.room.borrow_and_update().clone();
        let (seen, chosen) = {
            let session = self.watch.session.borrow_and_update();
            (session.seen, session.main)
        };
        let live = view.is_live();
        if self.told.activity != Some(view.status.activity) {
            self.told.activity = Some(view.status.activity);
            if live {
                self.tell("active", &serde_json::json!({}));
            } else {
                let reason = view.status.activity;
                self.tell("inactive", &serde_json::json!({ "reason": reason }));
            }
        }
        if live {
            let is_chosen = |track: &&VideoTrack| Some(track.id) == chosen;
            let chosen = view.status.tracks.iter().find(is_chosen);
            let main = chosen.map(|track| track.id).or(view.status.main);
            let current = main.and_then(|main| seen[main.index()]);
            let layers = (view.status.layers(main).to_vec(), current);
            if self.told.layers.as_ref() != Some(&layers) {
                let (all, current) = (&layers.0[..], layers.1);
                let told = Layers {
                    layers: all,
                    current,
                };
                self.tell("layers", &told);
                self.told.layers = Some(layers);
            }
            let tracks = (view.status.tracks, main);
            if self.told.tracks.as_ref() != Some(&tracks) {
                let told = Tracks {
                    tracks: tracks.0.iter().map(TrackBody::from).collect(),
                    main,
                };
                self.tell("tracks", &told);
                self.told.tracks = Some(tracks);
            }
        }
        if self.told.viewers != Some(view.status.viewers) {
            self.told.viewers = Some(view.status.viewers);
            let viewers = view.status.viewers;
            // `viewercount` is the draft's name for it.
            let count = serde_json::json!({ "viewers": viewers, "viewercount": viewers });
            self.tell("viewercount", &count);
        }
        if let Some(after) = view.reconnect_after
            && !self.told.reconnect
        {
            self.told.reconnect = true;
            let ms = reconnect_ms(after, self.watch.number);
            self.tell("reconnect", &serde_json::json!({ "retryAfterMs": ms }));
        }
    }

    fn tell(&mut self, name: &'static str, data: &impl Serialize) {
        if self.watch.kinds.has(name) {
            self.pending.push_back(json(name, data));
        }
    }
}

async fn over(ended: Option<&CancellationToken>) {
    match ended {
        Some(ended) => ended.cancelled().await,
        None => std::future::pending().await,
    }
}

/// Spread over once more the same time: a whole audience must not come back in one instant.
fn reconnect_ms(after: Duration, number: u64) -> u64 {
    let after = after.as_millis() as u64;
    after + after * (number % 64) / 64
}

pub(crate) fn json(name: &'static str, data: &impl Serialize) -> Event {
    // Numbers, strings and lists of them: serializing cannot fail, nor has JSON line breaks.
    let data = serde_json::to_string(data).unwrap_or_default();
    Event::default().event(name).data(data)
}

/// A viewer's choice. What is left out or null stays as it is; of an empty object, the layer is
/// `auto`.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LayerRequest {
    /// What to send.
    #[schema(value_type = Option<schema::LayerChoice>)]
    layer: Option<LayerChoice>,
    /// The same. Older drafts call it `encodingId`.
    #[serde(alias = "encodingId")]
    #[schema(value_type = Option<schema::LayerChoice>)]
    rid: Option<LayerChoice>,
    /// The video track that the first video section carries, such as `video-2`; the other sections
    /// carry the other tracks in order. `auto`: the one that the room shows first.
    #[schema(example = "video-2")]
    main: Option<String>,
    /// Of which section of the SDP. A choice is for all of them.
    #[serde(rename = "mediaId")]
    #[schema(value_type = Option<String>)]
    _media_id: Option<IgnoredAny>,
}

impl LayerRequest {
    fn read(self) -> Result<ViewerChoice, Problem> {
        let layer = self.layer.or(self.rid);
        let main = self.main.map(|main| match main.as_str() {
            "auto" => Ok(MainChoice::Auto),
            track => read_track(track).map(MainChoice::Track),
        });
        let main = main.transpose()?;
        Ok(ViewerChoice {
            layer: layer.or(main.is_none().then_some(LayerChoice::Auto)),
            main,
        })
    }
}

/// A track by its name. One that no room can have is unknown in each.
pub(crate) fn read_track(name: &str) -> Result<TrackId, Problem> {
    name.parse().map_err(|_| Problem::track_not_found())
}

/// Choose the layers that a viewer gets, and which video track it sees first.
#[utoipa::path(
    post,
    path = "/whep/{room}/{session}/layer",
    tag = "whep",
    params(("room" = String, Path), ("session" = String, Path)),
    request_body = LayerRequest,
    responses(
        (status = 204, description = "Noted; it comes with the next keyframe"),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn layer(
    State(app): State<App>,
    path: SessionPath,
    client: ClientAddress,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    require_type(&headers, "application/json")?;
    let body = read_body(&app, body, LAYER_BYTES_MAX).await?;
    let request: LayerRequest = json_body(&body)?;
    choose(&app, path, client, request.read()?).await
}

/// Leave both choices to the server again.
#[utoipa::path(
    delete,
    path = "/whep/{room}/{session}/layer",
    tag = "whep",
    params(("room" = String, Path), ("session" = String, Path)),
    responses(
        (status = 204, description = "Noted"),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn unselect_layer(
    State(app): State<App>,
    path: SessionPath,
    client: ClientAddress,
) -> Result<StatusCode, Problem> {
    let choice = ViewerChoice {
        layer: Some(LayerChoice::Auto),
        main: Some(MainChoice::Auto),
    };
    choose(&app, path, client, choice).await
}

async fn choose(
    app: &App,
    path: SessionPath,
    client: ClientAddress,
    choice: ViewerChoice,
) -> Result<StatusCode, Problem> {
    let session = path.session;
    let url = url(Role::Viewer, path, client);
    let found = match choice.main {
        Some(MainChoice::Track(track)) => app.director.find_track(url, track).await?,
        Some(MainChoice::Auto) | None => app.director.find(url).await?,
    };
    app.media
        .choose(found.shard, session, choice)
        .await
        .map_err(command_problem)?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_of_viewers() {
        let check = |body: &str, want: Option<ViewerChoice>| {
            let request: Result<LayerRequest, _> = json_body(body.as_bytes());
            assert_eq!(request.and_then(LayerRequest::read).ok(), want, "{body}");
        };
        let choice = |layer, main| Some(ViewerChoice { layer, main });
        let auto = Some(LayerChoice::Auto);
        let low = Some(LayerChoice::Low);
        let second = TrackId::video(1).map(MainChoice::Track);
        check("{}", choice(auto, None));
        check(r#"{"layer":"low"}"#, choice(low, None));
        check(r#"{"encodingId":"low","mediaId":1}"#, choice(low, None));
        check(r#"{"main":"video-2"}"#, choice(None, second));
        check(r#"{"main":"auto"}"#, choice(None, Some(MainChoice::Auto)));
        check(r#"{"layer":"low","main":"video-2"}"#, choice(low, second));
        check(r#"{"layer":null,"main":"video-2"}"#, choice(None, second));
        check(r#"{"layer":"low","main":null}"#, choice(low, None));
        check(r#"{"main":"video-9"}"#, None);
        check(r#"{"main":2}"#, None);
        check(r#"{"track":"video-2"}"#, None);
    }

    #[test]
    fn reconnects_are_spread() {
        let after = Duration::from_secs(2);
        let times: Vec<u64> = (0..64).map(|n| reconnect_ms(after, n)).collect();
        assert_eq!(times[0], 2_000);
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(times[63] < 4_000);
    }
}
