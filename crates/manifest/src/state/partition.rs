//! One partition: its offsets, where its record batches lie, and what is known of its idempotent producers.

use std::collections::BTreeMap;

use lakebed_record::entries::{IndexPage, Place};
use lakebed_record::ops::{BatchOutcome, ProducerMeta};
use lakebed_record::{DataObject, FIRST_DERIVED_PRODUCER, LogTime, SegmentName, is_derived_producer};

use super::entries::Entries;

/// Whole batches that lie behind each other in one object and whose offsets run on without a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub base_offset: i64,
    /// How many offsets it takes.
    pub offsets: u64,
    pub object: DataObject,
    /// Where it starts in the object, in bytes from the object's start.
    pub start: u64,
    pub len: u64,
    /// Largest timestamp of its records (ms).
    pub max_timestamp: i64,
}

impl Entry {
    pub fn end_offset(&self) -> i64 {
        self.base_offset + self.offsets as i64
    }

    /// The entries that an index page holds.
    pub fn of_page(page: &IndexPage) -> Vec<Entry> {
        let mut base_offset = page.base_offset;
        let entries = page.entries.iter().map(|(place, max_timestamp)| {
            let Place { offsets, object, start, len } = *place;
            let entry = Entry { base_offset, offsets, object, start, len, max_timestamp: *max_timestamp };
            base_offset = entry.end_offset();
            entry
        });
        entries.collect()
    }
}

/// An entry grows to this size (or is one batch), so that finding an offset in it reads little.
pub const MAX_ENTRY_LEN: u64 = 1 << 20;

/// Old entries of a partition that stand in an object of their own: what the state keeps of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Names the object; pages and segments share their names.
    pub name: SegmentName,
    /// Length of the object in bytes.
    pub len: u64,
    pub base_offset: i64,
    pub end_offset: i64,
    pub entries: u32,
    /// Of the batches that its entries name.
    pub bytes: u64,
    /// Largest timestamp of its records (ms).
    pub max_timestamp: i64,
    /// The segments that its entries name, and how many do.
    pub objects: Vec<(SegmentName, u32)>,
}

/// Where an offset or a time is to be looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Located<'a> {
    Entry(&'a Entry),
    /// In this page.
    Page(&'a Page),
}

/// One batch that an idempotent producer appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendedBatch {
    pub first_sequence: i32,
    pub last_sequence: i32,
    pub base_offset: i64,
}

/// How many batches of a producer are remembered to answer duplicates (Kafka's number).
pub const REMEMBERED_BATCHES: usize = 5;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerState {
    pub epoch: i16,
    /// Log time of its last append.
    pub last_append: LogTime,
    /// The last five, oldest first, all of this epoch.
    pub batches: Vec<AppendedBatch>,
}

#[derive(Clone, Debug, Default)]
pub struct PartitionState {
    pub(super) log_start: i64,
    pub(super) next_offset: i64,
    /// In offset order; they end where the entries begin.
    pub(super) pages: Vec<Page>,
    pub(super) entries: Entries,
    pub(super) producers: BTreeMap<i64, ProducerState>,
}

impl PartitionState {
    pub fn log_start(&self) -> i64 {
        self.log_start
    }

    /// The high watermark; there are no transactions, so it is the last stable offset as well.
    pub fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// The entry that holds `offset`, if it is in no page.
    pub fn entry_at(&self, offset: i64) -> Option<&Entry> {
        self.entries.entries_from(offset).next().filter(|e| e.base_offset <= offset)
    }

    pub fn entries_from(&self, offset: i64) -> impl Iterator<Item = &Entry> {
        self.entries.entries_from(offset)
    }

    /// The first entry with a record at or past `timestamp` (ms).
    pub fn entry_at_time(&self, timestamp: i64) -> Option<&Entry> {
        self.entries.at_time(timestamp)
    }

