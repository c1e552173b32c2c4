//! What comes in HTTP requests: session descriptions, fragments, tokens, names, entity tags.

use std::collections::HashSet;
use std::sync::LazyLock;

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use lightstick_sfu_core::answer::Local;
use lightstick_sfu_core::offer::{Offer, Track};
use lightstick_signaling_core::etag::{self, EntityTag, Match};
use lightstick_signaling_core::sdpfrag::{
    CANDIDATES_MAX, FRAGMENT_BYTES_MAX, Fragment, LINE_BYTES_MAX,
};
use lightstick_signaling_core::token::{Grant, KeySet, SECRET_BYTES_MIN, SUBJECT_BYTES_MAX};
use lightstick_types::{Layer, Role, RoomName, SessionId, TrackKind, VIDEO_TRACKS_MAX};

/// An SDP offer of a publisher and of a viewer: what is answered is answered section by section and
/// agrees on nothing that was not offered; what is refused says why in few words.
pub fn sdp_offer(data: &[u8]) {
    let Ok(sdp) = std::str::from_utf8(data) else {
        return;
    };
    for role in [Role::Publisher, Role::Viewer] {
        let offer = match Offer::read(sdp, role) {
            Ok(offer) => offer,
            Err(error) => {
                let words = error.to_string();
                assert!(words.is_ascii() && words.len() < 300, "{words}");
                continue;
            }
        };
        assert!(sdp.contains(&offer.ufrag) && sdp.contains(&offer.password));
        let tracks: Vec<&Track> = offer.tracks().collect();
        let of = |kind| tracks.iter().filter(|track| track.kind == kind).count();
        assert!(!tracks.is_empty() && of(TrackKind::Audio) <= 1);
        assert!(of(TrackKind::Video) <= VIDEO_TRACKS_MAX);
        for track in &tracks {
            sdp_track(track);
        }
        sdp_answer(sdp, &offer);
    }
}

fn sdp_track(track: &Track) {
    let layers: Vec<Layer> = track.encodings().iter().map(|e| e.layer).collect();
    let distinct: HashSet<Layer> = layers.iter().copied().collect();
    assert_eq!(
        layers.len(),
        distinct.len(),
        "no layer stands for two encodings"
    );
    let mut taken = HashSet::new();
    for accepted in track.accepted() {
        assert_eq!(accepted.format.codec.kind(), track.kind);
        assert!(!(64..=95).contains(&accepted.payload_type));
        assert!(
            taken.insert(accepted.payload_type),
            "one format a payload type"
        );
    }
    assert!(!taken.is_empty());
    let ids: HashSet<u8> = track.extensions().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), track.extensions().count());
    assert!(ids.iter().all(|id| (1..15).contains(id)));
}

fn sdp_answer(offered: &str, offer: &Offer) {
    let mut ssrcs = 1..;
    let streams = match offer.role() {
        Role::Publisher => Vec::new(),
        Role::Viewer => offer.streams(|| ssrcs.next().unwrap_or(1)),
    };
    let answer = offer.answer(&Local {
        ufrag: "user",
        password: "password",
        fingerprint: "sha-256 00",
        candidates: &[],
        streams: &streams,
        id: 4,
    });
    for line in answer.split_inclusive('\n') {
        assert!(line.ends_with("\r\n") && line.matches(['\r', '\n']).count() == 2);
        assert_eq!(line.as_bytes()[1], b'=', "{line}");
    }
    let media = |sdp: &str| sdp.lines().filter(|line| line.starts_with("m=")).count();
    assert_eq!(media(&answer), media(offered));
    let sent = streams.len();
    assert!(offer.role() == Role::Publisher || sent == offer.tracks().count());
    assert_eq!(answer.matches("a=msid:").count(), sent);
    assert!(answer.len() <= 4 * offered.len() + 1_024 * media(&answer) + 4_096);
}

