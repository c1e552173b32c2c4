//! Requests of the integrator's server that may come twice: what was answered to them.

use std::collections::VecDeque;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::posting::Posted;
use super::write::{Draft, user_of};
use crate::record::{Asker, Done};
use crate::refusal::{Code, Refusal};

/// Longest key, in bytes.
pub const POSTED_KEY_BYTES_MAX: usize = 128;
/// Keys that are remembered: of highlighted messages, and of others. The oldest are forgotten.
const KEYS_MAX: usize = 1_000;
/// When to ask again about a request that is being worked on.
const AGAIN: Duration = Duration::from_secs(1);

/// A highlighted message that was kept in an earlier life of the room, with its key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeptPost {
    /// Of [`Posted`].
    pub key: String,
    pub id: u64,
    /// Milliseconds of the Unix time.
    pub at_ms: u64,
    /// Whose message it is.
    pub user: String,
    /// As it was shown.
    pub text: String,
}

#[derive(Debug)]
struct Post {
    key: String,
    user: String,
    /// Of what was asked for; `None`: in an earlier life of the room, when nobody took one.
    print: Option<u64>,
    /// Who waits to hear that it is kept.
    waiting: Option<Asker>,
    done: Done,
}

/// The keys of a room.
#[derive(Debug)]
pub(super) struct Posts {
    /// Kept apart: many free messages must not push out one that costs money when it comes twice.
    paid: VecDeque<Post>,
    free: VecDeque<Post>,
}

impl Posts {
    /// With what the archive knows, oldest first.
    pub(super) fn new(kept: Vec<KeptPost>) -> Self {
        let skip = kept.len().saturating_sub(KEYS_MAX);
        let posts = kept.into_iter().skip(skip).map(|kept| Post {
            key: kept.key,
            user: kept.user,
            print: None,
            waiting: None,
            done: Done {
                id: kept.id,
                held: false,
                at_ms: kept.at_ms,
                text: Some(kept.text),
            },
        });
        Self {
            paid: posts.collect(),
            free: VecDeque::new(),
        }
    }

    /// What was answered to this key; `None`: it is new.
    pub(super) fn find(&self, key: &str, print: u64) -> Option<Result<Done, Refusal>> {
        if key.is_empty() {
            return None;
        }
        let mut posts = self.paid.iter().chain(&self.free).rev();
        let post = posts.find(|post| post.key == key)?;
        if post.print.is_some_and(|known| known != print) {
            return Some(Err(Code::KeyReused.into()));
        }
        Some(match post.waiting {
            // Not the same answer yet: it may still come to nothing.
            Some(_) => Err(Refusal::later(Code::InProgress, AGAIN)),
            None => Ok(post.done.clone()),
        })
    }

    /// A message was accepted and is not kept yet.
    pub(super) fn begin(&mut self, draft: &Draft, print: u64, to: Asker) {
        if draft.key.is_empty() {
            return;
        }
        let message = &draft.message;
        let ring = match message.paid {
            Some(_) => &mut self.paid,
            None => &mut self.free,
        };
        if ring.len() == KEYS_MAX {
            ring.pop_front();
        }
        ring.push_back(Post {
            key: draft.key.clone(),
            user: user_of(message).to_owned(),
            print: Some(print),
            waiting: Some(to),
            done: Done {
                id: message.id,
                held: false,
                at_ms: message.at_ms,
                text: Some(message.text.clone()),
            },
        });
    }

    /// What somebody waited for is kept, or could not be: then the key is free again.
    pub(super) fn settle(&mut self, to: Asker, kept: bool) {
        for ring in [&mut self.paid, &mut self.free] {
            let mut newest = ring.iter_mut().rev();
            if let Some(post) = newest.find(|post| post.waiting == Some(to)) {
                post.waiting = None;
                let id = post.done.id;
                if !kept {
                    ring.retain(|post| post.done.id != id);
                }
                return;
            }
        }
    }

    /// Forgets what a user's messages said.
    pub(super) fn erase(&mut self, user: &str) {
        for post in self.paid.iter_mut().chain(&mut self.free) {
            if post.user == user {
                post.user.clear();
                post.done.text = None;
            }
        }
    }
}

/// Says whether two requests ask for the same.
pub(super) fn print_of(posted: &Posted) -> u64 {
    let mut hasher = DefaultHasher::new();
    let paid = posted.paid.as_ref();
    let paid = paid.map(|paid| (paid.amount, &paid.currency, paid.tier, paid.pin_seconds));
    let said = (&posted.user, &posted.name, &posted.text, posted.reply_to);
    (said, paid).hash(&mut hasher);
    hasher.finish()
}
