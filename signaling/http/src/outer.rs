//! What every response of a resource goes through: CORS, OPTIONS, problems for methods that a
//! resource does not know, counting, and the log of refusals.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use utoipa::openapi::OpenApi;

use crate::App;
use crate::origin::is_local;
use crate::problem::{Code, Problem};
use crate::serve::METHODS;
use crate::stats::Route;

/// Request headers that pages may set.
const REQUEST_HEADERS: &str = "Authorization, Content-Type, If-Match, Accept, ETag, Link, \
                               Last-Event-ID, Idempotency-Key, Cache-Control";
/// Response headers that pages may read.
const EXPOSED: &str = "Location, ETag, Link, Retry-After, WWW-Authenticate, Accept-Post, \
                       Accept-Patch, Allow, Access-Control-Allow-Methods";
/// How long a browser may remember a preflight, in seconds.
const PREFLIGHT_SECS: &str = "7200";
/// Longest list of request headers that a preflight may ask for, in bytes. Of a longer one only
/// [`REQUEST_HEADERS`] are allowed.
const ASKED_BYTES_MAX: usize = 1_024;
/// Headers that say on whose behalf a request comes: a proxy's word, not a page's.
const OF_PROXIES: [&str; 3] = ["forwarded", "x-forwarded-", "x-real-ip"];

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

    /// RFC 9110 sections 9.3.7 and 15.5.6: what the resource knows, also where it refuses.
    fn allow(&self, template: Option<&str>, headers: &mut HeaderMap) {
        let known = template.and_then(|template| self.allow.get(template).cloned());
        let allow = known.unwrap_or(HeaderValue::from_static("GET, HEAD, OPTIONS"));
        headers.insert(header::ALLOW, allow);
    }

    /// What a resource takes: RFC 9725 section 4.2 and, for PATCH, RFC 5789 section 3.1.
    fn accepts(&self, template: &str) -> Option<(HeaderName, &'static str)> {
        let (method, header, kind) = match Route::of(template) {
            Route::Whip | Route::Whep => ("POST", "accept-post", "application/sdp"),
            Route::Session => ("PATCH", "accept-patch", "application/trickle-ice-sdpfrag"),
            Route::Layer | Route::Events => ("POST", "accept-post", "application/json"),
            Route::Api | Route::Chat => return None,
        };
        let methods = self.allow.get(template)?.to_str().ok()?;
        let known = methods.split(", ").any(|known| known == method);
        known.then_some((HeaderName::from_static(header), kind))
    }
}

pub(crate) async fn outer(State(outer): State<Outer>, request: Request, next: Next) -> Response {
    let app = &outer.app;
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let asking = Asking::of(&method, request.headers());
    let template = request
        .extensions()
        .get::<MatchedPath>()
        .map(|path| path.as_str().to_owned());
    let route = template.as_deref().map(Route::of);

    let mut response = if asking.preflight {
        // Also where there is nothing: a page cannot read a 404 that its preflight was denied.
        StatusCode::NO_CONTENT.into_response()
    } else if is_foreign(app, &method, &uri, request.headers()) {
        let detail = "in development mode only pages of this machine may use the server; \
                      cors_origins in [signaling] names others";
        Problem::new(Code::ForeignOrigin, detail).into_response()
    } else {
        next.run(request).await
    };
    let not_allowed = response.status() == StatusCode::METHOD_NOT_ALLOWED;
    if not_allowed && method == Method::OPTIONS {
        response = StatusCode::NO_CONTENT.into_response();
    } else if not_allowed {
        let detail = "the Allow header names the methods of this resource";
        response = Problem::new(Code::MethodNotAllowed, detail).into_response();
    }
    let (status, headers) = (response.status(), response.headers_mut());
    if not_allowed || asking.preflight {
        outer.allow(template.as_deref(), headers);
    }
    let wrong_type = status == StatusCode::UNSUPPORTED_MEDIA_TYPE;
    if (method == Method::OPTIONS || wrong_type)
        && let Some((name, value)) = template.as_deref().and_then(|t| outer.accepts(t))
    {
        headers.insert(name, HeaderValue::from_static(value));
    }
    cors(&app.config.cors_origins, &asking, headers);
    if let Some(problem) = response.extensions().get::<Problem>() {
        app.stats.refused(problem.code);
        app.refusals.log(&method, &uri, problem);
    }
    if let Some(route) = route {
        app.stats.answered(route, status);
    }
    response
}

