//! The RTP header: the part of a packet that SRTP leaves readable.

use std::ops::Range;

/// An RTP header (RFC 3550 section 5.1) that fits its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpView {
    /// Last packet of a picture, first of a talk spurt.
    pub marker: bool,
    /// 0 to 127, never 64 to 95.
    pub payload_type: u8,
    /// 16 bits on the wire, roll-overs not counted.
    pub sequence: u16,
    /// In ticks of the payload's clock.
    pub timestamp: u32,
    pub ssrc: u32,
    /// Bytes before the payload: the fixed header, contributing sources and the extension.
    pub header_len: usize,
    /// Whether the payload ends in padding.
    pub padded: bool,
    len: usize,
}

/// Why a datagram is no RTP packet. All of them mean: drop it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RtpError {
    /// Ends within its header.
    #[error("the packet ends within its header")]
    Truncated,
    /// Not version 2.
    #[error("not RTP version 2")]
    Version,
    /// A payload type that would be taken for RTCP (RFC 5761 section 4).
    #[error("the payload type is in the RTCP range")]
    PayloadType,
    /// More padding than payload, or a padding of 0 bytes.
    #[error("the padding is longer than the payload")]
    Padding,
}

const FIXED: usize = 12;

impl RtpView {
    /// Reads the header of an RTP or SRTP packet.
    ///
    /// # Errors
    /// [`RtpError`], never [`RtpError::Padding`]: in SRTP the padding is not readable.
    pub fn parse(packet: &[u8]) -> Result<Self, RtpError> {
        let (fixed, rest) = packet
            .split_first_chunk::<FIXED>()
            .ok_or(RtpError::Truncated)?;
        let [first, second, s1, s0, t3, t2, t1, t0, ssrc @ ..] = *fixed;
        if first >> 6 != 2 {
            return Err(RtpError::Version);
        }
        let payload_type = second & 0x7f;
        if (64..=95).contains(&payload_type) {
            return Err(RtpError::PayloadType);
        }
        let sources = 4 * usize::from(first & 0x0f);
        let mut header_len = FIXED + sources;
        let after_sources = rest.get(sources..).ok_or(RtpError::Truncated)?;
        if first & 0x10 != 0 {
            // Section 5.3.1: 16 bits of profile, then the length in words of 32 bits.
            let &[_, _, high, low, ..] = after_sources else {
                return Err(RtpError::Truncated);
            };
            header_len += 4 + 4 * usize::from(u16::from_be_bytes([high, low]));
        }
        if header_len > packet.len() {
            return Err(RtpError::Truncated);
        }
        Ok(Self {
            marker: second & 0x80 != 0,
            payload_type,
            sequence: u16::from_be_bytes([s1, s0]),
            timestamp: u32::from_be_bytes([t3, t2, t1, t0]),
            ssrc: u32::from_be_bytes(ssrc),
            header_len,
            padded: first & 0x20 != 0,
            len: packet.len(),
        })
    }

    /// All that follows the header: in SRTP the ciphertext and tag, else the payload and its
    /// padding.
    #[must_use]
    pub fn payload(&self) -> Range<usize> {
        self.header_len..self.len
    }

    /// The payload without its padding, in `packet`, which must be the one that was parsed, not
    /// encrypted. Empty for a packet of nothing but padding.
    ///
    /// # Errors
    /// [`RtpError::Padding`]; [`RtpError::Truncated`] when `packet` is another one.
    pub fn media(&self, packet: &[u8]) -> Result<Range<usize>, RtpError> {
        if packet.len() != self.len {
            return Err(RtpError::Truncated);
        }
        let payload = self.payload();
        if !self.padded {
            return Ok(payload);
        }
        // Section 5.1: the last byte counts the padding, itself included.
        let padding = packet[payload.clone()].last().copied().unwrap_or(0);
        let padding = usize::from(padding);
        if padding == 0 || padding > payload.len() {
            return Err(RtpError::Padding);
        }
        Ok(payload.start..payload.end - padding)
    }
}

/// The header extension elements of an RTP or SRTP packet with their ids, in either form
/// (RFC 8285 sections 4.2 and 4.3). Ends at the first one that does not fit.
pub fn extensions(packet: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let (two_bytes, mut rest) = extension_block(packet).unwrap_or((false, &[]));
    std::iter::from_fn(move || {
        loop {
            let (&first, after) = rest.split_first()?;
            // Padding between elements has no length.
            if first == 0 {
                rest = after;
                continue;
            }
            let (id, length, data) = if two_bytes {
                let (&length, data) = after.split_first()?;
                (first, usize::from(length), data)
            } else {
                // Section 4.2: id 15 ends the reading.
                let id = Some(first >> 4).filter(|id| *id != 15)?;
                (id, usize::from(first & 0x0f) + 1, after)
            };
            let (element, after) = data.split_at_checked(length)?;
            rest = after;
            return Some((id, element));
        }
    })
}

