use lightstick_types::RoomName;

use super::*;
use crate::node_key::open;

fn room() -> RoomName {
    "stage".parse().unwrap()
}

fn message(id: u64, user: &str) -> Record {
    Record::Message(MessageRecord {
        room: room(),
        id,
        epoch: 1,
        at_ms: 1_000 + id,
        user: user.into(),
        name: "Mina".into(),
        role: 1,
        text: "hello".into(),
        reply_to: None,
        paid: None,
        shown: true,
    })
}

fn rows(sealer: &mut Sealer, record: Record, now_ms: u64) -> Vec<Stored> {
    let mut rows = Vec::new();
    sealer.rows(record, now_ms, |row| rows.push(row));
    rows
}

fn key_of(rows: &[Stored]) -> Vec<u8> {
    match rows.last() {
        Some(Stored::Message(m)) => m.key_id.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_key_is_made_once_and_opens_what_it_sealed() {
    let node = Arc::new(NodeKey::new(&[1; 32]));
    let mut sealer = Sealer::new(node.clone());
    let first = rows(&mut sealer, message(1, "u"), 0);
    let [Stored::Key(key), Stored::Message(one)] = &first[..] else {
        panic!("{first:?}")
    };
    let second = rows(&mut sealer, message(2, "u"), 1);
    let [Stored::Message(two)] = &second[..] else {
        panic!("{second:?}")
    };
    assert_eq!((&one.key_id, &two.key_id), (&key.key_id, &key.key_id));
    assert_ne!(one.body[..NONCE_BYTES], two.body[..NONCE_BYTES]);

    let opened = node.unwrap(&key.key_id, &key.wrapped).unwrap();
    let plain = open(&opened, &Place::Body.aad("stage", 2), &two.body).unwrap();
    let body = Body::decode(&plain[..]).unwrap();
    assert_eq!((body.user.as_str(), body.text.as_str()), ("u", "hello"));
    // Not in another row's place.
    assert_eq!(open(&opened, &Place::Body.aad("stage", 1), &two.body), None);
}

#[test]
fn keys_end_by_age_by_erasure_and_by_doubt() {
    let mut sealer = Sealer::new(Arc::new(NodeKey::new(&[1; 32])));
    let first = key_of(&rows(&mut sealer, message(1, "u"), 0));
    assert_eq!(
        key_of(&rows(&mut sealer, message(2, "u"), KEY_AGE_MAX_MS - 1)),
        first
    );
    let aged = key_of(&rows(&mut sealer, message(3, "u"), KEY_AGE_MAX_MS));
    assert_ne!(aged, first);
    let Stored::Erased(erased) = sealer.erase("u") else {
        panic!()
    };
    assert_eq!(erased.user_hash, sealer.node.user_hash("u"));
    let new = key_of(&rows(&mut sealer, message(4, "u"), KEY_AGE_MAX_MS));
    assert_ne!(new, aged);
    sealer.forget_all();
    assert_ne!(
        key_of(&rows(&mut sealer, message(5, "u"), KEY_AGE_MAX_MS)),
        new
    );
    assert_eq!(sealer.keys_made, 4);
}

#[test]
fn the_cache_is_bounded_and_keeps_who_is_active() {
    let mut sealer = Sealer::new(Arc::new(NodeKey::new(&[1; 32])));
    sealer.generation_max = 10;
    let regular = key_of(&rows(&mut sealer, message(0, "regular"), 0));
    for id in 1..200 {
        rows(&mut sealer, message(id, &format!("guest {id}")), 0);
        assert!(sealer.recent.len() + sealer.older.len() <= 20);
        if id % 5 == 0 {
            assert_eq!(
                key_of(&rows(&mut sealer, message(1_000 + id, "regular"), 0)),
                regular
            );
        }
    }
}

#[test]
fn an_audit_note_has_the_key_of_its_target_else_of_its_actor() {
    let mut sealer = Sealer::new(Arc::new(NodeKey::new(&[1; 32])));
    // So small that every user pushes another one out.
    sealer.generation_max = 1;
    for (at_ms, target) in [(1, Some("fan")), (2, None), (3, Some("moderator"))] {
        let record = Record::Audit(AuditRecord {
            room: room(),
            at_ms,
            actor: "moderator".into(),
            action: "timeout".into(),
            target: target.map(Into::into),
            reason: "spam".into(),
            detail: "{}".into(),
        });
        let rows = rows(&mut sealer, record, 0);
        let Some(Stored::Audit(row)) = rows.last() else {
            panic!()
        };
        let owner = row.target_key.as_ref().unwrap_or(&row.actor_key);
        // A key of this batch, or one that was made before: either way the note opens with it.
        if let Some(key) = rows.iter().find_map(|r| match r {
            Stored::Key(k) if &k.key_id == owner => Some(k),
            _ => None,
        }) {
            let opened = sealer.node.unwrap(&key.key_id, &key.wrapped).unwrap();
            let plain = open(&opened, &Place::Note.aad("stage", at_ms), &row.note).unwrap();
            assert_eq!(Note::decode(&plain[..]).unwrap().reason, "spam");
        }
        assert_eq!(row.target.is_some(), target.is_some());
    }
}

#[test]
fn nothing_personal_is_readable_in_rows() {
    let mut sealer = Sealer::new(Arc::new(NodeKey::new(&[1; 32])));
    let mut bytes = Vec::new();
    let records = [
        message(1, "user-secret"),
        Record::MessageRemoved(crate::MessageRemoved {
            room: room(),
            id: 1,
            by: "user-secret".into(),
            at_ms: 1,
        }),
        Record::RoomState(crate::RoomStateRecord {
            room: room(),
            name: "sanction/user-secret".into(),
            value: Some(b"user-secret".to_vec()),
        }),
        Record::DeadLetter(DeadLetterRecord {
            id: "1".into(),
            url: "http://x".into(),
            event: "message".into(),
            user: None,
            body: b"user-secret".to_vec(),
            attempts: 1,
            last_error: "hung".into(),
            at_ms: 1,
        }),
    ];
    for record in records {
        for row in rows(&mut sealer, record, 0) {
            crate::stored::Frame { stored: Some(row) }
                .encode(&mut bytes)
                .unwrap();
        }
    }
    for needle in [&b"secret"[..], b"hello", b"Mina"] {
        assert!(!bytes.windows(needle.len()).any(|w| w == needle));
    }
    assert!(
        bytes.windows(5).any(|w| w == b"stage"),
        "the room is in clear"
    );
}
