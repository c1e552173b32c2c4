//! The limits of types, and the imports between the modules of a crate. Sources are read line by line, as rustfmt
//! lays them out: items begin in the first column, fields and methods in the fifth.
//!
//! An import between a module and one inside it is no circle: a module and its parts are one unit.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::Path;

use super::{files, root};

const FIELDS_MAX: usize = 12;
const METHODS_MAX: usize = 25;

/// Settings, tables of figures, and a section of a session description as it was read: they are as long as what they
/// list.
const TABLES: [(&str, &str); 17] = [
    ("bench/load", "Step"),
    ("bench/load", "Report"),
    ("bench/load", "Storm"),
    ("bench/load", "Chat"),
    ("bench/load", "Delivery"),
    ("bench/load", "Flood"),
    ("chat/archive", "ArchiveStats"),
    ("chat/archive", "ArchiveStatsSnapshot"),
    ("chat/core", "RoomConfig"),
    ("chat/net", "PlaneStats"),
    ("chat/net", "ChatConfig"),
    ("sfu/core", "Tally"),
    ("sfu/core", "Media"),
    ("sfu/net", "ShardStats"),
    ("sfu/net", "MediaConfig"),
    ("sfu/net", "ChatStats"),
    ("signaling/http", "SignalingConfig"),
];

/// Types that are past a limit, and yet to be divided.
const TO_BE_DIVIDED: [(&str, &str); 1] = [("sfu/net", "Shard")];

/// Modules whose circles are yet to be opened, by the beginning of their paths.
const TO_BE_OPENED: [&str; 1] = ["sfu/net/src/"];

/// Where a module stands in its crate; the crate itself has no names.
type Place = Vec<String>;

/// The modules of one crate, without those that only tests are built with.
struct Crate {
    folder: String,
    modules: BTreeMap<Place, String>,
}

impl Crate {
    fn new(folder: &str, sources: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut modules = BTreeMap::new();
        let mut of_tests = BTreeSet::new();
        for (path, text) in sources {
            let mut place: Place = path
                .trim_end_matches(".rs")
                .split('/')
                .map(str::to_owned)
                .collect();
            place.pop_if(|last| ["lib", "main", "mod"].contains(&last.as_str()));
            let mut lines = text.lines().peekable();
            while let Some(line) = lines.next() {
                let declared = lines.peek().and_then(|next| module_name(next));
                if line == "#[cfg(test)]"
                    && let Some(name) = declared
                {
                    of_tests.insert([place.clone(), vec![name.to_owned()]].concat());
                }
            }
            // Inline tests come last.
            let tests = text.find("\n#[cfg(test)]\nmod tests {");
            let text = text[..tests.unwrap_or(text.len())].to_owned();
            // A library and a program may both be the root.
            modules
                .entry(place)
                .or_insert_with(String::new)
                .push_str(&text);
        }
        modules.retain(|place, _| !of_tests.iter().any(|tests| place.starts_with(tests)));
        Self {
            folder: folder.to_owned(),
            modules,
        }
    }

    /// A module's file, or where it would be.
    fn file(&self, place: &Place) -> String {
        let path = place.join("/");
        let folder = &self.folder;
        let beside = format!("{folder}/src/{path}.rs");
        match root().join(&beside).exists() {
            true => beside,
            false => format!("{folder}/src/{path}/mod.rs").replace("//", "/"),
        }
    }
}

/// `mod name;`
fn module_name(line: &str) -> Option<&str> {
    let name = public(line).strip_prefix("mod ")?;
    name.strip_suffix(';')
}

/// Leaves out `pub`, `pub(crate)` and their like.
fn public(line: &str) -> &str {
    let rest = line.strip_prefix("pub").unwrap_or(line);
    let rest = match rest.strip_prefix('(') {
        Some(scope) => scope.split_once(')').map_or(rest, |(_, rest)| rest),
        None => rest,
    };
    rest.trim_start()
}

fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}

/// The type that an `impl` block of its own methods is for.
fn implemented(line: &str) -> Option<&str> {
    let mut rest = line.strip_prefix("impl")?;
    if rest.starts_with('<') {
        let mut depth = 0;
        let end = rest.find(|c| {
            depth += i32::from(c == '<') - i32::from(c == '>');
            depth == 0
        });
        rest = &rest[end? + 1..];
    }
    let path = rest.split(['<', '{']).next()?.trim();
    let name = path.split(" where").next()?.rsplit("::").next()?;
    (!rest.contains(" for ") && !name.is_empty()).then_some(name)
}

fn is_method(line: &str) -> bool {
    let mut line = public(line);
    for word in ["const ", "async ", "unsafe "] {
        line = line.strip_prefix(word).unwrap_or(line);
    }
    line.starts_with("fn ")
}

fn is_field(line: &str) -> bool {
    let line = public(line);
    let name = identifier(line);
    !name.is_empty() && line[name.len()..].starts_with(": ")
}

