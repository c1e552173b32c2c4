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
    pub kind: SanctionKind,
    /// When a timeout is over, in milliseconds of the Unix time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
    /// Who imposed it.
    pub by: String,
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

    /// How hard it is.
    fn weight(&self) -> (u8, u64) {
        let kind = match self.kind {
            SanctionKind::Shadow => 0,
            SanctionKind::Timeout => 1,
            SanctionKind::Ban => 2,
        };
        (kind, self.until_ms.unwrap_or(0))
    }
}

#[derive(Debug, Default)]
pub(crate) struct Sanctions {
    by_user: HashMap<String, Sanction>,
    /// Whose sanctions hold for an address.
    by_address: HashMap<u64, Vec<String>>,
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

    /// What a user has, also if it is over.
    pub(crate) fn get(&self, user: &str) -> Option<&Sanction> {
        self.by_user.get(user)
    }

    /// What is left of the sanctions that say why a user was sanctioned, or whom a user has
    /// sanctioned: not that they were. `None`: it is over.
    pub(crate) fn erased(&self, user: &str, now: Now) -> Vec<(String, Option<Sanction>)> {
        let named = self.by_user.iter().filter(|(whose, sanction)| {
            (*whose == user && !sanction.reason.is_empty()) || sanction.by == user
        });
        named
            .map(|(whose, sanction)| {
                let mut left = sanction.clone();
                if whose == user {
                    left.reason.clear();
                }
                if left.by == user {
                    left.by.clear();
                }
                (whose.clone(), (!left.is_over(now)).then_some(left))
            })
            .collect()
    }

    /// What holds for a user, or for whoever has no token at an address, and whose it is. The
    /// hardest, where there are several.
    pub(crate) fn holds(
        &self,
        user: &str,
        address: Option<u64>,
        now: Now,
    ) -> Option<(&str, &Sanction)> {
        let same = address.and_then(|address| self.by_address.get(&address));
        let others = same.into_iter().flatten().map(String::as_str);
        let all = [user].into_iter().chain(others).filter_map(|user| {
            let (user, sanction) = self.by_user.get_key_value(user)?;
            (!sanction.is_over(now)).then_some((user.as_str(), sanction))
        });
        all.max_by_key(|(_, sanction)| sanction.weight())
    }

    /// Imposes a sanction; the one before is returned.
    pub(crate) fn impose(&mut self, user: &str, sanction: Sanction) -> Option<Sanction> {
        let before = self.lift(user);
        if let Some(address) = sanction.address {
            let users = self.by_address.entry(address).or_default();
            users.push(user.to_owned());
        }
        self.by_user.insert(user.to_owned(), sanction);
        before
    }

    pub(crate) fn lift(&mut self, user: &str) -> Option<Sanction> {
        let before = self.by_user.remove(user)?;
        if let Some(address) = before.address
            && let Some(users) = self.by_address.get_mut(&address)
        {
            users.retain(|other| other != user);
            if users.is_empty() {
                self.by_address.remove(&address);
            }
        }
        Some(before)
    }

    /// Whose sanctions are over.
    pub(crate) fn past(&self, now: Now) -> Vec<String> {
        let past = self.by_user.iter();
        past.filter(|(_, sanction)| sanction.is_over(now))
            .map(|(user, _)| user.clone())
            .collect()
    }

    /// Whether a user may write; whether others will see it.
    pub(crate) fn check(
        &self,
        user: &str,
        address: Option<u64>,
        now: Now,
    ) -> Result<Visible, Refusal> {
        let Some((_, sanction)) = self.holds(user, address, now) else {
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
        let refusal = all.check("a", None, now).unwrap_err();
        assert_eq!(
            refusal,
            Refusal::later(Code::TimedOut, Duration::from_secs(2))
        );
        let code =
            |all: &Sanctions, user, address| all.check(user, address, now).map_err(|r| r.code);
        assert_eq!(code(&all, "b", Some(1)), Err(Code::Banned));
        assert_eq!(code(&all, "new", Some(7)), Err(Code::Banned));
        assert_eq!(
            code(&all, "fan", None),
            Ok(Visible::Everybody),
            "a token is no address"
        );
        assert_eq!(code(&all, "c", Some(1)), Ok(Visible::AuthorOnly));
        assert_eq!(code(&all, "d", Some(1)), Ok(Visible::Everybody));
        let later = now.after(Duration::from_secs(2));
        assert_eq!(all.check("a", None, later), Ok(Visible::Everybody));
        assert_eq!(all.past(later), ["a"]);
        // A second guest who is timed out there takes nothing from the first one's ban.
        all.impose("e", sanction(SanctionKind::Timeout, Some(3_000), Some(7)));
        assert_eq!(code(&all, "new", Some(7)), Err(Code::Banned));
        all.lift("e");
        assert_eq!(code(&all, "new", Some(7)), Err(Code::Banned));
        all.lift("b");
        assert_eq!(code(&all, "new", Some(7)), Ok(Visible::Everybody));
        assert_eq!(all.len(), 2);
    }
}
