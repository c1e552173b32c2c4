//! Files of the journal.
//!
//! A position counts the bytes of frames since the journal began. A segment is named by the position at which it
//! begins, and ends where the next one begins.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::frame;
use crate::error::OpenError;
use crate::node_key::random;

/// Bytes in front of the first frame.
pub(crate) const HEADER_BYTES: u64 = 36;
const MAGIC: &[u8; 4] = b"LSCJ";
const VERSION: u32 = 1;

/// Names one journal for ever: the database knows how far it has come by this name.
pub(crate) type JournalId = [u8; 16];

pub(crate) fn path(folder: &Path, start: u64) -> PathBuf {
    folder.join(format!("{start:020}.journal"))
}

/// The starts of all segments, in order.
pub(crate) fn list(folder: &Path) -> io::Result<Vec<u64>> {
    let mut starts = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let start = name
            .to_str()
            .and_then(|n| n.strip_suffix(".journal"))
            .and_then(|n| n.parse::<u64>().ok());
        starts.extend(start);
    }
    starts.sort_unstable();
    Ok(starts)
}

/// Makes an empty segment. It has its name only when its header is on the disk.
pub(crate) fn create(folder: &Path, id: &JournalId, start: u64) -> io::Result<File> {
    let mut header = Vec::with_capacity(HEADER_BYTES as usize);
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&VERSION.to_le_bytes());
    header.extend_from_slice(id);
    header.extend_from_slice(&start.to_le_bytes());
    header.extend_from_slice(&crc32fast::hash(&header).to_le_bytes());
    let draft = folder.join("new");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&draft)?;
    let made = file.write_all(&header).and_then(|()| file.sync_all());
    let made = made.and_then(|()| fs::rename(&draft, path(folder, start)));
    if let Err(error) = made {
        let _ = fs::remove_file(&draft);
        return Err(error);
    }
    File::open(folder)?.sync_all()?;
    Ok(file)
}

/// Reads a header. `None`: it is broken, by more than a bit.
pub(crate) fn read_header(file: &mut File, start: u64) -> Result<Option<JournalId>, OpenError> {
    let mut header = [0; HEADER_BYTES as usize];
    match file.read_exact(&mut header) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let sound = is_sound(&header).then_some(header);
    let Some(header) = sound.or_else(|| mended(&header)) else {
        return Ok(None);
    };
    if header[4..8] != VERSION.to_le_bytes() {
        return Err(OpenError::Newer("the journal"));
    }
    if header[24..32] != start.to_le_bytes() {
        return Ok(None);
    }
    let mut id = JournalId::default();
    id.copy_from_slice(&header[8..24]);
    Ok(Some(id))
}

pub(crate) fn new_id() -> JournalId {
    let mut id = JournalId::default();
    random(&mut id);
    id
}

/// Bytes that are read at once to find frames: several of the longest.
const PIECE_BYTES: usize = 4 * frame::ROW_BYTES_MAX;
/// What a frame may take that begins at the end of a piece.
pub(super) const OVERLAP_BYTES: usize = frame::ROW_BYTES_MAX + frame::PREFIX_BYTES;

/// Finds the end of the last whole frame of a segment, reading a bounded piece at a time. What is
/// broken before it stays, to be passed over by whoever reads.
pub(crate) fn scan(file: &File) -> io::Result<u64> {
    let mut buffer = vec![0; PIECE_BYTES];
    let mut end = 0;
    let mut at = 0;
    loop {
        let read = read_at_most(file, &mut buffer, HEADER_BYTES + at)?;
        let bytes = &buffer[..read];
        let whole = frame::whole(bytes) as u64;
        if whole > 0 {
            at += whole;
            end = at;
        } else if let Some(skip) = frame::resync(bytes) {
            at += skip as u64;
        } else if read == PIECE_BYTES {
            at += (PIECE_BYTES - OVERLAP_BYTES) as u64;
        } else {
            return Ok(end);
        }
    }
}

/// Mends a header in which one bit is wrong: its checksum says which.
fn mended(header: &[u8; HEADER_BYTES as usize]) -> Option<[u8; HEADER_BYTES as usize]> {
    (0..header.len() * 8).find_map(|bit| {
        let mut changed = *header;
        changed[bit / 8] ^= 1 << (bit % 8);
        is_sound(&changed).then_some(changed)
    })
}

fn is_sound(header: &[u8; HEADER_BYTES as usize]) -> bool {
    let (fields, crc) = header.split_at(HEADER_BYTES as usize - 4);
    fields.starts_with(MAGIC) && crc == crc32fast::hash(fields).to_le_bytes()
}

/// Sets aside a segment that does not belong to this journal. It stays in the folder under another name.
pub(crate) fn set_aside(folder: &Path, start: u64) -> io::Result<PathBuf> {
    let aside = folder.join(format!("{start:020}.broken"));
    fs::rename(path(folder, start), &aside)?;
    File::open(folder)?.sync_all()?;
    Ok(aside)
}

/// Fills the buffer as far as the file goes.
pub(crate) fn read_at_most(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
