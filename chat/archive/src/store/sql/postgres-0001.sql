CREATE TABLE meta (name TEXT PRIMARY KEY, value BYTEA NOT NULL);
CREATE TABLE writer_positions (journal BYTEA PRIMARY KEY, position BIGINT NOT NULL);
CREATE TABLE rooms (room TEXT COLLATE "C" PRIMARY KEY, last_id BIGINT NOT NULL);
CREATE TABLE room_states (room TEXT COLLATE "C" NOT NULL, name_hash BYTEA NOT NULL, state BYTEA NOT NULL, PRIMARY KEY (room, name_hash));

CREATE TABLE user_keys (
    key_id BYTEA PRIMARY KEY,
    user_hash BYTEA NOT NULL,
    wrapped BYTEA NOT NULL,
    made_ms BIGINT NOT NULL
);
CREATE INDEX user_keys_by_user ON user_keys (user_hash);
CREATE INDEX user_keys_by_age ON user_keys (made_ms);

CREATE TABLE messages (
    room TEXT COLLATE "C" NOT NULL,
    id BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    key_id BYTEA NOT NULL,
    body BYTEA NOT NULL,
    role BIGINT NOT NULL,
    reply_to BIGINT,
    amount BIGINT,
    currency TEXT NOT NULL,
    tier BIGINT NOT NULL,
    shown BOOLEAN NOT NULL,
    removed_ms BIGINT,
    removed_key BYTEA,
    removed_by BYTEA,
    PRIMARY KEY (room, id)
);
CREATE INDEX messages_by_author ON messages (key_id, room, id);
CREATE INDEX messages_by_time ON messages (room, at_ms);

CREATE TABLE audit (
    room TEXT COLLATE "C" NOT NULL,
    seq BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    action TEXT NOT NULL,
    actor_key BYTEA NOT NULL,
    actor BYTEA NOT NULL,
    target_key BYTEA,
    target BYTEA,
    note BYTEA NOT NULL,
    hash BYTEA NOT NULL,
    PRIMARY KEY (room, seq)
);
CREATE TABLE audit_heads (
    room TEXT COLLATE "C" PRIMARY KEY,
    base_seq BIGINT NOT NULL,
    base_hash BYTEA NOT NULL,
    seq BIGINT NOT NULL,
    hash BYTEA NOT NULL,
    mac BYTEA NOT NULL
);

CREATE TABLE dead_letters (
    id TEXT COLLATE "C" PRIMARY KEY,
    url TEXT NOT NULL,
    event TEXT NOT NULL,
    key_id BYTEA,
    body BYTEA NOT NULL,
    attempts BIGINT NOT NULL,
    last_error TEXT NOT NULL,
    at_ms BIGINT NOT NULL
);
