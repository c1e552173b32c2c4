CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE writer_positions (journal BLOB PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE rooms (room TEXT PRIMARY KEY, last_id INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE room_states (room TEXT NOT NULL, name_hash BLOB NOT NULL, state BLOB NOT NULL, PRIMARY KEY (room, name_hash)) WITHOUT ROWID;

CREATE TABLE user_keys (
    key_id BLOB PRIMARY KEY,
    user_hash BLOB NOT NULL,
    wrapped BLOB NOT NULL,
    made_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX user_keys_by_user ON user_keys (user_hash);
CREATE INDEX user_keys_by_age ON user_keys (made_ms);

CREATE TABLE messages (
    room TEXT NOT NULL,
    id INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    key_id BLOB NOT NULL,
    body BLOB NOT NULL,
    role INTEGER NOT NULL,
    reply_to INTEGER,
    amount INTEGER,
    currency TEXT NOT NULL,
    tier INTEGER NOT NULL,
    shown BOOLEAN NOT NULL,
    removed_ms INTEGER,
    removed_key BLOB,
    removed_by BLOB,
    PRIMARY KEY (room, id)
) WITHOUT ROWID;
CREATE INDEX messages_by_author ON messages (key_id, room, id);
CREATE INDEX messages_by_time ON messages (room, at_ms);

CREATE TABLE audit (
    room TEXT NOT NULL,
    seq INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    action TEXT NOT NULL,
    actor_key BLOB NOT NULL,
    actor BLOB NOT NULL,
    target_key BLOB,
    target BLOB,
    note BLOB NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (room, seq)
) WITHOUT ROWID;
CREATE TABLE audit_heads (
    room TEXT PRIMARY KEY,
    base_seq INTEGER NOT NULL,
    base_hash BLOB NOT NULL,
    seq INTEGER NOT NULL,
    hash BLOB NOT NULL,
    mac BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE dead_letters (
    id TEXT PRIMARY KEY,
    url TEXT NOT NULL,
    event TEXT NOT NULL,
    key_id BLOB,
    body BLOB NOT NULL,
    attempts INTEGER NOT NULL,
    last_error TEXT NOT NULL,
    at_ms INTEGER NOT NULL
) WITHOUT ROWID;
