//! A thread that drives many sessions.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use mio::{Events, Interest, Poll, Token, Waker};
use rustix::time::{ClockId, clock_gettime};

use crate::session::{Gauges, PublisherTally, ReceiveBuffers, Session};
use crate::tally::{Times, ViewerTally, Window, WireLog};

/// Commands that wait for a worker. Full: whoever joins or asks waits.
const COMMANDS_MAX: usize = 1_024;
const WAKE: Token = Token(usize::MAX);
/// Wakes without anything due at least this often.
const IDLE: Duration = Duration::from_millis(500);

/// Names a session within this process.
pub type Id = usize;

enum Command {
    Add(Id, Box<Session>),
    Remove(Id, Instant),
    Measure(Window),
    Collect(Sender<Measured>),
    Count(Sender<Counts>),
}

/// How far a worker's sessions are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sessions that have not ended.
    pub alive: u64,
    /// Those with ICE and DTLS done.
    pub connected: u64,
    /// Those with media: see [`Session::flows`].
    pub flowing: u64,
    /// Sessions that ended without having left.
    pub lost: u64,
}

/// What a worker saw since it was last told to measure.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Packets that came to all viewers within the window, each counted once.
    pub came: u64,
    /// RTP sequence numbers that went missing.
    pub rtp_missing: u64,
    /// Of each full viewer, the packets with a stamp within the window that came.
    pub full: Vec<u64>,
    /// Of each full viewer whose picture has begun, how long it stood still, in microseconds.
    pub frozen_us: Vec<u64>,
    /// Packets that publishers sent within the window.
    pub sent: u64,
    /// The most that a publisher's packet left behind its time.
    pub late_max: Duration,
    /// PLI and FIR that came to publishers within the window.
    pub keyframe_requests: u64,
    /// The most of those that came to one publisher within one second.
    pub keyframe_requests_most: u64,
    /// From a packet's sending to its arrival.
    pub transit: Times,
    /// How long arrivals waited for this thread.
    pub lag: Times,
    /// Datagrams that the kernel did not take since the thread began.
    pub send_blocked: u64,
    /// The thread's CPU time within the window.
    pub cpu: Duration,
}

/// All that a worker saw.
#[derive(Debug, Default)]
pub struct WorkerReport {
    /// Every viewer that it ever had.
    pub viewers: Vec<ViewerTally>,
    pub publishers: Vec<PublisherTally>,
    pub gauges: Gauges,
    /// The thread's CPU time from the command to measure up to the end of the window, or its own.
    pub cpu: Duration,
}

/// A running worker. Dropping it stops the thread without a report.
#[derive(Debug)]
pub struct Worker {
    handle: WorkerHandle,
    thread: JoinHandle<io::Result<WorkerReport>>,
}

/// What is needed to give sessions to a worker.
#[derive(Clone, Debug)]
pub struct WorkerHandle {
    commands: Sender<Command>,
    waker: Arc<Waker>,
}

impl WorkerHandle {
    /// Gives the worker a session whose answer was accepted. Waits while its queue is full.
    pub fn add(&self, id: Id, session: Session) {
        self.send(Command::Add(id, Box::new(session)));
    }

    /// Stops driving a session that wanted to leave from `left` on; its counters are kept for the
    /// report.
    pub fn remove(&self, id: Id, left: Instant) {
        self.send(Command::Remove(id, left));
    }

    /// Says which packets to measure, and forgets what was measured before.
    pub fn measure(&self, window: Window) {
        self.send(Command::Measure(window));
    }

    #[must_use]
    pub fn collect(&self) -> Measured {
        let (reply, measured) = bounded(1);
        self.send(Command::Collect(reply));
        measured.recv().unwrap_or_default()
    }

    /// Asks how far the sessions are.
    #[must_use]
    pub fn count(&self) -> Counts {
        let (reply, counts) = bounded(1);
        self.send(Command::Count(reply));
        counts.recv().unwrap_or_default()
    }

    fn send(&self, command: Command) {
        // A worker that died of an error says so when it is joined.
        if self.commands.send(command).is_ok() {
            let _ = self.waker.wake();
        }
    }
}

