//! What each stage of a packet's way costs: nanoseconds, and allocations, of which there should be
//! none from `forward` on.
//!
//! `cargo bench -p lightstick-sfu-core --bench stages`; a name behind it, such as `encrypt`,
//! chooses stages.

mod support;

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use divan::{AllocProfiler, Bencher, black_box};
use lightstick_sfu_core::codec::inspect;
use lightstick_sfu_core::demux::{Kind, RtpView, classify};
use lightstick_sfu_core::egress::Heard;
use lightstick_sfu_core::history::History;
use lightstick_sfu_core::packet::MediaPacket;
use lightstick_sfu_core::srtp::{End, Profile};
use lightstick_types::Codec;

use support::{Feed, PAYLOAD, SSRC, Viewer, keys, watching};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const PROFILES: [Profile; 3] = [
    Profile::Aes128Gcm,
    Profile::Aes256Gcm,
    Profile::Aes128CmSha1_80,
];
/// One has everything in the nearest cache; a thousand are a full room, each with keys and numbers
/// of its own that have to be fetched.
const VIEWERS: [usize; 2] = [1, 1_000];
/// Packets of one benchmark: so many that the clock's own cost vanishes.
const SAMPLE: u32 = 1_000;

fn main() {
    divan::main();
}

#[allow(clippy::disallowed_methods)] // Virtual time starts somewhere.
fn start() -> Instant {
    Instant::now()
}

