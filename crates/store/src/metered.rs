//! Counts every request to the store: by kind and outcome, with bytes and latency. For `/metrics` and `/readyz`.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lakebed_record::keys::Key;
use parking_lot::Mutex;

use crate::env::{Clock, Env};
use crate::{
    Body, BoxFuture, Created, Fault, FaultKind, Listing, Meta, Object, ReadError, Reply, Store, StoreKind, Swapped,
    Version,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    Create,
    Get,
    Head,
    Swap,
    Delete,
    List,
}

impl Operation {
    pub const ALL: [Operation; 6] =
        [Operation::Create, Operation::Get, Operation::Head, Operation::Swap, Operation::Delete, Operation::List];

    /// As a metric label.
    pub fn label(self) -> &'static str {
        match self {
            Operation::Create => "create",
            Operation::Get => "get",
            Operation::Head => "head",
            Operation::Swap => "swap",
            Operation::Delete => "delete",
            Operation::List => "list",
        }
    }
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    Ok,
    /// 412: the key was taken, or not at the expected version.
    Refused,
    NotFound,
    Fault(FaultKind),
    /// The caller stopped waiting.
    Dropped,
}

impl Outcome {
    pub const ALL: [Outcome; 11] = [
        Outcome::Ok,
        Outcome::Refused,
        Outcome::NotFound,
        Outcome::Fault(FaultKind::Timeout),
        Outcome::Fault(FaultKind::Throttled),
        Outcome::Fault(FaultKind::Conflict),
        Outcome::Fault(FaultKind::Server),
        Outcome::Fault(FaultKind::Denied),
        Outcome::Fault(FaultKind::NoSpace),
        Outcome::Fault(FaultKind::Other),
        Outcome::Dropped,
    ];

    /// As a metric label.
    pub fn label(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Refused => "refused",
            Outcome::NotFound => "not_found",
            Outcome::Fault(FaultKind::Timeout) => "timeout",
            Outcome::Fault(FaultKind::Throttled) => "throttled",
            Outcome::Fault(FaultKind::Conflict) => "conflict",
            Outcome::Fault(FaultKind::Server) => "server",
            Outcome::Fault(FaultKind::Denied) => "denied",
            Outcome::Fault(FaultKind::NoSpace) => "no_space",
            Outcome::Fault(FaultKind::Other) => "other",
            Outcome::Dropped => "dropped",
        }
    }

    /// Did the store answer the question? `None` if nobody waited for it.
    pub fn answered(self) -> Option<bool> {
        match self {
            Outcome::Ok | Outcome::Refused | Outcome::NotFound => Some(true),
            Outcome::Fault(_) => Some(false),
            Outcome::Dropped => None,
        }
    }

    fn index(self) -> usize {
        match self {
            Outcome::Ok => 0,
            Outcome::Refused => 1,
            Outcome::NotFound => 2,
            Outcome::Fault(FaultKind::Timeout) => 3,
            Outcome::Fault(FaultKind::Throttled) => 4,
            Outcome::Fault(FaultKind::Conflict) => 5,
            Outcome::Fault(FaultKind::Server) => 6,
            Outcome::Fault(FaultKind::Denied) => 7,
            Outcome::Fault(FaultKind::NoSpace) => 8,
            Outcome::Fault(FaultKind::Other) => 9,
            Outcome::Dropped => 10,
        }
    }
}

/// Upper bounds of the latency buckets in ms; one more bucket holds what is slower.
pub const BUCKETS_MS: [u64; 19] =
    [1, 2, 5, 10, 15, 20, 30, 40, 50, 75, 100, 150, 200, 300, 500, 1_000, 2_000, 5_000, 10_000];

/// Counters of one operation and outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub requests: u64,
    /// Sent by creates and swaps, received by gets.
    pub bytes: u64,
    /// Requests per bucket of [`BUCKETS_MS`] (not cumulated), and those slower than the last.
    pub buckets: [u64; BUCKETS_MS.len() + 1],
    pub latency_sum: Duration,
}

/// All counters at one moment, nearly: each is exact, together they may differ by requests that just ended.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Only what occurred.
    pub counts: Vec<(Operation, Outcome, Count)>,
    pub in_flight: u64,
    pub health: Health,
}

/// For `/readyz`: without deletes and lists, which clean up in the background and may be forbidden.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Did the store answer the request that ended last? `None` before the first.
    pub last_call_answered: Option<bool>,
    /// When it last answered, by the monotonic clock.
    pub last_answer: Option<Duration>,
    /// What it said when it last did not.
    pub last_fault: Option<String>,
}

#[derive(Default)]
struct Cell {
    requests: AtomicU64,
    bytes: AtomicU64,
    buckets: [AtomicU64; BUCKETS_MS.len() + 1],
    latency_us: AtomicU64,
}

#[derive(Default)]
struct Counters {
    cells: [[Cell; Outcome::ALL.len()]; Operation::ALL.len()],
    in_flight: AtomicU64,
    health: Mutex<Health>,
}

/// A store that counts.
pub struct Metered {
    inner: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    counters: Counters,
}

