//! A room's settings, checked.

use std::collections::HashSet;

use lightstick_chat_filter::is_emoji_word;
use lightstick_chat_proto::{HoldPolicy, Settings};

use url::Url;

use crate::refusal::{Code, Refusal};

/// Longest slow mode, in seconds.
pub const SLOW_SECONDS_MAX: u32 = 120;
/// Blocked terms of a room.
pub const TERMS_MAX: usize = 500;
/// Longest blocked term, in characters.
pub const TERM_CHARS_MAX: usize = 100;
pub const EMOTES_MAX: usize = 200;
/// Longest name of an emote, in bytes.
pub const EMOTE_NAME_MAX: usize = 32;
/// Longest address of an emote's picture, in bytes.
pub const EMOTE_URL_MAX: usize = 512;
/// Names and addresses of all of a room's emotes, in bytes: every newcomer gets them in one frame.
pub const EMOTES_BYTES_MAX: usize = 6 * 1024;

/// Takes settings that somebody sent.
pub(crate) fn checked(settings: Settings, emote_hosts: &[String]) -> Result<Settings, Refusal> {
    let out = |what: &str| Err(Refusal::because(Code::OutOfRange, what));
    if settings.slow_seconds > SLOW_SECONDS_MAX {
        return out("slow_seconds: 0 to 120");
    }
    if HoldPolicy::try_from(settings.hold).is_err() {
        return out("hold: unknown");
    }
    if settings.blocked_terms.len() > TERMS_MAX {
        return out("blocked_terms: at most 500");
    }
    let is_term = |term: &String| {
        let long = term.chars().count() > TERM_CHARS_MAX;
        !term.trim().is_empty() && !long && !term.contains(char::is_control)
    };
    if !settings.blocked_terms.iter().all(is_term) {
        return out("blocked_terms: 1 to 100 characters each, none of them a control");
    }
    if settings.emotes.len() > EMOTES_MAX {
        return out("emotes: at most 200");
    }
    let bytes = settings
        .emotes
        .iter()
        .map(|emote| emote.name.len() + emote.url.len());
    if bytes.sum::<usize>() > EMOTES_BYTES_MAX {
        return out("emotes: at most 6 KiB of names and urls");
    }
    let mut names = HashSet::new();
    for emote in &settings.emotes {
        if !is_emote_name(&emote.name) || !names.insert(&emote.name) {
            return out("emotes: a name is 1 to 32 of a-z 0-9 _, once");
        }
        if emote.url.len() > EMOTE_URL_MAX || !is_emote_url(&emote.url, emote_hosts) {
            return out(
                "emotes: a url is a path, or https and a host of emote_hosts, of up to 512 bytes",
            );
        }
    }
    Ok(settings)
}

/// Whether a browser loads a picture from this server or one of these hosts, as the URL standard
/// reads it: a backslash is a slash there, and what is no graphic ASCII is refused.
fn is_emote_url(url: &str, hosts: &[String]) -> bool {
    let Ok(base) = Url::parse("https://this.invalid/") else {
        return false;
    };
    let Ok(read) = base.join(url) else {
        return false;
    };
    let plain = url.bytes().all(|byte| byte.is_ascii_graphic()) && !url.contains('\\');
    let own = url.starts_with('/') && read.origin() == base.origin();
    let host = read.host_str().unwrap_or_default();
    let authority = match read.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    let anonymous = read.username().is_empty() && read.password().is_none();
    let foreign = url.starts_with("https://") && read.scheme() == "https";
    plain && anonymous && (own || foreign && hosts.contains(&authority))
}

/// Whether a name can be an emote's.
pub(crate) fn is_emote_name(name: &str) -> bool {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
    (1..=EMOTE_NAME_MAX).contains(&name.len()) && name.bytes().all(allowed)
}

