//! What roles may do.

use lightstick_chat_proto::{Permissions, Role, moderate::Action};
use lightstick_types::{ChatMember, ChatRole};

pub(crate) fn wire(role: ChatRole) -> Role {
    match role {
        ChatRole::Guest => Role::Guest,
        ChatRole::Member => Role::Member,
        ChatRole::Bot => Role::Bot,
        ChatRole::Moderator => Role::Moderator,
        ChatRole::LeadModerator => Role::LeadModerator,
        ChatRole::Idol => Role::Idol,
        ChatRole::Server => Role::Server,
    }
}

pub(crate) fn moderates(role: ChatRole) -> bool {
    role >= ChatRole::Moderator
}

pub(crate) fn leads(role: ChatRole) -> bool {
    role >= ChatRole::LeadModerator
}

/// Never left out, whatever the crowd writes.
pub(crate) fn is_always_shown(role: ChatRole) -> bool {
    moderates(role)
}

/// How likely a message is to be shown, next to a guest's.
pub(crate) fn weight(role: ChatRole) -> f64 {
    match role {
        ChatRole::Bot => 0.5,
        ChatRole::Guest => 1.0,
        _ => 2.0,
    }
}

/// What takes a lead moderator: what lasts, or changes the room.
pub(crate) fn needs_lead(action: &Action) -> bool {
    match action {
        Action::Ban(_)
        | Action::Unban(_)
        | Action::Shadow(_)
        | Action::Unshadow(_)
        | Action::Settings(_)
        | Action::Announce(_)
        | Action::PollStart(_)
        | Action::PollEnd(_)
        | Action::Appeal(_) => true,
        Action::Delete(_)
        | Action::ClearUser(_)
        | Action::Timeout(_)
        | Action::Approve(_)
        | Action::Deny(_)
        | Action::Pin(_)
        | Action::Warn(_)
        | Action::Queue(_) => false,
    }
}

pub(crate) fn permissions(member: &ChatMember, may_write: bool) -> Permissions {
    Permissions {
        write: may_write,
        moderate: moderates(member.role),
        moderate_all: leads(member.role),
        caption: member.caption || leads(member.role),
    }
}
