use super::*;
use aws_lc_rs::aead::{AES_128_GCM, LessSafeKey, UnboundKey};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

/// The session key and salt of RFC 7714 sections 16.1 and 17.1.
fn rfc_7714() -> Cipher {
    let key = UnboundKey::new(&AES_128_GCM, &hex("000102030405060708090a0b0c0d0e0f"));
    Cipher::Gcm {
        key: LessSafeKey::new(key.expect("16 bytes")),
        salt: *b"Quid pro quo",
    }
}

/// The master key and salt of libsrtp's `srtp_driver.c`, which RFC 3711 section B.3 shares.
fn libsrtp(of: derive::Use) -> Cipher {
    Cipher::new(
        Profile::Aes128CmSha1_80,
        &hex("e1f97a0d3e018be0d64fa32c06de4139"),
        &hex("0ec675ad498afeebb6960b3aabe6"),
        of,
    )
    .expect("16 bytes")
}

fn sealed_rtp(cipher: &Cipher, packet: &str, ssrc: u32, index: u64) -> Vec<u8> {
    let mut buffer = vec![0xFF; 3];
    buffer.extend(hex(packet));
    let index = SendStream::new(ssrc).claim(index).expect("the first");
    cipher.seal_rtp(index, &mut buffer, 3, 12);
    buffer.split_off(3)
}

#[test]
fn rtp_with_gcm_is_as_in_rfc_7714_section_16_1_1() {
    let packet = "8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976 \
                  69736120 696e2070 61727465 73207472 6573";
    assert_eq!(
        sealed_rtp(&rfc_7714(), packet, 0x5501_a0b2, 0xf17b),
        hex(
            "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f \
             42a5f47a 51c7d19b 36de3adf 8833 899d7f27 beb16a91 52cf765e e4390cce"
        )
    );
}

#[test]
fn rtcp_with_gcm_is_as_in_rfc_7714_section_17_1() {
    let plain = hex(
        "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 deadbeef \
         deadbeef deadbeef deadbeef deadbeef",
    );
    let mut buffer = plain.clone();
    let cipher = rfc_7714();
    cipher.seal_rtcp(0x5d4, &mut buffer, 0);
    assert_eq!(
        buffer,
        hex(
            "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1 \
             730d6fda 4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4"
        )
    );
    assert_eq!(cipher.open_rtcp(0x5d4, &mut buffer), Ok(plain.len()));
    assert_eq!(buffer[..plain.len()], plain);
}

#[test]
fn rtp_in_counter_mode_is_as_libsrtp_says() {
    let packet = "800f1234 decafbad cafebabe abababab abababab abababab abababab";
    assert_eq!(
        sealed_rtp(&libsrtp(derive::Use::Rtp), packet, 0xcafe_babe, 0x1234),
        hex(
            "800f1234 decafbad cafebabe 4e55dc4c e79978d8 8ca4d215 949d2402 b78d6acc 99ea179b \
             8dbb"
        )
    );
}

#[test]
fn rtcp_in_counter_mode_is_as_libsrtp_says() {
    let plain = hex("81c8000b cafebabe abababab abababab abababab abababab");
    let mut buffer = plain.clone();
    let cipher = libsrtp(derive::Use::Rtcp);
    cipher.seal_rtcp(1, &mut buffer, 0);
    assert_eq!(
        buffer,
        hex(
            "81c8000b cafebabe 7128035b e487b9bd bef89041 f977a5a8 80000001 993e08cd 54d6c123 \
             0798"
        )
    );
    assert_eq!(cipher.open_rtcp(1, &mut buffer), Ok(plain.len()));
    assert_eq!(buffer[..plain.len()], plain);
}

const PROFILES: [Profile; 3] = [
    Profile::Aes128CmSha1_80,
    Profile::Aes128Gcm,
    Profile::Aes256Gcm,
];

fn ends(profile: Profile) -> ((Sealer, RtcpOpener), (Sealer, RtcpOpener)) {
    let material: Vec<u8> = (0..profile.material_len() as u8).collect();
    let end = |end| keys(&material, profile, end).expect("of the right length");
    (end(End::Client), end(End::Server))
}

