//! RTCP of a viewer's session: what it reports is read, sender reports are written.
//!
//! RFC 3550 section 6, RFC 4585 (feedback), RFC 5104 (FIR), draft-alvestrand-rmcat-remb,
//! draft-holmer-rmcat-transport-wide-cc-extensions.

use crate::ntp::Ntp;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;

const REPORT_BLOCK: usize = 24;

/// Why an RTCP compound is dropped from some packet on. What came before it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RtcpError {
    /// A packet of another RTP version, or one that says it is longer than what is there.
    #[error("a malformed header")]
    Header,
    /// A packet of a known type that is too short for what it must hold.
    #[error("a packet too short for its type")]
    Short,
}

/// One report on a stream that we send (RFC 3550 section 6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportBlock {
    /// The stream.
    pub ssrc: u32,
    /// Lost since the last report, in 1/256 of what was expected.
    pub fraction_lost: u8,
    /// Lost since the start; duplicates can make it negative.
    pub lost: i32,
    /// Middle bits of our last sender report's time; 0: none came.
    pub last_report: u32,
    /// Time since it came, in 1/65,536 s.
    pub delay: u32,
}

impl ReportBlock {
    /// Round-trip time in 1/65,536 s (RFC 3550 section 6.4.1), where a sender report has come.
    /// Above ten seconds the peer's clock has stepped, or it tells stories: left out.
    #[must_use]
    pub fn round_trip(&self, now: Ntp) -> Option<u32> {
        if self.last_report == 0 {
            return None;
        }
        let trip = now
            .middle()
            .wrapping_sub(self.last_report)
            .wrapping_sub(self.delay);
        (trip < 10 << 16).then_some(trip)
    }
}

/// One thing that a peer reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feedback<'a> {
    /// How a stream that we send arrives.
    Report(ReportBlock),
    /// Packets of a stream that are missing.
    Nack {
        /// The stream.
        ssrc: u32,
        /// Which packets.
        lost: Lost<'a>,
    },
    /// A picture of a stream cannot be decoded (PLI, FIR).
    KeyframeRequest {
        /// The stream.
        ssrc: u32,
    },
    /// Arrival times by transport-wide sequence number: the feedback control information.
    TransportWide(&'a [u8]),
    /// An upper bound of what the peer believes that its link carries, in bit/s (REMB).
    Remb(u64),
}

/// The sequence numbers of a generic NACK (RFC 4585 section 6.2.1), in the order they stand there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost<'a>(&'a [u8]);

impl Lost<'_> {
    /// Each sequence number.
    pub fn iter(&self) -> impl Iterator<Item = u16> + use<'_> {
        self.0.chunks_exact(4).flat_map(|item| {
            let first = u16::from_be_bytes([item[0], item[1]]);
            let following = u16::from_be_bytes([item[2], item[3]]);
            let more = (0..16).filter(move |bit| following & (1 << bit) != 0);
            std::iter::once(first).chain(more.map(move |bit| first.wrapping_add(bit + 1)))
        })
    }
}

/// Reads a compound and hands each thing in it to `each`. Types that a viewer's session has no use
/// for are passed over.
///
/// # Errors
/// [`RtcpError`] where the compound breaks off.
pub fn read<'a>(
    mut compound: &'a [u8],
    mut each: impl FnMut(Feedback<'a>),
) -> Result<(), RtcpError> {
    while !compound.is_empty() {
        let &[first, kind, high, low, ..] = compound else {
            return Err(RtcpError::Header);
        };
        let length = 4 * (usize::from(u16::from_be_bytes([high, low])) + 1);
        if first >> 6 != 2 || length > compound.len() {
            return Err(RtcpError::Header);
        }
        let (packet, rest) = compound.split_at(length);
        compound = rest;
        let count = first & 0x1F;
        let padding = match first & 0x20 {
            0 => 0,
            _ => usize::from(packet[length - 1]),
        };
        if first & 0x20 != 0 && padding == 0 {
            return Err(RtcpError::Header);
        }
        let end = length.checked_sub(padding).ok_or(RtcpError::Header)?;
        let body = packet.get(4..end).ok_or(RtcpError::Header)?;
        read_packet(kind, count, body, &mut each)?;
    }
    Ok(())
}

/// How many packets a transport-wide feedback says that it speaks of.
#[must_use]
pub fn packets_claimed(information: &[u8]) -> u16 {
    match information {
        [_, _, high, low, ..] => u16::from_be_bytes([*high, *low]),
        _ => 0,
    }
}

