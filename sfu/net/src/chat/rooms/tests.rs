use lightstick_chat_proto::{Effects, part};

use super::*;

fn room(name: &str) -> RoomName {
    name.parse().expect("a room name")
}

/// A tick of one message whose number its frames carry, filled up to a length.
fn tick(number: u32, bytes: usize) -> Arc<Tick> {
    let effects = Effects {
        present: number,
        names: vec!["x".repeat(bytes)],
        ..Effects::default()
    };
    let frame = Frame::new([part::Part::Effects(effects)]);
    Arc::new(Tick {
        ctl: None,
        chat: Some(frame.clone()),
        fx: (bytes < 100).then_some(frame),
        messages: 1,
    })
}

/// Members of rooms as a shard keeps them.
#[derive(Default)]
struct Here {
    rooms: ChatRooms,
    members: HashMap<u32, Place>,
    /// How many ticks each was shown, in how many parts.
    seen: HashMap<u32, (u64, u32, usize)>,
}

impl Here {
    fn join(&mut self, name: &str, key: u32) {
        let place = self.rooms.join(&room(name), key);
        self.members.insert(key, place);
        self.seen.insert(key, (0, 0, 0));
    }

    fn leave(&mut self, key: u32) {
        let place = self.members.remove(&key).expect("it is there");
        if let Some(moved) = self.rooms.leave(place) {
            self.members.get_mut(&moved).expect("it is there").index = place.index;
        }
    }

    /// Visits one member. False: nobody is to be visited.
    fn visit(&mut self) -> bool {
        let Some(key) = self.rooms.next() else {
            return false;
        };
        let place = self.members.get_mut(&key).expect("a member");
        if let Some(due) = self.rooms.due(*place) {
            let seen = self.seen.get_mut(&key).expect("a member");
            seen.0 += due.until - place.shown;
            seen.1 += due.ticks.iter().map(|tick| tick.messages).sum::<u32>();
            seen.2 += due.ticks.len();
            place.shown = due.until;
        }
        true
    }

    fn visit_all(&mut self) {
        while self.visit() {}
    }
}

#[test]
fn each_tick_is_shown_to_each_member_once() {
    let mut here = Here::default();
    for key in 0..100 {
        here.join(if key % 3 == 0 { "a" } else { "b" }, key);
    }
    assert_eq!(here.rooms.show(&room("c"), tick(0, 1)), None);
    for number in 0..5 {
        here.rooms
            .show(&room("b"), tick(number, 1))
            .expect("b is here");
        here.visit_all();
        assert!(!here.rooms.is_busy());
    }
    for (key, seen) in &here.seen {
        let wanted = if key % 3 == 0 { (0, 0, 0) } else { (5, 5, 5) };
        assert_eq!(*seen, wanted, "{key}");
    }
}

#[test]
fn a_shard_that_is_late_shows_several_ticks_as_one() {
    let mut here = Here::default();
    (0..10).for_each(|key| here.join("a", key));
    let show = |here: &mut Here, number| here.rooms.show(&room("a"), tick(number, 1)).unwrap();
    assert!(!show(&mut here, 0).late);
    (0..5).for_each(|_| assert!(here.visit()));
    assert!(!show(&mut here, 1).late, "one may wait");
    assert!(show(&mut here, 2).late);
    let visits = (0..100).filter(|_| here.visit()).count();
    // The other half sees all three at once, the first half the last two.
    assert_eq!(visits, 15);
    let mut parts: Vec<usize> = here.seen.values().map(|seen| seen.2).collect();
    parts.sort_unstable();
    assert_eq!(parts, [[1; 5], [2; 5]].concat());
    assert!(here.seen.values().all(|seen| (seen.0, seen.1) == (3, 3)));
}

#[test]
fn frames_are_joined_up_to_the_longest_that_may_be_sent() {
    let mut here = Here::default();
    here.join("a", 7);
    for number in 0..5 {
        here.rooms.show(&room("a"), tick(number, 6_000));
    }
    let due = here.rooms.due(here.members[&7]).expect("five ticks");
    let lengths: Vec<u32> = due.ticks.iter().map(|tick| tick.messages).collect();
    assert_eq!(lengths, [2, 2, 1]);
    for tick in &due.ticks {
        assert!(
            tick.chat
                .as_ref()
                .is_some_and(|frame| frame.len() <= FRAME_BYTES_MAX)
        );
    }
}

#[test]
fn ticks_that_wait_are_bounded_and_the_loss_is_known() {
    let mut here = Here::default();
    here.join("a", 1);
    let overrun = (0..20)
        .filter(|number| {
            here.rooms
                .show(&room("a"), tick(*number, 1))
                .unwrap()
                .overrun
        })
        .count();
    assert_eq!(overrun, 20 - TICKS_MAX);
    let due = here.rooms.due(here.members[&1]).expect("ticks");
    assert!(due.overrun);
    assert_eq!(due.ticks.iter().map(|t| t.messages).sum::<u32>(), 16);
    here.visit_all();
    here.rooms.show(&room("a"), tick(0, 1));
    assert!(!here.rooms.due(here.members[&1]).expect("a tick").overrun);
}

#[test]
fn newcomers_see_what_comes_after_them() {
    let mut here = Here::default();
    here.join("a", 1);
    here.rooms.show(&room("a"), tick(0, 1));
    here.join("a", 2);
    here.rooms.show(&room("a"), tick(1, 1));
    here.visit_all();
    assert_eq!(here.seen[&1].0, 2);
    assert_eq!(here.seen[&2].0, 1);
}

/// Whoever stays is shown every tick exactly once, whoever comes and goes meanwhile.
#[test]
fn comings_and_goings_lose_nothing() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut here = Here::default();
        (0..20).for_each(|key| here.join("a", key));
        let (mut next, mut shown) = (20, 0);
        for _ in 0..400 {
            match random.u8(..10) {
                0 => {
                    here.join(if random.bool() { "a" } else { "b" }, next);
                    next += 1;
                }
                1 => {
                    let guests: Vec<u32> = here
                        .members
                        .keys()
                        .copied()
                        .filter(|key| *key >= 10)
                        .collect();
                    if let Some(key) = random.choice(guests) {
                        here.leave(key);
                    }
                }
                2 if here
                    .rooms
                    .rooms
                    .iter()
                    .all(|(_, r)| r.ticks.len() < TICKS_MAX) =>
                {
                    here.rooms.show(&room("a"), tick(shown, 1));
                    shown += 1;
                }
                _ => {
                    here.visit();
                }
            }
        }
        here.visit_all();
        for key in 0..10 {
            assert_eq!(
                here.seen[&key].0,
                u64::from(shown),
                "seed {seed}, member {key}"
            );
        }
        for (key, place) in &here.members {
            assert_eq!(
                here.rooms.rooms[place.room].members[place.index as usize],
                *key
            );
        }
        let keys: Vec<u32> = here.members.keys().copied().collect();
        keys.into_iter().for_each(|key| here.leave(key));
        assert_eq!((here.rooms.len(), here.rooms.is_busy()), (0, false));
        assert!(here.rooms.by_name.is_empty());
    }
}
