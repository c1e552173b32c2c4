//! The chat over HTTP: its API for moderators and integrators, and its WebSocket.
//!
//! [`routes`] are composed with those of signaling, which does what every resource has in common:
//! CORS, counting, the log of refusals, and the description.

mod api;
mod operator;
mod problem;
mod socket;

use std::sync::{Arc, Mutex};

use axum::Extension;
use lightstick_chat::ChatPlane;
use lightstick_signaling::{App, Members, SignalingConfig};
use lightstick_types::rate::AddressRates;
use tokio_util::task::TaskTracker;
use utoipa_axum::router::OpenApiRouter;

/// The chat as the handlers have it.
pub struct ChatApi {
    /// `None`: the server has no chat, and every resource says so.
    plane: Option<ChatPlane>,
    /// WebSockets that an address opens.
    opens: Mutex<AddressRates>,
    /// The tasks of WebSockets: axum starts them, apart from their connections' tasks.
    sockets: TaskTracker,
}

type Chat = Extension<Arc<ChatApi>>;

impl ChatApi {
    #[must_use]
    pub fn new(plane: Option<ChatPlane>, config: &SignalingConfig) -> Arc<Self> {
        let limits = &config.limits;
        let opens = AddressRates::new(limits.chat_opens_per_address, limits.addresses_max);
        Arc::new(Self {
            plane,
            opens: Mutex::new(opens),
            sockets: TaskTracker::new(),
        })
    }

    /// The tasks of WebSockets. They end with the chat.
    #[must_use]
    pub fn sockets(&self) -> TaskTracker {
        self.sockets.clone()
    }
}

/// How those who join sessions appear in the chat. `guests_write` says whether whoever comes without
/// a token may write.
#[must_use]
pub fn members(guests_write: bool) -> Members {
    Members {
        guests_write,
        clean_name: lightstick_chat::core::clean_name,
    }
}

/// Every resource of the chat.
#[must_use]
pub fn routes(chat: Arc<ChatApi>) -> OpenApiRouter<App> {
    api::routes()
        .route(socket::PATH, axum::routing::get(socket::connect))
        .layer(Extension(chat))
}
