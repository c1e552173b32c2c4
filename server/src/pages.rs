//! The web pages, built into the binary.

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use rust_embed::{Embed, EmbeddedFile};

/// What `npm run build` in `web/` makes.
#[derive(Embed)]
#[folder = "../web/dist"]
struct Dist;

const UNBUILT: &str = "<!doctype html><meta charset=utf-8><title>Lightstick</title>\
    <p>The pages are not built into this binary. Run <code>./dev build</code>.";

/// What pages may load and do: only what comes from here, cameras included.
const HEADERS: [(HeaderName, &str); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(self), microphone=(self), display-capture=(self), autoplay=(self), \
         fullscreen=(self), picture-in-picture=(self)",
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
];

/// The pages' policy: emotes may come from hosts of the configuration, all else from here only.
fn policy(emote_hosts: &[String]) -> HeaderValue {
    let hosts = emote_hosts.iter().map(|host| format!(" https://{host}"));
    let images: String = hosts.collect();
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:{images}; \
         media-src 'self' blob: mediastream:; connect-src 'self'; font-src 'self'; \
         manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
    );
    // The configuration takes only what can stand in a header.
    HeaderValue::try_from(policy).expect("hosts were validated")
}

/// Adds the pages to the signaling routes.
pub(crate) fn router(signaling: Router, emote_hosts: &[String]) -> Router {
    let policy = policy(emote_hosts);
    let pages = Router::new()
        .route("/", get(|| async { page("index.html") }))
        .route("/studio/{room}", get(|| async { page("studio.html") }))
        .route("/watch/{room}", get(|| async { page("watch.html") }))
        .route("/assets/{*path}", get(asset))
        .route(
            "/favicon.ico",
            get(|| async { file("assets/icon.svg", "no-cache") }),
        )
        .layer(map_response(move |response| {
            with_headers(policy.clone(), response)
        }));
    pages.merge(signaling)
}

fn page(name: &str) -> Response {
    match Dist::get(name) {
        Some(file) => found(file, "no-cache"),
        None => (StatusCode::SERVICE_UNAVAILABLE, Html(UNBUILT)).into_response(),
    }
}

async fn asset(Path(path): Path<String>) -> Response {
    // Names without a hash in them may change with the next build.
    let hashed = path
        .rsplit('.')
        .nth(1)
        .is_some_and(|part| part.contains('-'));
    let caching = if hashed {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    file(&format!("assets/{path}"), caching)
}

fn file(path: &str, caching: &'static str) -> Response {
    Dist::get(path).map_or_else(
        || (StatusCode::NOT_FOUND, "not found\n").into_response(),
        |file| found(file, caching),
    )
}

fn found(file: EmbeddedFile, caching: &'static str) -> Response {
    let kind = file.metadata.mimetype().to_owned();
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, caching.to_owned()),
    ];
    (headers, file.data.into_owned()).into_response()
}

async fn with_headers(policy: HeaderValue, mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(header::CONTENT_SECURITY_POLICY, policy);
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}
