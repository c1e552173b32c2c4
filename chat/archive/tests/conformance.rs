//! What the archive promises, held against both databases.

mod support;

use futures_util::TryStreamExt as _;
use lightstick_chat_archive::{
    Archive, ArchiveTasks, DeadLetterRecord, Erasure, HistoryQuery, MessageEntry, MessageRemoved,
    OpenError, Record, RoomState, RoomStateRecord, UserMessagesRemoved, Verified,
};
use support::postgres::Server;
use support::{all_messages, audit, close, config, message, paid, room};
use tempfile::TempDir;

struct Place {
    folder: TempDir,
    url: String,
    // Outlives the archive.
    _server: Option<Server>,
}

impl Place {
    async fn open(&self) -> (Archive, ArchiveTasks) {
        Archive::open(config(self.folder.path(), &self.url))
            .await
            .unwrap()
    }
}

macro_rules! on_both {
    ($($name:ident)*) => {
        mod sqlite {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(Place { folder: TempDir::new().unwrap(), url: String::new(), _server: None }).await;
            })*
        }
        mod postgres {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let server = Server::start();
                super::$name(Place { folder: TempDir::new().unwrap(), url: server.url(), _server: Some(server) }).await;
            })*
        }
    };
}

on_both! {
    what_is_kept_comes_back
    history_goes_by_id_time_and_user
    exports_are_lines_in_order
    removals_mark_rows
    a_room_state_and_its_last_id_survive
    ids_are_archived_once
    audit_rows_are_chained_and_tampering_is_found
    an_erased_user_is_unreadable_and_the_chain_holds
    old_rows_go_and_the_chain_goes_on
    dead_letters_are_kept_and_taken_out
    another_key_is_noticed
    many_rows_of_one_batch
    what_rooms_and_operators_ask_for
}

fn ids(messages: &[MessageEntry]) -> Vec<u64> {
    messages.iter().map(|m| m.id).collect()
}

async fn keep(archive: &Archive, records: impl IntoIterator<Item = Record>) {
    let batch: Vec<_> = records.into_iter().collect();
    let count = batch.len();
    assert_eq!(archive.append(batch).await.unwrap().kept, count);
    archive.flushed().await.unwrap();
}

async fn what_is_kept_comes_back(place: Place) {
    let (archive, tasks) = place.open().await;
    let mut said = message("stage", 7, "mina", "안녕 \0 <b>\u{202e}");
    said.reply_to = Some(3);
    said.shown = false;
    keep(
        &archive,
        [
            Record::Message(said.clone()),
            Record::Message(paid("stage", 8, "jun")),
        ],
    )
    .await;

    let kept = archive.message(&room("stage"), 7).await.unwrap().unwrap();
    let body = kept.body.unwrap();
    assert_eq!(
        (body.user, body.name, body.text),
        (said.user, said.name, said.text)
    );
    assert_eq!(
        (kept.id, kept.epoch, kept.at_ms, kept.role),
        (7, 1, said.at_ms, 1)
    );
    assert_eq!(
        (kept.reply_to, kept.paid, kept.shown, kept.removed),
        (Some(3), None, false, None)
    );

    let kept = archive.message(&room("stage"), 8).await.unwrap().unwrap();
    let paid = kept.paid.unwrap();
    assert_eq!(
        (paid.amount, paid.currency.as_str(), paid.tier),
        (5_000, "KRW", 3)
    );
    assert_eq!(kept.body.unwrap().reference, "order-8");
    assert_eq!(archive.message(&room("stage"), 9).await.unwrap(), None);
    assert_eq!(archive.message(&room("other"), 7).await.unwrap(), None);
    close(archive, tasks).await;
}

