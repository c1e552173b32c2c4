use super::*;

const HEAD: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";
const ICE: &str = "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n";
const BUNDLE: &str = "a=group:BUNDLE 0 1\r\n";
const AUDIO: &str = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=rtcp-mux\r\n\
    a=rtpmap:111 opus/48000/2\r\n";
const VIDEO: &str = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=rtcp-mux\r\n\
    a=rtpmap:96 VP8/90000\r\n";

fn print() -> String {
    format!("a=fingerprint:sha-256 {}\r\n", ["AB"; 32].join(":"))
}

/// `Ok`: so many tracks. `Err`: the refusal's reason for programs, and its words.
fn check(body: &str, role: Role, want: Result<usize, (&str, &str)>) {
    let offer = Offer::read(&format!("{HEAD}{}{body}", print()), role);
    match (&offer, want) {
        (Ok(offer), Ok(tracks)) => assert_eq!(offer.tracks().count(), tracks, "{body}"),
        (Err(OfferError::Refused(refusal)), Err((code, words))) => {
            assert_eq!(refusal.to_string(), words, "{body}");
            assert_eq!(refusal.reason.code(), code);
        }
        _ => panic!("{offer:?} for {body}"),
    }
}

#[test]
fn offers_as_a_whole() {
    use Role::{Publisher, Viewer};
    let both = format!("{BUNDLE}{ICE}{AUDIO}{VIDEO}");
    for role in [Publisher, Viewer] {
        check(&both, role, Ok(2));
        check(
            ICE,
            role,
            Err(("no_media", "it has neither an audio nor a video section")),
        );
        let text = format!("{ICE}m=text 9 UDP/TLS/RTP/SAVPF 98\r\n");
        check(
            &text,
            role,
            Err(("no_media", "it has neither an audio nor a video section")),
        );
        let no_ice = "it has no a=ice-ufrag and a=ice-pwd";
        check(VIDEO, role, Err(("no_ice", no_ice)));
        check(
            &format!("a=ice-ufrag:abcd\r\n{VIDEO}"),
            role,
            Err(("no_ice", no_ice)),
        );
        let length = "a=ice-ufrag has 4 to 256 characters, a=ice-pwd 22 to 256";
        for (from, to) in [("abcd", "abc"), ("012345", "01234"), ("abcd", "ab:cd")] {
            let short = both.replace(from, to);
            check(&short, role, Err(("ice_length", length)));
        }
        let long = both.replace("abcd", &"a".repeat(256));
        check(&long, role, Ok(2));
        check(
            &long.replace("aaaa", "aaaaa"),
            role,
            Err(("ice_length", length)),
        );
        let lite = "a client with a=ice-lite cannot connect, as the server is ICE lite itself";
        check(
            &format!("a=ice-lite\r\n{both}"),
            role,
            Err(("ice_lite", lite)),
        );
        let outside = "video section 1 (mid 1): it is not in the BUNDLE group; bundle all media on \
            one transport";
        check(
            &both.replace("BUNDLE 0 1", "BUNDLE 0"),
            role,
            Err(("not_bundled", outside)),
        );
        let mux = "audio section 0 (mid 0): it has no a=rtcp-mux; RTP and RTCP share one transport";
        check(
            &both.replace("a=rtcp-mux\r\n", ""),
            role,
            Err(("rtcp_mux", mux)),
        );
        check(&both.replacen("a=rtcp-mux\r\n", "", 1), role, Ok(2));
        check(&both.replace("rtcp-mux", "rtcp-mux-only"), role, Ok(2));
        let same = "video section 1 (mid 0): another section has the same mid";
        check(
            &both.replace("mid:1", "mid:0"),
            role,
            Err(("same_mid", same)),
        );
        let direction = "video section 0 (mid 1): its direction is wrong: a publisher sends, a \
            viewer receives";
        check(
            &format!("a=inactive\r\n{ICE}{VIDEO}"),
            role,
            Err(("direction", direction)),
        );
    }
    check(&format!("{ICE}{VIDEO}a=sendonly\r\n"), Publisher, Ok(1));
    check(&format!("{ICE}{VIDEO}a=recvonly\r\n"), Viewer, Ok(1));
    let direction = "video section 0 (mid 1): its direction is wrong: a publisher sends, a viewer \
        receives";
    for (way, role) in [("sendonly", Viewer), ("recvonly", Publisher)] {
        let wrong = format!("{ICE}{VIDEO}a={way}\r\n");
        check(&wrong, role, Err(("direction", direction)));
    }
    // One that shows nothing without mids and groups.
    check(
        &format!("{ICE}{}", VIDEO.replace("a=mid:1\r\n", "")),
        Publisher,
        Ok(1),
    );
}

