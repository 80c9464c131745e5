//! What waits for a flush, and the planner that watches it; one lock around both.

use std::collections::VecDeque;
use std::time::Duration;

use super::assemble::Batch;
use super::planner::{Decision, Planner, Policy, Reason, Shape};
use crate::api::AppendError;

#[derive(Debug)]
pub struct Queue {
    pub planner: Planner,
    batches: VecDeque<Batch>,
    commit_p50: Duration,
    /// When the driver wakes by itself; `None`: only when told.
    armed: Option<Duration>,
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
            Decision::Idle => self.closed,
        }
    }

    pub fn step(&mut self, now: Duration, commit_p50: Duration) -> Step {
        self.commit_p50 = commit_p50;
        let step = match self.planner.decide(now, commit_p50) {
            Decision::Flush(reason, shape) => return self.take(reason, shape, now),
            Decision::WakeAt(at) => Step::WakeAt(at),
            Decision::Idle if self.closed && self.batches.is_empty() => Step::Finished,
            Decision::Idle => Step::Sleep,
        };
        self.armed = if let Step::WakeAt(at) = step { Some(at) } else { None };
        step
    }

    fn take(&mut self, reason: Reason, shape: Shape, now: Duration) -> Step {
        let number = self.next_flush;
        self.next_flush += 1;
        self.planner.started(shape, now);
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
        for batch in &taken.batches {
            self.planner.taken(batch.connection.id, batch.len());
        }
        Step::Start(taken)
    }

    /// Lets go of batches that were answered as dropped.
    pub fn drop_expired(&mut self) {
        let planner = &mut self.planner;
        self.batches.retain(|batch| {
            let queued = batch.is_queued();
            if !queued {
                planner.taken(batch.connection.id, batch.len());
            }
            queued
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
