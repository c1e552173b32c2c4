//! What rooms want kept, in the words of the archive.

use std::time::Duration;

use lightstick_chat_archive as archive;
use lightstick_chat_archive::{AppendError, Archive};
use lightstick_chat_core::record::{AuditRecord, MessageRecord, Record};
use lightstick_chat_core::room::{KeptPost, Stored};
use lightstick_types::RoomName;
use tokio::sync::oneshot;

/// Where the room finds the keys of highlighted messages. They are not a part of its stored state.
const POSTED: &str = "posted";
/// Highlighted messages that a room is told of when it opens, so that none is made twice.
const PAID_MAX: usize = 1_000;
/// How often a room that cannot be read is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Something that must not be lost could not be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotKept;

/// Keeps what rooms say. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Keeper(pub(crate) Archive);

impl Keeper {
    /// What a room must know again. Waits for the database: a room that has forgotten whom it
    /// banned is worse than one that opens late. `None` when the requester is gone.
    pub(crate) async fn load(&self, room: &RoomName, gone: impl Fn() -> bool) -> Option<Stored> {
        loop {
            let loaded = async {
                let state = self.0.room_state(room).await?;
                Ok::<_, archive::ArchiveError>((state, self.0.paid(room, PAID_MAX).await?))
            };
            match loaded.await {
                Ok((state, paid)) => {
                    let texts = state.saved.into_iter().filter_map(|(name, value)| {
                        let text = String::from_utf8(value);
                        if text.is_err() {
                            tracing::error!(%room, "a part of the stored state is unreadable");
                        }
                        Some((name, text.ok()?))
                    });
                    let mut stored: Stored = texts.collect();
                    stored.insert("last_id".to_owned(), state.last_id.to_string());
                    let posted: Vec<_> = paid.into_iter().filter_map(kept_post).collect();
                    let posted = serde_json::to_string(&posted).unwrap_or_default();
                    stored.insert(POSTED.to_owned(), posted);
                    return Some(stored);
                }
                Err(error) => tracing::warn!(%room, %error, "the chat is waiting for the archive"),
            }
            if gone() {
                return None;
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Takes records, in order; the future says when they are safe.
    pub(crate) fn keep(
        &self,
        room: &RoomName,
        epoch: u64,
        records: Vec<Record>,
    ) -> impl Future<Output = Result<(), NotKept>> + Send + use<> {
        let mut kept = Vec::with_capacity(records.len());
        for record in records {
            match record {
                Record::Message(message) => kept.push(message_record(room, epoch, message)),
                Record::Removed {
                    ids,
                    user,
                    by,
                    at_ms,
                } => {
                    kept.extend(ids.into_iter().map(|id| {
                        archive::Record::MessageRemoved(archive::MessageRemoved {
                            room: room.clone(),
                            id,
                            by: by.clone(),
                            at_ms,
                        })
                    }));
                    if let Some(user) = user {
                        let removed = archive::UserMessagesRemoved {
                            room: room.clone(),
                            user: user.to_string(),
                            up_to_id: archive::NUMBER_MAX,
                            by,
                            at_ms,
                        };
                        kept.push(archive::Record::UserMessagesRemoved(removed));
                    }
                }
                Record::Audit(audit) => kept.push(audit_record(room, audit)),
                Record::State { key, value } => {
                    kept.push(archive::Record::RoomState(archive::RoomStateRecord {
                        room: room.clone(),
                        name: key,
                        value: value.map(String::into_bytes),
                    }));
                }
            }
        }
        // Appended here and now: the order of appends is the order of what happened.
        let mut receipts = Vec::new();
        while !kept.is_empty() {
            let rest = kept.split_off(kept.len().min(archive::BATCH_RECORDS_MAX));
            let batch = std::mem::replace(&mut kept, rest);
            let must = batch.iter().any(archive::Record::must_keep);
            let (done, receipt) = oneshot::channel();
            // The room is gone: nobody waits.
            self.0
                .append_with(batch, move |result| drop(done.send(result)));
            receipts.push((must, receipt));
        }
        let room = room.clone();
        async move {
            let mut safe = Ok(());
            for (must, receipt) in receipts {
                let result = receipt.await.unwrap_or(Err(AppendError::Closed));
                // Of ordinary messages the archive keeps count: the show goes on without them.
                if let Err(error) = result
                    && must
                {
                    tracing::error!(%room, %error, "a record that must not be lost could not be stored");
                    safe = Err(NotKept);
                }
            }
            safe
        }
    }
}

/// `None` where there was no key, or the author's data were erased.
fn kept_post(entry: archive::MessageEntry) -> Option<KeptPost> {
    let body = entry.body.filter(|body| !body.reference.is_empty())?;
    Some(KeptPost {
        key: body.reference,
        id: entry.id,
        at_ms: entry.at_ms,
        user: body.user,
        text: body.text,
    })
}

fn message_record(room: &RoomName, epoch: u64, record: MessageRecord) -> archive::Record {
    let MessageRecord {
        message,
        shown,
        key,
        ..
    } = record;
    let author = message.author.unwrap_or_default();
    archive::Record::Message(archive::MessageRecord {
        room: room.clone(),
        id: message.id,
        epoch,
        at_ms: message.at_ms,
        user: author.user,
        name: author.name,
        role: author.role as u8,
        text: message.text,
        reply_to: message.reply.map(|reply| reply.id),
        paid: message.paid.map(|paid| archive::PaidRecord {
            amount: paid.amount,
            currency: paid.currency,
            tier: paid.tier as u8,
            // A request that is repeated after a restart is found by it.
            reference: key,
        }),
        shown,
    })
}

fn audit_record(room: &RoomName, audit: AuditRecord) -> archive::Record {
    let detail = serde_json::json!({
        "role": audit.role,
        "before": audit.before,
        "after": audit.after,
    });
    archive::Record::Audit(archive::AuditRecord {
        room: room.clone(),
        at_ms: audit.at_ms,
        actor: audit.actor,
        action: audit.action.to_owned(),
        target: (!audit.target.is_empty()).then_some(audit.target),
        reason: audit.reason,
        detail: detail.to_string(),
    })
}