#[test]
fn one_end_opens_what_the_other_seals_and_once_only() {
    for profile in PROFILES {
        let ((mut client, _), (_, mut server)) = ends(profile);
        let report = hex("81c80006 cafebabe 00000001 00000002 00000003 00000004 00000005");
        let mut sealed: Vec<Vec<u8>> = Vec::new();
        for _ in 0..70 {
            let mut buffer = report.clone();
            assert_eq!(client.seal_rtcp(&mut buffer, 0), Ok(()));
            sealed.push(buffer);
        }
        let mut open = |at: usize| server.open(&mut sealed[at].clone()).map(<[u8]>::to_vec);
        assert_eq!(open(3), Ok(report.clone()), "{profile:?}");
        assert_eq!(open(3), Err(OpenError::Replayed));
        assert_eq!(open(1), Ok(report.clone()), "late, and within the window");
        assert_eq!(open(69), Ok(report.clone()));
        assert_eq!(open(2), Err(OpenError::Replayed), "before the window");
        assert_eq!(open(68), Ok(report.clone()));
        let mut forged = sealed[30].clone();
        forged[9] ^= 1;
        assert_eq!(server.open(&mut forged).err(), Some(OpenError::Forged));
        assert_eq!(
            server.open(&mut sealed[30].clone()).map(<[u8]>::to_vec),
            Ok(report.clone()),
            "a forgery does not move the window"
        );
    }
}

#[test]
fn each_sender_of_a_peer_counts_its_own_indices() {
    for profile in PROFILES {
        let (_, (_, mut server)) = ends(profile);
        let mut opened = |ssrc: u32, count: usize| {
            // A stack that counts for each SSRC seals as if it had no other.
            let ((mut client, _), _) = ends(profile);
            let sealed = (0..count).map(|_| {
                let mut report =
                    hex("81c80006 cafebabe 00000001 00000002 00000003 00000004 00000005");
                report[4..8].copy_from_slice(&ssrc.to_be_bytes());
                client.seal_rtcp(&mut report, 0).unwrap();
                report
            });
            let mut sealed: Vec<_> = sealed.collect();
            let mut opened = 0;
            for report in &mut sealed {
                opened += usize::from(server.open(report).is_ok());
            }
            opened
        };
        assert_eq!(opened(1, 200), 200, "{profile:?}");
        assert_eq!(
            opened(2, 90),
            90,
            "its indices are new, though another has used them"
        );
        assert_eq!(opened(2, 90), 0, "and replays are none the less");
        assert_eq!(opened(1, 200), 0);
        for ssrc in 3..20 {
            assert_eq!(opened(ssrc, 3), 3, "more senders than are remembered");
        }
        assert_eq!(opened(19, 3), 0);
    }
}

#[test]
fn junk_is_refused_by_its_kind() {
    for profile in PROFILES {
        let (_, (_, mut server)) = ends(profile);
        for length in 0..80 {
            let mut junk = vec![0x80; length];
            assert!(server.open(&mut junk).is_err(), "{profile:?} {length}");
        }
        assert_eq!(server.open(&mut [0; 64]), Err(OpenError::Plain));
        assert_eq!(server.open(&mut [0; 11]), Err(OpenError::Short));
    }
    assert_eq!(
        keys(&[0; 55], Profile::Aes128Gcm, End::Server).err(),
        Some(KeyError::Length(55))
    );
}

#[test]
fn an_ssrc_has_one_stream() {
    let ((mut sealer, _), _) = ends(Profile::Aes128Gcm);
    assert!(sealer.stream(5).is_some());
    assert!(sealer.stream(5).is_none());
    assert!(sealer.stream(6).is_some());
}

#[test]
fn the_last_rtcp_index_is_the_last() {
    let ((mut sealer, _), _) = ends(Profile::Aes256Gcm);
    sealer.rtcp_index = RTCP_INDEX_MAX;
    let mut buffer = vec![0x80; 28];
    assert_eq!(sealer.seal_rtcp(&mut buffer, 0), Err(IndexExhausted));
    assert_eq!(buffer.len(), 28);
}
