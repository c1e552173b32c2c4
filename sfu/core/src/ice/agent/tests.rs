use std::net::SocketAddr;

use super::*;

const REMOTE: &str = "them";
const PASSWORD: &str = "password-of-the-peer-24-";
const MS: Duration = Duration::from_millis(1);
const CONSENT: Duration = Duration::from_secs(30);

fn udp(port: u16) -> Route {
    Route::Udp(0, SocketAddr::from(([192, 0, 2, 1], port)))
}

fn tcp(port: u16) -> Route {
    Route::Tcp(SocketAddr::from(([192, 0, 2, 1], port)))
}

fn remote(ufrag: &str) -> Credentials {
    Credentials {
        ufrag: ufrag.to_owned(),
        password: PASSWORD.to_owned(),
    }
}

/// An agent, its peer and the time.
struct World {
    agent: Agent,
    now: Instant,
    /// What the peer knows of the agent.
    local: Credentials,
    known: Vec<Route>,
    retired: Vec<String>,
    transaction: u8,
}

/// What the peer got.
#[derive(Debug)]
struct Got(Route, Vec<u8>);

impl Got {
    fn message(&self) -> Message<'_> {
        Message::parse(&self.1).expect("what we send is sound")
    }
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let agent = Agent::new(&[7; 32], remote(REMOTE), Timing { consent: CONSENT }, now);
        let local = agent.credentials().local.clone();
        Self {
            agent,
            now,
            local,
            known: Vec::new(),
            retired: Vec::new(),
            transaction: 0,
        }
    }

    fn poll(&mut self) -> Vec<Got> {
        let mut got = Vec::new();
        while let Some(output) = self.agent.poll() {
            match output {
                Output::Transmit(to, bytes) => got.push(Got(to, bytes)),
                Output::Known(from) => self.known.push(from),
                Output::Forgotten(from) => self.known.retain(|known| *known != from),
                Output::Retired(ufrag) => self.retired.push(ufrag),
                Output::Routed(to) => assert_eq!(self.agent.route(), Some(to)),
            }
        }
        got
    }

    fn stun(&mut self, from: Route, bytes: &[u8]) -> Vec<Got> {
        let message = Message::parse(bytes).expect("a message");
        let _ = self
            .agent
            .handle_stun(&message, from, bytes.len(), self.now);
        self.poll()
    }

    /// A check of a controlling peer.
    fn check(&mut self, from: Route, nominates: bool) -> Vec<Got> {
        let bytes = self.written(nominates);
        self.stun(from, &bytes)
    }

    fn written(&mut self, nominates: bool) -> Vec<u8> {
        self.transaction += 1;
        let username = format!("{}:{REMOTE}", self.local.ufrag);
        let bytes = stun::nomination([self.transaction; 12], &username, &self.local.password);
        if nominates {
            return bytes;
        }
        stun::bare([self.transaction; 12], &username, &self.local.password)
    }

    /// Answers the checks among what the peer got, as a full agent does.
    fn answer(&mut self, got: &[Got]) -> Vec<Got> {
        let mut more = Vec::new();
        for got in got {
            let request = got.message();
            if request.class == Class::Request {
                let from = SocketAddr::from(([203, 0, 113, 1], 7_700));
                let reply = stun::success(&request, from, PASSWORD);
                more.extend(self.stun(got.0, &reply));
            }
        }
        more
    }

    /// A check that is answered, and whose own check is answered.
    fn prove(&mut self, from: Route, nominates: bool) {
        let got = self.check(from, nominates);
        self.answer(&got);
    }

    /// Time passes; what is due is done. The peer answers at `alive`.
    fn pass(&mut self, time: Duration, alive: &[Route]) -> Vec<Got> {
        let until = self.now + time;
        let mut all = Vec::new();
        while let Some(at) = self.agent.poll_timeout().filter(|at| *at <= until) {
            self.now = at.max(self.now + MS);
            self.agent.handle_timeout(self.now);
            let got = self.poll().into_iter();
            let (answered, rest): (Vec<Got>, Vec<Got>) =
                got.partition(|got| alive.contains(&got.0));
            self.answer(&answered);
            all.extend(answered);
            all.extend(rest);
        }
        self.now = until;
        all
    }
}