impl Worker {
    /// Starts a thread.
    ///
    /// # Errors
    /// When there is no poller or no thread to be had.
    pub fn start(name: &str) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let (commands, receiver) = bounded(COMMANDS_MAX);
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || Loop::new(poll, receiver).run())?;
        let handle = WorkerHandle { commands, waker };
        Ok(Self { handle, thread })
    }

    /// For giving it sessions.
    #[must_use]
    pub fn handle(&self) -> &WorkerHandle {
        &self.handle
    }

    /// Stops the thread, once no other handle is left, and hands out what it saw.
    ///
    /// # Errors
    /// When its poller failed.
    ///
    /// # Panics
    /// If the thread did.
    pub fn finish(self) -> io::Result<WorkerReport> {
        let WorkerHandle { commands, waker } = self.handle;
        drop(commands);
        waker.wake()?;
        self.thread.join().expect("the worker does not panic")
    }
}

struct Loop {
    poll: Poll,
    commands: Receiver<Command>,
    sessions: HashMap<Id, Slot>,
    timers: BinaryHeap<Reverse<(Instant, Id)>>,
    buffers: ReceiveBuffers,
    gauges: Gauges,
    finished: WorkerReport,
    cpu_from: Duration,
    cpu_until_us: Option<u64>,
}

struct Slot {
    session: Box<Session>,
    /// The earliest entry that `timers` holds for it.
    queued: Instant,
}

impl Loop {
    fn new(poll: Poll, commands: Receiver<Command>) -> Self {
        Self {
            poll,
            commands,
            sessions: HashMap::new(),
            timers: BinaryHeap::new(),
            buffers: ReceiveBuffers::default(),
            gauges: Gauges::default(),
            finished: WorkerReport::default(),
            cpu_from: Duration::ZERO,
            cpu_until_us: None,
        }
    }

