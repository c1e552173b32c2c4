//! A media plane of the test's own, and a director that promotes every publisher.

use std::thread;

use lightstick_sfu::{
    ChatEvent, MediaConfig, MediaEvent, MediaPlane, MediaThreads, OpenError, OpenSession,
    RoleConfig, SessionOpened,
};
use lightstick_types::{Bitrate, LayerChoice, RoomId, SessionId};
use str0m::media::Direction;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

use super::{Client, PATIENCE};

pub(crate) struct Plane {
    pub(crate) runtime: Runtime,
    pub(crate) plane: Option<MediaPlane>,
    pub(crate) events: mpsc::UnboundedReceiver<MediaEvent>,
    pub(crate) chat: mpsc::Receiver<ChatEvent>,
    pub(crate) threads: Option<MediaThreads>,
    director: Option<(oneshot::Sender<()>, thread::JoinHandle<()>)>,
}

/// Promotes publishers if it is to, and passes on what happens.
fn direct(
    plane: MediaPlane,
    mut events: mpsc::Receiver<MediaEvent>,
    promotes: bool,
    seen: mpsc::UnboundedSender<MediaEvent>,
    stop: oneshot::Receiver<()>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let direct = async {
        while let Some(event) = events.recv().await {
            if let MediaEvent::PublisherReady { session } = event
                && promotes
            {
                // On all but its own it is unknown.
                plane
                    .shards()
                    .for_each(|shard| plane.promote(shard, session));
            }
            // A test that has ended looks at nothing more.
            let _ = seen.send(event);
        }
    };
    let stopped = async {
        let _ = stop.await;
    };
    let both = async {
        tokio::select! {
            () = direct => {}
            () = stopped => {}
        }
    };
    runtime.block_on(both);
}

impl Plane {
    pub(crate) fn start(shards: u16) -> Self {
        Self::with(MediaConfig {
            shards,
            ..MediaConfig::default()
        })
    }

    pub(crate) fn with(config: MediaConfig) -> Self {
        Self::directed(config, true)
    }

    /// Where the test promotes.
    pub(crate) fn undirected(config: MediaConfig) -> Self {
        Self::directed(config, false)
    }

    fn directed(config: MediaConfig, promotes: bool) -> Self {
        let config = MediaConfig {
            pin: false,
            port: 0,
            bind: vec![[127, 0, 0, 1].into()],
            ..config
        };
        let (plane, events, threads) = MediaPlane::start(config).expect("a media plane");
        let chat = plane.take_chat_events().expect("nobody has them");
        let (seen, seen_events) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let directed = plane.clone();
        let director = thread::spawn(move || direct(directed, events, promotes, seen, stopped));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        Self {
            runtime,
            plane: Some(plane),
            events: seen_events,
            chat,
            threads: Some(threads),
            director: Some((stop, director)),
        }
    }

    pub(crate) fn plane(&self) -> &MediaPlane {
        self.plane.as_ref().unwrap()
    }

    pub(crate) fn open(
        &self,
        room: u64,
        role: RoleConfig,
        offer: String,
    ) -> Result<SessionOpened, OpenError> {
        let request = OpenSession {
            session: SessionId::random(),
            room: RoomId(room),
            role,
            member: None,
            offer,
        };
        self.runtime.block_on(self.plane().open(request))
    }

    pub(crate) fn publisher(&self, room: u64) -> Client {
        let (mut client, offer) = Client::offer(Direction::SendOnly);
        let role = RoleConfig::Publisher {
            bitrate_max: Bitrate::kbps(20_000),
        };
        client.answer(&self.open(room, role, offer).expect("an answer").answer);
        client
    }

    pub(crate) fn viewer(&self, room: u64) -> Client {
        let (mut client, offer) = Client::offer(Direction::RecvOnly);
        let role = RoleConfig::Viewer {
            choice: LayerChoice::Auto,
        };
        client.answer(&self.open(room, role, offer).expect("an answer").answer);
        client
    }

    pub(crate) fn event(
        &mut self,
        what: &str,
        mut wanted: impl FnMut(&MediaEvent) -> bool,
    ) -> MediaEvent {
        self.runtime.block_on(async {
            tokio::time::timeout(PATIENCE, async {
                loop {
                    let event = self.events.recv().await.expect("events");
                    if wanted(&event) {
                        return event;
                    }
                }
            })
            .await
            .unwrap_or_else(|_| panic!("waited in vain for {what}"))
        })
    }

    /// The next event of the chat.
    pub(crate) fn chat_event(&mut self, what: &str) -> ChatEvent {
        self.runtime.block_on(async {
            let event = tokio::time::timeout(PATIENCE, self.chat.recv()).await;
            let event = event.unwrap_or_else(|_| panic!("waited in vain for {what}"));
            event.expect("a media plane")
        })
    }

    pub(crate) fn total(&self, each: impl Fn(&lightstick_sfu::ShardStats) -> u64) -> u64 {
        self.plane().stats().iter().map(|stats| each(stats)).sum()
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.plane = None;
        if let Some((stop, director)) = self.director.take() {
            let _ = stop.send(());
            let _ = director.join();
        }
        if let Some(threads) = self.threads.take() {
            let ended = threads.join();
            if !std::thread::panicking() {
                ended.expect("every media thread ends as it was asked to");
            }
        }
    }
}
