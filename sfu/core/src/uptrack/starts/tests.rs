use super::*;
use crate::codec::inspect;
use lightstick_types::Codec;

const SPS: &[u8] = &[0x67, 0x42, 0xc0, 0x1e, 0x95, 0xa0];
const PPS: &[u8] = &[0x68, 0xce, 0x3c, 0x80];
const BOTH: &[u8] = &[
    0x78, 0, 6, 0x67, 0x42, 0xc0, 0x1e, 0x95, 0xa0, 0, 4, 0x68, 0xce, 0x3c, 0x80,
];
const DELIMITER: &[u8] = &[0x09, 0xf0];
const IDR: &[u8] = &[0x65, 0xb8, 0x00];
const IDR_SECOND_SLICE: &[u8] = &[0x65, 0x40, 0x00];
const INTER: &[u8] = &[0x61, 0xe0, 0x00];
const RECOVERY: &[u8] = &[0x06, 0x06, 0x01, 0xc4, 0x80];

fn offered() -> ParameterSets {
    ParameterSets::offered(["Z0LAHpWg,aM48gA=="])
}

struct Stream {
    starts: Starts,
    now: Instant,
    timestamp: u32,
}

impl Stream {
    fn new(sets: ParameterSets) -> Self {
        let now = Instant::now();
        Self {
            starts: Starts::new(sets, now),
            now,
            timestamp: 0,
        }
    }

    fn packet(&mut self, payload: &[u8], ahead: bool) -> char {
        let nals = inspect(Codec::H264, payload).unwrap().nals;
        let what = (self.timestamp, nals);
        match self.starts.take(payload, what, ahead, self.now).0 {
            Start::No => '.',
            Start::Here => 'H',
            Start::After(sets) => {
                assert_eq!(*sets, *BOTH);
                'A'
            }
        }
    }

    /// A picture's packets, each by what it is: `.` no start, `H` a start, `A` a start after sets.
    fn picture(&mut self, payloads: &[&[u8]]) -> String {
        self.timestamp += 3_000;
        self.now += Duration::from_millis(33);
        payloads.iter().map(|p| self.packet(p, true)).collect()
    }
}

#[test]
fn sets_in_the_stream_are_the_start_once_all_are_known() {
    let mut stream = Stream::new(ParameterSets::default());
    assert_eq!(stream.picture(&[SPS, PPS, IDR, IDR_SECOND_SLICE]), "..A.");
    assert_eq!(stream.picture(&[INTER]), ".");
    assert_eq!(stream.picture(&[SPS, PPS, IDR, IDR_SECOND_SLICE]), "H...");
    assert_eq!(stream.picture(&[BOTH, IDR]), "H.");
    assert_eq!(stream.picture(&[DELIMITER, BOTH, IDR]), ".H.");
}

#[test]
fn keyframes_without_sets_get_the_last_ones() {
    let mut stream = Stream::new(ParameterSets::default());
    assert_eq!(stream.picture(&[IDR]), ".", "nobody could show it");
    assert!(stream.starts.lacks_sets());
    assert_eq!(stream.picture(&[BOTH, IDR]), "H.");
    assert!(!stream.starts.lacks_sets());
    assert_eq!(stream.picture(&[IDR]), "A");
    assert_eq!(stream.picture(&[DELIMITER, IDR, IDR]), ".A.");
    assert_eq!(stream.picture(&[PPS, IDR]), ".A");
    assert_eq!(Stream::new(offered()).picture(&[IDR]), "A");
}

#[test]
fn sets_before_other_pictures_are_believed_once_only() {
    let mut stream = Stream::new(ParameterSets::default());
    assert_eq!(stream.picture(&[BOTH, IDR]), "H.");
    assert_eq!(stream.picture(&[BOTH, INTER]), "H.");
    assert_eq!(stream.picture(&[BOTH, INTER]), "..");
    assert_eq!(stream.picture(&[BOTH, IDR]), ".A");
}

#[test]
fn recovery_points_are_starts_where_no_keyframe_comes() {
    let mut stream = Stream::new(ParameterSets::default());
    assert_eq!(stream.picture(&[BOTH, RECOVERY, INTER]), "H..");
    assert_eq!(stream.picture(&[INTER]), ".");
    // Without sets of their own they are believed when no IDR picture has come for long.
    assert_eq!(stream.picture(&[RECOVERY, INTER]), "..");
    stream.now += NO_IDR;
    assert_eq!(stream.picture(&[RECOVERY, INTER]), "A.");
    assert_eq!(stream.picture(&[IDR]), "A");
    assert_eq!(stream.picture(&[RECOVERY, INTER]), "..");
}

#[test]
fn a_late_packet_is_a_start_only_where_it_needs_nothing_before_it() {
    let mut stream = Stream::new(offered());
    assert_eq!(stream.picture(&[IDR_SECOND_SLICE]), ".");
    assert_eq!(stream.packet(IDR, false), '.');
    assert_eq!(stream.packet(BOTH, false), 'H');
    assert_eq!(stream.picture(&[INTER]), ".");
}

#[test]
fn numbers_count_on_over_what_is_inserted() {
    let mut numbers = Numbers::default();
    assert_eq!(numbers.of(10), Some(10));
    assert_eq!(numbers.insert(11), 11);
    assert_eq!(numbers.insert(14), 15);
    let all: Vec<_> = (9..16).filter_map(|n| numbers.of(n)).collect();
    assert_eq!(all, [9, 10, 12, 13, 14, 16, 17]);
}

#[test]
fn what_is_too_late_for_its_number_is_given_none() {
    let mut numbers = Numbers::default();
    for n in 0..2 * PLACES_MAX as u64 {
        let inserted = numbers.insert(n * 10);
        assert_eq!(numbers.of(n * 10), Some(inserted + 1));
        assert_eq!(numbers.of(n * 10 + 9), Some(inserted + 10));
    }
    let oldest = (PLACES_MAX as u64 - 1) * 10;
    assert_eq!(numbers.of(oldest - 1), None);
    assert_eq!(numbers.of(oldest), Some(oldest + PLACES_MAX as u64));
    // Anew: what was inserted before counts for all.
    numbers.restart();
    assert_eq!(numbers.of(4), Some(4 + 128));
    let inserted = numbers.insert(5);
    assert_eq!((inserted, numbers.of(5)), (5 + 128, Some(5 + 129)));
}
