use super::*;
use crate::{Filter, FilterConfig, Scratch};

struct Room {
    filter: Filter,
    scratch: Scratch,
    flood: Flood,
    now: Instant,
}

impl Room {
    fn new(settings: FloodSettings) -> Self {
        let filter = Filter::new(&FilterConfig::default()).expect("usable terms");
        let flood = Flood::new(settings);
        Self {
            filter,
            scratch: Scratch::default(),
            flood,
            now: Instant::now(),
        }
    }

    fn say(&mut self, author: u64, text: &str) -> Flooding {
        self.now += Duration::from_millis(100);
        let print = self.print(text);
        self.flood.check(author, print, self.now)
    }

    fn print(&mut self, text: &str) -> Fingerprint {
        self.filter.judge(text, &mut self.scratch);
        self.scratch.fingerprint()
    }
}

const SPAM: &str = "지금 제 방송 오시면 포토카드 나눠드려요 프로필 확인해주세요";

#[test]
fn small_changes_leave_texts_similar() {
    let mut room = Room::new(FloodSettings::default());
    let spam = room.print(SPAM);
    for similar in [
        "지금 제 방송 오시면 포토카드 나눠드려요!! 프로필 확인해주세요~",
        "지금제방송오시면포토카드나눠드려요프로필확인해주세요",
        "지금 제 방송 오시면 포카 나눠드려요 프로필 확인해주세요",
        "지금 제 방송 오시면 포토카드 나눠드려요 프로필 확인해주세요 1234",
        "지금 제 방송 오시면 포토카드 나눠드려요 프로필 꼭 확인해주세요 🔥🔥",
    ] {
        let print = room.print(similar);
        assert!(
            print.similarity(&spam) >= 60,
            "{similar}: {}",
            print.similarity(&spam)
        );
    }
    for other in [
        "지금 무대 의상 너무 예쁜데 어디 브랜드인지 아시는 분 있나요",
        "오늘 처음 왔는데 생각보다 노래를 너무 잘해서 놀랐어요",
        "come to my stream for free photo cards, check my profile",
    ] {
        let print = room.print(other);
        assert!(
            print.similarity(&spam) <= 20,
            "{other}: {}",
            print.similarity(&spam)
        );
    }
}

#[test]
fn one_text_by_many_is_a_crowd() {
    let mut room = Room::new(FloodSettings::default());
    for author in 1..5 {
        assert_eq!(room.say(author, SPAM), Flooding::No);
        // Others talk meanwhile.
        assert_eq!(
            room.say(author + 100, &format!("{author} 번째로 좋아하는 곡이에요")),
            Flooding::No
        );
    }
    assert_eq!(
        room.say(5, &format!("{SPAM} !!")),
        Flooding::Crowd { authors: 5 }
    );
    assert_eq!(room.say(5, "오늘 무대 진짜 최고였어요"), Flooding::No);
}

#[test]
fn one_text_again_and_again_is_a_repeat() {
    let mut room = Room::new(FloodSettings::default());
    assert_eq!(room.say(1, "팔로우 좀 해주세요 제발요"), Flooding::No);
    assert_eq!(room.say(1, "팔로우 좀 해주세요 제발요~"), Flooding::No);
    assert_eq!(room.say(2, "팔로우 좀 해주세요 제발요"), Flooding::No);
    assert_eq!(
        room.say(1, "팔로우 좀 해주세요 제발요ㅠ"),
        Flooding::Repeat { copies: 3 }
    );
}

#[test]
fn a_cheering_crowd_is_no_flood() {
    let mut room = Room::new(FloodSettings::default());
    for author in 0..1_000 {
        let cheer = [
            "ㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋ",
            "lol",
            "❤❤❤",
            "사랑해!!!",
            "앵콜 앵콜",
            "LETS GOOOOOO",
        ];
        let cheer = cheer[author as usize % cheer.len()];
        assert_eq!(room.say(author % 50, cheer), Flooding::No, "{cheer}");
    }
    // A chant that everybody types is fine as long as each types it once or twice.
    for author in 2_000..2_100 {
        assert_eq!(room.say(author, "김하늘 사랑해 영원히"), Flooding::No);
    }
}

#[test]
fn old_messages_are_forgotten() {
    let settings = FloodSettings {
        age_max: Duration::from_secs(30),
        ..FloodSettings::default()
    };
    let mut room = Room::new(settings);
    for _ in 0..10 {
        assert_eq!(room.say(1, SPAM), Flooding::No);
        room.now += Duration::from_secs(16);
    }
    // A clock that goes back ends nothing.
    room.now -= Duration::from_secs(60);
    assert_eq!(room.say(1, SPAM), Flooding::Repeat { copies: 3 });
}

#[test]
fn the_window_is_bounded() {
    let settings = FloodSettings {
        window: usize::MAX,
        age_max: Duration::MAX,
        ..FloodSettings::default()
    };
    let mut room = Room::new(settings);
    room.say(1, SPAM);
    room.say(1, SPAM);
    let capacity = room.flood.seen.capacity();
    for n in 0..2 * WINDOW_MAX as u64 {
        let text: String = (0..24)
            .map(|k| char::from(b'a' + ((n * 7 + k * k * (n + 3)) % 26) as u8))
            .collect();
        room.say(10 + n, &text);
        assert!(room.flood.seen.len() <= WINDOW_MAX);
    }
    assert_eq!(room.flood.seen.capacity(), capacity);
    assert_eq!(room.say(1, SPAM), Flooding::No, "pushed out of the window");
}

/// The comparison in vectors says what one text at a time says, round after round of the window.
#[test]
fn a_full_window_is_compared_as_one_by_one() {
    let settings = FloodSettings {
        authors: usize::MAX,
        copies: 2,
        repeat_symbols_min: 4,
        similar_percent: 25,
        ..FloodSettings::default()
    };
    let mut room = Room::new(settings);
    let mut random = fastrand::Rng::with_seed(5);
    let mut seen: VecDeque<(u64, Fingerprint)> = VecDeque::new();
    let mut found = 0;
    for round in 0..5 * WINDOW_MAX {
        let words = ["방송", "오세요", "photo", "cards", "프로필", "확인", "무료"];
        let text: Vec<&str> = (0..6).map(|_| words[random.usize(..words.len())]).collect();
        let (author, print) = (random.u64(..20), room.print(&text.join(" ")));
        let same =
            |(by, known): &&(u64, Fingerprint)| *by == author && known.similarity(&print) >= 25;
        let copies = 1 + seen.iter().filter(same).count();
        let expected = match copies {
            1 => Flooding::No,
            copies => Flooding::Repeat { copies },
        };
        found += usize::from(copies > 1);
        assert_eq!(
            room.flood.check(author, print, room.now),
            expected,
            "{round}"
        );
        seen.push_back((author, print));
        if seen.len() > WINDOW_MAX {
            seen.pop_front();
        }
    }
    assert!(found > WINDOW_MAX, "{found} copies are too few to tell");
}
