//! Messages: what was said, and what the integrator's server says.

use std::fmt::Write as _;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::{Stream, try_unfold};
use lightstick_chat::archive::{Archive, ArchiveError, HistoryQuery, MessageEntry};
use lightstick_chat::core::refusal::Code as Refused;
use lightstick_chat::core::room::{POSTED_KEY_BYTES_MAX, Posted};
use lightstick_chat::proto;
use lightstick_chat::proto::Role;
use lightstick_chat::proto::moderate::Action;
use lightstick_types::RoomName;
use serde::{Deserialize, Serialize};

use lightstick_signaling::{App, RoomPath};

use super::{
    DoneBody, RoomAnd, Why, fresh, json, limit, message_id, number, plane, query, room_and,
};
use crate::Chat;
use crate::operator::Operator;
use crate::problem::{Code, Problem, ProblemBody};

/// Names a request, so that it is done once.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Messages that an export holds at once.
const EXPORT_PAGE: usize = 500;

/// A message as it was kept.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HistoryMessage {
    /// Its id in the room; rises with time.
    #[schema(example = "1885131222548480000")]
    id: String,
    /// When, in milliseconds of the Unix time.
    at_ms: String,
    /// Who wrote it; none after the author's data were erased.
    author: Option<HistoryAuthor>,
    /// What; none after the author's data were erased.
    text: Option<String>,
    /// The message that it answers.
    reply_to: Option<String>,
    /// What was paid for it.
    paid: Option<HistoryPaid>,
    /// Whether it was shown to everybody: not so if there were too many, or if only its author saw it.
    shown: bool,
    /// That it was deleted.
    removed: Option<HistoryRemoved>,
}

/// Who wrote a message.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct HistoryAuthor {
    /// The `sub` of the token, or a guest's name.
    user: String,
    /// As it was shown.
    name: String,
    /// `Role` of the chat's protocol.
    #[schema(example = "ROLE_MEMBER")]
    role: &'static str,
}

/// What was paid for a message.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct HistoryPaid {
    /// In the smallest unit of the currency.
    amount: String,
    /// ISO 4217.
    currency: String,
    /// 1 to 7.
    tier: u8,
    /// The `Idempotency-Key` of the request.
    key: Option<String>,
}

/// That a message was deleted.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HistoryRemoved {
    /// When, in milliseconds of the Unix time.
    at_ms: String,
    /// Who did it; none after that person's data were erased.
    by: Option<String>,
}

pub(super) fn history_message(entry: MessageEntry) -> HistoryMessage {
    let role = Role::try_from(i32::from(entry.role)).unwrap_or_default();
    let (author, text, reference) = match entry.body {
        Some(body) => {
            let author = HistoryAuthor {
                user: body.user,
                name: body.name,
                role: role.as_str_name(),
            };
            (Some(author), Some(body.text), body.reference)
        }
        None => (None, None, String::new()),
    };
    HistoryMessage {
        id: entry.id.to_string(),
        at_ms: entry.at_ms.to_string(),
        author,
        text,
        reply_to: entry.reply_to.map(|id| id.to_string()),
        paid: entry.paid.map(|paid| HistoryPaid {
            amount: paid.amount.to_string(),
            currency: paid.currency,
            tier: paid.tier,
            key: (!reference.is_empty()).then_some(reference),
        }),
        shown: entry.shown,
        removed: entry.removed.map(|removed| HistoryRemoved {
            at_ms: removed.at_ms.to_string(),
            by: removed.by,
        }),
    }
}

/// Which messages.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct Which {
    /// Only before this id.
    before: Option<u64>,
    /// Only after this id; the oldest come first then.
    after: Option<u64>,
    /// Only of this user.
    user: Option<String>,
    /// Only of this time or later, in milliseconds of the Unix time.
    from_ms: Option<u64>,
    /// Only before this time, in milliseconds of the Unix time.
    to_ms: Option<u64>,
    /// At most so many: 1 to 1,000, else 50. Not for exports.
    limit: Option<usize>,
}

