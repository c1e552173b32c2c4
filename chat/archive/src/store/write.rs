//! One batch of the journal into the database, in one transaction.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use super::{Connection, Tx, begin, both, commit, signed, unsigned};
use crate::audit::Head;
use crate::journal::reader::Chunk;
use crate::journal::segment::JournalId;
use crate::node_key::NodeKey;
use crate::stored::{
    AuditRow, KeyRow, LetterRow, MessageRow, RemovedRow, StateRow, Stored, UserRemovedRow,
};

/// Rows of one statement. A batch is cut into these, so that few statements are prepared once and for all.
const ROWS: [usize; 5] = [256, 64, 16, 4, 1];

/// How a batch went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is there. So many messages were there before.
    Written { duplicates: u64 },
    /// The database is at another position: an attempt that seemed to fail did not, or it was restored.
    Elsewhere(u64),
}

/// Rows of a batch by their table.
#[derive(Default)]
struct Batch<'a> {
    keys: Vec<&'a KeyRow>,
    messages: Vec<&'a MessageRow>,
    removals: Vec<Removal<'a>>,
    audit: Vec<&'a AuditRow>,
    /// By room and the hash of the name.
    states: HashMap<(&'a str, &'a [u8]), &'a StateRow>,
    last_ids: HashMap<&'a str, u64>,
    letters: Vec<&'a LetterRow>,
    erased: Option<&'a [u8]>,
}

enum Removal<'a> {
    One(&'a RemovedRow),
    User(&'a UserRemovedRow),
}

/// The one connection that writes, and the journal whose batches come by it.
pub(crate) struct WriteConnection {
    connection: Connection,
    journal: JournalId,
    node: Arc<NodeKey>,
}

impl WriteConnection {
    pub(super) fn new(connection: Connection, journal: JournalId, node: Arc<NodeKey>) -> Self {
        Self {
            connection,
            journal,
            node,
        }
    }

    /// Says that the database has less of the journal than it knew.
    pub(crate) async fn rewind(&mut self, position: u64) -> Result<(), sqlx::Error> {
        both!(Connection, &mut self.connection, c => {
            sqlx::query("UPDATE writer_positions SET position = $2 WHERE journal = $1")
                .bind(&self.journal[..]).bind(signed(position)).execute(c).await.map(drop)
        })
    }

    /// Writes a chunk that begins at `from`, and remembers where it ends. All or nothing.
    pub(crate) async fn write(&mut self, from: u64, chunk: &Chunk) -> Result<Outcome, sqlx::Error> {
        let journal = &self.journal[..];
        let batch = sort(&chunk.rows);
        let mut tx = begin(&mut self.connection).await?;
        // Locks the row: an attempt of ours that still hangs somewhere ends before this one reads.
        let (position,): (i64,) = both!(Tx, &mut tx, t => sqlx::query_as(
            "UPDATE writer_positions SET position = position WHERE journal = $1 RETURNING position")
            .bind(journal).fetch_one(&mut **t).await?);
        if unsigned(position) != from {
            both!(Tx, tx, t => t.rollback().await?);
            return Ok(Outcome::Elsewhere(unsigned(position)));
        }
        keys(&mut tx, &batch.keys).await?;
        let written = messages(&mut tx, &batch.messages).await?;
        // A removal comes after its message, so it may wait for all of them.
        for removal in &batch.removals {
            remove(&mut tx, removal).await?;
        }
        audit(&mut tx, &self.node, &batch.audit).await?;
        rooms(&mut tx, &batch).await?;
        for letter in &batch.letters {
            put_letter(&mut tx, letter).await?;
        }
        if let Some(user) = batch.erased {
            both!(Tx, &mut tx, t => sqlx::query("DELETE FROM user_keys WHERE user_hash = $1")
                .bind(user).execute(&mut **t).await.map(drop)?);
        }
        both!(Tx, &mut tx, t => sqlx::query("UPDATE writer_positions SET position = $2 WHERE journal = $1")
            .bind(journal).bind(signed(chunk.next)).execute(&mut **t).await.map(drop)?);
        commit(tx).await?;
        if batch.erased.is_some() {
            forget_pages(&mut self.connection).await;
        }
        Ok(Outcome::Written {
            duplicates: batch.messages.len() as u64 - written,
        })
    }
}

fn sort(rows: &[Stored]) -> Batch<'_> {
    let mut batch = Batch::default();
    for row in rows {
        match row {
            Stored::Key(row) => batch.keys.push(row),
            Stored::Message(row) => {
                let last = batch.last_ids.entry(&row.room).or_default();
                *last = row.id.max(*last);
                batch.messages.push(row);
            }
            Stored::Removed(row) => batch.removals.push(Removal::One(row)),
            Stored::UserRemoved(row) => batch.removals.push(Removal::User(row)),
            Stored::Audit(row) => batch.audit.push(row),
            Stored::State(row) => {
                batch.states.insert((&row.room, &row.name_hash), row);
            }
            Stored::Letter(row) => batch.letters.push(row),
            Stored::Erased(row) => batch.erased = Some(&row.user_hash),
        }
    }
    batch
}

