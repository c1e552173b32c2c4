//! Joins at a steady rate, and leaves.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::janus::Janus;
use crate::session::{Attack, ChatConfig, Depth, LinkConfig, Session, SessionKind};
use crate::signal::{Signal, SignalError};
use crate::tally::Times;
use crate::worker::{Id, WorkerHandle};

/// Requests under way at the same time, at most.
const THREADS: usize = 8;

/// Where and how to join.
#[derive(Clone, Debug)]
pub struct Joiner {
    /// How the server is asked.
    pub signal: Protocol,
    /// Address for the sessions' sockets.
    pub bind: IpAddr,
    /// Sessions are spread over these in turn.
    pub workers: Vec<WorkerHandle>,
    /// Of the viewers of [`Self::join_all`], how many look at every packet; the others are light.
    pub full: usize,
    /// What stands between full viewers and the server.
    pub link: Option<LinkConfig>,
    /// Full viewers take part in the chat.
    pub chat: Option<ChatCrowd>,
}

/// What viewers do in the chat.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ChatCrowd {
    /// They read and write.
    Fans {
        /// The first so many write.
        writers: usize,
        /// Messages of each in a second.
        rate: f64,
    },
    /// Each means harm in its way.
    Attackers,
}

impl ChatCrowd {
    fn config(self, id: Id) -> ChatConfig {
        match self {
            Self::Fans { writers, rate } => ChatConfig::Fan(match id < writers {
                true => rate,
                false => 0.0,
            }),
            Self::Attackers => ChatConfig::Attack(Attack::of(id)),
        }
    }
}

/// How sessions are opened and ended.
#[derive(Clone, Debug)]
pub enum Protocol {
    Whip(Signal),
    Janus(Janus),
}

impl Protocol {
    /// Opens a session. Gives it, its URL and how long the server took. Blocks.
    fn open(
        &self,
        role: SessionKind,
        chat: Option<ChatConfig>,
        bind: IpAddr,
    ) -> Result<(Session, String, Duration)> {
        if let (Self::Janus(janus), SessionKind::View(_)) = (self, role) {
            return invited(janus, role, bind);
        }
        let offered = Session::offer_with(role, chat, bind)?;
        let asked = Instant::now();
        let opened = match self {
            Self::Whip(signal) => signal.open(&offered.offer)?,
            Self::Janus(janus) => janus.publish(&offered.offer)?,
        };
        let took = asked.elapsed();
        match offered.accept(&opened.answer) {
            Ok(session) => Ok((session, opened.url, took)),
            Err(error) => {
                // The server holds a session that nobody will use.
                let _ = self.close(&opened.url);
                Err(error)
            }
        }
    }

    /// Ends a session. Blocks.
    fn close(&self, url: &str) -> Result<(), SignalError> {
        match self {
            Self::Whip(signal) => signal.close(url),
            Self::Janus(janus) => janus.close(url),
        }
    }
}

/// Janus offers: the time it takes is that of both its answers.
fn invited(janus: &Janus, role: SessionKind, bind: IpAddr) -> Result<(Session, String, Duration)> {
    let asked = Instant::now();
    let invited = janus.watch()?;
    let started = Session::answer(role, &invited.offer, bind).and_then(|(session, answer)| {
        janus.start(&invited, &answer)?;
        Ok(session.asked(asked))
    });
    match started {
        Ok(session) => Ok((session, invited.url, asked.elapsed())),
        Err(error) => {
            let _ = janus.close(&invited.url);
            Err(error)
        }
    }
}

/// A session that is up as far as HTTP is concerned.
#[derive(Clone, Debug)]
pub struct Joined {
    /// Its id at its worker.
    pub id: Id,
    pub url: String,
}

/// How a number of joins or leaves went.
#[derive(Debug, Default)]
pub struct Outcome {
    pub joined: Vec<Joined>,
    /// The others, by their message.
    pub failures: BTreeMap<String, u64>,
    /// From sending each request to having its answer.
    pub requests: Times,
    /// From the first to the last.
    pub took: Duration,
    /// Joins that began more than 100 ms behind their time: the server or the generator is slower
    /// than the rate asked for.
    pub behind: u64,
}

