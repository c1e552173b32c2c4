//! Video that a decoder can show, from an IVF file, cut into RTP payloads.
//!
//! Frames of VP8 are as they stand in IVF; those of H.264 are access units in Annex B form. The
//! clip is played in a loop, so it starts with a keyframe; it answers no request for another.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use lightstick_types::{Bitrate, Codec};

use crate::payload::PAYLOAD_MAX;

const FILE_HEADER: usize = 32;
const FRAME_HEADER: usize = 12;
const NAL_DELIMITER: u8 = 9;
const NAL_IDR: u8 = 5;
const NAL_FU_A: u8 = 28;
/// Extended and I bits, and a 15-bit picture id (RFC 7741 section 4.2).
const VP8_DESCRIPTOR: usize = 4;

/// A clip, ready to be sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Clip {
    /// VP8 or H.264.
    pub codec: Codec,
    /// Frames, each as its payloads; the first is a keyframe.
    frames: Vec<Frame>,
}

#[derive(Debug, PartialEq, Eq)]
struct Frame {
    keyframe: bool,
    payloads: Vec<Vec<u8>>,
}

impl Clip {
    /// Reads a file and keeps it as long as this process lives.
    ///
    /// # Errors
    /// When it cannot be read, or is no such clip.
    pub fn load(path: &Path) -> Result<&'static Self> {
        let name = path.display();
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {name}"))?;
        let clip = Self::parse(&bytes).with_context(|| format!("{name} cannot be published"))?;
        Ok(Box::leak(Box::new(clip)))
    }

    /// Reads IVF.
    ///
    /// # Errors
    /// When it is something else, of another codec, or starts with no keyframe.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let (header, mut rest) = bytes
            .split_at_checked(FILE_HEADER)
            .context("it is too short for IVF")?;
        ensure!(header.starts_with(b"DKIF"), "it is no IVF");
        let codec = match &header[8..12] {
            b"VP80" => Codec::Vp8,
            b"H264" => Codec::H264,
            other => bail!("it is {}", String::from_utf8_lossy(other)),
        };
        let mut frames = Vec::new();
        while let Some((header, behind)) = rest.split_at_checked(FRAME_HEADER) {
            let len = u32::from_le_bytes([0, 1, 2, 3].map(|i| header[i])) as usize;
            let (frame, behind) = behind
                .split_at_checked(len)
                .context("its last frame is cut off")?;
            let frame = match codec {
                Codec::Vp8 => vp8(frame),
                _ => h264(frame),
            };
            frames.push(frame.with_context(|| format!("frame {} is broken", frames.len()))?);
            rest = behind;
        }
        ensure!(
            frames.first().is_some_and(|frame| frame.keyframe),
            "it does not start with a keyframe"
        );
        Ok(Self { codec, frames })
    }

    /// Its bit rate at so many frames a second.
    #[must_use]
    pub fn bitrate(&self, frames_per_second: u32) -> Bitrate {
        let payloads = self.frames.iter().flat_map(|frame| &frame.payloads);
        let bits = payloads
            .map(|payload| payload.len() as u64 * 8)
            .sum::<u64>();
        Bitrate(bits * u64::from(frames_per_second) / self.frames.len() as u64)
    }

    /// How many payloads the frame has that is shown as the `number`th, counted over all loops,
    /// and whether it is a keyframe.
    #[must_use]
    pub fn frame(&self, number: u32) -> (usize, bool) {
        let frame = self.at(number);
        (frame.payloads.len(), frame.keyframe)
    }

    /// One of its payloads.
    ///
    /// # Panics
    /// When it has no such payload.
    #[must_use]
    pub fn payload(&self, number: u32, index: usize) -> Vec<u8> {
        let mut payload = self.at(number).payloads[index].clone();
        if self.codec == Codec::Vp8 {
            let picture_id = number as u16 | 0x8000;
            payload[2..VP8_DESCRIPTOR].copy_from_slice(&picture_id.to_be_bytes());
        }
        payload
    }

    fn at(&self, number: u32) -> &Frame {
        &self.frames[number as usize % self.frames.len()]
    }
}

/// RFC 7741 section 4.
fn vp8(frame: &[u8]) -> Result<Frame> {
    let first = frame.first().context("it is empty")?;
    let parts = frame.chunks(PAYLOAD_MAX - VP8_DESCRIPTOR).enumerate();
    let payloads = parts.map(|(at, part)| {
        let start = if at == 0 { 0x10 } else { 0 };
        [&[0x80 | start, 0x80, 0, 0], part].concat()
    });
    Ok(Frame {
        // RFC 6386 section 9.1.
        keyframe: first & 1 == 0,
        payloads: payloads.collect(),
    })
}

