//! `/api/v1/rooms/{room}/chat` and `/api/v1/chat`: the chat for moderators and integrators.
//!
//! Numbers of 64 bits are strings in JSON, as they are in the JSON of the chat's protocol.

mod audit;
mod captions;
mod messages;
mod operate;
mod room;

use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query};
use axum::http::HeaderMap;
use lightstick_chat::ChatPlane;
use lightstick_chat::archive::Archive;
use lightstick_chat::core::record::Done;
use lightstick_chat::core::refusal::Code as Refused;
use lightstick_signaling::{App, read_body, require_type, room_name};
use lightstick_types::RoomName;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Chat;
use crate::problem::{Code, Problem};

/// Largest body, in bytes: settings with 500 terms and 200 emotes.
const BODY_BYTES_MAX: usize = 256 * 1024;
/// Entries of a page, unless asked otherwise.
const PAGE: usize = 50;
/// Entries of a page at most.
const PAGE_MAX: usize = 1_000;
/// How long a reader waits for the archive to catch up with what was answered already.
const FRESH_WITHIN: Duration = Duration::from_secs(1);

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(room::state))
        .routes(routes!(room::settings, room::set_settings))
        .routes(routes!(room::queue))
        .routes(routes!(room::sanctions))
        .routes(routes!(room::moderate))
        .routes(routes!(room::user))
        .routes(routes!(messages::list, messages::post))
        .routes(routes!(messages::get, messages::delete))
        .routes(routes!(messages::export))
        .routes(routes!(audit::list))
        .routes(routes!(audit::verify))
        .routes(routes!(captions::post))
        .routes(routes!(captions::webvtt))
        .routes(routes!(operate::erase))
        .routes(routes!(operate::dead_letters))
        .routes(routes!(operate::remove_dead_letter))
        .routes(routes!(operate::retry_dead_letter))
        .routes(routes!(operate::statistics))
}

fn plane(chat: &Chat) -> Result<&ChatPlane, Problem> {
    chat.plane.as_ref().ok_or_else(Problem::chat_off)
}

/// The archive, with what was answered to anybody before.
async fn fresh(plane: &ChatPlane) -> &Archive {
    let archive = plane.archive();
    // A database that is behind has at least what was there before.
    let _ = tokio::time::timeout(FRESH_WITHIN, archive.flushed()).await;
    archive
}

/// Why something is done.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Why {
    /// For the audit log; up to 300 characters.
    #[serde(default)]
    reason: String,
}

/// Reads a JSON body.
async fn json<T: DeserializeOwned>(
    app: &App,
    headers: &HeaderMap,
    body: Body,
) -> Result<T, Problem> {
    require_type(headers, "application/json")?;
    let body = read_body(app, body, BODY_BYTES_MAX).await?;
    serde_json::from_slice(&body)
        .map_err(|error| Problem::new(Code::UnacceptableBody, error.to_string()))
}

fn query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Problem> {
    let Query(query) =
        query.map_err(|error| Problem::new(Code::MalformedRequest, error.body_text()))?;
    Ok(query)
}

fn limit(asked: Option<usize>) -> Result<usize, Problem> {
    match asked.unwrap_or(PAGE) {
        limit @ 1..=PAGE_MAX => Ok(limit),
        _ => Err(Problem::new(
            Code::MalformedRequest,
            format!("limit must be 1 to {PAGE_MAX}"),
        )),
    }
}

/// `{room}` and one more part of a path.
type RoomAnd = Result<Path<(String, String)>, PathRejection>;

fn room_and(path: RoomAnd) -> Result<(RoomName, String), Problem> {
    let Path((room, rest)) =
        path.map_err(|error| Problem::new(Code::MalformedRequest, error.body_text()))?;
    Ok((room_name(&room)?, rest))
}

fn message_id(text: &str) -> Result<u64, Problem> {
    text.parse()
        .map_err(|_| Problem::new(Code::Chat(Refused::NotFound), "a message's id is a number"))
}

/// What was done.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ChatDone)]
struct DoneBody {
    /// The message's or poll's; none where there is none.
    #[schema(example = "1885131222548480000")]
    id: Option<String>,
    /// When, in milliseconds of the Unix time.
    #[schema(example = "1797801234567")]
    at_ms: String,
    /// The message's, as it is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

impl From<Done> for DoneBody {
    fn from(done: Done) -> Self {
        Self {
            id: (done.id != 0).then(|| done.id.to_string()),
            at_ms: done.at_ms.to_string(),
            text: done.text,
        }
    }
}

/// A number of 64 bits: as a string, or as a number where it fits one of JavaScript's.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(u64),
        Text(String),
    }
    match Written::deserialize(from)? {
        Written::Number(number) => Ok(number),
        Written::Text(text) => text.parse().map_err(serde::de::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_strings_or_numbers() {
        #[derive(Deserialize)]
        struct Body {
            #[serde(deserialize_with = "number")]
            id: u64,
        }
        let read = |json: &str| serde_json::from_str::<Body>(json).map(|body| body.id);
        assert_eq!(read(r#"{"id": "18446744073709551615"}"#).unwrap(), u64::MAX);
        assert_eq!(read(r#"{"id": 7}"#).unwrap(), 7);
        for bad in [r#"{"id": -1}"#, r#"{"id": "x"}"#, r#"{"id": 1.5}"#, "{}"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
