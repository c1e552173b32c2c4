//! Who may use `/api/v1`.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use lightstick_signaling_core::token::{Claims, Grant, RoomPattern, TokenError};
use lightstick_types::RoomName;

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
            Err(TokenError::Missing)
                if app.auth.is_development()
                    && client.direct
                    && client.ip.is_loopback()
                    && is_local_page(&parts.headers) =>
            {
                Ok(Self { claims: None })
            }
            Err(error) => Err(error.into()),
        }
    }
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
