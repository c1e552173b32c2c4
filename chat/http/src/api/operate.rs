//! What belongs to no room: erasure, dead letters, numbers.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use lightstick_chat::archive::{DeadLetter, Erasure};
use lightstick_chat::core::refusal::Code as Refused;
use lightstick_chat::{EraseError, RetryError};
use serde::{Deserialize, Serialize};

use super::{fresh, limit, plane, query};
use crate::Chat;
use crate::operator::Operator;
use crate::problem::{AGAIN, Code, Problem, ProblemBody};

/// How far an erasure is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Erased {
    /// `done`: nothing is left that could be read. `accepted`: it is written down, and will be done when the
    /// database has caught up.
    state: &'static str,
}

impl From<EraseError> for Problem {
    fn from(error: EraseError) -> Self {
        match error {
            EraseError::Room(error) => error.into(),
            EraseError::Refused(refusal) => refusal.into(),
            EraseError::Archive(error) => error.into(),
        }
    }
}

fn text(path: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    let Path(text) =
        path.map_err(|error| Problem::new(Code::MalformedRequest, error.body_text()))?;
    Ok(text)
}

/// Erase what a user has said, done or had done to them, in every room.
///
/// Needs `admin` for every room. Bans and timeouts hold on, without their reasons; rows and audit chains stay, unreadable.
/// What the user writes from now on is kept as before.
#[utoipa::path(
    delete,
    path = "/api/v1/chat/users/{user}",
    tag = "chat",
    params(("user" = String, Path)),
    security(("bearer" = [])),
    responses(
        (status = 200, description = "Done", body = Erased),
        (status = 202, description = "Written down", body = Erased),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn erase(
    chat: Chat,
    path: Result<Path<String>, PathRejection>,
    operator: Operator,
) -> Result<(StatusCode, Json<Erased>), Problem> {
    let actor = operator.serves_all()?;
    let plane = plane(&chat)?;
    let user = text(path)?;
    Ok(match plane.erase_user(actor, &user).await? {
        Erasure::Done => (StatusCode::OK, Json(Erased { state: "done" })),
        Erasure::Accepted => (StatusCode::ACCEPTED, Json(Erased { state: "accepted" })),
    })
}

/// Which dead letters.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LetterPage {
    /// The `next` of the page before.
    #[serde(default)]
    after: String,
    /// At most so many: 1 to 1,000, else 50.
    limit: Option<usize>,
}

/// A webhook that nobody took.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Letter {
    /// Names the letter; the `webhook-id` is its part before the tilde.
    id: String,
    /// Where it should have gone.
    url: String,
    /// `message.created`, ...
    event: String,
    /// What should have been sent; none after its user's data were erased.
    #[schema(value_type = Option<Object>)]
    body: Option<serde_json::Value>,
    /// How often it was tried.
    attempts: u32,
    /// What went wrong at last.
    last_error: String,
    /// When it was given up, in milliseconds of the Unix time.
    at_ms: String,
}

impl From<DeadLetter> for Letter {
    fn from(letter: DeadLetter) -> Self {
        let body = letter.body.as_deref();
        Self {
            id: letter.id,
            url: letter.url,
            event: letter.event,
            body: body.and_then(|body| serde_json::from_slice(body).ok()),
            attempts: letter.attempts,
            last_error: letter.last_error,
            at_ms: letter.at_ms.to_string(),
        }
    }
}

/// A page of dead letters.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct LetterList {
    /// By id.
    letters: Vec<Letter>,
    /// For the next page's `after`; none on the last page.
    next: Option<String>,
}