impl Metered {
    pub fn new(inner: Arc<dyn Store>, env: &Env) -> Metered {
        Metered { inner, clock: env.clock.clone(), counters: Counters::default() }
    }

    pub fn snapshot(&self) -> Snapshot {
        let all = Operation::ALL.iter().flat_map(|op| Outcome::ALL.iter().map(|outcome| (*op, *outcome)));
        let counts = all.map(|(op, outcome)| (op, outcome, self.counters.cell(op, outcome).read()));
        Snapshot {
            counts: counts.filter(|(_, _, count)| count.requests > 0).collect(),
            in_flight: self.counters.in_flight.load(Ordering::Relaxed),
            health: self.health(),
        }
    }

    pub fn health(&self) -> Health {
        self.counters.health.lock().clone()
    }

    async fn counted<T: Judged>(&self, operation: Operation, sent: u64, request: BoxFuture<'_, Reply<T>>) -> Reply<T> {
        let ticket = Ticket::new(self, operation, sent);
        let reply = request.await;
        ticket.done(&reply.value);
        reply
    }
}

/// One request under way. Dropping it counts it as dropped.
struct Ticket<'a> {
    store: &'a Metered,
    operation: Operation,
    sent: u64,
    start: Duration,
    open: bool,
}

impl<'a> Ticket<'a> {
    fn new(store: &'a Metered, operation: Operation, sent: u64) -> Self {
        store.counters.in_flight.fetch_add(1, Ordering::Relaxed);
        Ticket { store, operation, sent, start: store.clock.monotonic(), open: true }
    }

    fn done<T: Judged>(mut self, value: &T) {
        let operation = self.operation;
        let outcome = value.outcome();
        let now = self.close(outcome, value.received());
        let Some(answered) = outcome.answered() else { return };
        if matches!(operation, Operation::Delete | Operation::List) {
            return;
        }
        let mut health = self.store.counters.health.lock();
        health.last_call_answered = Some(answered);
        if answered {
            health.last_answer = Some(now);
        } else {
            health.last_fault = value.fault();
        }
    }

    fn close(&mut self, outcome: Outcome, received: u64) -> Duration {
        self.open = false;
        let now = self.store.clock.monotonic();
        let counters = &self.store.counters;
        counters.in_flight.fetch_sub(1, Ordering::Relaxed);
        counters.cell(self.operation, outcome).add(self.sent + received, now.saturating_sub(self.start));
        now
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if self.open {
            self.close(Outcome::Dropped, 0);
        }
    }
}

impl Counters {
    fn cell(&self, operation: Operation, outcome: Outcome) -> &Cell {
        &self.cells[operation as usize][outcome.index()]
    }
}

impl Cell {
    fn add(&self, bytes: u64, latency: Duration) {
        let bucket = BUCKETS_MS.partition_point(|&ms| Duration::from_millis(ms) < latency);
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.latency_us.fetch_add(latency.as_micros() as u64, Ordering::Relaxed);
    }

    fn read(&self) -> Count {
        Count {
            requests: self.requests.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            buckets: std::array::from_fn(|i| self.buckets[i].load(Ordering::Relaxed)),
            latency_sum: Duration::from_micros(self.latency_us.load(Ordering::Relaxed)),
        }
    }
}

/// What a reply counts as.
trait Judged {
    fn outcome(&self) -> Outcome;

    fn fault(&self) -> Option<String>;

    fn received(&self) -> u64 {
        0
    }
}

impl Judged for Created {
    fn outcome(&self) -> Outcome {
        match self {
            Created::Yes => Outcome::Ok,
            Created::Exists => Outcome::Refused,
            Created::Unknown(fault) => Outcome::Fault(fault.kind),
        }
    }

    fn fault(&self) -> Option<String> {
        match self {
            Created::Unknown(fault) => Some(fault.message.clone()),
            Created::Yes | Created::Exists => None,
        }
    }
}

impl Judged for Swapped {
    fn outcome(&self) -> Outcome {
        match self {
            Swapped::Yes(_) => Outcome::Ok,
            Swapped::Mismatch => Outcome::Refused,
            Swapped::Unknown(fault) => Outcome::Fault(fault.kind),
        }
    }

    fn fault(&self) -> Option<String> {
        match self {
            Swapped::Unknown(fault) => Some(fault.message.clone()),
            Swapped::Yes(_) | Swapped::Mismatch => None,
        }
    }
}

impl<T: Received> Judged for Result<T, ReadError> {
    fn outcome(&self) -> Outcome {
        match self {
            Ok(_) => Outcome::Ok,
            Err(ReadError::NotFound) => Outcome::NotFound,
            Err(ReadError::Fault(fault)) => Outcome::Fault(fault.kind),
        }
    }

    fn fault(&self) -> Option<String> {
        match self {
            Err(ReadError::Fault(fault)) => Some(fault.message.clone()),
            Ok(_) | Err(ReadError::NotFound) => None,
        }
    }

    fn received(&self) -> u64 {
        self.as_ref().map_or(0, T::bytes)
    }
}

impl<T> Judged for Result<T, Fault> {
    fn outcome(&self) -> Outcome {
        match self {
            Ok(_) => Outcome::Ok,
            Err(fault) => Outcome::Fault(fault.kind),
        }
    }

