//! What handlers take out of a request: who asks, for what, and with which body.

use std::net::{IpAddr, SocketAddr};

use axum::body::Body;
use axum::extract::{ConnectInfo, FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use lightstick_types::{RoomName, SessionId};

use crate::App;
use crate::director::StreamNumber;
use crate::problem::{Code, Problem};

/// The client's address: the connection's, or what trusted proxies say it is.
#[derive(Clone, Copy, Debug)]
pub struct ClientAddress {
    pub ip: IpAddr,
    /// Whether the connection itself comes from the client, not from a proxy.
    pub direct: bool,
}

impl FromRequestParts<App> for ClientAddress {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Some(ConnectInfo(peer)) = parts.extensions.get::<ConnectInfo<SocketAddr>>() else {
            return Err(Problem::internal(
                "the listener does not provide the peer's address",
            ));
        };
        Ok(client_address(
            peer.ip().to_canonical(),
            &parts.headers,
            &app.config.trusted_proxies,
        ))
    }
}

/// Walks `X-Forwarded-For` from the right, through addresses of trusted proxies, to the first that
/// is none: everything left of it may be invented.
fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpAddr]) -> ClientAddress {
    let is_trusted = |ip: &IpAddr| trusted.iter().any(|known| known.to_canonical() == *ip);
    let mut client = ClientAddress {
        ip: peer,
        direct: !headers.contains_key("x-forwarded-for") && !headers.contains_key("forwarded"),
    };
    if !is_trusted(&peer) {
        return client;
    }
    let hops: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    for hop in hops.iter().rev() {
        let Some(ip) = parse_hop(hop) else {
            break;
        };
        client.ip = ip;
        if !is_trusted(&ip) {
            break;
        }
    }
    client
}

/// `192.0.2.1`, `192.0.2.1:443`, `2001:db8::1` or `[2001:db8::1]:443`.
fn parse_hop(hop: &str) -> Option<IpAddr> {
    let parsed = hop
        .parse::<IpAddr>()
        .or_else(|_| hop.parse::<SocketAddr>().map(|addr| addr.ip()))
        .or_else(|_| hop.trim_matches(['[', ']']).parse());
    parsed.ok().map(|ip: IpAddr| ip.to_canonical())
}

/// `{room}` of a path.
#[derive(Debug)]
pub struct RoomPath(pub RoomName);

/// `{room}/{session}` of a path.
pub(crate) struct SessionPath {
    pub(crate) room: RoomName,
    pub(crate) session: SessionId,
}

/// `{room}/{session}/events/{stream}` of a path.
pub(crate) struct StreamPath {
    pub(crate) session: SessionPath,
    pub(crate) stream: StreamNumber,
}

/// `{room}/{session}` of a path of `/api/v1`, where sessions have numbers.
pub(crate) struct NumberedSessionPath {
    pub(crate) room: RoomName,
    pub(crate) session: u64,
}

impl FromRequestParts<App> for RoomPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Path(room) = Path::<String>::from_request_parts(parts, app)
            .await
            .map_err(|error| Problem::new(Code::RoomName, error.body_text()))?;
        room_name(&room).map(Self)
    }
}

impl FromRequestParts<App> for SessionPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let (room, session) = two(parts, app).await?;
        let session = session.parse().map_err(|_| Problem::session_not_found())?;
        Ok(Self { room, session })
    }
}

impl FromRequestParts<App> for StreamPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Path((room, session, stream)) =
            Path::<(String, String, String)>::from_request_parts(parts, app)
                .await
                .map_err(|error| Problem::new(Code::RoomName, error.body_text()))?;
        let no_stream = || Problem::new(Code::NotFound, "no such event stream");
        let session = SessionPath {
            room: room_name(&room)?,
            session: session.parse().map_err(|_| Problem::session_not_found())?,
        };
        let stream = stream.parse().map_err(|_| no_stream())?;
        Ok(Self { session, stream })
    }
}

impl FromRequestParts<App> for NumberedSessionPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let (room, session) = two(parts, app).await?;
        let session = session.parse().map_err(|_| Problem::session_not_found())?;
        Ok(Self { room, session })
    }
}

