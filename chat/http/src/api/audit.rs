//! Who used their power.

use axum::Json;
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use lightstick_chat::archive::{AuditEntry, Verified};
use serde::{Deserialize, Serialize};

use lightstick_signaling::RoomPath;

use super::{fresh, limit, plane, query};
use crate::Chat;
use crate::operator::Operator;
use crate::problem::{Problem, ProblemBody};

/// Which audit records.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditPage {
    /// Only before this one.
    before: Option<u64>,
    /// Only after this one; the oldest come first then.
    after: Option<u64>,
    /// At most so many: 1 to 1,000, else 50.
    limit: Option<usize>,
}

/// An audit record. What is personal in it is none after that person's data were erased.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuditRecord {
    /// Its place in the room's chain, from 1 on, without gaps.
    sequence: String,
    /// When, in milliseconds of the Unix time.
    at_ms: String,
    /// Who: a user, or the `sub` of the server's token.
    actor: Option<String>,
    /// What the actor was.
    role: Option<String>,
    /// `delete`, `timeout`, `ban`, ...
    action: String,
    /// A user, a message's id, or none.
    target: Option<String>,
    /// As the actor gave it.
    reason: Option<String>,
    /// What was there before: text, or JSON as text.
    before: Option<String>,
    /// What is there now.
    after: Option<String>,
    /// SHA-256 over the hash before and this record as it is stored, in hexadecimal.
    hash: String,
}

/// What a room writes into the `detail` of a record.
#[derive(Default, Deserialize)]
struct Detail {
    role: Option<String>,
    before: Option<String>,
    after: Option<String>,
}

impl From<AuditEntry> for AuditRecord {
    fn from(entry: AuditEntry) -> Self {
        let detail = entry.detail.as_deref().map(serde_json::from_str::<Detail>);
        let Detail {
            role,
            before,
            after,
        } = detail.and_then(Result::ok).unwrap_or_default();
        Self {
            sequence: entry.seq.to_string(),
            at_ms: entry.at_ms.to_string(),
            actor: entry.actor,
            role,
            action: entry.action,
            target: entry.target,
            reason: entry.reason,
            before,
            after,
            hash: entry.hash,
        }
    }
}

/// A page of audit records.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct AuditList {
    /// Newest first, or oldest first with `after`.
    records: Vec<AuditRecord>,
    /// For the next page's `before`, or `after`; none on the last page.
    next: Option<String>,
}

/// The audit log of a room's chat.
#[utoipa::path(
    get,
    path = "/api/v1/rooms/{room}/chat/audit",
    tag = "chat",
    params(("room" = String, Path), AuditPage),
    security(("bearer" = [])),
    responses(
        (status = 200, body = AuditList),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(
    chat: Chat,
    RoomPath(room): RoomPath,
    operator: Operator,
    page: Result<Query<AuditPage>, QueryRejection>,
) -> Result<Json<AuditList>, Problem> {
    operator.moderates(&room)?;
    let plane = plane(&chat)?;
    let page = query(page)?;
    let limit = limit(page.limit)?;
    let archive = fresh(plane).await;
    let end = archive.audit_end(&room).await?;
    // Places have no gaps, so the page before a place is a page after another.
    let before = page.before.unwrap_or(u64::MAX).min(end.saturating_add(1));
    let from = match page.after {
        Some(after) => after,
        None => before.saturating_sub(limit as u64 + 1),
    };
    let entries = archive.audit(&room, from, limit).await?;
    let entries = entries.into_iter().filter(|entry| entry.seq < before);
    let mut records: Vec<_> = entries.map(AuditRecord::from).collect();
    let newest_first = page.after.is_none();
    if newest_first {
        records.reverse();
    }
    let last: Option<u64> = records
        .last()
        .and_then(|record| record.sequence.parse().ok());
    let more = |last: &u64| match newest_first {
        true => *last > 1 && records.len() == limit,
        false => *last < end && records.len() == limit,
    };
    let next = last.filter(more).map(|last| last.to_string());
    Ok(Json(AuditList { records, next }))
}

/// Whether an audit log is as it was written.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuditVerdict {
    /// Every record is as it was written, and none is missing.
    whole: bool,
    /// How many records there are, where it is whole.
    records: Option<String>,
    /// The first record that was changed or is missing, where it is not.
    broken_at: Option<String>,
}

/// Hold the audit log against its hashes.
#[utoipa::path(
    get,
    path = "/api/v1/rooms/{room}/chat/audit/verify",
    tag = "chat",
    params(("room" = String, Path)),
    security(("bearer" = [])),
    responses(
        (status = 200, body = AuditVerdict),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn verify(
    chat: Chat,
    RoomPath(room): RoomPath,
    operator: Operator,
) -> Result<Json<AuditVerdict>, Problem> {
    operator.moderates(&room)?;
    let archive = fresh(plane(&chat)?).await;
    Ok(Json(match archive.verify(&room).await? {
        Verified::Whole { rows } => AuditVerdict {
            whole: true,
            records: Some(rows.to_string()),
            broken_at: None,
        },
        Verified::Broken { at_seq } => AuditVerdict {
            whole: false,
            records: None,
            broken_at: Some(at_seq.to_string()),
        },
    }))
}
