//! What the chat costs a shard over real data channels: time a frame, memory a member.
//!
//! Members are str0m clients in this process, on loopback sockets; the clock and the allocations
//! are those of the media thread alone. `cargo bench -p lightstick-sfu --bench chat [MEMBERS]`.

#[path = "../tests/support/mod.rs"]
mod support;

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use lightstick_chat_wire::{Channel, Tick};
use lightstick_sfu::RoleConfig;
use lightstick_types::LayerChoice;
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc};
use support::fan::{Fan, frame};
use support::plane::Plane;

/// Counts what each thread holds.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const THREADS_MAX: usize = 64;
static HELD: [AtomicI64; THREADS_MAX] = [const { AtomicI64::new(0) }; THREADS_MAX];
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static INDEX: Cell<usize> = const { Cell::new(usize::MAX) };
}

fn count(bytes: i64) {
    let index = INDEX.get();
    let index = if index == usize::MAX {
        let index = THREADS.fetch_add(1, Relaxed).min(THREADS_MAX - 1);
        INDEX.set(index);
        index
    } else {
        index
    };
    HELD[index].fetch_add(bytes, Relaxed);
}

// SAFETY: every call goes to mimalloc as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller's promise.
        unsafe { mimalloc::MiMalloc.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: the caller's promise.
        unsafe { mimalloc::MiMalloc.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as i64 - layout.size() as i64);
        // SAFETY: the caller's promise.
        unsafe { mimalloc::MiMalloc.realloc(at, layout, size) }
    }
}

/// The id of the media thread.
fn media_thread() -> String {
    let tasks = std::fs::read_dir("/proc/self/task").expect("procfs");
    let mut ids = tasks.map(|task| {
        task.expect("a task")
            .file_name()
            .into_string()
            .expect("text")
    });
    ids.find(|id| {
        let name = std::fs::read_to_string(format!("/proc/self/task/{id}/comm"));
        name.is_ok_and(|name| name.trim_end() == "media-0")
    })
    .expect("the media thread")
}

/// Time that a thread has had a core, in nanoseconds.
fn cpu(thread: &str) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat"));
    let stat = stat.expect("schedstat");
    stat.split(' ')
        .next()
        .and_then(|ns| ns.parse().ok())
        .expect("a number")
}

/// What the media thread holds: all threads but this one.
fn held() -> i64 {
    let mine = INDEX.get();
    let threads = THREADS.load(Relaxed).min(THREADS_MAX);
    (0..threads)
        .filter(|n| *n != mine)
        .map(|n| HELD[n].load(Relaxed))
        .sum()
}

fn turn_for(fans: &mut [Fan], time: Duration) {
    let until = Instant::now() + time;
    while Instant::now() < until {
        for fan in fans.iter_mut() {
            fan.client.turn(Duration::ZERO);
            fan.client.seen.clear();
        }
    }
}

fn join(plane: &mut Plane, members: usize, channels: &[Channel]) -> Vec<Fan> {
    let role = RoleConfig::Viewer {
        choice: LayerChoice::Auto,
    };
    let mut fans = Vec::new();
    for _ in 0..members {
        let fan = if channels.is_empty() {
            let mut fan = Fan::offered(plane, 1, role.clone(), channels, false);
            fan.client.until_connected();
            fan
        } else {
            Fan::join(plane, 1, role.clone(), channels)
        };
        fans.push(fan);
    }
    fans
}

/// Frames of one run of [`stack`].
const ROUNDS: u32 = 1_000;

