//! A message on its way into the room.

use lightstick_chat_proto as proto;
use lightstick_types::{ChatMember, ChatRole};

use crate::record::{Asker, AuditRecord, Done};
use crate::roles;

/// Longest name of a user, in bytes: that of a token's `sub`.
pub(super) const USER_BYTES_MAX: usize = 128;

/// What is known of a message so far.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) message: proto::Message,
    pub(super) role: ChatRole,
    /// False: only its author sees it.
    pub(super) visible: bool,
    /// Why a moderator should look at it.
    pub(super) suspicion: Option<String>,
    pub(super) to: Option<Asker>,
    /// Of [`Posted`](super::Posted).
    pub(super) key: String,
    /// Somebody used their power to write it.
    pub(super) audit: Option<AuditRecord>,
}

impl Draft {
    pub(super) fn user(&self) -> &str {
        user_of(&self.message)
    }

    /// The answer to whoever wrote it.
    pub(super) fn done(&self, held: bool) -> Done {
        Done {
            id: self.message.id,
            held,
            at_ms: self.message.at_ms,
            text: Some(self.message.text.clone()),
        }
    }
}

pub(super) fn user_of(message: &proto::Message) -> &str {
    message.author.as_ref().map_or("", |author| &author.user)
}

pub(super) fn author(member: &ChatMember) -> proto::Author {
    proto::Author {
        user: member.user.clone(),
        name: member.name.clone(),
        role: roles::wire(member.role).into(),
    }
}