/// RFC 6184: single units, and fragments of those that are too long.
fn h264(access_unit: &[u8]) -> Result<Frame> {
    let mut frame = Frame {
        keyframe: false,
        payloads: Vec::new(),
    };
    for nal in nal_units(access_unit) {
        let (&head, body) = nal.split_first().context("it has an empty unit")?;
        let kind = head & 0x1F;
        frame.keyframe |= kind == NAL_IDR;
        if kind == NAL_DELIMITER {
            continue;
        }
        if nal.len() <= PAYLOAD_MAX {
            frame.payloads.push(nal.to_vec());
            continue;
        }
        let mut parts = body.chunks(PAYLOAD_MAX - 2).enumerate().peekable();
        while let Some((at, part)) = parts.next() {
            // RFC 6184 section 5.8: start, end, type.
            let start = if at == 0 { 0x80 } else { 0 };
            let end = if parts.peek().is_none() { 0x40 } else { 0 };
            let indicator = head & 0xE0 | NAL_FU_A;
            frame
                .payloads
                .push([&[indicator, start | end | kind], part].concat());
        }
    }
    ensure!(!frame.payloads.is_empty(), "it has no unit");
    Ok(frame)
}

/// The units between start codes (ITU-T H.264 annex B).
fn nal_units(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut starts: Vec<_> = (bytes.windows(3).enumerate())
        .filter(|(_, window)| *window == [0, 0, 1])
        .map(|(at, _)| at)
        .collect();
    starts.push(bytes.len());
    let units: Vec<_> = (starts.windows(2))
        .map(|pair| {
            let unit = &bytes[pair[0] + 3..pair[1]];
            // A zero before the next start code belongs to that, or is no part of the unit either.
            let end = unit.iter().rposition(|byte| *byte != 0);
            end.map_or(&[][..], |end| &unit[..=end])
        })
        .collect();
    units.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ivf(codec: &[u8; 4], frames: &[&[u8]]) -> Vec<u8> {
        let mut file = b"DKIF\0\0\x20\0".to_vec();
        file.extend(codec);
        file.resize(FILE_HEADER, 0);
        for frame in frames {
            file.extend((frame.len() as u32).to_le_bytes());
            file.extend([0; 8]);
            file.extend(*frame);
        }
        file
    }

    #[test]
    fn vp8_is_cut_and_numbered_over_loops() {
        let key = [&[0x10; 1][..], &[9; 2_400]].concat();
        let clip = Clip::parse(&ivf(b"VP80", &[&key, &[0x11, 7]])).unwrap();
        assert_eq!(
            [0, 1, 2].map(|n| clip.frame(n)),
            [(3, true), (1, false), (3, true)]
        );
        let parts: Vec<_> = (0..3).map(|index| clip.payload(0x8002, index)).collect();
        assert_eq!(parts[0][..5], [0x90, 0x80, 0x80, 2, 0x10]);
        assert_eq!(parts[1][..4], [0x80, 0x80, 0x80, 2]);
        let whole: Vec<u8> = parts.iter().flat_map(|part| &part[4..]).copied().collect();
        assert_eq!(whole, key);
        assert!(parts.iter().all(|part| part.len() <= PAYLOAD_MAX));
        let bits = (key.len() + 2 + 4 * 4) as u64 * 8;
        assert_eq!(clip.bitrate(30), Bitrate(bits * 15));
    }

    #[test]
    fn h264_is_cut_at_start_codes_and_into_fragments() {
        let idr = [&[0x65; 1][..], &[9; 3_000]].concat();
        let mut unit = vec![
            0, 0, 0, 1, 9, 0xF0, 0, 0, 0, 1, 0x67, 1, 2, 0, 0, 1, 0x68, 3,
        ];
        unit.extend([0, 0, 1]);
        unit.extend(&idr);
        let clip = Clip::parse(&ivf(b"H264", &[&unit, &[0, 0, 1, 0x41, 5, 0]])).unwrap();
        assert_eq!([0, 1].map(|n| clip.frame(n)), [(5, true), (1, false)]);
        assert_eq!(clip.payload(0, 0), [0x67, 1, 2]);
        assert_eq!(clip.payload(0, 1), [0x68, 3]);
        assert_eq!(clip.payload(1, 0), [0x41, 5]);
        let parts: Vec<_> = (2..5).map(|index| clip.payload(0, index)).collect();
        let heads: Vec<_> = parts.iter().map(|part| [part[0], part[1]]).collect();
        assert_eq!(heads, [[0x7C, 0x85], [0x7C, 0x05], [0x7C, 0x45]]);
        let whole: Vec<u8> = parts.iter().flat_map(|part| &part[2..]).copied().collect();
        assert_eq!(whole, idr[1..]);
    }

    #[test]
    fn what_cannot_be_published_is_said() {
        let check = |file: &[u8], why: &str| {
            let error = Clip::parse(file).unwrap_err();
            assert_eq!(format!("{error:#}"), why);
        };
        check(b"DKIF", "it is too short for IVF");
        check(&[0; 40], "it is no IVF");
        check(&ivf(b"AV01", &[]), "it is AV01");
        check(&ivf(b"VP80", &[]), "it does not start with a keyframe");
        check(
            &ivf(b"VP80", &[&[0x11]]),
            "it does not start with a keyframe",
        );
        check(
            &ivf(b"VP80", &[&[0x10], &[]]),
            "frame 1 is broken: it is empty",
        );
        check(&ivf(b"H264", &[&[7]]), "frame 0 is broken: it has no unit");
        let mut cut = ivf(b"VP80", &[&[0x10, 1, 2]]);
        cut.pop();
        check(&cut, "its last frame is cut off");
    }
}
