//! Which listed objects are garbage, and which hold little else. Pure.

use std::collections::BTreeMap;

use lakebed_manifest::{PartitionState, State};
use lakebed_record::keys::{self, Key, Name};
use lakebed_record::{DataObject, SegmentName};

/// A segment of which less than one part in so many is in use is sparse.
const SPARSE: u64 = 3;

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Garbage {
    /// Never named, and never to be.
    pub names: Vec<SegmentName>,
    /// Not of the form of our names: somebody else's, never deleted.
    pub foreign: Vec<Key>,
}

impl Garbage {
    pub fn in_page<'a>(state: &State, listed: impl Iterator<Item = &'a Key>) -> Garbage {
        let mut garbage = Garbage::default();
        for key in listed {
            match keys::parse(key) {
                Some(Name::Segment(name)) if state.is_orphan(&name) => garbage.names.push(name),
                Some(Name::Segment(_)) => {}
                _ => garbage.foreign.push(key.clone()),
            }
        }
        garbage
    }
}

/// How many bytes of each merged segment are in use, by entries that can still be moved.
#[derive(Debug, Default)]
pub struct InUse(BTreeMap<SegmentName, u64>);

impl InUse {
    /// First all partitions' entries,
    pub fn add_entries(&mut self, partition: &PartitionState) {
        for entry in partition.entries() {
            if let DataObject::Segment(name) = entry.object
                && name.is_background()
            {
                *self.0.entry(name).or_default() += entry.len;
            }
        }
    }

    /// then all partitions' pages, whose entries stay where they are.
    pub fn drop_pages(&mut self, partition: &PartitionState) {
        for (name, _) in partition.pages().iter().flat_map(|page| &page.objects) {
            self.0.remove(name);
        }
    }

    /// `len`: of the object, in bytes.
    pub fn is_sparse(&self, name: &SegmentName, len: u64) -> bool {
        self.0.get(name).is_some_and(|bytes| bytes.saturating_mul(SPARSE) < len)
    }
}