fn read_packet<'a>(
    kind: u8,
    count: u8,
    body: &'a [u8],
    each: &mut impl FnMut(Feedback<'a>),
) -> Result<(), RtcpError> {
    let from = |at: usize| body.get(at..).ok_or(RtcpError::Short);
    let media = || word(body, 4).ok_or(RtcpError::Short);
    match (kind, count) {
        (SENDER_REPORT, blocks) => reports(from(24)?, blocks, each)?,
        (RECEIVER_REPORT, blocks) => reports(from(4)?, blocks, each)?,
        (TRANSPORT_FEEDBACK, 1) => each(Feedback::Nack {
            ssrc: media()?,
            lost: Lost(from(8)?),
        }),
        (TRANSPORT_FEEDBACK, 15) => each(Feedback::TransportWide(from(8)?)),
        (PAYLOAD_FEEDBACK, 1) => each(Feedback::KeyframeRequest { ssrc: media()? }),
        (PAYLOAD_FEEDBACK, 4) => {
            for entry in from(8)?.chunks_exact(8) {
                let ssrc = u32::from_be_bytes([entry[0], entry[1], entry[2], entry[3]]);
                each(Feedback::KeyframeRequest { ssrc });
            }
        }
        (PAYLOAD_FEEDBACK, 15) => {
            if let [b'R', b'E', b'M', b'B', _, high, middle, low, ..] = *from(8)? {
                let mantissa = u64::from(high & 3) << 16 | u64::from(middle) << 8 | u64::from(low);
                let exponent = u32::from(high >> 2);
                each(Feedback::Remb(
                    mantissa.saturating_mul(1 << exponent.min(45)),
                ));
            }
        }
        _ => {}
    }
    Ok(())
}

fn reports<'a>(
    blocks: &'a [u8],
    count: u8,
    each: &mut impl FnMut(Feedback<'a>),
) -> Result<(), RtcpError> {
    let wanted = usize::from(count) * REPORT_BLOCK;
    let blocks = blocks.get(..wanted).ok_or(RtcpError::Short)?;
    for block in blocks.chunks_exact(REPORT_BLOCK) {
        let at = |at| word(block, at).ok_or(RtcpError::Short);
        let lost = at(4)?;
        each(Feedback::Report(ReportBlock {
            ssrc: at(0)?,
            fraction_lost: (lost >> 24) as u8,
            // 24 bits with a sign.
            lost: (lost << 8) as i32 >> 8,
            last_report: at(16)?,
            delay: at(20)?,
        }));
    }
    Ok(())
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// What a sender report says of one stream (RFC 3550 section 6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderInfo {
    /// The stream.
    pub ssrc: u32,
    /// Our wall clock.
    pub ntp: Ntp,
    /// The stream's RTP timestamp at the same moment.
    pub timestamp: u32,
    /// RTP packets sent.
    pub packets: u32,
    /// Bytes of their payloads.
    pub octets: u32,
}

/// Appends a sender report without report blocks.
pub fn write_sender_report(info: &SenderInfo, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0x80, SENDER_REPORT, 0, 6]);
    out.extend_from_slice(&info.ssrc.to_be_bytes());
    out.extend_from_slice(&info.ntp.0.to_be_bytes());
    for word in [info.timestamp, info.packets, info.octets] {
        out.extend_from_slice(&word.to_be_bytes());
    }
}

