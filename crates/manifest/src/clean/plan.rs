//! What may be cleaned, decided from what was read: pure, and the only place where it is decided.

use std::collections::BTreeSet;

use lakebed_record::Slot;
use lakebed_record::keys::{self, Key, Name};
use lakebed_store::{Meta, ReadError, Reply};

use crate::control::Current;
use crate::state::State;

/// What its own HEAD told of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Last-Modified is long enough before the `Date` of the same response.
    Old,
    /// It will be old in this many ms.
    Young(i64),
    /// Nobody but a cleaner deletes slots.
    Gone,
    /// No answer, or one without a `Date`.
    Unknown,
}

/// Judges a slot by one response alone: the clock of this host, and other slots, say nothing of its age.
pub fn seen(reply: &Reply<Result<Meta, ReadError>>, slot_age_ms: i64) -> Seen {
    match (&reply.value, reply.date_ms) {
        (Ok(meta), Some(date_ms)) => {
            let age = date_ms.saturating_sub(meta.last_modified_ms);
            if age >= slot_age_ms { Seen::Old } else { Seen::Young(slot_age_ms.saturating_sub(age)) }
        }
        (Err(ReadError::NotFound), _) => Seen::Gone,
        _ => Seen::Unknown,
    }
}

/// The highest floor that snapshots and live records allow: replay from the oldest kept snapshot stays possible, and every slot with
/// a live inline entry stays, and for a window of log time after the last one has left. Inline entries never come to life again,
/// so a state that lags only makes it lower.
pub fn limit(current: &Current, state: &State) -> Slot {
    let oldest = current.snapshots.iter().map(|s| s.slot).min();
    let behind_snapshot = oldest.map_or(Slot(0), |slot| Slot(slot).next());
    let behind_records = state.first_wanted_slot().unwrap_or_else(|| state.slot().next());
    behind_snapshot.min(behind_records).min(state.slot().next())
}

/// Why the floor stays where it is for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// All that was looked at may be passed.
    End,
    /// The next slot will be old enough in this many ms.
    Young(i64),
    /// There is no such slot: another cleaner was faster, or somebody deleted what nobody may delete.
    Gone(Slot),
    Unknown,
}

/// The floor after looking at the slots from `first` on, one by one: it stops at the first that it may not pass.
pub fn floor_after(first: Slot, seen: &[Seen]) -> (Slot, Stop) {
    let mut floor = first;
    for seen in seen {
        match seen {
            Seen::Old => floor = floor.next(),
            Seen::Young(ms) => return (floor, Stop::Young(*ms)),
            Seen::Gone => return (floor, Stop::Gone(floor)),
            Seen::Unknown => return (floor, Stop::Unknown),
        }
    }
    (floor, Stop::End)
}

/// A floor that CURRENT is known to have: the permit to delete slots below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StandingFloor(Slot);

impl StandingFloor {
    pub fn of(current: &Current) -> StandingFloor {
        StandingFloor(Slot(current.log_floor))
    }

    /// Whether the key is that of a slot that may be deleted.
    pub fn permits(self, key: &Key) -> bool {
        matches!(keys::parse(key), Some(Name::Log(slot)) if slot < self.0)
    }

    /// Whether the key is that of a slot which the floor has not passed.
    pub fn keeps(self, key: &Key) -> bool {
        matches!(keys::parse(key), Some(Name::Log(slot)) if slot >= self.0)
    }
}

/// Indexes and parts of snapshots, of which `named` are those that a snapshot kept by `current` names.
///
/// What no kept snapshot names and lies before the newest one is garbage: whoever made it gives up when it finds a newer snapshot, or
/// its swap fails because CURRENT has changed. What is not before the newest one may belong to an attempt under way.
pub fn snapshot_garbage(current: &Current, named: &BTreeSet<Key>, key: &Key) -> bool {
    let indexed = current.snapshots.iter().any(|s| s.index == key.as_str());
    match keys::parse(key) {
        Some(Name::Snapshot(slot)) => !indexed && !named.contains(key) && slot < current.newest_snapshot(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
