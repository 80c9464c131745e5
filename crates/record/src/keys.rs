//! The keys of section 2: what stands where in the bucket, relative to the store's prefix.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use crate::ids::{DataObject, Incarnation, SegmentName, Slot};

/// An object key below the store's prefix: segments of `[A-Za-z0-9._-]` joined by `/`, none of them `.` or `..`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// # Panics
    /// If `key` is not of the form above: keys are made by the functions here, never from outside input.
    pub fn new(key: impl AsRef<str>) -> Key {
        let key = key.as_ref();
        Key::listed(key).unwrap_or_else(|| panic!("not an object key: {key:?}"))
    }

    /// A name that a store listed; `None` if it is of another form, so that somebody else put it there.
    pub fn listed(name: &str) -> Option<Key> {
        let fine = |s: &str| {
            !s.is_empty()
                && s != "."
                && s != ".."
                && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        name.split('/').all(fine).then(|| Key(name.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Keys are ordered as their texts are.
impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The only shard of the log so far; part of every key and header.
pub const SHARD: u16 = 0;

pub fn format() -> Key {
    Key::new("FORMAT")
}

pub fn current() -> Key {
    Key::new("CURRENT")
}

pub fn log(slot: Slot) -> Key {
    Key::new(std::format!("log/{SHARD:02}/{:020}", slot.0))
}

pub fn snapshot_index(slot: Slot, node: Incarnation, attempt: u64) -> Key {
    Key::new(std::format!("snapshots/{:020}-{node}-{attempt}/index", slot.0))
}

pub fn snapshot_part(slot: Slot, node: Incarnation, number: u64) -> Key {
    Key::new(std::format!("snapshots/parts/{:020}-{node}-{number}", slot.0))
}

/// The two hex digits come from a hash of the name, so that requests spread over S3's prefixes.
pub fn segment(name: &SegmentName) -> Key {
    let rest = std::format!("{:016}-{}-{}", name.fence.0, name.node, name.number);
    let spread = xxhash_rust::xxh3::xxh3_64(rest.as_bytes()) as u8;
    Key::new(std::format!("segments/{spread:02x}/{rest}"))
}

pub fn data(object: &DataObject) -> Key {
    match object {
        DataObject::Inline(slot) => log(*slot),
        DataObject::Segment(name) => segment(name),
    }
}

/// Objects of a conformance probe; `run` is random, names are never reused.
pub fn probe(run: u64, name: &str) -> Key {
    Key::new(std::format!("probe/{run:016x}/{name}"))
}
