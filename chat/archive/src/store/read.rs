//! Reads for the API.

use std::collections::HashMap;

use aws_lc_rs::aead::LessSafeKey;
use lightstick_types::RoomName;
use prost::Message as _;

use super::{Pool, Store, both, signed, unsigned};
use crate::entry::{
    AuditEntry, DeadLetter, HistoryPage, HistoryQuery, MessageBody, MessageEntry, PaidEntry,
    Removed, RoomState,
};
use crate::error::ArchiveError;
use crate::node_key::{NodeKey, open, to_hex};
use crate::stored::{Body, Note, Place, StateBody};

/// Messages of one page, at most.
pub(crate) const PAGE_MAX: usize = 1_000;
/// Messages that an export holds at once.
pub(crate) const EXPORT_PAGE: usize = 500;

// id, epoch, at_ms, role, reply_to, amount, currency, tier, shown, key_id, body, removed_ms, removed_key, removed_by,
// the author's key, the remover's key
type MessageTuple = (
    i64,
    i64,
    i64,
    i64,
    Option<i64>,
    Option<i64>,
    String,
    i64,
    bool,
    Vec<u8>,
    Vec<u8>,
    Option<i64>,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
);

macro_rules! select_messages {
    ($behind:literal) => {
        concat!(
            "SELECT m.id, m.epoch, m.at_ms, m.role, m.reply_to, m.amount, m.currency, m.tier, m.shown, ",
            "m.key_id, m.body, m.removed_ms, m.removed_key, m.removed_by, a.wrapped, r.wrapped ",
            "FROM messages m LEFT JOIN user_keys a ON a.key_id = m.key_id ",
            "LEFT JOIN user_keys r ON r.key_id = m.removed_key WHERE ",
            $behind
        )
    };
}

macro_rules! select_letters {
    ($behind:literal) => {
        concat!(
            "SELECT d.id, d.url, d.event, d.key_id, d.body, d.attempts, d.last_error, d.at_ms, k.wrapped ",
            "FROM dead_letters d LEFT JOIN user_keys k ON k.key_id = d.key_id ",
            $behind
        )
    };
}

// Every query begins with the same parameters, so that one place binds them.
const FORWARD: &str = select_messages!(
    "m.room = $1 AND m.id > $2 AND m.id < $3 AND m.at_ms >= $4 AND m.at_ms < $5 ORDER BY m.id LIMIT $6"
);
const BACKWARD: &str = select_messages!(
    "m.room = $1 AND m.id > $2 AND m.id < $3 AND m.at_ms >= $4 AND m.at_ms < $5 ORDER BY m.id DESC LIMIT $6"
);
// A user's messages are reached by their keys: SQLite takes the tables of a cross join in this order. Without that
// it would walk the whole room.
const FORWARD_BY: &str = select_messages!(
    "m.room = $1 AND m.at_ms >= $4 AND m.at_ms < $5 AND m.id IN \
     (SELECT x.id FROM user_keys k CROSS JOIN messages x WHERE k.user_hash = $7 \
     AND x.key_id = k.key_id AND x.room = $1 AND x.id > $2 AND x.id < $3) \
     ORDER BY m.id LIMIT $6"
);
const BACKWARD_BY: &str = select_messages!(
    "m.room = $1 AND m.at_ms >= $4 AND m.at_ms < $5 AND m.id IN \
     (SELECT x.id FROM user_keys k CROSS JOIN messages x WHERE k.user_hash = $7 \
     AND x.key_id = k.key_id AND x.room = $1 AND x.id > $2 AND x.id < $3) \
     ORDER BY m.id DESC LIMIT $6"
);

