use super::*;
use crate::offer::{OfferError, Reason};
use crate::packet::Format;

/// As Chromium offers to receive audio and video.
const CHROMIUM: &str = include_str!("../../tests/sdp/chromium-viewer.sdp");
const HEAD: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=ice-ufrag:abcd\r\n\
    a=ice-pwd:0123456789012345678901\r\n";
const VIDEO: &str = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:v\r\na=recvonly\r\na=rtcp-mux\r\n\
    a=rtpmap:96 VP8/90000\r\n";

struct Answer {
    sdp: String,
    streams: Vec<StreamConfig>,
    offer: Offer,
}

fn print() -> String {
    format!("a=fingerprint:sha-256 {}\r\n", ["AB"; 32].join(":"))
}

fn answered(sdp: &str) -> Result<Answer, OfferError> {
    answered_to(sdp, Role::Viewer)
}

fn answered_to(sdp: &str, role: Role) -> Result<Answer, OfferError> {
    let offer = Offer::read(sdp, role)?;
    let candidates = ["candidate:1 1 udp 1 127.0.0.1 7700 typ host".to_owned()];
    let mut ssrcs = (11..).step_by(11);
    let streams = match role {
        Role::Publisher => Vec::new(),
        Role::Viewer => offer.streams(|| ssrcs.next().expect("a number")),
    };
    let local = Local {
        ufrag: "user",
        password: "word",
        fingerprint: "sha-256 01:02",
        candidates: &candidates,
        streams: &streams,
        id: 7,
    };
    Ok(Answer {
        sdp: offer.answer(&local),
        streams,
        offer,
    })
}

/// Why it is refused.
fn refused(sdp: &str, role: Role) -> Reason {
    match answered_to(sdp, role).map(|answer| answer.sdp) {
        Err(OfferError::Refused(refusal)) => refusal.reason,
        other => panic!("{other:?} for {sdp}"),
    }
}

/// The lines of the answer's sections that start with `prefix`, without it.
fn values<'a>(answer: &'a Answer, prefix: &str) -> Vec<&'a str> {
    let lines = answer.sdp.lines();
    lines.filter_map(|line| line.strip_prefix(prefix)).collect()
}

#[test]
fn chromium_gets_what_it_can_play() {
    let answer = answered(CHROMIUM).expect("it is answered");
    assert_eq!(
        values(&answer, "m="),
        [
            "audio 9 UDP/TLS/RTP/SAVPF 111 63",
            "video 9 UDP/TLS/RTP/SAVPF 96 97 98 99 100 101 35 36 37 38 102 103 108 109 116 117 41 42 \
             45 46 47 48 104 107 114 115 39 40 43 44",
        ]
    );
    assert_eq!(values(&answer, "a=group:"), ["BUNDLE 0 1"]);
    assert_eq!(values(&answer, "a=setup:"), ["passive", "passive"]);
    for of_each in ["a=candidate:", "a=end-of-candidates", "a=rtcp-mux-only"] {
        assert_eq!(values(&answer, of_each).len(), 2, "{of_each}");
    }
    assert_eq!(
        values(&answer, "a=fmtp:108 "),
        ["level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"]
    );
    assert_eq!(
        values(&answer, "a=rtcp-fb:96 "),
        ["transport-cc", "goog-remb", "ccm fir", "nack", "nack pli"]
    );
    assert_eq!(values(&answer, "a=ssrc-group:"), ["FID 22 33"]);
    let [audio, video] = &answer.streams[..] else {
        panic!("two streams");
    };
    assert_eq!(audio.extensions.audio_level, Some(1));
    assert_eq!(audio.extensions.orientation, None);
    assert_eq!(
        audio
            .accepted
            .iter()
            .map(|a| a.format.codec)
            .collect::<Vec<_>>(),
        [Codec::Opus, Codec::Red]
    );
    assert_eq!((video.ssrc, video.resend_ssrc), (22, Some(33)));
    assert_eq!(
        video.extensions,
        ExtensionIds {
            mid: Some(4),
            transport_sequence: Some(3),
            playout_delay: Some(5),
            orientation: Some(13),
            ..ExtensionIds::default()
        }
    );
    let of = |codec, profile| {
        let format = Format { codec, profile };
        let first = video.accepted.iter().find(|a| a.format == format);
        first.map(|a| (a.payload_type, a.resend_payload_type))
    };
    assert_eq!(of(Codec::H264, 0x42e0), Some((108, Some(109))));
    assert_eq!(of(Codec::Vp9, 2), Some((100, Some(101))));
    assert_eq!(of(Codec::Av1, 0), Some((45, Some(46))));
}

