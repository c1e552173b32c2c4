use std::path::Path;
use std::sync::mpsc;

use tempfile::TempDir;

use super::reader::Reader;
use super::*;
use crate::config::ArchiveConfig;
use crate::node_key::NodeKey;
use crate::record::{AuditRecord, MessageRecord, PaidRecord};
use crate::stored::Stored;

struct Open {
    journal: Journal,
    thread: Threads,
    stats: Arc<ArchiveStats>,
    reader: Reader,
    id: JournalId,
}

impl Open {
    fn at(path: &Path, written: u64, bytes_max: u64) -> Self {
        let folder = Folder::open(path.to_owned()).unwrap();
        let (id, stats) = (folder.id, Arc::new(ArchiveStats::default()));
        let sealer = Sealer::new(Arc::new(NodeKey::new(&[1; 32])));
        let (journal, thread) = start(
            folder,
            written,
            bytes_max,
            Fsync::Paid,
            sealer,
            stats.clone(),
        )
        .unwrap();
        let reader = Reader::new(path.to_owned(), journal.shared.clone());
        Self {
            journal,
            thread,
            stats,
            reader,
            id,
        }
    }

    fn append(&self, batch: Vec<Record>) -> Result<Receipt, AppendError> {
        let (done, receipt) = mpsc::channel();
        self.journal
            .append(batch, Done::new(move |result| done.send(result).unwrap()));
        receipt.recv().unwrap()
    }

    fn end(&self) -> u64 {
        *self.journal.end().borrow()
    }

    /// Tells that the database has everything up to here, and waits until that was seen.
    fn written(&self, position: u64) {
        self.journal.written(position);
        self.append(Vec::new()).unwrap();
        self.append(Vec::new()).unwrap();
    }

    /// Message ids between two positions, as the writer reads them.
    fn ids(&mut self, mut from: u64) -> Vec<u64> {
        let end = self.end();
        let mut ids = Vec::new();
        while from < end {
            let chunk = self.reader.read(from, end, 7).unwrap();
            assert!(chunk.next > from, "a reader goes on");
            from = chunk.next;
            ids.extend(chunk.rows.iter().filter_map(|row| match row {
                Stored::Message(m) => Some(m.id),
                _ => None,
            }));
        }
        ids
    }

    fn close(self) {
        self.journal.close();
        self.thread.join().unwrap();
    }
}

const LARGE: u64 = 1 << 30;

fn message(id: u64) -> Record {
    sized(id, 10)
}

fn sized(id: u64, bytes: usize) -> Record {
    Record::Message(MessageRecord {
        room: "stage".parse().unwrap(),
        id,
        epoch: 1,
        at_ms: id,
        user: "u".into(),
        name: "U".into(),
        role: 0,
        text: "x".repeat(bytes),
        reply_to: None,
        paid: None,
        shown: true,
    })
}

fn paid(id: u64) -> Record {
    let Record::Message(m) = message(id) else {
        unreachable!()
    };
    let paid = PaidRecord {
        amount: 1,
        currency: "KRW".into(),
        tier: 0,
        reference: String::new(),
    };
    Record::Message(MessageRecord {
        paid: Some(paid),
        ..m
    })
}

fn only_segment(path: &Path) -> PathBuf {
    let starts = segment::list(path).unwrap();
    assert_eq!(starts.len(), 1);
    segment::path(path, starts[0])
}

#[test]
fn what_is_acknowledged_is_read_again_after_a_restart() {
    let folder = TempDir::new().unwrap();
    let mut open = Open::at(folder.path(), 0, LARGE);
    assert_eq!(
        open.append((1..=20).map(message).collect()).unwrap().kept,
        20
    );
    assert_eq!(open.append(vec![message(21), paid(22)]).unwrap().kept, 2);
    assert_eq!(open.stats.snapshot().syncs, 1, "for the paid one");
    let (all, end, id) = (open.ids(0), open.end(), open.id);
    assert_eq!(all, (1..=22).collect::<Vec<_>>());
    open.close();
    let mut open = Open::at(folder.path(), 0, LARGE);
    assert_eq!((open.ids(0), open.end(), open.id), (all, end, id));
    open.append(vec![message(23)]).unwrap();
    assert_eq!(open.ids(end), [23]);
    open.close();
}

