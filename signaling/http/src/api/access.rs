//! Who may use `/api/v1`.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use lightstick_signaling_core::rooms::Participant;
use lightstick_signaling_core::token::{Claims, Grant, RoomPattern, TokenError};
use lightstick_types::RoomName;

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

/// Whether the API needs no token: in development mode, on this machine.
pub(crate) fn is_open(app: &App, client: ClientAddress, parts: &Parts) -> bool {
    let here = client.direct && client.ip.is_loopback();
    app.auth.is_development() && here && is_local(&parts.uri, &parts.headers, &[])
}
