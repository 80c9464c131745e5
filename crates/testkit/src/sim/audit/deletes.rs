//! Whether what was deleted might be: by the floor that CURRENT had, and by every state that there was, then and later.

use std::time::Duration;

use lakebed_record::envelope::{self, Kind};
use lakebed_record::keys::{self, Key, Name};
use lakebed_record::{SegmentName, Slot};

use super::past::Past;
use super::swaps::Control;
use crate::ledger::Life;
use crate::sim::world::World;

/// Slots go below the floor alone, and after it has moved (4.5).
pub fn check_slots(world: &World, controls: &[Control]) {
    for (key, lives) in world.bucket.ledger().all(&keys::log_prefix()) {
        let Some(Name::Log(slot)) = keys::parse(&key) else { continue };
        if lives.len() > 1 {
            world.count("outcome slot made anew below the floor");
        }
        for at in lives.iter().filter_map(|life| life.until) {
            world.count("outcome slot deleted");
            let floor = controls.iter().rev().find(|c| c.since <= at).map_or(Slot(0), |c| c.floor);
            if slot >= floor {
                world.violation(format!("slot {slot} was deleted at {at:?}, when the floor was {floor}"));
            }
        }
    }
}

/// Segments and pages go when no state names them, then or later, and log time is past the window (4.5).
pub fn check_segments(world: &World, past: &Past) {
    let window = world.plan.waits().window_ms;
    for (key, lives) in world.bucket.ledger().all("segments/") {
        let Some(Name::Segment(name)) = keys::parse(&key) else {
            world.violation(format!("{key} is no name of a segment"));
            continue;
        };
        for (life, at) in lives.iter().filter_map(|life| Some((life, life.until?))) {
            world.count(&format!("outcome {} deleted", what(life)));
            if let Some(why) = too_early(past, &name, window, at) {
                world.violation(format!("{key} was deleted at {at:?}: {why}"));
            }
        }
    }
}

fn too_early(past: &Past, name: &SegmentName, window: i64, at: Duration) -> Option<String> {
    let head = past.head_at(at);
    let now = past.after(head).log_time;
    match past.naming(name) {
        None if now > name.fence.0 + window => None,
        // What merges or seals deletes its own output once it knows that it will not be named; and nobody asked for it later.
        None if name.is_background() && past.asked_for(name).is_none_or(|slot| slot <= head) => None,
        None => Some(format!("it might still have been named at slot {head}, log time {now}")),
        Some(naming) if naming.last >= head => {
            Some(format!("slot {head} was the last one, and it is named: {naming:?}"))
        }
        // The op that took its last reference was applied at the log time before its commit's own step.
        Some(naming) if now > past.after(naming.last).log_time + window => None,
        Some(naming) => Some(format!("readers may still have wanted it at slot {head}, log time {now}: {naming:?}")),
    }
}

fn what(life: &Life) -> &'static str {
    if envelope::open(Kind::IndexPage, &life.bytes).is_ok() { "page" } else { "segment" }
}

/// Every object that a state names is there as long as one does.
pub fn check_named(world: &World, past: &Past) {
    for (name, naming) in past.named() {
        let key = keys::segment(name);
        let from = past.after(naming.first).since;
        let until = (naming.last < past.head()).then(|| past.after(naming.last.next()).since);
        let lives = world.bucket.ledger().lives(&key);
        if !lives.iter().any(|life| life.covers(from, until)) {
            let lives: Vec<_> = lives.iter().map(|l| (l.from, l.until)).collect();
            world.violation(format!("{key} was not there while it was named, {naming:?} from {from:?}: {lives:?}"));
        }
    }
}

/// What goes of snapshots is counted; [`super::swaps::check_snapshots_stay`] tells whether it was needed.
pub fn count_snapshots(world: &World) {
    for (key, lives) in world.bucket.ledger().all(keys::SNAPSHOTS) {
        let what = if is_index(&key) { "index" } else { "part" };
        let gone = lives.iter().filter(|life| life.until.is_some()).count() as u64;
        world.nemesis.tally.count(&format!("outcome snapshot {what} deleted"), gone);
    }
}

fn is_index(key: &Key) -> bool {
    key.as_str().ends_with("/index")
}