async fn history_goes_by_id_time_and_user(place: Place) {
    let (archive, tasks) = place.open().await;
    let users = ["mina", "jun", "sora"];
    keep(
        &archive,
        (1..=30).map(|id| Record::Message(message("stage", id, users[id as usize % 3], "hi"))),
    )
    .await;
    // The same user after a restart has another key.
    close(archive, tasks).await;
    let (archive, tasks) = place.open().await;
    keep(
        &archive,
        (31..=60).map(|id| Record::Message(message("stage", id, users[id as usize % 3], "hi"))),
    )
    .await;
    keep(
        &archive,
        [Record::Message(message("other", 1, "mina", "elsewhere"))],
    )
    .await;

    let get = async |query: HistoryQuery, limit| {
        let page = archive
            .history(&room("stage"), &query, limit)
            .await
            .unwrap();
        (ids(&page.messages), page.next)
    };
    let all = HistoryQuery::default;
    assert_eq!(get(all(), 3).await, (vec![1, 2, 3], Some(3)));
    assert_eq!(
        get(
            HistoryQuery {
                after_id: Some(57),
                ..all()
            },
            3
        )
        .await,
        (vec![58, 59, 60], None)
    );
    let newest = HistoryQuery {
        newest_first: true,
        ..all()
    };
    assert_eq!(get(newest.clone(), 2).await, (vec![60, 59], Some(59)));
    assert_eq!(
        get(
            HistoryQuery {
                before_id: Some(3),
                ..newest.clone()
            },
            9
        )
        .await,
        (vec![2, 1], None)
    );
    let time = HistoryQuery {
        from_ms: Some(1_000_010),
        to_ms: Some(1_000_013),
        ..all()
    };
    assert_eq!(get(time, 9).await, (vec![10, 11, 12], None));
    let by = HistoryQuery {
        user: Some("sora".into()),
        ..all()
    };
    let expected: Vec<u64> = (1..=60).filter(|id| id % 3 == 2).collect();
    assert_eq!(get(by.clone(), 1_000).await, (expected.clone(), None));
    assert_eq!(
        get(
            HistoryQuery {
                after_id: Some(26),
                ..by.clone()
            },
            2
        )
        .await,
        (vec![29, 32], Some(32))
    );
    let back = HistoryQuery {
        newest_first: true,
        before_id: Some(33),
        ..by
    };
    assert_eq!(get(back, 2).await, (vec![32, 29], Some(29)));
    assert_eq!(
        get(
            HistoryQuery {
                user: Some("nobody".into()),
                ..all()
            },
            9
        )
        .await,
        (vec![], None)
    );
    close(archive, tasks).await;
}

async fn exports_are_lines_in_order(place: Place) {
    let (archive, tasks) = place.open().await;
    keep(
        &archive,
        (1..=1_203).map(|id| Record::Message(message("stage", id, "mina", "line\nbreak"))),
    )
    .await;
    let chunks: Vec<_> = archive
        .export(room("stage"), HistoryQuery::default())
        .try_collect()
        .await
        .unwrap();
    assert_eq!(chunks.len(), 3, "one chunk a page");
    let text = String::from_utf8(chunks.concat()).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let seen: Vec<_> = lines.iter().map(|l| l["id"].as_u64().unwrap()).collect();
    assert_eq!(seen, (1..=1_203).collect::<Vec<_>>());
    assert_eq!(lines[0]["body"]["text"], "line\nbreak");
    let empty: Vec<bytes::Bytes> = archive
        .export(room("empty"), HistoryQuery::default())
        .try_collect()
        .await
        .unwrap();
    assert!(empty.is_empty());
    close(archive, tasks).await;
}

async fn removals_mark_rows(place: Place) {
    let (archive, tasks) = place.open().await;
    let mut records: Vec<_> = (1..=6)
        .map(|id| Record::Message(message("stage", id, "troll", "spam")))
        .collect();
    records.push(Record::Message(message("stage", 7, "fan", "hi")));
    records.push(Record::Message(message("other", 1, "troll", "spam")));
    // In one batch with what they remove.
    records.push(Record::MessageRemoved(MessageRemoved {
        room: room("stage"),
        id: 2,
        by: "mod".into(),
        at_ms: 5,
    }));
    records.push(Record::UserMessagesRemoved(UserMessagesRemoved {
        room: room("stage"),
        user: "troll".into(),
        up_to_id: 4,
        by: "idol".into(),
        at_ms: 9,
    }));
    keep(&archive, records).await;
    let messages = all_messages(&archive, "stage").await;
    let removed: Vec<_> = messages
        .iter()
        .map(|m| m.removed.as_ref().map(|r| (r.at_ms, r.by.clone().unwrap())))
        .collect();
    let (idol, moderator) = (Some((9, "idol".to_owned())), Some((5, "mod".to_owned())));
    assert_eq!(
        removed,
        [
            idol.clone(),
            moderator,
            idol.clone(),
            idol,
            None,
            None,
            None
        ]
    );
    assert!(
        messages.iter().all(|m| m.body.is_some()),
        "kept for the audit"
    );
    assert_eq!(all_messages(&archive, "other").await[0].removed, None);
    close(archive, tasks).await;
}

