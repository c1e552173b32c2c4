//! What the pages must know before anything else.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::App;

/// Settings that matter to pages.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClientConfig {
    /// Whether the server runs without configured keys.
    development_mode: bool,
    /// Whether watching needs no token.
    watch_open: bool,
    /// The most that a publisher may send, in kbit/s.
    #[schema(example = 8000)]
    max_publish_bitrate_kbps: u64,
    /// How long a room waits for a publisher whose connection was lost, in seconds.
    #[schema(example = 30.0)]
    grace_seconds: f64,
    /// Whether there is a chat.
    chat: bool,
}

/// Settings that matter to pages. Open to all.
#[utoipa::path(
    get,
    path = "/api/v1/client-config",
    tag = "pages",
    responses((status = 200, body = ClientConfig))
)]
pub(crate) async fn get(State(app): State<App>) -> Json<ClientConfig> {
    Json(ClientConfig {
        development_mode: app.auth.is_development(),
        watch_open: app.watch_open(),
        max_publish_bitrate_kbps: app.config.publish_bitrate_max_kbps,
        grace_seconds: app.config.grace.as_secs_f64(),
        chat: app.members.is_some(),
    })
}
