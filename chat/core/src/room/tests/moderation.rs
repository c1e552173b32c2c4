//! Roles, sanctions, the queue, appeals, settings.

use super::*;

fn world() -> World {
    let mut world = World::new();
    world.join(1, "mina", ChatRole::Guest);
    world.join(2, "mod", ChatRole::Moderator);
    world.join(3, "lead", ChatRole::LeadModerator);
    world.join(4, "idol", ChatRole::Idol);
    world.join(5, "hana", ChatRole::Member);
    world
}

fn timeout(user: &str, seconds: u32) -> Action {
    Action::Timeout(proto::Timeout {
        user: user.into(),
        seconds,
    })
}

#[test]
fn a_deleted_message_is_gone_everywhere() {
    let mut world = world();
    world.send(1, 1, "oops");
    world.pass(SECOND);
    let id = world.answer(1).unwrap().id;
    let at = world.now.at;
    world.act(2, 2, Action::Delete(id));
    world.pass(SECOND);
    let deleted = world.parts.iter().find_map(|(at, part)| match part {
        Part::Batch(batch) => batch.entries.iter().find_map(|entry| match &entry.entry {
            Some(Entry::Deleted(deleted)) => Some((*at, deleted.ids.clone())),
            _ => None,
        }),
        _ => None,
    });
    let (told_at, ids) = deleted.unwrap();
    assert_eq!(ids, [id]);
    assert!(told_at - at <= Duration::from_millis(50));
    assert!(world.snapshot(5).messages.is_empty());
    let audit = world.records.iter().find_map(|record| match record {
        Record::Audit(audit) => Some(audit.clone()),
        _ => None,
    });
    let audit = audit.unwrap();
    assert_eq!((audit.actor.as_str(), audit.action), ("mod", "delete"));
    assert_eq!(
        (audit.before.as_str(), audit.reason.as_str()),
        ("oops", "because")
    );
}

#[test]
fn a_message_deleted_before_its_tick_is_never_shown() {
    let mut world = world();
    world.send(1, 1, "oops");
    world.send(4, 2, "from the idol");
    world.act(4, 3, Action::ClearUser("mina".into()));
    let idols = world.room.state.talk.last_id;
    world.act(4, 4, Action::Delete(idols));
    world.pass(SECOND);
    assert!(world.texts().is_empty());
    let totals = world.room.totals();
    assert_eq!((totals.accepted, totals.hidden, totals.shown), (2, 2, 0));
}

#[test]
fn who_may_do_what_to_whom() {
    for (client, action, expected) in [
        (1, Action::Delete(1), Some(Code::NotModerator)),
        (2, Action::Ban("mina".into()), Some(Code::NotModerator)),
        (3, Action::Ban("mina".into()), None),
        (2, timeout("mina", 60), None),
        (2, timeout("lead", 60), Some(Code::RoleTooHigh)),
        (3, timeout("lead", 60), Some(Code::RoleTooHigh)),
        (3, timeout("mod", 60), None),
        (4, timeout("lead", 60), None),
        (2, timeout("mina", 9), Some(Code::OutOfRange)),
        (2, timeout("mina", 86_401), Some(Code::OutOfRange)),
        (2, timeout("", 60), Some(Code::NotFound)),
        (3, Action::Unban("mina".into()), Some(Code::NotFound)),
        (2, Action::Delete(u64::MAX), Some(Code::NotFound)),
        (2, Action::Approve(5), Some(Code::NotFound)),
        (2, Action::Pin(5), Some(Code::NotFound)),
        (
            2,
            Action::Settings(proto::Settings::default()),
            Some(Code::NotModerator),
        ),
    ] {
        let mut world = world();
        world.act(client, 9, action.clone());
        world.pass(SECOND);
        assert_eq!(world.refused(9), expected, "{client} {action:?}");
    }
}

#[test]
fn commands_do_what_buttons_do() {
    let mut world = world();
    world.send(1, 1, "spam");
    world.pass(SECOND);
    world.send(2, 2, "/timeout mina 60 spam");
    world.pass(SECOND);
    assert!(world.answer(2).is_ok());
    world.send(1, 3, "more");
    assert_eq!(world.refused(3), Some(Code::TimedOut));
    assert_eq!(world.texts(), ["spam"]);
    let notices = world.told[&1].iter().filter_map(|part| match part {
        Part::Notice(notice) => Some((notice.code.clone(), notice.seconds)),
        _ => None,
    });
    assert_eq!(notices.collect::<Vec<_>>(), [("timed_out".to_owned(), 60)]);
    world.pass(60 * SECOND);
    world.send(1, 4, "sorry");
    world.pass(SECOND);
    assert!(world.answer(4).is_ok());
}

