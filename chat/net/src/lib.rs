//! The chat of all rooms.
//!
//! One task a room calls the core (`lightstick-chat-core`) and carries out what it says: what is
//! shown goes to the shards, which have the data channels, and to the tasks of WebSockets;
//! what is kept goes to the archive, and answers leave when it is safe there.
//!
//! [`ChatPlane`] is the handle that HTTP handlers use.

mod address;
mod bridge;
mod command;
mod config;
mod hub;
mod keep;
mod recipients;
mod review;
mod room;
mod shards;
mod socket;
mod stats;
mod webhook;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lightstick_chat_archive::{Archive, ArchiveError, ArchiveTasks, Erasure, OpenError};
use lightstick_chat_core::record::Done;
use lightstick_chat_core::refusal::{Code, Refusal};
use lightstick_chat_core::room::{Actor, ClientKey, Posted};
use lightstick_chat_proto::CaptionCue;
use lightstick_chat_proto::moderate::Action;
use lightstick_sfu::MediaPlane;
use lightstick_tasks::{Ended, Tasks};
use lightstick_types::{ChatMember, RoomName};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use address::AddressHasher;
use bridge::Bridge;
pub use command::Shown;
use command::{Reply, RoomCommand};
pub use config::{ChatConfig, ConfigError};
pub use hub::NoRoom;
use hub::{Hub, Opener, RoomLimits};
use keep::Keeper;
pub use lightstick_chat_archive as archive;
pub use lightstick_chat_core as core;
pub use lightstick_chat_core::room::Overview;
pub use lightstick_chat_proto as proto;
pub use lightstick_chat_wire as wire;
use review::Reviewer;
use room::Common;
use shards::Shards;
pub use socket::{Place, Refused, Socket, SocketEvent};
pub use stats::{Number, PlaneStats};
use webhook::Webhooks;
pub use webhook::{DeliveryConfig, HookConfigError, RetryError, ReviewConfig, WebhookConfig};

/// Events that wait for webhooks. More are dropped, and counted there.
const EVENTS_MAX: usize = 16_384;
/// Messages that wait for the review hook; more pass as if it had failed.
const REVIEWS_MAX: usize = 1_024;

/// The handle on the chat. Cheap to clone.
#[derive(Clone)]
pub struct ChatPlane {
    hub: Hub,
    archive: Archive,
    stats: Arc<PlaneStats>,
    next_client: Arc<AtomicU64>,
    sockets: socket::Sockets,
    hello_within: Duration,
    webhooks: Option<Webhooks>,
}

pub struct ChatTasks {
    tasks: Tasks,
    archive: ArchiveTasks,
    cancel: CancellationToken,
}

