//! What every request passes before it is routed, and every response after: what RFC 9110 and
//! RFC 9112 ask of a server, and what the router cannot do.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::ConnectInfo;
use axum::http::uri::{PathAndQuery, Uri};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use axum::response::{IntoResponse as _, Response};
use http_body_util::BodyExt as _;
use hyper::Request;
use hyper::body::{Frame, Incoming, SizeHint};
use tower::ServiceExt as _;

use crate::origin;
use crate::problem::{Code, Problem};

/// Methods that some resource knows. CORS allows them all everywhere: whether the resource has the
/// method is its own answer, in `Allow`. Page libraries look here for PATCH, before they have a
/// session whose resource could be asked.
pub(crate) const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
/// How much of a body that nobody wanted is read, in bytes, and for how long, so that the
/// connection can be used on. Beyond that it is closed.
const DRAINED_BYTES_MAX: u64 = 64 * 1_024;
const DRAINED_WITHIN: Duration = Duration::from_millis(500);

pub(super) async fn answer(
    router: Router,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response, Infallible> {
    let (mut parts, body) = request.into_parts();
    // Reading would ask for the body by a 100, after the answer was given (RFC 9110
    // section 10.1.1).
    let waits = parts.headers.contains_key(header::EXPECT);
    let body = Lent::new(body);
    let mut response = if let Err(problem) = host(parts.version, &parts.headers) {
        problem.into_response()
    } else if parts.method == Method::OPTIONS && parts.uri.path() == "*" {
        // RFC 9110 section 9.3.7: about the server as a whole.
        let allow = [(header::ALLOW, HeaderValue::from_static(METHODS))];
        (StatusCode::NO_CONTENT, allow).into_response()
    } else {
        if let Some(uri) = tidy(&parts.uri) {
            parts.uri = uri;
        }
        let mut request = Request::from_parts(parts, Body::new(body.clone()));
        request.extensions_mut().insert(ConnectInfo(peer));
        router.oneshot(request).await?
    };
    let headers = response.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    let slow = response.status() == StatusCode::REQUEST_TIMEOUT;
    let is_whole =
        body.is_read() || !slow && (!waits || body.was_asked_for()) && body.drain().await;
    if !is_whole {
        // RFC 9112 section 9.6: the peer must know that what it sends now is not read.
        response
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// RFC 9112 section 3.2: one `Host`, and nothing but an authority in it.
fn host(version: Version, headers: &HeaderMap) -> Result<(), Problem> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let detail = match (hosts.next(), hosts.next()) {
        (None, _) if version < Version::HTTP_11 => return Ok(()),
        (None, _) => "the request has no Host header",
        (Some(_), Some(_)) => "the request has several Host headers",
        (Some(host), None) => {
            let sound = host.to_str().ok().and_then(origin::host);
            if sound.is_some() {
                return Ok(());
            }
            "the Host header is malformed"
        }
    };
    Err(Problem::new(Code::MalformedRequest, detail))
}

/// The target without slashes that mean nothing: those at the end and those in a row, which come
/// from base URLs that end with one. `None`: there are none.
fn tidy(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    if path == "/" || !(path.ends_with('/') || path.contains("//")) {
        return None;
    }
    let mut tidied = String::with_capacity(path.len());
    for part in path.split('/').filter(|part| !part.is_empty()) {
        tidied.push('/');
        tidied.push_str(part);
    }
    if tidied.is_empty() {
        tidied.push('/');
    }
    if let Some(query) = uri.query() {
        tidied.push('?');
        tidied.push_str(query);
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(tidied).ok();
    Uri::from_parts(parts).ok()
}

/// A request's body that is lent to the handler: what it leaves can be looked at afterwards.
#[derive(Clone)]
struct Lent(Arc<Mutex<Loan>>);

struct Loan {
    incoming: Incoming,
    asked_for: bool,
}

impl Lent {
    fn new(incoming: Incoming) -> Self {
        let asked_for = false;
        Self(Arc::new(Mutex::new(Loan {
            incoming,
            asked_for,
        })))
    }

    fn with<T>(&self, f: impl FnOnce(&mut Loan) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_read(&self) -> bool {
        self.with(|body| body.incoming.is_end_stream())
    }

    fn was_asked_for(&self) -> bool {
        self.with(|body| body.asked_for)
    }

    /// Reads the rest. False: there was too much, or it came too slowly.
    async fn drain(self) -> bool {
        let announced = self.with(|body| body.incoming.size_hint().lower());
        if announced > DRAINED_BYTES_MAX {
            return false;
        }
        let mut left = DRAINED_BYTES_MAX;
        let mut body = self;
        let whole = async {
            while let Some(frame) = body.frame().await {
                let Ok(frame) = frame else { return false };
                let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
                match left.checked_sub(bytes) {
                    Some(rest) => left = rest,
                    None => return false,
                }
            }
            true
        };
        tokio::time::timeout(DRAINED_WITHIN, whole)
            .await
            .unwrap_or(false)
    }
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.with(|body| {
            body.asked_for = true;
            Pin::new(&mut body.incoming).poll_frame(cx)
        })
    }

    fn is_end_stream(&self) -> bool {
        self.is_read()
    }

    fn size_hint(&self) -> SizeHint {
        self.with(|body| body.incoming.size_hint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_that_mean_nothing() {
        for (target, tidied) in [
            ("/", None),
            ("/whip/stage", None),
            ("/whip/stage?a=b//", None),
            ("/whip/stage/", Some("/whip/stage")),
            ("/whip/stage///", Some("/whip/stage")),
            ("//whip//stage", Some("/whip/stage")),
            ("//", Some("/")),
            ("/whip/stage/?a=b/", Some("/whip/stage?a=b/")),
            ("http://h:1/whip/stage/", Some("http://h:1/whip/stage")),
        ] {
            let uri: Uri = target.parse().unwrap();
            let found = tidy(&uri).map(|uri| uri.to_string());
            assert_eq!(found.as_deref(), tidied, "{target}");
        }
    }

    #[test]
    fn one_host_and_a_sound_one() {
        for (version, hosts, fits) in [
            (Version::HTTP_11, &["live.example:8080"][..], true),
            (Version::HTTP_11, &["[::1]:8080"], true),
            (Version::HTTP_11, &["192.0.2.1"], true),
            (Version::HTTP_11, &[], false),
            (Version::HTTP_10, &[], true),
            (Version::HTTP_10, &["a", "b"], false),
            (Version::HTTP_11, &["a", "a"], false),
            (Version::HTTP_11, &["a b"], false),
            (Version::HTTP_11, &["user@a"], false),
            (Version::HTTP_11, &["a/b"], false),
            (Version::HTTP_11, &["[::1].evil.example"], false),
            (Version::HTTP_11, &[""], false),
        ] {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(header::HOST, host.parse().unwrap());
            }
            let found = host(version, &headers).is_ok();
            assert_eq!(found, fits, "{version:?} {hosts:?}");
        }
    }
}
