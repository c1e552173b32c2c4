//! Every corpus file, and mutations of it under one seed: what CI runs of the fuzz targets.

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use lightstick_fuzz::{TARGETS, Target};

/// Mutations of each target's corpus.
const MUTATIONS: usize = 20_000;
/// Longest mutated input, in bytes.
const LEN_MAX: usize = 1_500;

/// xorshift64*: the same inputs in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n.max(1)
    }

    fn byte(&mut self) -> u8 {
        match self.below(4) {
            0 => [0x00, 0x01, 0x7f, 0x80, 0xff][self.below(5)],
            _ => self.below(256) as u8,
        }
    }

    /// A few changes of the kinds that libFuzzer makes.
    fn mutate(&mut self, input: &mut Vec<u8>, other: &[u8]) {
        for _ in 0..=self.below(4) {
            let at = self.below(input.len() + 1);
            match self.below(7) {
                0 => input.truncate(at),
                1 => input.insert(at, self.byte()),
                2 if at < input.len() => input[at] = self.byte(),
                3 if at < input.len() => input[at] ^= 1 << self.below(8),
                4 if at < input.len() => drop(input.remove(at)),
                5 => {
                    let from = self.below(other.len() + 1);
                    let to = from + self.below(other.len() - from + 1);
                    input.splice(at..at, other[from..to].iter().copied());
                }
                6 => {
                    let to = at + self.below(input.len() - at + 1);
                    let piece = input[at..to].to_vec();
                    input.splice(to..to, piece);
                }
                _ => {}
            }
            input.truncate(LEN_MAX);
        }
    }
}

fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(name);
    let mut files: Vec<(String, Vec<u8>)> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| {
            let path = entry.expect("a readable folder").path();
            let bytes = fs::read(&path).expect("a readable file");
            (path.display().to_string(), bytes)
        })
        .collect();
    // The order of a folder is the file system's; that of the mutations must not be.
    files.sort();
    assert!(files.len() >= 2, "{} has no corpus", folder.display());
    files
}

fn run(target: Target, input: &[u8], what: &str) {
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| target(input)));
    if let Err(cause) = outcome {
        let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        eprintln!("{what} breaks an invariant: {hex}");
        panic::resume_unwind(cause);
    }
}

fn replay(name: &str) {
    let (_, target) = TARGETS
        .iter()
        .find(|(known, _)| *known == name)
        .expect("a target of this name");
    let corpus = corpus(name);
    run(*target, &[], "nothing");
    for (path, bytes) in &corpus {
        run(*target, bytes, path);
    }
    let mut random = Random(0x1165_7571_c4a1_1ce5);
    for _ in 0..MUTATIONS {
        let (path, base) = &corpus[random.below(corpus.len())];
        let (_, other) = &corpus[random.below(corpus.len())];
        let mut input = base.clone();
        random.mutate(&mut input, other);
        run(*target, &input, path);
    }
}

macro_rules! replays {
    ($($name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                replay(stringify!($name));
            }
        )*

        #[test]
        fn every_target_is_replayed_and_has_a_binary() {
            let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
            let libfuzzer = Path::new(env!("CARGO_MANIFEST_DIR")).join("libfuzzer");
            let manifest = fs::read_to_string(libfuzzer.join("Cargo.toml")).expect("a manifest");
            for name in names {
                assert!(manifest.contains(&format!("name = \"{name}\"\n")), "{name}");
                assert!(libfuzzer.join(format!("fuzz_targets/{name}.rs")).exists(), "{name}");
            }
        }
    };
}

replays!(
    binding,
    chat_filter,
    chat_request,
    codec_audio,
    codec_av1,
    codec_h264,
    codec_vp8,
    codec_vp9,
    demux,
    feedback,
    forward,
    if_match,
    names,
    relay_control,
    relay_link,
    relay_message,
    rtcp,
    sdp_fragment,
    sdp_offer,
    srtcp,
    stun,
    tcp_deframer,
    token,
    wire,
);
