//! The USERNAME of a connectivity check: which session a datagram from a new address is for.

/// The two halves of an ICE USERNAME, RFC 8445 section 7.2.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StunUsername<'a> {
    /// Our user fragment: names the session.
    pub local_ufrag: &'a str,
    /// The peer's.
    pub remote_ufrag: &'a str,
}

/// Why a datagram has no such USERNAME. All of them mean: drop it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StunError {
    /// Shorter than a header, or without the magic cookie.
    #[error("not a STUN message")]
    NotStun,
    /// STUN, but no Binding request: those alone may come from an unknown address.
    #[error("not a Binding request")]
    NotBindingRequest,
    /// The header's length is not that of the datagram.
    #[error("the length does not match")]
    Length,
    /// An attribute reaches beyond the message.
    #[error("a truncated attribute")]
    Attribute,
    /// No USERNAME before the message's integrity.
    #[error("no USERNAME")]
    NoUsername,
    /// A USERNAME that is no pair of user fragments.
    #[error("a USERNAME that is no pair of ICE user fragments")]
    Username,
}

const HEADER: usize = 20;
const BINDING_REQUEST: [u8; 2] = [0x00, 0x01];
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const USERNAME: [u8; 2] = [0x00, 0x06];
const MESSAGE_INTEGRITY: [u8; 2] = [0x00, 0x08];
const MESSAGE_INTEGRITY_SHA256: [u8; 2] = [0x00, 0x1c];
/// Of a user fragment, in characters (RFC 8839 section 5.4).
const UFRAG_LEN: std::ops::RangeInclusive<usize> = 4..=256;

/// Finds the USERNAME of a Binding request.
///
/// Nothing is authenticated here: the ICE agent of the session that is found checks the integrity.
///
/// # Errors
/// [`StunError`]; the datagram is nobody's.
pub fn stun_username(datagram: &[u8]) -> Result<StunUsername<'_>, StunError> {
    let (header, mut rest) = datagram
        .split_first_chunk::<HEADER>()
        .ok_or(StunError::NotStun)?;
    // RFC 8489 section 5: type, length, cookie, transaction id.
    if header[0] & 0xc0 != 0 || header[4..8] != MAGIC_COOKIE {
        return Err(StunError::NotStun);
    }
    if header[..2] != BINDING_REQUEST {
        return Err(StunError::NotBindingRequest);
    }
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if length != rest.len() || length % 4 != 0 {
        return Err(StunError::Length);
    }
    while !rest.is_empty() {
        let (head, after) = rest.split_first_chunk::<4>().ok_or(StunError::Attribute)?;
        let [kind @ .., high, low] = *head;
        let size = usize::from(u16::from_be_bytes([high, low]));
        // Section 14: values are padded to 4 bytes, which the size does not count.
        let (value, after) = after
            .split_at_checked(size.next_multiple_of(4))
            .ok_or(StunError::Attribute)?;
        match kind {
            USERNAME => return username(&value[..size]).ok_or(StunError::Username),
            // What follows the integrity is not protected by it (section 14.5).
            MESSAGE_INTEGRITY | MESSAGE_INTEGRITY_SHA256 => break,
            _ => rest = after,
        }
    }
    Err(StunError::NoUsername)
}

fn username(value: &[u8]) -> Option<StunUsername<'_>> {
    let (local_ufrag, remote_ufrag) = std::str::from_utf8(value).ok()?.split_once(':')?;
    (is_ufrag(local_ufrag) && is_ufrag(remote_ufrag)).then_some(StunUsername {
        local_ufrag,
        remote_ufrag,
    })
}

