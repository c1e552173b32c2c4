//! Who is there: connections, the users behind them, and their names.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lightstick_types::rate::{Bucket, Limit};
use lightstick_types::{ChatMember, ChatRole};

use crate::now::Now;
use crate::record::{Asker, ClientKey, Done};

/// How long a user is remembered whose last connection has gone: long enough to come back by
/// another transport and ask again with the same nonce.
pub(super) const LINGER: Duration = Duration::from_secs(60);
/// Answers that are remembered for each user.
const NONCES_MAX: usize = 64;
/// Hellos of one connection.
const HELLOS: Limit = Limit::over(5, Duration::from_secs(30));
/// Personal copies of messages that were left out, for each user.
const DIRECT: Limit = Limit::over(3, Duration::from_secs(1));

#[derive(Debug)]
struct Client {
    member: Arc<ChatMember>,
    reactions: Bucket,
    /// Each hello is answered with all that the room shows.
    hellos: Bucket,
}

/// Somebody, over all connections and for a while after the last.
#[derive(Debug)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) role: ChatRole,
    /// A keyed hash of the address of the latest connection.
    pub(super) address: u64,
    /// Came without a token.
    pub(super) anonymous: bool,
    pub(super) clients: Vec<ClientKey>,
    /// What was answered to the last requests; `None`: not yet.
    nonces: VecDeque<(u64, Option<Done>)>,
    /// Limits personal copies of messages.
    direct: Bucket,
    /// After its last connection: see [`Crowd::leaving`].
    forget_at: Instant,
}

impl User {
    fn new(member: &ChatMember, address: u64, now: Instant) -> Self {
        Self {
            name: String::new(),
            role: member.role,
            address,
            anonymous: member.anonymous,
            clients: Vec::new(),
            nonces: VecDeque::new(),
            direct: Bucket::default(),
            forget_at: now,
        }
    }

    /// Remembers a request and its answer, `None`: not answered yet.
    pub(super) fn remember(&mut self, nonce: u64, done: Option<Done>) {
        if let Some(known) = self.nonces.iter_mut().find(|(known, _)| *known == nonce) {
            known.1 = done;
            return;
        }
        if self.nonces.len() == NONCES_MAX {
            self.nonces.pop_front();
        }
        self.nonces.push_back((nonce, done));
    }

    pub(super) fn forget(&mut self, nonce: u64) {
        self.nonces.retain(|(known, _)| *known != nonce);
    }

    /// Whether it may be sent a personal copy of a message now.
    pub(super) fn take_direct(&mut self, now: Instant) -> bool {
        !self.clients.is_empty() && self.direct.take(now, DIRECT)
    }
}

#[derive(Debug, Default)]
pub(super) struct Crowd {
    clients: HashMap<ClientKey, Client>,
    users: HashMap<Arc<str>, User>,
    /// Names as they are mentioned: see [`folded`].
    names: HashMap<Box<str>, Arc<str>>,
    /// Users whose last connection has gone, in the order in which they are forgotten.
    leaving: VecDeque<(Instant, Arc<str>)>,
}

impl Crowd {
    pub(super) fn connect(
        &mut self,
        now: Now,
        client: ClientKey,
        member: Arc<ChatMember>,
        address: u64,
    ) {
        let user = self.key(&member.user);
        let state = self
            .users
            .entry(Arc::clone(&user))
            .or_insert_with(|| User::new(&member, address, now.at));
        (state.role, state.address) = (member.role, address);
        state.anonymous = member.anonymous;
        state.clients.push(client);
        if state.name != member.name {
            let before = std::mem::replace(&mut state.name, member.name.clone());
            self.forget_name(&before, &user);
            self.names.insert(folded(&member.name), user);
        }
        let state = Client {
            member,
            reactions: Bucket::default(),
            hellos: Bucket::default(),
        };
        self.clients.insert(client, state);
    }

    /// False: there is no such connection.
    pub(super) fn disconnect(&mut self, now: Now, client: ClientKey) -> bool {
        let Some(state) = self.clients.remove(&client) else {
            return false;
        };
        let user = self.key(&state.member.user);
        let Some(state) = self.users.get_mut(&user) else {
            return false;
        };
        state.clients.retain(|other| *other != client);
        state.forget_at = now.at + LINGER;
        if state.clients.is_empty() {
            self.leaving.push_back((state.forget_at, user));
        }
        true
    }

