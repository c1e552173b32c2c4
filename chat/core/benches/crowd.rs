//! One room with a hundred thousand viewers, simulated on one core: what a delivered frame costs
//! before any transport, what a crowd that comes back costs, and whether all adds up.
//!
//! `cargo bench -p lightstick-chat-core --bench crowd [-- VIEWERS]`

#![allow(clippy::disallowed_methods, reason = "a benchmark asks for the time")]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lightstick_chat_core::config::RoomConfig;
use lightstick_chat_core::now::Now;
use lightstick_chat_core::room::{ChatRoom, ClientKey, Output, Stored};
use lightstick_chat_proto as proto;
use lightstick_chat_proto::client_frame::Frame as Request;
use lightstick_chat_wire::{Channel, Frame, Link, Reader, Tick};
use lightstick_types::{ChatMember, ChatRole};

/// Messages a second that are written into the room.
const MESSAGES_PER_SECOND: u64 = 5_000;
const SECONDS: u64 = 60;
/// Over how long the crowd comes back.
const REJOIN: Duration = Duration::from_secs(20);

/// Nanoseconds that this thread was on a core: other work on the machine does not count.
fn cpu_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let first = stat
        .split_whitespace()
        .next()
        .and_then(|ns| ns.parse().ok());
    first.expect("a number")
}

/// A link that keeps up, and counts.
#[derive(Default)]
struct Wire {
    frames: u64,
    bytes: u64,
}

impl Link for Wire {
    fn unsent_bytes(&mut self) -> usize {
        0
    }

    fn write(&mut self, _: Channel, frame: &Frame) -> bool {
        self.frames += 1;
        self.bytes += frame.proto().len() as u64;
        true
    }
}

fn fan(n: u64) -> Arc<ChatMember> {
    Arc::new(ChatMember {
        room: "live".parse().expect("a name"),
        user: format!("fan-{n}"),
        name: format!("Fan {n}"),
        role: ChatRole::Guest,
        write: true,
        caption: false,
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        anonymous: false,
        show: true,
    })
}

fn main() {
    let viewers = std::env::args()
        .find_map(|arg| arg.parse().ok())
        .unwrap_or(100_000_u64);
    let mut now = Now {
        at: Instant::now(),
        unix_ms: 1_700_000_000_000,
    };
    let config = RoomConfig::default();
    let mut room = ChatRoom::new(config, 1, 1, false, &Stored::new(), now);
    let mut rng = fastrand::Rng::with_seed(1);

    let began = cpu_ns();
    for n in 0..viewers {
        room.connect(now, ClientKey(n), fan(n), n);
    }
    let join_ns = (cpu_ns() - began) / viewers;
    while room.poll().is_some() {}

    // Viewers lie about in memory as they would on shards: in no order.
    let mut order: Vec<u32> = (0..viewers as u32).collect();
    rng.shuffle(&mut order);
    let mut readers: Vec<Reader> = (0..viewers).map(|_| Reader::default()).collect();
    let mut wires: Vec<Wire> = (0..viewers).map(|_| Wire::default()).collect();

    let (mut deliver_ns, mut room_ns, mut ticks) = (0, 0, 0_u64);
    let began_at = now.at;
    for step in 0..SECONDS * 100 {
        let began = cpu_ns();
        for _ in 0..MESSAGES_PER_SECOND / 100 {
            let words: Vec<String> = (0..5)
                .map(|_| (0..6).map(|_| rng.lowercase()).collect())
                .collect();
            let send = proto::Send {
                nonce: step + 1,
                text: words.join(" "),
                reply_to: 0,
            };
            let client = ClientKey(rng.u64(..viewers));
            room.receive(now, client, Request::Send(send));
        }
        now = now.after(Duration::from_millis(10));
        if room.deadline().is_some_and(|at| at <= now.at) {
            room.turn(now);
        }
        let mut shown: Vec<Tick> = Vec::new();
        while let Some(output) = room.poll() {
            if let Output::Show(tick) = output {
                shown.push(tick);
            }
        }
        room_ns += cpu_ns() - began;
        let began = cpu_ns();
        for tick in &shown {
            ticks += 1;
            for at in &order {
                let at = *at as usize;
                readers[at].offer(now.at, tick, &mut wires[at]);
            }
        }
        deliver_ns += cpu_ns() - began;
    }
    let totals = room.totals();
    let span = now.at.saturating_duration_since(began_at).as_secs_f64();
    let frames: u64 = wires.iter().map(|wire| wire.frames).sum();
    let accepted = totals.accepted;
    println!("viewers                   {viewers}");
    println!("CPU a join                {join_ns} ns, before transport");
    println!(
        "messages                  {accepted} accepted of {}",
        MESSAGES_PER_SECOND * SECONDS
    );
    println!(
        "  shown, skipped          {} and {}",
        totals.shown, totals.skipped
    );
    println!(
        "CPU a message             {} ns, filter included",
        room_ns / accepted.max(1)
    );
    println!("ticks                     {ticks}");
    println!(
        "CPU a delivered frame     {} ns, of {frames} frames",
        deliver_ns / frames.max(1)
    );
    println!(
        "CPU a viewer and tick     {} ns",
        deliver_ns / (ticks * viewers).max(1)
    );
    let bits = wires[0].bytes as f64 * 8.0 / span;
    println!("to each viewer            {:.1} kbit/s", bits / 1_000.0);

    // All connections break, and everybody comes back from the same place.
    for n in 0..viewers {
        room.disconnect(now, ClientKey(n));
    }
    now = now.after(Duration::from_secs(2));
    room.turn(now);
    while room.poll().is_some() {}
    let totals = room.totals();
    assert_eq!(
        totals.shown + totals.skipped + totals.hidden,
        totals.accepted
    );
    let (mut bytes, mut recovered) = (0_u64, 0_u64);
    let began = cpu_ns();
    for n in 0..viewers {
        let client = ClientKey(viewers + n);
        room.connect(now, client, fan(n), n);
        let position = Some(proto::Position {
            epoch: 1,
            offset: totals.shown - 5,
        });
        room.receive(
            now,
            client,
            Request::Hello(proto::Hello {
                position,
                token: String::new(),
            }),
        );
        now = now.after(REJOIN / viewers as u32);
        if room.deadline().is_some_and(|at| at <= now.at) {
            room.turn(now);
        }
        while let Some(output) = room.poll() {
            match output {
                Output::Tell { frame, .. } => {
                    recovered += 1;
                    bytes += frame.proto().len() as u64;
                }
                // Presence, each second.
                Output::Show(_) => {}
                // Anything that an archive would have to hear of is a fault.
                other => panic!("{other:?}"),
            }
        }
    }
    let spent = cpu_ns() - began;
    assert_eq!(recovered, viewers);
    println!(
        "who come back             {viewers} within {} s of the room's time",
        REJOIN.as_secs()
    );
    println!(
        "  CPU each                {} ns, with {} bytes",
        spent / viewers,
        bytes / viewers
    );
    println!("  asked of the archive    nothing");
}
