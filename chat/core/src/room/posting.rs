//! Messages that the integrator's server writes, paid ones among them.

use lightstick_chat_proto as proto;
use lightstick_types::ChatRole;

use super::draft::USER_BYTES_MAX;
use super::rules::Rules;
use crate::record::Actor;
use crate::refusal::{Code, Refusal};
use crate::roles;
use crate::screen::NAME_CHARS_MAX;

/// Longest key, in bytes.
pub const POSTED_KEY_BYTES_MAX: usize = 128;
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

/// A post that may be shown.
#[derive(Debug)]
pub(super) struct CheckedPost {
    pub(super) author: proto::Author,
    pub(super) text: String,
    pub(super) reply_to: u64,
    pub(super) paid: Option<proto::Paid>,
    pub(super) key: String,
}

impl Posted {
    /// Checks and cleans it. `role` is that of the user in whose name it is, if that is known.
    pub(super) fn check(
        self,
        rules: &Rules,
        actor: &Actor,
        role: Option<ChatRole>,
    ) -> Result<CheckedPost, Refusal> {
        if self.key.len() > POSTED_KEY_BYTES_MAX || self.user.len() > USER_BYTES_MAX {
            let detail = "the key and the user have at most 128 bytes";
            return Err(Refusal::because(Code::OutOfRange, detail));
        }
        let text = match self.text.is_empty() && self.paid.is_some() {
            // Paying without a word is fine.
            true => String::new(),
            false => rules.clean(&self.text)?,
        };
        let paid = self.paid.map(checked_paid).transpose()?;
        let name = match self.name.is_empty() {
            true => self.user.clone(),
            false => rules.screen().clean(&self.name, NAME_CHARS_MAX)?,
        };
        let author = match self.user.is_empty() {
            true => proto::Author {
                user: actor.user.clone(),
                name: if name.is_empty() {
                    actor.user.clone()
                } else {
                    name
                },
                role: roles::wire(ChatRole::Server).into(),
            },
            false => proto::Author {
                user: self.user,
                name,
                role: roles::wire(role.unwrap_or(ChatRole::Member)).into(),
            },
        };
        Ok(CheckedPost {
            author,
            text,
            reply_to: self.reply_to,
            paid,
            key: self.key,
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
