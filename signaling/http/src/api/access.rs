//! Who may use `/api/v1`.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use lightstick_chat::core::room::Actor;
use lightstick_signaling_core::token::{Claims, Grant, RoomPattern, TokenError};
use lightstick_types::{ChatRole, RoomName};

use crate::App;
use crate::extract::ClientAddress;
use crate::problem::Problem;

/// A caller that may use the API, for the rooms of its token.
pub(crate) struct Admin {
    /// None in development mode on this machine: every room.
    claims: Option<Claims>,
}

impl Admin {
    /// Refuses a room that the token is not for.
    pub(crate) fn require(&self, room: &RoomName) -> Result<(), Problem> {
        match &self.claims {
            Some(claims) => Ok(claims.allow(Grant::Admin, room)?),
            None => Ok(()),
        }
    }

    /// The rooms to show; none for all.
    pub(crate) fn pattern(self) -> Option<RoomPattern> {
        self.claims.map(|claims| claims.room)
    }
}

impl FromRequestParts<App> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let client = ClientAddress::from_request_parts(parts, app).await?;
        match app.auth.claims(&parts.headers) {
            Ok(claims) => {
                claims.has(Grant::Admin)?;
                Ok(Self {
                    claims: Some(claims),
                })
            }
            Err(TokenError::Missing) if is_open(app, client, &parts.headers) => {
                Ok(Self { claims: None })
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Who acts in chats where no token says it, in development mode.
const DEVELOPER: &str = "development";

/// A caller that may use the API of chats, for the rooms of its token: a moderator, the artist or
/// the integrator's server.
pub(crate) struct Operator {
    /// None in development mode on this machine: the server, for every room.
    claims: Option<Claims>,
}

impl Operator {
    /// Who acts in a room: the integrator's server with `admin`, else a moderator or the artist as
    /// they are in the chat itself.
    pub(crate) fn moderates(&self, room: &RoomName) -> Result<Actor, Problem> {
        let Some(claims) = &self.claims else {
            return Ok(server(DEVELOPER));
        };
        match claims.allow(Grant::Admin, room) {
            Ok(()) => return Ok(server(&claims.sub)),
            Err(error) => match power(claims) {
                Some(grant) => claims.allow(grant, room)?,
                None => return Err(error.into()),
            },
        }
        let role = claims.chat_role();
        if role < ChatRole::Moderator {
            return Err(TokenError::NoGrant(Grant::Moderate).into());
        }
        let user = claims.sub.clone();
        Ok(Actor { user, role })
    }

    /// The integrator's server, in a room.
    pub(crate) fn serves(&self, room: &RoomName) -> Result<Actor, Problem> {
        match &self.claims {
            Some(claims) => {
                claims.allow(Grant::Admin, room)?;
                Ok(server(&claims.sub))
            }
            None => Ok(server(DEVELOPER)),
        }
    }

    /// The integrator's server, for what belongs to no room: the token must be for every room.
    pub(crate) fn serves_all(&self) -> Result<Actor, Problem> {
        match &self.claims {
            Some(claims) => {
                claims.has(Grant::Admin)?;
                match claims.room.is_every() {
                    true => Ok(server(&claims.sub)),
                    false => Err(TokenError::WrongRoom.into()),
                }
            }
            None => Ok(server(DEVELOPER)),
        }
    }
}

/// What lets a token moderate that is not the integrator's server's.
fn power(claims: &Claims) -> Option<Grant> {
    let powers = [Grant::Moderate, Grant::Publish];
    powers.into_iter().find(|grant| claims.has(*grant).is_ok())
}

fn server(name: &str) -> Actor {
    Actor {
        user: name.to_owned(),
        role: ChatRole::Server,
    }
}

impl FromRequestParts<App> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let client = ClientAddress::from_request_parts(parts, app).await?;
        match app.auth.claims(&parts.headers) {
            Ok(claims) => {
                if claims.has(Grant::Admin).is_err() && power(&claims).is_none() {
                    claims.has(Grant::Moderate)?;
                }
                Ok(Self {
                    claims: Some(claims),
                })
            }
            Err(TokenError::Missing) if is_open(app, client, &parts.headers) => {
                Ok(Self { claims: None })
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether the API needs no token: in development mode, on this machine.
fn is_open(app: &App, client: ClientAddress, headers: &HeaderMap) -> bool {
    let here = client.direct && client.ip.is_loopback();
    app.auth.is_development() && here && is_local_page(headers)
}

/// Whether the request can only come from this machine's own pages and programs.
///
/// A page from elsewhere, open in a browser on this machine, also connects from the loopback
/// address: its `Origin` gives it away, or, where it has pointed its own name at the loopback
/// address, its `Host`.
fn is_local_page(headers: &HeaderMap) -> bool {
    let host = headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok());
    if !host.is_some_and(is_loopback_authority) {
        return false;
    }
    match headers.get(header::ORIGIN).map(|value| value.to_str()) {
        None => true,
        Some(Ok(origin)) => origin
            .split_once("://")
            .is_some_and(|(_, authority)| is_loopback_authority(authority)),
        Some(Err(_)) => false,
    }
}

fn is_loopback_authority(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_pages_only() {
        for (host, origin, local) in [
            (Some("localhost:8080"), None, true),
            (Some("127.0.0.1:8080"), None, true),
            (Some("[::1]:8080"), None, true),
            (Some("localhost:8080"), Some("http://localhost:8080"), true),
            (Some("127.0.0.1"), Some("http://[::1]:8080"), true),
            (Some("localhost:8080"), Some("https://evil.example"), false),
            (
                Some("localhost:8080"),
                Some("http://localhost.evil.example"),
                false,
            ),
            (Some("localhost:8080"), Some("null"), false),
            (Some("rebound.example:8080"), None, false),
            (None, None, false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(host) = host {
                headers.insert(header::HOST, host.parse().unwrap());
            }
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            assert_eq!(is_local_page(&headers), local, "{host:?} {origin:?}");
        }
    }
}
