//! What webhooks say: a type, a time, and data, as JSON.

use std::sync::Arc;

use bytes::Bytes;
use lightstick_chat_core::record::RoomEvent;
use lightstick_chat_proto as proto;
use lightstick_types::SessionId;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::command::Happened;

/// Every type of event.
pub(super) const EVENTS: [&str; 6] = [
    "message.created",
    "messages.deleted",
    "message.held",
    "user.moderated",
    "appeal.opened",
    "poll.ended",
];
/// Ids that one event names; the rest comes in others.
const IDS_MAX: usize = 1_000;

/// One thing to be told, the same to all receivers.
#[derive(Clone, Debug)]
pub(crate) struct Notice {
    pub(crate) id: Arc<str>,
    /// One of [`EVENTS`].
    pub(crate) event: Arc<str>,
    /// Whose data are in it.
    pub(crate) user: Option<Arc<str>>,
    pub(crate) body: Bytes,
}

/// A name that nothing else has: 128 random bits, and no full stop.
pub(crate) fn new_id(kind: &str) -> String {
    format!("{kind}_{}", SessionId::random())
}

/// A signed request's body.
pub(crate) fn body(kind: &str, at_ms: u64, data: &Value) -> Bytes {
    let nanos = i128::from(at_ms) * 1_000_000;
    let at = OffsetDateTime::from_unix_timestamp_nanos(nanos);
    let at = at.ok().and_then(|at| at.format(&Rfc3339).ok());
    let body = json!({"type": kind, "timestamp": at.unwrap_or_default(), "data": data});
    body.to_string().into()
}

/// The events of what happened: one nearly always.
pub(super) fn notices(happened: Happened) -> Vec<Notice> {
    let Happened { room, at_ms, event } = happened;
    let room = room.as_str();
    let author = |message: &proto::Message| message.author.as_ref().map(|a| a.user.clone());
    let one = |event: &str, user: Option<String>, data: Value| Notice {
        id: new_id("msg").into(),
        event: event.into(),
        user: user.map(Arc::from),
        body: body(event, at_ms, &data),
    };
    vec![match event {
        RoomEvent::MessageCreated(message) => one(
            "message.created",
            author(&message),
            json!({"room": room, "message": message}),
        ),
        RoomEvent::MessagesDeleted { ids } => {
            let some = |ids: &[u64]| {
                let ids: Vec<_> = ids.iter().map(u64::to_string).collect();
                one("messages.deleted", None, json!({"room": room, "ids": ids}))
            };
            return ids.chunks(IDS_MAX).map(some).collect();
        }
        RoomEvent::MessageHeld { message, reason } => one(
            "message.held",
            author(&message),
            json!({"room": room, "message": message, "reason": reason}),
        ),
        RoomEvent::UserModerated(audit) => one(
            "user.moderated",
            Some(audit.target.clone()),
            json!({
                "room": room, "action": audit.action, "user": audit.target, "actor": audit.actor,
                "role": audit.role, "reason": audit.reason,
                "before": parsed(&audit.before), "after": parsed(&audit.after),
            }),
        ),
        RoomEvent::AppealOpened { user, text } => one(
            "appeal.opened",
            Some(user.clone()),
            json!({"room": room, "user": user, "text": text}),
        ),
        RoomEvent::PollEnded(poll) => one("poll.ended", None, json!({"room": room, "poll": poll})),
    }]
}

/// The JSON of a text, or nothing.
fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn happened(event: RoomEvent) -> Happened {
        Happened {
            room: "stage".parse().unwrap(),
            at_ms: 1_667_507_170_344,
            event,
        }
    }

    #[test]
    fn a_message_is_told_with_strings_for_its_numbers() {
        let message = proto::Message {
            id: u64::MAX,
            author: Some(proto::Author {
                user: "mina".into(),
                ..proto::Author::default()
            }),
            text: "hi".into(),
            ..proto::Message::default()
        };
        let told = notices(happened(RoomEvent::MessageCreated(message)));
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].user.as_deref(), Some("mina"));
        assert!(told[0].id.starts_with("msg_") && !told[0].id.contains('.'));
        let body: Value = serde_json::from_slice(&told[0].body).unwrap();
        assert_eq!(body["type"], "message.created");
        assert_eq!(body["timestamp"], "2022-11-03T20:26:10.344Z");
        assert_eq!(body["data"]["room"], "stage");
        assert_eq!(body["data"]["message"]["id"], u64::MAX.to_string());
    }

    #[test]
    fn long_lists_come_in_parts() {
        let ids: Vec<u64> = (0..2_500).collect();
        let told = notices(happened(RoomEvent::MessagesDeleted { ids }));
        assert_eq!(told.len(), 3);
        assert_ne!(told[0].id, told[1].id);
        let last: Value = serde_json::from_slice(&told[2].body).unwrap();
        assert_eq!(last["data"]["ids"].as_array().unwrap().len(), 500);
    }
}