#[test]
fn sections_that_cannot_be_served_are_rejected_in_place() {
    let sdp = format!(
        "{HEAD}a=group:BUNDLE d v x\r\na=extmap-allow-mixed\r\n{}\
         m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:d\r\na=setup:passive\r\n{VIDEO}\
         m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:a\r\na=recvonly\r\na=rtpmap:0 PCMU/8000\r\n\
         m=text 9 UDP/TLS/RTP/SAVPF 98\r\na=mid:x\r\n",
        print()
    );
    let outside = refused(&sdp, Role::Viewer);
    assert_eq!(outside, Reason::NotBundled, "audio is outside");
    let answer = answered(&sdp.replace("BUNDLE d v x", "BUNDLE d v a x")).expect("answered");
    assert_eq!(
        values(&answer, "m="),
        [
            "application 9 UDP/DTLS/SCTP webrtc-datachannel",
            "video 9 UDP/TLS/RTP/SAVPF 96",
            "audio 0 UDP/TLS/RTP/SAVPF 0",
            "text 0 UDP/TLS/RTP/SAVPF 98",
        ]
    );
    assert_eq!(values(&answer, "a=group:"), ["BUNDLE d v"]);
    assert_eq!(values(&answer, "a=extmap-allow-mixed"), [""]);
    assert!(answer.offer.data && answer.offer.dtls_active);
    assert_eq!(answer.streams.len(), 1);
    assert_eq!(answer.streams[0].resend_ssrc, None, "it takes no RTX");
}

/// Each video section is a track of its own, of one clock; those beyond the limit are left silent.
#[test]
fn several_video_sections_of_a_viewer() {
    let mids = ["v0", "v1", "a", "v2", "v3", "v4"];
    let sections = mids.map(|mid| match mid {
        "a" => "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:a\r\na=recvonly\r\n\
            a=rtpmap:111 opus/48000/2\r\n"
            .to_owned(),
        mid => format!(
            "{}a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n",
            VIDEO
                .replace("SAVPF 96", "SAVPF 96 97")
                .replace("mid:v", &format!("mid:{mid}"))
        ),
    });
    let bundle = format!("a=group:BUNDLE {}\r\n", mids.join(" "));
    let sdp = format!("{HEAD}{bundle}{}{}", print(), sections.concat());
    let answer = answered(&sdp).expect("answered");
    let ports = values(&answer, "m=");
    let ports = ports.iter().map(|line| line.split(' ').nth(1));
    let ports: Vec<&str> = ports.flatten().collect();
    assert_eq!(ports, ["9", "9", "9", "9", "9", "0"]);
    assert_eq!(values(&answer, "a=group:"), ["BUNDLE v0 v1 a v2 v3"]);
    assert_eq!(
        values(&answer, "a=msid:"),
        ["video", "beside-1", "audio", "beside-2", "beside-3"].map(|id| format!("lightstick {id}"))
    );
    assert_eq!(
        values(&answer, "a=ssrc-group:FID "),
        ["11 22", "33 44", "66 77", "88 99"]
    );
    let streams = answer.streams.iter();
    let streams: Vec<_> = streams.map(|s| (&*s.mid, s.ssrc, s.resend_ssrc)).collect();
    assert_eq!(
        streams,
        [
            ("v0", 11, Some(22)),
            ("v1", 33, Some(44)),
            ("a", 55, None),
            ("v2", 66, Some(77)),
            ("v3", 88, Some(99)),
        ]
    );
    assert!(answer.streams.iter().all(|s| s.cname == "lightstick"));
}

