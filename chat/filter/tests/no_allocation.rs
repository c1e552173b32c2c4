//! Judging allocates nothing once the buffers have their size: a room judges thousands of messages
//! a second.
//!
//! Alone in its binary, because it counts what the whole process allocates.

#![allow(clippy::disallowed_methods)] // Virtual time starts somewhere.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Instant;

use lightstick_chat_filter::{
    Action, Filter, FilterConfig, Flood, FloodSettings, LinkPolicy, Scratch, Term,
};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, SeqCst);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn judging_allocates_nothing() {
    let list = include_str!("../data/evasion.tsv");
    let texts: Vec<&str> = list
        .lines()
        .filter_map(|l| l.split_once('\t'))
        .map(|l| l.1)
        .collect();
    let config = FilterConfig {
        room_terms: vec![
            Term::parse("lipsync*", Action::Block),
            Term::parse("바보", Action::Hold),
        ],
        links: LinkPolicy::Block,
        hosts: vec!["youtube.com".into()],
        ..FilterConfig::default()
    };
    let filter = Filter::new(&config).expect("usable terms");
    let mut scratch = Scratch::default();
    let mut flood = Flood::new(FloodSettings::default());
    let now = Instant::now();
    let links = [
        "https://www.YouTube.com/watch",
        "evil dot com",
        "t.me/x",
        "http://a@b.c/",
    ];
    let mut round = || {
        for (author, text) in texts.iter().chain(&links).enumerate() {
            filter.judge(text, &mut scratch);
            flood.check(author as u64, scratch.fingerprint(), now);
        }
    };
    round();
    let before = ALLOCATIONS.load(SeqCst);
    assert!(before > 0, "the allocator counts");
    for _ in 0..10 {
        round();
    }
    assert_eq!(ALLOCATIONS.load(SeqCst) - before, 0);
}
