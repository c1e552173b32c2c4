//! What comes in chat: the text of messages, and the terms of a room.

use std::cell::RefCell;
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
                assert!(
                    !shown.contains(['\u{202E}', '\u{2066}', '\u{200B}', '\u{3164}', '\n', '\0'])
                );
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