impl Which {
    fn history(self, newest_first: bool) -> HistoryQuery {
        HistoryQuery {
            after_id: self.after,
            before_id: self.before,
            from_ms: self.from_ms,
            to_ms: self.to_ms,
            user: self.user,
            newest_first,
        }
    }
}

/// A page of messages.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct MessageList {
    /// Newest first, or oldest first with `after`.
    messages: Vec<HistoryMessage>,
    /// For the next page's `before`, or `after`; none on the last page.
    next: Option<String>,
}

/// What was said in a room, page by page.
#[utoipa::path(
    get,
    path = "/api/v1/rooms/{room}/chat/messages",
    tag = "chat",
    params(("room" = String, Path), Which),
    security(("bearer" = [])),
    responses(
        (status = 200, body = MessageList),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(
    chat: Chat,
    RoomPath(room): RoomPath,
    operator: Operator,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Json<MessageList>, Problem> {
    operator.moderates(&room)?;
    let plane = plane(&chat)?;
    let which = query(which)?;
    let limit = limit(which.limit)?;
    let newest_first = which.after.is_none();
    let archive = fresh(plane).await;
    let page = archive
        .history(&room, &which.history(newest_first), limit)
        .await?;
    Ok(Json(MessageList {
        messages: page.messages.into_iter().map(history_message).collect(),
        next: page.next.map(|id| id.to_string()),
    }))
}

/// A message of the integrator's server.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct NewMessage {
    /// Up to 500 characters; may be missing where something was paid.
    #[serde(default)]
    text: String,
    /// In whose name: up to 128 bytes; missing: the server's own.
    #[serde(default)]
    user: String,
    /// What is shown as the name, up to 50 characters; missing: the user.
    #[serde(default)]
    name: String,
    /// The message that it answers.
    #[serde(default, deserialize_with = "number")]
    #[schema(value_type = Option<String>)]
    reply_to: u64,
    /// A highlighted message: what was paid for it.
    paid: Option<NewPaid>,
}

/// What was paid for a message. Lightstick takes no money: it believes the integrator's server.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct NewPaid {
    /// In the smallest unit of the currency, as a string or a number: 1 to 2^53.
    #[serde(deserialize_with = "number")]
    #[schema(value_type = String, example = "5000")]
    amount: u64,
    /// ISO 4217.
    #[schema(example = "KRW")]
    currency: String,
    /// 1 to 7.
    tier: u32,
    /// How long it stays on top, in seconds; at most 18,000.
    #[serde(default)]
    pin_seconds: u32,
}

/// Write as the server or in a user's name, also what was paid for. Needs `admin`.
///
/// The answer comes when the message is kept. With a header `Idempotency-Key` of up to 128 visible
/// characters, the same request again gives the same answer and no second message.
#[utoipa::path(
    post,
    path = "/api/v1/rooms/{room}/chat/messages",
    tag = "chat",
    params(("room" = String, Path), ("Idempotency-Key" = Option<String>, Header, description = "Names the request")),
    request_body = NewMessage,
    security(("bearer" = [])),
    responses(
        (status = 201, body = DoneBody),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn post(
    State(app): State<App>,
    chat: Chat,
    RoomPath(room): RoomPath,
    operator: Operator,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let actor = operator.serves(&room)?;
    let plane = plane(&chat)?;
    let key = idempotency_key(&headers)?;
    let new: NewMessage = json(&app, &headers, body).await?;
    let posted = Posted {
        user: new.user,
        name: new.name,
        text: new.text,
        reply_to: new.reply_to,
        paid: new.paid.map(|paid| proto::Paid {
            amount: paid.amount,
            currency: paid.currency,
            tier: paid.tier,
            pin_seconds: paid.pin_seconds,
        }),
        key,
    };
    let done = plane.post(room.clone(), actor, posted).await?;
    let location = format!("/api/v1/rooms/{room}/chat/messages/{}", done.id);
    let body = Json(DoneBody::from(done));
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], body).into_response())
}

