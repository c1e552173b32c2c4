//! Messages that the integrator's server writes, paid ones among them.

use lightstick_chat_proto as proto;
use lightstick_chat_proto::entry::Entry;
use lightstick_types::ChatRole;

use super::audit::Deed;
use super::moderate::USER_BYTES_MAX;
use super::post_keys::{self, POSTED_KEY_BYTES_MAX};
use super::write::Draft;
use super::{Actor, Room};
use crate::now::Now;
use crate::record::Asker;
use crate::refusal::{Code, Refusal};
use crate::roles;
use crate::screen::NAME_CHARS_MAX;

/// Currencies are three letters (ISO 4217).
const CURRENCY_LEN: usize = 3;
/// In the smallest unit of the currency. What is above is no payment, and no number of JavaScript's.
const AMOUNTS: std::ops::RangeInclusive<u64> = 1..=1 << 53;
const TIERS: std::ops::RangeInclusive<u32> = 1..=7;
/// Longest time on top of the chat, in seconds.
const PIN_SECONDS_MAX: u32 = 18_000;

/// A message that the integrator's server writes, in its own name or a user's.
#[derive(Clone, Debug, Default)]
pub struct Posted {
    /// In whose name; empty: the server's own.
    pub user: String,
    /// What is shown as the name.
    pub name: String,
    pub text: String,
    /// The message that it answers; 0: none.
    pub reply_to: u64,
    pub paid: Option<proto::Paid>,
    /// The same key again gives the same answer and no second message; empty: none. At most
    /// [`POSTED_KEY_BYTES_MAX`].
    pub key: String,
}

impl Room {
    /// A message of the integrator's server. Filters and limits do not hold for it; a highlighted
    /// one is answered once it is safe. The shell says so with [`Room::settled`].
    ///
    /// # Errors
    /// None here: a refusal is an [`Output::Answer`](super::Output::Answer).
    pub fn post(&mut self, now: Now, actor: &Actor, posted: Posted, to: Asker) {
        let print = post_keys::print_of(&posted);
        match self.posts.find(&posted.key, print) {
            Some(Ok(done)) => return self.acknowledge(to, done),
            Some(Err(refusal)) => return self.refuse(to, refusal),
            None => {}
        }
        match self.posted(now, actor, posted, to) {
            Ok(mut draft) => {
                self.posts.begin(&draft, print, to);
                if draft.message.paid.is_none() {
                    let reason = "";
                    let deed = Deed { now, actor, reason };
                    let record = deed.of("message", &draft.message.id.to_string());
                    draft.audit = Some(record.after(&draft.message.text));
                }
                self.unkept.insert(to, draft.message.id);
                self.accept(now, draft);
            }
            Err(refusal) => self.refuse(to, refusal),
        }
    }

    /// What a request over HTTP asked for is safe, or could not be kept: then its message is taken
    /// away again, and it may be asked for once more.
    pub fn settled(&mut self, now: Now, to: Asker, kept: bool) {
        self.posts.settle(to, kept);
        let id = self.unkept.remove(&to);
        if let Some(id) = id.filter(|_| !kept) {
            self.take_away(now, "", |message, _| message == id);
            self.show_entry(now, Entry::Deleted(proto::Deleted { ids: vec![id] }));
        }
    }

    fn posted(
        &mut self,
        now: Now,
        actor: &Actor,
        posted: Posted,
        to: Asker,
    ) -> Result<Draft, Refusal> {
        if self.urgent.len() >= self.config.urgent_max {
            return Err(Refusal::later(Code::Full, self.config.urgent_wait));
        }
        if posted.key.len() > POSTED_KEY_BYTES_MAX || posted.user.len() > USER_BYTES_MAX {
            let detail = "the key and the user have at most 128 bytes";
            return Err(Refusal::because(Code::OutOfRange, detail));
        }
        let text = match posted.text.is_empty() && posted.paid.is_some() {
            // Paying without a word is fine.
            true => String::new(),
            false => self
                .screen
                .clean(&posted.text, self.config.text_chars_max)?,
        };
        let paid = posted.paid.map(checked_paid).transpose()?;
        let server = posted.user.is_empty();
        let name = match posted.name.is_empty() {
            true => posted.user.clone(),
            false => self.screen.clean(&posted.name, NAME_CHARS_MAX)?,
        };
        let known = self.users.get(&*posted.user).map(|user| user.role);
        let role = match server {
            true => ChatRole::Server,
            false => known.unwrap_or(ChatRole::Member),
        };
        let author = proto::Author {
            user: if server {
                actor.user.clone()
            } else {
                posted.user
            },
            name: if server && name.is_empty() {
                actor.user.clone()
            } else {
                name
            },
            role: roles::wire(role).into(),
        };
        let message = self.compose(now, author, text, posted.reply_to, paid);
        Ok(Draft {
            message,
            role: ChatRole::Server,
            visible: true,
            suspicion: None,
            to: Some(to),
            key: posted.key,
            audit: None,
        })
    }
}

fn checked_paid(mut paid: proto::Paid) -> Result<proto::Paid, Refusal> {
    let letters = paid.currency.bytes().all(|byte| byte.is_ascii_alphabetic());
    if paid.currency.len() != CURRENCY_LEN || !letters {
        return Err(Refusal::because(Code::OutOfRange, "currency: ISO 4217"));
    }
    if !AMOUNTS.contains(&paid.amount) {
        return Err(Refusal::because(Code::OutOfRange, "amount: 1 to 2^53"));
    }
    if !TIERS.contains(&paid.tier) {
        return Err(Refusal::because(Code::OutOfRange, "tier: 1 to 7"));
    }
    if paid.pin_seconds > PIN_SECONDS_MAX {
        return Err(Refusal::because(
            Code::OutOfRange,
            "pin_seconds: at most 18000",
        ));
    }
    paid.currency.make_ascii_uppercase();
    Ok(paid)
}