/// Appends streams' canonical names, of which there are at most 31 (RFC 3550 section 6.5). A name is
/// cut at 255 bytes.
pub fn write_cnames<'a>(names: impl Iterator<Item = (u32, &'a str)>, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0x80, SOURCE_DESCRIPTION, 0, 0]);
    for (ssrc, name) in names {
        let name = &name.as_bytes()[..name.len().min(255)];
        out[start] += 1;
        out.extend_from_slice(&ssrc.to_be_bytes());
        out.extend_from_slice(&[1, name.len() as u8]);
        out.extend_from_slice(name);
        // At least one zero ends the items; chunks begin at words.
        let unaligned = (out.len() - start) % 4;
        out.extend_from_slice(&[0; 4][..4 - unaligned]);
    }
    let words = ((out.len() - start) / 4 - 1) as u16;
    out[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(compound: &[u8]) -> (Vec<Feedback<'_>>, Result<(), RtcpError>) {
        let mut all = Vec::new();
        let outcome = read(compound, |feedback| all.push(feedback));
        (all, outcome)
    }

    fn packet(kind: u8, count: u8, body: &[u8]) -> Vec<u8> {
        let mut out = vec![0x80 | count, kind, 0, (body.len() / 4) as u8];
        out.extend_from_slice(body);
        out
    }

    #[test]
    fn a_compound_of_everything() {
        let mut block = vec![0, 0, 0, 1];
        block.extend([0, 0, 0, 9, 64, 0xFF, 0xFF, 0xFE, 0, 0, 0, 0, 0, 0, 0, 0]);
        block.extend([0, 1, 0, 0, 0, 0, 0x80, 0]);
        let mut compound = packet(RECEIVER_REPORT, 1, &block);
        compound.extend(packet(202, 1, &[0; 8]));
        compound.extend(packet(
            TRANSPORT_FEEDBACK,
            1,
            &[0, 0, 0, 1, 0, 0, 0, 9, 0xFF, 0xFE, 0b1000_0000, 0b0000_0101],
        ));
        compound.extend(packet(PAYLOAD_FEEDBACK, 1, &[0, 0, 0, 1, 0, 0, 0, 9]));
        let fir = [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 8, 1, 0, 0, 0];
        compound.extend(packet(PAYLOAD_FEEDBACK, 4, &fir));
        let mut remb = vec![0, 0, 0, 1, 0, 0, 0, 0];
        remb.extend(b"REMB");
        remb.extend([1, 3 << 2 | 1, 0, 0, 0, 0, 0, 9]);
        compound.extend(packet(PAYLOAD_FEEDBACK, 15, &remb));
        let (all, outcome) = read_all(&compound);
        assert_eq!(outcome, Ok(()));
        let &[
            Feedback::Report(report),
            Feedback::Nack { ssrc: 9, lost },
            Feedback::KeyframeRequest { ssrc: 9 },
            Feedback::KeyframeRequest { ssrc: 8 },
            Feedback::Remb(bitrate),
        ] = &all[..]
        else {
            panic!("{all:?}");
        };
        assert_eq!((report.fraction_lost, report.lost), (64, -2));
        assert_eq!(lost.iter().collect::<Vec<_>>(), [65_534, 65_535, 1, 14]);
        assert_eq!(bitrate, 65_536 * 8);
        // The report echoes second 1, held half a second, and two have passed.
        assert_eq!(report.round_trip(Ntp(3 << 32)), Some(3 << 15));
        assert_eq!(report.round_trip(Ntp(1 << 32)), None, "before it was sent");
        assert_eq!(report.round_trip(Ntp(3_600 << 32)), None, "an hour");
    }

    #[test]
    fn what_breaks_off_is_read_up_to_there() {
        let mut compound = packet(PAYLOAD_FEEDBACK, 1, &[0, 0, 0, 1, 0, 0, 0, 9]);
        compound.extend([0x80, 200, 0, 9, 0]);
        let (all, outcome) = read_all(&compound);
        assert_eq!(all.len(), 1);
        assert_eq!(outcome, Err(RtcpError::Header));
        for (junk, error) in [
            (vec![0x80], RtcpError::Header),
            (vec![0x40, 200, 0, 0], RtcpError::Header),
            (packet(SENDER_REPORT, 0, &[0; 20]), RtcpError::Short),
            (packet(RECEIVER_REPORT, 2, &[0; 28]), RtcpError::Short),
            (packet(TRANSPORT_FEEDBACK, 1, &[0; 4]), RtcpError::Short),
            (vec![0xA0, 202, 0, 0], RtcpError::Header),
            (vec![0xA0, 202, 0, 1, 0, 0, 0, 200], RtcpError::Header),
        ] {
            assert_eq!(read_all(&junk).1, Err(error), "{junk:?}");
        }
    }

    #[test]
    fn a_sender_report_and_a_name_make_a_compound() {
        let mut out = Vec::new();
        let info = SenderInfo {
            ssrc: 7,
            ntp: Ntp(0x0102_0304_0506_0708),
            timestamp: 9,
            packets: 10,
            octets: 11,
        };
        write_sender_report(&info, &mut out);
        assert_eq!(out.len(), 28);
        for length in 0..9 {
            let mut out = out.clone();
            let name = "n".repeat(length);
            write_cnames([(7, &*name), (8, "m")].into_iter(), &mut out);
            assert_eq!(out.len() % 4, 0);
            assert_eq!(out[28], 0x82);
            let words = u16::from_be_bytes([out[30], out[31]]);
            assert_eq!(usize::from(words) * 4 + 4, out.len() - 28);
            assert_eq!(read_all(&out), (vec![], Ok(())));
        }
    }
}
