//! Which entries go into an index page. Pure.
//!
//! A partition keeps its newest entries in the state; when it has two pages' worth of entries that will not be merged any more,
//! the older half becomes a page. So a partition takes memory for its recent past, and before that for a page's name, and the
//! names of some segments, for each 1,024 entries (up to 1 GiB of records).

use lakebed_manifest::{Entry, PartitionState};
use lakebed_record::TopicPartition;

use crate::merge::own;
use crate::merge::plan::View;

/// The oldest entries that the state holds of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    pub partition: TopicPartition,
    pub entries: Vec<Entry>,
}

/// What is to be done with a partition's oldest entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    Seal(Seal),
    /// These lie scattered, and are to be copied behind each other first.
    Own(Vec<Entry>),
}

/// While the state must get smaller, pages are smaller too, and each is made as soon as there is one.
pub fn due(tp: TopicPartition, partition: &PartitionState, view: &View<'_>) -> Option<Due> {
    let size = if view.pressed { (view.rules.page_entries / 4).max(1) } else { view.rules.page_entries };
    let enough = if view.pressed { size + size / 8 } else { 2 * size };
    if partition.entry_count() < enough {
        return None;
    }
    let settled = partition.entries_from(0).take_while(|e| view.is_settled(tp, e));
    let mut oldest: Vec<Entry> = settled.take(enough).copied().collect();
    if oldest.len() < enough {
        return None;
    }
    if let Some(range) = own::scattered(&oldest, size, view.rules, |e| view.is_movable(tp, e)) {
        return Some(Due::Own(oldest[range].to_vec()));
    }
    oldest.truncate(size);
    Some(Due::Seal(Seal { partition: tp, entries: oldest }))
}
