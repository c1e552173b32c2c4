//! What an address that never answers gets for what was sent in its name, over generated first
//! flights. `cargo test -p lightstick-sfu-core --test amplification -- --nocapture` prints it.

// Virtual time starts somewhere.
#![allow(clippy::disallowed_methods)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lightstick_sfu_core::ice::stun::{self, Check, Message};
use lightstick_sfu_core::ice::{Agent, Credentials, Output, Route, Timing};

const FLIGHTS: u64 = 10_000;
const FACTOR: u64 = 3;

/// xorshift64*
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// A session under attack: the agent, and a transport that has something to say of its own.
struct World {
    random: Random,
    agent: Agent,
    now: Instant,
    username: String,
    password: String,
    /// A handshake's flight that is under way, and when it is repeated.
    flight: Vec<usize>,
    repeat_at: Option<Instant>,
    interval: Duration,
    held: Vec<usize>,
    /// Bytes from and to each address.
    counts: HashMap<Route, (u64, u64)>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let now = Instant::now();
        let mut secret = [0; 32];
        secret[..8].copy_from_slice(&seed.to_be_bytes());
        let ufrag = "u".repeat([4, 8, 32, 256][random.below(4) as usize]);
        let remote = Credentials {
            ufrag: ufrag.clone(),
            password: "password-of-the-peer-24-".to_owned(),
        };
        let consent = Duration::from_secs(30);
        let agent = Agent::new(&secret, remote, Timing { consent }, now);
        let local = agent.credentials().local.clone();
        Self {
            random,
            agent,
            now,
            username: format!("{}:{ufrag}", local.ufrag),
            password: local.password,
            flight: Vec::new(),
            repeat_at: None,
            interval: Duration::from_secs(1),
            held: Vec::new(),
            counts: HashMap::new(),
        }
    }

    fn poll(&mut self) {
        while let Some(output) = self.agent.poll() {
            match output {
                Output::Transmit(to, message) => {
                    self.counts.entry(to).or_default().1 += message.len() as u64;
                }
                Output::Routed(to) => panic!("{to:?} has proven nothing"),
                _ => {}
            }
        }
    }

    fn transmit(&mut self, lengths: Vec<usize>) {
        for length in lengths {
            let to = self.agent.destination();
            match to.filter(|to| self.agent.admit_flight(*to, length)) {
                Some(to) => self.counts.entry(to).or_default().1 += length as u64,
                None => self.held.push(length),
            }
        }
    }

    fn advance(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            let due = self.agent.poll_timeout().into_iter().chain(self.repeat_at);
            let Some(at) = due.min().filter(|at| *at <= until) else {
                break;
            };
            self.now = at.max(self.now + Duration::from_millis(1));
            if self.agent.poll_timeout().is_some_and(|at| at <= self.now) {
                self.agent.handle_timeout(self.now);
                self.poll();
            }
            if self.repeat_at.is_some_and(|at| at <= self.now) {
                self.transmit(self.flight.clone());
                self.interval *= 2;
                self.repeat_at = Some(self.now + self.interval);
            }
        }
        self.now = until;
    }

    fn check(&mut self) -> Vec<u8> {
        let mut id = [0; 12];
        id.fill_with(|| self.random.below(256) as u8);
        let wrong = self.random.one_in(8);
        let password = if wrong { "wrong" } else { &self.password };
        if self.random.one_in(4) {
            // Takes itself for the controlled agent.
            return Check {
                transaction: id,
                username: &self.username,
                priority: 1,
                tie_breaker: 1,
                password,
            }
            .write();
        }
        stun::nomination(id, &self.username, password)
    }

    /// Something comes from an address.
    fn act(&mut self, from: Route) {
        let bytes = match self.random.below(8) {
            0..4 => {
                let check = self.check();
                let message = Message::parse(&check).expect("a message");
                let _ = self
                    .agent
                    .handle_stun(&message, from, check.len(), self.now);
                check.len()
            }
            4 => {
                // A response to what was never asked.
                let check = self.check();
                let request = Message::parse(&check).expect("a message");
                let reply = stun::success(&request, from.destination(), &self.password);
                let message = Message::parse(&reply).expect("a message");
                let _ = self
                    .agent
                    .handle_stun(&message, from, reply.len(), self.now);
                reply.len()
            }
            5 | 6 => {
                // A ClientHello, perhaps cut, and the flight that answers it.
                let length = 60 + self.random.below(1_340) as usize;
                self.agent.received(from, length);
                self.agent.handle_handshake(from, self.now);
                if self.flight.is_empty() && self.agent.routes().any(|route| route == from) {
                    let datagrams = 1 + self.random.below(4);
                    let length = |_| 200 + self.random.below(1_000) as usize;
                    self.flight = (0..datagrams).map(length).collect();
                    self.repeat_at = Some(self.now + self.interval);
                    self.transmit(self.flight.clone());
                }
                length
            }
            _ => {
                let length = 1 + self.random.below(1_200) as usize;
                self.agent.received(from, length);
                length
            }
        };
        self.counts.entry(from).or_default().0 += bytes as u64;
        self.poll();
        // What was held goes out as soon as more has come in.
        let held = std::mem::take(&mut self.held);
        self.transmit(held);
    }
}

/// The worst ratio of one flight.
fn run(seed: u64) -> f64 {
    let mut world = World::new(seed);
    let addresses = 1 + world.random.below(12) as u16;
    for _ in 0..1 + world.random.below(20) {
        let port = 1 + world.random.below(addresses.into()) as u16;
        let ip = if port.is_multiple_of(2) {
            "192.0.2.1"
        } else {
            "2001:db8::1"
        };
        let address = SocketAddr::new(ip.parse().expect("an address"), port);
        world.act(Route::Udp(0, address));
        let pause = world.random.below(1_500);
        world.advance(Duration::from_millis(pause));
        if world.random.one_in(40) {
            let remote = world.agent.credentials().remote.clone();
            world.agent.restart(remote);
            let local = world.agent.credentials().local.clone();
            world.username = format!("{}:next", local.ufrag);
            world.password = local.password;
        }
    }
    world.advance(Duration::from_secs(40));
    assert_eq!(world.agent.route(), None, "seed {seed}");
    let mut worst: f64 = 0.0;
    for (address, (from, to)) in &world.counts {
        assert!(
            *to <= FACTOR * from,
            "seed {seed}: {to} bytes to {address:?} for {from}"
        );
        worst = worst.max(*to as f64 / *from as f64);
    }
    worst
}

#[test]
fn an_address_that_never_answers_gets_three_times_what_it_sent_at_most() {
    let worst = (1..=FLIGHTS).map(run).fold(0.0, f64::max);
    println!("worst amplification of {FLIGHTS} first flights: {worst:.2}");
    assert!(worst > 2.0, "the flights want more than they get");
}
