//! Precision and recall over the lists in `data/`: evasions that must be found, and innocent text
//! that looks like them.
//!
//! `cargo test -p lightstick-chat-filter --test evasion -- --nocapture` prints what is wrong.

use lightstick_chat_filter::{
    Action, Filter, FilterConfig, Scratch, Term, TextLimits, Verdict, sanitise,
};

const TUNED: &str = include_str!("../data/evasion.tsv");
const HELD_OUT: &str = include_str!("../data/heldout.tsv");
const HELD_OUT_LATER: &str = include_str!("../data/heldout2.tsv");
const TERMS: &str = include_str!("../data/sample_terms.txt");

fn filter() -> Filter {
    let terms = TERMS.lines().filter(|line| !line.starts_with("# "));
    let config = FilterConfig {
        room_terms: terms.map(|t| Term::parse(t, Action::Block)).collect(),
        ..FilterConfig::default()
    };
    Filter::new(&config).expect("usable terms")
}

/// Precision and recall, in per cent; what is held counts as found.
fn measure(name: &str, list: &str) -> (f64, f64) {
    let filter = filter();
    let mut scratch = Scratch::default();
    let (mut found, mut missed, mut wrong, mut innocent, mut held) = (0, 0, 0, 0, 0);
    for line in list.lines().filter(|line| !line.starts_with("# ")) {
        let (label, text) = line.split_once('\t').expect("a label and a text");
        let shown = sanitise(text, &TextLimits::default()).expect("a usable text");
        let verdict = filter.judge(&shown, &mut scratch);
        held += u32::from(matches!(verdict, Verdict::Suspected(_)));
        match (label, verdict) {
            ("bad", Verdict::Clean) => {
                missed += 1;
                println!("{name}: missed {text}");
            }
            ("bad", _) => found += 1,
            ("ok", Verdict::Clean) => innocent += 1,
            ("ok", _) => {
                wrong += 1;
                println!("{name}: wrong {text}: {verdict:?}");
            }
            _ => panic!("{label} is no label"),
        }
    }
    let precision = 100.0 * f64::from(found) / f64::from(found + wrong);
    let recall = 100.0 * f64::from(found) / f64::from(found + missed);
    println!(
        "{name}: {} bad, {} ok; precision {precision:.1} %, recall {recall:.1} %, {held} held",
        found + missed,
        innocent + wrong
    );
    (precision, recall)
}

#[test]
fn tuned_list() {
    let (precision, recall) = measure("tuned", TUNED);
    assert!(precision >= 98.0 && recall >= 95.0, "{precision} {recall}");
}

#[test]
fn held_out_list() {
    let (precision, recall) = measure("held out", HELD_OUT);
    assert!(precision >= 98.0 && recall >= 95.0, "{precision} {recall}");
}

#[test]
fn later_held_out_list() {
    let (precision, recall) = measure("held out later", HELD_OUT_LATER);
    assert!(precision >= 98.0 && recall >= 95.0, "{precision} {recall}");
}
