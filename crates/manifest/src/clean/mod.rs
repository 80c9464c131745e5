//! Cleaning (4.5, 4.6): the log floor, slots below it, and what snapshots have left. A duty of the last author; several at once
//! are safe.
//!
//! Order: every slot that the floor is to pass is looked at by a HEAD of its own, which may take long; CURRENT is read and gets the new
//! floor at once, swapped from exactly what was read; only then slots are deleted. A crash in between leaves slots below the floor, and a late writer
//! may make some anew; a list finds them. Nothing but garbage is ever found by a list.

pub mod expire;
pub(crate) mod plan;

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use lakebed_record::Slot;
use lakebed_record::keys::{self, Key};
use lakebed_record::ops::OpKind;
use lakebed_store::env::Env;
use lakebed_store::{Fault, Listed, Store, list};

use self::plan::{StandingFloor, Stop};
use crate::control::Current;
use crate::current;
use crate::settled;
use crate::snapshot::{self, SnapshotError};
use crate::state::State;

/// How much a round of cleaning may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cleaning {
    /// Slots that are looked at, and so deleted, in a round (once a minute).
    pub slots_per_round: u64,
    /// Requests at a time.
    pub parallel: usize,
}

impl Default for Cleaning {
    /// More than 100 commits/s write, so that a cleaner that was away catches up.
    fn default() -> Cleaning {
        Cleaning { slots_per_round: 10_000, parallel: 32 }
    }
}

/// While slots become old one by one, they are looked at this often in the time that makes them old: each look asks about some that are still young.
const LOOKS_PER_AGE: i64 = 96;

/// When the floor may be swapped into CURRENT: each swap makes a snapshot that is being written start over.
#[derive(Clone, Copy, Debug)]
pub struct FloorSwaps<'a> {
    /// The floor rises by so many slots at least, or to the highest that it may have.
    pub at_least: u64,
    /// While set, the floor waits.
    pub snapshot_under_way: &'a AtomicBool,
}

/// What rounds of one process remember; losing it costs requests, nothing else.
#[derive(Debug, Default)]
pub struct Progress {
    /// Slots below it were found old enough.
    checked: Slot,
    /// Not before (monotonic).
    look_again_at: Duration,
    /// The applied slot when snapshots or live records stopped the floor.
    stopped_at: Option<Slot>,
    listed_at: Option<Duration>,
    snapshots_listed_at: Option<Duration>,
    /// This node has made CURRENT drop a snapshot since.
    snapshot_replaced: bool,
}

impl Progress {
    pub fn on_snapshot(&mut self) {
        self.snapshot_replaced = true;
        self.stopped_at = None;
    }

    fn slots_due(&self, now: Duration, state: &State) -> bool {
        now >= self.look_again_at && self.stopped_at != Some(state.slot())
    }

    fn due(at: Option<Duration>, now: Duration, every: Duration) -> bool {
        at.is_none_or(|at| now >= at + every)
    }
}

/// What a round did.
#[derive(Debug, Default)]
pub struct Cleaned {
    /// The floor that CURRENT has, if it was read.
    pub floor: Option<Slot>,
    pub slots_deleted: u64,
    pub snapshot_objects_deleted: u64,
    /// Something that nobody may delete is gone.
    pub alarm: Option<String>,
    /// For the next group: what has expired.
    pub expired: Vec<OpKind>,
}

/// One round on a state as it was applied. What fails is left to a later round.
pub async fn round(
    store: &dyn Store,
    env: &Env,
    state: &State,
    config: &Cleaning,
    swaps: FloorSwaps<'_>,
    progress: &mut Progress,
) -> (Cleaned, Result<(), SnapshotError>) {
    let mut round = Round { store, env, state, config, swaps, progress, cleaned: Cleaned::default() };
    let result = round.run().await;
    (round.cleaned, result)
}

struct Round<'a> {
    store: &'a dyn Store,
    env: &'a Env,
    state: &'a State,
    config: &'a Cleaning,
    swaps: FloorSwaps<'a>,
    progress: &'a mut Progress,
    cleaned: Cleaned,
}

