//! What judging costs: bytes a second over a mix of messages, each stage by itself, and compiling.
//!
//! `cargo bench -p lightstick-chat-filter`; a name behind it, such as `mix`, chooses.

#![allow(clippy::disallowed_methods)] // Virtual time starts somewhere.

use std::time::Instant;

use divan::counter::BytesCount;
use divan::{AllocProfiler, Bencher, black_box};
use lightstick_chat_filter::{
    Action, Filter, FilterConfig, Flood, FloodSettings, LinkPolicy, Scratch, Term, TextLimits,
    sanitise,
};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const MESSAGES: usize = 10_000;
const EVASIONS: &str = include_str!("../data/evasion.tsv");

const KOREAN: &[&str] = &[
    "오늘 무대 진짜 최고였어요",
    "언니 너무 예뻐요 ㅠㅠ",
    "ㅋㅋㅋㅋㅋㅋㅋ",
    "사랑해 사랑해 사랑해!!!",
    "다음 곡 뭐예요?",
    "와 고음 미쳤다",
    "컴백 축하해요 🎉",
    "직캠 언제 올라와요",
    "막내 오늘 머리 스타일 바꿨네 너무 잘 어울려요",
    "ㄹㅇ 인정",
    "안녕하세요 처음 왔어요",
    "앵콜 앵콜",
    "엔딩요정 누구야 ㅋㅋㅋ",
    "감기 조심하세요 밥 잘 챙겨 먹고 푹 쉬어요",
];
const ENGLISH: &[&str] = &[
    "hello from brazil!",
    "she is so pretty",
    "this performance is amazing omg",
    "LETS GOOOO",
    "what song is this?",
    "first time watching live, love it",
    "lol",
    "pls say hi to indonesia",
    "the choreography in the second verse is the best one of this comeback",
    "queen",
    "can someone translate?",
    "i love you all so much, thank you for the concert today",
];
const OTHER: &[&str] = &[
    "❤️❤️❤️",
    "🔥🔥🔥",
    "💜 보라해 💜",
    "👏👏👏👏",
    "かわいい！",
    "今日も最高です",
    "te amo mucho ❤️",
];

/// A message of random words of a list, as no two are the same: nothing of it can be learnt.
fn shuffled(list: &[&str], random: &mut fastrand::Rng) -> String {
    let words: Vec<&str> = list.iter().flat_map(|text| text.split(' ')).collect();
    let length = 1 + random.usize(..4) + random.usize(..4);
    let some = (0..length).map(|_| words[random.usize(..words.len())]);
    some.collect::<Vec<_>>().join(" ")
}

/// Of 100 messages: 45 Korean, 35 English, 15 emoji and others, 5 from the list of evasions.
fn mix() -> Vec<String> {
    let bad: Vec<&str> = EVASIONS
        .lines()
        .filter_map(|l| l.strip_prefix("bad\t"))
        .collect();
    let mut random = fastrand::Rng::with_seed(7);
    let pick = |_| match random.usize(..100) {
        0..45 => shuffled(KOREAN, &mut random),
        45..80 => shuffled(ENGLISH, &mut random),
        80..95 => shuffled(OTHER, &mut random),
        _ => bad[random.usize(..bad.len())].to_owned(),
    };
    (0..MESSAGES).map(pick).collect()
}

fn of(list: &[&str]) -> Vec<String> {
    let mut random = fastrand::Rng::with_seed(8);
    (0..MESSAGES).map(|_| shuffled(list, &mut random)).collect()
}

/// As a large room has it: the built-in terms, and 500 of its own in two scripts.
fn config() -> FilterConfig {
    let mut random = fastrand::Rng::with_seed(3);
    let room_terms = (0..500).map(|n| {
        let mut letter = |n: usize| match n % 2 {
            0 => char::from_u32(0xAC00 + random.u32(..11_172)).unwrap_or('가'),
            _ => random.lowercase(),
        };
        let length = 2 + n % 9 + 3 * (n % 2);
        let text: String = (0..length).map(|_| letter(n)).collect();
        Term::parse(&text, Action::Block)
    });
    FilterConfig {
        room_terms: room_terms.collect(),
        links: LinkPolicy::Block,
        hosts: vec!["youtube.com".into()],
        ..FilterConfig::default()
    }
}