/// The statements of one insert, one for each of [`ROWS`].
struct Insert {
    sqlite: [String; ROWS.len()],
    postgres: [String; ROWS.len()],
}

impl Insert {
    fn new(head: &str, columns: usize) -> Self {
        let statements = |place: fn(usize) -> String| {
            ROWS.map(|rows| {
                let row = |r: usize| {
                    let places: Vec<_> = (1..=columns).map(|c| place(r * columns + c)).collect();
                    format!("({})", places.join(","))
                };
                let values: Vec<_> = (0..rows).map(row).collect();
                format!("{head} VALUES {} ON CONFLICT DO NOTHING", values.join(","))
            })
        };
        // SQLite looks numbered places up in a list, one by one: with thousands of them that would
        // cost more than all else.
        Self {
            sqlite: statements(|_| "?".to_owned()),
            postgres: statements(|n| format!("${n}")),
        }
    }

    fn of(&'static self, tx: &Tx<'_>) -> &'static [String; ROWS.len()] {
        match tx {
            Tx::Sqlite(_) => &self.sqlite,
            Tx::Postgres(_) => &self.postgres,
        }
    }
}

/// Cuts rows into runs of the lengths in [`ROWS`], each with its statement.
fn runs<'r, T>(
    rows: &'r [T],
    statements: &'static [String; ROWS.len()],
) -> Vec<(&'static str, &'r [T])> {
    let mut rest = rows;
    let mut runs = Vec::new();
    for (len, statement) in ROWS.iter().zip(statements) {
        while let Some((run, behind)) = rest.split_at_checked(*len) {
            runs.push((statement.as_str(), run));
            rest = behind;
        }
    }
    runs
}

async fn keys(tx: &mut Tx<'_>, rows: &[&KeyRow]) -> Result<(), sqlx::Error> {
    static SQL: LazyLock<Insert> = LazyLock::new(|| {
        Insert::new(
            "INSERT INTO user_keys (key_id, user_hash, wrapped, made_ms)",
            4,
        )
    });
    for (sql, run) in runs(rows, SQL.of(tx)) {
        both!(Tx, &mut *tx, t => {
            let mut query = sqlx::query(sql);
            for key in run {
                query = query.bind(&key.key_id[..]).bind(&key.user_hash[..]).bind(&key.wrapped[..]).bind(signed(key.made_ms));
            }
            query.execute(&mut **t).await.map(drop)?
        });
    }
    Ok(())
}

