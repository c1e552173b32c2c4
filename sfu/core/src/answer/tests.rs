use super::*;
use crate::offer::{self, Side};

/// As Chromium offers to receive audio and video.
const CHROMIUM: &str = include_str!("../../tests/sdp/chromium-viewer.sdp");
const HEAD: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=ice-ufrag:abcd\r\n\
    a=ice-pwd:0123456789012345678901\r\n";
const VIDEO: &str =
    "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:v\r\na=recvonly\r\na=rtpmap:96 VP8/90000\r\n";

fn print() -> String {
    format!("a=fingerprint:sha-256 {}\r\n", ["AB"; 32].join(":"))
}

fn answered(sdp: &str) -> Result<Answer, OfferError> {
    offer::read(sdp, Side::Viewer)?;
    let candidates = ["candidate:1 1 udp 1 127.0.0.1 7700 typ host".to_owned()];
    answer(
        sdp,
        &Local {
            ufrag: "user",
            password: "word",
            fingerprint: "sha-256 01:02",
            candidates: &candidates,
            ssrcs: [11, 22, 33],
            id: 7,
        },
    )
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
    let refused = answered(&sdp).map(|_| ());
    assert_eq!(refused, Err(OfferError::NoBundle), "audio is outside");
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
    assert!(answer.data && answer.dtls_active);
    assert_eq!(answer.streams.len(), 1);
    assert_eq!(answer.streams[0].resend_ssrc, None, "it takes no RTX");
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
    assert_eq!(answered(&zero).map(|_| ()), Err(OfferError::NoCodec));
    let bundled = format!("{zero}a=bundle-only\r\n");
    assert_eq!(answered(&bundled).expect("answered").streams.len(), 1);
}

#[test]
fn what_cannot_be_answered() {
    let check = |sdp: &str, want| assert_eq!(answered(sdp).map(|_| ()), Err(want), "{sdp}");
    let elsewhere = VIDEO.replace("a=rtpmap:96", "a=rtpmap:97");
    check(
        &format!("{HEAD}{}{elsewhere}", print()),
        OfferError::NoCodec,
    );
    let plain = VIDEO.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP");
    check(&format!("{HEAD}{}{plain}", print()), OfferError::NoCodec);
}

#[test]
fn opus_is_stereo_for_whom_asks_and_feedback_may_be_for_all() {
    let audio = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:a\r\na=recvonly\r\n\
        a=rtcp-fb:* transport-cc\r\na=rtcp-fb:* nack\r\na=rtpmap:111 OPUS/48000/2\r\n\
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
