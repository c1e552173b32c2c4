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