async fn messages(tx: &mut Tx<'_>, rows: &[&MessageRow]) -> Result<u64, sqlx::Error> {
    static SQL: LazyLock<Insert> = LazyLock::new(|| {
        let columns =
            "room, id, epoch, at_ms, key_id, body, role, reply_to, amount, currency, tier, shown";
        Insert::new(&format!("INSERT INTO messages ({columns})"), 12)
    });
    let mut written = 0;
    for (sql, run) in runs(rows, SQL.of(tx)) {
        written += both!(Tx, &mut *tx, t => {
            let mut query = sqlx::query(sql);
            for m in run {
                query = query
                    .bind(&m.room[..]).bind(signed(m.id)).bind(signed(m.epoch)).bind(signed(m.at_ms))
                    .bind(&m.key_id[..]).bind(&m.body[..]).bind(i64::from(m.role)).bind(m.reply_to.map(signed))
                    .bind(m.amount.map(signed)).bind(&m.currency[..]).bind(i64::from(m.tier)).bind(m.shown);
            }
            query.execute(&mut **t).await?.rows_affected()
        });
    }
    Ok(written)
}

async fn remove(tx: &mut Tx<'_>, removal: &Removal<'_>) -> Result<(), sqlx::Error> {
    // The first removal counts; a later one says nothing new.
    both!(Tx, tx, t => match removal {
        Removal::One(r) => sqlx::query(
            "UPDATE messages SET removed_ms = $3, removed_key = $4, removed_by = $5 \
             WHERE room = $1 AND id = $2 AND removed_ms IS NULL")
            .bind(&r.room[..]).bind(signed(r.id)).bind(signed(r.at_ms)).bind(&r.by_key[..]).bind(&r.by[..])
            .execute(&mut **t).await.map(drop),
        Removal::User(r) => sqlx::query(
            "UPDATE messages SET removed_ms = $3, removed_key = $4, removed_by = $5 \
             WHERE room = $1 AND removed_ms IS NULL AND id IN (SELECT m.id FROM user_keys k CROSS JOIN messages m \
             WHERE k.user_hash = $6 AND m.key_id = k.key_id AND m.room = $1 AND m.id <= $2)")
            .bind(&r.room[..]).bind(signed(r.up_to_id)).bind(signed(r.at_ms)).bind(&r.by_key[..]).bind(&r.by[..])
            .bind(&r.user_hash[..]).execute(&mut **t).await.map(drop),
    })
}

async fn audit(tx: &mut Tx<'_>, node: &NodeKey, rows: &[&AuditRow]) -> Result<(), sqlx::Error> {
    let mut heads: HashMap<&str, Locked> = HashMap::new();
    for row in rows {
        if !heads.contains_key(&row.room[..]) {
            heads.insert(&row.room, lock_head(tx, node, &row.room).await?);
        }
        let Some(locked) = heads.get_mut(&row.room[..]) else {
            continue;
        };
        let (seq, hash) = locked.head.push(row);
        both!(Tx, &mut *tx, t => sqlx::query(
            "INSERT INTO audit (room, seq, at_ms, action, actor_key, actor, target_key, target, note, hash) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)")
            .bind(&row.room[..]).bind(signed(seq)).bind(signed(row.at_ms)).bind(&row.action[..])
            .bind(&row.actor_key[..]).bind(&row.actor[..]).bind(row.target_key.as_deref())
            .bind(row.target.as_deref()).bind(&row.note[..]).bind(&hash[..])
            .execute(&mut **t).await.map(drop)?);
    }
    for (room, locked) in heads {
        save_head(tx, node, room, &locked).await?;
    }
    Ok(())
}

/// The head of a room's chain, which nobody else changes until this transaction ends.
pub(super) struct Locked {
    pub(super) head: Head,
    /// Whether its signature is ours. A head that was changed behind our back must stay noticeable.
    signed: bool,
}

pub(super) async fn lock_head(
    tx: &mut Tx<'_>,
    node: &NodeKey,
    room: &str,
) -> Result<Locked, sqlx::Error> {
    let empty = Head::empty();
    let mac = empty.sign(node, room);
    let (base_seq, base_hash, seq, hash, mac): (i64, Vec<u8>, i64, Vec<u8>, Vec<u8>) = both!(Tx, tx, t => sqlx::query_as(
        "INSERT INTO audit_heads (room, base_seq, base_hash, seq, hash, mac) VALUES ($1, 0, $2, 0, $2, $3) \
         ON CONFLICT (room) DO UPDATE SET seq = audit_heads.seq RETURNING base_seq, base_hash, seq, hash, mac")
        .bind(room).bind(&empty.hash[..]).bind(&mac[..]).fetch_one(&mut **t).await?);
    let head = Head {
        base_seq: unsigned(base_seq),
        base_hash,
        seq: unsigned(seq),
        hash,
    };
    let signed = head.is_signed(node, room, &mac);
    if !signed {
        tracing::error!(room, "an audit chain was changed by another writer");
    }
    Ok(Locked { head, signed })
}