    fn fault(&self) -> Option<String> {
        self.as_ref().err().map(|fault| fault.message.clone())
    }
}

trait Received {
    fn bytes(&self) -> u64;
}

impl Received for Object {
    fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }
}

impl Received for Meta {
    fn bytes(&self) -> u64 {
        0
    }
}

#[deny(clippy::missing_trait_methods)]
impl Store for Metered {
    fn create<'a>(&'a self, key: &'a Key, body: &'a Body) -> BoxFuture<'a, Reply<Created>> {
        Box::pin(self.counted(Operation::Create, body.len(), self.inner.create(key, body)))
    }

    fn get<'a>(&'a self, key: &'a Key, range: Option<Range<u64>>) -> BoxFuture<'a, Reply<Result<Object, ReadError>>> {
        Box::pin(self.counted(Operation::Get, 0, self.inner.get(key, range)))
    }

    fn head<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Reply<Result<Meta, ReadError>>> {
        Box::pin(self.counted(Operation::Head, 0, self.inner.head(key)))
    }

    fn swap<'a>(
        &'a self,
        key: &'a Key,
        expected: Option<&'a Version>,
        body: &'a Body,
    ) -> BoxFuture<'a, Reply<Swapped>> {
        Box::pin(self.counted(Operation::Swap, body.len(), self.inner.swap(key, expected, body)))
    }

    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Reply<Result<(), Fault>>> {
        Box::pin(self.counted(Operation::Delete, 0, self.inner.delete(key)))
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a Key>) -> BoxFuture<'a, Reply<Result<Listing, Fault>>> {
        Box::pin(self.counted(Operation::List, 0, self.inner.list(prefix, after)))
    }

    fn kind(&self) -> StoreKind {
        self.inner.kind()
    }

    fn refuses_short_bodies(&self) -> bool {
        self.inner.refuses_short_bodies()
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use bytes::Bytes;

    use super::*;
    use crate::memory::MemoryStore;
    use crate::profile::{Profile, Profiled};

    #[tokio::test]
    async fn keeps_the_contract() {
        let env = Env::system();
        let store = Metered::new(Arc::new(MemoryStore::new(&env)), &env);
        crate::conformance::run(Arc::new(store), &env).await;
    }

    #[test]
    fn every_outcome_has_a_cell_of_its_own() {
        for (i, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome.index(), i);
        }
    }

    #[tokio::test]
    async fn counts_by_operation_and_outcome() {
        let env = Env::system();
        let store = Metered::new(Arc::new(MemoryStore::new(&env)), &env);
        assert_eq!(store.health(), Health::default());
        let (key, body) = (Key::new("a"), Body::from(Bytes::from_static(b"12345")));
        store.create(&key, &body).await;
        store.create(&key, &body).await;
        let _ = store.get(&key, Some(1..3)).await;
        let _ = store.head(&Key::new("b")).await;
        let snapshot = store.snapshot();
        let seen: Vec<_> = snapshot.counts.iter().map(|(op, out, c)| (*op, *out, c.requests, c.bytes)).collect();
        assert_eq!(
            seen,
            [
                (Operation::Create, Outcome::Ok, 1, 5),
                (Operation::Create, Outcome::Refused, 1, 5),
                (Operation::Get, Outcome::Ok, 1, 2),
                (Operation::Head, Outcome::NotFound, 1, 0),
            ]
        );
        assert_eq!(snapshot.health.last_call_answered, Some(true));
        assert!(snapshot.counts.iter().all(|(_, _, c)| c.buckets.iter().sum::<u64>() == c.requests));
    }

    #[tokio::test]
    async fn deletes_and_lists_are_counted_but_say_nothing_of_readiness() {
        let env = Env::system();
        let store = Metered::new(Arc::new(MemoryStore::new(&env)), &env);
        store.delete(&Key::new("a")).await.value.unwrap();
        store.list("", None).await.value.unwrap();
        store.delete(&lakebed_record::keys::current()).await.value.unwrap_err();
        let snapshot = store.snapshot();
        let seen: Vec<_> = snapshot.counts.iter().map(|(op, out, c)| (*op, *out, c.requests)).collect();
        assert_eq!(
            seen,
            [
                (Operation::Delete, Outcome::Ok, 1),
                (Operation::Delete, Outcome::Fault(FaultKind::Other), 1),
                (Operation::List, Outcome::Ok, 1),
            ]
        );
        assert_eq!(snapshot.health, Health::default());
    }

    #[tokio::test]
    async fn a_request_nobody_waits_for_is_counted() {
        let env = Env::system();
        let slow = Profiled::new(Arc::new(MemoryStore::new(&env)), Profile::S3Standard, &env);
        let store = Metered::new(Arc::new(slow), &env);
        let key = Key::new("a");
        let mut request = store.head(&key);
        assert!(request.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(store.snapshot().in_flight, 1);
        drop(request);
        let snapshot = store.snapshot();
        assert_eq!(snapshot.in_flight, 0);
        assert_eq!((snapshot.counts[0].1, snapshot.health), (Outcome::Dropped, Health::default()));
    }
}
