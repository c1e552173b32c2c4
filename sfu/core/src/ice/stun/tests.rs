use super::*;

/// RFC 5769 section 2.1.
const REQUEST: &[u8] = b"\x00\x01\x00\x58\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
    \x80\x22\x00\x10STUN test client\x00\x24\x00\x04\x6e\x00\x01\xff\
    \x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36\x00\x06\x00\x09evtj:h6vY   \
    \x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\xc1\xb5\x71\xa2\
    \x80\x28\x00\x04\xe5\x7a\x3b\xcf";
/// RFC 5769 section 2.2.
const RESPONSE: &[u8] = b"\x01\x01\x00\x3c\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
    \x80\x22\x00\x0btest vector \x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43\
    \x00\x08\x00\x14\x2b\x91\xf5\x99\xfd\x9e\x90\xc3\x8c\x74\x89\xf9\x2a\xf9\xba\x53\xf0\x6b\xe7\xd7\
    \x80\x28\x00\x04\xc0\x7d\x4c\x96";
const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

/// A request with attributes, and an integrity of each of those kinds.
fn request(attributes: &[(u16, &[u8])], integrities: &[Algorithm]) -> Vec<u8> {
    let mut writer = Writer::new(Class::Request, [7; 12]);
    for (kind, value) in attributes {
        writer.attribute(*kind, value);
    }
    for algorithm in integrities {
        let kind = match algorithm {
            Algorithm::Sha1 => attribute::MESSAGE_INTEGRITY,
            Algorithm::Sha256 => attribute::MESSAGE_INTEGRITY_SHA256,
        };
        let key = algorithm.key("word");
        writer.set_length(4 + key.algorithm().digest_algorithm().output_len());
        let sum = hmac::sign(&key, &writer.0);
        writer.attribute(kind, sum.as_ref());
    }
    writer.set_length(0);
    writer.0
}

#[test]
fn the_samples_of_rfc_5769() {
    let message = Message::parse(REQUEST).expect("a request");
    assert_eq!(message.class, Class::Request);
    assert_eq!(message.username, Some(&b"evtj:h6vY"[..]));
    assert_eq!(message.recipient(), Some("evtj"));
    assert!(message.controlled && !message.use_candidate);
    assert!(message.unknown().is_empty());
    assert!(message.verify(PASSWORD) && !message.verify("VOkJxbRl1RmTxUk/WvJxBT"));
    let response = Message::parse(RESPONSE).expect("a response");
    assert_eq!(response.class, Class::Success);
    assert_eq!(response.transaction, message.transaction);
    assert!(response.verify(PASSWORD));
    // The same but for SOFTWARE, which we do not say.
    let ours = success(&message, "192.0.2.1:32853".parse().unwrap(), PASSWORD);
    assert_eq!(ours[20..32], RESPONSE[36..48]);
    assert!(Message::parse(&ours).is_ok_and(|ours| ours.verify(PASSWORD)));
    let sum = REQUEST.len() - 8;
    let sum = crc32(&REQUEST[..sum]) ^ 0x5354_554e;
    assert_eq!(sum.to_be_bytes(), REQUEST[REQUEST.len() - 4..]);
}

#[test]
fn what_an_agent_that_is_lite_needs_no_more_than() {
    let name: (u16, &[u8]) = (attribute::USERNAME, b"ours:theirs");
    let sha1 = [Algorithm::Sha1];
    let check = |attributes: &[(u16, &[u8])], integrities: &[Algorithm]| {
        let bytes = request(attributes, integrities);
        let message = Message::parse(&bytes).expect("it is read");
        assert!(
            message.verify("word") && !message.verify("ward"),
            "{attributes:?}"
        );
        assert_eq!(message.recipient(), Some("ours"), "{attributes:?}");
        (
            message.use_candidate,
            message.controlled,
            message.unknown().to_vec(),
        )
    };
    // Neither PRIORITY nor a role nor FINGERPRINT.
    assert_eq!(check(&[name], &sha1), (false, false, vec![]));
    let chromium: [(u16, &[u8]); 6] = [
        name,
        (0xc057, &[0, 1, 0, 10]),
        (attribute::ICE_CONTROLLING, &[1; 8]),
        (attribute::USE_CANDIDATE, &[]),
        (attribute::PRIORITY, &[0x6e, 0, 0x1e, 0xff]),
        (0x8022, b"agent"),
    ];
    assert_eq!(check(&chromium, &sha1), (true, false, vec![]));
    let controlled = (attribute::ICE_CONTROLLED, &[0; 8][..]);
    assert_eq!(check(&[controlled, name], &sha1), (false, true, vec![]));
    // RFC 8489 has a second kind of integrity, which goes beyond the first.
    let both = [Algorithm::Sha1, Algorithm::Sha256];
    assert_eq!(check(&[name], &both), (false, false, vec![]));
    assert_eq!(check(&[name], &both[1..]), (false, false, vec![]));
    // Unknown ones that must be understood; the first of more than we name.
    let many: Vec<(u16, &[u8])> = (0x0030..0x0038).map(|kind| (kind, &b"x"[..])).collect();
    let many = [&[name], &many[..]].concat();
    assert_eq!(check(&many, &sha1).2, [0x30, 0x31, 0x32, 0x33]);
}

