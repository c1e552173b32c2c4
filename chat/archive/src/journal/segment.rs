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

/// Reads a header.
pub(crate) fn read_header(file: &mut File, start: u64) -> Result<JournalId, OpenError> {
    let broken = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("segment {start} has no header of ours"),
        )
    };
    let mut header = [0; HEADER_BYTES as usize];
    file.read_exact(&mut header).map_err(|_| broken())?;
    let (fields, crc) = header.split_at(HEADER_BYTES as usize - 4);
    if !fields.starts_with(MAGIC)
        || crc != crc32fast::hash(fields).to_le_bytes()
        || fields[24..] != start.to_le_bytes()
    {
        return Err(broken().into());
    }
    if fields[4..8] != VERSION.to_le_bytes() {
        return Err(OpenError::Newer("the journal"));
    }
    let mut id = JournalId::default();
    id.copy_from_slice(&fields[8..24]);
    Ok(id)
}

pub(crate) fn new_id() -> JournalId {
    let mut id = JournalId::default();
    random(&mut id);
    id
}

/// Finds the end of the whole frames of a segment, reading a bounded piece at a time.
pub(crate) fn scan(file: &File) -> io::Result<u64> {
    const PIECE: usize = 4 * frame::ROW_BYTES_MAX;
    let mut buffer = vec![0; PIECE];
    let mut end = 0;
    loop {
        let read = read_at_most(file, &mut buffer, HEADER_BYTES + end)?;
        let whole = frame::whole(&buffer[..read]) as u64;
        if whole == 0 {
            return Ok(end);
        }
        end += whole;
    }
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
