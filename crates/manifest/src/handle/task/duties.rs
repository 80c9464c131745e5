//! What a node does for the whole cluster beside its own commits: snapshots, cleaning, expiry. Duties of authors; several nodes doing
//! one at once are safe, and a crash leaves it to the next.

use std::sync::atomic::Ordering;
use std::time::Duration;

use lakebed_record::Slot;

use super::{Done, Task};
use crate::clean::{self, Cleaned, FloorSwaps, Progress, expire};
use crate::log::TimeView;
use crate::snapshot::{self, Namer, SnapshotError, Written};
use crate::state::State;

/// A snapshot is taken over when CURRENT names one this many times its interval behind (7,500 slots at 5,000).
const TAKE_OVER_HALVES: u64 = 3;
/// While slots become old one by one, the floor rises in steps of this part of the interval between snapshots.
const FLOOR_STEPS: u64 = 2;

/// Snapshots.
impl Task {
    pub(super) fn snapshot_duty(&mut self, slot: Slot, own: bool) {
        let every = self.shared.state.read().waits().slots_apart(self.config.snapshot_every);
        let behind = slot.0.saturating_sub(self.last_snapshot.0);
        let take_over = every * TAKE_OVER_HALVES / 2;
        if own && slot.0.is_multiple_of(every) {
            self.start_snapshot(1);
        } else if behind > take_over {
            self.start_snapshot(take_over);
        }
    }

    /// `least`: how many slots CURRENT must be behind for the duty to be this node's.
    fn start_snapshot(&mut self, least: u64) {
        let now = self.now();
        let apart = self.shared.state.read().waits().snapshot_apart;
        if self.last_snapshot_at.is_some_and(|at| now < at + apart) {
            return;
        }
        let Some(mut namer) = self.namer.take() else { return };
        self.last_snapshot_at = Some(now);
        self.writing_snapshot.store(true, Ordering::Relaxed);
        let (store, env) = (self.store.clone(), self.env.clone());
        let state: State = self.shared.state.read().clone();
        self.running.push(Box::pin(async move {
            let slot = state.slot();
            let result = snapshot::write(store.as_ref(), &env, &state, &mut namer, least).await;
            (Done::Snapshot { namer, slot, result }, None)
        }));
    }

    pub(super) fn on_snapshot(&mut self, namer: Namer, slot: Slot, result: Result<Written, SnapshotError>) {
        self.namer = Some(namer);
        self.writing_snapshot.store(false, Ordering::Relaxed);
        match result {
            Ok(Written::Swapped { parts, reused }) => {
                tracing::info!(%slot, parts, reused, "wrote a snapshot");
                self.last_snapshot = self.last_snapshot.max(slot);
                let mut status = self.shared.status.lock();
                status.snapshots_written += 1;
                status.last_snapshot = self.last_snapshot;
                self.snapshot_written = true;
            }
            Ok(Written::NotNewer(newest)) => self.last_snapshot = self.last_snapshot.max(newest),
            Ok(Written::Contended) => tracing::warn!(%slot, "gave a snapshot up: CURRENT kept changing"),
            Err(error) => tracing::warn!(%slot, %error, "writing a snapshot failed; the next duty tries again"),
        }
    }
}

/// Cleaning and expiry.
impl Task {
    pub(super) fn duties_wake(&self) -> Option<Duration> {
        let on = self.config.cleaning.is_some() && self.last_author && self.shutdown.is_none();
        let round = (on && self.progress.is_some()).then_some(self.next_round);
        round.into_iter().chain(self.tick_at.filter(|_| on)).min()
    }

    pub(super) fn start_round(&mut self, now: Duration) {
        let Some(config) = self.config.cleaning else { return };
        if !self.last_author || self.shutdown.is_some() || self.core.registered().is_none() || now < self.next_round {
            return;
        }
        let Some(mut progress) = self.progress.take() else { return };
        let (store, env) = (self.store.clone(), self.env.clone());
        let state: State = self.shared.state.read().clone();
        if std::mem::take(&mut self.snapshot_written) {
            progress.on_snapshot();
        }
        self.next_round = now + state.waits().round_every;
        let (me, shared) = (self.core.incarnation(), self.shared.clone());
        let writing_snapshot = self.writing_snapshot.clone();
        let at_least = state.waits().slots_apart(self.config.snapshot_every) / FLOOR_STEPS;
        self.running.push(Box::pin(async move {
            let swaps = FloorSwaps { at_least, snapshot_under_way: &writing_snapshot };
            let (mut cleaned, result) = clean::round(store.as_ref(), &env, &state, &config, swaps, &mut progress).await;
            // A round may take long: whoever has written since is not silent.
            let state = shared.state.read().clone();
            cleaned.expired = expire::plan(&state, me).await;
            (Done::Cleaned { progress, cleaned, result }, None)
        }));
    }

    pub(super) fn on_cleaned(&mut self, progress: Progress, cleaned: Cleaned, result: Result<(), SnapshotError>) {
        self.progress = Some(progress);
        let now = self.now();
        let expired = !cleaned.expired.is_empty() && self.expiring.is_none() && self.shutdown.is_none();
        if expired {
            let ops = cleaned.expired.into_iter().map(Into::into).collect();
            self.expiring = Some(self.core.submit(ops, Vec::new(), now));
        }
        if let Err(error) = &result {
            tracing::warn!(%error, "a round of cleaning was cut short; the next one goes on");
        }
        let mut status = self.shared.status.lock();
        let status = &mut status.cleaning;
        status.rounds += 1;
        status.failures += u64::from(result.is_err());
        status.expiries += u64::from(expired);
        status.floor = status.floor.max(cleaned.floor.unwrap_or_default());
        status.slots_deleted += cleaned.slots_deleted;
        status.snapshot_objects_deleted += cleaned.snapshot_objects_deleted;
        if cleaned.alarm.is_some() {
            status.alarm = cleaned.alarm;
        }
    }

    /// While anything waits to expire, the last author keeps log time going; an idle cluster with nothing waiting writes nothing.
    pub(super) fn ticking(&mut self, time: TimeView) -> bool {
        self.tick_at = None;
        if self.config.cleaning.is_none() || !self.last_author || self.shutdown.is_some() {
            return false;
        }
        let state = self.shared.state.read();
        let fresh_for = state.waits().stale_ms - (time.wall_ms - state.log_time().0);
        if fresh_for >= 0 {
            self.tick_at = Some(time.now + Duration::from_millis(fresh_for.unsigned_abs() + 1));
            return false;
        }
        state.anything_expires()
    }
}
