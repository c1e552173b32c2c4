//! Offers as RFC 4566, 8866, 8829, 9143, 8853 and 5576 allow them, generated: each is answered
//! section by section, or refused with the section and the reason.
//!
//! `SDP_OFFERS=10000` generates more than the usual number for each side.

use std::collections::HashSet;

use lightstick_sfu_core::answer::Local;
use lightstick_sfu_core::offer::{Offer, OfferError};
use lightstick_types::Role;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::{Config, TestRunner};

/// A section, as it is written.
#[derive(Clone, Debug)]
struct Section {
    kind: &'static str,
    port: u16,
    protocol: &'static str,
    direction: &'static str,
    formats: Vec<(u8, &'static str, &'static str)>,
    rtx: bool,
    extras: Vec<&'static str>,
    simulcast: &'static str,
    extension_ids: Vec<u16>,
    suffix: &'static str,
    bundled: bool,
}

const AUDIO: [(&str, &str); 8] = [
    ("opus/48000/2", "minptime=10;useinbandfec=1"),
    ("OPUS/48000/2", "stereo=1; sprop-stereo=1;cbr=1"),
    ("opus/48000", ""),
    ("opus/48000/1", "usedtx=1"),
    ("red/48000/2", "111/111"),
    ("PCMU/8000", ""),
    ("telephone-event/8000", "0-15"),
    ("multiopus/48000/6", "channel_mapping=0,4,1,2,3,5"),
];
const VIDEO: [(&str, &str); 16] = [
    ("VP8/90000", ""),
    ("vp8/90000", "max-fr=30;max-fs=3600"),
    ("VP9/90000", "profile-id=0"),
    ("VP9/90000", "profile-id=3"),
    ("AV1/90000", "level-idx=9;profile=0;tier=1"),
    ("AV1/90000", ""),
    (
        "H264/90000",
        "profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1",
    ),
    (
        "H264/90000",
        "profile-level-id=42001f; packetization-mode=0",
    ),
    (
        "H264/90000",
        "packetization-mode=1;profile-level-id=640c34;sprop-parameter-sets=Z0I=,aM4=",
    ),
    ("h264/90000", "profile-level-id=4D001F"),
    ("H264/90000", "profile-level-id=64003c;packetization-mode=1"),
    ("H264/90000", ""),
    ("H264/90000", "profile-level-id=6e0028;packetization-mode=1"),
    ("H265/90000", "profile-id=1"),
    ("ulpfec/90000", ""),
    ("flexfec-03/90000", "repair-window=10000000"),
];
const EXTRAS: [&str; 24] = [
    "i=camera",
    "b=AS:2500",
    "b=TIAS:2500000",
    "k=clear:secret",
    "a=rtcp:9 IN IP4 0.0.0.0",
    "a=rtcp-rsize",
    "a=rtcp-mux-only",
    "a=extmap-allow-mixed",
    "a=ssrc:11",
    "a=ssrc:12 cname:c",
    "a=ssrc:13 msid:s v",
    "a=ssrc-group:FID 12 13",
    "a=ssrc-group:FEC-FR 12 14",
    "a=msid:stream track",
    "a=msid:- track",
    "a=rtcp-fb:* transport-cc",
    "a=rtcp-fb:* nack",
    "a=rtcp-fb:* nack pli",
    "a=rtcp-fb:* ccm fir",
    "a=candidate:1 1 udp 2122260223 a.local 5 typ host generation 0",
    "a=end-of-candidates",
    "a=ptime:20",
    "a=label:x:y z",
    "a=bundle-only",
];
const SIMULCAST: [&str; 7] = [
    "",
    "",
    "a=rid:h send\na=rid:l send\na=simulcast:send h;l",
    "a=rid:1 send max-width=1280;max-fps=30\na=rid:~2 recv\na=simulcast:recv 2 send ~1,2",
    "a=simulcast: send rid=a;b;c;d",
    "a=ssrc-group:SIM 21 22 23\na=ssrc-group:FID 21 31\na=ssrc:21 cname:c",
    "a=rid:only send",
];
const URIS: [&str; 9] = [
    "urn:ietf:params:rtp-hdrext:sdes:mid",
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
    "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
    "urn:3gpp:video-orientation",
    "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time extra",
    "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
    "urn:ietf:params:rtp-hdrext:toffset",
];

