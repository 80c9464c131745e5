//! A range of an object's bytes in pieces: sliced without copying.

use std::ops::Range;

use bytes::Bytes;

#[derive(Clone, Debug, Default)]
pub struct Rope {
    chunks: Vec<Bytes>,
    /// Where each chunk starts in the object; ascending.
    starts: Vec<u64>,
    end: u64,
}

impl Rope {
    /// `start`: where the first chunk lies in the object.
    pub fn new(start: u64, chunks: impl IntoIterator<Item = Bytes>) -> Rope {
        let mut rope = Rope { chunks: Vec::new(), starts: Vec::new(), end: start };
        chunks.into_iter().for_each(|c| rope.push(c));
        rope
    }

    fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.starts.push(self.end);
            self.end += chunk.len() as u64;
            self.chunks.push(chunk);
        }
    }

    pub fn start(&self) -> u64 {
        self.starts.first().copied().unwrap_or(self.end)
    }

    /// One past the last byte, as an offset in the object.
    pub fn end(&self) -> u64 {
        self.end
    }

    pub fn covers(&self, range: &Range<u64>) -> bool {
        self.start() <= range.start && range.end <= self.end
    }

    /// The pieces of `range` (offsets in the object), as far as the rope reaches.
    pub fn slices(&self, range: Range<u64>) -> impl Iterator<Item = Bytes> {
        let first = self.starts.partition_point(|&s| s <= range.start).saturating_sub(1);
        self.chunks[first..].iter().zip(&self.starts[first..]).map_while(move |(chunk, &start)| {
            let from = range.start.max(start) - start;
            let to = range.end.min(start + chunk.len() as u64).saturating_sub(start);
            (from < to).then(|| chunk.slice(from as usize..to as usize))
        })
    }

    /// Copies the bytes at `at`; false if the rope does not hold all of them.
    #[must_use]
    pub fn copy_to(&self, at: u64, out: &mut [u8]) -> bool {
        let mut filled = 0;
        for slice in self.slices(at..at + out.len() as u64) {
            out[filled..filled + slice.len()].copy_from_slice(&slice);
            filled += slice.len();
        }
        filled == out.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_of_every_range_are_the_bytes_of_that_range() {
        let all: Vec<u8> = (0..23).collect();
        let all = Bytes::from(all);
        let rope = Rope::new(100, [all.slice(..7), Bytes::new(), all.slice(7..8), all.slice(8..)]);
        assert_eq!((rope.start(), rope.end()), (100, 123));
        for from in 0..23u64 {
            for to in from..=23 {
                let got: Vec<u8> = rope.slices(100 + from..100 + to).flatten().collect();
                assert_eq!(got, all[from as usize..to as usize], "{from}..{to}");
                let mut copied = vec![0; (to - from) as usize];
                assert!(rope.copy_to(100 + from, &mut copied));
                assert_eq!(copied, got);
            }
        }
        assert!(!rope.copy_to(120, &mut [0; 4]));
    }
}
