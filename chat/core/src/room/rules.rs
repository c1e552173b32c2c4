//! What a message has to pass: the filter, the room's settings and the writer's limits.

use std::collections::VecDeque;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lightstick_chat_proto as proto;
use lightstick_chat_proto::HoldPolicy;
use lightstick_types::rate::Limit;
use lightstick_types::{ChatMember, ChatRole};

use super::allowance::{Allowances, LimitKey};
use crate::config::RoomConfig;
use crate::refusal::{Code, Refusal};
use crate::roles;
use crate::screen::{Judgement, Screen};
use crate::settings::is_emotes_only;

/// Texts that "unique only" remembers.
const RECENT_MAX: usize = 500;

#[derive(Debug)]
pub(super) struct Rules {
    config: Arc<RoomConfig>,
    screen: Screen,
    allowances: Allowances,
    /// Hashes of what was written lately, oldest first: see `unique_only`.
    recent: VecDeque<u64>,
}

impl Rules {
    pub(super) fn new(config: Arc<RoomConfig>, screen: Screen, now: Instant) -> Self {
        Self {
            screen,
            allowances: Allowances::new(&config, now),
            recent: VecDeque::new(),
            config,
        }
    }

    pub(super) fn screen(&self) -> &Screen {
        &self.screen
    }

    /// Takes the terms and rules of other settings.
    pub(super) fn replace_screen(&mut self, screen: Screen) {
        self.screen.replace(screen);
    }

    /// A text as it will be shown.
    pub(super) fn clean(&self, text: &str) -> Result<String, Refusal> {
        self.screen.clean(text, self.config.text_chars_max)
    }

    /// What the room's settings and the filter say of a clean text: why a moderator should look at
    /// it, if one should.
    pub(super) fn judge(
        &mut self,
        now: Instant,
        settings: &proto::Settings,
        member: &ChatMember,
        address: Option<u64>,
        text: &str,
    ) -> Result<Option<String>, Refusal> {
        if settings.muted {
            return Err(Code::Muted.into());
        }
        if settings.members_only && member.role == ChatRole::Guest {
            return Err(Code::MembersOnly.into());
        }
        if settings.emote_only && !is_emotes_only(text, settings) {
            return Err(Code::EmoteOnly.into());
        }
        let who = LimitKey::of(member, address);
        let factor = who.factor(&self.config);
        let number = who.number();
        let slow = &mut self.allowances.of(now, who).slow;
        let wait = slow.wait(now, slow_mode(settings, factor));
        if !wait.is_zero() {
            return Err(Refusal::later(Code::SlowMode, wait));
        }
        if settings.unique_only && self.recent.contains(&hash(text)) {
            return Err(Code::NotUnique.into());
        }
        let hold_all = settings.hold() == HoldPolicy::HoldAll;
        let hold_none = settings.hold() == HoldPolicy::HoldNone && !settings.shield;
        let newcomer = settings.shield && member.role == ChatRole::Guest;
        Ok(match self.screen.judge(now, number, text) {
            Judgement::Blocked(code) => return Err(code.into()),
            Judgement::Suspected(reason) if !hold_none => Some(reason),
            _ if hold_all => Some("hold_all".to_owned()),
            _ if newcomer => Some("shield".to_owned()),
            _ => None,
        })
    }

    /// Takes one message from a user's allowance.
    pub(super) fn spend(
        &mut self,
        now: Instant,
        settings: &proto::Settings,
        member: &ChatMember,
        address: Option<u64>,
    ) -> Result<(), Refusal> {
        let who = LimitKey::of(member, address);
        let factor = who.factor(&self.config);
        let messages = match member.role {
            ChatRole::Bot => self.config.messages_per_bot,
            role if roles::moderates(role) => self.config.messages_per_moderator,
            _ => self.config.messages_per_user,
        };
        let limit = Limit::over(messages.saturating_mul(factor), self.config.rate_window);
        let allowance = self.allowances.of(now, who);
        let taken = allowance.messages.try_take(now, limit);
        taken.map_err(|wait| Refusal::later(Code::RateLimited, wait))?;
        allowance.slow.spend(now, slow_mode(settings, factor));
        Ok(())
    }

    pub(super) fn remember(&mut self, text: &str) {
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(hash(text));
    }
}

/// One message of each user that somebody counts for.
fn slow_mode(settings: &proto::Settings, users: u32) -> Limit {
    Limit::over(users, Duration::from_secs(settings.slow_seconds.into()))
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    for word in text.split_whitespace() {
        word.to_lowercase().hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn member(role: ChatRole) -> ChatMember {
        ChatMember {
            room: "live".parse().unwrap(),
            user: format!("{role:?}"),
            name: "Mina".into(),
            role,
            write: true,
            caption: false,
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            anonymous: false,
            show: true,
        }
    }

    fn rules(now: Instant) -> Rules {
        let config = RoomConfig {
            messages_per_user: 2,
            ..RoomConfig::default()
        };
        let screen = Screen::new(&config.filter, &proto::Settings::default()).unwrap();
        Rules::new(Arc::new(config), screen, now)
    }

    #[test]
    fn settings_say_who_may_write_what() {
        type Change = fn(&mut proto::Settings);
        let hold_all: Change = |settings| settings.set_hold(HoldPolicy::HoldAll);
        let cases: [(Change, Result<Option<&str>, Code>); 7] = [
            (|_| (), Ok(None)),
            (|settings| settings.muted = true, Err(Code::Muted)),
            (
                |settings| settings.members_only = true,
                Err(Code::MembersOnly),
            ),
            (|settings| settings.emote_only = true, Err(Code::EmoteOnly)),
            (|settings| settings.unique_only = true, Err(Code::NotUnique)),
            (hold_all, Ok(Some("hold_all"))),
            (|settings| settings.shield = true, Ok(Some("shield"))),
        ];
        for (at, (change, expected)) in cases.into_iter().enumerate() {
            let now = Instant::now();
            let mut rules = rules(now);
            rules.remember("a FEW  words");
            let mut settings = proto::Settings::default();
            change(&mut settings);
            let guest = member(ChatRole::Guest);
            let judged = rules.judge(now, &settings, &guest, Some(1), "a few words");
            let judged = judged.map_err(|refusal| refusal.code);
            let expected = expected.map(|reason| reason.map(str::to_owned));
            assert_eq!(judged, expected, "case {at}");
        }
    }

    #[test]
    fn limits_are_a_users_or_an_addresss() {
        let now = Instant::now();
        let mut rules = rules(now);
        let settings = proto::Settings::default();
        let mut spend = |role, address| {
            let spent = rules.spend(now, &settings, &member(role), address);
            spent.map_err(|refusal| refusal.code)
        };
        for _ in 0..2 {
            assert_eq!(spend(ChatRole::Member, None), Ok(()));
        }
        assert_eq!(spend(ChatRole::Member, None), Err(Code::RateLimited));
        assert_eq!(spend(ChatRole::Guest, Some(1)), Ok(()));
        assert_eq!(spend(ChatRole::Moderator, None), Ok(()), "has more");
    }
}
