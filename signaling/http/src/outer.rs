//! What every response goes through: CORS, OPTIONS, problems for methods that a resource does not
//! know, and counting.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use utoipa::openapi::OpenApi;

use crate::App;
use crate::problem::{Code, Problem};
use crate::stats::Route;

/// Methods that some resource knows. A preflight is answered for them all: whether the resource
/// has the method is its own answer.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
/// Request headers that pages may set.
const REQUEST_HEADERS: &str =
    "Authorization, Content-Type, If-Match, Accept, Last-Event-ID, Idempotency-Key";
/// Response headers that pages may read.
const EXPOSED: &str =
    "Location, ETag, Link, Retry-After, WWW-Authenticate, Accept-Post, Accept-Patch, Allow";
/// How long a browser may remember a preflight, in seconds.
const PREFLIGHT_SECS: &str = "7200";

/// What the layer needs to know.
#[derive(Clone)]
pub(crate) struct Outer {
    app: App,
    allow: Arc<HashMap<String, HeaderValue>>,
}

impl Outer {
    /// The methods of each resource are those that its description has.
    pub(crate) fn new(app: App, openapi: &OpenApi) -> Self {
        let mut allow = HashMap::new();
        for (template, item) in &openapi.paths.paths {
            let known = [
                (item.get.is_some(), "GET, HEAD"),
                (item.post.is_some(), "POST"),
                (item.put.is_some(), "PUT"),
                (item.patch.is_some(), "PATCH"),
                (item.delete.is_some(), "DELETE"),
                (true, "OPTIONS"),
            ];
            let known: Vec<_> = known
                .iter()
                .filter(|(is, _)| *is)
                .map(|(_, m)| *m)
                .collect();
            if let Ok(value) = HeaderValue::from_str(&known.join(", ")) {
                allow.insert(template.clone(), value);
            }
        }
        Self {
            app,
            allow: Arc::new(allow),
        }
    }
}

pub(crate) async fn outer(
    State(Outer { app, allow }): State<Outer>,
    request: Request,
    next: Next,
) -> Response {
    let method = request.method().clone();
    let origin = request.headers().get(header::ORIGIN).cloned();
    let preflight = method == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let template = request
        .extensions()
        .get::<MatchedPath>()
        .map(|path| path.as_str().to_owned());
    let route = template.as_deref().map(Route::of);

    let mut response = next.run(request).await;
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        response = if method == Method::OPTIONS {
            options(template.as_deref().unwrap_or_default())
        } else {
            let detail = "the Allow header names the methods of this resource";
            Problem::new(Code::MethodNotAllowed, detail).into_response()
        };
        let allow = template
            .and_then(|template| allow.get(&template).cloned())
            .unwrap_or(HeaderValue::from_static("GET, HEAD, OPTIONS"));
        response.headers_mut().insert(header::ALLOW, allow);
    }
    let headers = response.headers_mut();
    cors(&app.config.cors_origins, origin.as_ref(), headers);
    if preflight {
        for (name, value) in [
            (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS),
            (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECS),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    if let Some(code) = response.extensions().get::<Code>() {
        app.stats.refused(*code);
    }
    if let Some(route) = route {
        app.stats.answered(route, response.status());
    }
    response
}

fn options(template: &str) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let (name, value) = match Route::of(template) {
        // RFC 9725 section 4.2 and, for PATCH, RFC 5789 section 3.1.
        Route::Whip | Route::Whep => (HeaderName::from_static("accept-post"), "application/sdp"),
        Route::Session => (
            HeaderName::from_static("accept-patch"),
            "application/trickle-ice-sdpfrag",
        ),
        Route::Layer => (HeaderName::from_static("accept-post"), "application/json"),
        Route::Events | Route::Api | Route::Chat => return response,
    };
    response
        .headers_mut()
        .insert(name, HeaderValue::from_static(value));
    response
}

fn cors(allowed: &[String], origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
    if allowed.iter().any(|allowed| allowed == "*") {
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_ORIGIN,
            HeaderValue::from_static("*"),
        );
    } else {
        // Caches must not give one origin's answer to another.
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        let Some(origin) = origin.filter(|origin| allowed.iter().any(|a| a == *origin)) else {
            return;
        };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(EXPOSED),
    );
}

/// For paths below ours that lead nowhere.
pub(crate) async fn not_found() -> Problem {
    Problem::new(Code::NotFound, "no resource of this server has this path")
}