#[test]
fn a_ban_outlives_the_process_and_follows_a_guest() {
    let mut world = world();
    world.act(3, 1, Action::Ban("mina".into()));
    world.pass(SECOND);
    let mut stored = Stored::new();
    for record in &world.records {
        if let Record::State { key, value } = record {
            match value {
                Some(value) => stored.insert(key.clone(), value.clone()),
                None => stored.remove(key),
            };
        }
    }
    let mut world = World::with(RoomConfig::default(), false, &stored);
    world.join(1, "mina", ChatRole::Guest);
    world.join(1_001, "not-mina", ChatRole::Guest);
    world.join(7, "hana", ChatRole::Guest);
    world.send(1, 1, "back");
    world.send(1_001, 2, "back, with another name");
    world.send(7, 3, "hi");
    assert_eq!(world.refused(1), Some(Code::Banned));
    assert_eq!(world.refused(2), Some(Code::Banned));
    world.pass(SECOND);
    assert_eq!(world.texts(), ["hi"]);
}

#[test]
fn the_shadowed_do_not_know() {
    let mut world = world();
    world.act(3, 1, Action::Shadow("mina".into()));
    world.send(1, 2, "can you hear me");
    world.pass(SECOND);
    assert!(world.answer(2).is_ok());
    assert!(world.texts().is_empty());
    let hidden = world.records.iter().filter(|record| match record {
        Record::Message(record) => record.hidden && !record.shown,
        _ => false,
    });
    assert_eq!(hidden.count(), 1);
}

#[test]
fn modes_table() {
    let settings = proto::Settings::default;
    for (settings, client, text, expected) in [
        (
            proto::Settings {
                muted: true,
                ..settings()
            },
            1,
            "hi",
            Some(Code::Muted),
        ),
        (
            proto::Settings {
                muted: true,
                ..settings()
            },
            2,
            "hi",
            None,
        ),
        (
            proto::Settings {
                members_only: true,
                ..settings()
            },
            1,
            "hi",
            Some(Code::MembersOnly),
        ),
        (
            proto::Settings {
                members_only: true,
                ..settings()
            },
            5,
            "hi",
            None,
        ),
        (
            proto::Settings {
                emote_only: true,
                ..settings()
            },
            1,
            "hi",
            Some(Code::EmoteOnly),
        ),
        (
            proto::Settings {
                emote_only: true,
                ..settings()
            },
            1,
            "💜",
            None,
        ),
    ] {
        let mut world = world();
        world.act(4, 1, Action::Settings(settings.clone()));
        world.send(client, 9, text);
        world.pass(SECOND);
        assert_eq!(world.refused(9), expected, "{settings:?} {client} {text}");
    }
}

#[test]
fn slow_mode_and_unique_only() {
    let mut world = world();
    world.send(3, 1, "/slow 30");
    world.send(1, 2, "one");
    world.send(1, 3, "two");
    assert_eq!(world.refused(3), Some(Code::SlowMode));
    world.pass(30 * SECOND);
    world.send(3, 4, "/unique on");
    world.send(1, 5, "Three");
    world.send(5, 6, "three");
    assert_eq!(world.refused(6), Some(Code::NotUnique));
    world.pass(SECOND);
    assert_eq!(world.texts(), ["one", "Three"]);
}

#[test]
fn held_messages_wait_for_a_moderator() {
    let mut world = world();
    let hold = proto::Settings {
        hold: proto::HoldPolicy::HoldAll.into(),
        ..Default::default()
    };
    world.act(4, 1, Action::Settings(hold));
    for (nonce, text) in [(2, "good"), (3, "bad"), (4, "forgotten")] {
        world.send(1, nonce, text);
    }
    world.pass(SECOND);
    let ids: Vec<_> = world
        .room
        .overview()
        .queue
        .held
        .iter()
        .map(|h| h.message.as_ref().unwrap().id)
        .collect();
    assert_eq!(ids.len(), 3);
    assert!(world.answer(2).unwrap().held);
    world.act(2, 5, Action::Approve(ids[0]));
    world.act(2, 6, Action::Deny(ids[1]));
    world.act(2, 7, Action::Queue(true));
    world.pass(SECOND);
    assert_eq!(world.texts(), ["good"]);
    let queues = world.told[&2]
        .iter()
        .filter(|part| matches!(part, Part::Queue(_)));
    assert_eq!(queues.count(), 1);
    world.pass(600 * SECOND);
    assert!(world.room.overview().queue.held.is_empty());
    assert_eq!(world.texts(), ["good"]);
}

