//! Deletes what is too old, in small pieces: readers and the writer wait for one of them at most.

use super::write::{lock_head, save_head};
use super::{Pool, Store, Tx, both, signed, unsigned};
use crate::error::ArchiveError;
use crate::seal::KEY_AGE_MAX_MS;

/// Rows of one statement.
const PIECE: i64 = 500;

/// One pass over what is too old.
pub(crate) struct Retention<'s> {
    store: &'s Store,
    messages_before: u64,
    audit_before: u64,
}

impl<'s> Retention<'s> {
    /// Of messages and dead letters from before `messages_before`, audit rows from before `audit_before`, and keys
    /// that seal nothing any more. Times are milliseconds since 1970; 0 keeps everything.
    pub(crate) fn new(store: &'s Store, messages_before: u64, audit_before: u64) -> Self {
        Self {
            store,
            messages_before,
            audit_before,
        }
    }

    /// Deletes it. Gives the number of rows.
    pub(crate) async fn run(&self) -> Result<u64, ArchiveError> {
        let (messages_before, audit_before) = (self.messages_before, self.audit_before);
        let mut deleted = 0;
        let mut room = String::new();
        while let Some(next) = self
            .next_room("SELECT MIN(room) FROM rooms WHERE room > $1", &room)
            .await?
        {
            room = next;
            loop {
                let piece = self.delete_messages(&room, signed(messages_before)).await?;
                deleted += piece;
                if piece < PIECE as u64 {
                    break;
                }
            }
        }
        room.clear();
        while let Some(next) = self
            .next_room("SELECT MIN(room) FROM audit_heads WHERE room > $1", &room)
            .await?
        {
            room = next;
            loop {
                let piece = self.delete_audit(&room, signed(audit_before)).await?;
                deleted += piece;
                if piece < PIECE as u64 {
                    break;
                }
            }
        }
        deleted += self.delete_letters(signed(messages_before)).await?;
        // A key seals for a day; records may come with a clock that is a little behind.
        let keys_before = messages_before
            .min(audit_before)
            .saturating_sub(2 * KEY_AGE_MAX_MS);
        loop {
            let piece = self.delete_keys(signed(keys_before)).await?;
            deleted += piece;
            if piece < PIECE as u64 {
                return Ok(deleted);
            }
        }
    }

    async fn next_room(
        &self,
        sql: &'static str,
        after: &str,
    ) -> Result<Option<String>, ArchiveError> {
        let (room,): (Option<String>,) = self
            .store
            .read(async {
                both!(Pool, &self.store.pool, p => sqlx::query_as(sql).bind(after).fetch_one(p).await)
            })
            .await?;
        Ok(room)
    }

    async fn delete_messages(&self, room: &str, before: i64) -> Result<u64, ArchiveError> {
        self.store
            .read(async {
                both!(Pool, &self.store.pool, p => sqlx::query(
                "DELETE FROM messages WHERE room = $1 AND id IN \
                 (SELECT id FROM messages WHERE room = $1 AND at_ms < $2 ORDER BY at_ms LIMIT $3)")
                .bind(room).bind(before).bind(PIECE).execute(p).await.map(|d| d.rows_affected()))
            })
            .await
    }

    async fn delete_letters(&self, before: i64) -> Result<u64, ArchiveError> {
        self.store.read(async {
            both!(Pool, &self.store.pool, p => sqlx::query("DELETE FROM dead_letters WHERE at_ms < $1")
                .bind(before).execute(p).await.map(|d| d.rows_affected()))
        })
        .await
    }

    async fn delete_keys(&self, before: i64) -> Result<u64, ArchiveError> {
        self.store.read(async {
            both!(Pool, &self.store.pool, p => sqlx::query(
                "DELETE FROM user_keys WHERE key_id IN (SELECT k.key_id FROM user_keys k WHERE k.made_ms < $1 \
                 AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.key_id = k.key_id) LIMIT $2)")
                .bind(before).bind(PIECE).execute(p).await.map(|d| d.rows_affected()))
        })
        .await
    }

    // A chain is cut from its beginning only. Its new beginning is the last row that went.
    async fn delete_audit(&self, room: &str, before: i64) -> Result<u64, ArchiveError> {
        self.store.read(async {
            let mut tx = match &self.store.pool {
                Pool::Sqlite(p) => Tx::Sqlite(p.begin_with("BEGIN IMMEDIATE").await?),
                Pool::Postgres(p) => Tx::Postgres(p.begin().await?),
            };
            let mut locked = lock_head(&mut tx, &self.store.node, room).await?;
            let head = &mut locked.head;
            let (young,): (Option<i64>,) = both!(Tx, &mut tx, t => sqlx::query_as(
                "SELECT MIN(seq) FROM audit WHERE room = $1 AND at_ms >= $2")
                .bind(room).bind(before).fetch_one(&mut **t).await?);
            let last_old = young.map_or(signed(head.seq), |young| young - 1);
            let cut = last_old.min(signed(head.base_seq) + PIECE);
            let last: Option<(Vec<u8>,)> = both!(Tx, &mut tx, t => sqlx::query_as(
                "SELECT hash FROM audit WHERE room = $1 AND seq = $2")
                .bind(room).bind(cut).fetch_optional(&mut **t).await?);
            // Nothing is old, or the chain is broken there: that must stay to be seen.
            let Some((hash,)) = last.filter(|_| cut > signed(head.base_seq)) else {
                both!(Tx, tx, t => t.rollback().await?);
                return Ok(0);
            };
            head.base_seq = unsigned(cut);
            head.base_hash = hash;
            let deleted = both!(Tx, &mut tx, t => sqlx::query("DELETE FROM audit WHERE room = $1 AND seq <= $2")
                .bind(room).bind(cut).execute(&mut **t).await?.rows_affected());
            save_head(&mut tx, &self.store.node, room, &locked).await?;
            both!(Tx, tx, t => t.commit().await?);
            Ok(deleted)
        })
        .await
    }
}