fn section() -> impl Strategy<Value = Section> {
    let kinds = [
        "audio",
        "video",
        "audio",
        "video",
        "video",
        "application",
        "text",
        "image",
    ];
    let protocols = [
        "UDP/TLS/RTP/SAVPF",
        "UDP/TLS/RTP/SAVPF",
        "UDP/TLS/RTP/SAVPF",
        "TCP/DTLS/RTP/SAVPF",
        "RTP/SAVPF",
        "RTP/AVP",
        "UDP/BFCP",
    ];
    (
        (
            select(kinds.to_vec()),
            select(vec![9_u16, 9, 9, 0, 50_000]),
            select(protocols.to_vec()),
            select(vec![
                "sendonly", "sendrecv", "recvonly", "inactive", "sendonly",
            ]),
        ),
        vec((0_u8..128, 0_usize..16), 1..5),
        any::<bool>(),
        subsequence(EXTRAS.to_vec(), 0..10).prop_shuffle(),
        select(SIMULCAST.to_vec()),
        vec(
            select((1..=15).chain([16, 255, 4096]).collect::<Vec<u16>>()),
            URIS.len(),
        ),
        select(vec![
            "",
            "",
            "/sendonly",
            "/recvonly",
            "/sendrecv",
            "/inactive",
        ]),
        prop::bool::weighted(0.9),
    )
        .prop_map(
            |(
                (kind, port, protocol, direction),
                formats,
                rtx,
                extras,
                simulcast,
                ids,
                suffix,
                bundled,
            )| {
                let mut seen = HashSet::new();
                let table: &[(&str, &str)] = if kind == "audio" { &AUDIO } else { &VIDEO };
                let formats = formats.into_iter().filter(|(pt, _)| seen.insert(*pt));
                Section {
                    kind,
                    port,
                    protocol: if kind == "application" {
                        "UDP/DTLS/SCTP"
                    } else {
                        protocol
                    },
                    direction,
                    formats: formats
                        .map(|(pt, at)| (pt, table[at % table.len()].0, table[at % table.len()].1))
                        .collect(),
                    rtx,
                    extras,
                    simulcast,
                    extension_ids: ids,
                    suffix,
                    bundled,
                }
            },
        )
}

/// An offer's text, and its sections as they were generated.
fn offer() -> impl Strategy<Value = String> {
    let token = "[A-Za-z0-9!#$%&'*+.^_`{|}~-]{1,24}";
    (
        vec((section(), token), 1..6),
        select(vec!["\r\n", "\n"]),
        any::<bool>(),
        any::<bool>(),
        select(vec!["s=-", "s= ", "s=a show"]),
        select(vec!["actpass", "active", "passive"]),
        any::<u64>(),
    )
        .prop_map(|(sections, end, at_session, reverse, name, setup, ssrc)| {
            let print = ["AB"; 32].join(":");
            let transport = format!(
                "a=ice-ufrag:ab+/\na=ice-pwd:{}\na=ice-options:trickle\na=fingerprint:sha-256 {print}\n\
                 a=setup:{setup}\n",
                "p/+9".repeat(6)
            );
            let mut mids: Vec<String> = Vec::new();
            for (_, mid) in &sections {
                mids.push(match mids.contains(mid) {
                    true => format!("{mid}{}", mids.len()),
                    false => mid.clone(),
                });
            }
            let mut bundle: Vec<&str> = sections
                .iter()
                .zip(&mids)
                .filter(|((section, _), _)| section.bundled)
                .map(|(_, mid)| &**mid)
                .collect();
            if reverse {
                bundle.reverse();
            }
            let mut text = format!("v=0\no=- {ssrc} 2 IN IP4 127.0.0.1\n{name}\nt=0 0\n");
            if sections.len() > 1 {
                text += &format!("a=group:LS {0}\na=group:BUNDLE {0}\n", bundle.join(" "));
            }
            if at_session {
                text += &transport;
            }
            text += "a=msid-semantic: WMS *\n";
            for ((section, _), mid) in sections.iter().zip(&mids) {
                text += &write(section, mid, if at_session { "" } else { &transport });
            }
            text.replace('\n', end)
        })
}

fn write(section: &Section, mid: &str, transport: &str) -> String {
    let Section {
        kind,
        port,
        protocol,
        ..
    } = section;
    if *kind == "application" {
        return format!(
            "m=application {port} {protocol} webrtc-datachannel\nc=IN IP4 0.0.0.0\na=mid:{mid}\n\
             a=sctp-port:5000\n{transport}"
        );
    }
    let mut numbers: Vec<String> = section.formats.iter().map(|f| f.0.to_string()).collect();
    let mut lines = String::new();
    for (pt, name, parameters) in &section.formats {
        lines += &format!("a=rtpmap:{pt} {name}\n");
        if !parameters.is_empty() {
            lines += &format!("a=fmtp:{pt} {parameters}\n");
        }
        let resend = 127 - pt;
        if section.rtx && section.formats.iter().all(|f| f.0 != resend) {
            numbers.push(resend.to_string());
            lines += &format!("a=rtpmap:{resend} rtx/90000\na=fmtp:{resend} apt={pt}\n");
        }
    }
    for (id, uri) in section.extension_ids.iter().zip(URIS) {
        lines += &format!("a=extmap:{id}{} {uri}\n", section.suffix);
    }
    let extras: String = section
        .extras
        .iter()
        .map(|line| format!("{line}\n"))
        .collect();
    format!(
        "m={kind} {port} {protocol} {}\n{extras}c=IN IP4 0.0.0.0\na=mid:{mid}\na={}\na=rtcp-mux\n\
         {lines}{}\n{transport}",
        numbers.join(" "),
        section.direction,
        section.simulcast
    )
    .replace("\n\n", "\n")
}