impl Outcome {
    /// How many did not work.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }
}

impl Joiner {
    /// One join. Blocks until the server has answered.
    ///
    /// # Errors
    /// When there is no socket, the server refuses or its answer is no good.
    pub fn join(&self, id: Id, role: SessionKind) -> Result<(Joined, Duration)> {
        let full = matches!(role, SessionKind::View(Depth::Full));
        let chat = self.chat.filter(|_| full).map(|chat| chat.config(id));
        let (mut session, url, took) = self.signal.open(role, chat, self.bind)?;
        if let (true, Some(link)) = (full, self.link) {
            session = session.behind(link);
        }
        self.worker(id).add(id, session);
        Ok((Joined { id, url }, took))
    }

    /// Leaves, at the server first and then here. Blocks.
    ///
    /// # Errors
    /// When the server did not agree; the session is gone on this side all the same.
    pub fn leave(&self, joined: &Joined) -> Result<()> {
        // The server says goodbye on the media path before it answers here.
        let left = Instant::now();
        let closed = self.signal.close(&joined.url);
        self.worker(joined.id).remove(joined.id, left);
        closed.context("leave")
    }

    /// Is gone without a word to the server.
    pub fn vanish(&self, joined: &Joined) {
        self.worker(joined.id).remove(joined.id, Instant::now());
    }

    /// Joins `count` viewers with ids from `first_id` on, `rate` of them a second. Each that is in
    /// goes to `each` at once. Ends early when `stop` is set.
    pub fn join_all(
        &self,
        first_id: Id,
        count: usize,
        rate: f64,
        stop: &AtomicBool,
        each: impl Fn(&Joined) + Sync,
    ) -> Outcome {
        let started = Instant::now();
        let next = AtomicUsize::new(0);
        let behind = AtomicUsize::new(0);
        let one = || {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count || stop.load(Ordering::Relaxed) {
                return None;
            }
            let at = started + Duration::from_secs_f64(index as f64 / rate);
            let late = at.elapsed();
            if late > Duration::from_millis(100) {
                behind.fetch_add(1, Ordering::Relaxed);
            }
            thread::sleep(at.saturating_duration_since(Instant::now()));
            let depth = if index < self.full {
                Depth::Full
            } else {
                Depth::Light
            };
            let joined = self.join(first_id + index, SessionKind::View(depth));
            Some(joined.inspect(|(joined, _)| each(joined)))
        };
        let mut outcome = gather(started, one);
        outcome.behind = behind.into_inner() as u64;
        outcome
    }

    /// All of them leave, as fast as the server lets them.
    pub fn leave_all(&self, joined: &[Joined]) -> Outcome {
        let next = AtomicUsize::new(0);
        gather(Instant::now(), || {
            let joined = joined.get(next.fetch_add(1, Ordering::Relaxed))?;
            let asked = Instant::now();
            Some(
                self.leave(joined)
                    .map(|()| (joined.clone(), asked.elapsed())),
            )
        })
    }

    fn worker(&self, id: Id) -> &WorkerHandle {
        &self.workers[id % self.workers.len()]
    }
}

/// Runs `one` on all threads until it gives nothing.
fn gather(
    started: Instant,
    one: impl Fn() -> Option<Result<(Joined, Duration)>> + Sync,
) -> Outcome {
    let mut outcome = Outcome::default();
    thread::scope(|scope| {
        let (results, incoming) = mpsc::sync_channel(THREADS);
        for _ in 0..THREADS {
            let (results, one) = (results.clone(), &one);
            scope.spawn(move || {
                while let Some(result) = one() {
                    if results.send(result).is_err() {
                        return;
                    }
                }
            });
        }
        drop(results);
        for result in incoming {
            match result {
                Ok((joined, took)) => {
                    outcome.requests.record_us(took.as_micros() as u64);
                    outcome.joined.push(joined);
                }
                Err(error) => *outcome.failures.entry(format!("{error:#}")).or_default() += 1,
            }
        }
    });
    outcome.took = started.elapsed();
    outcome
}
