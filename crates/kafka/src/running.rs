//! Requests under way on one connection: they finish in any order and are taken in theirs.
//!
//! What only reads ends with its connection, and so does every reply that is not taken yet, with the memory that it
//! holds. What changes something goes on without anybody who listens.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::connection::{Kind, Outcome};

#[derive(Default)]
pub(crate) struct Running {
    tasks: FuturesUnordered<Task>,
    /// One for each request that is not taken yet, in their order.
    slots: VecDeque<Slot>,
    /// Requests taken so far: the number of the first slot.
    taken: u64,
}

struct Slot {
    kind: Kind,
    free_bytes: usize,
    outcome: Option<Outcome>,
}

pub(crate) struct Finished {
    pub kind: Kind,
    /// Bytes for which no permit was taken.
    pub free_bytes: usize,
    pub outcome: Outcome,
}

impl Running {
    pub fn push(&mut self, kind: Kind, free_bytes: usize, outcome: BoxFuture<'static, Outcome>) {
        let number = self.taken + self.slots.len() as u64;
        self.slots.push_back(Slot { kind, free_bytes, outcome: None });
        self.tasks.push(Task { number, kind, outcome });
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The oldest, once it has finished; `None` without any. Cancelling loses nothing.
    pub async fn next(&mut self) -> Option<Finished> {
        loop {
            if self.slots.front()?.outcome.is_some() {
                let Slot { kind, free_bytes, outcome } = self.slots.pop_front()?;
                self.taken += 1;
                return outcome.map(|outcome| Finished { kind, free_bytes, outcome });
            }
            let (number, outcome) = self.tasks.next().await?;
            let place = (number - self.taken) as usize;
            self.slots[place].outcome = Some(outcome);
        }
    }

    /// Forgets everything but what changes something.
    pub fn let_go(&mut self) {
        let Self { tasks, .. } = std::mem::take(self);
        let changes: FuturesUnordered<_> = tasks.into_iter().filter(|task| task.kind != Kind::Query).collect();
        if !changes.is_empty() {
            tokio::spawn(changes.for_each(|_| std::future::ready(())));
        }
    }
}

struct Task {
    number: u64,
    kind: Kind,
    outcome: BoxFuture<'static, Outcome>,
}

impl Future for Task {
    type Output = (u64, Outcome);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = ready!(self.outcome.as_mut().poll(cx));
        Poll::Ready((self.number, outcome))
    }
}
