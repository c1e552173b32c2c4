//! What comes in chat: the text of messages, and the terms of a room.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lightstick_chat_core::config::RoomConfig;
use lightstick_chat_core::now::Now;
use lightstick_chat_core::room::{ChatRoom, ClientKey, Output, Stored};
use lightstick_chat_proto::entry::Entry;
use lightstick_chat_proto::part::Part;
use lightstick_chat_proto::{ClientFrame, ServerFrame};
use lightstick_chat_wire::{FRAME_BYTES_MAX, Frame};
use lightstick_types::{ChatMember, ChatRole};
use prost::Message as _;
use std::sync::LazyLock;

use lightstick_chat_filter::{
    Action, Filter, FilterConfig, LinkPolicy, Reason, Scratch, Term, TextLimits, Verdict, sanitise,
};
use lightstick_chat_filter::{TERM_CHARS_MAX, TextError};

/// A room with terms in several scripts, of every shape.
static FILTER: LazyLock<Filter> = LazyLock::new(|| {
    let terms = [
        "idiot", "fan*", "*hole*", "go die", "바보", "ㅗ", "ㅁㅊ", "сука", "バカ", "18번",
    ];
    let config = FilterConfig {
        room_terms: terms.map(|term| Term::parse(term, Action::Hold)).into(),
        links: LinkPolicy::Block,
        hosts: vec!["example.com".into()],
        ..FilterConfig::default()
    };
    Filter::new(&config).expect("usable terms")
});

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// A message, and the same bytes as a term of a room: what is shown is valid and stays as it is,
/// and a verdict depends on nothing but the text.
pub fn chat_filter(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let limits = TextLimits::default();
    SCRATCH.with_borrow_mut(|used| {
        // What was not sanitised must do no harm either.
        judge(&text, used);
        match sanitise(&text, &limits) {
            Ok(shown) => {
                assert!(shown.len() <= limits.bytes_max && !shown.is_empty());
                assert!(shown.chars().count() <= limits.chars_max);
                assert_eq!(shown.trim(), shown);
                assert!(!shown.contains(['\u{202E}', '\u{200B}', '\u{3164}', '\n', '\0']));
                // What isolates a direction ends with the message, so that it turns nothing else.
                let opened = shown.matches(['\u{2066}', '\u{2067}', '\u{2068}']).count();
                assert_eq!(opened, shown.matches('\u{2069}').count());
                assert_eq!(sanitise(&shown, &limits).as_deref(), Ok(&*shown));
                judge(&shown, used);
                term(&shown, used);
            }
            Err(TextError::TooLong) => assert!(text.len() * 3 > limits.chars_max),
            Err(TextError::Empty | TextError::Zalgo) => {}
        }
    });
}

fn judge(text: &str, used: &mut Scratch) {
    let verdict = FILTER.judge(text, used);
    let print = used.fingerprint();
    let mut fresh = Scratch::default();
    assert_eq!(FILTER.judge(text, &mut fresh), verdict);
    assert_eq!(fresh.fingerprint(), print);
    assert!(matches!(print.similarity(&print), 0 | 100));
    if let Verdict::Suspected(Reason::Term(id)) | Verdict::Blocked(Reason::Term(id)) = verdict {
        assert!(FILTER.term(id).is_some());
    }
}

/// A term finds at least itself.
fn term(text: &str, used: &mut Scratch) {
    let text: String = text.chars().take(TERM_CHARS_MAX).collect();
    let term = Term {
        text,
        shape: Default::default(),
        action: Action::Block,
    };
    let config = FilterConfig {
        built_in: false,
        room_terms: vec![term],
        ..FilterConfig::default()
    };
    if let Ok(filter) = Filter::new(&config) {
        let text = &config.room_terms[0].text;
        assert_ne!(filter.judge(text, used), Verdict::Clean, "{text:?}");
    }
}

/// What clients of a room send: frames of several of them, as protobuf or JSON, with time between.
///
/// The first byte of each frame says who sends it and how, the second how long it is, the third
/// how much time passes before.
pub fn chat_request(data: &[u8]) {
    ROOM.with_borrow_mut(|room| room.run(data));
}

thread_local! {
    /// One room for all inputs of a thread: to compile the filter for each would take most of the
    /// time.
    static ROOM: RefCell<Fuzzed> = RefCell::new(Fuzzed::new());
}

