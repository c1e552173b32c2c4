//! One media thread: its sockets, its sessions and its share of every room.
//!
//! A turn of its loop is, in order: commands, messages from other shards, timers, datagrams,
//! rooms, sessions with something to send, flush; then slices of time for TCP, for the chat and for
//! those who join. Each of these has a bound, and goes on in the next turn.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, TryRecvError};
use lightstick_sfu_core::bucket::Bucket;
use lightstick_sfu_core::health::Fault;
use lightstick_sfu_core::ice::Route;
use lightstick_sfu_core::timer::TimerWheel;
use lightstick_types::{SessionId, ShardId};
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
use crate::rooms::{Position, Rooms};
use crate::session::{Failed, Session, Shared, Signal};
use crate::sink::{Io, Withheld};
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
/// What is not looked at with every packet is looked at this often.
pub(crate) const SURVEY_EVERY: Duration = Duration::from_millis(500);
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
    pub(crate) rooms: Rooms,
    pub(crate) links: Links,
    pub(crate) timers: TimerWheel,
    pub(crate) now: Instant,
    pub(crate) io: Io,
    /// Timers that have fired.
    fired: Vec<u32>,
    /// Sessions to poll at the end of the turn.
    dirty: VecDeque<u32>,
    pub(crate) joins: Joins,
    signals: Vec<Signal>,
    /// A viewer's report, while it is opened: reused.
    pub(crate) report: Vec<u8>,
    /// When everything is looked at that is looked at now and then.
    pub(crate) survey_at: Instant,
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
        let position = Position { shard: id, shards };
        let rooms = Rooms::new(position, &shared.config, now);
        Self {
            id,
            shared,
            candidates,
            sessions: Slab::new(),
            by_id: HashMap::new(),
            by_ufrag: HashMap::new(),
            by_addr: HashMap::new(),
            senders: Senders::default(),
            strangers: Bucket::default(),
            rooms,
            links,
            timers: TimerWheel::new(now),
            now,
            io,
            fired: Vec::new(),
            dirty: VecDeque::new(),
            joins: Joins::default(),
            signals: Vec::new(),
            report: Vec::new(),
            survey_at: now + SURVEY_EVERY,
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
                || self.rooms.has_more()
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
            self.survey();
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
        let rooms = self.rooms.poll_timeout().into_iter();
        let at = rooms
            .chain(self.timers.next())
            .chain(self.io.tcp.deadline())
            .fold(self.survey_at, Instant::min);
        at.saturating_duration_since(Instant::now()).min(SLEEP_MAX)
    }

    /// Does what the control plane asks, as far as a slice of time goes. False: it has hung up.
    fn take_commands(&mut self, inboxes: &Inboxes) -> bool {
        let begun = Instant::now();
        loop {
            match inboxes.commands.try_recv() {
                Ok(command) => self.obey(command),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return false,
            }
            if begun.elapsed() >= COMMANDS_SLICE {
                break;
            }
        }
        let begun = Instant::now();
        while let Ok(order) = inboxes.orders.try_recv() {
            self.follow(order);
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
                let outcome = inbox.receive(port, |source, arrived, datagram| {
                    self.on_datagram(Route::Udp(number, source), arrived, datagram);
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
            match session.poll(&mut signals) {
                Ok(Some(contents)) => self.io.transmit(session, contents, Withheld::Hold),
                Ok(None) => break,
                Err(error) => {
                    self.note_failure(key, &error);
                    signals.push(Signal::Closed(error.reason()));
                    break;
                }
            }
        }
        self.arm(key);
        for signal in signals.drain(..) {
            self.on_signal(key, signal);
        }
        self.signals = signals;
    }

    pub(crate) fn on_signal(&mut self, key: u32, signal: Signal) {
        let Some(session) = self.sessions.get(key as usize) else {
            return;
        };
        let (id, is_viewer) = (session.id, session.seat().is_some());
        match signal {
            Signal::Connected => {
                let after = self.now.saturating_duration_since(session.opened_at);
                tracing::debug!(?after, "connected");
                self.emit(MediaEvent::SessionConnected { session: id, after });
                match is_viewer {
                    true => self.connect_viewer(key),
                    false => self.expect_media(key),
                }
            }
            Signal::Packet(packet) => self.take_packet(key, packet),
            Signal::NacksSent(n) => self.io.stats.nacks_out.add(n),
            Signal::Foreign => {
                self.io.stats.drop_media.add(1);
                self.note_fault(key, Fault::Unplaced);
            }
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
            self.tend_ice(key);
        }
        self.tend_viewer(key);
        let Some(session) = self.sessions.get_mut(key as usize) else {
            return;
        };
        let begins = session.is_to_begin(self.now) && session.begin();
        if session.rtc_deadline > self.now && !begins {
            self.arm(key);
            return;
        }
        self.drive(key);
    }

    /// Tells str0m the time and sends what comes of it.
    pub(crate) fn drive(&mut self, key: u32) {
        let Some(session) = self.sessions.get_mut(key as usize) else {
            return;
        };
        if let Err(error) = session.handle_input(Input::Timeout(self.now)) {
            tracing::debug!(%error, "timeout refused");
        }
        self.poll_session(key);
    }

    fn note_failure(&mut self, key: u32, error: &Failed) {
        let session = self.sessions.get(key as usize);
        let _entered = session.map(|session| session.span.clone().entered());
        match error {
            Failed::Rtc(error) => tracing::info!(%error, "the transport failed"),
            Failed::Panicked => {
                self.io.stats.panics.add(1);
                tracing::error!("a session's handling panicked; it ends");
            }
        }
    }

    fn send_dirty(&mut self) {
        let begun = Instant::now();
        // Polling a publisher can make viewers dirty, never the other way round.
        while let Some(key) = self.dirty.pop_front() {
            if let Some(session) = self.sessions.get_mut(key as usize) {
                session.dirty = false;
                self.drive(key);
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
        self.rooms.count(&self.io.stats);
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
        // What its room has yet to say of it would be said of whoever has its key next.
        if let Some(room) = self.room_of(key) {
            self.settle(room);
        }
        let Some(mut session) = self.sessions.try_remove(key as usize) else {
            return;
        };
        let _entered = session.span.clone().entered();
        for contents in session.close() {
            self.io.transmit(&mut session, contents, Withheld::Drop);
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
        self.leave_room(key, &session);
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

    /// Our wall clock now.
    pub(crate) fn wall_now(&self) -> SystemTime {
        SystemTime::now()
    }
}
