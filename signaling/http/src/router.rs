//! The routes, and their description.

use axum::routing::{any, get};
use axum::{Json, Router, middleware};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::{client_config, events, rooms, sessions};
use crate::outer::{Outer, not_found, outer};
use crate::{App, join, publisher, session, viewer};

/// Where the description is served.
const OPENAPI_PATH: &str = "/api/openapi.json";

fn described(more: OpenApiRouter<App>) -> (Router<App>, OpenApi) {
    let info = InfoBuilder::new()
        .title("Lightstick")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "WHIP, WHEP and the API for integrators. Every resource answers OPTIONS, with CORS, and \
             takes a slash at its end. \
             Refusals are problem details (RFC 9457) with a stable code.",
        ))
        .build();
    let (router, mut openapi) =
        OpenApiRouter::with_openapi(OpenApiBuilder::new().info(info).build())
            .routes(routes!(join::publish, join::whip_endpoint))
            .routes(routes!(join::watch, join::whep_endpoint))
            .routes(routes!(
                session::whip::patch,
                session::whip::delete,
                session::whip::get
            ))
            .routes(routes!(
                session::whep::patch,
                session::whep::delete,
                session::whep::get
            ))
            .routes(routes!(publisher::publisher_events))
            .routes(routes!(viewer::events, viewer::make_stream))
            .routes(routes!(viewer::stream, viewer::end_stream))
            .routes(routes!(viewer::layer, viewer::unselect_layer))
            .routes(routes!(rooms::list))
            .routes(routes!(rooms::get, rooms::close))
            .routes(routes!(rooms::set_main))
            .routes(routes!(sessions::list))
            .routes(routes!(sessions::kick))
            .routes(routes!(events::get))
            .routes(routes!(client_config::get))
            .merge(more)
            .split_for_parts();
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .build();
    openapi
        .components
        .get_or_insert_default()
        .add_security_scheme("bearer", SecurityScheme::Http(bearer));
    (router, openapi)
}

/// The description of every resource and of `more`, generated from the handlers.
#[must_use]
pub fn openapi(more: OpenApiRouter<App>) -> OpenApi {
    described(more).1
}

/// Paths below ours that lead nowhere: a problem with CORS, not the bare 404 of a server that has
/// never heard of them.
fn dead_ends() -> Router<App> {
    let mut router = Router::new()
        .route("/api", any(not_found))
        .route("/api/{*rest}", any(not_found))
        .route("/chat", any(not_found))
        .route("/chat/{room}/{*rest}", any(not_found));
    for base in ["/whip", "/whep"] {
        for rest in ["", "/{room}/{session}/{*rest}"] {
            router = router.route(&format!("{base}{rest}"), any(not_found));
        }
    }
    router
}

/// Every resource of signaling, and `more`. It has no fallback: the server adds its pages beside it.
pub(crate) fn router(app: App, more: OpenApiRouter<App>) -> Router {
    let (router, openapi) = described(more);
    let outer_state = Outer::new(app.clone(), &openapi);
    let description = Json(openapi);
    router
        .route(OPENAPI_PATH, get(move || async move { description }))
        .merge(dead_ends())
        .layer(middleware::from_fn_with_state(outer_state, outer))
        .with_state(app)
}