/// The body of a PATCH: what is read can be written, and reads the same again.
pub fn sdp_fragment(body: &[u8]) {
    let Ok(fragment) = Fragment::parse(body) else {
        return;
    };
    assert!(body.len() <= FRAGMENT_BYTES_MAX);
    assert!(fragment.candidates.len() <= CANDIDATES_MAX);
    let written = fragment.write_lite();
    for line in written.split_inclusive('\n') {
        // Nothing that was read can smuggle a line in.
        assert!(line.ends_with("\r\n") && line.matches(['\r', '\n']).count() == 2);
    }
    let fits = written.len() <= FRAGMENT_BYTES_MAX
        && written.lines().all(|line| line.len() <= LINE_BYTES_MAX);
    if fits {
        assert_eq!(Fragment::parse(written.as_bytes()), Ok(fragment));
    }
}

const KID: &str = "k1";
const SECRET: [u8; SECRET_BYTES_MIN] = [7; SECRET_BYTES_MIN];
const NOW: u64 = 1_700_000_000;
const LEEWAY: u64 = 5;

static KEYS: LazyLock<KeySet> = LazyLock::new(|| {
    let mut keys = KeySet::new(LEEWAY);
    keys.add_hs256(KID, &SECRET).expect("a usable key");
    keys
});
static SIGNER: LazyLock<hmac::Key> = LazyLock::new(|| hmac::Key::new(hmac::HMAC_SHA256, &SECRET));

/// A bearer token: the bytes as they are, as the claims of a well-signed token, and as the header
/// of one. Unsigned bytes never pass.
pub fn token(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        // All but an HMAC made with the secret of this file, which no corpus holds.
        assert!(KEYS.verify(text, NOW).is_err());
    }
    let header = format!(r#"{{"alg":"HS256","typ":"JWT","kid":"{KID}"}}"#);
    if let Ok(claims) = KEYS.verify(&sign(header.as_bytes(), data), NOW) {
        assert!((1..=SUBJECT_BYTES_MAX).contains(&claims.sub.len()));
        assert!(claims.exp.saturating_add(LEEWAY) > NOW);
        assert!(claims.nbf.is_none_or(|nbf| nbf <= NOW + LEEWAY));
        let room: RoomName = "stage".parse().expect("a room name");
        assert_eq!(claims.allow(Grant::Admin, &room).is_ok(), {
            claims.grants.admin && claims.room.matches(&room)
        });
    }
    let claims = format!(r#"{{"sub":"fan","exp":{},"room":"*"}}"#, NOW + 60);
    if KEYS.verify(&sign(data, claims.as_bytes()), NOW).is_ok() {
        let header: serde_json::Value = serde_json::from_slice(data).expect("a header in JSON");
        assert_eq!(
            (&header["alg"], &header["kid"]),
            (&"HS256".into(), &KID.into())
        );
    }
}

fn sign(header: &[u8], claims: &[u8]) -> String {
    let header = URL_SAFE_NO_PAD.encode(header);
    let claims = URL_SAFE_NO_PAD.encode(claims);
    let input = format!("{header}.{claims}");
    let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&SIGNER, input.as_bytes()));
    format!("{input}.{signature}")
}

/// Names in URLs: what parses is written as it was read, and is safe in a path.
pub fn names(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(room) = text.parse::<RoomName>() {
        assert_eq!(room.to_string(), text);
        assert!(!text.starts_with('.') && text.len() <= RoomName::MAX_LEN);
        assert!(!text.contains(['/', '%', '?', '#', '\\', ' ', '\0']));
    }
    if let Ok(id) = text.parse::<SessionId>() {
        assert_eq!(id.to_string(), text);
        assert!(!format!("{id:?}").contains(text));
    }
}

/// An `If-Match` header: only the present tag passes, weak or without quotes too.
pub fn if_match(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let tag = EntityTag::new(3, "Ab+/");
    match etag::if_match(Some(text), &tag) {
        Ok(Match::Current) => assert!(text.contains(tag.to_string().trim_matches('"'))),
        Ok(Match::Absent) => panic!("there is a header"),
        Ok(Match::Any) => assert!(matches!(text.trim(), "*" | "\"*\"")),
        Err(_) => assert_ne!(text, tag.to_string()),
    }
    // Whatever our own user fragment holds, the tag made of it is one.
    let own = EntityTag::new(0, text);
    if own.to_string().len() <= etag::IF_MATCH_BYTES_MAX {
        let found = etag::if_match(Some(&own.to_string()), &own);
        assert_eq!(found, Ok(Match::Current));
    }
}
