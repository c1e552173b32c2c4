//! `POST /whip/{room}` and `POST /whep/{room}`: how sessions begin.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use lightstick_signaling_core::rooms::{Admission, SessionNumber};
use lightstick_signaling_core::token::{Claims, Grant};
use lightstick_signaling_core::turn;
use lightstick_types::{ChatMember, Role, RoomName, SessionId};

use crate::App;
use crate::auth::unix_now;
use crate::config::SignalingConfig;
use crate::director::{Join, Joined};
use crate::extract::{ClientAddress, RoomPath, read_body, require_type};
use crate::member::member;
use crate::problem::{Code, Problem, ProblemBody};
use crate::publisher;
use crate::stats::JoinOutcome;

/// The media type of offers and answers.
const SDP: &str = "application/sdp";

/// Publish: an SDP offer makes a session that sends into the room (RFC 9725).
///
/// The token must grant `publish` for the room. A room that somebody else publishes in is taken
/// over only with the grant `takeover`. The response links to the session's events.
#[utoipa::path(
    post,
    path = "/whip/{room}",
    tag = "whip",
    params(("room" = String, Path, description = "1 to 64 of A-Z a-z 0-9 . _ -")),
    request_body(content = String, content_type = "application/sdp"),
    security(("bearer" = [])),
    responses(
        (status = 201, description = "The answer, with Location, ETag and Link", body = String, content_type = "application/sdp"),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Overloaded or shutting down; see Retry-After", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn publish(
    State(app): State<App>,
    path: Result<RoomPath, Problem>,
    client: ClientAddress,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let counted = Counted::new(&app, Role::Publisher);
    counted.end(
        async {
            let room = path?.0;
            let claims = app.auth.require(&headers, Grant::Publish, &room)?;
            let member = member(&app, Some(&claims), &room, client.ip).await;
            let admission = Admission {
                session: SessionId::random(),
                room,
                role: Role::Publisher,
                participant: Some(claims.sub.into()),
                takeover: claims.grants.takeover,
                address: client.ip,
            };
            join(&app, admission, member, &headers, body).await
        }
        .await,
    )
}

/// Watch: an SDP offer makes a session that receives the room's media (WHEP).
///
/// A viewer who comes before the artist waits, unless the server is set to answer 409. The
/// response links to the session's events and layer resources.
#[utoipa::path(
    post,
    path = "/whep/{room}",
    tag = "whep",
    params(("room" = String, Path, description = "1 to 64 of A-Z a-z 0-9 . _ -")),
    request_body(content = String, content_type = "application/sdp"),
    security((), ("bearer" = [])),
    responses(
        (status = 201, description = "The answer, with Location, ETag and Link", body = String, content_type = "application/sdp"),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Full, overloaded or shutting down; see Retry-After", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn watch(
    State(app): State<App>,
    path: Result<RoomPath, Problem>,
    client: ClientAddress,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let counted = Counted::new(&app, Role::Viewer);
    counted.end(
        async {
            let room = path?.0;
            let claims = viewer(&app, &headers, &room)?;
            let member = member(&app, claims.as_ref(), &room, client.ip).await;
            let participant = claims.map(|claims| claims.sub.into());
            let admission = Admission {
                session: SessionId::random(),
                room,
                role: Role::Viewer,
                participant,
                takeover: false,
                address: client.ip,
            };
            join(&app, admission, member, &headers, body).await
        }
        .await,
    )
}

/// Counts a join's outcome, also when the client goes away and the handler is dropped.
struct Counted<'a> {
    app: &'a App,
    role: Role,
    outcome: JoinOutcome,
}

impl<'a> Counted<'a> {
    fn new(app: &'a App, role: Role) -> Self {
        Self {
            app,
            role,
            outcome: JoinOutcome::Abandoned,
        }
    }

    fn end(mut self, result: Result<Response, Problem>) -> Result<Response, Problem> {
        self.outcome = match &result {
            Ok(_) => JoinOutcome::Joined,
            Err(problem) => JoinOutcome::of(problem.code),
        };
        result
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.app.stats.joined(self.role, self.outcome);
    }
}