#[test]
fn an_appeal_is_heard_once() {
    let mut world = world();
    let appeal = |nonce| {
        Request::Appeal(proto::Appeal {
            nonce,
            text: "it was not me".into(),
        })
    };
    world.ask(1, appeal(1));
    assert_eq!(world.refused(1), Some(Code::NoAppeal));
    world.act(3, 2, Action::Ban("mina".into()));
    world.ask(1, appeal(3));
    world.pass(SECOND);
    assert!(world.answer(3).is_ok());
    assert_eq!(world.room.overview().queue.appeals.len(), 1);
    let decision = |accepted| {
        Action::Appeal(proto::AppealDecision {
            user: "mina".into(),
            accepted,
        })
    };
    world.act(3, 4, decision(false));
    world.ask(1, appeal(5));
    assert_eq!(world.refused(5), Some(Code::NoAppeal));
    world.act(3, 6, Action::Unban("mina".into()));
    world.act(3, 7, Action::Ban("mina".into()));
    world.ask(1, appeal(8));
    world.act(3, 9, decision(true));
    world.send(1, 10, "thank you");
    world.pass(SECOND);
    assert_eq!(world.texts(), ["thank you"]);
}

#[test]
fn polls_count_and_end() {
    let mut world = world();
    world.send(4, 1, "/poll Encore? | yes | no");
    world.pass(SECOND);
    let poll = world.answer(1).unwrap().id;
    for (client, choice) in [(1, 0), (5, 0), (1, 1)] {
        world.ask(
            client,
            Request::Vote(proto::Vote {
                nonce: 2,
                poll,
                choice,
            }),
        );
    }
    world.ask(
        1,
        Request::Vote(proto::Vote {
            nonce: 3,
            poll: 1,
            choice: 0,
        }),
    );
    assert_eq!(world.refused(3), Some(Code::NotFound));
    world.pass(2 * SECOND);
    let votes = world.parts.iter().rev().find_map(|(_, part)| match part {
        Part::Effects(effects) if !effects.votes.is_empty() => Some(effects.votes.clone()),
        _ => None,
    });
    assert_eq!(votes, Some(vec![1, 1]));
    world.pass(120 * SECOND);
    let ended = world
        .shown()
        .0
        .into_iter()
        .filter(|(_, entry)| matches!(entry, Entry::Poll(poll) if poll.ended));
    assert_eq!(ended.count(), 1);
    assert!(world.snapshot(1).poll.is_none());
}

#[test]
fn blocked_terms_are_for_moderators_to_know() {
    let mut world = world();
    let terms = proto::Settings {
        blocked_terms: vec!["secret".into()],
        ..Default::default()
    };
    world.act(4, 1, Action::Settings(terms));
    world.pass(SECOND);
    assert_eq!(world.room.overview().settings.blocked_terms, ["secret"]);
    assert!(world.snapshot(1).settings.unwrap().blocked_terms.is_empty());
}

#[test]
fn an_action_is_in_force_once_its_record_is_kept() {
    let mut world = world();
    world.send(1, 1, "first");
    world.pass(SECOND);
    let id = world.answer(1).unwrap().id;
    let hold = || proto::Settings {
        hold: proto::HoldPolicy::HoldAll.into(),
        ..Default::default()
    };
    world.act(4, 2, Action::Settings(hold()));
    world.send(1, 3, "held");
    world.pass(SECOND);
    world.act(4, 4, Action::Settings(proto::Settings::default()));
    let held = world.room.overview().queue.held[0]
        .message
        .as_ref()
        .unwrap()
        .id;
    let poll = proto::PollStart {
        question: "?".into(),
        choices: vec!["a".into(), "b".into()],
        seconds: 0,
    };
    world.pass(SECOND);
    world.keeps = Some(false);
    let before = world.shown();
    for action in [
        timeout("mina", 60),
        Action::Ban("mina".into()),
        Action::Shadow("mina".into()),
        Action::Delete(id),
        Action::ClearUser("mina".into()),
        Action::Warn("mina".into()),
        Action::Approve(held),
        Action::Deny(held),
        Action::Pin(id),
        Action::Announce("hear".into()),
        Action::PollStart(poll),
        Action::Settings(hold()),
    ] {
        world.act(4, 9, action.clone());
        world.pass(SECOND);
        assert_eq!(world.refused(9), Some(Code::NotKept), "{action:?}");
    }
    let to = Asker::Request(9);
    let actor = Actor {
        user: "shop".into(),
        role: ChatRole::Server,
    };
    world.room.erase(world.now, &actor, "mina", to);
    world.collect();
    assert_eq!(world.refused(9), Some(Code::NotKept));
    let entries = |(entries, _): (Vec<(u64, Entry)>, u32)| entries;
    assert_eq!(
        entries(world.shown()),
        entries(before),
        "nothing has happened"
    );
    assert_eq!(world.room.overview().sanctions.len(), 0);
    assert_eq!(world.room.overview().queue.held.len(), 1);
    assert!(world.room.overview().pinned.is_none() && world.room.overview().poll.is_none());
    assert!(
        !world.told[&1]
            .iter()
            .any(|part| matches!(part, Part::Notice(_)))
    );
    world.send(1, 10, "still free to write");
    world.pass(SECOND);
    assert!(world.answer(10).is_ok());
    world.keeps = Some(true);
    world.act(4, 11, timeout("mina", 60));
    world.send(1, 12, "no more");
    assert_eq!(world.refused(12), Some(Code::TimedOut));
}