impl Store {
    /// A page of a room's messages, at most [`PAGE_MAX`].
    pub(crate) async fn history(
        &self,
        room: &RoomName,
        query: &HistoryQuery,
        limit: usize,
    ) -> Result<HistoryPage, ArchiveError> {
        let limit = limit.clamp(1, PAGE_MAX);
        let user = query.user.as_ref().map(|u| self.node.user_hash(u));
        let sql = match (query.newest_first, user.is_some()) {
            (false, false) => FORWARD,
            (true, false) => BACKWARD,
            (false, true) => FORWARD_BY,
            (true, true) => BACKWARD_BY,
        };
        let after = query.after_id.map_or(-1, signed);
        let before = query.before_id.map_or(i64::MAX, signed);
        let from = query.from_ms.map_or(0, signed);
        let to = query.to_ms.map_or(i64::MAX, signed);
        // One more shows whether there is another page.
        let rows = limit as i64 + 1;
        let mut tuples: Vec<MessageTuple> = self
            .read(async {
                both!(Pool, &self.pool, p => {
                    let mut select = sqlx::query_as(sql)
                        .bind(room.as_str()).bind(after).bind(before).bind(from).bind(to).bind(rows);
                    if let Some(user) = &user {
                        select = select.bind(&user[..]);
                    }
                    select.fetch_all(p).await
                })
            })
            .await?;
        let more = tuples.len() > limit;
        tuples.truncate(limit);
        let mut opener = Opener::new(&self.node);
        let messages: Vec<_> = tuples
            .into_iter()
            .map(|tuple| opener.message(room, tuple))
            .collect();
        let next = messages
            .last()
            .filter(|_| more)
            .map(|m: &MessageEntry| m.id);
        Ok(HistoryPage { messages, next })
    }

    /// A room's last messages that were paid for, oldest first, at most [`PAGE_MAX`].
    pub(crate) async fn paid(
        &self,
        room: &RoomName,
        limit: usize,
    ) -> Result<Vec<MessageEntry>, ArchiveError> {
        const PAID: &str =
            select_messages!("m.room = $1 AND m.amount IS NOT NULL ORDER BY m.id DESC LIMIT $2");
        let limit = limit.clamp(1, PAGE_MAX) as i64;
        let tuples: Vec<MessageTuple> = self
            .read(async {
                both!(Pool, &self.pool, p => sqlx::query_as(PAID)
                    .bind(room.as_str()).bind(limit).fetch_all(p).await)
            })
            .await?;
        let mut opener = Opener::new(&self.node);
        let newest_last = tuples.into_iter().rev();
        Ok(newest_last
            .map(|tuple| opener.message(room, tuple))
            .collect())
    }

    /// Rooms that have saved a state.
    pub(crate) async fn rooms(&self) -> Result<Vec<RoomName>, ArchiveError> {
        let rows: Vec<(String,)> = self
            .read(async {
                both!(Pool, &self.pool, p => sqlx::query_as(
                    "SELECT DISTINCT room FROM room_states ORDER BY room").fetch_all(p).await)
            })
            .await?;
        // Only names that were parsed once are written.
        Ok(rows
            .into_iter()
            .filter_map(|(room,)| room.parse().ok())
            .collect())
    }

    /// The place of a room's last audit row; 0 where there is none.
    pub(crate) async fn audit_end(&self, room: &RoomName) -> Result<u64, ArchiveError> {
        let row: Option<(i64,)> = self
            .read(async {
                both!(Pool, &self.pool, p => sqlx::query_as("SELECT seq FROM audit_heads WHERE room = $1")
                    .bind(room.as_str()).fetch_optional(p).await)
            })
            .await?;
        Ok(row.map_or(0, |(seq,)| unsigned(seq)))
    }

    pub(crate) async fn message(
        &self,
        room: &RoomName,
        id: u64,
    ) -> Result<Option<MessageEntry>, ArchiveError> {
        const ONE: &str = select_messages!("m.room = $1 AND m.id = $2");
        let tuple = self
            .read(async {
                both!(Pool, &self.pool, p => sqlx::query_as(ONE)
                    .bind(room.as_str()).bind(signed(id)).fetch_optional(p).await)
            })
            .await?;
        Ok(tuple.map(|tuple| Opener::new(&self.node).message(room, tuple)))
    }