/// The lines of each section, the session's first.
fn sections(sdp: &str) -> Vec<Vec<&str>> {
    let mut sections = vec![Vec::new()];
    for line in sdp.lines().filter(|line| !line.is_empty()) {
        if line.starts_with("m=") {
            sections.push(Vec::new());
        }
        sections.last_mut().expect("one at least").push(line);
    }
    sections
}

fn values<'a>(lines: &[&'a str], prefix: &str) -> Vec<&'a str> {
    lines
        .iter()
        .filter_map(|line| line.strip_prefix(prefix))
        .collect()
}

fn direction<'a>(lines: &[&'a str]) -> &'a str {
    let known = ["a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"];
    let mut found = lines.iter().filter(|line| known.contains(*line));
    found.next_back().copied().unwrap_or("a=sendrecv")
}

/// Holds an answer against its offer, section by section (RFC 3264, RFC 9429 section 5.3).
fn matches(offered: &str, answered: &str, role: Role) -> Result<(), TestCaseError> {
    let (offer, answer) = (sections(offered), sections(answered));
    prop_assert_eq!(offer.len(), answer.len(), "as many sections");
    let group = |lines: &[&str]| -> Vec<String> {
        let group = values(lines, "a=group:BUNDLE");
        let mids = group.iter().flat_map(|mids| mids.split_ascii_whitespace());
        mids.map(str::to_owned).collect()
    };
    let (bundle, answered_bundle) = (group(&offer[0]), group(&answer[0]));
    let rest: Vec<_> = bundle
        .iter()
        .filter(|mid| answered_bundle.contains(mid))
        .collect();
    prop_assert_eq!(
        rest,
        answered_bundle.iter().collect::<Vec<_>>(),
        "a part of the group"
    );
    for (offer, answer) in offer.iter().zip(&answer).skip(1) {
        let words = |line: &str| {
            line.split_ascii_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let (from, to) = (words(offer[0]), words(answer[0]));
        prop_assert_eq!((&from[0], &from[2]), (&to[0], &to[2]), "kind and protocol");
        prop_assert_eq!(values(offer, "a=mid:"), values(answer, "a=mid:"));
        prop_assert!(
            to[3..].iter().all(|format| from[3..].contains(format)),
            "{:?}",
            to
        );
        let mid = values(answer, "a=mid:")[0];
        let alone = bundle.is_empty() || !bundle.iter().any(|known| known == mid);
        if to[1] == "0" {
            prop_assert!(!answered_bundle.iter().any(|known| known == mid));
            continue;
        }
        prop_assert!(alone || answered_bundle.iter().any(|known| known == mid));
        prop_assert!(
            from[1] != "0" || offer.contains(&"a=bundle-only"),
            "rejected by its offerer"
        );
        for needed in [
            "a=ice-ufrag:",
            "a=ice-pwd:",
            "a=fingerprint:",
            "a=setup:",
            "a=candidate:",
        ] {
            prop_assert_eq!(values(answer, needed).len(), 1, "{}", needed);
        }
        prop_assert!(answer.contains(&"a=end-of-candidates"));
        if from[0] == "m=application" {
            continue;
        }
        let reversed: &[&str] = match direction(offer) {
            "a=sendonly" => &["a=recvonly", "a=inactive"],
            "a=recvonly" => &["a=sendonly", "a=inactive"],
            "a=inactive" => &["a=inactive"],
            _ => match role {
                Role::Publisher => &["a=recvonly"],
                Role::Viewer => &["a=sendonly"],
            },
        };
        prop_assert!(
            reversed.contains(&direction(answer)),
            "{}",
            direction(answer)
        );
        prop_assert!(answer.contains(&"a=rtcp-mux"));
        for line in values(answer, "a=rtpmap:") {
            prop_assert!(values(offer, "a=rtpmap:").contains(&line), "{}", line);
            let number = line.split(' ').next().expect("a number");
            prop_assert!(to[3..].iter().any(|format| format == number));
        }
        for line in values(answer, "a=extmap:") {
            let (id, uri) = line.split_once(' ').expect("an id and a URI");
            let id = id.split('/').next().expect("an id");
            let offered = values(offer, "a=extmap:");
            let same = |of: &&str| {
                let (known, rest) = of.split_once(' ').expect("an id and a URI");
                known.split('/').next() == Some(id) && rest.split(' ').next() == Some(uri)
            };
            prop_assert!(offered.iter().any(same), "{}", line);
        }
        for feedback in values(answer, "a=rtcp-fb:") {
            let name = feedback.split_once(' ').expect("a name").1;
            let offered = values(offer, "a=rtcp-fb:");
            prop_assert!(
                offered.iter().any(|line| line.ends_with(name)),
                "{}",
                feedback
            );
        }
        let streams: HashSet<&str> = values(answer, "a=msid:")
            .iter()
            .filter_map(|msid| msid.split(' ').next())
            .collect();
        prop_assert!(streams.iter().all(|stream| *stream == "lightstick"));
    }
    Ok(())
}

/// An answer that fits, or a refusal with its section and reason. Whether it was answered.
fn check(text: &str, role: Role) -> Result<bool, TestCaseError> {
    let offer = match Offer::read(text, role) {
        Ok(offer) => offer,
        Err(OfferError::Malformed(error)) => {
            return Err(TestCaseError::fail(format!(
                "a legal offer is malformed: {error}"
            )));
        }
        Err(OfferError::Refused(refusal)) => {
            let count = sections(text).len() - 1;
            if let Some(section) = &refusal.section {
                prop_assert!(section.index < count);
                let lines = &sections(text)[section.index + 1];
                let start = format!("m={} ", section.kind);
                prop_assert!(lines[0].starts_with(&start));
            } else {
                prop_assert!(["no_media"].contains(&refusal.reason.code()), "{}", refusal);
            }
            return Ok(false);
        }
    };
    let candidates = ["candidate:1 1 udp 1 127.0.0.1 7700 typ host".to_owned()];
    let streams = match role {
        Role::Publisher => Vec::new(),
        Role::Viewer => offer.streams(numbers()),
    };
    let answer = offer.answer(&Local {
        ufrag: "user",
        password: "password",
        fingerprint: "sha-256 00",
        candidates: &candidates,
        streams: &streams,
        id: 4,
    });
    matches(text, &answer, role)?;
    if role == Role::Publisher {
        // RFC 9725: nothing that is sent is left out.
        let sends = |lines: &Vec<&str>| {
            let media = lines[0].starts_with("m=audio") || lines[0].starts_with("m=video");
            let port = lines[0].split(' ').nth(1) != Some("0") || lines.contains(&"a=bundle-only");
            media && port && matches!(direction(lines), "a=sendonly" | "a=sendrecv")
        };
        let sent = sections(text)
            .iter()
            .skip(1)
            .filter(|lines| sends(lines))
            .count();
        prop_assert_eq!(offer.tracks().count(), sent);
    }
    Ok(true)
}

fn numbers() -> impl FnMut() -> u32 {
    let mut last = 0;
    move || {
        last += 1;
        last
    }
}

fn cases() -> u32 {
    let more = std::env::var("SDP_OFFERS").ok();
    more.and_then(|cases| cases.parse().ok()).unwrap_or(1_000)
}

#[test]
fn legal_offers_are_answered_whole_or_refused_by_section() {
    for role in [Role::Publisher, Role::Viewer] {
        let mut runner = TestRunner::new(Config {
            cases: cases(),
            failure_persistence: None,
            ..Config::default()
        });
        let answered = std::cell::Cell::new(0);
        let tried = std::cell::Cell::new(0);
        let result = runner.run(&offer(), |text| {
            tried.set(tried.get() + 1);
            answered.set(answered.get() + u32::from(check(&text, role)?));
            Ok(())
        });
        result.unwrap_or_else(|error| panic!("{role:?}: {error}"));
        println!(
            "{role:?}: {} offers, {} answered, the rest refused by section",
            tried.get(),
            answered.get()
        );
        assert!(
            answered.get() > cases() / 50,
            "the generator makes offers that can be answered"
        );
    }
}

#[test]
fn mutated_offers_never_panic() {
    let mut runner = TestRunner::new(Config {
        cases: cases(),
        failure_persistence: None,
        ..Config::default()
    });
    let edits = vec((any::<prop::sample::Index>(), any::<char>(), 0_u8..3), 1..6);
    let result = runner.run(&(offer(), edits), |(text, edits)| {
        let mut text: Vec<char> = text.chars().collect();
        for (at, c, edit) in edits {
            let at = at.index(text.len());
            match edit {
                0 => text[at] = c,
                1 => text.insert(at, c),
                _ if text.len() > 1 => drop(text.remove(at)),
                _ => {}
            }
        }
        let text: String = text.into_iter().collect();
        for role in [Role::Publisher, Role::Viewer] {
            if let Err(error) = Offer::read(&text, role) {
                prop_assert!(error.to_string().is_ascii());
            }
        }
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}
