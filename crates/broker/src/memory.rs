//! The byte budget for what is buffered: front ends take a permit before they read a request's body into memory, and
//! stop reading sockets while there is none. First come, first served, so that a large request is not starved.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Cheap to clone; clones share the budget.
#[derive(Clone, Debug)]
pub struct MemoryBudget {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    permits: Arc<Semaphore>,
    total: usize,
    waiting: AtomicUsize,
    granted: AtomicU64,
}

/// Bytes of the budget; dropping gives them back.
#[derive(Debug)]
pub struct MemoryPermit {
    bytes: OwnedSemaphorePermit,
}

impl MemoryBudget {
    pub fn new(total: usize) -> MemoryBudget {
        let total = total.clamp(1, (u32::MAX as usize).min(Semaphore::MAX_PERMITS));
        let permits = Arc::new(Semaphore::new(total));
        let inner = Inner { permits, total, waiting: AtomicUsize::new(0), granted: AtomicU64::new(0) };
        MemoryBudget { inner: Arc::new(inner) }
    }

    /// Waits until `bytes` are free. More than the whole budget counts as the whole budget: such a request runs alone.
    pub async fn acquire(&self, bytes: usize) -> MemoryPermit {
        let _waiting = Waiting::new(&self.inner.waiting);
        let bytes = bytes.min(self.inner.total) as u32;
        let permits = Arc::clone(&self.inner.permits);
        let permit = permits.acquire_many_owned(bytes).await.expect("the budget's semaphore is never closed");
        self.inner.granted.fetch_add(1, Ordering::Relaxed);
        MemoryPermit { bytes: permit }
    }

    /// The whole budget in bytes.
    pub fn total(&self) -> usize {
        self.inner.total
    }

    pub fn used(&self) -> usize {
        self.inner.total - self.inner.permits.available_permits()
    }

    /// Permits given so far: while somebody waits and this stands still, nothing moves.
    pub(crate) fn granted(&self) -> u64 {
        self.inner.granted.load(Ordering::Relaxed)
    }

    /// Somebody waits for memory: also for a moment, as under ordinary back-pressure.
    pub fn is_exhausted(&self) -> bool {
        self.inner.waiting.load(Ordering::Relaxed) > 0 && self.inner.permits.available_permits() < self.inner.total
    }
}

impl MemoryPermit {
    /// Adds bytes of the same budget.
    ///
    /// # Panics
    /// If they are of another one.
    pub fn merge(&mut self, more: MemoryPermit) {
        self.bytes.merge(more.bytes);
    }

    pub fn bytes(&self) -> usize {
        self.bytes.num_permits()
    }

    /// Gives back all but `bytes`; nothing if it is no more than that.
    pub fn shrink_to(&mut self, bytes: usize) {
        drop(self.bytes.split(self.bytes().saturating_sub(bytes)));
    }
}

/// Counts a waiting caller, also one that is dropped while it waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn gives_back_what_was_taken() {
        let budget = MemoryBudget::new(100);
        let first = budget.acquire(80).await;
        assert_eq!(budget.used(), 80);
        assert!(budget.acquire(40).now_or_never().is_none());
        drop(first);
        assert!(budget.acquire(40).now_or_never().is_some());
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn a_permit_shrinks_and_never_grows_by_it() {
        let budget = MemoryBudget::new(100);
        let mut permit = budget.acquire(80).await;
        let mut next = Box::pin(budget.acquire(70));
        assert!((&mut next).now_or_never().is_none());
        permit.shrink_to(30);
        let _next = next.await;
        permit.shrink_to(50);
        assert_eq!((permit.bytes(), budget.used()), (30, 100));
    }

    #[tokio::test]
    async fn a_request_past_the_budget_runs_alone() {
        let budget = MemoryBudget::new(100);
        let all = budget.acquire(5000).await;
        assert_eq!(budget.used(), 100);
        let mut next = Box::pin(budget.acquire(1));
        assert!((&mut next).now_or_never().is_none());
        assert!(budget.is_exhausted());
        let before = budget.granted();
        drop(all);
        let _one = next.await;
        assert_eq!(budget.granted(), before + 1);
        assert!(!budget.is_exhausted());
    }
}