#[test]
fn one_section_needs_no_bundle_and_no_name() {
    let sdp = format!("{HEAD}{}{VIDEO}", print());
    for sdp in [&sdp, &sdp.replace("a=mid:v\r\n", "")] {
        let answer = answered(sdp).expect("answered");
        assert_eq!(values(&answer, "a=group:").len(), 0);
        assert!(!values(&answer, "a=mid:").contains(&""));
        assert_eq!(answer.streams.len(), 1);
    }
}

#[test]
fn a_port_of_zero_is_answered_with_one() {
    let sdp = format!("{HEAD}{}{VIDEO}", print());
    let zero = sdp.replace("m=video 9", "m=video 0");
    assert_eq!(refused(&zero, Role::Viewer), Reason::NoMedia);
    let bundled = format!("{zero}a=bundle-only\r\n");
    assert_eq!(answered(&bundled).expect("answered").streams.len(), 1);
}

#[test]
fn opus_is_stereo_for_whom_asks_and_feedback_may_be_for_all() {
    let audio = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:a\r\na=recvonly\r\n\
        a=rtcp-mux\r\na=rtcp-fb:* transport-cc\r\na=rtcp-fb:* nack\r\na=rtpmap:111 OPUS/48000/2\r\n\
        a=extmap:15 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
        a=extmap:1/sendonly urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n";
    let plain = answered(&format!("{HEAD}{}{audio}", print())).expect("answered");
    assert_eq!(
        values(&plain, "a=fmtp:111 "),
        ["minptime=10;useinbandfec=1"]
    );
    assert_eq!(values(&plain, "a=rtcp-fb:111 "), ["transport-cc"]);
    assert_eq!(plain.streams[0].extensions, ExtensionIds::default());
    let stereo = format!(
        "{HEAD}{}{audio}a=fmtp:111 minptime=20; stereo=1\r\n",
        print()
    );
    assert_eq!(
        values(&answered(&stereo).expect("answered"), "a=fmtp:111 "),
        ["minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1"]
    );
}

/// As OBS offers, with simulcast by rid.
const PUBLISHER: &str = "a=group:BUNDLE a v\r\na=msid-semantic:WMS s\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111 63\r\na=mid:a\r\na=sendonly\r\na=rtcp-mux\r\n\
    a=rtpmap:111 opus/48000\r\na=fmtp:111 minptime=20;stereo=1\r\na=rtcp-fb:111 transport-cc\r\n\
    a=rtcp-fb:111 nack\r\na=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\n\
    a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96 97 98\r\na=mid:v\r\na=sendrecv\r\na=rtcp-rsize\r\n\
    a=rtpmap:96 H264/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n\
    a=rtpmap:98 H265/90000\r\n\
    a=fmtp:96 profile-level-id=640c1f;sprop-parameter-sets=Z0I=,aM4=;packetization-mode=1\r\n\
    a=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\na=rtcp-fb:96 goog-remb\r\n\
    a=extmap:4/sendonly urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
    a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n\
    a=rid:h send pt=96,98;max-width=1280\r\na=rid:l send\r\na=rid:x send pt=98\r\n\
    a=simulcast:send h;l;x\r\n";

