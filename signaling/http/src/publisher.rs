//! A publisher's events: which of its layers somebody watches.

use std::convert::Infallible;

use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::Event;
use futures_util::stream::{self, Stream};
use lightstick_signaling_core::rooms::SessionRole;
use lightstick_types::Layer;
use serde::Serialize;

use crate::App;
use crate::director::Watch;
use crate::extract::{ClientAddress, SessionPath};
use crate::feed::NamedLayer;
use crate::problem::{Problem, ProblemBody};
use crate::session::url;
use crate::viewer::{json, sse};

/// Events of a publisher's session, as server-sent events.
///
/// `layers {"layers":[{"layer","rid","wanted"}]}`: a publisher that can need not send layers that
/// are not wanted, and sends them again when they are. The present state comes first; the list is
/// empty without simulcast. The stream ends with the session.
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
    let url = url(SessionRole::Publisher, path, client);
    Ok(sse(follow(app.director.watch(url).await?)))
}

#[derive(Serialize)]
struct Layers<'a> {
    layers: Vec<WantedLayer<'a>>,
}

#[derive(Serialize)]
struct WantedLayer<'a> {
    layer: Layer,
    rid: &'a str,
    wanted: bool,
}

/// The newest state only: what a slow reader has not read is not worth reading any more.
fn follow(watch: Watch) -> impl Stream<Item = Result<Event, Infallible>> + Send + 'static {
    let mut session = watch.session;
    session.mark_changed();
    stream::unfold(session, |mut session| async move {
        session.changed().await.ok()?;
        let event = event(&session.borrow_and_update().layers);
        Some((Ok(event), session))
    })
}

fn event(layers: &[NamedLayer]) -> Event {
    let layers = layers.iter().map(|named| WantedLayer {
        layer: named.layer,
        rid: &named.rid,
        wanted: !named.paused,
    });
    let layers = layers.collect();
    json("layers", &Layers { layers })
}