fn main() {
    println!(
        "memory of the filter: {} KiB",
        filter().memory_usage() / 1024
    );
    let mix = mix();
    let bytes: usize = mix.iter().map(String::len).sum();
    println!(
        "the mix: {} messages, {} bytes each",
        mix.len(),
        bytes / mix.len()
    );
    divan::main();
}

fn filter() -> Filter {
    Filter::new(&config()).expect("usable terms")
}

fn judge(bencher: Bencher, messages: &[String]) {
    let filter = filter();
    let mut scratch = Scratch::default();
    let bytes: usize = messages.iter().map(String::len).sum();
    bencher.counter(BytesCount::new(bytes)).bench_local(|| {
        for text in messages {
            black_box(filter.judge(black_box(text), &mut scratch));
        }
    });
}

#[divan::bench]
fn judge_mix(bencher: Bencher) {
    judge(bencher, &mix());
}

#[divan::bench]
fn judge_korean(bencher: Bencher) {
    judge(bencher, &of(KOREAN));
}

#[divan::bench]
fn judge_english(bencher: Bencher) {
    judge(bencher, &of(ENGLISH));
}

#[divan::bench]
fn judge_other(bencher: Bencher) {
    judge(bencher, &of(OTHER));
}

/// Messages of 500 characters made to be slow: each asks for every reading, or for many candidates.
#[divan::bench(args = ["시.발", "f1u1c1", "a*b*", "a.b ", "f u c k ", "ㅅㅂㅇ", ". com ", "dot "])]
fn judge_hostile(bencher: Bencher, piece: &str) {
    let text: String = piece.chars().cycle().take(500).collect();
    judge(bencher, &vec![text; 20]);
}

/// What of `everything_mix` is for floods: a comparison with up to 256 messages.
#[divan::bench]
fn flood_mix(bencher: Bencher) {
    let (filter, mut scratch) = (filter(), Scratch::default());
    let mut flood = Flood::new(FloodSettings::default());
    let now = Instant::now();
    let print = |text: &String| {
        filter.judge(text, &mut scratch);
        scratch.fingerprint()
    };
    let prints: Vec<_> = mix().iter().map(print).collect();
    bencher
        .counter(divan::counter::ItemsCount::new(prints.len()))
        .bench_local(|| {
            for (author, print) in prints.iter().enumerate() {
                black_box(flood.check(author as u64, *print, now));
            }
        });
}

/// All that the room does with a message's text.
#[divan::bench]
fn everything_mix(bencher: Bencher) {
    let (filter, messages) = (filter(), mix());
    let mut scratch = Scratch::default();
    let mut flood = Flood::new(FloodSettings::default());
    let (limits, now) = (TextLimits::default(), Instant::now());
    let bytes: usize = messages.iter().map(String::len).sum();
    bencher.counter(BytesCount::new(bytes)).bench_local(|| {
        for (author, text) in messages.iter().enumerate() {
            let Ok(shown) = sanitise(black_box(text), &limits) else {
                continue;
            };
            black_box(filter.judge(&shown, &mut scratch));
            black_box(flood.check(author as u64, scratch.fingerprint(), now));
        }
    });
}

#[divan::bench]
fn sanitise_mix(bencher: Bencher) {
    let (messages, limits) = (mix(), TextLimits::default());
    let bytes: usize = messages.iter().map(String::len).sum();
    bencher.counter(BytesCount::new(bytes)).bench_local(|| {
        for text in &messages {
            let _ = black_box(sanitise(black_box(text), &limits));
        }
    });
}

#[divan::bench]
fn compile_500_terms(bencher: Bencher) {
    let config = config();
    bencher.bench_local(|| Filter::new(black_box(&config)));
}

/// As large as terms may be: 500 of 100 syllables.
#[divan::bench]
fn compile_largest(bencher: Bencher) {
    let mut random = fastrand::Rng::with_seed(9);
    let mut config = FilterConfig::default();
    config.room_terms.extend((0..500).map(|_| {
        let syllable = |random: &mut fastrand::Rng| 0xAC00 + random.u32(..11_172);
        let text = (0..100).filter_map(|_| char::from_u32(syllable(&mut random)));
        Term::parse(&text.collect::<String>(), Action::Block)
    }));
    println!(
        "largest: {} KiB",
        Filter::new(&config).map_or(0, |f| f.memory_usage() / 1024)
    );
    bencher.bench_local(|| Filter::new(black_box(&config)));
}