#[test]
fn a_torn_tail_is_cut_at_every_byte() {
    let folder = TempDir::new().unwrap();
    let open = Open::at(folder.path(), 0, LARGE);
    open.append(vec![message(1), message(2)]).unwrap();
    let two = open.end();
    open.append(vec![message(3)]).unwrap();
    open.close();
    let path = only_segment(folder.path());
    let whole = fs::read(&path).unwrap();
    let header = segment::HEADER_BYTES as usize;
    let torn = header + two as usize + 1..whole.len();
    // A tail of zeros, or of other bytes, is what a power cut leaves.
    for (cut, behind) in torn.flat_map(|cut| [(cut, &b""[..]), (cut, &[0; 40]), (cut, &[0x5a; 40])])
    {
        fs::write(&path, [&whole[..cut], behind].concat()).unwrap();
        let mut open = Open::at(folder.path(), 0, LARGE);
        assert_eq!((open.ids(0), open.end()), (vec![1, 2], two), "cut at {cut}");
        assert!(open.stats.snapshot().cut_bytes > 0);
        open.append(vec![message(4)]).unwrap();
        assert_eq!(open.ids(0), [1, 2, 4]);
        assert_eq!(open.stats.snapshot().corrupt, 0);
        open.close();
    }
}

#[test]
fn segments_end_go_when_done_and_bound_the_journal() {
    let folder = TempDir::new().unwrap();
    let max = ArchiveConfig::JOURNAL_BYTES_MIN;
    let mut open = Open::at(folder.path(), 0, max);
    let mut id = 0;
    let mut fill = |open: &Open| {
        loop {
            id += 1;
            if open.append(vec![sized(id, 4_000)]).unwrap().unarchived > 0 {
                return id;
            }
        }
    };
    let first_lost = fill(&open);
    let stats = open.stats.snapshot();
    assert!(
        stats.journal_bytes > max * 7 / 8 - 10_000 && stats.journal_bytes <= max * 7 / 8,
        "{stats:?}"
    );
    assert!(segment::list(folder.path()).unwrap().len() > 10);
    // The last eighth is for what must not be lost, and what must not goes on beside it.
    let receipt = open
        .append(vec![paid(10_000), sized(10_001, 4_000)])
        .unwrap();
    assert_eq!(
        receipt,
        Receipt {
            kept: 1,
            unarchived: 1
        }
    );
    let audit = |detail: usize| {
        Record::Audit(AuditRecord {
            room: "stage".parse().unwrap(),
            at_ms: 1,
            actor: "mod".into(),
            action: "ban".into(),
            target: None,
            reason: String::new(),
            detail: "x".repeat(detail),
        })
    };
    let refused = loop {
        if let Err(error) = open.append(vec![audit(4_000), message(10_002)]) {
            break error;
        }
    };
    assert_eq!(refused, AppendError::Full);
    let stats = open.stats.snapshot();
    assert!(stats.journal_bytes <= max, "{stats:?}");
    assert_eq!(stats.refused, 1);

    let mut expected: Vec<_> = (1..first_lost).collect();
    expected.push(10_000);
    assert_eq!(open.ids(0), expected);
    let end = open.end();
    open.written(end);
    assert_eq!(segment::list(folder.path()).unwrap().len(), 1);
    assert_eq!(
        open.append(vec![paid(10_003), message(10_004)])
            .unwrap()
            .kept,
        2
    );
    assert_eq!(open.ids(end), [10_003, 10_004]);
    open.close();
}

#[test]
fn a_write_that_fails_leaves_nothing_behind() {
    let folder = TempDir::new().unwrap();
    let locked = Folder::open(folder.path().to_owned()).unwrap();
    let id = locked.id;
    segment::create(folder.path(), &id, 0).unwrap();
    drop(locked);
    let mut open = Open::at(folder.path(), 0, LARGE);
    open.append(vec![message(1)]).unwrap();
    let end = open.end();
    open.close();

    // A thread whose file takes nothing, as a disk that failed.
    let mut folder_again = Folder::open(folder.path().to_owned()).unwrap();
    folder_again.starts = vec![0];
    let stats = Arc::new(ArchiveStats::default());
    let shared = Arc::new(Shared {
        stats: stats.clone(),
        starts: Mutex::new(vec![0]),
        written: AtomicU64::new(0),
    });
    let (commands, inbox) = sync_channel(8);
    let thread = thread::Thread {
        waiting_bytes: Arc::default(),
        closed: Arc::default(),
        shared,
        active: thread::Active {
            start: 0,
            file: File::open(segment::path(folder.path(), 0)).unwrap(),
            end,
        },
        segment_bytes: LARGE,
        bytes_max: LARGE,
        fsync: Fsync::Paid,
        sealer: Sealer::new(Arc::new(NodeKey::new(&[1; 32]))),
        end: watch::channel(end).0,
        oldest: watch::channel(0).0,
        folder: folder_again,
        buffer: Vec::new(),
    };
    let (done, results) = mpsc::channel();
    for batch in [vec![message(2), paid(3)], vec![message(4)]] {
        let done = done.clone();
        let done = Done::new(move |result| done.send(result).unwrap());
        commands
            .send(Command::Append {
                batch,
                weight: 0,
                invalid: 0,
                done,
            })
            .map_err(drop)
            .unwrap();
    }
    drop((commands, done));
    thread.run(&inbox);
    let results: Vec<_> = results.iter().collect();
    assert!(
        matches!(
            results[..],
            [Err(AppendError::Io(_)), Err(AppendError::Io(_))]
        ),
        "{results:?}"
    );
    let seen = stats.snapshot();
    assert_eq!((seen.refused, seen.unarchived, seen.journalled), (1, 2, 0));
    assert!(seen.disk_errors > 0);

    open = Open::at(folder.path(), 0, LARGE);
    assert_eq!(open.ids(0), [1]);
    open.close();
}

