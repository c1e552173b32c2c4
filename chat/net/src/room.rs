//! One room's task: the core's only caller.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use lightstick_chat_core::now::Now;
use lightstick_chat_core::record::{Answer, Asker, Done};
use lightstick_chat_core::refusal::Code;
use lightstick_chat_core::room::{ChatRoom, ClientKey, Output, Review, Reviewed, answer_frame};
use lightstick_chat_proto as proto;
use lightstick_types::RoomName;
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;

use crate::command::{Happened, ReviewRequest, RoomCommand, Shown};
use crate::keep::{Keeper, NotKept};
use crate::recipients::{Recipients, Requests};
use crate::shards::Shards;
use crate::stats::PlaneStats;

/// Commands that are taken in one turn before the room's own clock is looked at.
const BURST_MAX: usize = 256;
/// Cues that are kept for those who read captions as WebVTT.
const CAPTIONS_MAX: usize = 1_000;

/// What all rooms share.
#[derive(Clone)]
pub(crate) struct Common {
    pub(crate) config: lightstick_chat_core::config::RoomConfig,
    pub(crate) keeper: Keeper,
    pub(crate) shards: Shards,
    pub(crate) stats: Arc<PlaneStats>,
    pub(crate) events: Option<mpsc::Sender<Happened>>,
    pub(crate) reviews: Option<mpsc::Sender<ReviewRequest>>,
    /// Ends all rooms: their clients may hold on to them.
    pub(crate) cancel: CancellationToken,
}

/// What waits for records that are being kept.
struct Commit {
    answers: Vec<Answer>,
    action: Option<u64>,
}

type Kept = Pin<Box<dyn Future<Output = (Commit, Result<(), NotKept>)> + Send>>;

pub(crate) struct RoomTask {
    name: RoomName,
    common: Common,
    room: ChatRoom,
    me: mpsc::WeakSender<RoomCommand>,
    recipients: Recipients,
    requests: Requests,
    /// In the order in which they were made.
    commits: FuturesOrdered<Kept>,
    epoch: u64,
    captions: VecDeque<proto::CaptionCue>,
    counted: lightstick_chat_core::room::Totals,
}

fn now() -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH);
    Now {
        at: Instant::now(),
        unix_ms: unix.map_or(0, |since| since.as_millis() as u64),
    }
}

