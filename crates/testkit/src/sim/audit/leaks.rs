//! After a long rest: what is left is needed, or too young to be told from what is needed. Neither bucket nor state grow with time.

use std::time::Duration;

use lakebed_record::keys::{self, Key, Name};
use lakebed_record::{SegmentName, Slot};

use super::past::Past;
use super::swaps::{self, Control};
use crate::sim::rest::Rested;
use crate::sim::world::World;

/// `controls`: up to the end of the rest.
pub fn check_bucket(world: &World, controls: &[Control], past: &Past, rested: Rested) {
    let Some(current) = controls.last() else { return };
    let waits = world.plan.waits();
    let head = past.head_at(rested.at);
    for key in world.bucket.keys() {
        let Some(life) = world.bucket.ledger().lives(&key).pop() else { continue };
        let (free, wait_ms) = match keys::parse(&key) {
            Some(Name::Log(slot)) if slot < current.floor => (since(controls, |c| c.floor > slot), 0),
            Some(Name::Log(slot)) => (
                free_of_records(past, slot, head).zip(free_of_snapshots(controls, slot)).map(|(a, b)| a.max(b)),
                waits.slot_age_ms,
            ),
            Some(Name::Snapshot(slot)) => {
                (unnamed(world, controls, &key).zip(since(controls, |c| c.newest() > slot)).map(|(a, b)| a.max(b)), 0)
            }
            Some(Name::Segment(name)) if world.plan.background => (named_last(past, &name, head), waits.window_ms),
            _ => continue,
        };
        let wait = Duration::from_millis(wait_ms as u64) + rested.allowance;
        if free.is_some_and(|free| rested.at > free.max(life.from) + wait) {
            world.violation(format!(
                "{key} was made at {:?}, is of no use since {free:?}, and still there at {:?}",
                life.from, rested.at
            ));
        }
    }
}

fn since(controls: &[Control], holds: impl Fn(&Control) -> bool) -> Option<Duration> {
    controls.iter().find(|c| holds(c)).map(|c| c.since)
}

/// Since when no snapshot that CURRENT names needs this object.
fn unnamed(world: &World, controls: &[Control], key: &Key) -> Option<Duration> {
    let names = |c: &Control| c.snapshots.iter().any(|(_, i)| i == key || swaps::parts(world, i).contains(key));
    match controls.iter().rposition(names) {
        None => Some(Duration::ZERO),
        Some(last) => controls.get(last + 1).map(|c| c.since),
    }
}

/// Since when no records of this slot, or of one before it, are needed: the floor passes slots in their order.
fn free_of_records(past: &Past, slot: Slot, head: Slot) -> Option<Duration> {
    let mut slots = (slot.0..=head.0).map(Slot);
    let free = slots.find(|s| past.after(*s).first_inline.is_none_or(|first| first > slot));
    free.map(|s| past.after(s).since)
}

/// Since when replay begins behind this slot, from whichever snapshot.
fn free_of_snapshots(controls: &[Control], slot: Slot) -> Option<Duration> {
    since(controls, |c| c.snapshots.iter().map(|(s, _)| *s).min().is_some_and(|oldest| oldest >= slot))
}

/// Since when nothing names the object; `None`: something does.
fn named_last(past: &Past, name: &SegmentName, head: Slot) -> Option<Duration> {
    match past.naming(name) {
        None => Some(Duration::ZERO),
        Some(naming) if naming.last >= head => None,
        Some(naming) => Some(past.after(naming.last.next()).since),
    }
}

/// What expires has expired, as far as log time tells.
pub fn check_state(world: &World, past: &Past, rested: Rested) {
    let state = &past.state;
    let now = past.after(past.head_at(rested.at)).log_time;
    let waits = state.waits();
    let past_by = |at: i64, wait_ms: i64| now - at - wait_ms > rested.allowance.as_millis() as i64;
    for (incarnation, node) in state.nodes() {
        let late = match node.down_at {
            Some(at) => past_by(at.0, waits.window_ms),
            None => past_by(node.last_seen.0, waits.node_silence_ms),
        };
        if late {
            world.violation(format!("incarnation {incarnation} has not expired: {node:?}"));
        }
    }
    for (name, since) in state.pending_deletes().filter(|_| world.plan.background) {
        if past_by(since.0, waits.window_ms) {
            world.violation(format!("{name:?} waits to be deleted since {since}"));
        }
    }
}
