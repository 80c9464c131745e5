//! What a merge reads from where, and the entries that come of it. Pure.
//!
//! Inputs lie in the output one after another in the order of their partitions and offsets, so where each goes is known
//! before anything is read; how entries are cut is known only when the batches are.

use std::collections::BTreeMap;

use lakebed_manifest::Entry;
use lakebed_manifest::state::MAX_ENTRY_LEN;
use lakebed_record::DataObject;

use super::plan::Merge;

/// Bytes of one GET, unless an entry is larger.
const MOST_READ: u64 = 8 << 20;
/// Bytes that are read although nobody wants them, rather than asking twice.
const MOST_GAP: u64 = 256 << 10;

/// A range of an object, and which inputs lie in it.
#[derive(Debug, PartialEq, Eq)]
pub struct Read {
    pub object: DataObject,
    pub start: u64,
    pub end: u64,
    pub inputs: Vec<Input>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Input {
    pub entry: Entry,
    /// Which of the merge's runs it is of, and which of all entries it is.
    pub run: usize,
    pub number: usize,
    /// Where it goes in the output's payload.
    pub to: usize,
}

impl Read {
    pub fn len(&self) -> u64 {
        self.end - self.start
    }
}

/// Each object's ranges, in the order of objects and of their bytes.
pub fn reads(merge: &Merge) -> Vec<Read> {
    let mut by_object: BTreeMap<DataObject, Vec<Input>> = BTreeMap::new();
    let (mut to, mut number) = (0, 0);
    for (run, entry) in merge.runs.iter().enumerate().flat_map(|(i, r)| r.entries.iter().map(move |e| (i, *e))) {
        by_object.entry(entry.object).or_default().push(Input { entry, run, number, to });
        to += entry.len as usize;
        number += 1;
    }
    let mut reads: Vec<Read> = Vec::new();
    for (object, mut inputs) in by_object {
        inputs.sort_by_key(|i| i.entry.start);
        for input in inputs {
            let (start, end) = (input.entry.start, input.entry.start + input.entry.len);
            match reads.last_mut() {
                Some(r) if r.object == object && start <= r.end + MOST_GAP && end - r.start <= MOST_READ => {
                    r.end = r.end.max(end);
                    r.inputs.push(input);
                }
                _ => reads.push(Read { object, start, end, inputs: vec![input] }),
            }
        }
    }
    reads
}

/// A batch, or an entry made of batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub offsets: u64,
    pub len: u64,
    /// ms
    pub max_timestamp: i64,
}

/// Joins batches that lie behind each other into entries of at most [`MAX_ENTRY_LEN`] or one batch, of about the same
/// length each, so that no small rest is left over.
pub fn join(batches: &[Part]) -> Vec<Part> {
    let total: u64 = batches.iter().map(|b| b.len).sum();
    let enough = total.div_ceil(total.div_ceil(MAX_ENTRY_LEN).max(1));
    let mut entries: Vec<Part> = Vec::new();
    for batch in batches {
        match entries.last_mut() {
            Some(e) if e.len < enough && e.len + batch.len <= MAX_ENTRY_LEN => {
                e.offsets += batch.offsets;
                e.len += batch.len;
                e.max_timestamp = e.max_timestamp.max(batch.max_timestamp);
            }
            _ => entries.push(*batch),
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use lakebed_record::{Slot, TopicId, TopicPartition};
    use proptest::prelude::*;

    use super::super::plan::Run;
    use super::*;

    fn part(len: u64) -> Part {
        Part { offsets: 2, len, max_timestamp: len as i64 }
    }

    proptest! {
        #[test]
        fn joining_loses_nothing(lens in prop::collection::vec(70u64..900_000, 1..60)) {
            let batches: Vec<Part> = lens.iter().map(|l| part(*l)).collect();
            let entries = join(&batches);
            let sum = |of: fn(&Part) -> u64, parts: &[Part]| parts.iter().map(of).sum::<u64>();
            prop_assert_eq!(sum(|p| p.len, &entries), sum(|p| p.len, &batches));
            prop_assert_eq!(sum(|p| p.offsets, &entries), sum(|p| p.offsets, &batches));
            prop_assert!(entries.iter().all(|e| e.len <= MAX_ENTRY_LEN));
            let newest = |parts: &[Part]| parts.iter().map(|p| p.max_timestamp).max();
            prop_assert_eq!(newest(&entries), newest(&batches));
            // All but the last are full where a batch is not too large for that.
            let small = lens.iter().all(|l| *l <= MAX_ENTRY_LEN / 2);
            let full = entries.iter().rev().skip(1).all(|e| super::super::levels::is_full(e.len));
            prop_assert!(!small || full, "{entries:?}");
        }
    }

    #[test]
    fn a_batch_past_the_limit_is_an_entry_of_its_own() {
        let lens = |batches: &[u64]| {
            join(&batches.iter().map(|l| part(*l)).collect::<Vec<_>>()).iter().map(|e| e.len).collect::<Vec<_>>()
        };
        assert_eq!(lens(&[3 * MAX_ENTRY_LEN]), [3 * MAX_ENTRY_LEN]);
        assert_eq!(lens(&[10, 3 * MAX_ENTRY_LEN, 10]), [10, 3 * MAX_ENTRY_LEN, 10]);
        assert_eq!(lens(&[100_000; 11]), [600_000, 500_000]);
        assert!(lens(&[]).is_empty());
    }

    #[test]
    fn neighbours_are_read_together_and_far_ones_apart() {
        let entry = |slot, base_offset, start, len| Entry {
            base_offset,
            offsets: 1,
            object: DataObject::Inline(Slot(slot)),
            start,
            len,
            max_timestamp: 0,
        };
        let run = |partition, entries| Run { partition: TopicPartition::new(TopicId(1), partition), entries };
        let runs = vec![
            run(0, vec![entry(1, 0, 300, 100), entry(2, 1, 64, 50)]),
            run(1, vec![entry(1, 0, 64, 200), entry(1, 1, 9 << 20, 10)]),
        ];
        let reads = reads(&Merge { runs });
        let ranges: Vec<_> = reads.iter().map(|r| (r.object, r.start, r.end)).collect();
        let object = |slot| DataObject::Inline(Slot(slot));
        assert_eq!(ranges, [(object(1), 64, 400), (object(1), 9 << 20, (9 << 20) + 10), (object(2), 64, 114)]);
        let to: Vec<_> = reads.iter().flat_map(|r| &r.inputs).map(|i| (i.run, i.number, i.to)).collect();
        assert_eq!(to, [(1, 2, 150), (0, 0, 0), (1, 3, 350), (0, 1, 100)]);
    }
}