impl RoomTask {
    /// Runs until nobody holds a sender of its commands any more.
    pub(crate) async fn run(
        name: RoomName,
        common: Common,
        me: mpsc::WeakSender<RoomCommand>,
        mut commands: mpsc::Receiver<RoomCommand>,
        ticks: broadcast::Sender<Shown>,
        gone: Arc<AtomicBool>,
    ) {
        let Some(stored) = common.keeper.load(&name, || me.strong_count() <= 1).await else {
            return;
        };
        let start = now();
        let epoch = start.unix_ms << 16 | u64::from(fastrand::u16(..));
        let review = common.reviews.is_some();
        let config = common.config.clone();
        let room = ChatRoom::new(config, epoch, fastrand::u64(..), review, &stored, start);
        common.stats.rooms.add(1);
        tracing::info!(room = %name, "the chat is open");
        let mut task = Self {
            recipients: Recipients::new(name.clone(), common.shards.clone(), ticks),
            name,
            common,
            room,
            me,
            requests: Requests::default(),
            commits: FuturesOrdered::new(),
            epoch,
            captions: VecDeque::new(),
            counted: Default::default(),
        };
        let mut burst = Vec::new();
        let cancel = task.common.cancel.clone();
        loop {
            let deadline = task.room.deadline();
            let sleep = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                count = commands.recv_many(&mut burst, BURST_MAX) => {
                    if count == 0 {
                        break;
                    }
                    let now = now();
                    for command in burst.drain(..) {
                        task.obey(now, command);
                        task.outputs();
                    }
                }
                () = sleep => {}
                () = cancel.cancelled() => break,
                Some((commit, kept)) = task.commits.next() => task.give(commit, kept),
            }
            let now = now();
            if gone.swap(false, Ordering::Relaxed) {
                task.sweep(now);
            }
            if task.room.deadline().is_some_and(|at| at <= now.at) {
                task.room.turn(now);
            }
            task.outputs();
            task.common
                .stats
                .add_room(&mut task.counted, task.room.totals());
        }
        // What was accepted is kept, though nobody waits for the answer.
        let end = now();
        while let Some(at) = task.room.deadline() {
            let wait = at.saturating_duration_since(end.at);
            if task.room.is_idle() || wait > task.common.config_tick() {
                break;
            }
            task.room.turn(end.after(wait));
            task.outputs();
        }
        while let Some((commit, kept)) = task.commits.next().await {
            task.give(commit, kept);
            task.outputs();
        }
        task.common
            .stats
            .add_room(&mut task.counted, task.room.totals());
        task.common.stats.rooms.sub(1);
        tracing::info!(room = %task.name, "the chat is closed");
    }

    fn obey(&mut self, now: Now, command: RoomCommand) {
        match command {
            RoomCommand::Connect {
                client,
                member,
                address,
                route,
            } => {
                // It may have come and gone while the room was behind.
                if !route.is_gone() {
                    self.common.stats.clients.add(1);
                    self.recipients.insert(client, route);
                    self.room.connect(now, client, member, address);
                }
            }
            RoomCommand::Request { client, request } => self.room.receive(now, client, request),
            RoomCommand::Malformed { client, nonce } => {
                self.common.stats.malformed.add(1);
                self.room.malformed(client, nonce);
            }
            RoomCommand::Resync { client } => self.room.resume(now, client),
            RoomCommand::Disconnect { client } => self.disconnect(now, client),
            RoomCommand::Act {
                actor,
                action,
                reason,
                reply,
            } => {
                let to = self.requests.insert(reply);
                self.room.moderate(now, &actor, *action, &reason, to);
            }
            RoomCommand::Post {
                actor,
                posted,
                reply,
            } => {
                let to = self.requests.insert(reply);
                self.room.post(now, &actor, *posted, to);
            }
            RoomCommand::Erase { actor, user, reply } => {
                let to = self.requests.insert(reply);
                self.room.erase(now, &actor, &user, to);
            }
            RoomCommand::Caption { cue, reply } => {
                let result = self.room.caption(now, cue);
                let done = Done {
                    at_ms: now.unix_ms,
                    ..Done::default()
                };
                // Whoever asked may have stopped waiting.
                let _ = reply.send(result.map(|()| done));
            }
            RoomCommand::Reviewed { id, reviewed } => self.room.reviewed(now, id, reviewed),
            RoomCommand::Look { reply } => {
                // Whoever asked may have stopped waiting.
                let _ = reply.send(self.room.overview());
            }
            RoomCommand::Captions { reply } => {
                let _ = reply.send(self.captions.iter().cloned().collect());
            }
        }
    }

    fn disconnect(&mut self, now: Now, client: ClientKey) {
        if self.recipients.remove(client) {
            self.common.stats.clients.sub(1);
            self.room.disconnect(now, client);
        }
    }

    /// Finds WebSockets whose farewell found no place.
    fn sweep(&mut self, now: Now) {
        for client in self.recipients.gone() {
            self.disconnect(now, client);
        }
    }

    fn outputs(&mut self) {
        while let Some(output) = self.room.poll() {
            match output {
                Output::Show(tick) => self.recipients.show(tick),
                Output::Tell { client, frame } => self.recipients.tell(client, frame),
                Output::Answer(answer) => self.answer(answer),
                Output::Commit {
                    records,
                    answers,
                    action,
                } => {
                    let kept = self.common.keeper.keep(&self.name, self.epoch, records);
                    let commit = Commit { answers, action };
                    self.commits
                        .push_back(Box::pin(async move { (commit, kept.await) }));
                }
                Output::Review(review) => self.review(review),
                Output::Event(event) => {
                    if let Some(events) = &self.common.events {
                        let room = self.name.clone();
                        let at_ms = now().unix_ms;
                        let event = *event;
                        if events.try_send(Happened { room, at_ms, event }).is_err() {
                            self.common.stats.events_dropped.add(1);
                        }
                    }
                }
                Output::Caption(cue) => {
                    if self.captions.len() == CAPTIONS_MAX {
                        self.captions.pop_front();
                    }
                    self.captions.push_back(cue);
                }
            }
        }
    }

    fn review(&mut self, review: Review) {
        let id = review.id;
        let request = ReviewRequest {
            room: self.name.clone(),
            review,
            asked: Instant::now(),
            answer: self.me.clone(),
        };
        let sent = self
            .common
            .reviews
            .as_ref()
            .is_some_and(|reviews| reviews.try_send(request).is_ok());
        if !sent {
            self.room.reviewed(now(), id, Reviewed::Failed);
        }
    }

    fn give(&mut self, Commit { answers, action }: Commit, kept: Result<(), NotKept>) {
        if kept.is_err() {
            self.common.stats.not_kept.add(1);
        }
        let now = now();
        if let Some(action) = action {
            self.room.kept(now, action, kept.is_ok());
        }
        for answer in answers {
            let safe = kept.is_ok() || !answer.binding;
            self.room.settled(now, answer.to, safe);
            self.answer(match safe {
                true => answer,
                false => Answer {
                    result: Err(Code::NotKept.into()),
                    ..answer
                },
            });
        }
    }

    fn answer(&mut self, answer: Answer) {
        match answer.to {
            Asker::Client { client, nonce } => {
                self.recipients
                    .tell(client, answer_frame(nonce, &answer.result));
            }
            Asker::Request(number) => self.requests.answer(number, answer.result),
        }
    }
}

impl Common {
    fn config_tick(&self) -> Duration {
        self.config.tick
    }
}