async fn a_room_state_and_its_last_id_survive(place: Place) {
    let (archive, tasks) = place.open().await;
    assert_eq!(
        archive.room_state(&room("stage")).await.unwrap(),
        RoomState::default()
    );
    let state = |name: &str, value: Option<&[u8]>| {
        Record::RoomState(RoomStateRecord {
            room: room("stage"),
            name: name.to_owned(),
            value: value.map(<[u8]>::to_vec),
        })
    };
    let batch = vec![
        state("settings", Some(b"one")),
        state("sanction/mina", Some(b"ban")),
        Record::Message(message("stage", 41, "u", "x")),
        state("settings", Some(b"two")),
        state("sanction/hana", Some(b"ban")),
        state("sanction/mina", None),
    ];
    archive.append(batch).await.unwrap();
    // Without waiting for the database: it is there when it was acknowledged.
    let expected = RoomState {
        last_id: 41,
        saved: [("settings", "two"), ("sanction/hana", "ban")]
            .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
            .into(),
    };
    assert_eq!(archive.room_state(&room("stage")).await.unwrap(), expected);
    close(archive, tasks).await;
    let (archive, tasks) = place.open().await;
    assert_eq!(archive.room_state(&room("stage")).await.unwrap(), expected);
    keep(
        &archive,
        [Record::Message(message("stage", 40, "u", "late"))],
    )
    .await;
    assert_eq!(archive.room_state(&room("stage")).await.unwrap(), expected);
    close(archive, tasks).await;
}

async fn ids_are_archived_once(place: Place) {
    let (archive, tasks) = place.open().await;
    let again = || (1..=5).map(|id| Record::Message(message("stage", id, "u", "first")));
    keep(&archive, again()).await;
    keep(
        &archive,
        again().chain([Record::Message(message("stage", 3, "v", "second"))]),
    )
    .await;
    let messages = all_messages(&archive, "stage").await;
    assert_eq!(ids(&messages), [1, 2, 3, 4, 5]);
    assert!(
        messages
            .iter()
            .all(|m| m.body.as_ref().unwrap().text == "first")
    );
    let stats = archive.stats().snapshot();
    assert_eq!(
        (stats.journalled, stats.archived, stats.duplicates),
        (11, 5, 6)
    );
    close(archive, tasks).await;
}

/// Changes the database behind the archive's back.
async fn sql(place: &Place, sql: &'static str) {
    if place.url.is_empty() {
        let file = support::sqlite_file(&config(place.folder.path(), ""));
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
        let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        sqlx::Connection::close(connection).await.unwrap();
    } else {
        let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(&place.url)
            .await
            .unwrap();
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    }
}

