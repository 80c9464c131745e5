//! One produce request under way: the fate of each of its batches, and the answer once all are known or time is up.
//!
//! A batch is `Queued`, then `Grouped` (it may appear from now on), then done. The request's time-out turns `Queued`
//! into "will never appear" and `Grouped` into "may still appear"; whichever of time-out and grouping comes first wins.
//!
//! A request outlives its answer: every batch on its way keeps it, and with it the memory that it was given.

use lakebed_store::env::Env;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

use crate::api::{AppendError, Appended};
use crate::memory::MemoryPermit;

pub type Outcome = Result<Appended, AppendError>;

#[derive(Debug)]
pub struct Request {
    state: Mutex<State>,
    /// When its time is up (monotonic).
    deadline: Duration,
    /// For the bytes of its batches: given back when the last of them is gone.
    _memory: Option<MemoryPermit>,
}

#[derive(Debug)]
struct State {
    batches: Vec<Stage>,
    open: usize,
    done: Option<oneshot::Sender<()>>,
}

#[derive(Debug)]
enum Stage {
    Queued,
    Grouped,
    Done(Outcome),
}

impl Request {
    /// One entry per batch: an error for those refused before they were queued.
    pub fn new(
        checked: impl Iterator<Item = Option<AppendError>>,
        deadline: Duration,
        memory: Option<MemoryPermit>,
    ) -> (Arc<Request>, Answer) {
        let batches: Vec<_> = checked.map(|error| error.map_or(Stage::Queued, |e| Stage::Done(Err(e)))).collect();
        let open = batches.iter().filter(|s| matches!(s, Stage::Queued)).count();
        let (done, answered) = oneshot::channel();
        let state = State { batches, open, done: (open > 0).then_some(done) };
        let request = Arc::new(Request { state: Mutex::new(state), deadline, _memory: memory });
        let answer = Answer { request: Arc::clone(&request), answered };
        (request, answer)
    }

    /// It still waits and nobody was told that it failed.
    pub fn is_queued(&self, index: usize) -> bool {
        matches!(self.state.lock().batches[index], Stage::Queued)
    }

    /// From here on it may be stored; false if it was dropped before.
    #[must_use]
    pub fn group(&self, index: usize) -> bool {
        let stage = &mut self.state.lock().batches[index];
        let queued = matches!(stage, Stage::Queued);
        if queued {
            *stage = Stage::Grouped;
        }
        queued
    }

    /// Its group was refused as a whole, so it waits again; false if its answer has been given meanwhile.
    #[must_use]
    pub fn requeue(&self, index: usize) -> bool {
        let stage = &mut self.state.lock().batches[index];
        let grouped = matches!(stage, Stage::Grouped);
        if grouped {
            *stage = Stage::Queued;
        }
        grouped
    }

    pub fn finish(&self, index: usize, outcome: Outcome) {
        let mut state = self.state.lock();
        if matches!(state.batches[index], Stage::Done(_)) {
            return;
        }
        state.batches[index] = Stage::Done(outcome);
        state.open -= 1;
        if state.open == 0
            && let Some(done) = state.done.take()
        {
            let _ = done.send(());
        }
    }

    pub fn is_due(&self, now: Duration) -> bool {
        now >= self.deadline
    }

    /// Time is up: what has no outcome yet gets none.
    pub fn expire(&self) {
        let mut state = self.state.lock();
        for stage in &mut state.batches {
            match stage {
                Stage::Queued => *stage = Stage::Done(Err(AppendError::TimedOut)),
                Stage::Grouped => *stage = Stage::Done(Err(AppendError::TimedOutUnderWay)),
                Stage::Done(_) => {}
            }
        }
        state.open = 0;
        state.done = None;
    }

    fn outcomes(&self) -> Vec<Outcome> {
        let outcome = |stage: &Stage| match stage {
            Stage::Done(outcome) => outcome.clone(),
            Stage::Queued | Stage::Grouped => Err(AppendError::TimedOutUnderWay),
        };
        self.state.lock().batches.iter().map(outcome).collect()
    }
}

/// The other end of a [`Request`].
#[derive(Debug)]
pub struct Answer {
    request: Arc<Request>,
    answered: oneshot::Receiver<()>,
}

/// Whether all outcomes came, or time was up first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Answered,
    Expired,
}

impl Answer {
    pub async fn wait(self, env: &Env) -> (Vec<Outcome>, Ended) {
        let Answer { request, answered } = self;
        let open = request.state.lock().open > 0;
        let mut ended = Ended::Answered;
        if open {
            let left = request.deadline.saturating_sub(env.clock.monotonic());
            let in_time = tokio::select! {
                biased;
                answered = answered => answered.is_ok(),
                () = env.clock.sleep(left) => false,
            };
            if !in_time {
                request.expire();
                ended = Ended::Expired;
            }
        }
        (request.outcomes(), ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: Outcome = Ok(Appended { base_offset: 7, log_append_time: -1, log_start_offset: 0 });

    #[tokio::test(start_paused = true)]
    async fn answers_when_the_last_batch_is_known() {
        let env = Env::system();
        let deadline = env.clock.monotonic() + Duration::from_secs(30);
        let checked = [None, Some(AppendError::UnsupportedFormat), None];
        let (request, answer) = Request::new(checked.into_iter(), deadline, None);
        assert!(request.group(0) && request.group(2));
        request.finish(2, OK);
        request.finish(0, Err(AppendError::OutOfOrderSequence));
        let (outcomes, ended) = answer.wait(&env).await;
        assert_eq!(ended, Ended::Answered);
        assert_eq!(outcomes, [Err(AppendError::OutOfOrderSequence), Err(AppendError::UnsupportedFormat), OK]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_out_tells_dropped_from_under_way() {
        let (request, answer) = Request::new([None, None, None].into_iter(), Duration::ZERO, None);
        assert!(request.group(0) && request.group(2));
        assert!(request.requeue(2));
        let (outcomes, ended) = answer.wait(&Env::system()).await;
        assert_eq!(ended, Ended::Expired);
        let expected = [AppendError::TimedOutUnderWay, AppendError::TimedOut, AppendError::TimedOut];
        assert_eq!(outcomes, expected.map(Err));
        assert!(!request.group(1), "what was reported as dropped is never stored");
        request.finish(0, OK);
    }
}
