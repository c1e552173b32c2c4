//! Frames of the journal: length, CRC-32, row.

use prost::Message as _;

use crate::stored::{Frame, Stored};

/// Length and checksum in front of a row, in bytes.
pub(crate) const PREFIX_BYTES: usize = 8;
/// Longest row, in bytes: a blob at its limit and all else of its record, with room to spare.
pub(crate) const ROW_BYTES_MAX: usize = 2 * crate::record::BLOB_BYTES_MAX;

/// Appends a row as a frame.
pub(crate) fn write(out: &mut Vec<u8>, row: Stored) {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX_BYTES]);
    Frame { stored: Some(row) }
        .encode(out)
        .expect("a vector grows");
    let row = &out[start + PREFIX_BYTES..];
    debug_assert!(row.len() <= ROW_BYTES_MAX, "{} bytes", row.len());
    let (len, crc) = (row.len() as u32, crc32fast::hash(row));
    out[start..start + 4].copy_from_slice(&len.to_le_bytes());
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
}

/// What stands at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next<'a> {
    /// A whole row, and how many bytes its frame has.
    Row(&'a [u8], usize),
    /// The beginning of a frame that goes on behind these bytes; none at all if these are none.
    Cut,
    /// Not a journal frame.
    Broken,
}

/// Looks at the first frame.
pub(crate) fn next(bytes: &[u8]) -> Next<'_> {
    let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX_BYTES>() else {
        return Next::Cut;
    };
    let [a, b, c, d, e, f, g, h] = *prefix;
    let len = u32::from_le_bytes([a, b, c, d]) as usize;
    // A row has at least its tag: zeros are a hole in the file.
    if len == 0 || len > ROW_BYTES_MAX {
        return Next::Broken;
    }
    match rest.get(..len) {
        None => Next::Cut,
        Some(row) if crc32fast::hash(row) == u32::from_le_bytes([e, f, g, h]) => {
            Next::Row(row, PREFIX_BYTES + len)
        }
        Some(_) => Next::Broken,
    }
}

/// How many bytes at the beginning are whole frames.
pub(crate) fn whole(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Next::Row(_, len) = next(&bytes[at..]) {
        at += len;
    }
    at
}

/// Where the next whole frame begins, behind a place that is broken: a length and a checksum that
/// fit are no accident.
pub(crate) fn resync(bytes: &[u8]) -> Option<usize> {
    let is_frame = |at: &usize| matches!(next(&bytes[*at..]), Next::Row(..));
    // Where the row is broken and not its length, the next frame is where it would be.
    let here = bytes
        .first_chunk::<4>()
        .map(|len| u32::from_le_bytes(*len) as usize);
    let behind = here.map(|len| PREFIX_BYTES + len.min(ROW_BYTES_MAX));
    let behind = behind.filter(|at| *at < bytes.len());
    behind
        .filter(is_frame)
        .or_else(|| (1..bytes.len()).find(is_frame))
}

/// Reads a row. `None` if it was not written by this version.
pub(crate) fn decode(row: &[u8]) -> Option<Stored> {
    Frame::decode(row).ok()?.stored
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stored::ErasedRow;

    fn row(n: u8) -> Stored {
        Stored::Erased(ErasedRow {
            user_hash: vec![n; usize::from(n)],
        })
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_found() {
        let mut bytes = Vec::new();
        write(&mut bytes, row(3));
        let first = bytes.len();
        write(&mut bytes, row(200));
        let Next::Row(read, len) = next(&bytes) else {
            panic!()
        };
        assert_eq!((decode(read), len), (Some(row(3)), first));
        assert_eq!(whole(&bytes), bytes.len());
        for cut in 0..bytes.len() {
            assert_eq!(
                whole(&bytes[..cut]),
                if cut < first { 0 } else { first },
                "cut at {cut}"
            );
        }
        for bit in 0..first * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(next(&changed), Next::Row(..)), "bit {bit}");
        }
        assert_eq!(next(&[0; 64]), Next::Broken);
    }

    #[test]
    fn behind_any_flipped_bit_the_next_frame_is_found() {
        let mut bytes = Vec::new();
        write(&mut bytes, row(100));
        let first = bytes.len();
        write(&mut bytes, row(200));
        for bit in 0..first * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(resync(&changed), Some(first), "bit {bit}");
        }
        assert_eq!(resync(&bytes[..first]), None);
        assert_eq!(resync(&[0; 64]), None);
        assert_eq!(resync(&[]), None);
        // A hole of zeros, as a disk leaves it.
        let hole = [&[0; 4_096][..], &bytes].concat();
        assert_eq!(resync(&hole), Some(4_096));
    }
}