#[test]
fn a_journal_that_lost_its_end_goes_on_behind_the_database() {
    let folder = TempDir::new().unwrap();
    let open = Open::at(folder.path(), 0, LARGE);
    open.append(vec![message(1), message(2)]).unwrap();
    let end = open.end();
    open.close();
    // The database had more than the disk kept.
    let mut open = Open::at(folder.path(), end + 500, LARGE);
    assert_eq!(open.end(), end + 500);
    open.append(vec![message(3)]).unwrap();
    assert_eq!(open.ids(end + 500), [3]);
    open.written(end + 500);
    assert_eq!(segment::list(folder.path()).unwrap(), [end + 500]);
    open.close();
}

#[test]
fn a_flipped_bit_costs_one_record() {
    let folder = TempDir::new().unwrap();
    let open = Open::at(folder.path(), 0, LARGE);
    for id in 1..=15 {
        open.append(vec![sized(id, 1_000)]).unwrap();
    }
    open.close();
    let path = only_segment(folder.path());
    let whole = fs::read(&path).unwrap();
    let header = segment::HEADER_BYTES as usize;
    // In the length, the checksum and the row of each record.
    let mut starts = Vec::new();
    let mut at = header;
    while let frame::Next::Row(_, length) = frame::next(&whole[at..]) {
        starts.push((at, length));
        at += length;
    }
    for (at, length) in starts {
        for offset in [0, 2, 3, 5, 8, length / 2, length - 1] {
            let mut bytes = whole.clone();
            bytes[at + offset] ^= 0x10;
            fs::write(&path, &bytes).unwrap();
            let mut open = Open::at(folder.path(), 0, LARGE);
            // A record may stand behind the row of its author's key, which is another.
            let ids = open.ids(0);
            let last = at + length == whole.len();
            assert!(
                ids.len() >= 14,
                "{} of 15 left, byte {at} + {offset}",
                ids.len()
            );
            let stats = open.stats.snapshot();
            assert_eq!(stats.corrupt, u64::from(!last));
            assert_eq!(stats.cut_bytes > 0, last);
            // What is kept from now on is read as well.
            open.append(vec![message(16)]).unwrap();
            assert_eq!(open.ids(0).last(), Some(&16));
            open.close();
        }
    }
}

#[test]
fn a_broken_part_in_the_middle_takes_nothing_else() {
    let folder = TempDir::new().unwrap();
    let open = Open::at(folder.path(), 0, ArchiveConfig::JOURNAL_BYTES_MIN);
    let mut id = 0;
    while segment::list(folder.path()).unwrap().len() < 3 {
        id += 1;
        open.append(vec![sized(id, 8_000)]).unwrap();
    }
    open.close();
    let first = segment::path(folder.path(), 0);
    let mut bytes = fs::read(&first).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 100].fill(0);
    fs::write(&first, bytes).unwrap();
    let mut open = Open::at(folder.path(), 0, ArchiveConfig::JOURNAL_BYTES_MIN);
    let ids = open.ids(0);
    assert_eq!((ids.first(), ids.last()), (Some(&1), Some(&id)));
    let lost = id as usize - ids.len();
    assert!((1..=2).contains(&lost), "{lost} of {id}");
    assert!(open.stats.snapshot().corrupt >= 1);
    open.close();
}

#[test]
fn a_broken_header_is_mended_or_set_aside() {
    let folder = TempDir::new().unwrap();
    let open = Open::at(folder.path(), 0, LARGE);
    open.append(vec![message(1), message(2)]).unwrap();
    let id = open.id;
    open.close();
    let path = only_segment(folder.path());
    let whole = fs::read(&path).unwrap();
    for bit in 0..segment::HEADER_BYTES as usize * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &bytes).unwrap();
        let mut open = Open::at(folder.path(), 0, LARGE);
        assert_eq!((open.id, open.ids(0)), (id, vec![1, 2]), "bit {bit}");
        open.close();
    }
    for broken in [vec![0; whole.len()], whole[..20].to_vec(), Vec::new()] {
        fs::write(&path, &broken).unwrap();
        let mut open = Open::at(folder.path(), 0, LARGE);
        assert!(open.ids(0).is_empty());
        open.append(vec![message(3)]).unwrap();
        assert_eq!(open.ids(0), [3]);
        open.close();
        let aside = folder.path().join(format!("{:020}.broken", 0));
        assert_eq!(fs::read(&aside).unwrap(), broken, "nothing is thrown away");
        fs::remove_file(&aside).unwrap();
    }
}