/// Fields and methods of each type, by its name and the module that defines it.
fn sizes(of: &Crate) -> BTreeMap<(&str, &Place), (usize, usize)> {
    let mut sizes = BTreeMap::<_, (usize, usize)>::new();
    let mut methods = Vec::new();
    for (place, text) in &of.modules {
        let (mut defined, mut implements, mut open) = (None, None, false);
        for line in text.lines() {
            if let Some(inside) = line.strip_prefix("    ") {
                // Before the body come bounds, which look like fields.
                if !open {
                    continue;
                }
                if let Some(name) = defined {
                    let (fields, _) = sizes.entry((name, place)).or_default();
                    *fields += usize::from(is_field(inside));
                }
                if let Some(name) = implements {
                    methods.push((name, place, usize::from(is_method(inside))));
                }
            } else if !line.is_empty() {
                let item = public(line);
                open = line.ends_with('{');
                if item.starts_with(char::is_alphabetic) && item != "where" {
                    defined = item.strip_prefix("struct ").map(identifier);
                    implements = implemented(item);
                    let other = item.strip_prefix("enum ").map(identifier);
                    if let Some(name) = defined.or(other) {
                        sizes.entry((name, place)).or_default();
                    }
                }
            }
        }
    }
    // Methods count for the nearest type of that name.
    for (name, place, count) in methods {
        let shared = |other: &Place| place.iter().zip(other).take_while(|(a, b)| a == b).count();
        let named = sizes.keys().filter(|(defined, _)| *defined == name);
        let nearest = named.max_by_key(|(_, other)| shared(other)).copied();
        if let Some((_, all)) = nearest.and_then(|key| sizes.get_mut(&key)) {
            *all += count;
        }
    }
    sizes
}

/// `a::{b, c::{d, e}}` as `a::b`, `a::c::d` and `a::c::e`.
fn expand(tree: &str) -> Vec<String> {
    let Some((before, group)) = tree.split_once('{') else {
        return vec![tree.trim().to_owned()];
    };
    let (mut depth, mut parts) = (0, vec![String::new()]);
    for c in group[..group.rfind('}').unwrap_or(group.len())].chars() {
        depth += i32::from(c == '{') - i32::from(c == '}');
        match c {
            ',' if depth == 0 => parts.push(String::new()),
            c => parts.last_mut().expect("it is never empty").push(c),
        }
    }
    let parts = parts.iter().filter(|part| !part.trim().is_empty());
    let paths = parts.flat_map(|part| expand(part.trim()));
    paths
        .map(|path| format!("{}{path}", before.trim()))
        .collect()
}

/// Paths into a module's own crate, each with the name that it is imported by and whether others can import it from
/// here.
fn imports(of: &Crate, place: &Place, text: &str) -> Vec<(Place, String, bool)> {
    let code = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or(line));
    let code = code.collect::<Vec<_>>().join("\n");
    let mut imports = Vec::new();
    for (at, _) in code.match_indices("use ") {
        let line = code[..at].rfind('\n').map_or(0, |end| end + 1);
        let before = &code[line..at];
        let Some(end) = code[at..].find(';').filter(|_| public(before).is_empty()) else {
            continue;
        };
        for path in expand(&code[at + 4..at + end].replace('\n', " ")) {
            let (path, alias) = path.split_once(" as ").unwrap_or((&path, ""));
            let mut names: Place = path
                .split("::")
                .map(|name| name.trim().to_owned())
                .collect();
            names.pop_if(|last| last == "self");
            let alias = match alias {
                "" => names.last().cloned().unwrap_or_default(),
                alias => alias.trim().to_owned(),
            };
            let Some(absolute) = absolute(of, place, &names) else {
                continue;
            };
            imports.push((absolute, alias, before.starts_with("pub")));
        }
    }
    imports
}

/// A path of this crate from its root; none where it leads into another crate.
fn absolute(of: &Crate, place: &Place, names: &[String]) -> Option<Place> {
    let first = names.first()?.as_str();
    let mut base = place.clone();
    let mut rest = names;
    match first {
        "crate" => {
            base.clear();
            rest = &rest[1..];
        }
        "self" => rest = &rest[1..],
        "super" => {
            while rest.first().is_some_and(|name| name == "super") {
                base.pop();
                rest = &rest[1..];
            }
        }
        _ => {
            let inside = [place.clone(), vec![first.to_owned()]].concat();
            if !of.modules.contains_key(&inside) {
                return None;
            }
        }
    }
    Some([base, rest.to_vec()].concat())
}

/// Which modules each module imports something from that is defined there.
fn graph(of: &Crate) -> BTreeMap<&Place, BTreeSet<&Place>> {
    let imported: BTreeMap<_, _> = of
        .modules
        .iter()
        .map(|(place, text)| (place, imports(of, place, text)))
        .collect();
    let mut handed_on = BTreeMap::new();
    for (place, imports) in &imported {
        for (path, alias, _) in imports.iter().filter(|(_, _, public)| *public) {
            handed_on.insert([place.to_vec(), vec![alias.clone()]].concat(), path);
        }
    }
    // Follows what is handed on to where it is defined.
    let resolve = |path: &Place| {
        let mut path = path.clone();
        for _ in 0..handed_on.len() {
            let on = (1..=path.len()).rev().find_map(|len| {
                let on = handed_on.get(&path[..len])?;
                Some([on.to_vec(), path[len..].to_vec()].concat())
            });
            match on {
                Some(on) if on != path => path = on,
                _ => break,
            }
        }
        (0..=path.len()).rev().find_map(|len| {
            let (place, _) = of.modules.get_key_value(&path[..len])?;
            Some(place)
        })
    };
    let mut graph = BTreeMap::new();
    for (place, imports) in &imported {
        let to = imports.iter().filter_map(|(path, ..)| resolve(path));
        let to = to.filter(|to| !place.starts_with(to) && !to.starts_with(place));
        graph.insert(*place, to.collect::<BTreeSet<_>>());
    }
    graph
}

