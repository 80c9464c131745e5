//! A partition's index entries in offset order.

use std::sync::Arc;

use super::partition::Entry;

/// Entries of a full chunk; one that a change left with less than half as many is joined with its neighbour by the next.
const CHUNK: usize = 256;

/// In shared chunks, so that a copy-on-write clone copies pointers, and a change copies only the chunks that it touches.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    sealed: Vec<Chunk>,
    tail: Vec<Entry>,
    len: usize,
}

/// Never empty.
#[derive(Clone, Debug)]
struct Chunk {
    entries: Arc<[Entry]>,
    max_timestamp: i64,
}

impl Chunk {
    fn new(entries: &[Entry]) -> Chunk {
        let max_timestamp = entries.iter().map(|e| e.max_timestamp).max().unwrap_or(i64::MIN);
        Chunk { entries: entries.into(), max_timestamp }
    }

    fn end_offset(&self) -> i64 {
        self.entries.last().map_or(i64::MIN, Entry::end_offset)
    }

    fn is_small(&self) -> bool {
        self.entries.len() < CHUNK / 2
    }
}

impl Entries {
    pub fn push(&mut self, entry: Entry) {
        self.len += 1;
        self.tail.push(entry);
        if self.tail.len() == CHUNK {
            self.sealed.push(Chunk::new(&self.tail));
            self.tail.clear();
        }
    }

    /// Puts `with` in place of `count` entries, the first of which starts at `base_offset`.
    pub fn splice(&mut self, base_offset: i64, count: usize, with: &[Entry]) {
        let mut first = self.chunk_at(base_offset);
        if first > 0 && self.sealed[first - 1].is_small() {
            first -= 1;
        }
        let position = |entries: &[Entry]| entries.partition_point(|e| e.base_offset < base_offset);
        let (mut end, mut old) = (first, Vec::new());
        // As many chunks as hold all that goes, and of what stays half a chunk.
        let lacks = |old: &[Entry]| old.len() < position(old) + count;
        while end < self.sealed.len() && (lacks(&old) || old.len() + with.len() < CHUNK / 2 + count) {
            old.extend_from_slice(&self.sealed[end].entries);
            end += 1;
        }
        let to_the_end = lacks(&old);
        if to_the_end {
            old.append(&mut self.tail);
        }
        let at = position(&old);
        let new: Vec<Entry> = old[..at].iter().chain(with).chain(&old[at + count..]).copied().collect();
        self.len = self.len + with.len() - count;
        if to_the_end {
            let (full, tail) = new.split_at(new.len() / CHUNK * CHUNK);
            self.sealed.truncate(first);
            self.sealed.extend(full.chunks(CHUNK).map(Chunk::new));
            self.tail = tail.to_vec();
        } else {
            let size = new.len().div_ceil(new.len().div_ceil(CHUNK).max(1)).max(1);
            self.sealed.splice(first..end, new.chunks(size).map(Chunk::new));
        }
    }

