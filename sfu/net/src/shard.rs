//! One media thread: its sockets, its sessions and its share of every room.
//!
//! A turn of its loop is, in order: commands, messages from other shards, timers, datagrams,
//! rooms, sessions with something to send, flush; then slices of time for TCP, for the chat and for
//! those who join. Each of these has a bound, and goes on in the next turn.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, TryRecvError};
use lightstick_sfu_core::bucket::Bucket;
use lightstick_sfu_core::egress::Heard;
use lightstick_sfu_core::ice::Route;
use lightstick_sfu_core::timer::TimerWheel;
use lightstick_types::{RoomId, SessionId, ShardId};
use mio::{Events, Poll, Token};
use slab::Slab;
use str0m::net::Protocol;
use str0m::{Candidate, Input};
use tokio::sync::mpsc;

use crate::api::{CloseReason, MediaEvent};
use crate::chat::Desk;
use crate::command::{Command, Order};
use crate::demux::Senders;
use crate::faults::Faults;
use crate::joins::Joins;
use crate::link::Links;
use crate::open::Candidates;
use crate::room::Room;
use crate::session::{RoleState, Session, Shared, Signal};
use crate::sink::{Io, Withheld};
use crate::stats::DELAY_BOUNDS_US;
use crate::udp::Inbox;

/// The token of the shard's waker; sockets count on from here.
pub(crate) const WAKER: Token = Token(0);
/// The first UDP socket's token; TCP comes after the last.
pub(crate) const FIRST_UDP: usize = 1;
/// Batches taken from one socket in one turn, and the time after which none is begun: a flood on it
/// must not starve the timers.
const BATCHES_A_TURN: usize = 8;
const UDP_SLICE: Duration = Duration::from_millis(2);
/// Commands, and orders about sessions, have so much of a turn each.
const COMMANDS_SLICE: Duration = Duration::from_millis(1);
/// Messages from other shards taken in one turn.
const MESSAGES_A_TURN: usize = 256;
/// What timers and sessions with something to send have of a turn. It is their viewers' media too,
/// so only a crowd's goes on in the next.
const TIMERS_SLICE: Duration = Duration::from_millis(4);
const DIRTY_SLICE: Duration = Duration::from_millis(2);
/// Rooms look after viewers that wait for a keyframe this often.
const ROOM_EVERY: Duration = Duration::from_millis(500);
/// Longest sleep. Wakers end it early.
const SLEEP_MAX: Duration = Duration::from_millis(500);

/// What the control plane asks of a shard.
pub(crate) struct Inboxes {
    pub(crate) commands: Receiver<Command>,
    pub(crate) orders: Receiver<Order>,
    pub(crate) faults: Faults,
}

/// What a shard has to do with that is no shard.
pub(crate) struct Outside {
    /// To the control plane.
    pub(crate) events: mpsc::Sender<MediaEvent>,
    /// To and from the chat.
    pub(crate) chat: Desk,
}

/// One media thread's state.
pub(crate) struct Shard {
    pub(crate) id: ShardId,
    pub(crate) shards: usize,
    pub(crate) shared: Shared,
    pub(crate) candidates: Candidates,
    /// Boxed: a growing slab would hold up to twice the memory, and copy all of it amid a show.
    pub(crate) sessions: Slab<Box<Session>>,
    pub(crate) by_id: HashMap<SessionId, u32>,
    pub(crate) by_ufrag: HashMap<String, u32>,
    pub(crate) by_addr: HashMap<Route, u32>,
    pub(crate) senders: Senders,
    /// Media of unknown addresses that may still be tried.
    pub(crate) strangers: Bucket,
    pub(crate) rooms: HashMap<RoomId, Room>,
    pub(crate) links: Links,
    pub(crate) timers: TimerWheel,
    pub(crate) now: Instant,
    pub(crate) io: Io,
    /// Timers that have fired.
    fired: Vec<u32>,
    /// Sessions to poll at the end of the turn.
    dirty: VecDeque<u32>,
    pub(crate) joins: Joins,
    /// Rooms with packets for other shards, or requests for their publishers.
    pub(crate) touched_rooms: Vec<RoomId>,
    /// Rooms with frames that are not whole yet.
    pub(crate) holding: Vec<RoomId>,
    signals: Vec<Signal>,
    /// What a viewer reports, and the datagram it does so in: reused.
    pub(crate) heard: Heard,
    pub(crate) report: Vec<u8>,
    /// Arrival and viewers of what was forwarded in this turn.
    pub(crate) forwarded: Vec<(Instant, u64)>,
    /// The viewers that the batch is being fanned out to: reused.
    pub(crate) fanned: Vec<u32>,
    /// How many viewers got each packet of the batch that is being fanned out.
    pub(crate) given: Vec<u64>,
    /// When all rooms are looked at, and when the first of them wants to be.
    rooms_at: Instant,
    pub(crate) rooms_next: Instant,
    events: mpsc::Sender<MediaEvent>,
    /// Events that the control plane had no room for; see `EVENTS_MAX`.
    waiting_events: VecDeque<MediaEvent>,
    pub(crate) chat: Desk,
}