#[test]
fn actions_wait_for_each_other() {
    let mut world = world();
    world.keeps = None;
    for nonce in [1, 2] {
        world.send(4, nonce, "/poll Encore? | yes | no");
    }
    world.act(4, 3, Action::Ban("mina".into()));
    assert_eq!(world.actions.len(), 1, "one at a time is being kept");
    assert!(world.answers.is_empty() && world.room.overview().poll.is_none());
    world.room.kept(world.now, world.actions[0], true);
    world.collect();
    assert!(world.answer(1).is_ok() && world.room.overview().poll.is_some());
    assert_eq!(
        world.refused(2),
        Some(Code::Full),
        "judged by what the first left"
    );
    assert_eq!(world.room.overview().sanctions.len(), 0);
    assert_eq!(world.actions.len(), 2);
    // Nobody waits for what is told twice, or of nothing.
    world.room.kept(world.now, world.actions[0], false);
    world.room.kept(world.now, 999, true);
    for nonce in 100..500 {
        world.act(4, nonce, Action::Warn("mina".into()));
    }
    let refused = world.answers.iter().filter(|(_, result)| {
        matches!(result, Err(refusal) if refusal.code == Code::Full && refusal.retry_after.is_some())
    });
    assert_eq!(refused.count(), 400 - 256);
    world.keeps = Some(true);
    world.room.kept(world.now, world.actions[1], true);
    world.collect();
    assert_eq!(world.room.overview().sanctions.len(), 1);
    assert!(world.answer(3).is_ok() && world.answer(100).is_ok());
    assert!(world.room.pending.is_empty());
}

#[test]
fn what_goes_into_a_record_fits_it() {
    let mut world = world();
    let long = "u".repeat(300);
    for action in [
        timeout(&long, 60),
        Action::Ban(long.clone()),
        Action::Shadow(long.clone()),
        Action::ClearUser(long.clone()),
        Action::Warn(long.clone()),
    ] {
        world.act(4, 1, action.clone());
        assert_eq!(world.refused(1), Some(Code::OutOfRange), "{action:?}");
    }
    let reason = format!("be\u{202E} kind\n{}", "\u{1F49C}".repeat(5_000));
    let request = proto::Moderate {
        nonce: 2,
        reason,
        action: Some(Action::Warn("mina".into())),
    };
    world.ask(4, Request::Moderate(request));
    let Some(Record::Audit(audit)) = world.records.last() else {
        panic!("{:?}", world.records);
    };
    assert!(
        audit.reason.starts_with("be kind \u{1F49C}"),
        "{}",
        audit.reason
    );
    assert!(audit.reason.len() <= 1_200);
}

#[test]
fn the_largest_settings_are_kept_with_what_was_there_before() {
    let mut world = world();
    for (nonce, term) in [(1, "\u{1F49C}"), (2, "\""), (3, "\\"), (4, "한")] {
        let terms = (0..500).map(|n| format!("{n:03}{}", term.repeat(97)));
        let settings = proto::Settings {
            blocked_terms: terms.collect(),
            ..Default::default()
        };
        world.act(4, nonce, Action::Settings(settings.clone()));
        assert!(
            world.answer(nonce).is_ok(),
            "{term}: {:?}",
            world.answer(nonce)
        );
        assert_eq!(world.room.overview().settings, settings);
    }
    let mut audits = 0;
    for record in &world.records {
        match record {
            Record::Audit(audit) => {
                let detail = serde_json::json!({"before": audit.before, "after": audit.after});
                assert!(detail.to_string().len() < 256 * 1_024 - 100);
                audits += 1;
            }
            Record::State { value, .. } => assert!(value.as_ref().unwrap().len() <= 256 * 1_024),
            other => panic!("{other:?}"),
        }
    }
    assert!(audits > 4, "the longest are two records");
}

