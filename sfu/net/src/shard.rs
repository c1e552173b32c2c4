//! One media thread: its sockets, its sessions and its share of every room.
//!
//! A turn of its loop is, in order: commands, messages from other shards, timers, datagrams,
//! packets of attached sources, rooms, sessions with something to send, flush; then slices of time for TCP, for the chat and for
//! those who join. Each of these has a bound, and goes on in the next turn.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, TryRecvError};
use lightstick_sfu_core::demux::Kind;
use lightstick_sfu_core::health::Fault;
use lightstick_sfu_core::ice::Route;
use lightstick_types::ShardId;
use mio::{Events, Poll, Registry, Token};
use str0m::net::Protocol;
use str0m::{Candidate, Input};
use tokio::sync::mpsc;

use crate::api::{CloseReason, MediaEvent};
use crate::attached::Attached;
use crate::chat_outbox::{CHAT_SLICE, ChatOutbox, ChatTurn, Worked};
use crate::command::{Command, Order};
use crate::control::Control;
use crate::faults::Faults;
use crate::joins::{JOINS_SLICE, Join, Joins};
use crate::link::Links;
use crate::open::Candidates;
use crate::rooms::{Position, Rooms};
use crate::session::{Failed, Shared, Signal};
use crate::sessions::Sessions;
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

/// The shard's interface to the control plane and the chat.
pub(crate) struct Outside {
    /// To the control plane.
    pub(crate) events: mpsc::Sender<MediaEvent>,
    /// To and from the chat.
    pub(crate) chat: ChatOutbox,
}

/// One media thread's state.
pub(crate) struct Shard {
    pub(crate) local: LocalEnd,
    pub(crate) sessions: Sessions,
    pub(crate) rooms: Rooms,
    pub(crate) links: Links,
    pub(crate) now: Instant,
    pub(crate) io: Io,
    pub(crate) joins: Joins,
    pub(crate) attached: Attached,
    pub(crate) scratch: Scratch,
    /// When everything is looked at that is looked at now and then.
    pub(crate) survey_at: Instant,
    pub(crate) control: Control,
    pub(crate) chat: ChatOutbox,
}

/// What is this end's of every session.
pub(crate) struct LocalEnd {
    pub(crate) shard: ShardId,
    pub(crate) shared: Shared,
    pub(crate) candidates: Candidates,
}

/// Reused from one call to the next.
#[derive(Default)]
pub(crate) struct Scratch {
    signals: Vec<Signal>,
    /// A viewer's report, while it is opened.
    pub(crate) report: Vec<u8>,
}

/// Reads a shard's UDP sockets.
struct UdpReader {
    inbox: Inbox,
    /// Which sockets may have something.
    readable: Vec<bool>,
}

impl UdpReader {
    fn new(sockets: usize) -> Self {
        Self {
            inbox: Inbox::new(),
            readable: vec![true; sockets],
        }
    }