/// A shortest way from a module back to itself.
fn circle<'a>(graph: &BTreeMap<&'a Place, BTreeSet<&'a Place>>) -> Option<Vec<&'a Place>> {
    let ways = graph.keys().filter_map(|from| {
        let mut ways = VecDeque::from([vec![*from]]);
        let mut seen = BTreeSet::new();
        while let Some(way) = ways.pop_front() {
            for next in &graph[way.last()?] {
                if next == from {
                    return Some([way, vec![*next]].concat());
                }
                if graph.contains_key(next) && seen.insert(*next) {
                    ways.push_back([way.clone(), vec![*next]].concat());
                }
            }
        }
        None
    });
    ways.min_by_key(Vec::len)
}

/// The crates of this workspace, but for their tests.
fn crates() -> Vec<Crate> {
    let mut all = Vec::new();
    files(&root(), &mut all);
    let path = |path: &Path| {
        let path = path.strip_prefix(root()).expect("it is below the root");
        path.to_string_lossy().into_owned()
    };
    let all: Vec<String> = all.iter().map(|file| path(file)).collect();
    let folders = all
        .iter()
        .filter_map(|file| file.strip_suffix("/Cargo.toml"));
    let crates = folders.map(|folder| {
        let inside = format!("{folder}/src/");
        let sources = all.iter().filter_map(|file| {
            let name = file
                .strip_prefix(&inside)
                .filter(|name| name.ends_with(".rs"))?;
            let text = fs::read_to_string(root().join(file)).expect("a source");
            Some((name.to_owned(), text))
        });
        Crate::new(folder, sources)
    });
    crates.collect()
}

#[test]
fn types_stay_within_their_limits() {
    let (mut types, mut wrong) = (0, Vec::new());
    for of in &crates() {
        for ((name, place), (fields, methods)) in sizes(of) {
            types += 1;
            let listed = |list: &[(&str, &str)]| list.contains(&(of.folder.as_str(), name));
            let long = fields > FIELDS_MAX && !listed(&TABLES) || methods > METHODS_MAX;
            if long && !listed(&TO_BE_DIVIDED) {
                let file = of.file(place);
                wrong.push(format!(
                    "{file}: {name} has {fields} fields, {methods} methods"
                ));
            }
        }
    }
    assert!(types > 500, "only {types} types were found");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_modules_import_each_other() {
    let (mut arrows, mut wrong) = (0, Vec::new());
    for of in &crates() {
        let mut graph = graph(of);
        arrows += graph.values().map(BTreeSet::len).sum::<usize>();
        graph.retain(|place, _| {
            let file = of.file(place);
            !TO_BE_OPENED.iter().any(|known| file.starts_with(known))
        });
        if let Some(circle) = circle(&graph) {
            let files = circle.into_iter().map(|place| of.file(place));
            wrong.push(files.collect::<Vec<_>>().join(" -> "));
        }
    }
    assert!(arrows > 500, "only {arrows} imports were found");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_is_wrong_is_found() {
    let source = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    let of = Crate::new(
        "made/up",
        [
            source(
                "lib.rs",
                "mod a;\nmod b;\npub use b::{\n    B,\n    C as D,\n};\n",
            ),
            source(
                "a.rs",
                "use crate::{D, a::part::{self, Part}};\npub(crate) struct A {\n    pub(crate) of: D,\n    two: u8,\n}\n",
            ),
            source(
                "a/part.rs",
                "use super::A;\npub struct Part<T>\nwhere\n    T: Copy,\n{\n    of: A,\n}\n",
            ),
            source(
                "b.rs",
                "use super::a::A;\nimpl<T: Into<A>> B<T> {\n    pub const fn one() {}\n    fn two() {}\n}\nimpl Clone for B {\n    fn clone() {}\n}\npub struct B(\n    u8,\n);\n#[cfg(test)]\nmod tests {\n    use crate::nowhere;\n}\n",
            ),
        ],
    );
    let sizes: BTreeMap<_, _> = sizes(&of)
        .into_iter()
        .map(|((name, _), sizes)| (name, sizes))
        .collect();
    assert_eq!(sizes["A"], (2, 0));
    assert_eq!(sizes["B"], (0, 2));
    assert_eq!(sizes["Part"], (1, 0));
    let graph = graph(&of);
    let circle = circle(&graph).expect("a and b import each other");
    let names: Vec<String> = circle.iter().map(|place| place.join("::")).collect();
    assert_eq!(names, ["a", "b", "a"]);
}