#[test]
fn an_erasure_ends_its_segment() {
    let folder = TempDir::new().unwrap();
    let open = Open::at(folder.path(), 0, LARGE);
    open.append(vec![message(1)]).unwrap();
    let (done, erased) = mpsc::channel();
    open.journal.erase(
        "u".into(),
        Box::new(move |result| done.send(result).unwrap()),
    );
    let position = erased.recv().unwrap().unwrap();
    assert_eq!(open.end(), position);
    assert_eq!(segment::list(folder.path()).unwrap(), [0, position]);
    open.written(position);
    assert_eq!(segment::list(folder.path()).unwrap(), [position]);
    assert_eq!(*open.journal.oldest().borrow(), position);
    open.close();
}

#[test]
fn what_cannot_be_kept_is_refused_at_once() {
    let folder = TempDir::new().unwrap();
    let open = Open::at(folder.path(), 0, LARGE);
    let Record::Message(long) = sized(1, 1 << 20) else {
        unreachable!()
    };
    let Record::Message(of_paid) = paid(1) else {
        unreachable!()
    };
    let paid = of_paid.paid;
    let must = Record::Message(MessageRecord { paid, ..long });
    assert!(matches!(
        open.append(vec![message(2), must]),
        Err(AppendError::Record(_))
    ));
    // An ordinary message that breaks a limit takes nothing with it.
    let receipt = open.append(vec![sized(1, 1 << 20), message(2)]);
    let (kept, unarchived) = (1, 1);
    assert_eq!(receipt, Ok(Receipt { kept, unarchived }));
    let many = (0..=BATCH_RECORDS_MAX as u64).map(message).collect();
    assert_eq!(open.append(many), Err(AppendError::BatchTooLarge));
    assert!(matches!(
        Folder::open(folder.path().to_owned()),
        Err(OpenError::Locked)
    ));
    let journal = open.journal.clone();
    open.close();
    let (done, result) = mpsc::channel();
    journal.append(vec![message(1)], Done::new(move |r| done.send(r).unwrap()));
    assert_eq!(result.recv().unwrap(), Err(AppendError::Closed));
}

#[test]
fn what_waits_is_bounded() {
    let folder = TempDir::new().unwrap();
    let open = Open::at(folder.path(), 0, LARGE);
    // Holds the thread, so that everything behind waits.
    let (held, go) = (
        Arc::new(std::sync::Barrier::new(2)),
        Arc::new(std::sync::Barrier::new(2)),
    );
    let (held_by, go_by) = (held.clone(), go.clone());
    let holder = Done::new(move |_| {
        held_by.wait();
        go_by.wait();
    });
    open.journal.append(vec![message(1)], holder);
    held.wait();
    let (done, results) = mpsc::channel();
    let batch: Vec<_> = (0..100).map(|id| sized(id, 16_000)).collect();
    for _ in 0..50 {
        let done = done.clone();
        open.journal
            .append(batch.clone(), Done::new(move |r| done.send(r).unwrap()));
    }
    drop(done);
    assert_eq!(
        results.try_recv().unwrap(),
        Err(AppendError::Busy),
        "refused while the disk is slow"
    );
    go.wait();
    let kept = 1 + results.iter().filter(Result::is_ok).count();
    assert!((30..50).contains(&kept), "{kept}");
    open.close();
}

#[test]
fn a_newer_or_foreign_journal_stops_the_start() {
    let folder = TempDir::new().unwrap();
    Open::at(folder.path(), 0, LARGE).close();
    let path = only_segment(folder.path());
    let good = fs::read(&path).unwrap();
    let mut newer = good.clone();
    newer[4] = 2;
    let crc = crc32fast::hash(&newer[..32]).to_le_bytes();
    newer[32..36].copy_from_slice(&crc);
    fs::write(&path, newer).unwrap();
    assert!(matches!(
        Folder::open(folder.path().to_owned()),
        Err(OpenError::Newer(_))
    ));
    fs::write(&path, good).unwrap();
    segment::create(folder.path(), &[9; 16], 100).unwrap();
    assert!(matches!(
        Folder::open(folder.path().to_owned()),
        Err(OpenError::Io(_))
    ));
}

#[test]
fn a_folder_is_free_though_a_child_has_a_copy_of_its_lock() {
    let folder = tempfile::tempdir().unwrap();
    let first = Folder::open(folder.path().into()).unwrap();
    let copy = first._lock.0.try_clone().unwrap();
    assert!(matches!(
        Folder::open(folder.path().into()),
        Err(OpenError::Locked)
    ));
    drop(first);
    Folder::open(folder.path().into()).unwrap();
    drop(copy);
}