impl Round<'_> {
    async fn run(&mut self) -> Result<(), SnapshotError> {
        let now = self.env.clock.monotonic();
        let every = self.state.waits().list_every;
        let slots = self.progress.slots_due(now, self.state);
        let leftovers = Progress::due(self.progress.listed_at, now, every);
        let snapshots = self.progress.snapshot_replaced || Progress::due(self.progress.snapshots_listed_at, now, every);
        if !(slots || leftovers || snapshots) {
            return Ok(());
        }
        let mut current = current::read(self.store, self.env).await?.0;
        self.cleaned.floor = Some(Slot(current.log_floor));
        if slots {
            current = self.clean_slots(current).await?;
        }
        if leftovers {
            self.clean_leftovers(StandingFloor::of(&current)).await?;
            self.progress.listed_at = Some(now);
        }
        if snapshots {
            self.clean_snapshots(&current).await?;
            self.progress.snapshot_replaced = false;
            self.progress.snapshots_listed_at = Some(now);
        }
        Ok(())
    }

    /// Moves the floor and deletes what it has passed; returns CURRENT as it is known to be.
    async fn clean_slots(&mut self, current: Current) -> Result<Current, SnapshotError> {
        let standing = Slot(current.log_floor);
        let first = self.progress.checked.max(standing);
        let limit = plan::limit(&current, self.state);
        let end = limit.min(first.plus(self.config.slots_per_round));
        let seen = self.look(first, end).await;
        let (checked, stop) = plan::floor_after(first, &seen);
        self.progress.checked = checked;
        if let Stop::Gone(slot) = stop {
            self.look_into(slot).await?;
        }
        if checked <= standing {
            self.remember(stop, end == limit);
            return Ok(current);
        }
        let (current, version) = current::read(self.store, self.env).await?;
        let (standing, highest) = (Slot(current.log_floor), plan::limit(&current, self.state));
        let floor = checked.min(highest);
        if floor < highest && floor.0 < standing.0.saturating_add(self.swaps.at_least) || floor <= standing {
            self.remember(stop, end == limit);
            return Ok(current);
        }
        let next = current.with_floor(floor, self.env.entropy.u128());
        // If somebody else changes CURRENT at this very moment, the next round tries again.
        if self.swaps.snapshot_under_way.load(Ordering::Relaxed)
            || !current::swap(self.store, self.env, &version, &next).await?
        {
            return Ok(current);
        }
        self.remember(stop, end == limit);
        self.cleaned.floor = Some(floor);
        let passed = (standing.0..floor.0).map(|slot| keys::log(Slot(slot))).collect();
        self.delete_slots(StandingFloor::of(&next), passed).await;
        Ok(next)
    }

    /// Each slot by a response of its own.
    async fn look(&self, first: Slot, end: Slot) -> Vec<plan::Seen> {
        let (store, slot_age_ms) = (self.store, self.state.waits().slot_age_ms);
        let mut heads = stream::iter((first.0..end.0).map(Slot))
            .map(|slot| async move { plan::seen(&store.head(&keys::log(slot)).await, slot_age_ms) })
            .buffered(self.config.parallel);
        let mut all = Vec::new();
        while let Some(seen) = heads.next().await {
            all.push(seen);
            if seen != plan::Seen::Old {
                break;
            }
        }
        all
    }

    fn remember(&mut self, stop: Stop, at_limit: bool) {
        let now = self.env.clock.monotonic();
        match stop {
            Stop::Young(ms) => {
                let wait = ms.max(self.state.waits().slot_age_ms / LOOKS_PER_AGE).max(0);
                self.progress.look_again_at = now + Duration::from_millis(wait as u64);
            }
            Stop::End if at_limit => self.progress.stopped_at = Some(self.state.slot()),
            Stop::End | Stop::Gone(_) | Stop::Unknown => {}
        }
    }

    /// A slot at or past the floor is not there: right only if another cleaner has moved the floor past it.
    async fn look_into(&mut self, slot: Slot) -> Result<(), SnapshotError> {
        let floor = current::read(self.store, self.env).await?.0.log_floor;
        if slot.0 >= floor {
            let alarm = format!(
                "slot {slot} is gone although the log floor is {floor}: something else deletes from this bucket"
            );
            tracing::error!(%slot, floor, "{alarm}");
            self.cleaned.alarm = Some(alarm);
        }
        Ok(())
    }

    async fn clean_leftovers(&mut self, floor: StandingFloor) -> Result<(), SnapshotError> {
        let prefix = keys::log_prefix();
        let mut pages = pin!(list::pages(self.store, &prefix));
        while let Some(page) = pages.next().await {
            let slots: Vec<Key> = listed(&prefix, page)?.collect();
            let at_floor = slots.iter().any(|key| floor.keeps(key));
            self.delete_slots(floor, slots).await;
            if at_floor {
                break;
            }
        }
        Ok(())
    }

    async fn delete_slots(&mut self, floor: StandingFloor, slots: Vec<Key>) {
        let permitted = slots.into_iter().filter(|key| floor.permits(key)).collect();
        self.cleaned.slots_deleted += self.delete(permitted).await;
    }

    async fn clean_snapshots(&mut self, current: &Current) -> Result<(), SnapshotError> {
        let mut named = BTreeSet::new();
        for kept in &current.snapshots {
            named.extend(snapshot::part_keys(self.store, self.env, kept).await?);
        }
        let mut pages = pin!(list::pages(self.store, keys::SNAPSHOTS));
        while let Some(page) = pages.next().await {
            let listed = listed(keys::SNAPSHOTS, page)?;
            let garbage = listed.filter(|key| plan::snapshot_garbage(current, &named, key)).collect();
            self.cleaned.snapshot_objects_deleted += self.delete(garbage).await;
        }
        Ok(())
    }

    /// Returns how many deletes were answered; the rest, which the store refuses, is found by a list.
    async fn delete(&self, keys: Vec<Key>) -> u64 {
        let (store, env) = (self.store, self.env);
        let deletes = stream::iter(keys).map(|key| async move { settled::delete(store, env, &key).await.is_ok() });
        deletes.buffer_unordered(self.config.parallel).filter(|done| std::future::ready(*done)).count().await as u64
    }
}

fn listed(prefix: &str, page: Result<Vec<Listed>, Fault>) -> Result<impl Iterator<Item = Key>, SnapshotError> {
    let page = page.map_err(|fault| SnapshotError::List { prefix: prefix.into(), fault })?;
    Ok(page.into_iter().map(|o| o.key))
}

#[cfg(test)]
mod tests;