    /// Who is behind a connection.
    pub(super) fn member(&self, client: ClientKey) -> Option<Arc<ChatMember>> {
        Some(Arc::clone(&self.clients.get(&client)?.member))
    }

    pub(super) fn present(&self) -> usize {
        self.clients.len()
    }

    /// Nobody is there, and nobody is remembered.
    pub(super) fn is_empty(&self) -> bool {
        self.clients.is_empty() && self.users.is_empty()
    }

    pub(super) fn user(&self, user: &str) -> Option<&User> {
        self.users.get(user)
    }

    pub(super) fn user_mut(&mut self, user: &str) -> Option<&mut User> {
        self.users.get_mut(user)
    }

    /// A user's name as it is shared.
    pub(super) fn key(&self, user: &str) -> Arc<str> {
        let known = self.users.get_key_value(user);
        known.map_or_else(|| user.into(), |(user, _)| Arc::clone(user))
    }

    pub(super) fn role_of(&self, user: &str) -> Option<ChatRole> {
        Some(self.users.get(user)?.role)
    }

    /// The address that sanctions and limits go by; `None`: a token says who it is.
    pub(super) fn address_of(&self, member: &ChatMember) -> Option<u64> {
        let user = self.users.get(&*member.user)?;
        member.anonymous.then_some(user.address)
    }

    /// The user that a text mentions by a name.
    pub(super) fn mentioned(&self, name: &str) -> Option<&Arc<str>> {
        self.names.get(&folded(name))
    }

    /// Names of who is there, where they are few.
    pub(super) fn present_names(&self, names_max: usize) -> Option<Vec<String>> {
        let small = self.users.len() <= names_max;
        small.then(|| {
            let here = self.users.values().filter(|user| !user.clients.is_empty());
            let mut names: Vec<_> = here.map(|user| user.name.clone()).collect();
            names.sort_unstable();
            names
        })
    }

    /// What was answered to a request of a user; the inner `None`: nothing yet.
    pub(super) fn answered(&self, user: &str, nonce: u64) -> Option<&Option<Done>> {
        let user = self.users.get(user)?;
        let known = user.nonces.iter().find(|(known, _)| *known == nonce)?;
        Some(&known.1)
    }

    /// Remembers the answer to a request of a user.
    pub(super) fn remember(&mut self, user: &str, to: Asker, done: &Done) {
        if let Asker::Client { nonce, .. } = to
            && nonce != 0
            && let Some(user) = self.users.get_mut(user)
        {
            user.remember(nonce, Some(done.clone()));
        }
    }

    /// Takes one hello of a connection.
    ///
    /// # Errors
    /// After what time to try again.
    pub(super) fn take_hello(&mut self, now: Instant, client: ClientKey) -> Result<(), Duration> {
        match self.clients.get_mut(&client) {
            Some(state) => state.hellos.try_take(now, HELLOS),
            None => Ok(()),
        }
    }

    /// How many of a connection's reactions count.
    pub(super) fn take_reactions(
        &mut self,
        now: Instant,
        client: ClientKey,
        per_second: u32,
        count: u32,
    ) -> u32 {
        let limit = Limit::over(per_second, Duration::from_secs(1));
        self.clients
            .get_mut(&client)
            .map_or(0, |state| state.reactions.take_up_to(count, now, limit))
    }

    /// When somebody is to be forgotten.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.leaving.front().map(|(at, _)| *at)
    }

    /// Forgets users whose last connection has been gone for [`LINGER`].
    pub(super) fn handle_timeout(&mut self, now: Now) {
        while let Some((at, user)) = self.leaving.pop_front_if(|(at, _)| *at <= now.at) {
            // It may have come, and perhaps gone again, meanwhile.
            let gone = |state: &User| state.clients.is_empty() && state.forget_at == at;
            if self.users.get(&user).is_some_and(gone)
                && let Some(state) = self.users.remove(&user)
            {
                self.forget_name(&state.name, &user);
            }
        }
    }

    fn forget_name(&mut self, name: &str, user: &Arc<str>) {
        let name = folded(name);
        if self.names.get(&name) == Some(user) {
            self.names.remove(&name);
        }
    }
}

