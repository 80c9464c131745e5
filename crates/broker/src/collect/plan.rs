//! Which listed objects are garbage. Pure.

use lakebed_manifest::State;
use lakebed_record::SegmentName;
use lakebed_record::keys::{self, Key, Name};

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
