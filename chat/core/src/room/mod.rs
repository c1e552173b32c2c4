//! One room: who is there, what they write, what is shown.
//!
//! Order of calls: any of the entry points below, then [`Room::poll`] until it returns `None`,
//! then [`Room::turn`] when [`Room::deadline`] has come. When the records of an
//! [`Output::Commit`] are kept, or could not be, [`Room::kept`] and [`Room::settled`] are told.
//!
//! Actions in the audit log: `delete`, `clear_user`, `timeout`, `ban`, `unban`, `shadow`,
//! `unshadow`, `approve`, `deny`, `pin`, `unpin`, `settings`, `announce`, `poll_start`, `poll_end`,
//! `warn`, `appeal_accepted`, `appeal_denied`, `message` (written by the integrator's server), `erase`.

mod allowance;
mod apply;
mod audit;
mod held;
mod moderate;
mod pending;
mod people;
mod post_keys;
mod posting;
mod review;
mod show;
mod write;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lightstick_chat_proto as proto;
use lightstick_chat_proto::client_frame::Frame as Request;
use lightstick_chat_proto::part::Part;
use lightstick_chat_wire::{Frame, Tick};
use lightstick_types::ChatRole;

use crate::config::RoomConfig;
use crate::effects::Counter;
use crate::now::Now;
use crate::poll::Poll;
use crate::record::{Answer, Asker, Done, Record, RoomEvent};
use crate::refusal::{Code, Refusal};
use crate::sample::Sampler;
use crate::sanctions::{Sanction, Sanctions};
use crate::screen::Screen;
use crate::stream::Stream;
use allowance::Allowances;
use held::Held;
use pending::Pending;
use people::{Client, User};
pub use post_keys::{KeptPost, POSTED_KEY_BYTES_MAX};
pub use posting::Posted;
pub use review::{Review, Reviewed};

/// A connection of a client; the shell gives them out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientKey(pub u64);

/// Who uses their power.
#[derive(Clone, Debug)]
pub struct Actor {
    /// The user, or the name of a token.
    pub user: String,
    pub role: ChatRole,
}

/// What a room wants done.
#[derive(Debug)]
pub enum Output {
    /// Everybody is shown this.
    Show(Tick),
    /// One client is sent this.
    Tell {
        client: ClientKey,
        frame: Frame,
    },
    /// Keep the records, all or none of those that must be kept; then give the answers. In order.
    Commit {
        /// May be empty.
        records: Vec<Record>,
        /// May be empty.
        answers: Vec<Answer>,
        /// What waits for the records: [`Room::kept`] is told whether they are kept.
        action: Option<u64>,
    },
    /// An answer that waits for nothing.
    Answer(Answer),
    /// Ask the review hook, and call [`Room::reviewed`].
    Review(Review),
    Event(Box<RoomEvent>),
    /// A cue for those who read captions elsewhere.
    Caption(proto::CaptionCue),
}

/// What a room counts, since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Messages that were accepted.
    pub accepted: u64,
    /// Of these, shown to everybody.
    pub shown: u64,
    /// Of these, left out for want of room.
    pub skipped: u64,
    /// Of these, shown to their author only, or deleted before they were shown.
    pub hidden: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// Messages that waited for a moderator.
    pub held: u64,
    /// Reactions that were counted.
    pub reactions: u64,
    /// Reactions above a client's limit, or of no known kind.
    pub reactions_dropped: u64,
}

/// The state that outlives a process: see [`Record::State`].
///
/// Two keys are not the room's to keep, but what the archive knows: `last_id`, the highest id it has seen, and
/// `posted`, a list of [`KeptPost`].
pub type Stored = BTreeMap<String, String>;

/// Where the pinned message is kept.
const STATE_PINNED: &str = "pinned";

/// What an appeal says.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Appeal {
    text: String,
    at_ms: u64,
    /// Decided against: no second one for the same sanction.
    #[serde(default)]
    closed: bool,
}

