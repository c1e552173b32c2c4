//! Many people at once: what is shown, skipped and counted adds up.

use std::collections::BTreeMap;

use super::*;

#[test]
fn five_thousand_messages_a_second_stay_readable() {
    // Ten at each address.
    let config = RoomConfig {
        guests_per_address: 10,
        ..RoomConfig::default()
    };
    let mut world = World::with(config, false, &Stored::new());
    world.join(0, "idol", ChatRole::Idol);
    for client in 1..=10_000 {
        world.join(client, &format!("fan-{client}"), ChatRole::Guest);
    }
    world.pass(5 * SECOND);
    let (before, started) = (world.bytes, world.now.at);
    let seconds = 10;
    let mut sent = 0_u64;
    let mut idols = 0;
    for step in 0..seconds * 100 {
        for n in 0..50 {
            let client = 1 + (step * 50 + n) * 7 % 10_000;
            world.send(client, 1 + step, &format!("{} 💜", words(step * 50 + n)));
            sent += 1;
        }
        if step % 100 == 0 {
            world.send(0, 1 + step, "thank you all");
            (sent, idols) = (sent + 1, idols + 1);
        }
        world.pass(Duration::from_millis(10));
    }
    world.pass(5 * SECOND);
    let spent = (world.bytes - before) as f64 * 8.0;
    let span = (world.now.at - started).as_secs_f64();
    assert!(spent / span <= 16_000.0, "{} bit/s", spent / span);

    let (entries, skipped) = world.shown();
    let totals = world.room.totals();
    // Of a hundred thousand random texts a few look like something that is blocked.
    let turned_away = totals.refused + totals.held;
    assert!(turned_away < 10, "{turned_away}");
    sent -= turned_away;
    assert_eq!(totals.accepted, sent);
    let texts = world.texts();
    assert_eq!(texts.len() as u64 + u64::from(skipped), sent);
    assert_eq!(
        (totals.shown, totals.skipped),
        (texts.len() as u64, skipped.into())
    );
    let from_idol = texts.iter().filter(|text| *text == "thank you all");
    assert_eq!(from_idol.count(), idols);
    let offsets: Vec<_> = entries.iter().map(|(offset, _)| *offset).collect();
    assert_eq!(offsets, (1..=entries.len() as u64).collect::<Vec<_>>());
    let kept = world.records.iter().filter_map(|record| match record {
        Record::Message(record) => Some(record.shown),
        _ => None,
    });
    let kept: Vec<_> = kept.collect();
    assert_eq!(kept.len() as u64, sent);
    assert_eq!(kept.iter().filter(|shown| **shown).count(), texts.len());
    // Some ten messages a second can be read.
    assert!(texts.len() as u64 >= 6 * seconds, "{}", texts.len());
}

#[test]
fn hearts_by_the_hundred_thousand_are_counted() {
    let mut world = World::new();
    for client in 0..2_000 {
        world.join(client, &format!("fan-{client}"), ChatRole::Guest);
    }
    let react = |kind: &str, count| {
        let kind = kind.to_owned();
        Request::React(proto::React {
            reactions: vec![proto::Reaction { kind, count }],
        })
    };
    for _ in 0..5 {
        for client in 0..2_000 {
            world.ask(client, react("heart", 20));
        }
        world.pass(SECOND);
    }
    world.ask(1, react("unknown", 3));
    world.ask(1, react("heart", 1_000_000));
    world.pass(SECOND);
    let mut counted = BTreeMap::new();
    for (_, part) in &world.parts {
        if let Part::Effects(effects) = part {
            for reaction in &effects.reactions {
                *counted.entry(reaction.kind.clone()).or_insert(0) += u64::from(reaction.count);
            }
        }
    }
    assert_eq!(counted, BTreeMap::from([("heart".to_owned(), 200_040)]));
    assert_eq!(world.room.totals().reactions_dropped, 1_000_000 - 40 + 3);
}

#[test]
fn the_answered_and_the_named_hear_of_it_though_the_room_does_not() {
    let mut world = World::new();
    world.join(1, "mina", ChatRole::Guest);
    for client in 2..400 {
        world.join(client, &format!("fan-{client}"), ChatRole::Guest);
    }
    world.pass(5 * SECOND);
    for client in 2..400 {
        let text = match client {
            300 => "@mina, look!".to_owned(),
            _ => format!("{} {}", words(client), "~".repeat(100)),
        };
        world.send(client, 1, &text);
    }
    world.pass(SECOND);
    let shown = world.texts().iter().any(|text| text.starts_with("@mina"));
    let direct = world.told[&1]
        .iter()
        .filter(|part| matches!(part, Part::Direct(_)));
    assert_eq!(direct.count() + usize::from(shown), 1);
}

#[test]
fn a_hundred_thousand_come_back_at_once() {
    let mut world = World::new();
    world.join(0, "idol", ChatRole::Idol);
    for n in 0..60 {
        world.send(0, n + 1, "before the fault");
        world.pass(SECOND);
    }
    let end = world.welcome(0).0.position.unwrap();
    let at = proto::Position { offset: 55, ..end };
    let mut frames = std::collections::HashSet::new();
    for client in 1..=100_000 {
        let fan = member("fan", ChatRole::Guest);
        world
            .room
            .connect(world.now, ClientKey(client), fan, client);
        let hello = proto::Hello {
            position: Some(at),
            token: String::new(),
        };
        world
            .room
            .receive(world.now, ClientKey(client), Request::Hello(hello));
        while let Some(output) = world.room.poll() {
            match output {
                Output::Tell { frame, .. } => frames.insert(frame.proto().clone()),
                other => panic!("nothing but answers: {other:?}"),
            };
        }
    }
    assert_eq!(frames.len(), 1);
    let parts = parts_of(&Frame::encoded(frames.into_iter().next().unwrap()));
    assert!(
        matches!(&parts[..], [Part::Welcome(w), Part::Batch(b)] if w.recovered && b.entries.len() == 5)
    );
}