const ROLES: [ChatRole; 4] = [
    ChatRole::Guest,
    ChatRole::Member,
    ChatRole::Moderator,
    ChatRole::Idol,
];

struct Fuzzed {
    room: ChatRoom,
    now: Now,
    /// The place of the last entry that was shown.
    offset: u64,
}

impl Fuzzed {
    fn new() -> Self {
        let now = Now {
            at: Instant::now(),
            unix_ms: 1_700_000_000_000,
        };
        let config = RoomConfig::default();
        Self {
            room: ChatRoom::new(config, 1, 1, false, &Stored::new(), now),
            now,
            offset: 0,
        }
    }

    fn run(&mut self, mut data: &[u8]) {
        for (client, role) in (0..).zip(ROLES) {
            let member = ChatMember {
                room: "live".parse().expect("a name"),
                user: format!("user-{client}"),
                name: format!("User {client}"),
                role,
                write: true,
                caption: false,
                address: IpAddr::V4(Ipv4Addr::LOCALHOST),
                anonymous: false,
                show: true,
            };
            let member = Arc::new(member);
            self.room
                .connect(self.now, ClientKey(client), member, client);
        }
        while let [who, length, pause, rest @ ..] = data {
            let (bytes, after) = rest.split_at(rest.len().min(usize::from(*length)));
            data = after;
            self.pass(Duration::from_millis(4 * u64::from(*pause)));
            let client = ClientKey(u64::from(*who) % ROLES.len() as u64);
            let frame = match who & 0x80 {
                0 => ClientFrame::decode(bytes).ok(),
                _ => serde_json::from_slice(bytes).ok(),
            };
            match frame.and_then(|frame| frame.frame) {
                Some(request) => self.room.receive(self.now, client, request),
                None => self.room.malformed(client, 0),
            }
            self.collect();
        }
        self.pass(Duration::from_secs(1));
        for client in 0..ROLES.len() as u64 {
            self.room.disconnect(self.now, ClientKey(client));
        }
        self.pass(Duration::from_secs(3));
        let totals = self.room.totals();
        assert_eq!(
            totals.shown + totals.skipped + totals.hidden,
            totals.accepted
        );
    }

    fn pass(&mut self, span: Duration) {
        let end = self.now.after(span);
        let mut turns = 0;
        while let Some(at) = self.room.deadline().filter(|at| *at <= end.at) {
            self.now = self.now.after(at.saturating_duration_since(self.now.at));
            self.room.turn(self.now);
            self.collect();
            turns += 1;
            assert!(turns < 1_000, "time goes on");
        }
        self.now = end;
    }

    fn collect(&mut self) {
        while let Some(output) = self.room.poll() {
            let frames = match output {
                Output::Commit {
                    records,
                    action: Some(action),
                    ..
                } => {
                    // Some of them cannot be kept.
                    let kept = records.len() % 3 != 0;
                    self.room.kept(self.now, action, kept);
                    continue;
                }
                Output::Show(tick) => [tick.ctl, tick.chat, tick.fx],
                Output::Tell { frame, .. } => {
                    check(&frame);
                    continue;
                }
                _ => continue,
            };
            for frame in frames.into_iter().flatten() {
                for part in check(&frame) {
                    if let Some(Part::Batch(batch)) = part.part {
                        if !batch.entries.is_empty() {
                            assert_eq!(batch.first_offset, self.offset + 1);
                        }
                        self.offset += batch.entries.len() as u64;
                    }
                }
            }
        }
    }
}

/// A frame is short, can be read, and shows no text that a room would not take.
fn check(frame: &Frame) -> Vec<lightstick_chat_proto::Part> {
    assert!(frame.proto().len() <= FRAME_BYTES_MAX + 4_096);
    assert!(serde_json::from_slice::<serde_json::Value>(frame.json()).is_ok());
    let read = ServerFrame::decode(frame.proto().clone()).expect("our own frame");
    for part in &read.parts {
        if let Some(Part::Batch(batch)) = &part.part {
            for entry in &batch.entries {
                if let Some(Entry::Message(message)) = &entry.entry {
                    assert!((1..=500).contains(&message.text.chars().count()));
                }
            }
        }
    }
    read.parts
}