/// What the stack alone takes of a frame, without a socket: to write, encrypt and hand it out, and
/// to take in the client's acknowledgement. Both ends have their time given.
fn stack(bytes: usize) {
    let now = Instant::now();
    let addresses = ["10.0.0.1:1000", "10.0.0.2:2000"].map(|a| a.parse().expect("an address"));
    let mut ends = addresses.map(|address: SocketAddr| {
        let mut rtc = Rtc::builder().set_rtp_mode(true).build(now);
        rtc.add_local_candidate(Candidate::host(address, "udp").expect("a candidate"));
        rtc
    });
    let mut api = ends[1].sdp_api();
    api.add_channel_with_config(support::fan::config(Channel::Chat));
    let (offer, pending) = api.apply().expect("an offer");
    let answer = ends[0].sdp_api().accept_offer(offer).expect("an answer");
    ends[1]
        .sdp_api()
        .accept_answer(pending, answer)
        .expect("a fit");

    let mut now = now;
    let mut to: [Vec<(SocketAddr, Vec<u8>)>; 2] = [Vec::new(), Vec::new()];
    let mut opened = None;
    let mut deliver = |ends: &mut [Rtc; 2], at: usize, now: Instant, opened: &mut Option<_>| {
        for (source, bytes) in std::mem::take(&mut to[at]) {
            let receive = Receive::new(Protocol::Udp, source, addresses[at], &bytes);
            let input = Input::Receive(now, receive.expect("a datagram"));
            ends[at].handle_input(input).expect("it is taken");
        }
        loop {
            match ends[at].poll_output().expect("a sound end") {
                Output::Timeout(_) => break,
                Output::Transmit(t) => to[1 - at].push((t.source, t.contents.to_vec())),
                Output::Event(Event::ChannelOpen(id, _)) if at == 0 => *opened = Some(id),
                Output::Event(_) => {}
            }
        }
    };
    for _ in 0..1_000 {
        now += Duration::from_millis(10);
        for at in 0..2 {
            ends[at].handle_input(Input::Timeout(now)).expect("time");
            deliver(&mut ends, at, now, &mut opened);
        }
    }
    let id = opened.expect("an open channel");
    let payload = frame(1, bytes);
    // Of many short runs the quickest: what else runs on the machine adds, and never takes away.
    let runs: Vec<[Duration; 2]> = (0..20)
        .map(|_| {
            let (mut written, mut acknowledged) = (Duration::ZERO, Duration::ZERO);
            for _ in 0..ROUNDS {
                now += Duration::from_millis(100);
                let begun = Instant::now();
                let mut channel = ends[0].channel(id).expect("an open channel");
                assert!(
                    channel
                        .write(true, payload.proto())
                        .expect("a sound channel")
                );
                ends[0].handle_input(Input::Timeout(now)).expect("time");
                deliver(&mut ends, 0, now, &mut opened);
                written += begun.elapsed();
                deliver(&mut ends, 1, now, &mut opened);
                // The acknowledgement is held back for 200 ms unless a second packet comes (RFC 9260).
                now += Duration::from_millis(200);
                ends[1].handle_input(Input::Timeout(now)).expect("time");
                deliver(&mut ends, 1, now, &mut opened);
                let begun = Instant::now();
                deliver(&mut ends, 0, now, &mut opened);
                acknowledged += begun.elapsed();
            }
            [written, acknowledged]
        })
        .collect();
    let best = |at: usize| {
        let best = runs.iter().map(|run| run[at]).min().unwrap_or_default();
        best.as_secs_f64() * 1e6 / f64::from(ROUNDS)
    };
    println!(
        "stack alone, {bytes} bytes: {:.2} us to send, {:.2} us to hear of its arrival",
        best(0),
        best(1),
    );
}

/// What each of `members` more adds to what the media thread holds.
fn memory(members: usize, channels: &[Channel]) -> (Plane, Vec<Fan>, i64) {
    let mut plane = Plane::start(1);
    // The first few bring the thread's own buffers, and the tables' first sizes.
    let mut fans = join(&mut plane, 20, channels);
    turn_for(&mut fans, Duration::from_secs(2));
    let before = held();
    fans.extend(join(&mut plane, members, channels));
    turn_for(&mut fans, Duration::from_secs(2));
    let each = (held() - before) / members as i64;
    (plane, fans, each)
}

/// Ticks of a measurement that are shown at their time.
const PACED: u64 = 50;
/// From one of them to the next.
const EVERY: Duration = Duration::from_millis(100);
/// Ticks that are shown as soon as everybody has been shown the one before, and how often.
const BURST: u64 = 3;
const BURSTS: u64 = 50;

