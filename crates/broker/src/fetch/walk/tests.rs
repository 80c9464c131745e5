use lakebed_record::batch::{self, BatchBuilder};
use lakebed_record::{DataObject, Slot};

use super::*;

const START: u64 = 77;

fn stored(lens: &[usize]) -> (Entry, Bytes) {
    let mut all = BytesMut::new();
    for (n, len) in lens.iter().enumerate() {
        let mut builder = BatchBuilder::new();
        (0..=n).for_each(|_| builder.push(5, None, Some(&vec![n as u8; len / (n + 1)]), []));
        all.extend_from_slice(&builder.build());
    }
    let entry = Entry {
        base_offset: 100,
        offsets: (1..=lens.len() as u64).sum(),
        object: DataObject::Inline(Slot(1)),
        start: START,
        len: all.len() as u64,
        max_timestamp: 5,
    };
    (entry, all.freeze())
}

/// The same bytes cut into pieces of `n`.
fn rope_of(bytes: &Bytes, n: usize) -> Rope {
    let cut = |at: usize| bytes.slice(at..bytes.len().min(at + n));
    Rope::new(START, (0..bytes.len()).step_by(n).map(cut))
}

fn collect(mut out: Collector, entry: &Entry, rope: &Rope) -> (Room, Vec<(i64, usize)>) {
    let room = out.entry(entry, i64::MAX, rope, Trust::Check).expect("good batches");
    let len = out.len();
    let bytes: Vec<u8> = out.finish().into_iter().flatten().collect();
    assert_eq!(bytes.len() as u64, len);
    let found = batch::batches(&bytes).map(|b| {
        let (header, bytes) = b.expect("whole batches");
        batch::validate(bytes, batch::Limits::default()).expect("unchanged but for the first 16 bytes");
        assert_eq!(header.leader_epoch, 0);
        (header.base_offset, bytes.len())
    });
    (room, found.collect())
}

#[test]
fn batches_get_their_offsets_however_the_bytes_are_cut() {
    let (entry, bytes) = stored(&[10, 9000, 300, 5000, 20]);
    let offsets = [100, 101, 103, 106, 110];
    for piece in [1, 7, 61, 1000, usize::MAX >> 1] {
        let rope = rope_of(&bytes, piece.min(bytes.len()));
        let (room, found) = collect(Collector::new(0, 1 << 20, false), &entry, &rope);
        assert_eq!(room, Room::Left);
        assert_eq!(found.iter().map(|f| f.0).collect::<Vec<_>>(), offsets);
        assert_eq!(found.iter().map(|f| f.1).sum::<usize>(), bytes.len());
    }
}

#[test]
fn large_batches_are_not_copied() {
    let (entry, bytes) = stored(&[10, 9000, 300]);
    let mut out = Collector::new(0, 1 << 20, false);
    out.entry(&entry, i64::MAX, &rope_of(&bytes, bytes.len()), Trust::Checked).expect("good batches");
    let stored = bytes.as_ptr_range();
    let shared: usize = out.finish().iter().filter(|p| stored.contains(&p.as_ptr())).map(Bytes::len).sum();
    assert!(shared > 8900, "{shared}");
}

#[test]
fn starts_at_the_batch_that_holds_the_offset_and_stops_before_the_limit() {
    let (entry, bytes) = stored(&[1000, 1000, 1000, 1000]);
    let rope = rope_of(&bytes, bytes.len());
    let offsets = |offset, limit, first_always| {
        let (room, found) = collect(Collector::new(offset, limit, first_always), &entry, &rope);
        (room, found.into_iter().map(|f| f.0).collect::<Vec<_>>())
    };
    assert_eq!(offsets(102, 1 << 20, false), (Room::Left, vec![101, 103, 106]));
    assert_eq!(offsets(106, 1 << 20, false), (Room::Left, vec![106]));
    assert_eq!(offsets(110, 1 << 20, false), (Room::Left, vec![]));
    assert_eq!(offsets(0, 2500, false), (Room::Full, vec![100, 101]));
    assert_eq!(offsets(0, 5, true), (Room::Full, vec![100]));
    assert_eq!(offsets(0, 5, false), (Room::Full, vec![]));
}

#[test]
fn what_does_not_add_up_is_an_error() {
    let (entry, bytes) = stored(&[1000, 1000]);
    let read = |entry: &Entry, bytes: &Bytes| {
        Collector::new(0, 1 << 20, true).entry(entry, i64::MAX, &rope_of(bytes, bytes.len()), Trust::Check)
    };
    assert!(read(&entry, &bytes).is_ok());
    assert_eq!(read(&entry, &bytes.slice(..1500)), Err(WalkError::Short));
    assert_eq!(read(&Entry { offsets: 4, ..entry }, &bytes), Err(WalkError::Index));
    assert_eq!(read(&Entry { len: entry.len - 1, ..entry }, &bytes), Err(WalkError::Index));
    let mut damaged = bytes.to_vec();
    damaged[1500] ^= 1;
    assert!(matches!(read(&entry, &damaged.into()), Err(WalkError::Batch(BatchError::Corrupt(_)))));
}
