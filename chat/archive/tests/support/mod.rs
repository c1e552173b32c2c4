//! What the tests of the archive share: records, folders and databases.

// Each test binary uses a part of it.
#![allow(dead_code, unreachable_pub)]

pub mod postgres;

use std::path::{Path, PathBuf};
use std::time::Duration;

use lightstick_chat_archive::{
    Archive, ArchiveConfig, ArchiveTasks, AuditRecord, Flushed, HistoryQuery, MessageEntry,
    MessageRecord, PaidRecord, Record,
};
use lightstick_types::RoomName;

/// Longer than anything takes; a test that waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn room(name: &str) -> RoomName {
    name.parse().unwrap()
}

pub fn message(room_name: &str, id: u64, user: &str, text: &str) -> MessageRecord {
    MessageRecord {
        room: room(room_name),
        id,
        epoch: 1,
        at_ms: 1_000_000 + id,
        user: user.into(),
        name: format!("Name of {user}"),
        role: 1,
        text: text.into(),
        reply_to: None,
        paid: None,
        shown: true,
    }
}

pub fn paid(room_name: &str, id: u64, user: &str) -> MessageRecord {
    let paid = PaidRecord {
        amount: 5_000,
        currency: "KRW".into(),
        tier: 3,
        reference: format!("order-{id}"),
    };
    MessageRecord {
        paid: Some(paid),
        ..message(room_name, id, user, "take my money")
    }
}

pub fn audit(room_name: &str, at_ms: u64, actor: &str, target: Option<&str>) -> Record {
    Record::Audit(AuditRecord {
        room: room(room_name),
        at_ms,
        actor: actor.into(),
        action: "timeout".into(),
        target: target.map(Into::into),
        reason: "too loud".into(),
        detail: r#"{"seconds":60}"#.into(),
    })
}

pub fn config(folder: &Path, url: &str) -> ArchiveConfig {
    ArchiveConfig {
        url: url.into(),
        data_dir: folder.join("data"),
        node_key: "07".repeat(32),
        batch_wait: Duration::from_millis(20),
        retry_wait_max: Duration::from_millis(100),
        // The records of tests are from 1970.
        retain: Duration::ZERO,
        retain_audit: Duration::ZERO,
        ..ArchiveConfig::default()
    }
}

pub fn sqlite_file(config: &ArchiveConfig) -> PathBuf {
    config.data_dir.join("chat.sqlite")
}

pub async fn close(archive: Archive, tasks: ArchiveTasks) {
    drop(archive);
    assert_eq!(tasks.shutdown(PATIENCE).await, Ok(Flushed::Everything));
}

/// Every message of a room, page by page.
pub async fn all_messages(archive: &Archive, name: &str) -> Vec<MessageEntry> {
    let mut query = HistoryQuery::default();
    let mut messages = Vec::new();
    loop {
        let page = archive.history(&room(name), &query, 1_000).await.unwrap();
        messages.extend(page.messages);
        match page.next {
            Some(id) => query.after_id = Some(id),
            None => return messages,
        }
    }
}
