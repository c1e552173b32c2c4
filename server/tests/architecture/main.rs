//! Whatever docs/ARCHITECTURE.md and docs/bounds.md name is there: files, folders, types, functions and settings. No
//! crate reaches another that it must not know. Types stay small, and no modules import each other.

mod structure;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Words of docs/ARCHITECTURE.md.
const WORDS_MAX: usize = 2_500;

/// Folders of what is made or downloaded.
const NOT_OURS: [&str; 5] = ["target", "node_modules", "dist", ".git", "corpus"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All files below a folder, as paths from the root.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if NOT_OURS.iter().any(|not_ours| name == *not_ours) {
            continue;
        }
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// The words of our sources.
fn words(files: &[PathBuf]) -> HashSet<String> {
    let mut words = HashSet::new();
    let sources = ["rs", "ts", "toml", "proto"];
    for file in files {
        let extension = file.extension().and_then(|extension| extension.to_str());
        if extension.is_none_or(|extension| !sources.contains(&extension)) {
            continue;
        }
        let text = fs::read_to_string(file).unwrap_or_default();
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        words.extend(text.split(|c| !is_word(c)).map(str::to_owned));
    }
    words
}

/// What stands in backticks.
fn code_spans(text: &str) -> Vec<&str> {
    let blocks: Vec<&str> = text.split("```").step_by(2).collect();
    let spans = blocks
        .iter()
        .flat_map(|block| block.split('`').skip(1).step_by(2));
    spans.collect()
}

#[test]
fn all_that_the_architecture_names_is_there() {
    let mut all = Vec::new();
    files(&root(), &mut all);
    let words = words(&all);
    let paths: Vec<String> = all
        .iter()
        .filter_map(|path| path.strip_prefix(root()).ok())
        .map(|path| format!("/{}", path.display()))
        .collect();
    let read = |name| fs::read_to_string(root().join("docs").join(name)).expect("the document");
    let (architecture, bounds) = (read("ARCHITECTURE.md"), read("bounds.md"));
    let length = architecture.split_whitespace().count();
    assert!(
        length <= WORDS_MAX,
        "{length} words: it is read in a quarter of an hour"
    );
    let mut spans = code_spans(&architecture);
    spans.extend(code_spans(&bounds));
    assert!(spans.len() > 200, "only {} names were found", spans.len());
    let mut missing = Vec::new();
    for span in spans {
        let is_path = span.contains('/') || span.ends_with(".rs") || span.ends_with(".md");
        // A resource of HTTP, or several files at once.
        if span.starts_with('/') || span.contains(['{', '*', ' ']) {
            continue;
        }
        let exists = if is_path {
            let inside = format!("/{span}");
            let folder = inside.ends_with('/');
            paths.iter().any(|path| match folder {
                true => path.contains(&inside),
                false => path.ends_with(&inside),
            })
        } else {
            let names = span.split(|c: char| !(c.is_alphanumeric() || c == '_'));
            names
                .filter(|name| !name.is_empty())
                .all(|name| words.contains(name))
        };
        if !exists {
            missing.push(span);
        }
    }
    assert!(missing.is_empty(), "not there: {missing:?}");
}

/// What a crate must not reach, by itself or by way of others, and why.
const FORBIDDEN: [(&str, &[&str], &str); 8] = [
    ("lightstick-types", &["utoipa"], SCHEMAS),
    ("lightstick-sfu-core", &["utoipa"], SCHEMAS),
    (
        "lightstick-relay-core",
        &["lightstick-sfu-core", "lightstick-signaling-core", "tokio"],
        "links between nodes carry media and shows without knowing them",
    ),
    ("lightstick-signaling-core", &["utoipa"], SCHEMAS),
    ("lightstick-chat-core", &["utoipa"], SCHEMAS),
    (
        "lightstick-sfu",
        &[
            "lightstick-chat-core",
            "lightstick-chat-filter",
            "lightstick-chat-archive",
            "lightstick-chat",
            "lightstick-signaling",
        ],
        "the media plane carries chat by `chat/wire` alone",
    ),
    (
        "lightstick-signaling",
        &[
            "lightstick-chat",
            "lightstick-chat-http",
            "lightstick-chat-core",
            "lightstick-chat-filter",
            "lightstick-chat-archive",
        ],
        "signaling serves the chat's resources without knowing them",
    ),
    (
        "lightstick-chat-wire",
        &["lightstick-chat-core", "lightstick-chat-filter"],
        "frames know neither rooms nor the filter",
    ),
];

const SCHEMAS: &str =
    "the HTTP API describes values of the cores in `signaling/http/src/schema.rs`";

/// The crates of this workspace and what each is built with.
fn crates() -> BTreeMap<String, Vec<String>> {
    let mut all = Vec::new();
    files(&root(), &mut all);
    let manifests = all.iter().filter(|path| path.ends_with("Cargo.toml"));
    let mut crates = BTreeMap::new();
    for manifest in manifests {
        let text = fs::read_to_string(manifest).expect("a manifest");
        let (mut section, mut name, mut needs) = ("", None, Vec::new());
        for line in text.lines().map(str::trim) {
            if line.starts_with('[') {
                section = line;
            } else if section == "[package]"
                && let Some(value) = line.strip_prefix("name = ")
            {
                name = Some(value.trim_matches('"').to_owned());
            } else if section == "[dependencies]" && line.starts_with(char::is_alphabetic) {
                let end = line.find(['.', ' ', '=']).unwrap_or(line.len());
                needs.push(line[..end].to_owned());
            }
        }
        if let Some(name) = name {
            crates.insert(name, needs);
        }
    }
    crates
}

/// The way from one crate to another, both included.
fn way(crates: &BTreeMap<String, Vec<String>>, from: &str, to: &str) -> Option<Vec<String>> {
    let mut seen = HashSet::from([from.to_owned()]);
    let mut ways = vec![vec![from.to_owned()]];
    while let Some(way) = ways.pop() {
        let last = way.last().expect("a way is not empty");
        if last == to {
            return Some(way);
        }
        // What is not ours leads no further.
        for next in crates.get(last).into_iter().flatten() {
            if seen.insert(next.clone()) {
                ways.push([way.clone(), vec![next.clone()]].concat());
            }
        }
    }
    None
}

#[test]
fn no_crate_reaches_what_it_must_not_know() {
    let crates = crates();
    assert!(
        way(&crates, "lightstick", "lightstick-chat-filter").is_some(),
        "the server has a chat with a filter"
    );
    for (from, forbidden, why) in FORBIDDEN {
        for to in forbidden {
            let known = crates.contains_key(*to) || crates.values().flatten().any(|n| n == to);
            assert!(known, "no crate {to}");
            let way = way(&crates, from, to);
            assert!(way.is_none(), "{}: {why}", way.unwrap().join(" -> "));
        }
    }
}

/// A crate of ours that is not named there would be optimised at each build.
#[test]
fn own_crates_stay_quick_to_build() {
    let text = fs::read_to_string(root().join("Cargo.toml")).expect("the workspace");
    let members = text.lines().find(|line| line.starts_with("members = "));
    let folders = members.expect("there are members").split('"');
    let (mut found, mut missing) = (0, Vec::new());
    for folder in folders.skip(1).step_by(2) {
        let manifest = root().join(folder).join("Cargo.toml");
        let manifest = fs::read_to_string(manifest).expect("a manifest");
        let name = manifest
            .lines()
            .find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
        let name = name.expect("a crate has a name");
        found += 1;
        if !text.contains(&format!("\n{name} = {{ opt-level = 0,")) {
            missing.push(name.to_owned());
        }
    }
    assert!(found > 10, "only {found} crates were found");
    assert!(
        missing.is_empty(),
        "not in [profile.dev.package] of Cargo.toml: {missing:?}"
    );
}
