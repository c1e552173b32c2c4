//! `/api/v1/events`: what happens in every room, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::Event;
use futures_util::stream::{self, Stream};
use lightstick_signaling_core::token::RoomPattern;
use tokio::sync::broadcast::{self, error::RecvError};

use super::access::Admin;
use crate::App;
use crate::feed::FeedEvent;
use crate::problem::{Problem, ProblemBody};
use crate::viewer::sse;

/// Events of the rooms that the token is for, from now on, as server-sent events.
///
/// Each event's name is its `type`. A reader that falls more than 1,024 events behind hears
/// `lagged {"missed"}` and should read the rooms again.
#[utoipa::path(
    get,
    path = "/api/v1/events",
    tag = "rooms",
    security(("bearer" = [])),
    responses(
        (status = 200, description = "The stream", body = FeedEvent, content_type = "text/event-stream"),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get(
    State(app): State<App>,
    admin: Admin,
) -> Result<impl IntoResponse, Problem> {
    let feed = app
        .feed
        .upgrade()
        .ok_or_else(|| Problem::draining(app.config.retry_after))?
        .subscribe();
    Ok(sse(follow(feed, admin.pattern())))
}

fn follow(
    feed: broadcast::Receiver<Arc<FeedEvent>>,
    pattern: Option<RoomPattern>,
) -> impl Stream<Item = Result<Event, Infallible>> + Send + 'static {
    stream::unfold((feed, pattern), |(mut feed, pattern)| async move {
        loop {
            match feed.recv().await {
                Ok(event) => {
                    if pattern.as_ref().is_some_and(|p| !p.matches(&event.room)) {
                        continue;
                    }
                    // Numbers, strings and lists of them: serializing cannot fail.
                    let data = serde_json::to_string(&*event).unwrap_or_default();
                    let sent = Event::default()
                        .event(event.kind.name())
                        .id(event.seq.to_string())
                        .data(data);
                    return Some((Ok(sent), (feed, pattern)));
                }
                Err(RecvError::Lagged(missed)) => {
                    let data = serde_json::json!({ "missed": missed }).to_string();
                    let sent = Event::default().event("lagged").data(data);
                    return Some((Ok(sent), (feed, pattern)));
                }
                Err(RecvError::Closed) => return None,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use lightstick_signaling_core::rooms::Event as RoomEvent;

    use super::*;
    use crate::feed::{FEED_EVENTS_MAX, Feed};

    fn started(room: &str) -> RoomEvent {
        RoomEvent::RoomStarted {
            room: room.parse().unwrap(),
        }
    }

    /// The events' debug form holds their bytes: axum gives no other way to look at them.
    async fn collect(feed: Feed, pattern: Option<&str>, publish: &[&str]) -> Vec<String> {
        let mut feed = feed;
        let reader = feed.source().upgrade().unwrap().subscribe();
        for room in publish {
            feed.publish(&started(room));
        }
        drop(feed);
        follow(reader, pattern.map(RoomPattern::new))
            .map(|event| format!("{event:?}"))
            .collect()
            .await
    }

    #[tokio::test]
    async fn only_the_tokens_rooms() {
        let seen = collect(Feed::new(), Some("a-*"), &["a-1", "b-1", "a-2"]).await;
        assert_eq!(seen.len(), 2);
        assert!(seen[0].contains("a-1") && seen[1].contains("a-2"));
        assert_eq!(collect(Feed::new(), None, &["a", "b"]).await.len(), 2);
    }

    #[tokio::test]
    async fn a_slow_reader_hears_how_much_it_missed() {
        let rooms = vec!["a"; FEED_EVENTS_MAX + 3];
        let seen = collect(Feed::new(), None, &rooms).await;
        assert!(seen[0].contains("lagged"), "{}", seen[0]);
        assert_eq!(seen.len(), FEED_EVENTS_MAX + 1);
    }
}
