//! Who may use the API of chats.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use lightstick_chat::core::room::Actor;
use lightstick_signaling::token::{Claims, Grant, TokenError};
use lightstick_signaling::{App, ClientAddress};
use lightstick_types::{ChatRole, RoomName};

use crate::problem::Problem;

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
        match app.auth().claims(&parts.headers) {
            Ok(claims) => {
                if claims.has(Grant::Admin).is_err() && power(&claims).is_none() {
                    claims.has(Grant::Moderate)?;
                }
                Ok(Self {
                    claims: Some(claims),
                })
            }
            Err(TokenError::Missing) if app.is_open(client, parts) => Ok(Self { claims: None }),
            Err(error) => Err(error.into()),
        }
    }
}