async fn audit_rows_are_chained_and_tampering_is_found(place: Place) {
    let (archive, tasks) = place.open().await;
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    for name in names {
        keep(
            &archive,
            (1..=5).map(|at| audit(name, at, "mod", Some("fan"))),
        )
        .await;
        keep(&archive, (6..=10).map(|at| audit(name, at, "mod", None))).await;
        assert_eq!(
            archive.verify(&room(name)).await.unwrap(),
            Verified::Whole { rows: 10 }
        );
    }
    assert_eq!(
        archive.verify(&room("none")).await.unwrap(),
        Verified::Whole { rows: 0 }
    );
    let page = archive.audit(&room("a"), 3, 4).await.unwrap();
    assert_eq!(page.iter().map(|e| e.seq).collect::<Vec<_>>(), [4, 5, 6, 7]);
    let text = |s: &str| Some(s.to_owned());
    assert_eq!(
        (&page[0].actor, &page[0].target),
        (&text("mod"), &text("fan"))
    );
    assert_eq!(
        (&page[3].reason, &page[3].target),
        (&text("too loud"), &None)
    );
    assert_eq!(
        (page[0].action.as_str(), &page[0].detail),
        ("timeout", &text(r#"{"seconds":60}"#))
    );

    // One row changed; one missing; two swapped; the end cut off; the end cut off, with a head to match; no head at
    // all; a first row and a base to match.
    sql(
        &place,
        "UPDATE audit SET action = 'nothing' WHERE room = 'a' AND seq = 4",
    )
    .await;
    sql(&place, "DELETE FROM audit WHERE room = 'b' AND seq = 7").await;
    sql(
        &place,
        "UPDATE audit SET seq = 99 WHERE room = 'c' AND seq = 2; \
                 UPDATE audit SET seq = 2 WHERE room = 'c' AND seq = 3; \
                 UPDATE audit SET seq = 3 WHERE room = 'c' AND seq = 99",
    )
    .await;
    sql(&place, "DELETE FROM audit WHERE room = 'd' AND seq > 8").await;
    sql(
        &place,
        "DELETE FROM audit WHERE room = 'e' AND seq > 8; UPDATE audit_heads SET seq = 8, \
                 hash = (SELECT hash FROM audit WHERE room = 'e' AND seq = 8) WHERE room = 'e'",
    )
    .await;
    sql(&place, "DELETE FROM audit_heads WHERE room = 'f'").await;
    sql(&place, "UPDATE audit_heads SET base_seq = 1, \
                 base_hash = (SELECT hash FROM audit WHERE room = 'g' AND seq = 1) WHERE room = 'g'; \
                 DELETE FROM audit WHERE room = 'g' AND seq = 1").await;
    for (name, at_seq) in names.into_iter().zip([4, 7, 2, 9, 9, 1, 11]) {
        assert_eq!(
            archive.verify(&room(name)).await.unwrap(),
            Verified::Broken { at_seq },
            "room {name}"
        );
    }
    // What comes later does not mend it.
    keep(&archive, [audit("e", 11, "mod", None)]).await;
    assert!(matches!(
        archive.verify(&room("e")).await.unwrap(),
        Verified::Broken { .. }
    ));
    close(archive, tasks).await;
}

async fn an_erased_user_is_unreadable_and_the_chain_holds(place: Place) {
    let (archive, tasks) = place.open().await;
    keep(
        &archive,
        [
            Record::Message(message("stage", 1, "mina", "secret")),
            audit("stage", 1, "mod", Some("mina")),
        ],
    )
    .await;
    close(archive, tasks).await;
    let (archive, tasks) = place.open().await;
    let records = [
        Record::Message(paid("stage", 2, "mina")),
        Record::Message(message("stage", 3, "jun", "stays")),
        Record::MessageRemoved(MessageRemoved {
            room: room("stage"),
            id: 3,
            by: "mina".into(),
            at_ms: 5,
        }),
        audit("stage", 2, "mina", Some("jun")),
        Record::DeadLetter(letter("1", Some("mina"))),
    ];
    // Not yet in the database: the journal must forget as well.
    archive.append(records.into()).await.unwrap();
    assert_eq!(archive.erase_user("mina").await.unwrap(), Erasure::Done);
    keep(
        &archive,
        [Record::Message(message("stage", 4, "mina", "back again"))],
    )
    .await;

    let messages = all_messages(&archive, "stage").await;
    let texts: Vec<_> = messages
        .iter()
        .map(|m| m.body.as_ref().map(|b| b.text.as_str()))
        .collect();
    assert_eq!(texts, [None, None, Some("stays"), Some("back again")]);
    assert_eq!(
        messages[1].paid.as_ref().unwrap().amount,
        5_000,
        "the sum stays"
    );
    assert_eq!(messages[2].removed.as_ref().unwrap().by, None);
    let by = HistoryQuery {
        user: Some("mina".into()),
        ..HistoryQuery::default()
    };
    assert_eq!(
        ids(&archive
            .history(&room("stage"), &by, 10)
            .await
            .unwrap()
            .messages),
        [4]
    );
    let rows = archive.audit(&room("stage"), 0, 10).await.unwrap();
    assert_eq!(
        (
            rows[0].actor.as_deref(),
            rows[0].target.as_deref(),
            rows[0].reason.as_deref()
        ),
        (Some("mod"), None, None)
    );
    assert_eq!(
        (
            rows[1].actor.as_deref(),
            rows[1].target.as_deref(),
            rows[1].reason.as_deref()
        ),
        (None, Some("jun"), Some("too loud"))
    );
    assert_eq!(archive.dead_letters("", 10).await.unwrap()[0].body, None);
    assert_eq!(
        archive.verify(&room("stage")).await.unwrap(),
        Verified::Whole { rows: 2 }
    );
    close(archive, tasks).await;
    // A start reads what is left of the journal; nothing comes back.
    let (archive, tasks) = place.open().await;
    assert_eq!(all_messages(&archive, "stage").await, messages);
    close(archive, tasks).await;
}

async fn old_rows_go_and_the_chain_goes_on(place: Place) {
    let (archive, tasks) = place.open().await;
    keep(
        &archive,
        (1..=1_300).map(|id| Record::Message(message("stage", id, "u", "x"))),
    )
    .await;
    keep(
        &archive,
        (1..=1_100).map(|at| audit("stage", at, "mod", None)),
    )
    .await;
    let mut old = letter("old", None);
    old.at_ms = 1_000_000;
    keep(
        &archive,
        [
            Record::DeadLetter(old),
            Record::DeadLetter(letter("young", None)),
        ],
    )
    .await;
    // Messages have times from 1,000,001 on, audit rows from 1 on.
    assert_eq!(
        archive.retain(1_001_200, 1_091).await.unwrap(),
        1_199 + 1_090 + 1
    );
    assert_eq!(all_messages(&archive, "stage").await.len(), 101);
    assert_eq!(
        archive.audit(&room("stage"), 0, 100).await.unwrap().len(),
        10
    );
    assert_eq!(
        archive.verify(&room("stage")).await.unwrap(),
        Verified::Whole { rows: 10 }
    );
    assert_eq!(archive.dead_letters("", 10).await.unwrap().len(), 1);
    keep(&archive, [audit("stage", 2_000, "mod", None)]).await;
    assert_eq!(
        archive
            .audit(&room("stage"), 0, 100)
            .await
            .unwrap()
            .last()
            .unwrap()
            .seq,
        1_101
    );
    assert_eq!(archive.retain(1_001_200, 1_091).await.unwrap(), 0);
    // Everything: keys that seal nothing go as well, and ids go on.
    let later = 4_102_444_800_000;
    archive.retain(later, later).await.unwrap();
    assert_eq!(archive.stats().snapshot().deleted, 1_300 + 1_101 + 2 + 2);
    assert_eq!(
        archive.verify(&room("stage")).await.unwrap(),
        Verified::Whole { rows: 0 }
    );
    assert_eq!(
        archive.room_state(&room("stage")).await.unwrap().last_id,
        1_300
    );
    keep(&archive, [audit("stage", 3_000, "mod", None)]).await;
    assert_eq!(
        archive.audit(&room("stage"), 0, 100).await.unwrap()[0].seq,
        1_102
    );
    assert_eq!(
        archive.verify(&room("stage")).await.unwrap(),
        Verified::Whole { rows: 1 }
    );
    close(archive, tasks).await;
}

fn letter(id: &str, user: Option<&str>) -> DeadLetterRecord {
    DeadLetterRecord {
        id: id.into(),
        url: "https://example.com/hook".into(),
        event: "message.created".into(),
        user: user.map(Into::into),
        body: b"{\"text\":\"hi\"}".to_vec(),
        attempts: 8,
        last_error: "timed out \u{2028} after 10 s".into(),
        at_ms: 2_000_000,
    }
}

async fn dead_letters_are_kept_and_taken_out(place: Place) {
    let (archive, tasks) = place.open().await;
    let mut again = letter("b", None);
    again.attempts = 9;
    let letters = [
        letter("c", Some("mina")),
        letter("a", None),
        letter("b", None),
        again,
    ];
    keep(&archive, letters.map(Record::DeadLetter)).await;
    let all = archive.dead_letters("", 10).await.unwrap();
    let seen: Vec<_> = all.iter().map(|l| (l.id.as_str(), l.attempts)).collect();
    assert_eq!(seen, [("a", 8), ("b", 9), ("c", 8)]);
    assert!(
        all.iter()
            .all(|l| l.body.as_deref() == Some(b"{\"text\":\"hi\"}"))
    );
    assert_eq!(archive.dead_letters("a", 1).await.unwrap(), all[1..2]);
    assert!(archive.remove_dead_letter("b").await.unwrap());
    assert!(!archive.remove_dead_letter("b").await.unwrap());
    assert_eq!(archive.dead_letters("", 10).await.unwrap().len(), 2);
    close(archive, tasks).await;
}

async fn another_key_is_noticed(place: Place) {
    let (archive, tasks) = place.open().await;
    close(archive, tasks).await;
    let mut other = config(place.folder.path(), &place.url);
    other.node_key = "08".repeat(32);
    assert!(matches!(
        Archive::open(other).await,
        Err(OpenError::OtherNodeKey)
    ));
    sql(&place, "INSERT INTO schema_version (version) VALUES (1000)").await;
    let newer = Archive::open(config(place.folder.path(), &place.url)).await;
    assert!(matches!(newer, Err(OpenError::Newer("the database"))));
}

async fn many_rows_of_one_batch(place: Place) {
    let (archive, tasks) = place.open().await;
    // Every length of a statement, and many users.
    let batch: Vec<_> = (1..=4_000)
        .map(|id| Record::Message(message("stage", id, &format!("user {}", id % 777), "hi")))
        .collect();
    keep(&archive, batch).await;
    assert_eq!(archive.stats().snapshot().keys_made, 777);
    let messages = all_messages(&archive, "stage").await;
    assert_eq!(ids(&messages), (1..=4_000).collect::<Vec<_>>());
    for m in messages {
        assert_eq!(m.body.unwrap().user, format!("user {}", m.id % 777));
    }
    close(archive, tasks).await;
}

async fn what_rooms_and_operators_ask_for(place: Place) {
    let (archive, tasks) = place.open().await;
    let ours = room("stage");
    assert_eq!(archive.audit_end(&ours).await.unwrap(), 0);
    assert!(archive.paid(&ours, 10).await.unwrap().is_empty());
    assert!(archive.rooms().await.unwrap().is_empty());
    let state = |name: &str| {
        Record::RoomState(RoomStateRecord {
            room: room(name),
            name: "settings".into(),
            value: Some(b"{}".to_vec()),
        })
    };
    let letter = DeadLetterRecord {
        id: "msg_1~0".into(),
        url: "https://hooks.example/".into(),
        event: "message.created".into(),
        user: Some("mina".into()),
        body: b"{}".to_vec(),
        attempts: 8,
        last_error: "503".into(),
        at_ms: 1,
    };
    keep(
        &archive,
        [
            Record::Message(paid("stage", 1, "jun")),
            Record::Message(message("stage", 2, "mina", "free")),
            Record::Message(paid("stage", 3, "mina")),
            Record::Message(paid("stage", 4, "mina")),
            Record::Message(paid("other", 5, "mina")),
            audit("stage", 1, "mod", Some("mina")),
            audit("stage", 2, "mod", None),
            state("stage"),
            state("quiet"),
            Record::DeadLetter(letter),
        ],
    )
    .await;
    // The last ones, the oldest of them first, with what they are known by.
    let last = archive.paid(&ours, 2).await.unwrap();
    assert_eq!(ids(&last), [3, 4]);
    assert_eq!(last[0].body.as_ref().unwrap().reference, "order-3");
    assert_eq!(ids(&archive.paid(&ours, 10).await.unwrap()), [1, 3, 4]);
    assert_eq!(archive.audit_end(&ours).await.unwrap(), 2);
    let rooms = archive.rooms().await.unwrap();
    assert_eq!(rooms, [room("quiet"), room("stage")]);
    let found = archive.dead_letter("msg_1~0").await.unwrap().unwrap();
    assert_eq!(found, archive.dead_letters("", 10).await.unwrap()[0]);
    assert_eq!(archive.dead_letter("msg_1").await.unwrap(), None);
    close(archive, tasks).await;
}
