//! Who may not write, and until when.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::now::Now;
use crate::refusal::{Code, Refusal};

/// What was imposed on a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SanctionKind {
    /// Until somebody ends it.
    Ban,
    /// Until it is over.
    Timeout,
    /// The user does not know: only they see what they write.
    Shadow,
}

/// A ban, a timeout or a shadow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sanction {
    /// Which of them.
    pub kind: SanctionKind,
    /// When a timeout is over, in milliseconds of the Unix time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
    /// Who imposed it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When, in milliseconds of the Unix time.
    pub at_ms: u64,
    /// A keyed hash of the address it is for as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<u64>,
}

impl Sanction {
    fn is_over(&self, now: Now) -> bool {
        self.until_ms.is_some_and(|until| until <= now.unix_ms)
    }
}

/// All sanctions of a room.
#[derive(Debug, Default)]
pub(crate) struct Sanctions {
    by_user: HashMap<String, Sanction>,
    /// Whose sanction holds for an address.
    by_address: HashMap<u64, String>,
}

impl Sanctions {
    pub(crate) fn len(&self) -> usize {
        self.by_user.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Sanction)> {
        self.by_user
            .iter()
            .map(|(user, sanction)| (&**user, sanction))
    }

    pub(crate) fn of(&self, user: &str, now: Now) -> Option<&Sanction> {
        let sanction = self.by_user.get(user)?;
        (!sanction.is_over(now)).then_some(sanction)
    }

    /// Forgets why a user was sanctioned, and whom a user has sanctioned: not that they were. Returns
    /// whose have changed.
    pub(crate) fn erase(&mut self, user: &str) -> Vec<String> {
        let mut changed = Vec::new();
        for (whose, sanction) in &mut self.by_user {
            let own = whose == user && !sanction.reason.is_empty();
            if own {
                sanction.reason.clear();
            }
            if sanction.by == user {
                sanction.by.clear();
            } else if !own {
                continue;
            }
            changed.push(whose.clone());
        }
        changed
    }

    /// What holds for a user at an address.
    pub(crate) fn holds(&self, user: &str, address: u64, now: Now) -> Option<&Sanction> {
        self.of(user, now).or_else(|| {
            let other = self.by_address.get(&address)?;
            self.of(other, now)
        })
    }

    /// Imposes a sanction; the one before is returned.
    pub(crate) fn impose(&mut self, user: &str, sanction: Sanction) -> Option<Sanction> {
        let before = self.lift(user);
        if let Some(address) = sanction.address {
            self.by_address.insert(address, user.to_owned());
        }
        self.by_user.insert(user.to_owned(), sanction);
        before
    }

    pub(crate) fn lift(&mut self, user: &str) -> Option<Sanction> {
        let before = self.by_user.remove(user)?;
        if let Some(address) = before.address
            && self
                .by_address
                .get(&address)
                .is_some_and(|owner| owner == user)
        {
            self.by_address.remove(&address);
        }
        Some(before)
    }

    /// Forgets what is over. Returns whose.
    pub(crate) fn forget_past(&mut self, now: Now) -> Vec<String> {
        let past = self
            .by_user
            .iter()
            .filter(|(_, sanction)| sanction.is_over(now));
        let users: Vec<_> = past.map(|(user, _)| user.clone()).collect();
        for user in &users {
            self.lift(user);
        }
        users
    }

    /// Whether a user may write; whether others will see it.
    pub(crate) fn check(&self, user: &str, address: u64, now: Now) -> Result<Visible, Refusal> {
        let Some(sanction) = self.holds(user, address, now) else {
            return Ok(Visible::Everybody);
        };
        match sanction.kind {
            SanctionKind::Shadow => Ok(Visible::AuthorOnly),
            SanctionKind::Ban => Err(Code::Banned.into()),
            SanctionKind::Timeout => {
                let left = sanction.until_ms.unwrap_or(0).saturating_sub(now.unix_ms);
                Err(Refusal::later(Code::TimedOut, Duration::from_millis(left)))
            }
        }
    }
}

/// Who sees what a user writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visible {
    Everybody,
    AuthorOnly,
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn sanction(kind: SanctionKind, until_ms: Option<u64>, address: Option<u64>) -> Sanction {
        Sanction {
            kind,
            until_ms,
            by: "mod".into(),
            reason: String::new(),
            at_ms: 0,
            address,
        }
    }

    #[test]
    fn timeouts_end_and_bans_follow_the_address() {
        let now = Now {
            at: Instant::now(),
            unix_ms: 1_000,
        };
        let mut all = Sanctions::default();
        all.impose("a", sanction(SanctionKind::Timeout, Some(3_000), None));
        all.impose("b", sanction(SanctionKind::Ban, None, Some(7)));
        all.impose("c", sanction(SanctionKind::Shadow, None, None));
        let refusal = all.check("a", 1, now).unwrap_err();
        assert_eq!(
            refusal,
            Refusal::later(Code::TimedOut, Duration::from_secs(2))
        );
        assert_eq!(all.check("b", 1, now).unwrap_err().code, Code::Banned);
        assert_eq!(all.check("new", 7, now).unwrap_err().code, Code::Banned);
        assert_eq!(all.check("c", 1, now), Ok(Visible::AuthorOnly));
        assert_eq!(all.check("d", 1, now), Ok(Visible::Everybody));
        let later = now.after(Duration::from_secs(2));
        assert_eq!(all.check("a", 1, later), Ok(Visible::Everybody));
        assert_eq!(all.forget_past(later), ["a"]);
        all.lift("b");
        assert_eq!(all.check("new", 7, later), Ok(Visible::Everybody));
        assert_eq!(all.len(), 1);
    }
}
