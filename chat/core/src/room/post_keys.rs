//! Requests of the integrator's server that may come twice: what was answered to them.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, VecDeque};
use std::hash::{Hash as _, Hasher as _};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::draft::Draft;
use super::posting::Posted;
use crate::record::{Asker, Done};
use crate::refusal::{Code, Refusal};

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
    /// Messages that are shown and not kept yet.
    unkept: HashMap<Asker, u64>,
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
            unkept: HashMap::new(),
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
        self.unkept.insert(to, draft.message.id);
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
            user: draft.user().to_owned(),
            print: Some(print),
            waiting: Some(to),
            done: draft.done(false),
        });
    }

    /// What somebody waited for is kept, or could not be: then the key is free again, and the
    /// message that is to be taken away is returned.
    pub(super) fn settle(&mut self, to: Asker, kept: bool) -> Option<u64> {
        self.free_key(to, kept);
        self.unkept.remove(&to).filter(|_| !kept)
    }

    fn free_key(&mut self, to: Asker, kept: bool) {
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

/// The same number for requests that ask for the same.
pub(super) fn print_of(posted: &Posted) -> u64 {
    let mut hasher = DefaultHasher::new();
    let paid = posted.paid.as_ref();
    let paid = paid.map(|paid| (paid.amount, &paid.currency, paid.tier, paid.pin_seconds));
    let said = (&posted.user, &posted.name, &posted.text, posted.reply_to);
    (said, paid).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use lightstick_chat_proto as proto;
    use lightstick_types::ChatRole;

    use super::*;

    fn draft(id: u64, key: &str, paid: bool) -> Draft {
        let message = proto::Message {
            id,
            author: Some(proto::Author {
                user: "mina".into(),
                ..Default::default()
            }),
            text: "hello".into(),
            paid: paid.then(proto::Paid::default),
            ..Default::default()
        };
        Draft {
            message,
            role: ChatRole::Server,
            visible: true,
            suspicion: None,
            to: None,
            key: key.into(),
            audit: None,
        }
    }

    fn code(found: Option<Result<Done, Refusal>>) -> Option<Result<u64, Code>> {
        found.map(|found| found.map(|done| done.id).map_err(|refusal| refusal.code))
    }

    #[test]
    fn a_key_is_one_message_once_it_is_kept() {
        let mut posts = Posts::new(Vec::new());
        let to = Asker::Request(1);
        posts.begin(&draft(5, "a", true), 99, to);
        assert_eq!(code(posts.find("a", 99)), Some(Err(Code::InProgress)));
        assert_eq!(code(posts.find("a", 98)), Some(Err(Code::KeyReused)));
        assert_eq!(posts.settle(to, true), None);
        assert_eq!(code(posts.find("a", 99)), Some(Ok(5)));
        assert_eq!(code(posts.find("", 99)), None, "no key is no key");
        posts.erase("mina");
        assert_eq!(posts.find("a", 99).unwrap().unwrap().text, None);
    }

    #[test]
    fn a_message_that_is_not_kept_frees_its_key() {
        let mut posts = Posts::new(Vec::new());
        let to = Asker::Request(1);
        posts.begin(&draft(5, "a", false), 99, to);
        assert_eq!(posts.settle(to, false), Some(5));
        assert_eq!(code(posts.find("a", 99)), None);
        posts.begin(&draft(6, "", false), 99, to);
        assert_eq!(posts.settle(to, false), Some(6), "without a key as well");
    }

    #[test]
    fn free_messages_push_out_no_paid_one() {
        let mut posts = Posts::new(Vec::new());
        posts.begin(&draft(1, "paid", true), 9, Asker::Request(1));
        for n in 0..=KEYS_MAX as u64 {
            let key = format!("free-{n}");
            posts.begin(&draft(2 + n, &key, false), 9, Asker::Request(2 + n));
        }
        posts.settle(Asker::Request(1), true);
        assert_eq!(code(posts.find("paid", 9)), Some(Ok(1)));
        assert_eq!(code(posts.find("free-0", 9)), None);
    }
}