#[derive(Debug)]
pub struct Room {
    config: RoomConfig,
    review: bool,
    stream: Stream,
    sampler: Sampler,
    counter: Counter,
    screen: Screen,
    settings: proto::Settings,
    clients: HashMap<ClientKey, Client>,
    users: HashMap<Arc<str>, User>,
    /// Names as they are mentioned, without case and spaces.
    names: HashMap<Box<str>, Arc<str>>,
    allowances: Allowances,
    /// Users whose last connection has gone, in the order in which they are forgotten.
    leaving: VecDeque<(Instant, Arc<str>)>,
    sanctions: Sanctions,
    pending: Pending,
    appeals: BTreeMap<String, Appeal>,
    held: VecDeque<Held>,
    reviews: HashMap<u64, review::Waiting>,
    posts: post_keys::Posts,
    /// Messages of the integrator's server that are shown and not kept yet.
    unkept: HashMap<Asker, u64>,
    /// Hashes of what was written lately, oldest first: see `unique_only`.
    recent: VecDeque<u64>,
    poll: Option<Poll>,
    pinned: Option<proto::Message>,
    announcement: Option<proto::Announcement>,
    highlighted: Vec<(Instant, proto::Message)>,
    /// Encoded entries that are never left out, and whose they are.
    urgent: Vec<show::Urgent>,
    /// Messages accepted since the last tick.
    accepted: Vec<show::Accepted>,
    records: Vec<Record>,
    answers: Vec<Answer>,
    outputs: VecDeque<Output>,
    last_id: u64,
    /// Bytes that may be shown now.
    budget: f64,
    budget_at: Instant,
    ticked_at: Instant,
    /// When the next batch is shown; `None`: nothing waits for it.
    tick_at: Option<Instant>,
    urgent_at: Option<Instant>,
    snapshot: Option<Frame>,
    recovery: Option<(proto::Position, u64, Frame)>,
    totals: Totals,
}

impl Room {
    /// A room that nobody is in, of a configuration that was validated. `epoch` must differ from that of every earlier life of the room;
    /// `review` says whether messages go to the review hook.
    ///
    /// # Panics
    /// On a configuration that [`RoomConfig::validate`] refuses.
    #[must_use]
    pub fn new(
        config: RoomConfig,
        epoch: u64,
        seed: u64,
        review: bool,
        stored: &Stored,
        now: Now,
    ) -> Self {
        let mut settings = read::<proto::Settings>(stored, "settings").unwrap_or_default();
        let screen = Screen::new(&config.filter, &settings).or_else(|_| {
            // The operator's list has grown meanwhile: a room without its own terms is better
            // than none.
            settings.blocked_terms.clear();
            Screen::new(&config.filter, &settings)
        });
        let screen = screen.expect("the configuration was validated");
        let mut sanctions = Sanctions::default();
        let mut appeals = BTreeMap::new();
        for (key, value) in stored {
            if let Some(user) = key.strip_prefix("sanction/")
                && let Ok(sanction) = serde_json::from_str::<Sanction>(value)
            {
                sanctions.impose(user, sanction);
            }
            if let Some(user) = key.strip_prefix("appeal/")
                && let Ok(appeal) = serde_json::from_str::<Appeal>(value)
            {
                appeals.insert(user.to_owned(), appeal);
            }
        }
        let budget = config.bytes_per_second() / 2.0;
        Self {
            review,
            stream: Stream::new(epoch, config.history_entries),
            sampler: Sampler::new(seed),
            counter: Counter::new(),
            screen,
            settings,
            clients: HashMap::new(),
            users: HashMap::new(),
            names: HashMap::new(),
            allowances: Allowances::new(&config, now.at),
            leaving: VecDeque::new(),
            sanctions,
            pending: Pending::default(),
            appeals,
            held: VecDeque::new(),
            reviews: HashMap::new(),
            posts: post_keys::Posts::new(read(stored, "posted").unwrap_or_default()),
            unkept: HashMap::new(),
            recent: VecDeque::new(),
            poll: None,
            pinned: read(stored, "pinned"),
            announcement: None,
            highlighted: Vec::new(),
            urgent: Vec::new(),
            accepted: Vec::new(),
            records: Vec::new(),
            answers: Vec::new(),
            outputs: VecDeque::new(),
            last_id: read(stored, "last_id").unwrap_or(0),
            budget,
            budget_at: now.at,
            ticked_at: now.at - config.tick,
            tick_at: None,
            urgent_at: None,
            snapshot: None,
            recovery: None,
            totals: Totals::default(),
            config,
        }
    }

