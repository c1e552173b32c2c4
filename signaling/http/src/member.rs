//! Who somebody is in the chat.

use std::net::IpAddr;
use std::sync::Arc;

use lightstick_signaling_core::token::Claims;
use lightstick_types::{ChatMember, ChatRole, RoomName, SessionId};

use crate::App;

/// Digits of the name that a guest gets.
const GUEST_DIGITS: usize = 8;

/// How those who join sessions appear in the chat.
#[derive(Clone, Copy, Debug)]
pub struct Members {
    /// Whether whoever comes without a token may write, as a guest.
    pub guests_write: bool,
    /// A token's name as the chat shows it; `None` where nothing of it can be shown.
    pub clean_name: fn(&str) -> Option<String>,
}

/// Who somebody is in a room's chat; `None` where there is no chat.
pub(crate) async fn member(
    app: &App,
    claims: Option<&Claims>,
    room: &RoomName,
    address: IpAddr,
) -> Option<Arc<ChatMember>> {
    let members = app.members.as_ref()?;
    let member = match claims {
        Some(claims) => {
            let role = claims.chat_role();
            ChatMember {
                room: room.clone(),
                user: claims.sub.clone(),
                name: (members.clean_name)(claims.chat_name()).unwrap_or_else(|| "?".to_owned()),
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
                write: members.guests_write,
                caption: false,
                address,
                anonymous: true,
                show: summary.is_ok_and(|room| room.publisher.is_some() || room.live_for.is_some()),
            }
        }
    };
    Some(Arc::new(member))
}
