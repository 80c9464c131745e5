//! What waits for a flush, and the planner that watches it; one lock around both.

use std::collections::VecDeque;
use std::time::Duration;

use super::assemble::Batch;
use super::planner::{Decision, Planner, Policy, Reason, Shape};
use crate::api::AppendError;

/// Batches that cannot go are looked through so often for those whose time is up.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct Queue {
    pub planner: Planner,
    batches: VecDeque<Batch>,
    commit_p50: Duration,
    /// When the driver wakes by itself; `None`: only when told.
    armed: Option<Duration>,
    /// When expired batches are looked for next.
    next_sweep: Duration,
    next_flush: u64,
    closed: bool,
}

/// What one flush takes with it.
#[derive(Debug)]
pub struct Taken {
    pub number: u64,
    pub shape: Shape,
    pub reason: Reason,
    pub batches: Vec<Batch>,
}

#[derive(Debug)]
pub enum Step {
    Start(Taken),
    WakeAt(Duration),
    /// Until told.
    Sleep,
    /// Closed, and everything has been taken.
    Finished,
}

impl Queue {
    pub fn new(policy: Policy) -> Queue {
        Queue {
            planner: Planner::new(policy),
            batches: VecDeque::new(),
            commit_p50: Duration::ZERO,
            armed: None,
            next_sweep: Duration::ZERO,
            next_flush: 1,
            closed: false,
        }
    }

    pub fn is_closed(&self) -> bool {
        self.closed
    }

    pub fn push(&mut self, batch: Batch, now: Duration) {
        self.planner.pushed(batch.connection.id, batch.connection.window(), batch.len(), now);
        self.batches.push_back(batch);
    }

    /// Back to the front, in their order.
    pub fn push_front(&mut self, batches: Vec<Batch>, now: Duration) {
        for batch in batches.into_iter().rev() {
            self.planner.pushed(batch.connection.id, batch.connection.window(), batch.len(), now);
            self.batches.push_front(batch);
        }
    }

    /// True if the driver sleeps past what is due now.
    pub fn should_wake(&self, now: Duration) -> bool {
        match self.planner.decide(now, self.commit_p50) {
            Decision::Flush(..) => true,
            Decision::WakeAt(at) => self.armed.is_none_or(|armed| at < armed),
            // Somebody has to look for those whose time is up.
            Decision::Idle => self.closed || (self.armed.is_none() && !self.batches.is_empty()),
        }
    }

    pub fn step(&mut self, now: Duration, commit_p50: Duration) -> Step {
        self.commit_p50 = commit_p50;
        if now >= self.next_sweep {
            self.drop_expired(now);
        }
        let step = match self.planner.decide(now, commit_p50) {
            Decision::Flush(reason, shape) => return self.take(reason, shape, now),
            Decision::WakeAt(at) => Step::WakeAt(at),
            Decision::Idle if !self.batches.is_empty() => Step::WakeAt(self.next_sweep),
            Decision::Idle if self.closed => Step::Finished,
            Decision::Idle => Step::Sleep,
        };
        self.armed = if let Step::WakeAt(at) = step { Some(at) } else { None };
        step
    }

    fn take(&mut self, reason: Reason, shape: Shape, now: Duration) -> Step {
        let number = self.next_flush;
        self.next_flush += 1;
        let max = self.planner.policy().max_flush();
        let mut taken = Taken { number, shape, reason, batches: Vec::new() };
        let mut bytes = 0;
        while bytes < max
            && let Some(batch) = self.batches.pop_front()
        {
            batch.connection.taken(number);
            bytes += batch.len();
            taken.batches.push(batch);
        }
        self.planner.started(shape, bytes, now);
        for batch in &taken.batches {
            self.planner.taken(batch.connection.id, batch.len());
        }
        Step::Start(taken)
    }

    /// Some batches were answered as dropped: the next step lets go of them.
    pub fn some_expired(&mut self) {
        self.next_sweep = Duration::ZERO;
    }

    fn drop_expired(&mut self, now: Duration) {
        self.next_sweep = now + SWEEP_EVERY;
        let planner = &mut self.planner;
        self.batches.retain(|batch| {
            let wanted = batch.is_wanted(now);
            if !wanted {
                planner.taken(batch.connection.id, batch.len());
            }
            wanted
        });
    }

    pub fn close(&mut self) {
        self.closed = true;
        self.planner.close();
    }

    /// Answers everything that still waits as dropped.
    pub fn refuse_rest(&mut self) {
        for batch in std::mem::take(&mut self.batches) {
            self.planner.taken(batch.connection.id, batch.len());
            batch.request.finish(batch.index, Err(AppendError::Stopping));
        }
    }
}