    /// A client's request.
    pub fn receive(&mut self, now: Now, client: ClientKey, request: Request) {
        let Some(state) = self.clients.get_mut(&client) else {
            return;
        };
        let member = Arc::clone(&state.member);
        match request {
            Request::Hello(hello) => self.on_hello(now, client, &member, hello.position),
            Request::Send(send) => self.on_send(now, client, &member, send),
            Request::React(react) => self.react(now, client, react),
            Request::Vote(vote) => {
                let to = Asker::Client {
                    client,
                    nonce: vote.nonce,
                };
                match self.vote(&member, vote) {
                    Ok(done) => self.acknowledge(to, done),
                    Err(refusal) => self.refuse(to, refusal),
                }
            }
            Request::Moderate(request) => {
                let to = Asker::Client {
                    client,
                    nonce: request.nonce,
                };
                let actor = Actor {
                    user: member.user.clone(),
                    role: member.role,
                };
                match request.action {
                    Some(action) => self.moderate(now, &actor, action, &request.reason, to),
                    None => self.refuse(to, Code::Malformed.into()),
                }
            }
            Request::Caption(mut cue) => {
                let to = Asker::Client {
                    client,
                    nonce: std::mem::take(&mut cue.nonce),
                };
                let allowed = crate::roles::permissions(&member, false).caption;
                let result = if allowed {
                    self.caption(now, cue)
                } else {
                    Err(Code::ReadOnly.into())
                };
                if let Err(refusal) = result {
                    self.refuse(to, refusal);
                }
            }
            Request::Appeal(appeal) => {
                let to = Asker::Client {
                    client,
                    nonce: appeal.nonce,
                };
                let text = appeal.text;
                self.request(now, pending::Request::Appeal { member, text }, to);
            }
            Request::Ping(ping) => {
                let frame = Frame::new([Part::Pong(proto::Pong {
                    number: ping.number,
                })]);
                self.outputs.push_back(Output::Tell { client, frame });
            }
        }
    }

    /// A frame of a client that could not be read, with its nonce as far as that could.
    pub fn malformed(&mut self, client: ClientKey, nonce: u64) {
        if self.clients.contains_key(&client) {
            self.refuse(Asker::Client { client, nonce }, Code::Malformed.into());
        }
    }

    /// A live caption, from whoever may write one.
    ///
    /// # Errors
    /// [`Code::Empty`], [`Code::TooLong`], [`Code::OutOfRange`].
    pub fn caption(&mut self, now: Now, mut cue: proto::CaptionCue) -> Result<(), Refusal> {
        const LANGUAGE_MAX: usize = 35;
        const DURATION_DEFAULT_MS: u32 = 4_000;
        const DURATION_MAX_MS: u32 = 30_000;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if cue.language.len() > LANGUAGE_MAX || !cue.language.bytes().all(plain) {
            return Err(Refusal::because(Code::OutOfRange, "language: BCP 47"));
        }
        cue.text = self.screen.clean(&cue.text, self.config.text_chars_max)?;
        if cue.at_ms == 0 {
            cue.at_ms = now.unix_ms;
        }
        cue.duration_ms = match cue.duration_ms {
            0 => DURATION_DEFAULT_MS,
            ms => ms.min(DURATION_MAX_MS),
        };
        self.outputs.push_back(Output::Caption(cue.clone()));
        self.outputs.push_back(Output::Show(Tick {
            ctl: Some(Frame::new([Part::Caption(cue)])),
            ..Tick::default()
        }));
        Ok(())
    }

    /// The next thing to be done.
    pub fn poll(&mut self) -> Option<Output> {
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        // Requests that change nothing that is shown need no tick to be answered.
        if self.accepted.is_empty() && !(self.records.is_empty() && self.answers.is_empty()) {
            return Some(Output::Commit {
                records: std::mem::take(&mut self.records),
                answers: std::mem::take(&mut self.answers),
                action: None,
            });
        }
        None
    }