/// The extension's data, and whether its elements have headers of two bytes.
fn extension_block(packet: &[u8]) -> Option<(bool, &[u8])> {
    let first = *packet.first()?;
    if first >> 6 != 2 || first & 0x10 == 0 {
        return None;
    }
    let start = FIXED + 4 * usize::from(first & 0x0f);
    let &[p1, p0, high, low, ref rest @ ..] = packet.get(start..)? else {
        return None;
    };
    let length = 4 * usize::from(u16::from_be_bytes([high, low]));
    let two_bytes = match u16::from_be_bytes([p1, p0]) {
        0xBEDE => false,
        profile if profile >> 4 == 0x100 => true,
        _ => return None,
    };
    Some((two_bytes, rest.get(..length)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// V=2, payload type 96 with marker, sequence 0x0102, timestamp 0x03040506, SSRC 0x0708090a.
    const HEADER: [u8; 12] = [0x80, 0xe0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];

    fn packet(first: u8, rest: &[u8]) -> Vec<u8> {
        let mut packet = HEADER.to_vec();
        packet[0] = first;
        packet.extend(rest);
        packet
    }

    /// Where the payload and the media in it should stand; what a shorter packet says does not
    /// matter, as long as it says something and within its bounds.
    fn check(packet: &[u8], expected: Result<(Range<usize>, Range<usize>), RtpError>) {
        let read = |packet: &[u8]| {
            let view = RtpView::parse(packet)?;
            Ok((view.payload(), view.media(packet)?))
        };
        assert_eq!(read(packet), expected, "{packet:02x?}");
        for len in 0..packet.len() {
            if let Ok((payload, media)) = read(&packet[..len]) {
                assert!(payload.end <= len && media.end <= payload.end);
                assert_eq!(media.start, payload.start);
            }
        }
    }

    #[test]
    fn fields() {
        let view = RtpView::parse(&packet(0x80, b"media")).unwrap();
        assert!(view.marker);
        assert!(!view.padded);
        assert_eq!(view.payload_type, 96);
        assert_eq!(view.sequence, 0x0102);
        assert_eq!(view.timestamp, 0x0304_0506);
        assert_eq!(view.ssrc, 0x0708_090a);
        assert_eq!(view.header_len, 12);
        // Another packet's padding cannot be asked for.
        assert_eq!(view.media(&HEADER), Err(RtpError::Truncated));
    }

    #[test]
    fn headers() {
        check(&packet(0x80, b""), Ok((12..12, 12..12)));
        check(&packet(0x80, b"media"), Ok((12..17, 12..17)));
        // Contributing sources, an extension, both.
        check(&packet(0x82, b"11112222xy"), Ok((20..22, 20..22)));
        check(
            &packet(0x90, b"\xbe\xde\0\x01\x10\xaa\0\0xy"),
            Ok((20..22, 20..22)),
        );
        check(&packet(0x91, b"1111\xbe\xde\0\0xy"), Ok((20..22, 20..22)));

        check(&packet(0x83, b"11112222333"), Err(RtpError::Truncated));
        check(&packet(0x90, b"\xbe\xde\0"), Err(RtpError::Truncated));
        check(
            &packet(0x90, b"\xbe\xde\0\x02\0\0\0\0xyz"),
            Err(RtpError::Truncated),
        );
        check(&packet(0x90, b"\xbe\xde\xff\xff"), Err(RtpError::Truncated));
        check(&HEADER[..11], Err(RtpError::Truncated));
        check(&packet(0x40, b""), Err(RtpError::Version));
        check(&packet(0xc0, b""), Err(RtpError::Version));
        let mut rtcp = packet(0x80, b"");
        rtcp[1] = 200;
        check(&rtcp, Err(RtpError::PayloadType));
    }

    #[test]
    fn padding() {
        check(&packet(0xa0, b"media\0\0\x03"), Ok((12..20, 12..17)));
        check(&packet(0xa0, b"\0\0\x03"), Ok((12..15, 12..12)));
        check(&packet(0xa0, b"media\x01"), Ok((12..18, 12..17)));
        check(&packet(0xa0, b"\0\0\x04"), Err(RtpError::Padding));
        check(&packet(0xa0, b"media\0"), Err(RtpError::Padding));
        check(&packet(0xa0, b""), Err(RtpError::Padding));
        // The same bytes as SRTP: the header is fine, the padding is for later.
        let view = RtpView::parse(&packet(0xa0, b"\xff\xff\xff")).unwrap();
        assert!(view.padded);
        assert_eq!(view.payload(), 12..15);
    }

    #[test]
    fn extensions_in_both_forms() {
        let check = |first, rest: &[u8], want: &[(u8, &[u8])]| {
            let packet = packet(first, rest);
            assert_eq!(extensions(&packet).collect::<Vec<_>>(), want, "{rest:?}");
            for end in 0..packet.len() {
                assert!(extensions(&packet[..end]).count() <= want.len());
            }
        };
        let one = [
            0xBE, 0xDE, 0, 2, 0x10, b'a', 0, 0, 0x41, b'h', b'i', 0, 9, 9,
        ];
        check(0x90, &one, &[(1, b"a"), (4, b"hi")]);
        let mut behind_sources = vec![1, 2, 3, 4];
        behind_sources.extend(one);
        check(0x91, &behind_sources, &[(1, b"a"), (4, b"hi")]);
        check(0x80, &one, &[]);
        let two = [0x10, 0x05, 0, 2, 20, 1, b'a', 0, 3, 0, 15, 0];
        check(0x90, &two, &[(20, b"a"), (3, b""), (15, b"")]);
        check(
            0x90,
            &[0xBE, 0xDE, 0, 1, 0x10, b'a', 0xF0, b'b'],
            &[(1, b"a")],
        );
        check(0x90, &[0xBE, 0xDE, 0, 1, 0x17, 0, 0, 0], &[]);
        check(0x90, &[0xAB, 0xCD, 0, 1, 0x10, b'a', 0, 0], &[]);
    }
}