    /// A page of a room's audit rows, at most [`PAGE_MAX`].
    pub(crate) async fn audit(
        &self,
        room: &RoomName,
        after_seq: u64,
        limit: usize,
    ) -> Result<Vec<AuditEntry>, ArchiveError> {
        let limit = limit.clamp(1, PAGE_MAX) as i64;
        type AuditTuple = (
            (i64, i64, String, Vec<u8>),
            (Vec<u8>, Option<Vec<u8>>, Option<Vec<u8>>, Vec<u8>, Vec<u8>),
            (Option<Vec<u8>>, Option<Vec<u8>>),
        );
        let flat = self
            .read(async {
                both!(Pool, &self.pool, p => sqlx::query_as(
                    "SELECT u.seq, u.at_ms, u.action, u.actor_key, u.actor, u.target_key, u.target, u.note, u.hash, \
                     a.wrapped, t.wrapped FROM audit u LEFT JOIN user_keys a ON a.key_id = u.actor_key \
                     LEFT JOIN user_keys t ON t.key_id = u.target_key \
                     WHERE u.room = $1 AND u.seq > $2 ORDER BY u.seq LIMIT $3")
                    .bind(room.as_str()).bind(signed(after_seq)).bind(limit).fetch_all(p).await)
            })
            .await?;
        let group = |(seq, at, action, ak, actor, tk, target, note, hash, aw, tw)| -> AuditTuple {
            (
                (seq, at, action, ak),
                (actor, tk, target, note, hash),
                (aw, tw),
            )
        };
        let mut opener = Opener::new(&self.node);
        let entry = |(
            (seq, at_ms, action, actor_key),
            (actor, target_key, target, note, hash),
            wrapped,
        ): AuditTuple| {
            let at_ms = unsigned(at_ms);
            let aad = |place: Place| place.aad(room.as_str(), at_ms);
            let actor = opener.text(&actor_key, wrapped.0.as_deref(), &aad(Place::Actor), &actor);
            let (owner, owner_wrapped) = match &target_key {
                Some(key) => (key, wrapped.1.as_deref()),
                None => (&actor_key, wrapped.0.as_deref()),
            };
            let target =
                target.and_then(|t| opener.text(owner, owner_wrapped, &aad(Place::Target), &t));
            let note = opener.open(owner, owner_wrapped, &aad(Place::Note), &note);
            let note = note.and_then(|plain| Note::decode(&plain[..]).ok());
            let (reason, detail) = note.map(|n| (n.reason, n.detail)).unzip();
            AuditEntry {
                seq: unsigned(seq),
                at_ms,
                actor,
                action,
                target,
                reason,
                detail,
                hash: to_hex(&hash),
            }
        };
        Ok(flat.into_iter().map(group).map(entry).collect())
    }

    pub(crate) async fn room_state(&self, room: &RoomName) -> Result<RoomState, ArchiveError> {
        let (last, rows): (Option<(i64,)>, Vec<(Vec<u8>,)>) = self
            .read(async {
                let last = both!(Pool, &self.pool, p => sqlx::query_as("SELECT last_id FROM rooms WHERE room = $1")
                    .bind(room.as_str()).fetch_optional(p).await)?;
                let rows = both!(Pool, &self.pool, p => sqlx::query_as("SELECT state FROM room_states WHERE room = $1")
                    .bind(room.as_str()).fetch_all(p).await)?;
                Ok((last, rows))
            })
            .await?;
        let aad = Place::State.aad(room.as_str(), 0);
        let saved = rows.into_iter().map(|(state,)| {
            let body = self.node.open_blob(&aad, &state);
            let body = body.and_then(|body| StateBody::decode(&body[..]).ok());
            // The key was held against the database when it was opened, so the row was changed.
            let body = body.ok_or_else(|| {
                sqlx::Error::Decode(
                    format!("the state of room {room} was not written by us").into(),
                )
            })?;
            Ok::<_, ArchiveError>((body.name, body.value))
        });
        Ok(RoomState {
            last_id: last.map_or(0, |(last,)| unsigned(last)),
            saved: saved.collect::<Result<_, _>>()?,
        })
    }

