//! What a datagram is, before anything is allocated or decrypted for it.
//!
//! [`classify`] tells the protocols on one port apart; [`RtpView`] reads an RTP header, encrypted
//! payload or not; [`Frames`] cuts a TCP stream into the datagrams that it stands for.

mod framing;
mod rtp;

pub use framing::{FrameTooLong, Frames};
pub use rtp::{RtpError, RtpView, extensions};

/// The protocols that share a media port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A STUN message, RFC 8489.
    Stun,
    /// A DTLS record, RFC 6347 or RFC 9147.
    Dtls,
    /// RTP or SRTP, RFC 3550 and RFC 3711.
    Rtp,
    Rtcp,
    /// Anything else, and whatever is too short to be what its first byte says.
    Junk,
}

/// A STUN header, RFC 8489 section 5.
const STUN_MIN: usize = 20;
/// A DTLS 1.2 record header, RFC 6347 section 4.1.
const DTLS_MIN: usize = 13;
/// The shortest header of a DTLS 1.3 ciphertext, and the 16 bytes without which a receiver must
/// not even try to read its number (RFC 9147 section 4.2.3).
const DTLS_CIPHERTEXT_MIN: usize = 2 + 16;
/// An RTP header without contributing sources, RFC 3550 section 5.1.
const RTP_MIN: usize = 12;
/// The header and sender of any RTCP packet.
const RTCP_MIN: usize = 8;

/// Tells what a datagram is by its first two bytes (RFC 7983 section 7 as updated by RFC 9443) and
/// its length. ZRTP, TURN channels and QUIC are never spoken here and so are junk.
#[must_use]
pub fn classify(datagram: &[u8]) -> Kind {
    let &[first, second, ..] = datagram else {
        return Kind::Junk;
    };
    let (kind, min) = match first {
        0..=3 => (Kind::Stun, STUN_MIN),
        20..=31 => (Kind::Dtls, DTLS_MIN),
        32..=63 => (Kind::Dtls, DTLS_CIPHERTEXT_MIN),
        // RTCP packet types 192 to 223 are RTP payload types 64 to 95 with a marker, which
        // nobody may use together with RTCP on one port (RFC 5761 section 4).
        128..=191 if (192..=223).contains(&second) => (Kind::Rtcp, RTCP_MIN),
        128..=191 => (Kind::Rtp, RTP_MIN),
        _ => return Kind::Junk,
    };
    if datagram.len() < min {
        Kind::Junk
    } else {
        kind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(head: &[u8], min: usize, kind: Kind) {
        let mut datagram = head.to_vec();
        datagram.resize(min.max(head.len()), 0);
        assert_eq!(classify(&datagram), kind, "{head:02x?}");
        if kind != Kind::Junk {
            datagram.pop();
            assert_eq!(classify(&datagram), Kind::Junk, "{head:02x?}, short");
        }
    }

    #[test]
    fn first_bytes() {
        for first in 0..=u8::MAX {
            let (min, kind) = match first {
                0..=3 => (20, Kind::Stun),
                20..=31 => (13, Kind::Dtls),
                32..=63 => (18, Kind::Dtls),
                128..=191 => (12, Kind::Rtp),
                _ => (1_200, Kind::Junk),
            };
            check(&[first, 96], min, kind);
        }
        assert_eq!(classify(&[]), Kind::Junk);
    }

    #[test]
    fn rtcp_by_its_packet_type() {
        for (second, kind, min) in [
            (191, Kind::Rtp, 12), // payload type 63 with a marker
            (192, Kind::Rtcp, 8), // FIR of RFC 2032
            (200, Kind::Rtcp, 8), // SR
            (206, Kind::Rtcp, 8), // payload-specific feedback
            (223, Kind::Rtcp, 8), // the last of the range
            (224, Kind::Rtp, 12), // payload type 96 with a marker
            (72, Kind::Rtp, 12),  // payload type 72 without: only the marker makes it a clash
        ] {
            check(&[0x80, second], min, kind);
            check(&[0xbf, second], min, kind);
        }
    }
}
