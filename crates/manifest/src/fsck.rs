//! Bucket against manifest: what is missing, cut short, overlapping or left over. Pure: a list of the bucket and a state that was
//! replayed *after* the list was taken go in, findings come out.
//!
//! A finding of kind [`Finding::Missing`] is to be confirmed by asking for the object: it may be younger than the list.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use lakebed_record::keys::{self, Key, Name};
use lakebed_record::{DataObject, Slot, TopicPartition};

use crate::clean::plan::{self, StandingFloor};
use crate::control::Current;
use crate::state::{Entry, PartitionState, State};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The manifest names it and the bucket does not have it.
    Missing { key: Key, wanted_by: String },
    /// Entries name bytes past its end.
    Short { key: Key, len: u64, needed: u64 },
    /// Two entries name the same bytes.
    Overlap { key: Key, at: u64, one: TopicPartition, other: TopicPartition },
    /// Offsets between log start and end that no entry and no page holds.
    Gap { partition: TopicPartition, from: i64, to: i64 },
    /// A slot holds something although an earlier one is empty: a writer that died may leave this, and the next one fills it.
    Hole { missing: Slot, beyond: Slot },
    /// A slot is empty so far before others that no writer can have left it: it is lost, and all later ones with it.
    LogCut { missing: Slot, last: Slot },
    /// The bytes are not what was stored.
    Corrupt { key: Key, why: String },
    /// Nothing needs it and nothing ever will.
    Orphan { key: Key, len: u64 },
    /// Not a name of ours.
    Unknown { key: Key },
}

impl Finding {
    /// Whether data is lost or may be; the rest is garbage.
    pub fn is_damage(&self) -> bool {
        !matches!(self, Finding::Orphan { .. } | Finding::Unknown { .. } | Finding::Hole { .. })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Missing { key, wanted_by } => write!(f, "missing   {key}: {wanted_by} needs it"),
            Finding::Short { key, len, needed } => write!(f, "short     {key}: {len} bytes, {needed} are needed"),
            Finding::Overlap { key, at, one, other } => {
                write!(f, "overlap   {key}: byte {at} belongs to {one} and to {other}")
            }
            Finding::Gap { partition, from, to } => {
                write!(f, "gap       {partition}: nothing holds offsets {from} to {to}")
            }
            Finding::Hole { missing, beyond } => write!(f, "hole      slot {missing} is empty, slot {beyond} is not"),
            Finding::LogCut { missing, last } => {
                write!(f, "log cut   slot {missing} is lost; slots up to {last} cannot be read")
            }
            Finding::Corrupt { key, why } => write!(f, "corrupt   {key}: {why}"),
            Finding::Orphan { key, len } => write!(f, "orphan    {key}: {len} bytes that nothing needs"),
            Finding::Unknown { key } => write!(f, "unknown   {key}: not a name of ours"),
        }
    }
}

/// Everything that the bucket holds, by key, with its length.
pub type Inventory = BTreeMap<Key, u64>;

/// Parts of the snapshots that CURRENT names, with the key of the index that names them, as far as the indexes could be read.
pub type Parts = Vec<(Key, Vec<Key>)>;

/// Compares. `pages` are the entries in the state's index pages, as far as they could be read.
pub fn check(
    inventory: &Inventory,
    current: &Current,
    parts: &Parts,
    state: &State,
    pages: &[(TopicPartition, Vec<Entry>)],
) -> Vec<Finding> {
    let mut findings = Vec::new();
    missing(inventory, current, parts, state, &mut findings);
    places(inventory, state, pages, &mut findings);
    for topic in state.topics() {
        for index in 0..topic.partitions as i32 {
            let tp = TopicPartition::new(topic.id, index);
            if let Some(partition) = state.partition(tp) {
                gaps(tp, partition, &mut findings);
            }
        }
    }
    findings.extend(hole(inventory, state.slot().next()));
    left_over(inventory, current, parts, state, &mut findings);
    findings
}

