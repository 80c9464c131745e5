//! Duties that rest. They are the last author's; if it is gone and nobody writes, nobody does them. So every node looks now
//! and then, by reads alone. If nothing was written and the floor has not moved since its last look although something waits, it
//! ticks, and is the last author then. Two that do so at once are safe: one of the ticks loses.
//!
//! A cluster without work is never written to. Work that the new author cannot do either (a damaged batch is never merged) is taken
//! over less and less often.

use std::time::Duration;

use lakebed_record::{Slot, keys};
use lakebed_store::Store;
use lakebed_store::env::Env;

use super::{Done, Task};
use crate::clean::plan;
use crate::current::{self, CurrentError};
use crate::state::State;

/// The time between two looks at most, in units of the shortest.
const MOST: u32 = 64;

/// What a look finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    applied: Slot,
    floor: Slot,
    /// Something waits: to expire, to be merged, or to be passed by the floor.
    work: bool,
}

/// When to look, and what a look means. Pure.
#[derive(Debug)]
pub(super) struct Watch {
    every: Duration,
    /// In units of `every`.
    patience: u32,
    next: Duration,
    before: Option<(Slot, Slot)>,
}

impl Watch {
    pub fn new(every: Duration, now: Duration) -> Watch {
        Watch { every, patience: 1, next: now + every, before: None }
    }

    /// True if the duties are to be taken over.
    pub fn looked(&mut self, look: Look, now: Duration) -> bool {
        let rests = self.before.replace((look.applied, look.floor)) == Some((look.applied, look.floor));
        let take_over = rests && look.work;
        if take_over {
            self.patience = (self.patience * 2).min(MOST);
        } else if !look.work {
            self.patience = 1;
        }
        self.next = now + self.every * self.patience;
        take_over
    }
}

impl Task {
    /// Whoever takes itself for the last author looks as well: nobody may have told it of those who wrote since.
    fn watches(&self) -> bool {
        let on = self.config.cleaning.is_some() && self.shutdown.is_none() && self.core.registered().is_some();
        on && !self.looking && !self.taking_over
    }

    pub(super) fn watch_wake(&self) -> Option<Duration> {
        self.watches().then_some(self.watch.next)
    }

    /// Begins with a read barrier: a node to which nobody talks does not know what others wrote.
    pub(super) fn look_around(&mut self, now: Duration) {
        if !self.watches() || now < self.watch.next {
            return;
        }
        self.looking = true;
        let (done, passed) = tokio::sync::oneshot::channel();
        self.barriers.insert(self.core.barrier(), done);
        let (store, env, shared) = (self.store.clone(), self.env.clone(), self.shared.clone());
        self.running.push(Box::pin(async move {
            let look = match passed.await {
                Ok(()) => {
                    let state = shared.state.read().clone();
                    look(store.as_ref(), &env, &state).await.ok()
                }
                Err(_) => None,
            };
            (Done::Looked(look), None)
        }));
    }

    pub(super) fn on_looked(&mut self, look: Option<Look>) {
        self.looking = false;
        let now = self.now();
        let Some(look) = look else {
            self.watch.next = now + self.watch.every;
            return;
        };
        if self.watch.looked(look, now) && !self.last_author {
            tracing::info!(slot = %look.applied, "nobody has written for a while, and work waits: taking the duties over");
            self.taking_over = true;
        }
    }

    /// Whether to tick in order to be the last author; until somebody has written.
    pub(super) fn takes_over(&self) -> bool {
        self.taking_over && self.shutdown.is_none()
    }
}

async fn look(store: &dyn Store, env: &Env, state: &State) -> Result<Look, CurrentError> {
    let current = current::read(store, env).await?.0;
    let floor = Slot(current.log_floor);
    let waits = state.anything_expires() || state.first_inline_slot().is_some();
    let passable = || async {
        let reply = store.head(&keys::log(floor)).await;
        plan::seen(&reply, state.waits().slot_age_ms) == plan::Seen::Old
    };
    let work = waits || plan::limit(&current, state) > floor && passable().await;
    Ok(Look { applied: state.slot(), floor, work })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(1_200);

    fn look(applied: u64, floor: u64, work: bool) -> Look {
        Look { applied: Slot(applied), floor: Slot(floor), work }
    }

    #[test]
    fn work_that_rests_for_two_looks_is_taken_over_and_nothing_else_is() {
        let mut watch = Watch::new(EVERY, Duration::ZERO);
        let mut looked = |look| watch.looked(look, Duration::ZERO);
        assert!(!looked(look(7, 1, true)), "the first look knows nothing of before");
        assert!(!looked(look(8, 1, true)), "somebody writes");
        assert!(!looked(look(8, 2, true)), "somebody cleans");
        assert!(looked(look(8, 2, true)));
        assert!(!looked(look(9, 2, false)) && !looked(look(9, 2, false)), "nothing waits");
    }

    #[test]
    fn what_nobody_can_do_is_taken_over_less_and_less_often() {
        let mut watch = Watch::new(EVERY, Duration::ZERO);
        let (mut now, mut ticks) = (Duration::ZERO, 0);
        // Another node takes over in turn, so that each look finds another slot, and the next finds it again.
        for n in 0_u64.. {
            now = watch.next;
            if now > Duration::from_secs(30 * 86_400) {
                break;
            }
            ticks += u32::from(watch.looked(look(n / 2, 1, true), now));
        }
        assert!((20..40).contains(&ticks), "{ticks} in thirty days");
        watch.looked(look(99, 1, false), now);
        assert_eq!(watch.next, now + EVERY, "once the work is done, it starts anew");
    }
}
