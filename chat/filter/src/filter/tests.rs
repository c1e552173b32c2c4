use super::*;

fn filter(terms: &[&str]) -> Filter {
    let room_terms = terms
        .iter()
        .map(|t| Term::parse(t, Action::Block))
        .collect();
    let config = FilterConfig {
        built_in: false,
        room_terms,
        ..FilterConfig::default()
    };
    Filter::new(&config).expect("usable terms")
}

/// `blocked`, `held` and `clean` against one list of terms.
fn check(terms: &[&str], blocked: &[&str], held: &[&str], clean: &[&str]) {
    let filter = filter(terms);
    let mut scratch = Scratch::default();
    let mut judge = |text: &str| filter.judge(text, &mut scratch);
    for text in blocked {
        assert!(
            matches!(judge(text), Verdict::Blocked(Reason::Term(_))),
            "{text}: {:?}",
            judge(text)
        );
    }
    for text in held {
        assert!(
            matches!(judge(text), Verdict::Suspected(Reason::Term(_))),
            "{text}: {:?}",
            judge(text)
        );
    }
    for text in clean {
        assert_eq!(judge(text), Verdict::Clean, "{text}");
    }
}

#[test]
fn short_latin_terms_are_whole_words() {
    check(
        &["ass", "rapist"],
        &[
            "ass",
            "what an ASS!",
            "asses no, ass yes",
            "a$$",
            "@ss",
            "a.s.s",
            "a s s",
            "Äss",
            "진짜ass야",
        ],
        &["аѕѕ"],
        &[
            "class",
            "assassin",
            "as s",
            "same as -s",
            "as",
            "ass1gn",
            "therapist",
            "has shown",
            "class hit",
            "grass",
            "a55",
            "455",
        ],
    );
}

#[test]
fn stars_and_quotes_shape_terms() {
    check(
        &["fuck*", "*hole", "\"보지\"", "*lip*"],
        &[
            "fucker",
            "f.u.c.king",
            "hellhole",
            "보지",
            "ㅂㅗㅈㅣ",
            "eclipse",
        ],
        &[],
        &["unfuck", "holed", "해보지 마", "보지마", "mil ip"],
    );
}

#[test]
fn phrases_match_with_and_without_spaces() {
    check(
        &["go die", "kill yourself"],
        &[
            "go die",
            "GO, DIE!",
            "godie",
            "killyourself",
            "kill  yourself",
            "go d1e",
            "goooo die",
        ],
        &[],
        &["godless", "go diet", "ego die", "kill your selfie"],
    );
}

#[test]
fn repeats_are_drawn_out_words() {
    check(
        &["lose", "fuck", "idiot", "시발", "good"],
        &[
            "fuuuuck",
            "fffuuuccckkk",
            "idioooot",
            "시이이이발",
            "gooood",
            "looose",
        ],
        &["fuuck", "시이발"],
        &["loose", "god", "다시이발 예약", "idi"],
    );
}

#[test]
fn hangul_is_taken_apart() {
    check(
        &["시발", "병신", "미친놈"],
        &[
            "시발",
            "아 시발 뭐야",
            "ㅅㅣㅂㅏㄹ",
            "시ㅂㅏㄹ",
            "ㅅㅣ발",
            "시.발",
            "시 발",
            "ㅅ1발",
            "시ㅣㅣ발",
            "병1신",
            "미.친.놈",
            "미친놈ㅋㅋ",
            "미친노ㅁ",
        ],
        &["십알", "시1발놈", "tlqkf", "엄마시발이"],
        &[
            "신발",
            "시바",
            "다시 발견",
            "시 발표",
            "18개월",
            "다시발매",
            "역병 신고",
            "미친 듯이",
            "갑시다 발로",
        ],
    );
}

#[test]
fn initials_match_only_as_such() {
    check(
        &["ㅅㅂ", "ㅗ"],
        &[
            "ㅅㅂ",
            "아 ㅅㅂㅋㅋ",
            "ㅋㅋㅅㅂ",
            "ㅅ ㅂ",
            "ㅅ.ㅂ",
            "ㅅ1ㅂ",
            "ㅅㅅㅂㅂ",
            "ﾱ ㅅㅂ",
            "ㅗ",
            "ㅗㅗㅗ",
        ],
        &[],
        &[
            "수박",
            "갓밥",
            "ㄱㅅㅂㄹ",
            "오",
            "박오",
            "ㅗㅏ",
            "감사 반가워",
        ],
    );
}

