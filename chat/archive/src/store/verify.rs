//! Holds an audit chain against its hashes.

use lightstick_types::RoomName;

use super::{Pool, Store, both, signed, unsigned};
use crate::audit::{Head, chain};
use crate::entry::Verified;
use crate::error::ArchiveError;
use crate::stored::AuditRow;

/// Rows read at once.
const PAGE: i64 = 500;

type HeadTuple = (i64, Vec<u8>, i64, Vec<u8>, Vec<u8>);
type RowTuple = (
    i64,
    i64,
    String,
    Vec<u8>,
    Vec<u8>,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Vec<u8>,
    Vec<u8>,
);

/// Holds one room's chain against its hashes.
pub(crate) struct ChainCheck<'s> {
    store: &'s Store,
    room: &'s RoomName,
}

impl<'s> ChainCheck<'s> {
    pub(crate) fn new(store: &'s Store, room: &'s RoomName) -> Self {
        Self { store, room }
    }

    /// Walks the chain from its base to its head.
    pub(crate) async fn run(&self) -> Result<Verified, ArchiveError> {
        loop {
            let head = self.head().await?;
            let found = self.walk(head.as_ref()).await?;
            // Retention may have cut the chain's beginning meanwhile; then the walk began at the wrong place.
            let base = |head: &Option<(Head, Vec<u8>)>| head.as_ref().map(|(h, _)| h.base_seq);
            if matches!(found, Verified::Whole { .. }) || base(&self.head().await?) == base(&head) {
                return Ok(found);
            }
        }
    }

    async fn head(&self) -> Result<Option<(Head, Vec<u8>)>, ArchiveError> {
        let head: Option<HeadTuple> = self
            .store
            .read(async {
                both!(Pool, &self.store.pool, p => sqlx::query_as(
                    "SELECT base_seq, base_hash, seq, hash, mac FROM audit_heads WHERE room = $1")
                    .bind(self.room.as_str()).fetch_optional(p).await)
            })
            .await?;
        Ok(head.map(|(base_seq, base_hash, seq, hash, mac)| {
            (
                Head {
                    base_seq: unsigned(base_seq),
                    base_hash,
                    seq: unsigned(seq),
                    hash,
                },
                mac,
            )
        }))
    }

    async fn walk(&self, head: Option<&(Head, Vec<u8>)>) -> Result<Verified, ArchiveError> {
        let Some((head, mac)) = head else {
            // Rows without a head: it was deleted.
            let rows = self.rows(0, i64::MAX).await?;
            return Ok(match rows.first() {
                None => Verified::Whole { rows: 0 },
                Some(_) => Verified::Broken { at_seq: 1 },
            });
        };
        let (mut at, mut hash) = (head.base_seq, head.base_hash.clone());
        loop {
            let rows = self.rows(signed(at), signed(head.seq)).await?;
            if rows.is_empty() {
                break;
            }
            for (seq, at_ms, action, actor_key, actor, target_key, target, note, kept) in rows {
                let (expected, at_ms) = (at + 1, unsigned(at_ms));
                let room = self.room.to_string();
                let row = AuditRow {
                    room,
                    at_ms,
                    action,
                    actor_key,
                    actor,
                    target_key,
                    target,
                    note,
                };
                hash = chain(&hash, expected, &row).to_vec();
                if unsigned(seq) != expected || hash != kept {
                    return Ok(Verified::Broken { at_seq: expected });
                }
                at = expected;
            }
        }
        // Every row fits the one before. Do they end where the head says, and did we say so?
        if at != head.seq
            || hash != head.hash
            || !head.is_signed(&self.store.node, self.room.as_str(), mac)
        {
            return Ok(Verified::Broken { at_seq: at + 1 });
        }
        Ok(Verified::Whole {
            rows: at - head.base_seq,
        })
    }

    async fn rows(&self, after: i64, to: i64) -> Result<Vec<RowTuple>, ArchiveError> {
        self.store.read(async {
            both!(Pool, &self.store.pool, p => sqlx::query_as(
                "SELECT seq, at_ms, action, actor_key, actor, target_key, target, note, hash FROM audit \
                 WHERE room = $1 AND seq > $2 AND seq <= $3 ORDER BY seq LIMIT $4")
                .bind(self.room.as_str()).bind(after).bind(to).bind(PAGE).fetch_all(p).await)
        })
        .await
    }
}
