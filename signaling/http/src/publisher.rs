//! A publisher's events: which of its layers somebody watches, how many watch, and what is wrong with
//! its stream.

use std::collections::VecDeque;
use std::convert::Infallible;

use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::Event;
use futures_util::stream::{self, Stream};
use lightstick_types::{Hint, Layer, Role, TrackId};
use serde::Serialize;

use crate::App;
use crate::director::Watch;
use crate::extract::{ClientAddress, SessionPath};
use crate::feed::{HintBody, NamedLayer};
use crate::problem::{Problem, ProblemBody};
use crate::session::url;
use crate::viewer::{json, sse};

/// The events' names, as the `Link` of a session lists them.
pub(crate) const EVENTS: &str = "layers,audience,hints";

/// Events of a publisher's session, as server-sent events.
///
/// `layers {"layers":[{"track","layer","rid","wanted"}]}`: a publisher that can need not send layers that
/// are not wanted, and sends them again when they are; the list is empty without simulcast.
/// `audience {"viewers"}`: how many watch, at most once a second.
/// `hints {"hints":[{"code","message"}]}`: everything that is wrong with the stream. The present state
/// comes first. The stream ends with the session.
#[utoipa::path(
    get,
    path = "/whip/{room}/{session}/events",
    tag = "whip",
    params(("room" = String, Path), ("session" = String, Path)),
    responses(
        (status = 200, description = "The stream", body = String, content_type = "text/event-stream"),
        (status = 404, description = "No such session", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many streams", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn publisher_events(
    State(app): State<App>,
    path: SessionPath,
    client: ClientAddress,
) -> Result<impl IntoResponse, Problem> {
    let url = url(Role::Publisher, path, client);
    Ok(sse(follow(app.director.watch(url, None).await?)))
}

#[derive(Serialize)]
struct Layers<'a> {
    layers: Vec<WantedLayer<'a>>,
}

#[derive(Serialize)]
struct WantedLayer<'a> {
    track: TrackId,
    layer: Layer,
    rid: &'a str,
    wanted: bool,
}

/// What the stream has said last, so that it says only what is new.
#[derive(Default)]
struct Told {
    layers: Option<Vec<NamedLayer>>,
    viewers: Option<usize>,
    hints: Option<Vec<Hint>>,
}

struct Follower {
    watch: Watch,
    told: Told,
    /// One event of each kind at most.
    pending: VecDeque<Event>,
}

/// The newest state only: what a slow reader has not read is not worth reading any more.
fn follow(watch: Watch) -> impl Stream<Item = Result<Event, Infallible>> + Send + 'static {
    let mut follower = Follower {
        watch,
        told: Told::default(),
        pending: VecDeque::new(),
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
            tokio::select! {
                changed = self.watch.session.changed() => changed.ok()?,
                changed = self.watch.room.changed() => changed.ok()?,
            }
            self.compare();
        }
        self.pending.pop_front()
    }

    /// Queues an event for each thing that differs from what was told.
    fn compare(&mut self) {
        let session = self.watch.session.borrow_and_update();
        let mut hints = None;
        if self.told.layers.as_ref() != Some(&session.layers) {
            self.pending.push_back(layers_event(&session.layers));
            self.told.layers = Some(session.layers.clone());
        }
        if self.told.hints.as_ref() != Some(&session.hints) {
            hints = Some(hints_event(&session.hints));
            self.told.hints = Some(session.hints.clone());
        }
        drop(session);
        // The registry tells a room's number at most once in `count_interval`.
        let viewers = self.watch.room.borrow_and_update().status.viewers;
        if self.told.viewers != Some(viewers) {
            self.pending
                .push_back(json("audience", &serde_json::json!({ "viewers": viewers })));
            self.told.viewers = Some(viewers);
        }
        self.pending.extend(hints);
    }
}

#[derive(Serialize)]
struct Hints {
    hints: Vec<HintBody>,
}

fn hints_event(hints: &[Hint]) -> Event {
    let hints = hints.iter().copied().map(HintBody::from).collect();
    json("hints", &Hints { hints })
}

fn layers_event(layers: &[NamedLayer]) -> Event {
    let layers = layers.iter().map(|named| WantedLayer {
        track: named.stream.track,
        layer: named.stream.layer,
        rid: &named.rid,
        wanted: !named.paused,
    });
    let layers = layers.collect();
    json("layers", &Layers { layers })
}