impl Shard {
    pub(crate) fn new(
        id: ShardId,
        shards: usize,
        shared: Shared,
        io: Io,
        links: Links,
        outside: Outside,
        now: Instant,
    ) -> Self {
        let udp = io.udp.iter().flat_map(|port| &port.candidates);
        let candidates = udp
            .filter_map(|addr| Candidate::host(*addr, Protocol::Udp).ok())
            .chain(io.tcp.candidates())
            .collect();
        Self {
            id,
            shards,
            shared,
            candidates,
            sessions: Slab::new(),
            by_id: HashMap::new(),
            by_ufrag: HashMap::new(),
            by_addr: HashMap::new(),
            senders: Senders::default(),
            strangers: Bucket::default(),
            rooms: HashMap::new(),
            links,
            timers: TimerWheel::new(now),
            now,
            io,
            fired: Vec::new(),
            dirty: VecDeque::new(),
            joins: Joins::default(),
            touched_rooms: Vec::new(),
            holding: Vec::new(),
            signals: Vec::new(),
            heard: Heard::default(),
            report: Vec::new(),
            forwarded: Vec::new(),
            fanned: Vec::new(),
            given: Vec::new(),
            rooms_at: now + ROOM_EVERY,
            rooms_next: now + ROOM_EVERY,
            events: outside.events,
            waiting_events: VecDeque::new(),
            chat: outside.chat,
        }
    }

