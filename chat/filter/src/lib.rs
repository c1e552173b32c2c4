//! Judges the text of chat messages, without IO.
//!
//! A message goes through [`sanitise`] first: that is the text the room shows. [`Filter::judge`]
//! then says whether it may be shown, and [`Flood::check`] whether it has been said too often.
//!
//! How a text is judged: `table` knows what each code point is or looks like; `fold` writes the
//! text in an alphabet of Latin letters and basic jamo, without case, accents, lookalikes, spaces
//! and repeats; one Aho-Corasick automaton finds all terms in that; `verify` looks at what each
//! place was made of and throws out what is a term only by chance; `links` looks for hosts.
//!
//! ```
//! use lightstick_chat_filter::{Action, Filter, FilterConfig, Scratch, Term, TextLimits, Verdict};
//!
//! let config = FilterConfig {
//!     room_terms: vec![Term::parse("lipsync*", Action::Block)],
//!     ..FilterConfig::default()
//! };
//! let filter = Filter::new(&config)?;
//! let mut scratch = Scratch::default();
//! let shown = lightstick_chat_filter::sanitise("L1P.sync!\u{202E}", &TextLimits::default())?;
//! assert_eq!(shown, "L1P.sync!");
//! assert!(matches!(filter.judge(&shown, &mut scratch), Verdict::Suspected(_)));
//! assert_eq!(filter.judge("nice live", &mut scratch), Verdict::Clean);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// Virtual time starts somewhere.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

mod alphabet;
mod filter;
mod flood;
mod fold;
mod links;
mod properties;
mod sanitise;
mod table;
mod terms;
mod verdict;
mod verify;

/// Makes the tables that all filters share: tens of milliseconds, once a process. Without this the
/// first filter or message pays for it.
pub fn prepare() {
    std::sync::LazyLock::force(&table::TABLE);
    links::prepare();
}

pub use filter::{CANDIDATES_MAX, Filter, FilterConfig, Scratch};
pub use flood::{Fingerprint, Flood, FloodSettings, Flooding, WINDOW_MAX};
pub use links::{HOSTS_MAX, LinkPolicy};
pub use properties::is_emoji_word;
pub use sanitise::{TextError, TextLimits, sanitise};
pub use terms::{
    ALLOWED_TERMS_MAX, Action, List, OPERATOR_TERMS_MAX, ROOM_TERMS_MAX, Shape, TERM_CHARS_MAX,
    Term, TermError, TermId,
};
pub use verdict::{Reason, Verdict};