/// Why the chat did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting that cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("chat.archive: {0}")]
    Archive(#[from] OpenError),
    /// No client for webhooks could be made.
    #[error("cannot create the HTTP client for webhooks: {0}")]
    Client(#[from] reqwest::Error),
    /// Somebody else reads the media plane's chat events.
    #[error("the media plane is already connected to a chat")]
    Taken,
}

/// Why a user was not forgotten, or not everywhere.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// A room did not open.
    #[error(transparent)]
    Room(#[from] NoRoom),
    /// A room could not keep what is left.
    #[error("the room refused: {}", .0.text())]
    Refused(Refusal),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

impl From<Refusal> for EraseError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// On whose behalf a client's room is opened.
pub(crate) fn opener(member: &ChatMember, address: u64) -> Opener {
    match member.anonymous && !member.show {
        true => Opener::Anybody(address),
        false => Opener::Known,
    }
}

pub(crate) fn next_client(counter: &AtomicU64) -> ClientKey {
    ClientKey(counter.fetch_add(1, Ordering::Relaxed))
}

impl ChatPlane {
    /// Opens the archive and starts the tasks, those of webhooks and the review hook too.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub async fn start(
        config: &ChatConfig,
        media: MediaPlane,
    ) -> Result<(Self, ChatTasks), StartError> {
        config.validate()?;
        let client = webhook::client()?;
        let events = media.take_chat_events().ok_or(StartError::Taken)?;
        let (archive, archive_tasks) = Archive::open(config.archive.clone()).await?;
        let stats = Arc::new(PlaneStats::default());
        let addresses = AddressHasher::new(&archive.derived_key("addresses"));
        let next_client = Arc::new(AtomicU64::new(1));
        let cancel = CancellationToken::new();
        let mut tasks = Tasks::default();
        let shards = Shards::new(media, Arc::clone(&stats));
        let retry = shards.clone().retry();
        let stop = cancel.clone();
        tasks.spawn("chat-shards", stop.run_until_cancelled_owned(retry));
        let (happened, webhooks) = match config.webhooks.is_empty() {
            true => (None, None),
            false => {
                let (happened, events) = mpsc::channel(EVENTS_MAX);
                let webhooks = Webhooks::start(
                    &config.webhooks,
                    &config.delivery,
                    &client,
                    &archive,
                    &stats,
                    events,
                    &mut tasks,
                );
                (Some(happened), Some(webhooks))
            }
        };
        let budget = config.room.review_timeout;
        let reviewer = Reviewer::new(&config.review, budget, client, Arc::clone(&stats));
        let reviews = reviewer.map(|reviewer| {
            let (reviews, requests) = mpsc::channel(REVIEWS_MAX);
            tasks.spawn("chat-review", reviewer.run(requests));
            reviews
        });
        let common = Common {
            config: config.room.clone(),
            keeper: Keeper(archive.clone()),
            shards: shards.clone(),
            stats: Arc::clone(&stats),
            events: happened,
            reviews,
            cancel: cancel.clone(),
        };
        let limits = RoomLimits {
            max: config.rooms_max,
            per_address_max: config.rooms_per_address_max,
        };
        let hub = Hub::start(
            common,
            limits,
            config.idle_timeout,
            cancel.clone(),
            &mut tasks,
        );
        let bridge = Bridge {
            hub: hub.clone(),
            shards,
            addresses: addresses.clone(),
            stats: Arc::clone(&stats),
            next_client: Arc::clone(&next_client),
        };
        let stop = cancel.clone();
        tasks.spawn(
            "chat-bridge",
            stop.run_until_cancelled_owned(bridge.run(events)),
        );
        let plane = Self {
            hub,
            archive,
            hello_within: config.hello_timeout,
            sockets: socket::Sockets::new(config, addresses.clone(), Arc::clone(&stats)),
            stats,
            next_client,
            webhooks,
        };
        let tasks = ChatTasks {
            tasks,
            archive: archive_tasks,
            cancel,
        };
        Ok((plane, tasks))
    }

    /// What moderators do, over HTTP. Opens the room's chat if it must.
    ///
    /// # Errors
    /// [`Refusal`]; [`Code::Closing`] also where the room cannot be opened.
    pub async fn act(
        &self,
        room: RoomName,
        actor: Actor,
        action: Action,
        reason: String,
    ) -> Result<Done, Refusal> {
        let action = Box::new(action);
        self.ask(room, |reply| RoomCommand::Act {
            actor,
            action,
            reason,
            reply,
        })
        .await
    }

    /// Writes a message of the integrator's server. Answers once it is safe.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn post(
        &self,
        room: RoomName,
        actor: Actor,
        posted: Posted,
    ) -> Result<Done, Refusal> {
        let posted = Box::new(posted);
        self.ask(room, |reply| RoomCommand::Post {
            actor,
            posted,
            reply,
        })
        .await
    }

    /// Shows a live caption.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn caption(&self, room: RoomName, cue: CaptionCue) -> Result<Done, Refusal> {
        self.ask(room, |reply| RoomCommand::Caption { cue, reply })
            .await
    }

    /// A room's chat as it is now. Opens it if it must: settings and sanctions are there also
    /// while nobody is.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub async fn look(&self, room: RoomName) -> Result<Overview, NoRoom> {
        self.read(room, |reply| RoomCommand::Look { reply }).await
    }

    /// The last captions of a room, oldest first.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub async fn captions(&self, room: RoomName) -> Result<Vec<CaptionCue>, NoRoom> {
        self.read(room, |reply| RoomCommand::Captions { reply })
            .await
    }

    async fn read<T>(
        &self,
        room: RoomName,
        command: impl FnOnce(oneshot::Sender<T>) -> RoomCommand,
    ) -> Result<T, NoRoom> {
        let (reply, answer) = oneshot::channel();
        let room = self.hub.open(room, Opener::Known).await?;
        let asked = room.commands.send(command(reply)).await;
        asked.map_err(|_| NoRoom::Closing)?;
        answer.await.map_err(|_| NoRoom::Closing)
    }

    /// Whether a room's chat is open.
    pub async fn is_open(&self, room: RoomName) -> bool {
        self.hub.find(room).await.is_ok()
    }

    /// A place for a WebSocket of an address, to be taken before anything is read from it.
    ///
    /// # Errors
    /// [`Refused::TooMany`], [`Refused::TooManyOfAddress`].
    pub fn place(&self, address: IpAddr) -> Result<Place, Refused> {
        self.sockets.take(address)
    }

    /// How long a WebSocket may take to say hello.
    #[must_use]
    pub fn hello_within(&self) -> Duration {
        self.hello_within
    }

    /// Connects a WebSocket.
    ///
    /// # Errors
    /// [`Refused::Room`].
    pub async fn connect(&self, member: Arc<ChatMember>, place: Place) -> Result<Socket, Refused> {
        let opener = opener(&member, place.address);
        let room = self.hub.open(member.room.clone(), opener).await?;
        let client = next_client(&self.next_client);
        Socket::open(room, client, member, place).await
    }

    /// Forgets a user everywhere: in rooms that are open or have saved something, then in the
    /// archive. Bans and timeouts hold on, without their reasons.
    ///
    /// # Errors
    /// [`EraseError`]; then it must be asked for again.
    pub async fn erase_user(&self, actor: Actor, user: &str) -> Result<Erasure, EraseError> {
        let mut rooms = self.hub.all().await?;
        rooms.extend(self.archive.rooms().await?);
        rooms.sort_unstable();
        rooms.dedup();
        for room in rooms {
            let (actor, user) = (actor.clone(), user.to_owned());
            self.ask(room, |reply| RoomCommand::Erase { actor, user, reply })
                .await?;
        }
        Ok(self.archive.erase_user(user).await?)
    }

    /// Tries a webhook again that nobody took. It goes from the archive when it is taken.
    ///
    /// # Errors
    /// [`RetryError`].
    pub async fn retry_dead_letter(&self, id: &str) -> Result<(), RetryError> {
        let letter = self.archive.dead_letter(id).await?;
        let letter = letter.ok_or(RetryError::NotFound)?;
        let webhooks = self.webhooks.as_ref().ok_or(RetryError::NoReceiver)?;
        webhooks.retry(letter)
    }

    /// What was said and done, as it is kept.
    #[must_use]
    pub fn archive(&self) -> &Archive {
        &self.archive
    }

    #[must_use]
    pub fn stats(&self) -> &Arc<PlaneStats> {
        &self.stats
    }

    async fn ask(
        &self,
        room: RoomName,
        command: impl FnOnce(Reply) -> RoomCommand,
    ) -> Result<Done, Refusal> {
        let closing = || Refusal::later(Code::Closing, Duration::from_secs(1));
        let opened = self.hub.open(room, Opener::Known).await;
        let room = opened.map_err(|error| match error {
            NoRoom::TooMany | NoRoom::TooManyOfAddress => {
                Refusal::because(Code::Full, error.to_string())
            }
            NoRoom::NotOpen | NoRoom::Closing => closing(),
        })?;
        let (reply, answer) = oneshot::channel();
        room.commands
            .send(command(reply))
            .await
            .map_err(|_| closing())?;
        answer.await.map_err(|_| closing())?
    }
}

impl ChatTasks {
    /// The next end of a thread or task. Before [`ChatTasks::shutdown`] it is unexpected. Safe to
    /// cancel.
    pub async fn ended(&mut self) -> Ended {
        tokio::select! {
            ended = self.archive.ended() => ended,
            ended = self.tasks.ended() => ended,
        }
    }

    /// Closes all rooms, keeps what is on its way, and ends by a deadline.
    ///
    /// # Errors
    /// The first failure of a thread or task; it is logged, and the rest is shut down all the same.
    pub async fn shutdown(mut self, deadline: Duration) -> Result<(), Ended> {
        let end = tokio::time::Instant::now() + deadline;
        self.cancel.cancel();
        let outcome = match tokio::time::timeout_at(end, self.tasks.join()).await {
            Ok(outcome) => outcome,
            Err(_) => {
                tracing::warn!("some chat tasks did not end in time");
                self.tasks.abort().await
            }
        };
        let left = end.saturating_duration_since(tokio::time::Instant::now());
        let flushed = self.archive.shutdown(left).await;
        tracing::info!(?flushed, "the chat archive is closed");
        outcome.and(flushed.map(drop))
    }
}