    /// Drops entries that end at or below `offset`.
    pub fn drop_below(&mut self, offset: i64) {
        let first = self.chunk_at(offset);
        self.len -= self.sealed.drain(..first).map(|c| c.entries.len()).sum::<usize>();
        let ended = |entries: &[Entry]| entries.partition_point(|e| e.end_offset() <= offset);
        match self.sealed.first_mut() {
            Some(chunk) => {
                let gone = ended(&chunk.entries);
                if gone > 0 {
                    *chunk = Chunk::new(&chunk.entries[gone..]);
                    self.len -= gone;
                }
            }
            None => self.len -= self.tail.drain(..ended(&self.tail)).count(),
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first chunk that ends past `offset`; past all of them if there is none.
    fn chunk_at(&self, offset: i64) -> usize {
        self.sealed.partition_point(|c| c.end_offset() <= offset)
    }

    /// The entries of sealed chunks from `first` on, and the tail.
    fn chunks_from(&self, first: usize) -> impl Iterator<Item = &Entry> {
        self.sealed[first..].iter().flat_map(|c| c.entries.iter()).chain(&self.tail)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.chunks_from(0)
    }

    /// The first entry with a record at or past `timestamp` (ms).
    pub fn at_time(&self, timestamp: i64) -> Option<&Entry> {
        let first = self.sealed.iter().position(|c| c.max_timestamp >= timestamp).unwrap_or(self.sealed.len());
        self.chunks_from(first).find(|e| e.max_timestamp >= timestamp)
    }

    /// Entries that end past `offset`, the one that holds it first.
    pub fn entries_from(&self, offset: i64) -> impl Iterator<Item = &Entry> {
        self.chunks_from(self.chunk_at(offset)).skip_while(move |e| e.end_offset() <= offset)
    }
}

#[cfg(test)]
mod tests {
    use lakebed_record::{DataObject, Slot};

    use super::*;

    fn entry(base_offset: i64, offsets: u64) -> Entry {
        let max_timestamp = base_offset * 7 % 1_001;
        Entry { base_offset, offsets, object: DataObject::Inline(Slot(1)), start: 0, len: 1, max_timestamp }
    }

    fn of(count: usize) -> Entries {
        let mut entries = Entries::default();
        (0..count as i64).for_each(|i| entries.push(entry(2 * i, 2)));
        entries
    }

    /// Against a plain list.
    fn check(entries: &Entries, model: &[Entry]) {
        assert_eq!(entries.iter().copied().collect::<Vec<_>>(), model);
        assert_eq!((entries.len(), entries.is_empty()), (model.len(), model.is_empty()));
        let end = model.last().map_or(10, Entry::end_offset);
        for offset in [0, 1, end / 3, end / 2, end - 1, end] {
            let expected = model.iter().find(|e| e.end_offset() > offset);
            assert_eq!(entries.entries_from(offset).next(), expected, "from {offset}");
        }
        for time in [0, 500, 999, 1_001] {
            assert_eq!(entries.at_time(time), model.iter().find(|e| e.max_timestamp >= time), "at {time}");
        }
    }

    /// Numbers below `n`, the same in every run.
    struct Draw(u64);

    impl Draw {
        fn below(&mut self, n: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as usize % n
        }
    }

    fn splice(draw: &mut Draw, entries: &mut Entries, model: &mut Vec<Entry>, most: usize) {
        let at = draw.below(model.len());
        let run = model[at..(at + 1 + draw.below(most)).min(model.len())].to_vec();
        let (base, offsets) = (run[0].base_offset, run.iter().map(|e| e.offsets).sum::<u64>());
        let into = (1 + draw.below(4) as u64).min(offsets);
        let one = |i| entry(base + i as i64, if i + 1 == into { offsets - i } else { 1 });
        let with: Vec<Entry> = (0..into).map(one).collect();
        entries.splice(base, run.len(), &with);
        model.splice(at..at + run.len(), with);
    }

    #[test]
    fn any_changes_leave_what_a_plain_list_has() {
        for seed in 0..200 {
            let mut draw = Draw(seed);
            let count = draw.below(900);
            let (mut entries, mut model) = (of(count), of(count).iter().copied().collect::<Vec<_>>());
            for _ in 0..40 {
                let next = model.last().map_or(0, Entry::end_offset);
                match draw.below(8) {
                    0..3 => {
                        let more: Vec<Entry> = (0..draw.below(400) as i64).map(|i| entry(next + i, 1)).collect();
                        more.iter().for_each(|e| entries.push(*e));
                        model.extend(more);
                    }
                    3..5 if !model.is_empty() => splice(&mut draw, &mut entries, &mut model, 900),
                    5..7 if !model.is_empty() => splice(&mut draw, &mut entries, &mut model, 12),
                    _ => {
                        let first = model.first().map_or(0, |e| e.base_offset);
                        let offset = first + draw.below((next - first) as usize / 2 + 1) as i64;
                        entries.drop_below(offset);
                        model.retain(|e| e.end_offset() > offset);
                    }
                }
                check(&entries, &model);
            }
            // No more chunks than four times as many as the entries fill.
            let chunks = entries.sealed.len();
            assert!(chunks <= 2 + entries.len() / (CHUNK / 4), "{chunks} chunks of {}", entries.len());
        }
    }

    #[test]
    fn a_change_copies_only_the_chunks_that_it_touches() {
        let before = of(100 * CHUNK);
        let shared = |after: &Entries| {
            let of =
                |e: &Entries| e.sealed.iter().map(|c| c.entries.as_ptr()).collect::<std::collections::BTreeSet<_>>();
            of(&before).intersection(&of(after)).count()
        };
        let mut merged = before.clone();
        merged.splice(0, 300, &[entry(0, 600)]);
        assert_eq!(shared(&merged), 98);
        merged.splice(20_000, 8, &[entry(20_000, 16)]);
        assert_eq!(shared(&merged), 97);
        let mut sealed = before.clone();
        sealed.drop_below(2 * 1_024);
        assert_eq!(shared(&sealed), 96);
        sealed.drop_below(2 * 1_030);
        assert_eq!(shared(&sealed), 95);
    }
}
