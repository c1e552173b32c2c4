use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};

use super::*;

const NOW: u64 = 1_800_000_000;
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

fn claims() -> Claims {
    Claims {
        sub: "idol".into(),
        exp: NOW + 60,
        nbf: None,
        room: RoomPattern::new("stage"),
        grants: Grants {
            publish: true,
            ..Grants::default()
        },
        name: None,
        role: None,
    }
}

fn pem(label: &str, der: &[u8]) -> Vec<u8> {
    let body = STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n").into_bytes()
}

/// A fresh Ed25519 pair: private and public PEM.
fn ed25519() -> (Vec<u8>, Vec<u8>) {
    let pair = Ed25519KeyPair::generate().unwrap();
    // RFC 8410 section 4: a SubjectPublicKeyInfo is this prefix and the 32 bytes.
    let mut spki = vec![
        0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
    ];
    spki.extend_from_slice(pair.public_key().as_ref());
    let private = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&pair).unwrap();
    (
        pem("PRIVATE KEY", private.as_ref()),
        pem("PUBLIC KEY", &spki),
    )
}

fn keys() -> KeySet {
    let mut keys = KeySet::new(30);
    keys.add_hs256("a", SECRET).unwrap();
    keys
}

fn signer() -> SigningKey {
    SigningKey::hs256("a", SECRET).unwrap()
}

fn raw(header: &str, claims: &str) -> String {
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET);
    let signature = aws_lc_rs::hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[test]
fn both_algorithms_round_trip() {
    let (private, public) = ed25519();
    let mut keys = keys();
    keys.add_ed25519("e", &public).unwrap();
    for signer in [signer(), SigningKey::ed25519("e", &private).unwrap()] {
        let token = signer.mint(&claims()).unwrap();
        assert_eq!(keys.verify(&token, NOW), Ok(claims()), "{signer:?}");
    }
}

#[test]
fn times_have_leeway() {
    let keys = keys();
    let check = |exp: u64, nbf: Option<u64>, expected: Result<(), TokenError>| {
        let token = signer()
            .mint(&Claims {
                exp,
                nbf,
                ..claims()
            })
            .unwrap();
        assert_eq!(
            keys.verify(&token, NOW).map(drop),
            expected,
            "{exp} {nbf:?}"
        );
    };
    check(NOW + 1, None, Ok(()));
    check(NOW - 29, None, Ok(()));
    check(NOW - 30, None, Err(TokenError::Expired));
    check(0, None, Err(TokenError::Expired));
    check(u64::MAX, Some(NOW + 30), Ok(()));
    check(u64::MAX, Some(NOW + 31), Err(TokenError::NotYetValid));
    check(u64::MAX, Some(u64::MAX), Err(TokenError::NotYetValid));
}