/// RFC 8839 section 5.4 has letters, digits, `+` and `/`; the rest is what peers use besides.
fn is_ufrag(text: &str) -> bool {
    UFRAG_LEN.contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+/-_=#".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (kind, value) in attributes {
            body.extend(kind.to_be_bytes());
            body.extend((value.len() as u16).to_be_bytes());
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        let mut message = kind.to_be_bytes().to_vec();
        message.extend((body.len() as u16).to_be_bytes());
        message.extend(MAGIC_COOKIE);
        message.extend([7; 12]);
        message.extend(body);
        message
    }

    fn check(datagram: &[u8], expected: Result<(&str, &str), StunError>) {
        let expected = expected.map(|(local_ufrag, remote_ufrag)| StunUsername {
            local_ufrag,
            remote_ufrag,
        });
        assert_eq!(stun_username(datagram), expected, "{datagram:02x?}");
        // A datagram that was cut has a length that does not match: never a name.
        for len in 0..datagram.len() {
            assert!(stun_username(&datagram[..len]).is_err(), "{len}");
        }
    }

    #[test]
    fn binding_requests() {
        let name: &[u8] = b"OurUfrag1:abc+/9";
        let found = Ok(("OurUfrag1", "abc+/9"));
        // In Chromium's order: USERNAME, GOOG-NETWORK-INFO, ICE-CONTROLLING, USE-CANDIDATE,
        // PRIORITY, MESSAGE-INTEGRITY, FINGERPRINT.
        let request = [
            (0x0006, name),
            (0xc057, &[0, 1, 0, 10]),
            (0x802a, &[1; 8]),
            (0x0025, &[]),
            (0x0024, &[0x6e, 0, 0x1e, 0xff]),
            (0x0008, &[2; 20]),
            (0x8028, &[3; 4]),
        ];
        check(&message(1, &request), found);
        // Behind padding, and the first of two.
        let odd: (u16, &[u8]) = (0x8022, b"agent");
        check(&message(1, &[odd, (6, name)]), found);
        check(&message(1, &[(6, name), (6, b"Other:Name")]), found);

        check(
            &message(1, &[(0x0008, &[0; 20]), (6, name)]),
            Err(StunError::NoUsername),
        );
        check(
            &message(1, &[(0x001c, &[0; 32]), (6, name)]),
            Err(StunError::NoUsername),
        );
        check(&message(1, &[]), Err(StunError::NoUsername));
        for other in [0x0101, 0x0111, 0x0011, 0x0003] {
            check(
                &message(other, &[(6, name)]),
                Err(StunError::NotBindingRequest),
            );
        }
    }

    #[test]
    fn usernames() {
        let long = "u".repeat(256);
        let pair = format!("{long}:{long}");
        check(&message(1, &[(6, pair.as_bytes())]), Ok((&long, &long)));
        for bad in [
            "",
            ":",
            "ours",
            "ours:",
            ":theirs",
            "our:theirs",
            "ours:theirs:more",
            "ours:th eirs",
            "ours:th\0irs",
            "oürs:theirs",
            &format!("{long}u:theirs"),
        ] {
            check(
                &message(1, &[(6, bad.as_bytes())]),
                Err(StunError::Username),
            );
        }
        check(
            &message(1, &[(6, b"ours:\xff\xfe\xfd\xfc")]),
            Err(StunError::Username),
        );
    }

    #[test]
    fn broken_messages() {
        let good = message(1, &[(6, b"ours:theirs")]);
        let broken = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut message = good.clone();
            change(&mut message);
            message
        };
        check(&broken(&|m| m[4] ^= 1), Err(StunError::NotStun));
        check(&broken(&|m| m[0] = 0x80), Err(StunError::NotStun));
        assert_eq!(
            stun_username(&broken(&|m| m.push(0))),
            Err(StunError::Length)
        );
        check(&broken(&|m| m[3] -= 4), Err(StunError::Length));
        check(
            &broken(&|m| {
                m.truncate(m.len() - 1);
                m[3] -= 1;
            }),
            Err(StunError::Length),
        );
        check(&broken(&|m| m[23] = 200), Err(StunError::Attribute));
        check(&broken(&|m| m[22] = 0xff), Err(StunError::Attribute));
        check(&[], Err(StunError::NotStun));
    }
}
