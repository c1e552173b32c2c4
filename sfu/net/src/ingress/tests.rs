use lightstick_types::Role;

use super::*;

const OFFER: &str = "v=0\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:1\r\na=sendonly\r\na=rtcp-mux\r\n\
    a=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n\
    a=ssrc-group:FID 7 8\r\na=ssrc:7 cname:c\r\na=ssrc:8 cname:c\r\n";

fn ingress() -> (Ingress, Rtc) {
    let print = ["AB"; 32].join(":");
    let text = format!("{OFFER}a=fingerprint:sha-256 {print}\r\n");
    let offer = Offer::read(&text, Role::Publisher).expect("an offer");
    let mut rtc = Rtc::builder().set_rtp_mode(true).build(Instant::now());
    let mut api = rtc.direct_api();
    api.declare_media(mid_of(TrackId::FIRST_VIDEO), kind_of(TrackKind::Video));
    (Ingress::new(&offer), rtc)
}

fn packet(payload_type: u8, ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type, 0, 1, 0, 0, 0, 0];
    packet.extend(ssrc.to_be_bytes());
    packet
}

#[test]
fn padding_that_probes_before_the_first_media_is_let_through() {
    let (mut ingress, mut rtc) = ingress();
    let now = Instant::now();
    assert!(ingress.admit(&mut rtc, &packet(97, 8), now));
    assert!(ingress.streams.is_empty(), "it is no stream yet");
    assert!(!ingress.admit(&mut rtc, &packet(98, 9), now), "not offered");
    assert!(ingress.admit(&mut rtc, &packet(96, 7), now));
    assert!(ingress.streams.contains_key(&Ssrc::from(7)));
}

/// Whoever knows the session's addresses can send headers: until a packet is authentic, none of them
/// takes a stream's place, and no more than some are kept.
#[test]
fn a_thousand_ssrcs_are_bounded() {
    let (mut ingress, mut rtc) = ingress();
    let now = Instant::now();
    for ssrc in 1_000..2_000 {
        ingress.admit(&mut rtc, &packet(96, ssrc), now);
        assert!(ingress.streams.len() <= STREAMS_MAX);
    }
    assert!(ingress.slots.iter().all(|slot| slot.now.is_none()));
}

#[test]
fn streams_of_several_tracks_are_told_apart() {
    let second = TrackId::video(1).unwrap();
    let head = OFFER.replace("v=0\r\n", "v=0\r\na=group:BUNDLE 1 2\r\n");
    let (_, section) = OFFER.split_once("m=video").unwrap();
    let section = section.replace("a=mid:1", "a=mid:2").replace(":7", ":17");
    let section = section.replace(" 7 8", " 17 18").replace(":8 ", ":18 ");
    let print = ["AB"; 32].join(":");
    let text = format!("{head}m=video{section}a=fingerprint:sha-256 {print}\r\n");
    let offer = Offer::read(&text, Role::Publisher).expect("an offer");
    let mut ingress = Ingress::new(&offer);
    assert_eq!(ingress.video_tracks(), 2);
    let mut rtc = Rtc::builder().set_rtp_mode(true).build(Instant::now());
    for track in [TrackId::FIRST_VIDEO, second] {
        let mut api = rtc.direct_api();
        api.declare_media(mid_of(track), kind_of(TrackKind::Video));
    }
    for (ssrc, track) in [(7, TrackId::FIRST_VIDEO), (17, second)] {
        assert!(ingress.admit(&mut rtc, &packet(96, ssrc), Instant::now()));
        assert_eq!(ingress.streams[&Ssrc::from(ssrc)].id.track, track);
    }
    assert!(
        !ingress.admit(&mut rtc, &packet(96, 27), Instant::now()),
        "of neither"
    );
}
