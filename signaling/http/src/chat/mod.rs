//! The chat over HTTP: who somebody is in it, and the WebSocket.

pub(crate) mod api;
mod socket;

use std::net::IpAddr;
use std::sync::Arc;

use lightstick_chat::core::clean_name;
use lightstick_signaling_core::token::Claims;
use lightstick_types::{ChatMember, ChatRole, RoomName, SessionId};

use crate::App;
pub(crate) use socket::{PATH, connect};

/// Digits of the name that a guest gets.
const GUEST_DIGITS: usize = 8;

/// A token's name as the chat shows it, cleaned as texts are.
fn shown_name(claims: &Claims) -> String {
    let name = clean_name(claims.chat_name());
    name.unwrap_or_else(|| "?".to_owned())
}

/// Who somebody is in a room's chat; `None` where there is no chat.
pub(crate) async fn member(
    app: &App,
    claims: Option<&Claims>,
    room: &RoomName,
    address: IpAddr,
) -> Option<Arc<ChatMember>> {
    let chat = app.chat.as_ref()?;
    let member = match claims {
        Some(claims) => {
            let role = claims.chat_role();
            ChatMember {
                room: room.clone(),
                user: claims.sub.clone(),
                name: shown_name(claims),
                role,
                write: claims.grants.chat || role >= ChatRole::Moderator,
                caption: role >= ChatRole::LeadModerator
                    || role == ChatRole::Bot && claims.grants.moderate,
                address,
                anonymous: false,
                show: true,
            }
        }
        None => {
            let summary = app.director.room(room.clone()).await;
            let id = SessionId::random().to_string();
            let digits = id.get(..GUEST_DIGITS).unwrap_or(&id);
            ChatMember {
                room: room.clone(),
                user: format!("guest-{digits}"),
                name: format!("Guest {digits}"),
                role: ChatRole::Guest,
                write: chat.guests_write,
                caption: false,
                address,
                anonymous: true,
                show: summary.is_ok_and(|room| room.publisher.is_some() || room.live_for.is_some()),
            }
        }
    };
    Some(Arc::new(member))
}
