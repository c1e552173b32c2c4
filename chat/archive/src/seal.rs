//! Turns records into rows: everything personal is sealed with a key of its user.
//!
//! A key lives in this process only as long as its place in the cache. Afterwards the user gets a new one: so no
//! message waits for the database to look a key up, and a counter is a nonce that never repeats.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::aead::LessSafeKey;
use prost::Message as _;

use crate::node_key::{NONCE_BYTES, NodeKey, aead_key, random, seal};
use crate::record::{AuditRecord, DeadLetterRecord, MessageRecord, Record};
use crate::stored::{
    AuditRow, Body, ErasedRow, KeyRow, LetterRow, MessageRow, Note, Place, RemovedRow, StateBody,
    StateRow, Stored, UserRemovedRow,
};

/// Users whose keys are at hand. At the limit those not seen for the longest time get a new key when they come back.
pub(crate) const KEYS_CACHED_MAX: usize = 100_000;
/// A key is replaced after this time, so that retention can delete it.
pub(crate) const KEY_AGE_MAX_MS: u64 = 24 * 3600 * 1000;

struct UserKey {
    id: [u8; 16],
    key: LessSafeKey,
    sealed: u64,
    made_ms: u64,
}

impl UserKey {
    fn seal(&mut self, aad: &[u8], plain: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_BYTES];
        nonce[4..].copy_from_slice(&self.sealed.to_be_bytes());
        self.sealed += 1;
        seal(&self.key, nonce, aad, plain)
    }
}

/// The keys of users who were here lately, in two generations.
pub(crate) struct Sealer {
    node: Arc<NodeKey>,
    recent: HashMap<Box<str>, UserKey>,
    older: HashMap<Box<str>, UserKey>,
    generation_max: usize,
    pub(crate) keys_made: u64,
}

impl Sealer {
    pub(crate) fn new(node: Arc<NodeKey>) -> Self {
        Self {
            node,
            recent: HashMap::new(),
            older: HashMap::new(),
            generation_max: KEYS_CACHED_MAX / 2,
            keys_made: 0,
        }
    }

    /// Calls `out` with the rows of a record: first those of keys that were made for it.
    pub(crate) fn rows(&mut self, record: Record, now_ms: u64, mut out: impl FnMut(Stored)) {
        match record {
            Record::Message(m) => self.message(m, now_ms, &mut out),
            Record::MessageRemoved(r) => {
                let aad = Place::RemovedBy.aad(r.room.as_str(), r.at_ms);
                let (by_key, by) = self.seal_for(&r.by, now_ms, &aad, r.by.as_bytes(), &mut out);
                out(Stored::Removed(RemovedRow {
                    room: r.room.into(),
                    id: r.id,
                    at_ms: r.at_ms,
                    by_key,
                    by,
                }));
            }
            Record::UserMessagesRemoved(r) => {
                let aad = Place::RemovedBy.aad(r.room.as_str(), r.at_ms);
                let (by_key, by) = self.seal_for(&r.by, now_ms, &aad, r.by.as_bytes(), &mut out);
                out(Stored::UserRemoved(UserRemovedRow {
                    user_hash: self.node.user_hash(&r.user).to_vec(),
                    room: r.room.into(),
                    up_to_id: r.up_to_id,
                    at_ms: r.at_ms,
                    by_key,
                    by,
                }));
            }
            Record::Audit(a) => self.audit(a, now_ms, &mut out),
            Record::RoomState(s) => {
                let aad = Place::State.aad(s.room.as_str(), 0);
                let name_hash = self.node.user_hash(&s.name).to_vec();
                let seal = |value| {
                    let name = s.name.clone();
                    let body = StateBody { name, value }.encode_to_vec();
                    self.node.seal_blob(&aad, &body)
                };
                out(Stored::State(StateRow {
                    state: s.value.map(seal),
                    room: s.room.into(),
                    name_hash,
                }));
            }
            Record::DeadLetter(d) => self.letter(d, now_ms, &mut out),
        }
    }

    /// Forgets a user's key, and gives the row that deletes those written before.
    pub(crate) fn erase(&mut self, user: &str) -> Stored {
        self.recent.remove(user);
        self.older.remove(user);
        Stored::Erased(ErasedRow {
            user_hash: self.node.user_hash(user).to_vec(),
        })
    }

    /// Forgets every key: for when rows of new keys may not have reached the disk.
    pub(crate) fn forget_all(&mut self) {
        self.recent.clear();
        self.older.clear();
    }

