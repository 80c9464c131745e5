//! Which entries go into an index page. Pure.
//!
//! A partition keeps its newest entries in the state; when it has two pages' worth of entries that will not be merged any more,
//! the older half becomes a page. So a partition takes memory for its recent past, and for one page's name per
//! [`PAGE_ENTRIES`] entries (up to 1 GiB of records) before that.

use lakebed_manifest::{Entry, PartitionState};
use lakebed_record::{DataObject, TopicPartition};

use crate::merge::levels;

/// The oldest entries that the state holds of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    pub partition: TopicPartition,
    pub entries: Vec<Entry>,
}

/// `size`: entries of a page. `pressed`: the state must get smaller, so a page is made as soon as there is one, also of large entries that are not merged.
pub fn due(tp: TopicPartition, partition: &PartitionState, size: usize, pressed: bool) -> Option<Seal> {
    let enough = if pressed { size + size / 8 } else { 2 * size };
    if partition.entry_count() < enough {
        return None;
    }
    let settled = |e: &&Entry| match e.object {
        DataObject::Inline(_) => false,
        DataObject::Segment(name) => name.is_background() || (pressed && levels::is_full(e.len)),
    };
    let mut oldest: Vec<Entry> = partition.entries_from(0).take_while(settled).take(enough).copied().collect();
    if oldest.len() < enough {
        return None;
    }
    oldest.truncate(size);
    Some(Seal { partition: tp, entries: oldest })
}