    /// Runs until the control plane hangs up.
    ///
    /// # Errors
    /// The poller's: nothing can be received any more.
    pub(crate) fn run(mut self, mut poll: Poll, inboxes: &Inboxes) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        let mut inbox = Inbox::new();
        let mut readable = vec![true; self.io.udp.len()];
        loop {
            let more = readable.contains(&true)
                || self.io.tcp.has_more(Instant::now())
                || !self.joins.is_empty()
                || self.chat_waits()
                || !self.touched_rooms.is_empty()
                || !self.fired.is_empty()
                || !self.dirty.is_empty()
                || !inboxes.commands.is_empty()
                || !inboxes.orders.is_empty()
                || self.links.has_more();
            let sleep = if more { Duration::ZERO } else { self.sleep() };
            let polled = poll.poll(&mut events, Some(sleep));
            if let Err(error) = polled.and_then(|()| inboxes.faults.happen())
                && error.kind() != io::ErrorKind::Interrupted
            {
                // Its peers learn at once that they have to connect anew.
                self.close_all();
                return Err(error);
            }
            let woke = Instant::now();
            self.now = woke;
            for event in &events {
                match event.token() {
                    WAKER => {}
                    Token(n) if n < FIRST_UDP + readable.len() => readable[n - FIRST_UDP] = true,
                    token => self
                        .io
                        .tcp
                        .ready(token, event.is_readable(), event.is_writable()),
                }
            }

            if !self.take_commands(inboxes) {
                self.close_all();
                return Ok(());
            }
            for _ in 0..MESSAGES_A_TURN {
                let Some((from, message)) = self.links.receive() else {
                    break;
                };
                self.hear(from, message);
            }
            self.fire_timers();
            self.receive_udp(&mut inbox, &mut readable);
            self.tend_rooms();
            self.send_dirty();
            self.flush();
            if self.tend_tcp(poll.registry()) {
                self.send_dirty();
                self.flush();
            }
            if self.tend_chat() {
                self.send_dirty();
                self.flush();
            }
            if self.tend_joins() {
                self.send_dirty();
                self.flush();
            }
            self.count_held();
            self.io.stats.busy_us.add(woke.elapsed().as_micros() as u64);
        }
    }

    fn sleep(&self) -> Duration {
        let release_at = |id: &RoomId| self.rooms.get(id).and_then(|room| room.release_at);
        let held = self.holding.iter().filter_map(release_at);
        let at = held
            .chain(self.timers.next())
            .chain(self.io.tcp.deadline())
            .fold(self.rooms_next, Instant::min);
        at.saturating_duration_since(Instant::now()).min(SLEEP_MAX)
    }

    /// Does what the control plane asks, as far as a slice of time goes. False: it has hung up.
    fn take_commands(&mut self, inboxes: &Inboxes) -> bool {
        let begun = Instant::now();
        loop {
            match inboxes.commands.try_recv() {
                Ok(command) => self.contained(|shard| shard.obey(command)),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return false,
            }
            if begun.elapsed() >= COMMANDS_SLICE {
                break;
            }
        }
        let begun = Instant::now();
        while let Ok(order) = inboxes.orders.try_recv() {
            self.contained(|shard| shard.follow(order));
            if begun.elapsed() >= COMMANDS_SLICE {
                break;
            }
        }
        true
    }

    fn fire_timers(&mut self) {
        // Whoever is armed again while it waits for its turn must not fire twice.
        if self.fired.is_empty() {
            self.timers.advance(self.now, &mut self.fired);
        }
        let begun = Instant::now();
        let mut done = 0;
        while let Some(key) = self.fired.get(done) {
            self.on_timer(*key);
            done += 1;
            if begun.elapsed() >= TIMERS_SLICE {
                break;
            }
        }
        self.fired.drain(..done);
    }

    fn receive_udp(&mut self, inbox: &mut Inbox, readable: &mut [bool]) {
        let ports = Arc::clone(&self.io.udp);
        for (number, (port, ready)) in ports.iter().zip(readable).enumerate() {
            let begun = Instant::now();
            for batch in 0..BATCHES_A_TURN {
                if !*ready || (batch > 0 && begun.elapsed() >= UDP_SLICE) {
                    break;
                }
                let outcome = inbox.receive(port, |source, datagram| {
                    self.on_datagram(Route::Udp(number, source), datagram);
                });
                match outcome {
                    Ok(more) => *ready = more,
                    Err(error) => {
                        // ICMP errors of peers that are gone show up here; the socket is fine.
                        tracing::trace!(%error, "receive failed");
                        *ready = false;
                    }
                }
            }
        }
    }

    /// Puts a session on the list of those with something to send.
    pub(crate) fn mark_dirty(&mut self, key: u32) {
        if let Some(session) = self.sessions.get_mut(key as usize)
            && !std::mem::replace(&mut session.dirty, true)
        {
            self.dirty.push_back(key);
        }
    }

    /// Sends what a session has to send and does what its events ask for.
    pub(crate) fn poll_session(&mut self, key: u32) {
        let mut signals = std::mem::take(&mut self.signals);
        let Some(session) = self.sessions.get_mut(key as usize) else {
            self.signals = signals;
            return;
        };
        loop {
            match session.poll(self.now, &mut signals) {
                Ok(Some(contents)) => self.io.transmit(session, contents, Withheld::Hold),
                Ok(None) => break,
                Err(error) => {
                    tracing::info!(%error, "the transport failed");
                    signals.push(Signal::Closed(CloseReason::TransportError));
                    break;
                }
            }
        }
        self.timers.arm(key, session.deadline(&self.shared.config));
        for signal in signals.drain(..) {
            self.on_signal(key, signal);
        }
        self.signals = signals;
    }

    pub(crate) fn on_signal(&mut self, key: u32, signal: Signal) {
        let Some(session) = self.sessions.get(key as usize) else {
            return;
        };
        let id = session.id;
        match signal {
            Signal::Connected => {
                let after = self.now.saturating_duration_since(session.opened_at);
                tracing::debug!(?after, "connected");
                self.emit(MediaEvent::SessionConnected { session: id, after });
                self.expect_media(key);
                self.start_viewer(key);
            }
            Signal::Packet(packet) => {
                let parked = session.is_parked();
                self.io.stats.rtp_in.add(1);
                match parked {
                    true => self.park(key, packet),
                    false => self.ingest(key, packet),
                }
            }
            Signal::NacksSent(n) => self.io.stats.nacks_out.add(n),
            Signal::Foreign => self.note_unplaced(key),
            Signal::Channel(event) => self.hear_channel(key, event),
            Signal::Closed(reason) => self.remove(key, reason),
        }
    }

    fn on_timer(&mut self, key: u32) {
        let Some(session) = self.sessions.get_mut(key as usize) else {
            return;
        };
        let (limit, reason) = session.limit(&self.shared.config);
        if limit <= self.now {
            self.remove(key, reason);
            return;
        }
        if session.ice.poll_timeout().is_some_and(|at| at <= self.now) {
            session.ice.handle_timeout(self.now);
            self.contained_session(key, |shard| shard.tend_ice(key));
        }
        let Some(session) = self.sessions.get(key as usize) else {
            return;
        };
        if matches!(session.role, RoleState::Viewer(_)) {
            self.contained_session(key, |shard| shard.tend_viewer(key));
        }
        let Some(session) = self.sessions.get_mut(key as usize) else {
            return;
        };
        let begins = session.is_to_begin(self.now) && session.begin();
        if session.rtc_deadline > self.now && !begins {
            self.timers.arm(key, session.deadline(&self.shared.config));
            return;
        }
        self.contained_session(key, |shard| shard.drive(key));
    }

    /// Tells str0m the time and sends what comes of it.
    pub(crate) fn drive(&mut self, key: u32) {
        let Some(session) = self.sessions.get_mut(key as usize) else {
            return;
        };
        if let Err(error) = session.rtc.handle_input(Input::Timeout(self.now)) {
            tracing::debug!(%error, "timeout refused");
        }
        self.poll_session(key);
    }

    fn send_dirty(&mut self) {
        let begun = Instant::now();
        // Polling a publisher can make viewers dirty, never the other way round.
        while let Some(key) = self.dirty.pop_front() {
            if let Some(session) = self.sessions.get_mut(key as usize) {
                session.dirty = false;
                self.contained_session(key, |shard| shard.drive(key));
            }
            if begun.elapsed() >= DIRTY_SLICE {
                break;
            }
        }
    }

    fn flush(&mut self) {
        self.io.outbox.flush(&self.io.udp, &self.io.stats);
        self.io.tcp.flush(self.now, &self.io.stats);
        self.links.flush();
        if !self.forwarded.is_empty() {
            let sent = Instant::now();
            for (received, viewers) in self.forwarded.drain(..) {
                let us = sent.saturating_duration_since(received).as_micros() as u64;
                let bucket = DELAY_BOUNDS_US.partition_point(|bound| *bound < us);
                self.io.stats.forward_delay[bucket].add(viewers);
                self.io.stats.forward_delay_us.add(us * viewers);
            }
        }
        while let Some(event) = self.waiting_events.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
                self.waiting_events.push_front(event);
                break;
            }
        }
        self.chat.flush();
    }

    /// Says what is held, for those who look for leftovers.
    fn count_held(&self) {
        let stats = &self.io.stats;
        stats.held_rooms.set(self.rooms.len() as u64);
        stats.held_addresses.set(self.by_addr.len() as u64);
        stats.held_names.set(self.by_ufrag.len() as u64);
        stats.held_timers.set(self.timers.running() as u64);
        stats.joins_waiting.set(self.joins.len() as u64);
        self.count_chat();
    }

    /// Tells the control plane.
    pub(crate) fn emit(&mut self, event: MediaEvent) {
        if !self.waiting_events.is_empty() {
            self.waiting_events.push_back(event);
            return;
        }
        if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
            self.waiting_events.push_back(event);
        }
    }

    /// Ends a session: it says goodbye, and nothing of it stays.
    pub(crate) fn remove(&mut self, key: u32, reason: CloseReason) {
        if !self.sessions.contains(key as usize) {
            return;
        }
        let mut session = self.sessions.remove(key as usize);
        let _entered = session.span.clone().entered();
        let goodbye = catch_unwind(AssertUnwindSafe(|| {
            let mut ignored = Vec::new();
            if session.rtc.is_alive() && session.rtc.close().is_ok() {
                while let Ok(Some(contents)) = session.poll(self.now, &mut ignored) {
                    self.io.transmit(&mut session, contents, Withheld::Drop);
                }
            }
        }));
        if goodbye.is_err() {
            self.io.stats.panics.add(1);
        }
        self.timers.disarm(key);
        self.by_id.remove(&session.id);
        for ufrag in session.ice.ufrags() {
            self.by_ufrag.remove(ufrag);
        }
        for from in session.ice.routes() {
            if self.by_addr.get(&from) == Some(&key) {
                self.forget_route(from);
            }
        }
        for ssrc in session.ssrcs.drain(..) {
            self.senders.remove(ssrc);
        }
        self.leave_room(key, session.room, session.place);
        self.end_chat(&mut session);
        let gauge = session.role.gauge(&self.io.stats);
        gauge.set(gauge.get().saturating_sub(1));
        tracing::debug!(?reason, "session closed");
        self.emit(MediaEvent::SessionClosed {
            session: session.id,
            reason,
        });
    }

    fn close_all(&mut self) {
        let keys: Vec<u32> = self.sessions.iter().map(|(key, _)| key as u32).collect();
        for key in keys {
            self.remove(key, CloseReason::Requested);
        }
        self.flush();
    }

    /// Runs `work` for one session. A panic in it ends that session alone.
    pub(crate) fn contained_session(&mut self, key: u32, work: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| work(self))).is_err() {
            self.io.stats.panics.add(1);
            tracing::error!("a session's handling panicked; the session ends");
            self.remove(key, CloseReason::Internal);
        }
    }

    pub(crate) fn contained(&mut self, work: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| work(self))).is_err() {
            self.io.stats.panics.add(1);
            tracing::error!("a command's handling panicked");
        }
    }

    /// Our wall clock now.
    pub(crate) fn wall_now(&self) -> SystemTime {
        SystemTime::now()
    }

    /// Looks after rooms: keyframe requests, silent layers, packets for other shards.
    fn tend_rooms(&mut self) {
        if self.rooms_next <= self.now {
            let periodic = self.rooms_at <= self.now;
            if periodic {
                self.rooms_at = self.now + ROOM_EVERY;
            }
            self.rooms_next = self.rooms_at;
            let all: Vec<RoomId> = self.rooms.keys().copied().collect();
            for room in all {
                if periodic {
                    self.revisit_waiting(room);
                    self.survey_layers(room);
                }
                self.touched_rooms.push(room);
            }
            if periodic {
                self.survey_health();
                self.survey_replays();
                self.survey_links();
            }
        }
        let mut touched = std::mem::take(&mut self.touched_rooms);
        let (rooms, now) = (&self.rooms, self.now);
        self.holding.retain(|id| {
            let Some(at) = rooms.get(id).and_then(|room| room.release_at) else {
                return false;
            };
            if at <= now {
                touched.push(*id);
            }
            at > now
        });
        self.holding.dedup();
        touched.sort_unstable();
        touched.dedup();
        for room in touched.drain(..) {
            self.tend_room(room);
        }
        // What tending touched again waits for the next turn.
        touched.append(&mut self.touched_rooms);
        self.touched_rooms = touched;
    }
}