/// As it comes from the wire: an RTP header with one extension, and ciphertext.
fn datagram() -> Vec<u8> {
    let mut datagram = vec![0x90, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
    datagram.extend([0xBE, 0xDE, 0, 1, 0x31, 0, 7, 0]);
    datagram.resize(datagram.len() + PAYLOAD + 16, 9);
    datagram
}

mod ingress {
    use super::*;

    /// RFC 7983: which protocol a datagram belongs to.
    #[divan::bench]
    fn demux(bencher: Bencher) {
        let datagram = datagram();
        assert_eq!(classify(&datagram), Kind::Rtp);
        bencher.bench(|| classify(black_box(&datagram)));
    }

    #[divan::bench]
    fn rtp_header(bencher: Bencher) {
        let datagram = datagram();
        assert!(RtpView::parse(&datagram).is_ok());
        bencher.bench(|| RtpView::parse(black_box(&datagram)));
    }

    /// What a payload says about its frame.
    #[divan::bench(args = [Codec::H264, Codec::Vp8, Codec::Vp9, Codec::Av1, Codec::Opus, Codec::Red])]
    fn inspect_payload(bencher: Bencher, codec: Codec) {
        let head: &[u8] = match codec {
            Codec::H264 => &[0x7C, 0x85, 0xB8, 0x00],
            Codec::Vp8 => &[0x90, 0xE0, 0xCD, 0xAF, 0xBB, 0x20, 0x50, 0x53],
            Codec::Vp9 => &[0xDD, 0xE0, 0x64, 0x02, 0x86, 0x00, 0x40],
            Codec::Av1 => &[
                0x28, 0x0B, 8, 0, 0, 0, 4, 0x3C, 0xFE, 0xCC, 1, 0xA0, 8, 0x30,
            ],
            Codec::Opus => &[0xFC],
            Codec::Red => &[0x6F],
        };
        let mut payload = head.to_vec();
        payload.resize(PAYLOAD, 7);
        assert!(inspect(codec, &payload).is_some());
        bencher.bench(|| inspect(codec, black_box(&payload)));
    }

    /// The publisher's packet becomes one that viewers share: one allocation for all of them.
    #[divan::bench(sample_size = SAMPLE)]
    fn source(bencher: Bencher) {
        let feed = RefCell::new(Feed::new(start()));
        bencher
            .with_inputs(|| feed.borrow_mut().incoming())
            .bench_local_values(|incoming| feed.borrow_mut().ingest(incoming));
    }

    /// Once for all viewers of a shard.
    #[divan::bench(sample_size = SAMPLE)]
    fn history(bencher: Bencher) {
        let (mut feed, mut history) = (Feed::new(start()), History::default());
        history.push(&feed.packet(), 0);
        bencher
            .with_inputs(|| feed.packet())
            .bench_local_refs(|packet| history.push(packet, 0));
    }
}

mod egress {
    use super::*;

    /// Layer and number for one viewer.
    #[divan::bench(args = VIEWERS, sample_size = SAMPLE)]
    fn forward(bencher: Bencher, viewers: usize) {
        let mut room = Room::new(Profile::Aes128Gcm, viewers);
        bencher
            .with_inputs(|| room.turns.next())
            .bench_local_refs(|(viewer, packet)| room.crowd[*viewer].track.forward(packet, 0));
    }

    /// All that a packet costs for one viewer until it is in the send arena: `forward`, header,
    /// extensions, copy, seal.
    #[divan::bench(args = cases(), sample_size = SAMPLE)]
    fn rewrite_and_encrypt(bencher: Bencher, case: &Case) {
        let mut room = Room::new(case.profile, case.viewers);
        bencher
            .with_inputs(|| room.turns.next())
            .bench_local_refs(|(viewer, packet)| {
                room.out.clear();
                room.crowd[*viewer].send(packet, &mut room.out);
            });
    }

    /// One lost packet, looked up, wrapped (RFC 4588) and sealed.
    #[divan::bench(args = PROFILES, sample_size = 32)]
    fn resend(bencher: Bencher, profile: Profile) {
        // What may be sent again is a share of what was sent: some packets for each of them.
        const SENT_BEFORE: usize = 5;
        let at = start();
        let (mut feed, history) = (Feed::new(at), RefCell::new(History::default()));
        let viewer = RefCell::new(Viewer::new(profile, at).0);
        let sent = RefCell::new(Vec::with_capacity(2_048));
        bencher
            .with_inputs(|| {
                let mut out = sent.borrow_mut();
                let mut now = at;
                for _ in 0..SENT_BEFORE {
                    let packet = feed.packet();
                    now = packet.received_at;
                    history.borrow_mut().push(&packet, 0);
                    out.clear();
                    viewer.borrow_mut().send(&packet, &mut out);
                }
                // RFC 3550 section 5.1.
                (u16::from_be_bytes([out[2], out[3]]), now)
            })
            .bench_local_refs(|(lost, now)| {
                let (history, mut out) = (history.borrow(), sent.borrow_mut());
                out.clear();
                let again = viewer
                    .borrow_mut()
                    .egress
                    .resend((0, *lost), &history, *now, &mut out);
                again.expect("it is kept and within the budget");
            });
    }
}

mod rtcp {
    use super::*;

    /// A receiver report, a NACK of two packets and transport-wide feedback on 33, opened, read
    /// and taken into the estimate.
    #[divan::bench(args = PROFILES, sample_size = 16)]
    fn hear(bencher: Bencher, profile: Profile) {
        const PACKETS: u8 = 33;
        let at = start();
        let (viewer, mut peer) = Viewer::new(profile, at);
        let (mut feed, viewer, mut sent) = (Feed::new(at), RefCell::new(viewer), 0_u16);
        let (mut heard, mut out) = (Heard::default(), Vec::with_capacity(2_048));
        heard.lost.reserve(64);
        bencher
            .with_inputs(|| {
                let mut now = at;
                for _ in 0..PACKETS {
                    let packet = feed.packet();
                    now = packet.received_at;
                    out.clear();
                    viewer.borrow_mut().send(&packet, &mut out);
                }
                let first = sent;
                sent = sent.wrapping_add(PACKETS.into());
                (peer.compound(first, first, PACKETS), now)
            })
            .bench_local_refs(|(compound, now)| {
                let egress = &mut viewer.borrow_mut().egress;
                let read = egress.hear(compound, *now, &mut heard);
                read.expect("it is authentic");
                assert_eq!((heard.lost.len(), heard.broken), (2, 0));
            });
    }

    /// One sender report with its description, sealed.
    #[divan::bench(args = PROFILES, sample_size = SAMPLE)]
    fn report(bencher: Bencher, profile: Profile) {
        let mut room = Room::new(profile, 1);
        let (at, mut due) = (start(), Duration::ZERO);
        let mut out = Vec::with_capacity(256);
        bencher
            .with_inputs(|| {
                due += Duration::from_secs(2);
                due
            })
            .bench_local_refs(|due| {
                out.clear();
                let egress = &mut room.crowd[0].egress;
                assert!(egress.report(at + *due, &mut out));
            });
    }
}

/// What no server can be faster than.
mod cipher {
    use super::*;

    /// Header and extensions of a packet: authenticated, not encrypted.
    const HEADER: usize = 32;

    /// The sealing stage alone, with the nonce and the tag at its place.
    #[divan::bench(args = PROFILES, sample_size = SAMPLE)]
    fn seal(bencher: Bencher, profile: Profile) {
        let (mut sealer, _) = keys(profile, End::Server);
        let mut stream = sealer.stream(SSRC).expect("the first of its SSRC");
        let mut buffer = vec![7; HEADER + PAYLOAD];
        buffer.reserve(64);
        bencher.bench_local(|| {
            buffer.truncate(HEADER + PAYLOAD);
            let index = stream.claim_next().expect("indices are left");
            sealer.seal_rtp(index, &mut buffer, 0, HEADER);
        });
    }

    #[divan::bench(args = [Profile::Aes128Gcm, Profile::Aes256Gcm], sample_size = SAMPLE)]
    fn gcm_alone(bencher: Bencher, profile: Profile) {
        let (algorithm, key) = match profile {
            Profile::Aes256Gcm => (&AES_256_GCM, 32),
            _ => (&AES_128_GCM, 16),
        };
        let key = UnboundKey::new(algorithm, &vec![1; key]).expect("of the right length");
        let (key, mut nonce) = (LessSafeKey::new(key), 0_u64);
        let (header, mut body) = ([2; HEADER], [3; PAYLOAD]);
        bencher.bench_local(|| {
            nonce += 1;
            let mut bytes = [0; 12];
            bytes[4..].copy_from_slice(&nonce.to_be_bytes());
            let nonce = Nonce::assume_unique_for_key(bytes);
            key.seal_in_place_separate_tag(nonce, Aad::from(&header), &mut body)
        });
    }

    #[divan::bench(sample_size = SAMPLE)]
    fn cm_and_hmac_sha1_alone(bencher: Bencher) {
        let key = UnboundCipherKey::new(&AES_128, &[1; 16]).expect("of the right length");
        let key = EncryptingKey::ctr(key).expect("it is a key for counter mode");
        let mac = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &[4; 20]);
        let (mut packet, mut nonce) = ([3; HEADER + PAYLOAD], 0_u128);
        bencher.bench_local(|| {
            nonce += 1 << 16;
            let iv = EncryptionContext::Iv128(FixedLength::from(nonce.to_be_bytes()));
            let sealed = key.less_safe_encrypt(&mut packet[HEADER..], iv);
            (sealed, hmac::sign(&mac, &packet))
        });
    }
}