/// Webhooks that nobody took. Needs `admin` for every room.
#[utoipa::path(
    get,
    path = "/api/v1/chat/dead-letters",
    tag = "chat",
    params(LetterPage),
    security(("bearer" = [])),
    responses(
        (status = 200, body = LetterList),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn dead_letters(
    chat: Chat,
    operator: Operator,
    page: Result<Query<LetterPage>, QueryRejection>,
) -> Result<Json<LetterList>, Problem> {
    operator.serves_all()?;
    let plane = plane(&chat)?;
    let page = query(page)?;
    let limit = limit(page.limit)?;
    let found = fresh(plane).await.dead_letters(&page.after, limit).await?;
    let full = found.len() == limit;
    let last = found.last().filter(|_| full);
    let next = last.map(|letter| letter.id.clone());
    let letters = found.into_iter().map(Letter::from).collect();
    Ok(Json(LetterList { letters, next }))
}

fn no_letter() -> Problem {
    Problem::new(Code::Chat(Refused::NotFound), "no dead letter has this id")
}

/// Throw a dead letter away. Needs `admin` for every room.
#[utoipa::path(
    delete,
    path = "/api/v1/chat/dead-letters/{id}",
    tag = "chat",
    params(("id" = String, Path)),
    security(("bearer" = [])),
    responses(
        (status = 204, description = "Gone"),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn remove_dead_letter(
    chat: Chat,
    path: Result<Path<String>, PathRejection>,
    operator: Operator,
) -> Result<StatusCode, Problem> {
    operator.serves_all()?;
    let plane = plane(&chat)?;
    let id = text(path)?;
    match fresh(plane).await.remove_dead_letter(&id).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(no_letter()),
    }
}

/// Send a dead letter again, from its first try on. Needs `admin` for every room.
///
/// It goes when it is taken, and stays if it is not.
#[utoipa::path(
    post,
    path = "/api/v1/chat/dead-letters/{id}/retry",
    tag = "chat",
    params(("id" = String, Path)),
    security(("bearer" = [])),
    responses(
        (status = 202, description = "It is on its way"),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn retry_dead_letter(
    chat: Chat,
    path: Result<Path<String>, PathRejection>,
    operator: Operator,
) -> Result<StatusCode, Problem> {
    operator.serves_all()?;
    let plane = plane(&chat)?;
    let id = text(path)?;
    fresh(plane).await;
    let detail = |error: &RetryError| error.to_string();
    match plane.retry_dead_letter(&id).await {
        Ok(()) => Ok(StatusCode::ACCEPTED),
        Err(RetryError::NotFound) => Err(no_letter()),
        Err(RetryError::Archive(error)) => Err(error.into()),
        Err(error @ RetryError::Busy) => {
            Err(Problem::new(Code::Overloaded, detail(&error)).retry_after(AGAIN))
        }
        Err(error @ (RetryError::Erased | RetryError::NoReceiver)) => {
            Err(Problem::new(Code::ChatNoReceiver, detail(&error)))
        }
    }
}

/// What the chat of all rooms has counted since the start; `rooms`, `clients`, `sockets` and the
/// archive's bytes and lag are as they are now.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Statistics {
    /// Rooms with a chat.
    rooms: u64,
    /// Clients over whatever transport.
    clients: u64,
    /// WebSockets.
    sockets: u64,
    /// Messages that were accepted.
    accepted: u64,
    /// Of these, shown to everybody.
    shown: u64,
    /// Of these, left out for there were too many.
    skipped: u64,
    /// Of these, shown to their author only, or deleted before they were shown.
    hidden: u64,
    /// Requests that were refused.
    refused: u64,
    /// Messages that waited for a moderator.
    held: u64,
    /// Reactions that were counted.
    reactions: u64,
    /// Of webhooks.
    webhooks: WebhookStatistics,
    /// Of the archive.
    archive: ArchiveStatistics,
}

/// What webhooks have counted since the start.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct WebhookStatistics {
    /// That wait now, or are on their way.
    waiting: u64,
    /// That were taken.
    delivered: u64,
    /// Tries that failed.
    failed: u64,
    /// That became dead letters.
    dead: u64,
    /// That were not sent, for too many waited or their receiver is gone.
    dropped: u64,
}

/// What the archive has counted since the start.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ArchiveStatistics {
    /// Records in the database.
    archived: u64,
    /// Messages that went on without being kept.
    unarchived: u64,
    /// Records refused that must be kept.
    refused: u64,
    /// What the journal takes on the disk, in bytes.
    journal_bytes: u64,
    /// What of it the database does not have yet, in bytes.
    lag_bytes: u64,
    /// For how long the oldest of that has been waiting.
    lag_seconds: f64,
}

/// What the chat of all rooms has counted. Needs `admin` for every room.
#[utoipa::path(
    get,
    path = "/api/v1/chat/statistics",
    tag = "chat",
    security(("bearer" = [])),
    responses(
        (status = 200, body = Statistics),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn statistics(
    chat: Chat,
    operator: Operator,
) -> Result<Json<Statistics>, Problem> {
    operator.serves_all()?;
    let plane = plane(&chat)?;
    let (seen, archive) = (plane.stats(), plane.archive().stats().snapshot());
    Ok(Json(Statistics {
        rooms: seen.rooms.get(),
        clients: seen.clients.get(),
        sockets: seen.sockets.get(),
        accepted: seen.accepted.get(),
        shown: seen.shown.get(),
        skipped: seen.skipped.get(),
        hidden: seen.hidden.get(),
        refused: seen.refused.get(),
        held: seen.held.get(),
        reactions: seen.reactions.get(),
        webhooks: WebhookStatistics {
            waiting: seen.webhooks_waiting.get(),
            delivered: seen.webhooks_delivered.get(),
            failed: seen.webhooks_failed.get(),
            dead: seen.webhooks_dead.get(),
            dropped: seen.webhooks_dropped.get() + seen.events_dropped.get(),
        },
        archive: ArchiveStatistics {
            archived: archive.archived,
            unarchived: archive.unarchived,
            refused: archive.refused,
            journal_bytes: archive.journal_bytes,
            lag_bytes: archive.lag_bytes,
            lag_seconds: archive.lag.as_secs_f64(),
        },
    }))
}