async fn two(parts: &mut Parts, app: &App) -> Result<(RoomName, String), Problem> {
    let Path((room, session)) = Path::<(String, String)>::from_request_parts(parts, app)
        .await
        .map_err(|error| Problem::new(Code::RoomName, error.body_text()))?;
    Ok((room_name(&room)?, session))
}

pub fn room_name(text: &str) -> Result<RoomName, Problem> {
    text.parse()
        .map_err(|error: lightstick_types::RoomNameError| {
            Problem::new(Code::RoomName, error.to_string())
        })
}

/// Refuses a body of another type. Parameters of the type (`charset`) do not matter.
pub fn require_type(headers: &HeaderMap, wanted: &'static str) -> Result<(), Problem> {
    let given = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(str::trim);
    match given {
        Some(given) if given.eq_ignore_ascii_case(wanted) => Ok(()),
        _ => Err(Problem::new(
            Code::UnsupportedMediaType,
            format!("the body must be {wanted}"),
        )),
    }
}

/// Reads a body of at most `bytes_max`, within the configured time.
pub async fn read_body(app: &App, body: Body, bytes_max: usize) -> Result<Bytes, Problem> {
    let whole = collect(body, bytes_max);
    tokio::time::timeout(app.config.body_timeout, whole)
        .await
        .map_err(|_| {
            Problem::new(
                Code::SlowBody,
                format!(
                    "the body did not arrive within {:?}",
                    app.config.body_timeout
                ),
            )
        })?
}

async fn collect(mut body: Body, bytes_max: usize) -> Result<Bytes, Problem> {
    let too_large = || {
        Problem::new(
            Code::BodyTooLarge,
            format!("the body may have at most {bytes_max} bytes"),
        )
    };
    // A length that is announced needs no reading.
    let announced = axum::body::HttpBody::size_hint(&body).lower();
    if announced > bytes_max as u64 {
        return Err(too_large());
    }
    let mut whole = BytesMut::with_capacity(announced as usize);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Problem::new(
                Code::MalformedRequest,
                format!("the body ended early: {error}"),
            )
        })?;
        if let Ok(data) = frame.into_data() {
            if whole.len() + data.len() > bytes_max {
                return Err(too_large());
            }
            whole.extend_from_slice(&data);
        }
    }
    Ok(whole.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn forwarded_for_is_believed_from_trusted_proxies_only() {
        let proxies = [ip("10.0.0.1"), ip("10.0.0.2")];
        let check = |peer: &str, values: &[&str], expected: &str| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("x-forwarded-for", value.parse().unwrap());
            }
            let client = client_address(ip(peer), &headers, &proxies);
            assert_eq!(client.ip, ip(expected), "{peer} {values:?}");
            assert_eq!(client.direct, values.is_empty());
        };
        check("192.0.2.9", &[], "192.0.2.9");
        check("192.0.2.9", &["198.51.100.1"], "192.0.2.9");
        check("10.0.0.1", &[], "10.0.0.1");
        check("10.0.0.1", &["198.51.100.1"], "198.51.100.1");
        check("10.0.0.1", &["127.0.0.1, 198.51.100.1"], "198.51.100.1");
        check("10.0.0.1", &["198.51.100.1", "10.0.0.2"], "198.51.100.1");
        check("10.0.0.1", &["198.51.100.1:5000, 10.0.0.2"], "198.51.100.1");
        check("10.0.0.1", &["[2001:db8::1]:5000"], "2001:db8::1");
        check("10.0.0.1", &["::ffff:198.51.100.1"], "198.51.100.1");
        check("10.0.0.1", &["nonsense"], "10.0.0.1");
        check(
            "10.0.0.1",
            &["198.51.100.1, nonsense, 10.0.0.2"],
            "10.0.0.2",
        );
    }

    #[test]
    fn content_types() {
        for (value, fits) in [
            ("application/sdp", true),
            ("Application/SDP; charset=utf-8", true),
            ("application/sdpx", false),
            ("text/plain", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, value.parse().unwrap());
            let fit = require_type(&headers, "application/sdp").is_ok();
            assert_eq!(fit, fits, "{value}");
        }
        assert!(require_type(&HeaderMap::new(), "application/sdp").is_err());
    }
}
