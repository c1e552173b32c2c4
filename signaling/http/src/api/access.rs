//! Who may use `/api/v1`.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use lightstick_chat::core::room::Actor;
use lightstick_signaling_core::rooms::Participant;
use lightstick_signaling_core::token::{Claims, Grant, RoomPattern, TokenError};
use lightstick_types::{ChatRole, RoomName};

use crate::App;
use crate::extract::ClientAddress;
use crate::origin::is_local;
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
            Err(TokenError::Missing) if is_open(app, client, parts) => Ok(Self { claims: None }),
            Err(error) => Err(error.into()),
        }
    }
}

/// A caller that may say what a room shows: the integrator's server or the artist.
pub(crate) struct Artist {
    /// None in development mode on this machine: every room.
    claims: Option<Claims>,
}

impl Artist {
    /// Refuses a room that the token is not for. Gives who asks, where only the room's publisher may.
    pub(crate) fn require(self, room: &RoomName) -> Result<Option<Participant>, Problem> {
        let Some(claims) = self.claims else {
            return Ok(None);
        };
        if claims.has(Grant::Admin).is_ok() {
            claims.allow(Grant::Admin, room)?;
            return Ok(None);
        }
        claims.allow(Grant::Publish, room)?;
        Ok((!claims.grants.takeover).then(|| claims.sub.as_str().into()))
    }
}

impl FromRequestParts<App> for Artist {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let client = ClientAddress::from_request_parts(parts, app).await?;
        match app.auth.claims(&parts.headers) {
            Ok(claims) => {
                if claims.has(Grant::Admin).is_err() {
                    claims.has(Grant::Publish)?;
                }
                Ok(Self {
                    claims: Some(claims),
                })
            }
            Err(TokenError::Missing) if is_open(app, client, parts) => Ok(Self { claims: None }),
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
            Err(TokenError::Missing) if is_open(app, client, parts) => Ok(Self { claims: None }),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether the API needs no token: in development mode, on this machine.
fn is_open(app: &App, client: ClientAddress, parts: &Parts) -> bool {
    let here = client.direct && client.ip.is_loopback();
    app.auth.is_development() && here && is_local(&parts.uri, &parts.headers, &[])
}