#[test]
fn fingerprints() {
    let check = |line: &str, want: Option<Reason>| {
        let text = format!("{HEAD}{ICE}{line}{VIDEO}");
        let found = Offer::read(&text, Role::Viewer).map(|offer| offer.fingerprints.is_empty());
        let want = want.map_or(Ok(false), |reason| Err(OfferError::Refused(reason.into())));
        assert_eq!(found, want, "{line}");
    };
    check("", Some(Reason::NoFingerprint));
    check(&print(), None);
    check(&print().replace("sha", "SHA"), None);
    check(&print().replace("AB", "ab"), None);
    check(&format!("a=fingerprint:sha-1 00:11\r\n{}", print()), None);
    check(
        &print().replace("sha-256", "md5"),
        Some(Reason::FingerprintHash),
    );
    check(
        &print().replace("AB:AB", "AB"),
        Some(Reason::FingerprintHash),
    );
}

/// RFC 9725: nobody goes live with half of a show.
#[test]
fn a_publisher_is_served_whole_or_told_why_not() {
    let check = |from: &str, to: &str, want: Result<usize, (&str, &str)>| {
        let video = VIDEO.replace("VP8/90000", "H264/90000");
        let body = format!("{BUNDLE}{ICE}{AUDIO}{video}a=fmtp:96 profile-level-id=42e01f\r\n");
        assert!(body.contains(from), "{from}");
        check(&body.replace(from, to), Role::Publisher, want);
    };
    let video = |words: &str| format!("video section 1 (mid 1): {words}");
    let audio = |words: &str| format!("audio section 0 (mid 0): {words}");
    let codecs = video("H265 is not supported; send H264, VP8, VP9 or AV1");
    check("H264/90000", "H265/90000", Err(("codec", &codecs)));
    let none = video("a section without a codec is not supported; send H264, VP8, VP9 or AV1");
    check("a=rtpmap:96", "a=rtpmap:97", Err(("codec", &none)));
    let pcm = audio("PCMU and PCMA are not supported; send Opus");
    check("SAVPF 111", "SAVPF 0 8", Err(("codec", &pcm)));
    let surround = audio("multiopus is not supported; send Opus");
    check(
        "opus/48000/2",
        "multiopus/48000/6",
        Err(("codec", &surround)),
    );
    for mono in ["opus/48000", "OPUS/48000/1", "opus/48000/2"] {
        check("opus/48000/2", mono, Ok(2));
    }
    for seen in [
        "42e01f", "42001f", "4d001f", "640c1f", "640c34", "64001f", "640032", "64003c", "42E01F",
        "58c01f",
    ] {
        check("42e01f", seen, Ok(2));
    }
    for (id, name) in [
        ("6e0028", "High 10"),
        ("7a0028", "High 4:2:2"),
        ("f4001f", "High 4:4:4 Predictive"),
        ("580028", "Extended"),
    ] {
        let words = format!("H264 {name} is not decoded by browsers; send another profile");
        check("42e01f", id, Err(("profile", &video(&words))));
    }
    for (from, to) in [
        ("H264/90000", "VP9/90000"),
        ("H264/90000", "h264/90000"),
        ("profile-level-id=42e01f", "packetization-mode=1"),
        (
            "profile-level-id=42e01f",
            "packetization-mode=0; profile-level-id=640028",
        ),
        (":96 H264/90000", ":96  AV1/90000 "),
        ("UDP/TLS/RTP/SAVPF", "TCP/DTLS/RTP/SAVP"),
        ("m=video 9", "m=video 1/2"),
    ] {
        check(from, to, Ok(2));
    }
    for pt in ["0", "34", "35", "63", "96", "127"] {
        let to = "SAVPF ".to_owned() + pt + "\r\na=mid:1\r\na=rtpmap:" + pt + " VP8/90000";
        check("SAVPF 96", &to, Ok(2));
    }
    let range = video("payload type 80 conflicts with RTCP; use one outside 64 to 95");
    check(
        "SAVPF 96",
        "SAVPF 80\r\na=rtpmap:80 VP8/90000",
        Err(("payload_type", &range)),
    );
    let plain = video("the protocol UDP/BFCP is not supported; use UDP/TLS/RTP/SAVPF");
    check(
        "m=video 9 UDP/TLS/RTP/SAVPF",
        "m=video 9 UDP/BFCP",
        Err(("protocol", &plain)),
    );
    let second = "audio section 1 (mid 1): it is a second audio track; send at most one";
    check("m=video", "m=audio", Err(("second_track", second)));
    let by_type = video("simulcast by payload types is not supported; name its streams by rid");
    check(
        "H264/90000",
        "H264/90000\r\na=simulcast: send pt=96;97",
        Err(("simulcast", &by_type)),
    );
    let streams = video("its track belongs to a second MediaStream; send one MediaStream");
    let named = "a=msid:a 1\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=msid:b 2";
    check(
        "m=video 9 UDP/TLS/RTP/SAVPF 96",
        named,
        Err(("second_stream", &streams)),
    );
    check(
        "m=video 9 UDP/TLS/RTP/SAVPF 96",
        &named.replace("b 2", "a 2"),
        Ok(2),
    );
}

