//! Memory for replies: who may take how much of it, and who may wait for it.
//!
//! Nobody waits for ever. A permit is held by a reply that is made, by one that is finished and queued behind earlier
//! ones of its connection, and by one that is written; and *nobody who holds one waits for somebody who waits for one*:
//!
//! - Fetch takes what there is and never waits: without memory it answers little.
//! - Any other request whose reply may be large asks in its turn ([`Replies::in_turn`]): once everything before it on its
//!   connection has its outcome, and before it or anything behind it is started. So nothing on its connection is queued
//!   behind one that waits, and what was granted is queued behind nothing but bytes that are written. One that turns out
//!   to need more than it asked for takes what there is.
//! - The memory of a look-up is given back when its read ends. Who waits for it may hold a reply's, but who holds it waits
//!   for the store alone.
//!
//! So every holder gives back once it is answered, the store answers or is given up, and the client has taken its reply,
//! which it has to within [`crate::connection::Limits::taking`]; and a wait is bounded besides and ends when the node
//! stops. Each of the four kinds of use has a budget of its own, so that none starves another.

use std::time::Duration;

use lakebed_broker::api::Unavailable;
use lakebed_broker::{MemoryBudget, MemoryPermit};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use crate::connection::{Room, stopping};

/// A reply of so many bytes needs no permit, and one to Fetch may have as many when the memory for it is used up.
pub(crate) const FREE_BYTES: usize = 64 << 10;
/// So long a request waits for memory for its reply.
pub(crate) const WAIT: Duration = Duration::from_secs(5);
/// So long a look-up waits for its turn; each turn takes one read.
const TURN: Duration = Duration::from_secs(20);
/// What one look-up by time reads at once: an entry of the index ends here.
const LOOK_UP_BYTES: usize = 1 << 20;

/// Clones share the budgets.
#[derive(Clone, Debug)]
pub(crate) struct Replies {
    /// Records that are there when they are asked for.
    pub fetch: MemoryBudget,
    /// Large replies of fetches that wait for records.
    pub long_poll: MemoryBudget,
    /// Replies to all else but Produce.
    pub other: MemoryBudget,
    /// What is read to look up offsets by time.
    pub look_up: MemoryBudget,
    /// What connections remember of their fetches: besides, since it stays.
    pub sessions: MemoryBudget,
}

impl Replies {
    /// Of so many bytes in all.
    pub fn new(total: usize) -> Self {
        let part = |sixteenths| MemoryBudget::new(total / 16 * sixteenths);
        Self { fetch: part(12), long_poll: part(1), other: part(2), look_up: part(1), sessions: part(1) }
    }

    pub fn budgets(&self) -> [(&'static str, &MemoryBudget); 5] {
        let Self { fetch, long_poll, other, look_up, sessions } = self;
        [("fetch", fetch), ("long_poll", long_poll), ("other", other), ("look_up", look_up), ("sessions", sessions)]
    }

    /// For a reply of so many bytes to a request whose turn it is and that is not started yet.
    pub async fn in_turn(&self, bytes: usize, until: Option<Instant>, mut shutdown: watch::Receiver<bool>) -> Room {
        let longest = Instant::now() + WAIT;
        let until = until.map_or(longest, |until| until.min(longest));
        tokio::select! {
            biased;
            granted = timeout_at(until, self.other.acquire(bytes)) => granted.map_or(Room::Refused, Room::Given),
            () = stopping(&mut shutdown) => Room::Refused,
        }
    }

    /// For one look-up, to be held while it reads.
    pub async fn look_up(&self, mut shutdown: watch::Receiver<bool>) -> Result<MemoryPermit, Unavailable> {
        tokio::select! {
            biased;
            granted = timeout(TURN, self.look_up.acquire(LOOK_UP_BYTES)) => granted.map_err(|_| Unavailable::Timeout),
            () = stopping(&mut shutdown) => Err(Unavailable::Stopping),
        }
    }
}
