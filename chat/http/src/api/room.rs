//! A room's chat: its state, its settings, and who may not write.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use lightstick_chat::archive::HistoryQuery;
use lightstick_chat::core::room::Totals;
use lightstick_chat::core::sanctions::{Sanction, SanctionKind};
use lightstick_chat::proto;
use lightstick_chat::proto::moderate::Action;
use serde::{Deserialize, Serialize};

use lightstick_signaling::{App, RoomPath};

use super::messages::{HistoryMessage, history_message};
use super::{DoneBody, PAGE_MAX, RoomAnd, Why, fresh, json, limit, plane, query, room_and};
use crate::Chat;
use crate::operator::Operator;
use crate::problem::{Code, Problem, ProblemBody};

/// Messages that are shown with a user.
const RECENT: usize = 50;

/// A room's chat as it is now. `settings`, `pinned`, `poll`, `announcement` and `position` are the
/// JSON of the messages of these names in the chat's protocol.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChatState {
    /// Connections.
    present: usize,
    /// The last place that was shown.
    #[schema(value_type = Object)]
    position: proto::Position,
    /// The settings in force.
    #[schema(value_type = Object)]
    settings: proto::Settings,
    /// The pinned message.
    #[schema(value_type = Option<Object>)]
    pinned: Option<proto::Message>,
    /// The poll that runs.
    #[schema(value_type = Option<Object>)]
    poll: Option<proto::Poll>,
    /// The last announcement.
    #[schema(value_type = Option<Object>)]
    announcement: Option<proto::Announcement>,
    /// Messages that wait for a moderator.
    held: usize,
    /// Open appeals.
    appeals: usize,
    /// Users that are banned, timed out or shadowed.
    sanctions: usize,
    /// Since the room's chat was opened.
    totals: ChatTotals,
}

/// What a room has counted since its chat was opened.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChatTotals {
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
    /// Reactions that were not.
    reactions_dropped: u64,
}

impl From<Totals> for ChatTotals {
    fn from(totals: Totals) -> Self {
        Self {
            accepted: totals.accepted,
            shown: totals.shown,
            skipped: totals.skipped,
            hidden: totals.hidden,
            refused: totals.refused,
            held: totals.held,
            reactions: totals.reactions,
            reactions_dropped: totals.reactions_dropped,
        }
    }
}