    /// A page of dead letters by their ids, at most [`PAGE_MAX`].
    pub(crate) async fn dead_letters(
        &self,
        after_id: &str,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, ArchiveError> {
        const AFTER: &str = select_letters!("WHERE d.id > $1 ORDER BY d.id LIMIT $2");
        let limit = limit.clamp(1, PAGE_MAX) as i64;
        self.letters(AFTER, after_id, limit).await
    }

    pub(crate) async fn dead_letter(&self, id: &str) -> Result<Option<DeadLetter>, ArchiveError> {
        const ONE: &str = select_letters!("WHERE d.id = $1 LIMIT $2");
        Ok(self.letters(ONE, id, 1).await?.pop())
    }

    async fn letters(
        &self,
        sql: &'static str,
        id: &str,
        limit: i64,
    ) -> Result<Vec<DeadLetter>, ArchiveError> {
        type Tuple = (
            String,
            String,
            String,
            Option<Vec<u8>>,
            Vec<u8>,
            i64,
            String,
            i64,
            Option<Vec<u8>>,
        );
        let tuples: Vec<Tuple> = self
            .read(async {
                both!(Pool, &self.pool, p => sqlx::query_as(sql).bind(id).bind(limit).fetch_all(p).await)
            })
            .await?;
        let mut opener = Opener::new(&self.node);
        let letter = |(id, url, event, key, body, attempts, last_error, at_ms, wrapped): Tuple| {
            let at_ms = unsigned(at_ms);
            let aad = Place::Letter.aad(&id, at_ms);
            let body = match key {
                Some(key) => opener.open(&key, wrapped.as_deref(), &aad, &body),
                None => self.node.open_blob(&aad, &body),
            };
            let attempts = u32::try_from(attempts).unwrap_or(u32::MAX);
            DeadLetter {
                id,
                url,
                event,
                body,
                attempts,
                last_error,
                at_ms,
            }
        };
        Ok(tuples.into_iter().map(letter).collect())
    }

    /// Deletes a letter. Whether there was one.
    pub(crate) async fn remove_dead_letter(&self, id: &str) -> Result<bool, ArchiveError> {
        self.read(async {
            both!(Pool, &self.pool, p => sqlx::query("DELETE FROM dead_letters WHERE id = $1")
                .bind(id).execute(p).await.map(|done| done.rows_affected() > 0))
        })
        .await
    }
}

/// Opens sealed texts of one page. A page has few authors, so keys are unwrapped once.
struct Opener<'n> {
    node: &'n NodeKey,
    keys: HashMap<Vec<u8>, Option<LessSafeKey>>,
}

impl<'n> Opener<'n> {
    fn new(node: &'n NodeKey) -> Self {
        Self {
            node,
            keys: HashMap::new(),
        }
    }

    /// None where the key is gone, or where the row was changed.
    fn open(
        &mut self,
        key_id: &[u8],
        wrapped: Option<&[u8]>,
        aad: &[u8],
        sealed: &[u8],
    ) -> Option<Vec<u8>> {
        if !self.keys.contains_key(key_id) {
            let key = wrapped.and_then(|w| self.node.unwrap(key_id, w));
            self.keys.insert(key_id.to_vec(), key);
        }
        let key = self.keys.get(key_id)?.as_ref()?;
        open(key, aad, sealed)
    }

    fn text(
        &mut self,
        key_id: &[u8],
        wrapped: Option<&[u8]>,
        aad: &[u8],
        sealed: &[u8],
    ) -> Option<String> {
        String::from_utf8(self.open(key_id, wrapped, aad, sealed)?).ok()
    }

    fn message(&mut self, room: &RoomName, tuple: MessageTuple) -> MessageEntry {
        let (id, epoch, at_ms, role, reply_to, amount, currency, tier, shown, ..) = &tuple;
        let (.., key_id, body, removed_ms, removed_key, removed_by, wrapped, removed_wrapped) =
            &tuple;
        let id = unsigned(*id);
        let aad = Place::Body.aad(room.as_str(), id);
        let body = self
            .open(key_id, wrapped.as_deref(), &aad, body)
            .and_then(|plain| Body::decode(&plain[..]).ok())
            .map(|b| MessageBody {
                user: b.user,
                name: b.name,
                text: b.text,
                reference: b.reference,
            });
        let removed = removed_ms.map(|at_ms| {
            let at_ms = unsigned(at_ms);
            let aad = Place::RemovedBy.aad(room.as_str(), at_ms);
            let by = removed_key.as_ref().zip(removed_by.as_ref());
            Removed {
                at_ms,
                by: by.and_then(|(key, by)| self.text(key, removed_wrapped.as_deref(), &aad, by)),
            }
        });
        let code = |n: i64| u8::try_from(n).unwrap_or(u8::MAX);
        MessageEntry {
            id,
            epoch: unsigned(*epoch),
            at_ms: unsigned(*at_ms),
            body,
            role: code(*role),
            reply_to: reply_to.map(unsigned),
            paid: amount.map(|amount| PaidEntry {
                amount: unsigned(amount),
                currency: currency.clone(),
                tier: code(*tier),
            }),
            shown: *shown,
            removed,
        }
    }
}