#[test]
fn scripts_are_kept_together() {
    check(
        &["バカ", "死ね", "kys", "сука"],
        &[
            "バカ",
            "ばか",
            "ﾊﾞｶ",
            "バ.カ",
            "死ね",
            "死ネ",
            "kysです",
            "Сука!",
        ],
        &[],
        &["サーバから", "カバ", "死ぬ", "ошибку %s", "рука"],
    );
}

#[test]
fn masked_words_are_suspected() {
    check(
        &["fuck", "shit", "bitch"],
        &[],
        &["f*ck", "f**k", "sh*t", "b*tch", "what the f**k is this"],
        &["****", "f***", "*hug*", "5 * 3", "b*", "#shirt"],
    );
}

#[test]
fn allowed_words_excuse_terms() {
    let mut config = FilterConfig {
        built_in: false,
        ..FilterConfig::default()
    };
    config.room_terms.push(Term::parse("시발", Action::Block));
    config.allowed.push("시발점".into());
    let filter = Filter::new(&config).expect("usable terms");
    let mut scratch = Scratch::default();
    assert_eq!(
        filter.judge("변화의 시발점이다", &mut scratch),
        Verdict::Clean
    );
    let id = TermId {
        list: List::Room,
        index: 0,
    };
    let verdict = filter.judge("시발점은 시발", &mut scratch);
    assert_eq!(verdict, Verdict::Blocked(Reason::Term(id)));
    assert_eq!(filter.term(id), Some("시발"));
}

#[test]
fn a_term_that_is_allowed_elsewhere_can_be_blocked() {
    check(&["pls", "시발점"], &["pls", "시발점"], &[], &[]);
}

#[test]
fn holding_terms_never_block() {
    let mut config = FilterConfig {
        built_in: false,
        ..FilterConfig::default()
    };
    config.room_terms.push(Term::parse("spoiler", Action::Hold));
    let filter = Filter::new(&config).expect("usable terms");
    let id = TermId {
        list: List::Room,
        index: 0,
    };
    let verdict = filter.judge("spoiler", &mut Scratch::default());
    assert_eq!(verdict, Verdict::Suspected(Reason::Term(id)));
}

#[test]
fn lists_have_limits() {
    let term = |text: &str| Term::parse(text, Action::Block);
    let with = |room_terms: Vec<Term>| {
        Filter::new(&FilterConfig {
            room_terms,
            ..FilterConfig::default()
        })
        .map(drop)
    };
    assert_eq!(
        with(vec![term("x"); 501]),
        Err(TermError::TooMany { max: 500 })
    );
    assert_eq!(
        with(vec![term("ok"), term(&"가".repeat(101))]),
        Err(TermError::TooLong { index: 1 })
    );
    assert_eq!(
        with(vec![term("!?")]),
        Err(TermError::NoLetters { index: 0 })
    );
    assert_eq!(
        with(vec![term("**")]),
        Err(TermError::NoLetters { index: 0 })
    );
    assert_eq!(with(vec![term(&"가".repeat(100)); 500]), Ok(()));
}

#[test]
fn a_message_of_many_candidates_is_held() {
    let terms: Vec<String> = (1..=50).map(|n| format!("*{}*", "ab".repeat(n))).collect();
    let terms: Vec<&str> = terms.iter().map(String::as_str).collect();
    let room_terms = terms.iter().map(|t| Term::parse(t, Action::Hold)).collect();
    let config = FilterConfig {
        built_in: false,
        room_terms,
        ..FilterConfig::default()
    };
    let filter = Filter::new(&config).expect("usable terms");
    let verdict = filter.judge(&"ab".repeat(250), &mut Scratch::default());
    assert_eq!(verdict, Verdict::Suspected(Reason::TooManyCandidates));
}