/// A room's chat as it is now.
///
/// Needs `moderate`, `publish` or `admin`, as everything of a room's chat does. The room need not be live.
#[utoipa::path(
    get,
    path = "/api/v1/rooms/{room}/chat",
    tag = "chat",
    params(("room" = String, Path)),
    security(("bearer" = [])),
    responses(
        (status = 200, body = ChatState),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn state(
    chat: Chat,
    RoomPath(room): RoomPath,
    operator: Operator,
) -> Result<Json<ChatState>, Problem> {
    operator.moderates(&room)?;
    let seen = plane(&chat)?.look(room).await?;
    Ok(Json(ChatState {
        present: seen.present,
        position: seen.position,
        settings: seen.settings,
        pinned: seen.pinned,
        poll: seen.poll,
        announcement: seen.announcement,
        held: seen.queue.held.len(),
        appeals: seen.queue.appeals.len(),
        sanctions: seen.sanctions.len(),
        totals: seen.totals.into(),
    }))
}

/// The settings of a room's chat, with the blocked terms that viewers are not told.
#[utoipa::path(
    get,
    path = "/api/v1/rooms/{room}/chat/settings",
    tag = "chat",
    params(("room" = String, Path)),
    security(("bearer" = [])),
    responses(
        (status = 200, description = "`Settings` of the chat's protocol", body = Object),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn settings(
    chat: Chat,
    RoomPath(room): RoomPath,
    operator: Operator,
) -> Result<Json<proto::Settings>, Problem> {
    operator.moderates(&room)?;
    Ok(Json(plane(&chat)?.look(room).await?.settings))
}

/// Replace all settings of a room's chat. Needs a lead moderator, the artist or `admin`.
#[utoipa::path(
    put,
    path = "/api/v1/rooms/{room}/chat/settings",
    tag = "chat",
    params(("room" = String, Path), Why),
    request_body(content = Object, description = "`Settings` of the chat's protocol"),
    security(("bearer" = [])),
    responses(
        (status = 200, description = "As they are now", body = Object),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn set_settings(
    State(app): State<App>,
    chat: Chat,
    RoomPath(room): RoomPath,
    operator: Operator,
    why: Result<Query<Why>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<proto::Settings>, Problem> {
    let actor = operator.moderates(&room)?;
    let plane = plane(&chat)?;
    let why = query(why)?;
    let settings: proto::Settings = json(&app, &headers, body).await?;
    let action = Action::Settings(settings);
    plane.act(room.clone(), actor, action, why.reason).await?;
    Ok(Json(plane.look(room).await?.settings))
}

/// Held messages and open appeals.
#[utoipa::path(
    get,
    path = "/api/v1/rooms/{room}/chat/queue",
    tag = "chat",
    params(("room" = String, Path)),
    security(("bearer" = [])),
    responses(
        (status = 200, description = "`Queue` of the chat's protocol", body = Object),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn queue(
    chat: Chat,
    RoomPath(room): RoomPath,
    operator: Operator,
) -> Result<Json<proto::Queue>, Problem> {
    operator.moderates(&room)?;
    Ok(Json(plane(&chat)?.look(room).await?.queue))
}

/// A ban, a timeout or a shadow.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChatSanction {
    /// Whose.
    user: String,
    /// `ban`, `timeout` or `shadow`.
    kind: &'static str,
    /// When a timeout is over, in milliseconds of the Unix time.
    until_ms: Option<String>,
    /// Who imposed it.
    by: String,
    /// Why.
    reason: String,
    /// When, in milliseconds of the Unix time.
    at_ms: String,
    /// Whether it is for everybody at the user's address.
    address: bool,
}

impl ChatSanction {
    fn new(user: &str, sanction: &Sanction) -> Self {
        Self {
            user: user.to_owned(),
            kind: match sanction.kind {
                SanctionKind::Ban => "ban",
                SanctionKind::Timeout => "timeout",
                SanctionKind::Shadow => "shadow",
            },
            until_ms: sanction.until_ms.map(|ms| ms.to_string()),
            by: sanction.by.clone(),
            reason: sanction.reason.clone(),
            at_ms: sanction.at_ms.to_string(),
            address: sanction.address.is_some(),
        }
    }
}

/// Which part of the sanctions.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SanctionPage {
    /// The `next` of the page before.
    after: Option<String>,
    /// At most so many: 1 to 1,000, which is the default.
    limit: Option<usize>,
}

/// A page of sanctions.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct SanctionList {
    /// By user.
    sanctions: Vec<ChatSanction>,
    /// For the next page's `after`; none on the last page.
    next: Option<String>,
}

/// Who is banned, timed out or shadowed in a room.
#[utoipa::path(
    get,
    path = "/api/v1/rooms/{room}/chat/sanctions",
    tag = "chat",
    params(("room" = String, Path), SanctionPage),
    security(("bearer" = [])),
    responses(
        (status = 200, body = SanctionList),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn sanctions(
    chat: Chat,
    RoomPath(room): RoomPath,
    operator: Operator,
    page: Result<Query<SanctionPage>, QueryRejection>,
) -> Result<Json<SanctionList>, Problem> {
    operator.moderates(&room)?;
    let plane = plane(&chat)?;
    let page = query(page)?;
    let limit = limit(page.limit.or(Some(PAGE_MAX)))?;
    let seen = plane.look(room).await?.sanctions;
    let after = page.after.unwrap_or_default();
    let mut wanted = seen.iter().filter(|(user, _)| **user > after);
    let sanctions: Vec<_> = wanted
        .by_ref()
        .take(limit)
        .map(|(user, sanction)| ChatSanction::new(user, sanction))
        .collect();
    let more = wanted.next().is_some();
    let last = sanctions.last().filter(|_| more);
    let next = last.map(|sanction| sanction.user.clone());
    Ok(Json(SanctionList { sanctions, next }))
}

/// Moderate: delete, time out, ban, pin, start a poll and the rest of `Moderate`.
///
/// A moderator's token acts as its `sub` with its role, `admin` as the server.
#[utoipa::path(
    post,
    path = "/api/v1/rooms/{room}/chat/moderation",
    tag = "chat",
    params(("room" = String, Path)),
    request_body(content = Object, description = "`Moderate` of the chat's protocol; its nonce is not used"),
    security(("bearer" = [])),
    responses(
        (status = 200, body = DoneBody),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn moderate(
    State(app): State<App>,
    chat: Chat,
    RoomPath(room): RoomPath,
    operator: Operator,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<DoneBody>, Problem> {
    let actor = operator.moderates(&room)?;
    let plane = plane(&chat)?;
    let request: proto::Moderate = json(&app, &headers, body).await?;
    let action = request
        .action
        .ok_or_else(|| Problem::new(Code::UnacceptableBody, "the body names no known action"))?;
    let done = plane.act(room, actor, action, request.reason).await?;
    Ok(Json(done.into()))
}

/// A user in a room's chat.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChatUser {
    /// The `sub` of the token, or a guest's name.
    user: String,
    /// What holds for the user now.
    sanction: Option<ChatSanction>,
    /// What the user has written last, newest first; at most 50.
    messages: Vec<HistoryMessage>,
}

/// What is known of a user in a room: its sanction, and what it wrote last.
#[utoipa::path(
    get,
    path = "/api/v1/rooms/{room}/chat/users/{user}",
    tag = "chat",
    params(("room" = String, Path), ("user" = String, Path)),
    security(("bearer" = [])),
    responses(
        (status = 200, body = ChatUser),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn user(
    chat: Chat,
    path: RoomAnd,
    operator: Operator,
) -> Result<Json<ChatUser>, Problem> {
    let (room, user) = room_and(path)?;
    operator.moderates(&room)?;
    let plane = plane(&chat)?;
    let seen = plane.look(room.clone()).await?;
    let wanted = HistoryQuery {
        user: Some(user.clone()),
        newest_first: true,
        ..HistoryQuery::default()
    };
    let page = fresh(plane).await.history(&room, &wanted, RECENT).await?;
    let sanction = seen.sanctions.get(&user);
    Ok(Json(ChatUser {
        sanction: sanction.map(|sanction| ChatSanction::new(&user, sanction)),
        user,
        messages: page.messages.into_iter().map(history_message).collect(),
    }))
}
