//! A viewer's events and layer: the WHEP extensions.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use lightstick_signaling_core::rooms::{Activity, SessionRole};
use lightstick_types::{Layer, LayerChoice};
use serde::{Deserialize, Serialize};

use crate::App;
use crate::director::Watch;
use crate::extract::{ClientAddress, SessionPath, read_body, require_type};
use crate::problem::{Code, Problem, ProblemBody};
use crate::session::{command_problem, url};

/// A comment goes out after this much silence, so that proxies and clients know the stream lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Largest layer request, in bytes.
const LAYER_BYTES_MAX: usize = 1_024;

/// Events of a viewer's room, as server-sent events.
///
/// `active {}`, `inactive {"reason"}`, `layers {"layers","current"}`, `viewercount {"viewers"}`
/// and `reconnect {"retryAfterMs"}`. The present state comes first. The stream ends with the
/// session.
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
    let watch = app
        .director
        .watch(url(SessionRole::Viewer, path, client))
        .await?;
    Ok(sse(follow(watch)))
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

/// What the stream has said last, so that it says only what is new.
#[derive(Default, PartialEq)]
struct Told {
    activity: Option<Activity>,
    layers: Option<(Vec<Layer>, Option<Layer>)>,
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
            let changed = tokio::select! {
                changed = self.watch.room.changed() => changed,
                changed = self.watch.session.changed() => changed,
            };
            // The session or the room is gone: what it said last still goes out.
            self.ended = changed.is_err();
            self.compare();
        }
        self.pending.pop_front()
    }

    /// Queues an event for each thing that differs from what was told.
    fn compare(&mut self) {
        let view = self.watch.room.borrow_and_update().clone();
        let layer = self.watch.session.borrow_and_update().layer;
        let live = view.is_live();
        if self.told.activity != Some(view.status.activity) {
            self.told.activity = Some(view.status.activity);
            let event = if live {
                json("active", &serde_json::json!({}))
            } else {
                let reason = view.status.activity;
                json("inactive", &serde_json::json!({ "reason": reason }))
            };
            self.pending.push_back(event);
        }
        if live {
            let layers = (view.status.layers, layer);
            if self.told.layers.as_ref() != Some(&layers) {
                let (all, current) = (&layers.0[..], layers.1);
                self.pending.push_back(json(
                    "layers",
                    &Layers {
                        layers: all,
                        current,
                    },
                ));
                self.told.layers = Some(layers);
            }
        }
        if self.told.viewers != Some(view.status.viewers) {
            self.told.viewers = Some(view.status.viewers);
            let viewers = view.status.viewers;
            self.pending.push_back(json(
                "viewercount",
                &serde_json::json!({ "viewers": viewers }),
            ));
        }
        if let Some(after) = view.reconnect_after
            && !self.told.reconnect
        {
            self.told.reconnect = true;
            let ms = reconnect_ms(after, self.watch.number);
            self.pending.push_back(json(
                "reconnect",
                &serde_json::json!({ "retryAfterMs": ms }),
            ));
        }
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

/// A viewer's choice.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LayerRequest {
    /// What to send.
    layer: LayerChoice,
}

/// Choose the layer that a viewer gets.
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
    let request: LayerRequest = serde_json::from_slice(&body).map_err(|error| {
        let code = if error.is_data() {
            Code::UnacceptableBody
        } else {
            Code::MalformedRequest
        };
        Problem::new(code, error.to_string())
    })?;
    let session = path.session;
    let found = app
        .director
        .find(url(SessionRole::Viewer, path, client))
        .await?;
    app.media
        .choose_layer(found.shard, session, request.layer)
        .await
        .map_err(command_problem)?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reconnects_are_spread() {
        let after = Duration::from_secs(2);
        let times: Vec<u64> = (0..64).map(|n| reconnect_ms(after, n)).collect();
        assert_eq!(times[0], 2_000);
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(times[63] < 4_000);
    }
}