#[test]
fn usernames() {
    let long = "u".repeat(256);
    for (username, recipient) in [
        (&b"ours:theirs"[..], Some("ours")),
        (b"ours:theirs:more", Some("ours")),
        (b"ours:th\xff\xferirs", Some("ours")),
        (b"ours:", Some("ours")),
        (b"ours", Some("ours")),
        (format!("{long}:{long}").as_bytes(), Some(&long)),
        (b"", None),
        (b":theirs", None),
        (b"\xff:theirs", None),
    ] {
        let bytes = request(&[(attribute::USERNAME, username)], &[Algorithm::Sha1]);
        let message = Message::parse(&bytes).expect("it is read");
        assert_eq!(message.recipient(), recipient, "{username:?}");
    }
    // The first counts, and none behind the integrity.
    let two = request(&[(6, b"first:x"), (6, b"second:x")], &[]);
    assert_eq!(Message::parse(&two).unwrap().recipient(), Some("first"));
    let mut late = request(&[], &[Algorithm::Sha1]);
    let mut writer = Writer(std::mem::take(&mut late));
    writer.attribute(attribute::USERNAME, b"late:x");
    writer.attribute(attribute::USE_CANDIDATE, &[]);
    writer.set_length(0);
    let message = Message::parse(&writer.0).expect("it is read");
    assert_eq!((message.recipient(), message.use_candidate), (None, false));
}

#[test]
fn broken_messages() {
    let good = request(&[(6, b"ours:theirs")], &[Algorithm::Sha1]);
    for length in 0..good.len() {
        assert!(Message::parse(&good[..length]).is_err(), "{length}");
    }
    let check = |at: usize, value: u8, error: StunError| {
        let mut bytes = good.clone();
        bytes[at] = value;
        assert_eq!(
            Message::parse(&bytes).map(|_| ()),
            Err(error),
            "{at} {value}"
        );
    };
    check(4, 0, StunError::NotStun);
    check(0, 0x40, StunError::NotStun);
    check(1, 0x03, StunError::NotBinding);
    check(3, 1, StunError::Length);
    check(23, 200, StunError::Attribute);
    // An integrity that is too short to be one.
    check(39, 19, StunError::Attribute);
    let changed = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        Message::parse(&bytes).is_ok_and(|message| message.verify("word"))
    };
    assert!(!changed(8) && !changed(24) && !changed(good.len() - 1));
}

#[test]
fn a_refusal_names_what_is_unknown() {
    let bytes = request(&[(6, b"ours:theirs"), (0x0030, b"x")], &[Algorithm::Sha1]);
    let message = Message::parse(&bytes).expect("it is read");
    let refused = refusal(&message, 420, "Unknown Attribute", "word");
    let read = Message::parse(&refused).expect("it is read");
    assert_eq!((read.class, read.error), (Class::Error, Some(420)));
    assert_eq!(read.transaction, message.transaction);
    assert!(read.verify("word"));
    let named = [0x00, 0x0a, 0x00, 0x02, 0x00, 0x30, 0, 0];
    assert!(refused.windows(8).any(|window| window == named));
}

#[test]
fn a_check_of_ours_is_whole() {
    let check = Check {
        transaction: [1; 12],
        username: "theirs:ours",
        priority: 0x6eff_ffff,
        tie_breaker: 7,
        password: "word",
    };
    let bytes = check.write();
    let read = Message::parse(&bytes).expect("it is read");
    assert!(read.verify("word") && read.controlled && !read.use_candidate);
    assert_eq!(read.recipient(), Some("theirs"));
    assert!(
        bytes
            .windows(4)
            .any(|window| window == [0x6e, 0xff, 0xff, 0xff])
    );
    let sum = crc32(&bytes[..bytes.len() - 8]) ^ 0x5354_554e;
    assert_eq!(sum.to_be_bytes(), bytes[bytes.len() - 4..]);
}