/// Whether a text is nothing but emotes: `:name:` of the room, or pictographs.
pub(crate) fn is_emotes_only(text: &str, settings: &Settings) -> bool {
    let known = |name: &str| settings.emotes.iter().any(|emote| emote.name == name);
    text.split_whitespace().all(|word| {
        let named = word
            .strip_prefix(':')
            .and_then(|word| word.strip_suffix(':'));
        match named {
            Some(names) => names.split("::").all(known),
            None => is_emoji_word(word),
        }
    })
}

#[cfg(test)]
mod tests {
    use lightstick_chat_proto::Emote;

    use super::*;

    fn emote(name: &str, url: &str) -> Settings {
        Settings {
            emotes: vec![Emote {
                name: name.into(),
                url: url.into(),
            }],
            ..Settings::default()
        }
    }

    fn many_emotes(count: usize, url_bytes: usize) -> Settings {
        let emotes = (0..count).map(|n| Emote {
            name: format!("e{n:03}"),
            url: format!("/{}", "w".repeat(url_bytes - 1)),
        });
        Settings {
            emotes: emotes.collect(),
            ..Settings::default()
        }
    }

    #[test]
    fn settings_table() {
        let slow = |slow_seconds| Settings {
            slow_seconds,
            ..Settings::default()
        };
        let terms = |term: &str, count| Settings {
            blocked_terms: vec![term.to_owned(); count],
            ..Settings::default()
        };
        for (settings, good) in [
            (Settings::default(), true),
            (slow(120), true),
            (slow(121), false),
            (terms("x", 500), true),
            (terms("x", 501), false),
            (terms(" ", 1), false),
            (terms(&"한".repeat(100), 1), true),
            (terms(&"한".repeat(101), 1), false),
            (emote("wave", "https://example.org/wave.png"), true),
            (emote("wave", "/emotes/wave.png"), true),
            (emote("wave", "https://example.org.evil/wave.png"), false),
            (emote("wave", "https://example.org@evil/wave.png"), false),
            (emote("wave", "https://example.org"), true),
            (emote("wave", &format!("/{}", "w".repeat(511))), true),
            (emote("wave", &format!("/{}", "w".repeat(512))), false),
            (many_emotes(200, 26), true),
            (many_emotes(200, 27), false),
            (emote("wave", "//example.org/wave.png"), false),
            (emote("wave", "/\\evil.example/x.png"), false),
            (emote("wave", "\\\\evil.example/x.png"), false),
            (emote("wave", "/emotes\\x.png"), false),
            (emote("wave", "/\t/evil.example/x.png"), false),
            (emote("wave", "https:/\\evil.example/x.png"), false),
            (emote("wave", "https://mina@example.org/x.png"), false),
            (emote("wave", "https://EXAMPLE.org/x.png"), true),
            (emote("wave", "https://example.org:8443/x.png"), false),
            (
                emote("wave", "https://example.org\\.evil.example/x.png"),
                false,
            ),
            (emote("wave", "https:example.org/x.png"), false),
            (emote("wave", "/../../x.png"), true),
            (terms("a\u{1}", 1), false),
            (emote("wave", "javascript:alert(1)"), false),
            (emote("wave", "https://example.org/a b"), false),
            (emote("Wave", "/w.png"), false),
            (emote("", "/w.png"), false),
        ] {
            let hosts = ["example.org".to_owned()];
            assert_eq!(
                checked(settings.clone(), &hosts).is_ok(),
                good,
                "{settings:?}"
            );
        }
        let mut twice = emote("wave", "/w.png");
        twice.emotes.push(twice.emotes[0].clone());
        assert!(checked(twice, &[]).is_err());
    }

    #[test]
    fn emotes_only_table() {
        let settings = emote("wave", "/w.png");
        for (text, only) in [
            (":wave:", true),
            (":wave::wave: 💜", true),
            ("💜💜 👩‍🎤 1️⃣ #⃣ 🏴󠁧󠁢󠁥󠁮󠁧󠁿 ©️ ♥", true),
            ("1 💜", false),
            (":wave", false),
            (":other:", false),
            ("hi 💜", false),
            ("사랑해", false),
        ] {
            assert_eq!(is_emotes_only(text, &settings), only, "{text}");
        }
    }
}