/// Keys, and how many viewers take turns.
struct Case {
    profile: Profile,
    viewers: usize,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {}", self.profile, self.viewers)
    }
}

fn cases() -> impl Iterator<Item = Case> {
    PROFILES.into_iter().flat_map(|profile| {
        let case = move |viewers| Case { profile, viewers };
        VIEWERS.into_iter().map(case)
    })
}

/// Viewers of one feed.
struct Room {
    turns: Turns,
    crowd: Vec<Viewer>,
    out: Vec<u8>,
}

impl Room {
    fn new(profile: Profile, viewers: usize) -> Self {
        let (mut feed, crowd, out) = watching(profile, viewers);
        let packet = feed.packet();
        let turns = Turns {
            feed,
            packet,
            viewers,
            next: 0,
        };
        Self { turns, crowd, out }
    }
}

/// Each packet goes to every viewer before the next one does.
struct Turns {
    feed: Feed,
    packet: Arc<MediaPacket>,
    viewers: usize,
    next: usize,
}

impl Turns {
    fn next(&mut self) -> (usize, Arc<MediaPacket>) {
        if self.next == self.viewers {
            self.next = 0;
            self.packet = self.feed.packet();
        }
        self.next += 1;
        (self.next - 1, Arc::clone(&self.packet))
    }
}
