//! Every content that CURRENT has had, and whether it was swapped by the rules (4.5, 4.6).

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use lakebed_record::Slot;
use lakebed_record::envelope::{self, Kind};
use lakebed_record::keys::{self, Key};
use prost::Message;

use super::past::Past;
use crate::sim::world::World;

#[derive(Clone, PartialEq, Message)]
struct SnapshotIndex {
    #[prost(message, repeated, tag = "2")]
    parts: Vec<SnapshotPart>,
}

#[derive(Clone, PartialEq, Message)]
struct SnapshotPart {
    #[prost(string, tag = "3")]
    key: String,
}

/// CURRENT, from a moment on until the next one.
pub struct Control {
    pub since: Duration,
    pub floor: Slot,
    /// Newest first.
    pub snapshots: Vec<(Slot, Key)>,
}

impl Control {
    /// The slot of the newest snapshot; 0 if there is none.
    pub fn newest(&self) -> Slot {
        self.snapshots.first().map_or(Slot(0), |(slot, _)| *slot)
    }
}

/// Oldest first.
pub fn controls(world: &World) -> Vec<Control> {
    let swaps = world.bucket.swaps_of_current().into_iter();
    let read = |(since, bytes): (Duration, Bytes)| {
        let control = control(since, &bytes);
        if control.is_none() {
            world.violation("CURRENT cannot be read".into());
        }
        control
    };
    swaps.filter_map(read).collect()
}

fn control(since: Duration, current: &Bytes) -> Option<Control> {
    let body = envelope::open(Kind::Current, current).and_then(|h| envelope::body(&h, current)).ok()?;
    let json: serde_json::Value = serde_json::from_slice(body).ok()?;
    let snapshot = |s: &serde_json::Value| Some((Slot(s["slot"].as_u64()?), Key::new(s["index"].as_str()?)));
    let snapshots = json["snapshots"].as_array()?.iter().map(snapshot).collect::<Option<_>>()?;
    Some(Control { since, floor: Slot(json["log_floor"].as_u64()?), snapshots })
}

/// The parts that an index names, whether it is still there or not.
pub fn parts(world: &World, index: &Key) -> Vec<Key> {
    let index = world.bucket.ledger().first(index).and_then(|life| {
        let header = envelope::open(Kind::SnapshotIndex, &life.bytes).ok()?;
        SnapshotIndex::decode(envelope::body(&header, &life.bytes).ok()?).ok()
    });
    index.into_iter().flat_map(|i| i.parts).map(|p| Key::new(p.key)).collect()
}

/// Each part of a new snapshot was named by the CURRENT that was swapped, or made while that was the current one (4.6).
pub fn check_reuse(world: &World, controls: &[Control]) {
    for pair in controls.windows(2) {
        let [before, after] = pair else { continue };
        let protected: BTreeSet<Key> = before.snapshots.iter().flat_map(|(_, index)| parts(world, index)).collect();
        let fresh = |part: &Key| world.bucket.ledger().first(part).is_some_and(|life| life.from >= before.since);
        for (_, index) in after.snapshots.iter().filter(|s| !before.snapshots.contains(s)) {
            world.count("outcome snapshot swapped");
            for part in parts(world, index) {
                if !fresh(&part) && !protected.contains(&part) {
                    world.violation(format!("snapshot {index} names part {part}, which nothing had protected"));
                }
            }
        }
    }
}

/// While CURRENT names a snapshot, its index and its parts are there.
pub fn check_snapshots_stay(world: &World, controls: &[Control]) {
    let ends = controls.iter().skip(1).map(|c| Some(c.since)).chain([None]);
    for (control, end) in controls.iter().zip(ends) {
        for (_, index) in &control.snapshots {
            for key in parts(world, index).iter().chain([index]) {
                let lives = world.bucket.ledger().lives(key);
                if !lives.iter().any(|life| life.covers(control.since, end)) {
                    world.violation(format!(
                        "{key} of a snapshot that CURRENT names was not there all the time: {lives:?}"
                    ));
                }
            }
        }
    }
}

/// Each time the floor moved: past no kept snapshot, no records that an entry names, no slot that is too young.
pub fn check_floors(world: &World, controls: &[Control], past: &Past) {
    let waits = world.plan.waits();
    // Dates and times of last modification have whole seconds.
    let age = Duration::from_millis(waits.slot_age_ms as u64 - 1_000);
    for pair in controls.windows(2) {
        let [Control { floor: before, .. }, Control { since, floor, snapshots }] = pair else { continue };
        if floor == before {
            continue;
        }
        world.count("outcome floor moved");
        if floor < before {
            world.violation(format!("the floor went back from {before} to {floor}"));
        }
        match snapshots.iter().map(|(slot, _)| *slot).min() {
            Some(oldest) if *floor <= oldest.next() => {}
            oldest => world.violation(format!("floor {floor} is past the oldest kept snapshot {oldest:?}")),
        }
        let head = past.head_at(*since);
        if let Some(inline) = past.after(head).first_inline.filter(|inline| inline < floor) {
            world.violation(format!("floor {floor} is past slot {inline}, whose records are named at slot {head}"));
        }
        for slot in (before.0..floor.0).map(Slot) {
            let made = world.bucket.ledger().first(&keys::log(slot)).map(|life| life.from);
            if made.is_none_or(|made| made + age > *since) {
                world.violation(format!("the floor passed slot {slot} at {since:?}, which was made at {made:?}"));
            }
        }
    }
}
