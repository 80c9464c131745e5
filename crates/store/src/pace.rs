//! Slower while the store says that it is asked too much (429, 503 SlowDown), and not at all otherwise.
//!
//! Callers try again, each with a pause of its own; many of them together may still ask more than the store gives. So
//! all requests of a kind share a pace, which is set by the first throttled reply: below what was sent then, never below
//! [`FLOOR`], faster again with each answer, and lifted after a minute without throttling. Until then a request passes
//! without delay. Deletes have a pace of their own and also yield when other writes are throttled: they can wait.
//!
//! Nothing is retried here. Who would wait longer than [`LONGEST_WAIT`] is answered at once that the store is throttling,
//! which proves nothing, as ever. A dropped request leaves its turn unused. A crash loses the pace: the next reply sets
//! one.

mod rate;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use lakebed_record::keys::Key;
use parking_lot::Mutex;

use self::rate::{Change, Rate, Turn};
use crate::env::{Clock, Env};
use crate::{
    Body, BoxFuture, Created, Fault, FaultKind, Listing, Meta, Object, ReadError, Reply, Store, StoreKind, Swapped,
    Version,
};

/// Requests of one kind in a second that are sent whatever the store says: it is never given up.
const FLOOR: f64 = 2.0;
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// A store whose requests keep a pace. Belongs above what counts requests, and below what sends them twice.
pub struct Paced {
    inner: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    writes: Pace,
    reads: Pace,
    deletes: Pace,
}

struct Pace {
    name: &'static str,
    rate: Mutex<Rate>,
}

impl Paced {
    pub fn new(inner: Arc<dyn Store>, env: &Env) -> Paced {
        let pace = |name| Pace { name, rate: Mutex::default() };
        Paced { inner, clock: env.clock.clone(), writes: pace("write"), reads: pace("read"), deletes: pace("delete") }
    }

    /// Requests of each kind that may be sent in a second, where the store throttles them.
    pub fn limits(&self) -> [(&'static str, Option<f64>); 3] {
        [&self.writes, &self.reads, &self.deletes]
            .map(|pace| (pace.name, pace.rate.lock().limit(self.clock.monotonic())))
    }

    async fn paced<T: Answer>(&self, pace: &Pace, request: BoxFuture<'_, Reply<T>>) -> Reply<T> {
        match pace.turn(self.clock.monotonic()) {
            Turn::Now => {}
            Turn::In(wait) => self.clock.sleep(wait).await,
            Turn::TooLate => {
                let message = format!("not sent: the store throttles {}s, and too many of them wait", pace.name);
                return Reply { value: T::of(Fault { kind: FaultKind::Throttled, message }), date_ms: None };
            }
        }
        let sent = self.clock.monotonic();
        let reply = request.await;
        let now = self.clock.monotonic();
        match reply.value.fault() {
            Some(FaultKind::Throttled) => {
                pace.throttled(sent, now);
                if std::ptr::eq(pace, &self.writes) {
                    self.deletes.throttled(sent, now);
                }
            }
            // Whether the store has room again is told by answers only.
            Some(_) => {}
            None => pace.rate.lock().answered(),
        }
        reply
    }
}

impl Pace {
    fn turn(&self, now: Duration) -> Turn {
        let (turn, change) = self.rate.lock().turn(now);
        if let Some(Change::Lifted) = change {
            tracing::info!(requests = self.name, "the store has not throttled for a while: at full speed again");
        }
        turn
    }

    fn throttled(&self, sent: Duration, now: Duration) {
        if let Some(Change::Limited(per_second)) = self.rate.lock().throttled(sent, now) {
            tracing::warn!(requests = self.name, per_second, "the store throttles: slower for now");
        }
    }
}

/// What a reply says about being throttled.
pub(crate) trait Answer {
    fn fault(&self) -> Option<FaultKind>;
    fn of(fault: Fault) -> Self;
}

impl Answer for Created {
    fn fault(&self) -> Option<FaultKind> {
        match self {
            Created::Unknown(fault) => Some(fault.kind),
            Created::Yes | Created::Exists => None,
        }
    }

    fn of(fault: Fault) -> Self {
        Created::Unknown(fault)
    }
}

impl Answer for Swapped {
    fn fault(&self) -> Option<FaultKind> {
        match self {
            Swapped::Unknown(fault) => Some(fault.kind),
            Swapped::Yes(_) | Swapped::Mismatch => None,
        }
    }

    fn of(fault: Fault) -> Self {
        Swapped::Unknown(fault)
    }
}

impl<T> Answer for Result<T, ReadError> {
    fn fault(&self) -> Option<FaultKind> {
        match self {
            Err(ReadError::Fault(fault)) => Some(fault.kind),
            Ok(_) | Err(ReadError::NotFound) => None,
        }
    }

    fn of(fault: Fault) -> Self {
        Err(fault.into())
    }
}

impl<T> Answer for Result<T, Fault> {
    fn fault(&self) -> Option<FaultKind> {
        self.as_ref().err().map(|fault| fault.kind)
    }

    fn of(fault: Fault) -> Self {
        Err(fault)
    }
}

#[deny(clippy::missing_trait_methods)]
impl Store for Paced {
    fn create<'a>(&'a self, key: &'a Key, body: &'a Body) -> BoxFuture<'a, Reply<Created>> {
        Box::pin(self.paced(&self.writes, self.inner.create(key, body)))
    }

    fn get<'a>(&'a self, key: &'a Key, range: Option<Range<u64>>) -> BoxFuture<'a, Reply<Result<Object, ReadError>>> {
        Box::pin(self.paced(&self.reads, self.inner.get(key, range)))
    }

    fn head<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Reply<Result<Meta, ReadError>>> {
        Box::pin(self.paced(&self.reads, self.inner.head(key)))
    }

    fn swap<'a>(
        &'a self,
        key: &'a Key,
        expected: Option<&'a Version>,
        body: &'a Body,
    ) -> BoxFuture<'a, Reply<Swapped>> {
        Box::pin(self.paced(&self.writes, self.inner.swap(key, expected, body)))
    }

    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Reply<Result<(), Fault>>> {
        Box::pin(self.paced(&self.deletes, self.inner.delete(key)))
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a Key>) -> BoxFuture<'a, Reply<Result<Listing, Fault>>> {
        Box::pin(self.paced(&self.reads, self.inner.list(prefix, after)))
    }

    fn kind(&self) -> StoreKind {
        self.inner.kind()
    }

    fn refuses_short_bodies(&self) -> bool {
        self.inner.refuses_short_bodies()
    }
}