/// Who watches. Where watching is open, a token names its bearer if it is good, and is no reason
/// to refuse if it is not.
fn viewer(app: &App, headers: &HeaderMap, room: &RoomName) -> Result<Option<Claims>, Problem> {
    let claims = app.auth.require(headers, Grant::Watch, room);
    match claims {
        Ok(claims) => Ok(Some(claims)),
        Err(_) if app.watch_open() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn join(
    app: &App,
    admission: Admission,
    member: Option<Arc<ChatMember>>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    require_type(headers, SDP)?;
    let body = read_body(app, body, app.config.offer_bytes_max).await?;
    let offer = String::from_utf8(body.into())
        .map_err(|_| Problem::new(Code::MalformedOffer, "the offer is not UTF-8"))?;
    let (room, session, role) = (admission.room.clone(), admission.session, admission.role);
    let joined = app
        .director
        .join(Join {
            admission,
            member,
            offer,
        })
        .await?;
    created(app, &room, session, role, joined)
}

fn created(
    app: &App,
    room: &RoomName,
    session: SessionId,
    role: Role,
    joined: Joined,
) -> Result<Response, Problem> {
    let Joined {
        answer,
        etag,
        number,
        guard,
    } = joined;
    let base = match role {
        Role::Publisher => "whip",
        Role::Viewer => "whep",
    };
    let location = format!("/{base}/{room}/{session}");
    let mut links = ice_links(&app.config, number, unix_now());
    match role {
        Role::Viewer => {
            links.push(format!(
                "<{location}/events>; rel=\"urn:ietf:params:whep:ext:core:server-sent-events\"; \
                 events=\"active,inactive,layers,tracks,viewercount,reconnect\""
            ));
            links.push(format!(
                "<{location}/layer>; rel=\"urn:ietf:params:whep:ext:core:layer\""
            ));
        }
        Role::Publisher => links.push(format!(
            "<{location}/events>; rel=\"urn:ietf:params:whip:ext:core:server-sent-events\"; \
             events=\"{}\"",
            publisher::EVENTS,
        )),
    }
    let mut response = (StatusCode::CREATED, answer).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(SDP));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::LOCATION, value(location)?);
    headers.insert(header::ETAG, value(etag.to_string())?);
    for link in links {
        headers.append(header::LINK, value(link)?);
    }
    guard.keep();
    Ok(response)
}

fn value(text: String) -> Result<HeaderValue, Problem> {
    HeaderValue::try_from(text)
        .map_err(|_| Problem::internal("a header of the answer could not be written"))
}

/// The `Link` of each ICE server URL (RFC 9725 section 4.6).
fn ice_links(config: &SignalingConfig, number: SessionNumber, now_unix: u64) -> Vec<String> {
    let expires = now_unix.saturating_add(config.turn_ttl.as_secs());
    let mut links = Vec::new();
    for server in &config.ice_servers {
        let credentials = match (&server.secret, &server.username, &server.credential) {
            (Some(secret), _, _) => {
                let made = turn::credentials(secret.as_bytes(), &format!("s{number}"), expires);
                Some((made.username, made.credential))
            }
            (None, Some(username), Some(credential)) => {
                Some((username.clone(), credential.clone()))
            }
            _ => None,
        };
        for url in &server.urls {
            let mut link = format!("<{url}>; rel=\"ice-server\"");
            if url.starts_with("turn")
                && let Some((username, credential)) = &credentials
            {
                let (username, credential) = (quoted(username), quoted(credential));
                link.push_str(&format!(
                    "; username={username}; credential={credential}; credential-type=\"password\""
                ));
            }
            links.push(link);
        }
    }
    links
}

/// A quoted string (RFC 9110 section 5.6.4).
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The type of what a POST takes; nothing else is here to be read.
#[utoipa::path(
    get,
    path = "/whip/{room}",
    tag = "whip",
    params(("room" = String, Path)),
    responses((status = 204, description = "Nothing to read here"))
)]
pub(crate) async fn whip_endpoint(path: RoomPath) -> StatusCode {
    drop(path);
    StatusCode::NO_CONTENT
}

/// The type of what a POST takes, as WHEP players ask for it.
#[utoipa::path(
    get,
    path = "/whep/{room}",
    tag = "whep",
    params(("room" = String, Path)),
    responses((status = 200, description = "No content, but its type", content_type = "application/sdp"))
)]
pub(crate) async fn whep_endpoint(path: RoomPath) -> Response {
    drop(path);
    ([(header::CONTENT_TYPE, SDP)], ()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::IceServer;

    #[test]
    fn links_carry_credentials_of_turn_only() {
        let config = SignalingConfig {
            ice_servers: vec![
                IceServer {
                    urls: vec!["stun:a:3478".into(), "turn:a:3478?transport=udp".into()],
                    secret: Some("north".into()),
                    ..IceServer::default()
                },
                IceServer {
                    urls: vec!["turns:b".into()],
                    username: Some("u\"\\".into()),
                    credential: Some("c".into()),
                    ..IceServer::default()
                },
            ],
            turn_ttl: std::time::Duration::from_secs(3_600),
            ..SignalingConfig::default()
        };
        assert_eq!(config.validate(), Ok(()));
        assert_eq!(
            ice_links(&config, 17, 1_700_000_000),
            [
                "<stun:a:3478>; rel=\"ice-server\"",
                "<turn:a:3478?transport=udp>; rel=\"ice-server\"; username=\"1700003600:s17\"; \
                 credential=\"Udnd5Nshh9MAzl3Vej76ImDUU/4=\"; credential-type=\"password\"",
                "<turns:b>; rel=\"ice-server\"; username=\"u\\\"\\\\\"; credential=\"c\"; \
                 credential-type=\"password\"",
            ]
        );
    }
}