    fn message(&mut self, m: MessageRecord, now_ms: u64, out: &mut impl FnMut(Stored)) {
        let (paid, reference) = match m.paid {
            Some(p) => (Some((p.amount, p.currency, p.tier)), p.reference),
            None => (None, String::new()),
        };
        let aad = Place::Body.aad(m.room.as_str(), m.id);
        let body = Body {
            user: m.user,
            name: m.name,
            text: m.text,
            reference,
        };
        let (key_id, sealed) = self.seal_for(&body.user, now_ms, &aad, &body.encode_to_vec(), out);
        let (amount, currency, tier) =
            paid.map_or((None, String::new(), 0), |(a, c, t)| (Some(a), c, t));
        out(Stored::Message(MessageRow {
            room: m.room.into(),
            id: m.id,
            epoch: m.epoch,
            at_ms: m.at_ms,
            key_id,
            body: sealed,
            role: u32::from(m.role),
            reply_to: m.reply_to,
            amount,
            currency,
            tier: u32::from(tier),
            shown: m.shown,
        }));
    }

    fn audit(&mut self, a: AuditRecord, now_ms: u64, out: &mut impl FnMut(Stored)) {
        let aad = |place: Place| place.aad(a.room.as_str(), a.at_ms);
        let note = Note {
            reason: a.reason,
            detail: a.detail,
        }
        .encode_to_vec();
        let (actor_key, actor) = self.seal_for(
            &a.actor,
            now_ms,
            &aad(Place::Actor),
            a.actor.as_bytes(),
            out,
        );
        let (target_key, target) = match &a.target {
            Some(t) => {
                let (key, target) =
                    self.seal_for(t, now_ms, &aad(Place::Target), t.as_bytes(), out);
                (Some(key), Some(target))
            }
            None => (None, None),
        };
        let owner = a.target.as_ref().unwrap_or(&a.actor);
        // Its key was used last, so it is the same one still: rows name it once for both.
        let (note_key, note) = self.seal_for(owner, now_ms, &aad(Place::Note), &note, out);
        debug_assert_eq!(Some(&note_key), target_key.as_ref().or(Some(&actor_key)));
        out(Stored::Audit(AuditRow {
            room: a.room.into(),
            at_ms: a.at_ms,
            action: a.action,
            actor_key,
            actor,
            target_key,
            target,
            note,
        }));
    }

    fn letter(&mut self, d: DeadLetterRecord, now_ms: u64, out: &mut impl FnMut(Stored)) {
        let aad = Place::Letter.aad(&d.id, d.at_ms);
        let (key_id, body) = match &d.user {
            Some(user) => {
                let (key, body) = self.seal_for(user, now_ms, &aad, &d.body, out);
                (Some(key), body)
            }
            None => (None, self.node.seal_blob(&aad, &d.body)),
        };
        out(Stored::Letter(LetterRow {
            id: d.id,
            url: d.url,
            event: d.event,
            key_id,
            body,
            attempts: d.attempts,
            last_error: d.last_error,
            at_ms: d.at_ms,
        }));
    }

    fn seal_for(
        &mut self,
        user: &str,
        now_ms: u64,
        aad: &[u8],
        plain: &[u8],
        out: &mut impl FnMut(Stored),
    ) -> (Vec<u8>, Vec<u8>) {
        let key = self.key(user, now_ms, out);
        (key.id.to_vec(), key.seal(aad, plain))
    }

    fn key(&mut self, user: &str, now_ms: u64, out: &mut impl FnMut(Stored)) -> &mut UserKey {
        // A clock that jumps back makes a key look young; one that jumps ahead costs one more key.
        let fresh = |key: &UserKey| now_ms.saturating_sub(key.made_ms) < KEY_AGE_MAX_MS;
        if !self.recent.get(user).is_some_and(fresh) {
            let known = self.older.remove(user).filter(fresh);
            let key = known.unwrap_or_else(|| self.make(user, now_ms, out));
            if self.recent.len() >= self.generation_max {
                self.older = std::mem::take(&mut self.recent);
            }
            self.recent.insert(user.into(), key);
        }
        self.recent
            .get_mut(user)
            .expect("it was there or was just put there")
    }

    fn make(&mut self, user: &str, now_ms: u64, out: &mut impl FnMut(Stored)) -> UserKey {
        let (mut id, mut secret) = ([0; 16], [0; 32]);
        random(&mut id);
        random(&mut secret);
        out(Stored::Key(KeyRow {
            key_id: id.to_vec(),
            user_hash: self.node.user_hash(user).to_vec(),
            wrapped: self.node.wrap(&id, &secret),
            made_ms: now_ms,
        }));
        self.keys_made += 1;
        UserKey {
            id,
            key: aead_key(&secret),
            sealed: 0,
            made_ms: now_ms,
        }
    }
}

#[cfg(test)]
mod tests;