/// An offer of audio and so many video sections.
fn videos(count: usize) -> String {
    let mids: String = (0..=count).map(|mid| format!(" {mid}")).collect();
    let videos = (1..=count).map(|mid| VIDEO.replace("mid:1", &format!("mid:{mid}")));
    let videos: String = videos.collect();
    format!("a=group:BUNDLE{mids}\r\n{ICE}{AUDIO}{videos}")
}

#[test]
fn several_video_sections() {
    for count in 1..=VIDEO_TRACKS_MAX {
        check(&videos(count), Role::Publisher, Ok(1 + count));
        check(&videos(count), Role::Viewer, Ok(1 + count));
    }
    let many = videos(VIDEO_TRACKS_MAX + 1);
    let refusal = "video section 5 (mid 5): there are 4 video tracks before it; send no more";
    check(&many, Role::Publisher, Err(("video_tracks", refusal)));
    check(&many, Role::Viewer, Ok(1 + VIDEO_TRACKS_MAX));
    // A section that sends nothing is no track.
    let silent = many.replace("mid:2\r\n", "mid:2\r\na=inactive\r\n");
    check(&silent, Role::Publisher, Ok(1 + VIDEO_TRACKS_MAX));
    // Nor is one with a simulcast of its own any less of a track.
    let simulcast = videos(2).replace(
        "mid:2\r\n",
        "mid:2\r\na=rid:h send\r\na=rid:l send\r\na=simulcast:send h;l\r\n",
    );
    let text = format!("{HEAD}{}{simulcast}", print());
    let offer = Offer::read(&text, Role::Publisher).expect("an offer");
    let encodings: Vec<_> = offer.tracks().map(|t| t.encodings().len()).collect();
    assert_eq!(encodings, [0, 0, 2]);
}

