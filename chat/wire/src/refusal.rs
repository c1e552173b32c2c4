//! Why a chat request is refused: codes that integrators and pages may rely on.

use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $status:literal, $message:literal, $title:literal;)*) => {
        /// Why a request is refused. Over HTTP the same codes stand behind `chat_`, with a status and
        /// a title.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum RefusalCode {
            $($(#[$doc])* $variant,)*
        }

        impl RefusalCode {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// As it stands in frames.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// As it stands in problem details.
            #[must_use]
            pub const fn problem(self) -> &'static str {
                match self { $(Self::$variant => concat!("chat_", $text),)* }
            }

            /// The HTTP status of its problem.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }

            /// What a person may read of it.
            #[must_use]
            pub const fn message(self) -> &'static str {
                match self { $(Self::$variant => $message,)* }
            }
        }
    };
}

codes! {
    /// The frame is not what the protocol says.
    Malformed = "malformed", 400, "the request cannot be read", "The request cannot be read";
    /// No text is left of the message.
    Empty = "empty", 422, "the message is empty", "The text is empty";
    TooLong = "too_long", 422, "the message is too long", "The text is too long";
    /// Characters that hide or mangle text.
    Characters = "characters", 422, "the message has characters that are not allowed", "The text has characters that are not allowed";
    /// More messages than one user may write.
    RateLimited = "rate_limited", 429, "too many messages", "Too many messages";
    /// Slow mode is on.
    SlowMode = "slow_mode", 429, "this room is in slow mode", "The room is in slow mode";
    /// Timed out by a moderator.
    TimedOut = "timed_out", 403, "timed out by a moderator", "Timed out by a moderator";
    /// Banned from writing here.
    Banned = "banned", 403, "banned from writing here", "Banned from writing here";
    /// The token does not allow it.
    ReadOnly = "read_only", 403, "not allowed to write here", "Not allowed to write here";
    /// Only members may write.
    MembersOnly = "members_only", 403, "only members may write now", "Only members may write now";
    /// Only emotes may be written.
    EmoteOnly = "emote_only", 403, "only emotes may be written now", "Only emotes may be written now";
    /// This text was written already.
    NotUnique = "not_unique", 409, "this message was already sent", "This message was already sent";
    LinksOff = "links_off", 403, "links are not allowed here", "Links are not allowed here";
    /// Nobody but moderators writes.
    Muted = "muted", 403, "the chat is muted", "The chat is muted";
    /// A blocked term, or what looks like one.
    Blocked = "blocked", 403, "the message was blocked", "The message was blocked";
    /// The same text again and again.
    Flood = "flood", 409, "too many similar messages", "Too many similar messages";
    /// Denied by a reviewer.
    Denied = "denied", 403, "the message was denied", "The message was denied";
    /// Only moderators may do this.
    NotModerator = "not_moderator", 403, "only moderators may do this", "The role does not allow this";
    /// Not against somebody of this role.
    RoleTooHigh = "role_too_high", 403, "not allowed against a user of this role", "Not allowed against a user of this role";
    /// No such message, user, poll or appeal.
    NotFound = "not_found", 404, "not found", "Not found in this chat";
    /// A value out of its range.
    OutOfRange = "out_of_range", 422, "a value is out of its range", "A value is out of its range";
    /// A command that is not known or lacks something.
    BadCommand = "bad_command", 422, "the command is unknown or incomplete", "Unknown command";
    /// Nothing that could be appealed, or it was already.
    NoAppeal = "no_appeal", 409, "there is nothing to appeal, or it has been appealed already", "There is nothing to appeal";
    /// The room holds as much as it may.
    Full = "full", 409, "the limit of this room is reached", "The limit of this room is reached";
    /// What must not be lost cannot be kept now.
    NotKept = "not_kept", 503, "this cannot be stored now", "This cannot be stored now";
    /// The room is closing.
    Closing = "closing", 503, "the room is closing", "The room's chat is closing";
    /// A request with this key is being worked on.
    InProgress = "in_progress", 409, "a request with this key is already in progress", "A request with this key is already in progress";
    /// The key was used for another request.
    KeyReused = "key_reused", 422, "this key was used for another request", "The key was used for another request";
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_described_and_has_its_words_in_the_pages() {
        let guide = include_str!("../../../docs/chat.md");
        let pages = include_str!("../../../web/src/i18n/chat-dictionary.ts");
        for code in RefusalCode::ALL {
            let rows = guide.lines().filter(|line| line.starts_with("| `"));
            let mut rows = rows.filter(|row| row.contains(&format!("`{}`", code.as_str())));
            let status = code.status().to_string();
            assert!(
                rows.any(|row| row.contains(&status)),
                "docs/chat.md: {} with {status}",
                code.as_str()
            );
            let key = format!("\"chat.refusal.{}\":", code.as_str());
            assert_eq!(pages.matches(&key).count(), 2, "{key} in two languages");
        }
    }
}