fn missing(inventory: &Inventory, current: &Current, parts: &Parts, state: &State, findings: &mut Vec<Finding>) {
    let mut want = |key: Key, wanted_by: &dyn fmt::Display| {
        if !inventory.contains_key(&key) {
            findings.push(Finding::Missing { key, wanted_by: wanted_by.to_string() });
        }
    };
    for (index, parts) in parts {
        parts.iter().for_each(|part| want(part.clone(), index));
    }
    let replayed = current
        .snapshots
        .last()
        .map_or(current.log_floor, |oldest| current.log_floor.max(oldest.slot.saturating_add(1)));
    for slot in replayed..=state.slot().0 {
        want(keys::log(Slot(slot)), &"the log");
    }
    for object in state.objects().filter(|o| !state.awaits_deletion(o)) {
        want(keys::data(&object), &"an entry or page of the state");
    }
}

/// Slots behind the first that is missing. Writers attempt only [`PIPELINE`](crate::PIPELINE) slots past what they have applied.
fn hole(inventory: &Inventory, missing: Slot) -> Option<Finding> {
    // A slot that was written between list and replay is no hole.
    let slots = inventory.range(keys::log(missing)..).map_while(|(key, _)| match keys::parse(key) {
        Some(Name::Log(slot)) => Some(slot),
        _ => None,
    });
    let slots: Vec<Slot> = slots.collect();
    let (beyond, last) = (*slots.first()?, *slots.last()?);
    if last >= missing.plus(crate::PIPELINE) {
        Some(Finding::LogCut { missing, last })
    } else {
        (beyond > missing).then_some(Finding::Hole { missing, beyond })
    }
}

/// Entries by object: within its length, and no byte twice.
fn places(inventory: &Inventory, state: &State, pages: &[(TopicPartition, Vec<Entry>)], findings: &mut Vec<Finding>) {
    let mut ranges: BTreeMap<DataObject, Vec<(u64, u64, TopicPartition)>> = BTreeMap::new();
    let mut add =
        |tp: TopicPartition, e: &Entry| ranges.entry(e.object).or_default().push((e.start, e.start + e.len, tp));
    for (tp, partition) in state.partitions() {
        partition.entries().for_each(|e| add(tp, e));
    }
    for (tp, entries) in pages {
        entries.iter().for_each(|e| add(*tp, e));
    }
    for (object, mut ranges) in ranges {
        ranges.sort_unstable();
        let key = keys::data(&object);
        let needed = ranges.iter().map(|(_, end, _)| *end).max().unwrap_or(0);
        if let Some(len) = inventory.get(&key).copied().filter(|len| *len < needed) {
            findings.push(Finding::Short { key: key.clone(), len, needed });
        }
        for pair in ranges.windows(2) {
            let [(_, end, one), (start, _, other)] = pair else { continue };
            if start < end {
                findings.push(Finding::Overlap { key: key.clone(), at: *start, one: *one, other: *other });
            }
        }
    }
}

fn gaps(tp: TopicPartition, partition: &PartitionState, findings: &mut Vec<Finding>) {
    let pages = partition.pages().iter().map(|p| (p.base_offset, p.end_offset));
    let entries = partition.entries().map(|e| (e.base_offset, e.end_offset()));
    let mut next = partition.log_start();
    for (base, end) in pages.chain(entries) {
        if base > next {
            findings.push(Finding::Gap { partition: tp, from: next, to: base - 1 });
        }
        next = next.max(end);
    }
    if next < partition.next_offset() {
        findings.push(Finding::Gap { partition: tp, from: next, to: partition.next_offset() - 1 });
    }
}

/// What nothing needs, judged as a collector would.
fn left_over(inventory: &Inventory, current: &Current, parts: &Parts, state: &State, findings: &mut Vec<Finding>) {
    let floor = StandingFloor::of(current);
    let named: BTreeSet<Key> = parts.iter().flat_map(|(_, parts)| parts).cloned().collect();
    // An index that was not read names parts that nobody here knows of.
    let all_read = current.snapshots.iter().all(|s| parts.iter().any(|(index, _)| index.as_str() == s.index));
    for (key, len) in inventory {
        let orphan = match keys::parse(key) {
            None => {
                findings.push(Finding::Unknown { key: key.clone() });
                continue;
            }
            Some(Name::Format | Name::Current) => false,
            Some(Name::Log(_)) => floor.permits(key),
            Some(Name::Snapshot(_)) => all_read && plan::snapshot_garbage(current, &named, key),
            Some(Name::Segment(name)) => state.is_orphan(&name),
            Some(Name::Probe) => true,
        };
        if orphan {
            findings.push(Finding::Orphan { key: key.clone(), len: *len });
        }
    }
}

#[cfg(test)]
mod tests;