/// Guests at the address of client 7.
fn guests(world: &mut World, count: u64) -> impl Iterator<Item = u64> + use<> {
    for n in 0..count {
        world.join(n * 1_000 + 7, &format!("guest-{n}"), ChatRole::Guest);
    }
    (0..count).map(|n| n * 1_000 + 7)
}

fn accepted(world: &World, nonce: u64) -> bool {
    let of = |to: &Asker| matches!(to, Asker::Client { nonce: n, .. } if *n == nonce);
    world
        .answers
        .iter()
        .any(|(to, result)| of(to) && result.is_ok())
}

#[test]
fn guests_of_an_address_share_a_users_limits() {
    for factor in [1, 3] {
        let config = RoomConfig {
            guests_per_address: factor,
            ..RoomConfig::default()
        };
        let mut world = World::with(config, false, &Stored::new());
        let mut nonces = Vec::new();
        // Each comes, writes and leaves.
        for client in guests(&mut world, 200) {
            world.send(client, 1_000 + client, &words(client));
            world.room.disconnect(world.now, ClientKey(client));
            nonces.push(1_000 + client);
        }
        world.pass(SECOND);
        let count = nonces
            .iter()
            .filter(|nonce| accepted(&world, **nonce))
            .count();
        assert_eq!(count as u32, 20 * factor);
        // Elsewhere, or with a token, nobody notices.
        world.join(8, "elsewhere", ChatRole::Guest);
        world.join(9_007, "hana", ChatRole::Member);
        for client in [8, 9_007] {
            world.send(client, client, &words(client));
        }
        world.pass(SECOND);
        assert!(accepted(&world, 8) && accepted(&world, 9_007));
    }
}

#[test]
fn a_guest_who_comes_back_finds_slow_mode_and_sanctions() {
    let mut world = world();
    let mut clients = guests(&mut world, 8);
    let mut next = || clients.next().unwrap();
    world.send(3, 1, "/slow 30");
    world.send(next(), 2, "one");
    world.send(next(), 3, "two");
    assert_eq!(world.refused(3), Some(Code::SlowMode));
    world.act(3, 4, timeout("guest-0", 600));
    world.pass(60 * SECOND);
    world.send(next(), 5, "three");
    assert_eq!(world.refused(5), Some(Code::TimedOut));
    // One appeal, whatever the name.
    let appeal = |nonce| {
        let text = "it was not me".into();
        Request::Appeal(proto::Appeal { nonce, text })
    };
    world.ask(next(), appeal(6));
    assert!(world.answer(6).is_ok());
    world.ask(next(), appeal(7));
    assert_eq!(world.refused(7), Some(Code::NoAppeal));
    let queue = world.room.overview().queue;
    assert_eq!(queue.appeals.len(), 1);
    assert_eq!(queue.appeals[0].user, "guest-0");
    world.pass(600 * SECOND);
    world.send(next(), 8, "sorry");
    world.pass(SECOND);
    assert!(world.answer(8).is_ok());
}

#[test]
fn an_address_has_one_vote_for_all_its_guests() {
    let mut world = world();
    world.send(4, 1, "/poll Encore? | yes | no");
    let poll = world.answer(1).unwrap().id;
    let vote = |choice| {
        Request::Vote(proto::Vote {
            nonce: 2,
            poll,
            choice,
        })
    };
    for client in guests(&mut world, 200) {
        world.ask(client, vote(0));
    }
    world.ask(5, vote(1));
    let votes: Vec<_> = world.room.overview().poll.unwrap().choices;
    let votes: Vec<_> = votes.iter().map(|choice| choice.votes).collect();
    assert_eq!(votes, [1, 1]);
}

#[test]
fn polls_are_cleaned_as_messages_are() {
    let mut world = world();
    let poll = proto::PollStart {
        question: "En\u{202E}core\n\u{1b}[31m?".into(),
        choices: vec!["ye\u{200B}s".into(), " no ".into()],
        seconds: 0,
    };
    world.act(4, 1, Action::PollStart(poll));
    let poll = world.room.overview().poll.unwrap();
    assert_eq!(poll.question, "Encore [31m?");
    let choices: Vec<_> = poll.choices.iter().map(|choice| &*choice.text).collect();
    assert_eq!(choices, ["yes", "no"]);
}