fn frames_out(plane: &Plane) -> u64 {
    plane.total(|s| s.chat.frames_out.iter().map(|c| c.get()).sum())
}

fn in_tick(tick: &Tick) -> u64 {
    [&tick.ctl, &tick.chat, &tick.fx]
        .into_iter()
        .flatten()
        .count() as u64
}

/// What it costs to send while the shard has no time to sleep: as with many members and video.
/// What the members answer is left out; [`stack`] says what it costs.
fn busy(plane: &Plane, thread: &str, name: &str, tick: &std::sync::Arc<Tick>, fans: &mut [Fan]) {
    let calls = || plane.total(|s| s.send_calls.get());
    let (mut spent, mut called) = (0, 0);
    for _ in 0..BURSTS {
        let (from, calls_from) = (cpu(thread), calls());
        for _ in 0..BURST {
            let until = frames_out(plane) + fans.len() as u64 * in_tick(tick);
            plane.show(1, tick);
            while frames_out(plane) < until {
                std::hint::spin_loop();
            }
        }
        spent += cpu(thread) - from;
        called += calls() - calls_from;
        turn_for(fans, Duration::from_millis(300));
    }
    let visits = (BURSTS * BURST * fans.len() as u64) as f64;
    let each = spent as f64 / visits / 1e3;
    println!(
        "{name}, at once: {each:.2} us a tick and member, {:.2} us a frame, {:.2} send calls",
        each / in_tick(tick) as f64,
        called as f64 / visits,
    );
}

/// What it costs on a shard that has nothing else to do, and wakes up for each answer.
fn paced(
    plane: &Plane,
    thread: &str,
    name: &str,
    tick: &std::sync::Arc<Tick>,
    fans: &mut [Fan],
    idle: u64,
) {
    let from = cpu(thread);
    for _ in 0..PACED {
        plane.show(1, tick);
        turn_for(fans, EVERY);
    }
    let spent = (cpu(thread) - from).saturating_sub(idle);
    let each = spent as f64 / (PACED * fans.len() as u64) as f64 / 1e3;
    println!(
        "{name}, every {EVERY:?}: {each:.2} us a tick and member; late {}, missed {}",
        plane.total(|s| s.chat.late.get()),
        plane.total(|s| s.chat.missed.get()),
    );
}

fn main() {
    let arguments = std::env::args().skip(1);
    let members = arguments
        .filter_map(|word| word.parse().ok())
        .next()
        .unwrap_or(200);
    [60, 1_000].into_iter().for_each(stack);
    let (plane, fans, without) = memory(members, &[]);
    println!("a viewer without channels: {without} bytes");
    drop((fans, plane));
    let (plane, mut fans, with) = memory(members, &Channel::ALL);
    let chat = with - without;
    println!("a member with three channels: {with} bytes, {chat} of them for the chat");
    let thread = media_thread();
    let (members, before) = (fans.len(), held());

    let idle_from = cpu(&thread);
    turn_for(&mut fans, EVERY * PACED as u32);
    let idle = cpu(&thread) - idle_from;
    for (name, tick) in [
        (
            "chat alone, 1,000 bytes",
            Tick {
                chat: Some(frame(1, 980)),
                messages: 6,
                ..Tick::default()
            },
        ),
        (
            "chat of 1,000 bytes and fx of 60",
            Tick {
                chat: Some(frame(1, 980)),
                fx: Some(frame(1, 40)),
                messages: 6,
                ..Tick::default()
            },
        ),
        (
            "ctl of 60, chat of 150, fx of 60",
            Tick {
                ctl: Some(frame(1, 40)),
                chat: Some(frame(1, 130)),
                fx: Some(frame(1, 40)),
                messages: 1,
            },
        ),
    ] {
        let tick = std::sync::Arc::new(tick);
        busy(&plane, &thread, name, &tick, &mut fans);
        paced(&plane, &thread, name, &tick, &mut fans, idle);
    }
    turn_for(&mut fans, Duration::from_secs(1));
    let more = (held() - before) / members as i64;
    println!("after all of that: {more} bytes more each");
}