pub(super) async fn save_head(
    tx: &mut Tx<'_>,
    node: &NodeKey,
    room: &str,
    locked: &Locked,
) -> Result<(), sqlx::Error> {
    let head = &locked.head;
    let mac = if locked.signed {
        head.sign(node, room)
    } else {
        Vec::new()
    };
    both!(Tx, tx, t => sqlx::query(
        "UPDATE audit_heads SET base_seq = $2, base_hash = $3, seq = $4, hash = $5, mac = $6 WHERE room = $1")
        .bind(room).bind(signed(head.base_seq)).bind(&head.base_hash[..]).bind(signed(head.seq))
        .bind(&head.hash[..]).bind(&mac[..]).execute(&mut **t).await.map(drop))
}

async fn rooms(tx: &mut Tx<'_>, batch: &Batch<'_>) -> Result<(), sqlx::Error> {
    // In order, so that two nodes never wait for each other.
    let mut last_ids: Vec<_> = batch.last_ids.iter().collect();
    last_ids.sort_unstable();
    for (room, last_id) in last_ids {
        both!(Tx, &mut *tx, t => sqlx::query(
            "INSERT INTO rooms (room, last_id) VALUES ($1, $2) ON CONFLICT (room) DO UPDATE \
             SET last_id = excluded.last_id WHERE rooms.last_id < excluded.last_id")
            .bind(*room).bind(signed(*last_id)).execute(&mut **t).await.map(drop)?);
    }
    let mut states: Vec<_> = batch.states.iter().collect();
    states.sort_unstable_by_key(|(place, _)| **place);
    for ((room, name), row) in states {
        match &row.state {
            Some(state) => both!(Tx, &mut *tx, t => sqlx::query(
                "INSERT INTO room_states (room, name_hash, state) VALUES ($1, $2, $3) \
                 ON CONFLICT (room, name_hash) DO UPDATE SET state = excluded.state")
                .bind(*room).bind(*name).bind(&state[..]).execute(&mut **t).await.map(drop)?),
            None => both!(Tx, &mut *tx, t => sqlx::query(
                "DELETE FROM room_states WHERE room = $1 AND name_hash = $2")
                .bind(*room).bind(*name).execute(&mut **t).await.map(drop)?),
        }
    }
    Ok(())
}

async fn put_letter(tx: &mut Tx<'_>, letter: &LetterRow) -> Result<(), sqlx::Error> {
    both!(Tx, tx, t => sqlx::query(
        "INSERT INTO dead_letters (id, url, event, key_id, body, attempts, last_error, at_ms) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO UPDATE \
         SET url = excluded.url, event = excluded.event, key_id = excluded.key_id, body = excluded.body, \
         attempts = excluded.attempts, last_error = excluded.last_error, at_ms = excluded.at_ms")
        .bind(&letter.id[..]).bind(&letter.url[..]).bind(&letter.event[..]).bind(letter.key_id.as_deref())
        .bind(&letter.body[..]).bind(i64::from(letter.attempts)).bind(&letter.last_error[..])
        .bind(signed(letter.at_ms)).execute(&mut **t).await.map(drop))
}

// SQLite's log still holds the page with the key. If a reader is in the way, a later checkpoint does it.
async fn forget_pages(connection: &mut Connection) {
    if let Connection::Sqlite(c) = connection
        && let Err(error) = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
            .execute(c)
            .await
    {
        tracing::warn!(%error, "cannot empty the write-ahead log of the chat database after an erasure");
    }
}