fn idempotency_key(headers: &HeaderMap) -> Result<String, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else {
        return Ok(String::new());
    };
    let key = value.to_str().unwrap_or_default();
    let whole = values.next().is_none()
        && (1..=POSTED_KEY_BYTES_MAX).contains(&key.len())
        && key.bytes().all(|byte| byte.is_ascii_graphic());
    match whole {
        true => Ok(key.to_owned()),
        false => Err(Problem::new(
            Code::MalformedRequest,
            "Idempotency-Key has 1 to 128 visible characters",
        )),
    }
}

/// One message.
#[utoipa::path(
    get,
    path = "/api/v1/rooms/{room}/chat/messages/{id}",
    tag = "chat",
    params(("room" = String, Path), ("id" = String, Path)),
    security(("bearer" = [])),
    responses(
        (status = 200, body = HistoryMessage),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get(
    chat: Chat,
    path: RoomAnd,
    operator: Operator,
) -> Result<Json<HistoryMessage>, Problem> {
    let (room, id) = room_and(path)?;
    operator.moderates(&room)?;
    let plane = plane(&chat)?;
    let id = message_id(&id)?;
    let found = fresh(plane).await.message(&room, id).await?;
    let entry = found.ok_or_else(|| {
        Problem::new(
            Code::Chat(Refused::NotFound),
            "no message in this room has this id",
        )
    })?;
    Ok(Json(history_message(entry)))
}

/// Delete a message: everybody's page takes it away. It stays in the archive until retention.
#[utoipa::path(
    delete,
    path = "/api/v1/rooms/{room}/chat/messages/{id}",
    tag = "chat",
    params(("room" = String, Path), ("id" = String, Path), Why),
    security(("bearer" = [])),
    responses(
        (status = 204, description = "Deleted"),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn delete(
    chat: Chat,
    path: RoomAnd,
    operator: Operator,
    why: Result<Query<Why>, QueryRejection>,
) -> Result<StatusCode, Problem> {
    let (room, id) = room_and(path)?;
    let actor = operator.moderates(&room)?;
    let plane = plane(&chat)?;
    let action = Action::Delete(message_id(&id)?);
    let why = query(why)?;
    plane.act(room, actor, action, why.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What was said in a room, all of it: a line of JSON a message, the oldest first.
///
/// The stream is read from the database as fast as the client takes it, and breaks off if the
/// database fails: then go on with `after` the last id.
#[utoipa::path(
    get,
    path = "/api/v1/rooms/{room}/chat/export",
    tag = "chat",
    params(("room" = String, Path), Which),
    security(("bearer" = [])),
    responses(
        (status = 200, body = HistoryMessage, content_type = "application/x-ndjson"),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn export(
    chat: Chat,
    RoomPath(room): RoomPath,
    operator: Operator,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Response, Problem> {
    operator.moderates(&room)?;
    let plane = plane(&chat)?;
    let which = query(which)?;
    if which.limit.is_some() {
        let detail = "an export has no limit; use /messages for pages";
        return Err(Problem::new(Code::MalformedRequest, detail));
    }
    let archive = fresh(plane).await.clone();
    let mut disposition = String::new();
    // A name of a room has no characters that would need quoting.
    let _ = write!(disposition, "attachment; filename=\"{room}.ndjson\"");
    let headers = [
        (header::CONTENT_TYPE, "application/x-ndjson".to_owned()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
    ];
    let lines = lines(archive, room, which.history(false));
    Ok((headers, Body::from_stream(lines)).into_response())
}

/// A page at a time, read when it is asked for.
fn lines(
    archive: Archive,
    room: RoomName,
    history: HistoryQuery,
) -> impl Stream<Item = Result<Bytes, ArchiveError>> + Send + 'static {
    try_unfold(Some(history), move |history| {
        let (archive, room) = (archive.clone(), room.clone());
        async move {
            let Some(mut history) = history else {
                return Ok(None);
            };
            let page = archive.history(&room, &history, EXPORT_PAGE).await?;
            let mut lines = Vec::new();
            for entry in page.messages {
                // Texts, numbers and flags: this cannot fail.
                let _ = serde_json::to_writer(&mut lines, &history_message(entry));
                lines.push(b'\n');
            }
            let next = page.next.map(|id| {
                history.after_id = Some(id);
                history
            });
            Ok(Some((Bytes::from(lines), next)))
        }
    })
}
