//! Settled entries get segments of their own partition before they go into a page. Pure.
//!
//! What merging leaves behind shares its segments with other partitions' entries: a page of a thousand such entries names as
//! many segments, and each of them stays while a single partition needs a little of it. So, once, entries that lie
//! scattered are copied behind each other into segments that hold nothing else: then a page names about one segment for
//! each output's worth of bytes, and deleting the topic gives all of them back.

use std::ops::Range;

use lakebed_manifest::Entry;

use super::plan::Rules;

/// The first of these neighbouring entries to copy together: from a place before `within` on, at least two stretches, each in
/// an object of which they take less than a quarter of an output. Each such copy leaves fewer stretches.
pub fn scattered(
    entries: &[Entry],
    within: usize,
    rules: &Rules,
    movable: impl Fn(&Entry) -> bool,
) -> Option<Range<usize>> {
    let (mut at, mut found): (usize, Option<(Range<usize>, u32)>) = (0, None);
    for stretch in entries.chunk_by(|a, b| a.object == b.object) {
        let (start, end) = (at, at + stretch.len());
        at = end;
        let bytes: u64 = stretch.iter().map(|e| e.len).sum();
        let small = bytes < rules.most_bytes / 4 && stretch.iter().all(&movable);
        found = match found {
            Some((range, count)) if small => Some((range.start..end, count + 1)),
            Some((range, count)) if count >= 2 => {
                found = Some((range, count));
                break;
            }
            _ if start >= within => return None,
            _ => small.then_some((start..end, 1)),
        };
    }
    let (range, _) = found.filter(|(_, count)| *count >= 2)?;
    let mut bytes = 0;
    let fitting = entries[range.clone()].iter().take(rules.most_entries).take_while(|e| {
        bytes += e.len;
        bytes <= rules.most_bytes
    });
    Some(range.start..range.start + fitting.count())
}