/// A name as it is mentioned: without case and spaces.
fn folded(name: &str) -> Box<str> {
    let chars = name.chars().filter(|c| !c.is_whitespace());
    chars
        .flat_map(char::to_lowercase)
        .collect::<String>()
        .into()
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn member(user: &str, name: &str) -> Arc<ChatMember> {
        Arc::new(ChatMember {
            room: "live".parse().unwrap(),
            user: user.into(),
            name: name.into(),
            role: ChatRole::Guest,
            write: true,
            caption: false,
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            anonymous: true,
            show: true,
        })
    }

    fn now() -> Now {
        Now {
            at: Instant::now(),
            unix_ms: 0,
        }
    }

    #[test]
    fn a_user_outlives_its_connections_for_a_while() {
        let mut crowd = Crowd::default();
        let start = now();
        crowd.connect(start, ClientKey(1), member("u1", "Mina Kim"), 7);
        crowd.connect(start, ClientKey(2), member("u1", "Mina Kim"), 8);
        assert_eq!(crowd.user("u1").unwrap().address, 8, "the latest");
        assert_eq!(crowd.mentioned("MINAkim").map(|user| &**user), Some("u1"));
        assert_eq!(crowd.present(), 2);
        assert!(crowd.disconnect(start, ClientKey(1)));
        assert_eq!(crowd.deadline(), None, "one connection is left");
        assert!(crowd.disconnect(start, ClientKey(2)));
        assert!(!crowd.disconnect(start, ClientKey(2)));
        let back = start.after(LINGER / 2);
        crowd.connect(back, ClientKey(3), member("u1", "Mina"), 7);
        crowd.disconnect(back, ClientKey(3));
        crowd.handle_timeout(start.after(LINGER));
        assert!(crowd.user("u1").is_some(), "it came back meanwhile");
        crowd.handle_timeout(back.after(LINGER));
        assert!(crowd.is_empty() && crowd.names.is_empty() && crowd.leaving.is_empty());
    }

    #[test]
    fn a_name_belongs_to_who_took_it_last() {
        let mut crowd = Crowd::default();
        let start = now();
        crowd.connect(start, ClientKey(1), member("u1", "mina"), 7);
        crowd.connect(start, ClientKey(2), member("u2", "Mina"), 7);
        crowd.disconnect(start, ClientKey(1));
        crowd.handle_timeout(start.after(LINGER));
        assert_eq!(crowd.mentioned("mina").map(|user| &**user), Some("u2"));
        assert_eq!(crowd.present_names(1), Some(vec!["Mina".to_owned()]));
        assert_eq!(crowd.present_names(0), None);
    }

    #[test]
    fn a_user_remembers_its_last_answers() {
        let mut crowd = Crowd::default();
        crowd.connect(now(), ClientKey(1), member("u1", "mina"), 7);
        let client = ClientKey(1);
        for nonce in 0..=NONCES_MAX as u64 + 1 {
            let done = Done {
                id: nonce,
                ..Done::default()
            };
            crowd.remember("u1", Asker::Client { client, nonce }, &done);
        }
        assert!(crowd.answered("u1", 0).is_none(), "0 is no nonce");
        assert!(crowd.answered("u1", 1).is_none(), "the oldest went");
        let last = crowd.answered("u1", NONCES_MAX as u64).unwrap();
        assert_eq!(last.as_ref().unwrap().id, NONCES_MAX as u64);
        crowd.user_mut("u1").unwrap().forget(5);
        assert!(crowd.answered("u1", 5).is_none());
    }

    #[test]
    fn hellos_and_reactions_are_limited() {
        let mut crowd = Crowd::default();
        let start = now();
        crowd.connect(start, ClientKey(1), member("u1", "mina"), 7);
        for _ in 0..HELLOS.burst {
            assert!(crowd.take_hello(start.at, ClientKey(1)).is_ok());
        }
        let wait = crowd.take_hello(start.at, ClientKey(1)).unwrap_err();
        assert!(crowd.take_hello(start.at + wait, ClientKey(1)).is_ok());
        assert_eq!(crowd.take_reactions(start.at, ClientKey(1), 10, 25), 10);
        assert_eq!(crowd.take_reactions(start.at, ClientKey(9), 10, 25), 0);
    }
}