    fn has_more(&self) -> bool {
        self.readable.contains(&true)
    }
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
            local: LocalEnd {
                shard: id,
                shared,
                candidates,
            },
            sessions: Sessions::new(now),
            rooms,
            links,
            now,
            io,
            joins: Joins::default(),
            attached: Attached::default(),
            scratch: Scratch::default(),
            survey_at: now + SURVEY_EVERY,
            control: Control::new(outside.events),
            chat: outside.chat,
        }
    }

    /// Runs until the control plane hangs up.
    ///
    /// # Errors
    /// The poller's: nothing can be received any more.
    pub(crate) fn run(mut self, mut poll: Poll, inboxes: &Inboxes) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        let mut udp = UdpReader::new(self.io.udp.len());
        loop {
            let more = udp.has_more() || self.has_more(inboxes);
            let sleep = if more { Duration::ZERO } else { self.sleep() };
            let polled = poll.poll(&mut events, Some(sleep));
            if let Err(error) = polled.and_then(|()| inboxes.faults.happen())
                && error.kind() != io::ErrorKind::Interrupted
            {
                // Its peers learn at once that they have to connect anew.
                self.close_all();
                return Err(error);
            }
            self.now = Instant::now();
            for event in &events {
                match event.token() {
                    WAKER => {}
                    Token(n) if n < FIRST_UDP + udp.readable.len() => {
                        udp.readable[n - FIRST_UDP] = true;
                    }
                    token => self
                        .io
                        .tcp
                        .ready(token, event.is_readable(), event.is_writable()),
                }
            }
            if !self.turn(inboxes, &mut udp, poll.registry()) {
                self.close_all();
                return Ok(());
            }
        }
    }

    /// One turn. False: the control plane has hung up.
    fn turn(&mut self, inboxes: &Inboxes, udp: &mut UdpReader, registry: &Registry) -> bool {
        let woke = self.now;
        if !self.take_commands(inboxes) {
            return false;
        }
        self.hear_shards();
        self.fire_timers();
        self.receive_udp(udp);
        let (rooms, now) = (&mut self.rooms, self.now);
        let stats = &self.io.stats.attached;
        self.attached.sources.take(rooms, stats, now);
        self.survey();
        self.attached.taps.resume(&mut self.rooms, now);
        self.tend_rooms();
        self.send_dirty();
        self.flush();
        // What has come over TCP, the chat and joins have slices after the media of the turn.
        for tend in [
            |shard: &mut Self, registry: &_| shard.tend_tcp(registry),
            |shard: &mut Self, _: &_| shard.handle_chat(),
            |shard: &mut Self, _: &_| shard.handle_joins(),
        ] {
            if tend(self, registry) {
                self.send_dirty();
                self.flush();
            }
        }
        self.count_held();
        self.io.stats.busy_us.add(woke.elapsed().as_micros() as u64);
        true
    }

    /// Whether something waits that needs no waking.
    fn has_more(&self, inboxes: &Inboxes) -> bool {
        self.io.tcp.has_more(Instant::now())
            || !self.joins.is_empty()
            || self.chat.has_more()
            || self.rooms.has_more()
            || self.attached.sources.has_more()
            || self.sessions.has_more()
            || !inboxes.commands.is_empty()
            || !inboxes.orders.is_empty()
            || self.links.has_more()
    }

    fn hear_shards(&mut self) {
        for _ in 0..MESSAGES_A_TURN {
            let Some((from, message)) = self.links.receive() else {
                break;
            };
            self.hear(from, message);
        }
    }

    fn sleep(&self) -> Duration {
        let rooms = self.rooms.poll_timeout().into_iter();
        let at = rooms
            .chain(self.sessions.poll_timeout())
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
        let begun = Instant::now();
        while let Some(key) = self.sessions.next_fired(self.now) {
            self.on_timer(key);
            if begun.elapsed() >= TIMERS_SLICE {
                break;
            }
        }
    }

    fn receive_udp(&mut self, udp: &mut UdpReader) {
        let ports = Arc::clone(&self.io.udp);
        let UdpReader { inbox, readable } = udp;
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

    /// Sends what a session has to send and does what its events ask for.
    pub(crate) fn poll_session(&mut self, key: u32) {
        let mut signals = std::mem::take(&mut self.scratch.signals);
        let Some(session) = self.sessions.get_mut(key) else {
            self.scratch.signals = signals;
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
        self.scratch.signals = signals;
    }

    pub(crate) fn on_signal(&mut self, key: u32, signal: Signal) {
        let Some(session) = self.sessions.get(key) else {
            return;
        };
        let (id, is_viewer) = (session.id, session.seat().is_some());
        match signal {
            Signal::Connected => {
                let after = self
                    .now
                    .saturating_duration_since(session.connection.opened_at);
                tracing::debug!(?after, "connected");
                self.control
                    .emit(MediaEvent::SessionConnected { session: id, after });
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
            Signal::Channel(event) => {
                let mut turn = ChatTurn {
                    sessions: &mut self.sessions,
                    stats: &self.io.stats,
                    now: self.now,
                };
                self.chat.handle_event(key, event, &mut turn);
            }
            Signal::Closed(reason) => self.remove(key, reason),
        }
    }

    fn on_timer(&mut self, key: u32) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let (limit, reason) = session.limit(&self.local.shared.config);
        if limit <= self.now {
            self.remove(key, reason);
            return;
        }
        if session.ice.poll_timeout().is_some_and(|at| at <= self.now) {
            session.ice.handle_timeout(self.now);
            self.tend_ice(key);
        }
        self.tend_viewer(key);
        self.tend_parked(key);
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let begins = session.connection.is_to_begin(self.now) && session.connection.begin();
        if session.connection.deadline > self.now && !begins {
            self.arm(key);
            return;
        }
        self.drive(key);
    }

    /// Tells str0m the time and sends what comes of it.
    pub(crate) fn drive(&mut self, key: u32) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if let Err(error) = session.handle_input(Input::Timeout(self.now)) {
            tracing::debug!(%error, "timeout refused");
        }
        self.poll_session(key);
    }

    pub(crate) fn note_failure(&mut self, key: u32, error: &Failed) {
        let session = self.sessions.get(key);
        let _entered = session.map(|session| session.span.clone().entered());
        match error {
            Failed::Rtc(error) => tracing::info!(%error, "the transport failed"),
            Failed::Panicked => {
                self.io.stats.panics.add(1);
                tracing::error!("a session's handling panicked; it ends");
            }
        }
    }

    /// Does as much of the chat's work as fits into a slice of time. False: there was none.
    fn handle_chat(&mut self) -> bool {
        if !self.chat.begin_slice() {
            return false;
        }
        let begun = Instant::now();
        // What is written now is timed from now.
        self.now = begun;
        loop {
            let mut turn = ChatTurn {
                sessions: &mut self.sessions,
                stats: &self.io.stats,
                now: self.now,
            };
            match self.chat.work(&mut turn) {
                Worked::Idle => return true,
                Worked::Done => {}
                Worked::Wrote(key) => self.drive(key),
            }
            if begun.elapsed() >= CHAT_SLICE {
                return true;
            }
        }
    }

    /// Does for joins what fits into a slice of time. False: nothing waited.
    fn handle_joins(&mut self) -> bool {
        if self.joins.is_empty() {
            return false;
        }
        let begun = Instant::now();
        while let Some(join) = self.joins.next() {
            match join {
                Join::Offer(opening, reply) => self.open(*opening, reply),
                Join::Handshake { from, datagram } => {
                    // It may be gone by now, and another in its place.
                    if let Some(key) = self.session_at(from) {
                        if let Some(session) = self.sessions.get_mut(key) {
                            session.waiting.handshakes =
                                session.waiting.handshakes.saturating_sub(1);
                        }
                        self.session_datagram(key, Kind::Dtls, from, self.now, &datagram);
                    }
                }
            }
            if begun.elapsed() >= JOINS_SLICE {
                break;
            }
        }
        true
    }

    fn send_dirty(&mut self) {
        let begun = Instant::now();
        // Polling a publisher can make viewers dirty, never the other way round.
        while let Some(key) = self.sessions.next_dirty() {
            self.drive(key);
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
        self.control.flush();
        self.chat.flush();
    }

    /// Reports held resources, so that tests can check for leaks.
    fn count_held(&self) {
        let stats = &self.io.stats;
        stats.held_rooms.set(self.rooms.len() as u64);
        self.sessions.count_held(stats);
        stats.joins_waiting.set(self.joins.len() as u64);
        self.chat.count_held(stats);
        self.attached.count_held(stats);
    }

    /// Ends a session: it says goodbye, and nothing of it stays.
    pub(crate) fn remove(&mut self, key: u32, reason: CloseReason) {
        // What its room has yet to say of it would be said of whoever has its key next.
        if let Some(room) = self.room_of(key) {
            self.settle(room);
        }
        let Some((mut session, routes)) = self.sessions.remove(key) else {
            return;
        };
        let _entered = session.span.clone().entered();
        for contents in session.close() {
            self.io.transmit(&mut session, contents, Withheld::Drop);
        }
        for from in routes {
            self.forget_route(from);
        }
        self.leave_room(key, &session);
        let mut turn = ChatTurn {
            sessions: &mut self.sessions,
            stats: &self.io.stats,
            now: self.now,
        };
        self.chat.end(&mut session, &mut turn);
        let gauge = session.role.gauge(&self.io.stats);
        gauge.set(gauge.get().saturating_sub(1));
        tracing::debug!(?reason, "session closed");
        self.control.emit(MediaEvent::SessionClosed {
            session: session.id,
            reason,
        });
    }

    fn close_all(&mut self) {
        for key in self.sessions.keys() {
            self.remove(key, CloseReason::Requested);
        }
        self.flush();
    }

    /// Our wall clock now.
    pub(crate) fn wall_now(&self) -> SystemTime {
        SystemTime::now()
    }
}
