//! The keys of section 2: what stands where in the bucket, relative to the store's prefix.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use crate::ids::{DataObject, Incarnation, LogTime, SegmentName, Slot};

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

/// What the keys of all slots start with.
pub fn log_prefix() -> String {
    std::format!("log/{SHARD:02}/")
}

/// What the keys of all indexes and parts start with.
pub const SNAPSHOTS: &str = "snapshots/";

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

/// What a key names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    Format,
    Current,
    Log(Slot),
    /// The index or a part of a snapshot made at this slot.
    Snapshot(Slot),
    /// A segment or an index page.
    Segment(SegmentName),
    /// Left by a conformance probe.
    Probe,
}

/// The inverse of the functions above; `None` for what none of them makes.
pub fn parse(key: &Key) -> Option<Name> {
    let words: Vec<&str> = key.as_str().split('/').collect();
    match words.as_slice() {
        ["FORMAT"] => Some(Name::Format),
        ["CURRENT"] => Some(Name::Current),
        ["log", _, number] => number.parse().ok().map(Slot).filter(|s| log(*s) == *key).map(Name::Log),
        ["snapshots", "parts", name] | ["snapshots", name, "index"] => snapshot_slot(name).map(Name::Snapshot),
        ["segments", _, name] => segment_name(name).filter(|n| segment(n) == *key).map(Name::Segment),
        ["probe", _, ..] => Some(Name::Probe),
        _ => None,
    }
}

fn snapshot_slot(name: &str) -> Option<Slot> {
    let mut words = name.splitn(3, '-');
    let slot = words.next().filter(|w| w.len() == 20)?.parse().ok()?;
    u64::from_str_radix(words.next()?, 16).ok()?;
    words.next()?.parse::<u64>().ok()?;
    Some(Slot(slot))
}

fn segment_name(name: &str) -> Option<SegmentName> {
    let mut words = name.splitn(3, '-');
    Some(SegmentName {
        fence: LogTime(words.next()?.parse().ok()?),
        node: Incarnation(u64::from_str_radix(words.next()?, 16).ok()?),
        number: words.next()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        let (slot, node) = (Slot(5_000), Incarnation(0xfe));
        let name = SegmentName { fence: LogTime(1_700_000_000_000), node, number: 12 };
        let cases = [
            (format(), Name::Format),
            (current(), Name::Current),
            (log(slot), Name::Log(slot)),
            (snapshot_index(slot, node, 3), Name::Snapshot(slot)),
            (snapshot_part(slot, node, 4), Name::Snapshot(slot)),
            (segment(&name), Name::Segment(name)),
            (probe(1, "a"), Name::Probe),
        ];
        for (key, name) in cases {
            assert_eq!(parse(&key), Some(name), "{key}");
        }
        for key in [
            "log/00/5",
            "log/01/00000000000000000005",
            "segments/00/1-2-3",
            "segments/x",
            "snapshots/parts/5-a-1",
            "other",
        ] {
            assert_eq!(parse(&Key::new(key)), None, "{key}");
        }
    }
}