    /// When [`Room::turn`] wants to be called.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let poll = self.poll.as_ref().map(|poll| poll.ends_at);
        let held = self.held.front().map(|held| held.until);
        let leaving = self.leaving.front().map(|(at, _)| *at);
        let reviews = self.reviews.values().map(|waiting| waiting.until).min();
        [self.tick_at, self.urgent_at, poll, held, leaving, reviews]
            .into_iter()
            .flatten()
            .min()
    }

    /// Does what is due.
    pub fn turn(&mut self, now: Now) {
        self.end_poll(now);
        self.expire_held(now);
        self.expire_reviews(now);
        self.forget_users(now);
        if self.tick_at.is_some_and(|at| at <= now.at) {
            self.tick(now);
        } else if self.urgent_at.is_some_and(|at| at <= now.at) {
            self.show_urgent(now);
        }
    }

    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> &proto::Settings {
        &self.settings
    }

    /// How many connections there are.
    #[must_use]
    pub fn present(&self) -> usize {
        self.clients.len()
    }

    #[must_use]
    pub fn pinned(&self) -> Option<&proto::Message> {
        self.pinned.as_ref()
    }

    /// The poll that runs, with its votes so far.
    #[must_use]
    pub fn poll_running(&self) -> Option<proto::Poll> {
        self.poll.as_ref().map(|poll| poll.shown(false))
    }

    #[must_use]
    pub fn announcement(&self) -> Option<&proto::Announcement> {
        self.announcement.as_ref()
    }

    /// The place of the last entry that was shown.
    #[must_use]
    pub fn position(&self) -> proto::Position {
        self.stream.position()
    }

    /// All bans, timeouts and shadows.
    pub fn sanctions(&self) -> impl Iterator<Item = (&str, &Sanction)> {
        self.sanctions.iter()
    }

    /// What waits for moderators.
    #[must_use]
    pub fn queue(&self) -> proto::Queue {
        let held = self.held.iter().map(|held| proto::Held {
            message: Some(held.message.clone()),
            reason: held.reason.clone(),
        });
        let open = self.appeals.iter().filter(|(_, appeal)| !appeal.closed);
        let appeals = open.map(|(user, appeal)| proto::AppealOpen {
            user: user.clone(),
            text: appeal.text.clone(),
            at_ms: appeal.at_ms,
        });
        proto::Queue {
            held: held.collect(),
            appeals: appeals.collect(),
        }
    }

    /// Nobody is there and nothing waits: the room may be dropped.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.clients.is_empty()
            && self.users.is_empty()
            && self.held.is_empty()
            && self.reviews.is_empty()
            && self.pending.is_empty()
            && self.poll.is_none()
            && self.tick_at.is_none()
            && self.urgent_at.is_none()
            && self.outputs.is_empty()
    }

    /// A number that rises with time, also where the clock does not.
    fn next_id(&mut self, now: Now) -> u64 {
        // Milliseconds leave twenty bits for messages within one: years until 2500 fit.
        self.last_id = (self.last_id + 1).max(now.unix_ms << 20);
        self.last_id
    }

    fn acknowledge(&mut self, to: Asker, done: Done) {
        self.answers.push(Answer {
            to,
            binding: false,
            result: Ok(done),
        });
    }

    fn refuse(&mut self, to: Asker, refusal: Refusal) {
        self.totals.refused += 1;
        let result = Err(refusal);
        self.outputs.push_back(Output::Answer(Answer {
            to,
            binding: false,
            result,
        }));
    }

    fn notice(&mut self, user: &str, code: &str, detail: &str, seconds: u32) {
        let Some(state) = self.users.get(user) else {
            return;
        };
        let frame = Frame::new([Part::Notice(proto::Notice {
            code: code.to_owned(),
            detail: detail.to_owned(),
            seconds,
        })]);
        for client in state.clients.clone() {
            let frame = frame.clone();
            self.outputs.push_back(Output::Tell { client, frame });
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(stored: &Stored, key: &str) -> Option<T> {
    serde_json::from_str(stored.get(key)?).ok()
}

/// The frame of an answer to a client's request.
#[must_use]
pub fn answer_frame(nonce: u64, result: &Result<Done, Refusal>) -> Frame {
    Frame::new([match result {
        Ok(done) => Part::Ack(proto::Ack {
            nonce,
            id: done.id,
            held: done.held,
            at_ms: done.at_ms,
            text: done.text.clone().unwrap_or_default(),
        }),
        Err(refusal) => refusal.part(nonce),
    }])
}

/// The frame that says why the chat of a session ends, in the words of a WebSocket's close.
#[must_use]
pub fn closed_frame(reason: &str) -> Frame {
    Frame::new([Part::Notice(proto::Notice {
        code: "closed".to_owned(),
        detail: reason.to_owned(),
        seconds: 0,
    })])
}

/// How long a user is remembered whose last connection has gone: long enough to come back by
/// another transport and ask again with the same nonce.
const LINGER: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