/// A number that sends another one again in another section could be of either.
#[test]
fn one_number_that_repeats_two_formats() {
    let video = |mid, of| {
        format!(
            "m=video 9 UDP/TLS/RTP/SAVPF {of} 97\r\na=mid:{mid}\r\na=rtcp-mux\r\n\
             a=rtpmap:{of} VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt={of}\r\n"
        )
    };
    for (second, resends) in [(96, [Some(97), Some(97)]), (98, [Some(97), None])] {
        let (first, second) = (video(0, 96), video(1, second));
        let text = format!("{HEAD}{}{BUNDLE}{ICE}{first}{second}", print());
        let offer = Offer::read(&text, Role::Publisher).expect("an offer");
        let formats = offer.tracks().flat_map(|track| track.accepted());
        let found: Vec<_> = formats.map(|a| a.resend_payload_type).collect();
        assert_eq!(found, resends);
    }
}

#[test]
fn what_is_shown_of_an_offer_is_bounded_and_clean() {
    let long = format!("{BUNDLE}{ICE}{AUDIO}{VIDEO}").replace("VP8", &"\u{202e}x".repeat(500));
    let text = format!("{HEAD}{}{long}", print());
    let refusal = Offer::read(&text, Role::Publisher)
        .map(|_| ())
        .unwrap_err()
        .to_string();
    assert!(refusal.len() < 200 && refusal.is_ascii(), "{refusal}");
}

/// All sections share one transport, so numbers have to mean the same in all of them.
#[test]
fn numbers_that_mean_two_things() {
    let audio = "m=audio 9 UDP/TLS/RTP/SAVPF 97\r\na=mid:0\r\na=rtcp-mux\r\n\
        a=rtpmap:97 opus/48000/2\r\na=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid\r\n";
    let video = "m=video 9 UDP/TLS/RTP/SAVPF 96 97 98 99\r\na=mid:1\r\na=rtpmap:96 VP8/90000\r\n\
        a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=rtpmap:98 VP9/90000\r\n\
        a=rtpmap:99 rtx/90000\r\na=fmtp:99 apt=98\r\na=extmap:3 urn:3gpp:video-orientation\r\n\
        a=extmap:15 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
        a=extmap:4096 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n";
    let text = format!("{HEAD}{}{BUNDLE}{ICE}{audio}{video}", print());
    let offer = Offer::read(&text, Role::Publisher).expect("an offer");
    let [audio, video] = &offer.tracks().collect::<Vec<_>>()[..] else {
        panic!("two tracks");
    };
    assert_eq!(audio.id_of(Extension::Mid), Some(3));
    assert_eq!(video.extensions().count(), 0);
    let resends: Vec<_> = video.accepted().map(|a| a.resend_payload_type).collect();
    assert_eq!(resends, [None, Some(99)]);
}

#[test]
fn one_of_several_groups() {
    let text =
        format!("a=group:LS 0 1\r\na=group:BUNDLE x\r\na=group:BUNDLE 1 0\r\n{ICE}{AUDIO}{VIDEO}");
    check(&text, Role::Publisher, Ok(2));
}

#[test]
fn transport_at_either_level() {
    let at = |level: &str| format!("{level}a=setup:active\r\n{}", print());
    let sections = [
        format!("{HEAD}{BUNDLE}{}{AUDIO}{VIDEO}", at(ICE)),
        format!("{HEAD}{BUNDLE}{AUDIO}{}{VIDEO}", at(ICE)),
        format!("{HEAD}{BUNDLE}{AUDIO}{VIDEO}{}", at(ICE)),
        format!(
            "{HEAD}{BUNDLE}{}{AUDIO}{}{VIDEO}",
            at(&ICE.replace("abcd", "else")),
            at(ICE)
        ),
    ];
    for text in sections {
        let offer = Offer::read(&text, Role::Publisher).expect("an offer");
        assert_eq!(
            (&*offer.ufrag, offer.dtls_active),
            ("abcd", false),
            "{text}"
        );
    }
}