/// What a request says about the page that makes it.
struct Asking {
    origin: Option<HeaderValue>,
    options: bool,
    preflight: bool,
    headers: Option<HeaderValue>,
}

impl Asking {
    fn of(method: &Method, headers: &HeaderMap) -> Self {
        let options = method == Method::OPTIONS;
        Self {
            origin: headers.get(header::ORIGIN).cloned(),
            options,
            preflight: options && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD),
            headers: headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned(),
        }
    }
}

/// Whether the request is a foreign page's, in development mode.
fn is_foreign(app: &App, method: &Method, uri: &Uri, headers: &HeaderMap) -> bool {
    // What a resource knows is no secret, and a page that asks first must be able to read why the
    // next request is refused.
    method != Method::OPTIONS
        && app.auth.is_development()
        && !is_local(uri, headers, &app.config.cors_origins)
}

fn cors(allowed: &[String], asking: &Asking, headers: &mut HeaderMap) {
    if allowed.iter().any(|allowed| allowed == "*") {
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_ORIGIN,
            HeaderValue::from_static("*"),
        );
    } else {
        // Caches must not give one origin's answer to another.
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        let origin = asking.origin.as_ref();
        let Some(origin) = origin.filter(|origin| allowed.iter().any(|a| a == *origin)) else {
            return;
        };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(EXPOSED),
    );
    if asking.options {
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static(METHODS),
        );
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            request_headers(asking.headers.as_ref()),
        );
    }
    if asking.preflight {
        headers.insert(
            header::ACCESS_CONTROL_MAX_AGE,
            HeaderValue::from_static(PREFLIGHT_SECS),
        );
    }
}

/// The headers that a page may set: ours, and what it asks for besides. Libraries add headers that
/// mean nothing here, and would fail without. Credentials of the browser are never allowed, so no
/// header gives a page more than its own words.
fn request_headers(asked: Option<&HeaderValue>) -> HeaderValue {
    let asked = asked.and_then(|value| value.to_str().ok());
    let mut list = REQUEST_HEADERS.to_owned();
    for name in asked
        .filter(|asked| asked.len() <= ASKED_BYTES_MAX)
        .into_iter()
        .flat_map(|asked| asked.split(','))
        .map(str::trim)
    {
        let known = REQUEST_HEADERS.split(", ");
        let Ok(name) = HeaderName::try_from(name) else {
            continue;
        };
        let of_proxies = OF_PROXIES.iter().any(|p| name.as_str().starts_with(p));
        if !of_proxies
            && !known
                .into_iter()
                .any(|k| k.eq_ignore_ascii_case(name.as_str()))
        {
            list.push_str(", ");
            list.push_str(name.as_str());
        }
    }
    HeaderValue::try_from(list).unwrap_or(HeaderValue::from_static(REQUEST_HEADERS))
}

/// For paths below ours that lead nowhere.
pub(crate) async fn not_found() -> Problem {
    Problem::new(Code::NotFound, "no resource has this path")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_pages_may_set() {
        let long = "x-a,".repeat(ASKED_BYTES_MAX);
        for (asked, more) in [
            (None, ""),
            (Some("authorization,content-type"), ""),
            (Some("etag, x-client"), ", x-client"),
            (Some("X-Requested-With"), ", x-requested-with"),
            (Some("x-forwarded-for,forwarded,x-real-ip"), ""),
            (Some(",, a b ,(,"), ""),
            (Some(long.as_str()), ""),
        ] {
            let value = asked.map(|asked| HeaderValue::from_str(asked).unwrap());
            let list = request_headers(value.as_ref());
            let expected = format!("{REQUEST_HEADERS}{more}");
            assert_eq!(list.to_str().unwrap(), expected, "{asked:?}");
        }
    }
}