#[test]
fn a_publisher_is_asked_for_what_can_be_forwarded() {
    let sdp = format!("{HEAD}{}{PUBLISHER}", print());
    let answer = answered_to(&sdp, Role::Publisher).expect("answered");
    assert_eq!(
        values(&answer, "m="),
        [
            "audio 9 UDP/TLS/RTP/SAVPF 63 111",
            "video 9 UDP/TLS/RTP/SAVPF 96 97"
        ]
    );
    assert_eq!(values(&answer, "a=group:"), ["BUNDLE a v"]);
    assert_eq!(values(&answer, "a=recvonly").len(), 2);
    assert_eq!(values(&answer, "a=ssrc"), [""; 0]);
    assert_eq!(values(&answer, "a=rtcp-rsize").len(), 1);
    assert_eq!(
        values(&answer, "a=rtcp-fb:"),
        ["111 transport-cc", "96 nack", "96 nack pli"]
    );
    assert_eq!(
        values(&answer, "a=fmtp:"),
        [
            "63 111/111",
            "111 minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1",
            "96 profile-level-id=640c1f;packetization-mode=1",
            "97 apt=96",
        ]
    );
    assert_eq!(
        values(&answer, "a=extmap:"),
        [
            "4 urn:ietf:params:rtp-hdrext:sdes:mid",
            "4/recvonly urn:ietf:params:rtp-hdrext:sdes:mid",
            "10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
        ]
    );
    assert_eq!(
        values(&answer, "a=rid:"),
        ["h recv pt=96;max-width=1280", "l recv"]
    );
    assert_eq!(values(&answer, "a=simulcast:"), ["recv h;l"]);
    let video = answer.offer.tracks().nth(1).expect("video");
    let sets: Vec<&str> = video.parameters("sprop-parameter-sets").collect();
    assert_eq!(sets, ["Z0I=,aM4="]);
}

#[test]
fn browsers_start_with_a_rate_that_their_picture_fits_into() {
    let browser = "a=rtcp-fb:96 goog-remb\r\na=rtcp-fb:96 transport-cc\r\n";
    let other = "a=rtcp-fb:96 transport-cc\r\n";
    for (role, feedback, expected) in [
        (
            Role::Publisher,
            browser,
            &["96 x-google-start-bitrate=1500"][..],
        ),
        (Role::Publisher, other, &[]),
        (Role::Viewer, browser, &[]),
    ] {
        let video = match role {
            Role::Publisher => VIDEO.replace("recvonly", "sendonly"),
            Role::Viewer => VIDEO.to_owned(),
        };
        let sdp = format!("{HEAD}{}{video}{feedback}", print());
        let answer = answered_to(&sdp, role).expect("answered");
        assert_eq!(values(&answer, "a=fmtp:"), expected);
    }
}

#[test]
fn sections_beside_those_that_send_keep_their_places() {
    let sdp = format!("{HEAD}{}{PUBLISHER}", print());
    for (from, to, line) in [
        (
            "a=sendrecv",
            "a=inactive",
            "video 9 UDP/TLS/RTP/SAVPF 96 97",
        ),
        (
            "a=sendrecv",
            "a=recvonly",
            "video 9 UDP/TLS/RTP/SAVPF 96 97",
        ),
        (
            "m=video 9",
            "m=video 0",
            "video 0 UDP/TLS/RTP/SAVPF 96 97 98",
        ),
        ("m=video 9", "m=text 9", "text 0 UDP/TLS/RTP/SAVPF 96 97 98"),
    ] {
        let answer = answered_to(&sdp.replace(from, to), Role::Publisher).expect("answered");
        assert_eq!(values(&answer, "m=")[1], line);
        assert_eq!(values(&answer, "a=mid:"), ["a", "v"]);
        assert_eq!(values(&answer, "a=inactive").len(), 1, "{to}");
        let bundle = if line.contains(" 0 ") {
            "BUNDLE a"
        } else {
            "BUNDLE a v"
        };
        assert_eq!(values(&answer, "a=group:"), [bundle]);
        assert_eq!(answer.offer.tracks().count(), 1);
    }
    // The first of the group speaks for all, wherever its section stands.
    let turned = sdp.replace("BUNDLE a v", "BUNDLE v a");
    let turned = format!(
        "{turned}a=setup:passive\r\na=ice-ufrag:video\r\na=ice-pwd:{}\r\n",
        "p".repeat(22)
    );
    let answer = answered_to(&turned, Role::Publisher).expect("answered");
    assert_eq!(values(&answer, "a=group:"), ["BUNDLE v a"]);
    assert_eq!(answer.offer.ufrag, "video");
    assert_eq!(values(&answer, "a=setup:"), ["active", "active"]);
}