type Answer = dyn Fn(&Message<'_>) -> Vec<u8>;

fn classes(got: &[Got]) -> Vec<(Route, Class)> {
    got.iter().map(|got| (got.0, got.message().class)).collect()
}

#[test]
fn a_check_is_answered_and_its_address_asked() {
    let mut world = World::new();
    let got = world.check(udp(1), true);
    assert_eq!(
        classes(&got),
        [(udp(1), Class::Success), (udp(1), Class::Request)]
    );
    assert_eq!(world.known, [udp(1)]);
    let check = got[1].message();
    assert!(check.verify(PASSWORD) && check.controlled);
    assert_eq!(check.recipient(), Some(REMOTE));
    assert_eq!(world.agent.route(), None, "it has not proven itself");
    assert_eq!(world.agent.destination(), Some(udp(1)));
    world.answer(&got);
    assert_eq!(world.agent.route(), Some(udp(1)));
    // The next check proves nothing new.
    assert_eq!(
        classes(&world.check(udp(1), true)),
        [(udp(1), Class::Success)]
    );
}

#[test]
fn any_response_with_our_id_proves_but_only_an_authentic_one_consents() {
    let unauthentic = |request: &Message<'_>| stun::success(request, udp(9).destination(), "no");
    let refused = |request: &Message<'_>| stun::refusal(request, 400, "Bad Request", "no");
    let conflict = |request: &Message<'_>| stun::refusal(request, 487, "Role Conflict", PASSWORD);
    let answers: [&Answer; 3] = [&unauthentic, &refused, &conflict];
    for answer in answers {
        let mut world = World::new();
        let got = world.check(udp(1), true);
        let reply = answer(&got[1].message());
        // From another address it is worth nothing.
        world.stun(udp(2), &reply);
        assert_eq!(world.agent.route(), None);
        world.stun(udp(1), &reply);
        assert_eq!(world.agent.route(), Some(udp(1)));
    }
    // Neither is another id.
    let mut world = World::new();
    let got = world.check(udp(1), true);
    let mut other = unauthentic(&got[1].message());
    other[8] ^= 1;
    world.stun(udp(1), &other);
    assert_eq!(world.agent.route(), None);
}

#[test]
fn strangers_and_wrong_passwords_get_nothing() {
    let mut world = World::new();
    world.local.password.push('x');
    assert!(world.check(udp(1), true).is_empty());
    assert!(world.known.is_empty());
    let mut world = World::new();
    world.local.ufrag.push('x');
    assert!(world.check(udp(1), true).is_empty());
    assert!(world.known.is_empty());
}

#[test]
fn roles_and_unknown_attributes_are_refused_as_the_rfcs_say() {
    let mut world = World::new();
    let username = format!("{}:{REMOTE}", world.local.ufrag);
    let check = stun::Check {
        transaction: [9; 12],
        username: &username,
        priority: 1,
        tie_breaker: u64::MAX,
        password: &world.local.password.clone(),
    };
    let got = world.stun(udp(1), &check.write());
    assert_eq!(got[0].message().error, Some(487));
    assert!(got[0].message().verify(&world.local.password));
}

#[test]
fn our_check_is_repeated_a_few_times() {
    let mut world = World::new();
    let got = world.check(udp(1), true);
    let id = got[1].message().transaction;
    let begun = world.now;
    // Enough bytes for them all.
    world.agent.received(udp(1), 10_000);
    let mut times = Vec::new();
    while let Some(at) = world
        .agent
        .poll_timeout()
        .filter(|at| *at < begun + CONSENT)
    {
        world.now = at;
        world.agent.handle_timeout(at);
        for got in world.poll() {
            assert_eq!(got.message().transaction, id);
            times.push((at - begun).as_millis());
        }
    }
    assert_eq!(times, [500, 1_500, 3_500, 7_500]);
    // Another sign of life is another reason.
    world.now += 100 * MS;
    assert_eq!(world.check(udp(1), false).len(), 2);
    assert_eq!(
        world.check(udp(1), false).len(),
        1,
        "not for each of a burst"
    );
}

#[test]
fn a_single_check_pays_for_its_answer_and_ours() {
    for length in [4, 32, 256] {
        let mut world = World::new();
        let ufrag = "f".repeat(length);
        world.agent = Agent::new(
            &[7; 32],
            remote(&ufrag),
            Timing { consent: CONSENT },
            world.now,
        );
        let username = format!("{}:{ufrag}", world.local.ufrag);
        let small = stun::bare([1; 12], &username, &world.local.password);
        let got = world.stun(Route::Udp(0, "[2001:db8::1]:1".parse().unwrap()), &small);
        assert_eq!(got.len(), 2, "{length}");
    }
}

#[test]
fn a_flight_waits_for_the_proof_at_most() {
    let mut world = World::new();
    let got = world.check(udp(1), true);
    world.agent.received(udp(1), 150);
    assert!(
        world.agent.admit_flight(udp(1), 400),
        "three times what it sent"
    );
    assert!(!world.agent.admit_flight(udp(1), 1_000));
    world.answer(&got);
    assert!(world.agent.admit_flight(udp(1), 1_000));
}

#[test]
fn finishing_the_handshake_proves_only_where_all_of_it_went() {
    let mut world = World::new();
    world.check(udp(1), true);
    world.agent.received(udp(1), 100);
    assert!(world.agent.admit_flight(udp(1), 100));
    world.agent.handle_connected(udp(1), world.now);
    assert_eq!(world.agent.route(), Some(udp(1)));
    // The peer hears us at one address, and finishes from another one that it only claims.
    let mut world = World::new();
    world.check(udp(1), false);
    world.check(udp(2), true);
    world.agent.received(udp(1), 100);
    assert!(world.agent.admit_flight(udp(1), 100));
    world.agent.handle_connected(udp(2), world.now);
    assert_eq!(world.agent.route(), None);
}

#[test]
fn media_goes_where_the_peer_nominates() {
    let mut world = World::new();
    world.prove(udp(1), false);
    assert_eq!(world.agent.route(), Some(udp(1)), "better than nowhere");
    world.prove(udp(2), true);
    assert_eq!(world.agent.route(), Some(udp(2)));
    world.prove(udp(1), true);
    assert_eq!(world.agent.route(), Some(udp(1)));
    // Not before the address hears us.
    world.check(udp(3), true);
    assert_eq!(world.agent.route(), Some(udp(1)));
}

#[test]
fn aggressive_nomination_does_not_swing() {
    let mut world = World::new();
    world.prove(udp(1), true);
    world.prove(udp(2), true);
    let settled = world.agent.route();
    for _ in 0..20 {
        world.pass(100 * MS, &[udp(1), udp(2)]);
        world.check(udp(1), true);
        world.check(udp(2), true);
        assert_eq!(world.agent.route(), settled);
    }
}

/// A rebound NAT: the peer's checks come from another port, and nothing is nominated again.
#[test]
fn a_silent_route_is_left_for_an_address_that_is_heard() {
    let mut world = World::new();
    world.prove(udp(1), true);
    world.pass(5 * Duration::from_secs(1), &[]);
    let sign = world.now;
    let got = world.check(udp(2), false);
    world.answer(&got);
    assert_eq!(world.agent.route(), Some(udp(1)), "it is asked first");
    world.pass(600 * MS, &[]);
    assert_eq!(world.agent.route(), Some(udp(2)));
    assert!(world.now - sign <= Duration::from_secs(3));
}

#[test]
fn a_route_that_answers_stays() {
    let mut world = World::new();
    world.prove(udp(1), true);
    for _ in 0..20 {
        world.pass(2_400 * MS, &[udp(1), udp(2)]);
        let mut got = world.check(udp(2), false);
        while !got.is_empty() {
            got = world.answer(&got);
        }
        world.pass(100 * MS, &[udp(1), udp(2)]);
        assert_eq!(world.agent.route(), Some(udp(1)));
    }
}

#[test]
fn media_from_another_address_moves_the_route_at_once() {
    let mut world = World::new();
    world.prove(udp(1), true);
    world.agent.handle_media(udp(1), 100, world.now);
    world.pass(400 * MS, &[]);
    world.agent.handle_media(udp(2), 100, world.now);
    let got = world.poll();
    assert_eq!(
        classes(&got),
        [(udp(2), Class::Request)],
        "it is asked first"
    );
    assert_eq!(world.agent.route(), Some(udp(1)));
    world.answer(&got);
    assert_eq!(world.agent.route(), Some(udp(2)));
    // What was still on its way changes nothing.
    world.agent.handle_media(udp(1), 100, world.now);
    assert_eq!(world.agent.route(), Some(udp(2)));
    world.pass(100 * MS, &[]);
    world.agent.handle_media(udp(2), 100, world.now);
    assert_eq!(world.agent.route(), Some(udp(2)));
}

#[test]
fn a_publisher_that_answers_no_check_gets_what_it_earns_elsewhere() {
    let mut world = World::new();
    world.check(udp(1), true);
    world.agent.received(udp(1), 100);
    assert!(world.agent.admit_flight(udp(1), 100));
    world.agent.handle_connected(udp(1), world.now);
    for _ in 0..30 {
        world.pass(100 * MS, &[]);
        world.agent.received(udp(2), 1_000);
        world.agent.handle_media(udp(2), 1_000, world.now);
    }
    assert_eq!(world.agent.route(), None);
    assert_eq!(world.agent.destination(), Some(udp(2)));
    assert!(world.agent.admit(udp(2), 100));
    assert!(world.agent.expires_at() > world.now + CONSENT - MS);
}

#[test]
fn consent_is_renewed_by_media_and_by_answers() {
    let mut world = World::new();
    world.prove(udp(1), true);
    let begun = world.now;
    world.pass(Duration::from_secs(25), &[udp(1)]);
    assert!(
        world.agent.expires_at() > begun + Duration::from_secs(45),
        "we asked"
    );
    let mut world = World::new();
    world.prove(udp(1), true);
    world.pass(Duration::from_secs(25), &[]);
    world.agent.handle_media(udp(1), 100, world.now);
    assert_eq!(world.agent.expires_at(), world.now + CONSENT);
}

#[test]
fn replayed_checks_keep_nobody_alive() {
    let mut world = World::new();
    world.prove(udp(1), true);
    let replayed = world.written(true);
    let begun = world.now;
    world.stun(udp(1), &replayed);
    for _ in 0..40 {
        world.pass(Duration::from_secs(1), &[]);
        world.stun(udp(1), &replayed);
    }
    assert_eq!(world.agent.expires_at(), begun + CONSENT);
    assert_eq!(world.agent.route(), None, "nothing is sent there either");
}

/// One that never answers us has nothing else to show.
#[test]
fn checks_are_consent_of_a_peer_that_never_answers_ours() {
    let mut world = World::new();
    world.check(udp(1), true);
    world.agent.received(udp(1), 100);
    assert!(world.agent.admit_flight(udp(1), 100));
    world.agent.handle_connected(udp(1), world.now);
    for _ in 0..20 {
        world.pass(Duration::from_secs(5), &[]);
        world.check(udp(1), true);
        assert_eq!(world.agent.route(), Some(udp(1)));
        assert_eq!(world.agent.expires_at(), world.now + CONSENT);
    }
}

#[test]
fn former_credentials_hold_until_the_latest_are_used() {
    let mut world = World::new();
    world.prove(udp(1), true);
    let former = world.local.clone();
    let latest = world.agent.restart(remote("next")).clone();
    assert_ne!(former, latest);
    assert_eq!(
        classes(&world.check(udp(1), true)),
        [(udp(1), Class::Success)]
    );
    assert_eq!(world.agent.route(), Some(udp(1)));
    // A rebound NAT in the middle of it.
    let got = world.check(udp(2), true);
    assert_eq!(got[1].message().recipient(), Some(REMOTE));
    world.answer(&got);
    assert_eq!(world.agent.route(), Some(udp(2)));
    assert!(world.retired.is_empty());
    world.local = latest.clone();
    let got = world.check(udp(3), true);
    assert_eq!(got[1].message().recipient(), Some("next"));
    assert!(world.retired.is_empty());
    world.answer(&got);
    assert_eq!(world.retired, std::slice::from_ref(&former.ufrag));
    assert_eq!(world.agent.route(), Some(udp(3)));
    world.local = former;
    assert!(world.check(udp(3), true).is_empty());
    // Two restarts in a row: those between were never used.
    let first = world.agent.restart(remote("a")).clone();
    world.agent.restart(remote("b"));
    world.poll();
    assert_eq!(world.retired[1..], [first.ufrag]);
    world.local = latest;
    assert_eq!(
        world.check(udp(3), false).len(),
        1,
        "what it has used is still good"
    );
}

#[test]
fn tcp_has_proven_itself() {
    let mut world = World::new();
    world.prove(udp(1), true);
    assert_eq!(
        classes(&world.check(tcp(1), true)),
        [(tcp(1), Class::Success)]
    );
    assert_eq!(world.agent.route(), Some(tcp(1)));
}

#[test]
fn a_flood_of_addresses_keeps_the_route() {
    let mut world = World::new();
    world.prove(udp(1), true);
    for port in 2..200 {
        world.now += MS;
        world.check(udp(port), false);
    }
    assert_eq!(world.known.len(), Agent::PATHS_MAX);
    assert!(world.known.contains(&udp(1)));
    assert_eq!(world.agent.route(), Some(udp(1)));
}