    fn run(mut self) -> io::Result<WorkerReport> {
        let mut events = Events::with_capacity(1_024);
        loop {
            let now = Instant::now();
            let next = self.timers.peek().map_or(IDLE, |Reverse((at, _))| {
                at.saturating_duration_since(now).min(IDLE)
            });
            match self.poll.poll(&mut events, Some(next)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            if !self.obey()? {
                break;
            }
            for event in &events {
                let Token(id) = event.token();
                if let Some(slot) = self.sessions.get_mut(&id) {
                    slot.session.receive(&mut self.buffers, &mut self.gauges);
                    if slot.session.reads_by_clock() {
                        self.poll.registry().deregister(slot.session.socket())?;
                    }
                    slot.queue(id, &mut self.timers);
                }
            }
            self.wake_due(Instant::now());
            self.note_cpu();
        }
        if self.cpu_until_us.is_some() {
            self.finished.cpu = cpu() - self.cpu_from;
        }
        let ids: Vec<Id> = self.sessions.keys().copied().collect();
        let now = Instant::now();
        ids.into_iter().for_each(|id| self.remove(id, now));
        Ok(WorkerReport {
            gauges: self.gauges,
            ..self.finished
        })
    }

    /// Takes the waiting commands; false when no more can come.
    fn obey(&mut self) -> io::Result<bool> {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Add(id, session)) => self.add(id, session)?,
                Ok(Command::Remove(id, left)) => self.remove(id, left),
                Ok(Command::Measure(window)) => {
                    self.begin(window);
                }
                Ok(Command::Collect(reply)) => {
                    // Whoever asked may have stopped waiting.
                    let _ = reply.try_send(self.measured());
                }
                Ok(Command::Count(reply)) => {
                    // Whoever asked may have stopped waiting.
                    let _ = reply.try_send(self.count());
                }
                Err(crossbeam_channel::TryRecvError::Empty) => return Ok(true),
                Err(crossbeam_channel::TryRecvError::Disconnected) => return Ok(false),
            }
        }
    }

    fn begin(&mut self, window: Window) {
        self.gauges.window = window;
        (self.gauges.transit, self.gauges.lag) = Default::default();
        self.gauges.wire = WireLog::default();
        self.gauges.chat.begin_window();
        for slot in self.sessions.values_mut() {
            slot.session.begin_window();
        }
        self.cpu_from = cpu();
        self.cpu_until_us = Some(window.to_us);
    }

    fn measured(&self) -> Measured {
        let mut measured = Measured {
            transit: self.gauges.transit.clone(),
            lag: self.gauges.lag.clone(),
            send_blocked: self.gauges.send_blocked,
            cpu: match self.cpu_until_us {
                Some(_) => cpu() - self.cpu_from,
                None => self.finished.cpu,
            },
            ..Measured::default()
        };
        // Whether it is lost does not matter here.
        let now = Instant::now();
        for slot in self.sessions.values() {
            if let Some(viewer) = slot.session.viewer(now) {
                let tracks = [&viewer.audio, &viewer.video];
                measured.came += tracks.iter().map(|t| t.came_in_window).sum::<u64>();
                let missing = tracks.iter().map(|t| t.rtp_missing_in_window());
                measured.rtp_missing += missing.sum::<u64>();
                let player = viewer.players.first().filter(|player| player.started());
                if let Some(player) = player.filter(|_| !viewer.light) {
                    let shown = player.shown(self.gauges.window);
                    measured.frozen_us.push(shown.frozen_us);
                }
                if !viewer.light {
                    measured.full.push(tracks.iter().map(|t| t.in_window).sum());
                }
            }
            if let Some(publisher) = slot.session.publisher(now) {
                measured.sent += publisher.audio_in_window + publisher.video_in_window;
                measured.keyframe_requests += publisher.keyframe_requests_in_window;
                measured.keyframe_requests_most =
                    (measured.keyframe_requests_most).max(publisher.keyframe_requests_most);
                measured.late_max = measured.late_max.max(publisher.late_max_in_window);
            }
        }
        measured
    }

    fn add(&mut self, id: Id, mut session: Box<Session>) -> io::Result<()> {
        let registry = self.poll.registry();
        registry.register(session.socket(), Token(id), Interest::READABLE)?;
        session.wake(Instant::now(), &mut self.buffers, &mut self.gauges);
        let queued = session.deadline();
        self.timers.push(Reverse((queued, id)));
        self.sessions.insert(id, Slot { session, queued });
        Ok(())
    }

    fn remove(&mut self, id: Id, left: Instant) {
        let Some(slot) = self.sessions.remove(&id) else {
            return;
        };
        let Slot { session, .. } = slot;
        self.finished.viewers.extend(session.viewer(left));
        self.finished.publishers.extend(session.publisher(left));
    }

    fn count(&self) -> Counts {
        let of = |f: fn(&Session) -> bool| {
            let sessions = self.sessions.values();
            sessions.filter(|slot| f(&slot.session)).count() as u64
        };
        Counts {
            alive: of(|s| !s.ended()),
            connected: of(|s| !s.ended() && s.connected()),
            flowing: of(|s| !s.ended() && s.flows()),
            lost: of(Session::ended),
        }
    }

    fn wake_due(&mut self, now: Instant) {
        while let Some(Reverse((at, id))) = self.timers.peek().copied()
            && at <= now
        {
            self.timers.pop();
            let Some(slot) = self.sessions.get_mut(&id) else {
                continue;
            };
            if slot.queued != at {
                // An earlier entry stands for the session.
                continue;
            }
            if slot.session.deadline() <= now {
                slot.session.wake(now, &mut self.buffers, &mut self.gauges);
            }
            if !slot.session.ended() {
                // Never at `now` again, or a session that is due for ever would hold the loop.
                slot.queued = slot.session.deadline().max(now + Duration::from_nanos(1));
                self.timers.push(Reverse((slot.queued, id)));
            }
        }
    }

    fn note_cpu(&mut self) {
        if let Some(until) = self.cpu_until_us
            && crate::stamp::now_us() >= until
        {
            self.finished.cpu = cpu() - self.cpu_from;
            self.cpu_until_us = None;
        }
    }
}

impl Slot {
    fn queue(&mut self, id: Id, timers: &mut BinaryHeap<Reverse<(Instant, Id)>>) {
        let deadline = self.session.deadline();
        if deadline < self.queued && !self.session.ended() {
            self.queued = deadline;
            timers.push(Reverse((self.queued, id)));
        }
    }
}

/// CPU time of the calling thread.
fn cpu() -> Duration {
    let t = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}
