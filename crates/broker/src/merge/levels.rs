//! How large entries are, and which merged ones are worth merging again. Pure.
//!
//! An entry's level is the power of eight in its length. Merged entries of one partition that lie next to each other are merged
//! again once there are eight of the same level with nothing above it in between, so that what comes of them is of a higher
//! level. An entry of half of [`MAX_ENTRY_LEN`] is *full* and never copied again.
//!
//! So a byte is copied at most once for each of the levels 2 (a batch has more than 64 bytes) to 6, once more where a merge
//! leaves a rest below the others (as many bytes become full in that same merge), and once when it leaves the slot or segment
//! in which it was flushed: seven times at worst, whatever the partition's rate. Between two entries of a higher level, or the
//! ends, there are at most seven of a level; entries come in an order in which the higher ones are mostly the older, so that
//! some dozens are left between full ones, though an order exists that leaves thousands.

use std::ops::Range;

use lakebed_manifest::state::MAX_ENTRY_LEN;

/// So many of a level are merged.
pub const FAN_IN: usize = 8;
const FULL: u64 = MAX_ENTRY_LEN / 2;
const LOWEST: u32 = 2;
const HIGHEST: u32 = level(FULL - 1);

pub const fn is_full(len: u64) -> bool {
    len >= FULL
}

const fn level(len: u64) -> u32 {
    let level = if len == 0 { 0 } else { len.ilog2() / 3 };
    if level < LOWEST { LOWEST } else { level }
}

/// The part of neighbouring entries, given by their lengths, to merge first. None of them is full.
pub fn due(lens: &[u64]) -> Option<Range<usize>> {
    if lens.len() < FAN_IN {
        return None;
    }
    (LOWEST..=HIGHEST).find_map(|l| due_at(lens, l))
}

/// The first run of entries up to level `l` with enough of that level, from the first of those to the last.
fn due_at(lens: &[u64], l: u32) -> Option<Range<usize>> {
    let (mut first, mut last, mut count) = (0, 0, 0);
    for (i, len) in lens.iter().enumerate() {
        match level(*len).cmp(&l) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Equal => {
                if count == 0 {
                    first = i;
                }
                (last, count) = (i, count + 1);
            }
            std::cmp::Ordering::Greater if count >= FAN_IN => break,
            std::cmp::Ordering::Greater => count = 0,
        }
    }
    (count >= FAN_IN).then_some(first..last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_of_a_level_are_due_with_what_is_smaller_between_them() {
        assert_eq!(due(&[100; 7]), None);
        assert_eq!(due(&[100; 8]), Some(0..8));
        assert_eq!(due(&[100; 30]), Some(0..30));
        let mut lens = vec![40_000; 8];
        lens.insert(3, 100);
        lens.push(100);
        assert_eq!(due(&lens), Some(0..9));
        // Small ones go first.
        lens.extend([100; 8]);
        assert_eq!(due(&lens), Some(9..18));
        // A larger one in between separates.
        assert_eq!(due(&[100, 100, 100, 100, 5_000, 100, 100, 100, 100]), None);
        assert_eq!(due(&[5_000, 100, 100, 100, 100, 100, 100, 100, 100, 5_000, 100]), Some(1..9));
    }

    #[test]
    fn eight_of_a_level_make_one_above_it() {
        for len in [69, 100, 511, 512, 4_095, 30_000, 100_000, 300_000, FULL - 1] {
            assert!(level(len * 8) > level(len) || is_full(len * 8), "{len}");
        }
        assert!(!is_full(FULL - 1) && level(FULL - 1) == 6);
    }
}
