//! The registry against a simpler model of itself, and against a media plane that only remembers
//! what it holds, over long random histories.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use lightstick_types::{Codec, RoomName, SessionId, ShardId, TrackId};

use super::*;

const ROOMS: [&str; 3] = ["a", "b", "c"];
const PEOPLE: [&str; 3] = ["p", "q", "r"];

/// What must hold of a room's show, written without the registry's bookkeeping.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Show {
    NotStarted,
    Live,
    Interrupted(Instant),
    Ended(Instant),
}

struct Model {
    show: Show,
    /// The publisher's session and name.
    publisher: Option<(SessionId, &'static str)>,
    /// Publishers without media yet, oldest first.
    parked: Vec<(SessionId, &'static str)>,
    owner: Option<&'static str>,
    viewers: BTreeSet<SessionId>,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            show: Show::NotStarted,
            publisher: None,
            parked: Vec::new(),
            owner: None,
            viewers: BTreeSet::new(),
        }
    }
}

impl Model {
    fn is_empty(&self) -> bool {
        self.publishers().next().is_none() && self.viewers.is_empty()
    }

    fn publishers(&self) -> impl Iterator<Item = (SessionId, &'static str)> {
        self.publisher.iter().chain(&self.parked).copied()
    }

    /// A session goes. Whether it published.
    fn remove(&mut self, session: SessionId) -> bool {
        self.viewers.remove(&session);
        self.parked.retain(|(id, _)| *id != session);
        self.publisher.take_if(|(id, _)| *id == session).is_some()
    }

    fn lose(&mut self, now: Instant, grace: Duration) {
        if self.show == Show::Live {
            self.show = Show::Interrupted(now + grace);
        }
    }

    fn end(&mut self, now: Instant, linger: Duration) {
        if matches!(self.show, Show::Live | Show::Interrupted(_)) {
            self.show = Show::Ended(now + linger);
        }
    }

    fn busy(&self, who: &str, takeover: bool) -> bool {
        let held = match self.show {
            Show::Interrupted(_) => self.owner,
            _ => None,
        };
        let mut holders = self.publishers().map(|(_, name)| name).chain(held);
        !takeover && holders.any(|holder| holder != who)
    }

    /// Time passes.
    fn pass(&mut self, now: Instant, linger: Duration) {
        if self.publishers().next().is_some() {
            return;
        }
        if let Show::Interrupted(until) = self.show
            && until <= now
        {
            self.show = Show::Ended(now + linger);
        }
        if let Show::Ended(until) = self.show
            && until <= now
        {
            *self = Self::default();
        }
    }

    /// A room that nobody needs begins anew.
    fn forget(&mut self) {
        if self.is_empty() && matches!(self.show, Show::Ended(_)) {
            *self = Self::default();
        }
    }
}