    /// The page or entry that holds `offset`.
    pub fn locate(&self, offset: i64) -> Option<Located<'_>> {
        let page = self.pages.partition_point(|p| p.end_offset <= offset);
        match self.pages.get(page) {
            Some(page) => (page.base_offset <= offset).then_some(Located::Page(page)),
            None => self.entry_at(offset).map(Located::Entry),
        }
    }

    /// The first page or entry with a record at or past `timestamp` (ms).
    pub fn locate_time(&self, timestamp: i64) -> Option<Located<'_>> {
        let page = self.pages.iter().find(|p| p.max_timestamp >= timestamp).map(Located::Page);
        page.or_else(|| self.entry_at_time(timestamp).map(Located::Entry))
    }

    /// Entries that are in no page.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Index pages, in offset order.
    pub fn pages(&self) -> &[Page] {
        &self.pages
    }

    /// Entries that are in no page.
    pub fn entry_count(&self) -> usize {
        self.entries.len()
    }

    /// Idempotent producers that appended within a day or so, by id.
    pub fn producers(&self) -> impl Iterator<Item = (i64, &ProducerState)> {
        self.producers.iter().map(|(id, state)| (*id, state))
    }

    /// How many of them have derived ids.
    pub(super) fn derived_producers(&self) -> usize {
        self.producers.range(FIRST_DERIVED_PRODUCER..).count()
    }

    /// Of all batches that are not truncated, about: entries and pages count as wholes.
    pub fn bytes(&self) -> u64 {
        self.pages.iter().map(|p| p.bytes).chain(self.entries.iter().map(|e| e.len)).sum()
    }
}

/// What the producer's sequence says of a batch: append it, or an outcome that appends nothing.
pub(super) enum Verdict {
    Append,
    Refuse(BatchOutcome),
}

pub(super) fn last_sequence(first: i32, offsets: u32) -> i32 {
    ((i64::from(first) + i64::from(offsets) - 1) & i64::from(i32::MAX)) as i32
}

/// Kafka's rules (ProducerAppendInfo), but for one: the first batch from a producer that the partition does not know must have
/// sequence 0, or a batch could overtake the one before it that was dropped. `expired`: states of this id may have been dropped.
/// A derived id has one epoch, which stands for the request's content: another one never takes its place.
pub(super) fn check_sequence(
    state: Option<&ProducerState>,
    meta: &ProducerMeta,
    offsets: u32,
    log_start_offset: i64,
    expired: bool,
) -> Verdict {
    let known = match state {
        None if meta.sequence == 0 => return Verdict::Append,
        None if expired => return Verdict::Refuse(BatchOutcome::UnknownProducerId),
        None => return Verdict::Refuse(BatchOutcome::OutOfOrderSequence),
        Some(known) => known,
    };
    match i64::from(meta.epoch).cmp(&i64::from(known.epoch)) {
        std::cmp::Ordering::Less => return Verdict::Refuse(BatchOutcome::InvalidProducerEpoch),
        std::cmp::Ordering::Greater if is_derived_producer(meta.id) => {
            return Verdict::Refuse(BatchOutcome::InvalidProducerEpoch);
        }
        std::cmp::Ordering::Greater if meta.sequence == 0 => return Verdict::Append,
        std::cmp::Ordering::Greater => return Verdict::Refuse(BatchOutcome::OutOfOrderSequence),
        std::cmp::Ordering::Equal => {}
    }
    let last = last_sequence(meta.sequence, offsets);
    let again = known.batches.iter().find(|b| b.first_sequence == meta.sequence && b.last_sequence == last);
    if let Some(batch) = again {
        return Verdict::Refuse(BatchOutcome::Duplicate { base_offset: batch.base_offset, log_start_offset });
    }
    let next = known.batches.last().map_or(0, |b| last_sequence(b.last_sequence, 2));
    if meta.sequence == next { Verdict::Append } else { Verdict::Refuse(BatchOutcome::OutOfOrderSequence) }
}