#[test]
fn forged_and_broken_tokens() {
    let keys = keys();
    let good = signer().mint(&claims()).unwrap();
    let (rest, signature) = good.rsplit_once('.').unwrap();
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    let (_, public) = ed25519();
    let stranger = SigningKey::hs256("a", &[7; 32]).unwrap();
    let elsewhere = SigningKey::hs256("b", SECRET).unwrap();
    let json = serde_json::to_string(&claims()).unwrap();
    for (token, expected) in [
        (String::new(), TokenError::Malformed),
        ("a.b.c".into(), TokenError::Malformed),
        ("x".repeat(TOKEN_BYTES_MAX + 1), TokenError::Malformed),
        (format!("{rest}."), TokenError::BadSignature),
        (
            format!("{rest}.{flipped}{}", &signature[1..]),
            TokenError::BadSignature,
        ),
        (stranger.mint(&claims()).unwrap(), TokenError::BadSignature),
        (elsewhere.mint(&claims()).unwrap(), TokenError::UnknownKey),
        (raw(r#"{"alg":"HS256"}"#, &json), TokenError::UnknownKey),
        (
            raw(r#"{"alg":"none","kid":"a"}"#, &json),
            TokenError::Malformed,
        ),
        // The right signature, but the header says an algorithm that is not the key's.
        (
            raw(r#"{"alg":"EdDSA","kid":"a"}"#, &json),
            TokenError::BadSignature,
        ),
        (
            raw(r#"{"alg":"HS384","kid":"a"}"#, &json),
            TokenError::BadSignature,
        ),
        (
            raw(r#"{"alg":"HS256","kid":"a"}"#, r#"{"sub":"x","room":"y"}"#),
            TokenError::Malformed,
        ),
        (
            raw(
                r#"{"alg":"HS256","kid":"a"}"#,
                r#"{"sub":"","room":"y","exp":9999999999}"#,
            ),
            TokenError::Malformed,
        ),
        (
            raw(
                r#"{"alg":"HS256","kid":"a"}"#,
                r#"{"sub":"x","room":"y","exp":-1}"#,
            ),
            TokenError::Malformed,
        ),
    ] {
        assert_eq!(keys.verify(&token, NOW), Err(expected), "{token:.80}");
    }
    // A public key is no HMAC secret: HS256 signed with the PEM of an EdDSA key.
    let mut both = KeySet::new(0);
    both.add_ed25519("e", &public).unwrap();
    let confused = SigningKey::hs256("e", &public).unwrap();
    assert_eq!(
        both.verify(&confused.mint(&claims()).unwrap(), NOW),
        Err(TokenError::BadSignature)
    );
    assert_eq!(
        KeySet::new(0).verify(&good, NOW),
        Err(TokenError::UnknownKey)
    );
}

#[test]
fn rooms_and_grants() {
    let check = |pattern: &str, room: &str, grant: Grant, expected: Result<(), TokenError>| {
        let claims = Claims {
            room: RoomPattern::new(pattern),
            ..claims()
        };
        assert_eq!(
            claims.allow(grant, &room.parse().unwrap()),
            expected,
            "{pattern} {room}"
        );
    };
    check("stage", "stage", Grant::Publish, Ok(()));
    check(
        "stage",
        "stage2",
        Grant::Publish,
        Err(TokenError::WrongRoom),
    );
    check("stage-*", "stage-2", Grant::Publish, Ok(()));
    check("stage-*", "stage-", Grant::Publish, Ok(()));
    check(
        "stage-*",
        "stage",
        Grant::Publish,
        Err(TokenError::WrongRoom),
    );
    check("*", "anything", Grant::Publish, Ok(()));
    check("", "anything", Grant::Publish, Err(TokenError::WrongRoom));
    check("a*b", "ab", Grant::Publish, Err(TokenError::WrongRoom));
    for grant in [Grant::Watch, Grant::Chat, Grant::Moderate, Grant::Admin] {
        check("stage", "stage", grant, Err(TokenError::NoGrant(grant)));
    }
}

#[test]
fn unknown_claims_and_grants_are_ignored() {
    let token = raw(
        r#"{"alg":"HS256","kid":"a","typ":"JWT"}"#,
        r#"{"sub":"x","room":"y","exp":9999999999,"iat":1,"aud":"else","grants":{"watch":true,"fly":true}}"#,
    );
    let claims = keys().verify(&token, NOW).unwrap();
    assert!(claims.grants.watch && !claims.grants.publish);
}

#[test]
fn keys_are_checked_when_added() {
    let mut keys = keys();
    let (private, public) = ed25519();
    assert_eq!(keys.add_hs256("a", SECRET), Err(KeyError::DuplicateId));
    assert_eq!(keys.add_hs256("", SECRET), Err(KeyError::NoId));
    assert_eq!(
        keys.add_hs256("b", &SECRET[1..]),
        Err(KeyError::ShortSecret)
    );
    assert_eq!(keys.add_ed25519("b", b"nonsense"), Err(KeyError::BadPem));
    assert_eq!(keys.add_ed25519("b", &private), Err(KeyError::BadPem));
    assert_eq!(keys.add_ed25519("b", &public), Ok(()));
    assert_eq!(keys.len(), 2);
    assert_eq!(format!("{keys:?}"), r#"{"a", "b"}"#);
    assert!(SigningKey::ed25519("b", &public).is_err());
}

#[test]
fn critical_extensions_are_refused() {
    let json = serde_json::to_string(&claims()).unwrap();
    for (header, expected) in [
        (r#"{"alg":"HS256","kid":"a"}"#, Ok(claims())),
        (r#"{"alg":"HS256","kid":"a","x":1}"#, Ok(claims())),
        (
            r#"{"alg":"HS256","kid":"a","crit":["b64"],"b64":true}"#,
            Err(TokenError::Malformed),
        ),
        (
            r#"{"alg":"HS256","kid":"a","crit":[]}"#,
            Err(TokenError::Malformed),
        ),
        (
            r#"{"alg":"HS256","kid":"a","crit":"exp"}"#,
            Err(TokenError::Malformed),
        ),
    ] {
        assert_eq!(
            keys().verify(&raw(header, &json), NOW),
            expected,
            "{header}"
        );
    }
}