struct Run {
    random: fastrand::Rng,
    config: RoomsConfig,
    rooms: Rooms,
    now: Instant,
    next: u128,
    models: BTreeMap<&'static str, Model>,
    /// Admitted, and not answered by the media plane.
    opening: BTreeSet<SessionId>,
    /// What the media plane holds.
    media: BTreeSet<SessionId>,
    /// Joined, and not left.
    present: BTreeSet<SessionId>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let config = RoomsConfig {
            grace: Duration::from_secs(30),
            ended_linger: Duration::from_secs(60),
            ..RoomsConfig::default()
        };
        Self {
            random: fastrand::Rng::with_seed(seed),
            rooms: Rooms::new(config.clone()),
            config,
            now: Instant::now(),
            next: 0,
            models: ROOMS.iter().map(|room| (*room, Model::default())).collect(),
            opening: BTreeSet::new(),
            media: BTreeSet::new(),
            present: BTreeSet::new(),
        }
    }

    fn any(&mut self, set: &BTreeSet<SessionId>) -> Option<SessionId> {
        let at = self.random.usize(..set.len().max(1));
        set.iter().nth(at).copied()
    }

    fn step(&mut self) {
        let room = *self.random.choice(ROOMS.iter()).unwrap();
        match self.random.u8(..12) {
            0..=1 => self.publish(room),
            2..=3 => self.watch(room),
            4..=6 => self.answer(),
            7 => self.lose(),
            8 => self.delete(),
            9 => self.bring_media(),
            10 if self.random.u8(..10) == 0 => self.close_room(room),
            _ => self.pass(),
        }
        self.apply();
        self.check();
    }

    fn admit(&mut self, room: &'static str, request: Admission) -> Result<(), Refusal> {
        assert_eq!(request.room, name(room));
        let session = request.session;
        self.rooms.admit(self.now, request)?;
        self.opening.insert(session);
        Ok(())
    }

    fn request(&mut self, room: &str, role: Role) -> Admission {
        self.next += 1;
        Admission {
            session: SessionId::from_u128(self.next),
            room: name(room),
            role,
            participant: None,
            takeover: false,
            address: [10, 0, 0, self.random.u8(..4)].into(),
        }
    }

    fn publish(&mut self, room: &'static str) {
        let who = *self.random.choice(PEOPLE.iter()).unwrap();
        let takeover = self.random.u8(..5) == 0;
        let mut request = self.request(room, Role::Publisher);
        request.participant = Some(who.into());
        request.takeover = takeover;
        let session = request.session;
        let busy = self.models[room].busy(who, takeover);
        let admitted = self.admit(room, request);
        assert_eq!(admitted == Err(Refusal::RoomBusy), busy);
        if admitted.is_ok() {
            let parked = &mut self.models.get_mut(room).unwrap().parked;
            parked.push((session, who));
            if parked.len() > PARKED_MAX {
                parked.remove(0);
            }
        }
    }

    fn watch(&mut self, room: &'static str) {
        let request = self.request(room, Role::Viewer);
        let session = request.session;
        self.admit(room, request).expect("viewers may wait");
        self.models.get_mut(room).unwrap().viewers.insert(session);
    }

    /// The media plane answers one of the sessions that are being opened.
    fn answer(&mut self) {
        let opening = self.opening.clone();
        let Some(session) = self.any(&opening) else {
            return;
        };
        self.opening.remove(&session);
        let wanted = self.room_of(session);
        if self.random.u8(..4) == 0 {
            self.rooms.open_failed(self.now, session);
            if let Some(room) = wanted {
                self.models.get_mut(room).unwrap().remove(session);
            }
            return;
        }
        self.media.insert(session);
        let opened = self.rooms.opened(self.now, session, ShardId(0));
        assert_eq!(opened == Opened::Kept, wanted.is_some());
    }

    fn lose(&mut self) {
        let media = self.media.clone();
        let Some(session) = self.any(&media) else {
            return;
        };
        self.media.remove(&session);
        self.rooms
            .closed(self.now, session, LeaveReason::ConsentExpired);
        if let Some(room) = self.room_of(session) {
            let model = self.models.get_mut(room).unwrap();
            if model.remove(session) {
                model.lose(self.now, self.config.grace);
            }
        }
    }

    fn delete(&mut self) {
        let present = self.present.clone();
        let Some(session) = self.any(&present) else {
            return;
        };
        let room = self.room_of(session).expect("who is present has a room");
        assert!(self.rooms.delete(self.now, session));
        let model = self.models.get_mut(room).unwrap();
        let publishes = model.publishers().any(|(id, _)| id == session);
        let published = model.remove(session);
        if publishes && model.publishers().next().is_none() {
            model.end(self.now, self.config.ended_linger);
        } else if published {
            model.lose(self.now, self.config.grace);
        }
    }

    /// One of the sessions in the media plane has media, or says so late.
    fn bring_media(&mut self) {
        let media = self.media.clone();
        let Some(session) = self.any(&media) else {
            return;
        };
        self.rooms.publisher_ready(self.now, session);
        self.rooms
            .track_started(self.now, session, TrackId::AUDIO, Codec::Opus);
        for model in self.models.values_mut() {
            let parked = &mut model.parked;
            if let Some(place) = parked.iter().position(|(id, _)| *id == session) {
                let new = parked.drain(..=place).next_back().unwrap();
                model.publisher = Some(new);
                model.owner = Some(new.1);
                model.show = Show::Live;
            }
        }
    }

    fn close_room(&mut self, room: &'static str) {
        let there = self.rooms.view().room(self.now, &name(room)).is_some();
        assert_eq!(self.rooms.close_room(self.now, &name(room)), there);
        self.models.insert(room, Model::default());
    }

    fn pass(&mut self) {
        let end = self.now + Duration::from_millis(self.random.u64(1..40_000));
        // As its owner does: never later than the next deadline.
        while let Some(at) = self.rooms.poll_timeout()
            && at <= end
        {
            self.now = self.now.max(at);
            self.rooms.handle_timeout(self.now);
            let next = self.rooms.poll_timeout();
            assert!(
                next.is_none_or(|next| next > self.now),
                "a timer that stays due"
            );
            for model in self.models.values_mut() {
                model.pass(self.now, self.config.ended_linger);
                model.forget();
            }
        }
        self.now = end;
    }

    fn apply(&mut self) {
        while let Some(effect) = self.rooms.poll_effect() {
            match effect {
                Effect::Close { session, .. } => {
                    assert!(self.media.remove(&session), "closed twice, or never open");
                }
                Effect::Event(Event::SessionJoined { session, .. }) => {
                    assert!(self.present.insert(session), "joined twice");
                }
                Effect::Event(Event::SessionLeft { session, .. }) => {
                    assert!(self.present.remove(&session), "left without having joined");
                }
                _ => {}
            }
        }
    }

    fn check(&mut self) {
        for model in self.models.values_mut() {
            model.forget();
        }
        // What the media plane holds is what the registry has opened: nothing leaks.
        assert_eq!(self.media, self.present);
        let mut viewers = 0;
        let mut publishers = 0;
        let mut all = 0;
        for (room, model) in &self.models {
            let summary = self.rooms.view().room(self.now, &name(room));
            let activity = summary.as_ref().map(|room| room.activity);
            let expected = match model.show {
                Show::NotStarted if model.is_empty() => None,
                Show::NotStarted => Some(Activity::NotStarted),
                Show::Live => Some(Activity::Live),
                Show::Interrupted(_) => Some(Activity::Interrupted),
                Show::Ended(_) => Some(Activity::Ended),
            };
            assert_eq!(activity, expected, "room {room}");
            assert!(model.parked.len() <= PARKED_MAX);
            let watching = model.viewers.intersection(&self.present).count();
            if let Some(summary) = summary {
                assert_eq!(summary.viewers, watching);
                assert_eq!(
                    summary.publisher.as_deref(),
                    model.publisher.map(|(_, who)| who)
                );
            }
            viewers += watching;
            let open = |(id, _): &(SessionId, _)| self.present.contains(id);
            publishers += model.publishers().filter(open).count();
            all += model.viewers.len() + model.publishers().count();
        }
        let counts = self.rooms.view().counts();
        assert_eq!((counts.viewers, counts.publishers), (viewers, publishers));
        assert_eq!(self.rooms.view().session_count(), all);
        let held: usize = self.rooms.registry.by_address.values().sum();
        assert_eq!(held, all, "every session is counted at its address");
        let started = self
            .rooms
            .registry
            .rooms
            .values()
            .filter(|room| room.is_started());
        assert_eq!(counts.rooms_started, started.count());
        assert_eq!(counts.rooms, self.rooms.registry.rooms.len());
        assert_eq!(counts.rooms, self.rooms.registry.by_name.len());
    }

    fn room_of(&self, session: SessionId) -> Option<&'static str> {
        let has = |model: &Model| {
            model.viewers.contains(&session) || model.publishers().any(|(id, _)| id == session)
        };
        let found = self.models.iter().find(|(_, model)| has(model));
        found.map(|(room, _)| *room)
    }

    /// Everybody leaves and time passes: nothing may be left.
    fn wind_down(&mut self) {
        while !self.opening.is_empty() {
            self.answer();
            self.apply();
        }
        while !self.media.is_empty() {
            self.lose();
            self.apply();
        }
        for _ in 0..10 {
            self.pass();
            self.now += Duration::from_secs(60);
            self.apply();
        }
        self.pass();
        self.apply();
        self.check();
        assert_eq!(self.rooms.view().counts(), Counts::default());
        assert!(self.rooms.registry.rooms.is_empty() && self.rooms.registry.by_address.is_empty());
        assert_eq!(self.rooms.poll_timeout(), None);
    }
}

fn name(room: &str) -> RoomName {
    room.parse().unwrap()
}

#[test]
fn random_histories_agree_with_the_model() {
    for seed in 0..300 {
        let mut run = Run::new(seed);
        for _ in 0..400 {
            run.step();
        }
        run.wind_down();
    }
}
