//! A store that sends a slow request a second time, and takes the answer that comes first.
//!
//! Object stores answer a few requests in a thousand ten times later than the median, and one slow commit holds up all
//! that follow it. Sending the same bytes to the same key again is safe (rule 1 of 4.3): at most one create makes the
//! object, and whoever reads "exists" settles by looking whose it is. Swaps and deletes are never sent twice.
//!
//! Hedges are sparse: only past a percentile of what was observed, only where a request takes milliseconds at all, and
//! never more than a share of all requests, so that a store that is slow as a whole is not asked for twice as much. While
//! the store throttles there are none: what is late then waits for its turn on this side, and a second request would only
//! take another one.

mod patient;

use std::collections::VecDeque;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use lakebed_record::keys::Key;
use parking_lot::Mutex;

use crate::env::Env;
use crate::pace::Answer;
use crate::{
    Body, BoxFuture, Created, Fault, FaultKind, Listing, Meta, Object, ReadError, Reply, Store, StoreKind, Swapped,
    Version,
};

pub use patient::Patient;

const SAMPLES: usize = 128;
const ENOUGH: usize = 24;
/// Where the median is below, a slow request is this machine's own doing.
const WORTH_IT: Duration = Duration::from_millis(5);
/// Requests of more bytes are counted by themselves.
const LARGE: u64 = 512 << 10;
/// So long after a throttled reply nothing is sent twice: as long as the pace below keeps requests waiting.
const CALM: Duration = Duration::from_secs(60);

/// How eagerly: a request past this percentile is sent again, at most so many in a hundred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eagerness {
    percentile: usize,
    share: u32,
}

impl Eagerness {
    /// Only the slowest few.
    pub const SPARING: Eagerness = Eagerness { percentile: 97, share: 5 };
    /// Where every slow create is waited for by somebody, and requests may cost a quarter more.
    pub const EAGER: Eagerness = Eagerness { percentile: 80, share: 25 };
    const OF_GETS: Eagerness = Eagerness { percentile: 95, share: 5 };
}

type OnHedge = Box<dyn Fn(&'static str) + Send + Sync>;

/// A store that hedges.
pub struct Hedged {
    store: Arc<dyn Store>,
    env: Env,
    small_puts: Mutex<History>,
    large_puts: Mutex<History>,
    gets: Mutex<History>,
    /// No hedges before this time.
    calm_until: Mutex<Duration>,
    on_hedge: OnHedge,
}

impl Hedged {
    /// `on_hedge` is told of every request that is sent a second time: a `put` or a `get`.
    pub fn new(
        store: Arc<dyn Store>,
        env: Env,
        puts: Eagerness,
        on_hedge: impl Fn(&'static str) + Send + Sync + 'static,
    ) -> Hedged {
        let history = |kind, eagerness| Mutex::new(History::new(kind, eagerness));
        Hedged {
            store,
            env,
            small_puts: history("put", puts),
            large_puts: history("put", puts),
            gets: history("get", Eagerness::OF_GETS),
            calm_until: Mutex::new(Duration::ZERO),
            on_hedge: Box::new(on_hedge),
        }
    }

    /// Runs `request`, and a second one if the first is late. An answer that proves nothing does not win while the other
    /// request may still bring one that does.
    async fn run<T: Answer, F: Future<Output = Reply<T>>>(
        &self,
        history: &Mutex<History>,
        request: impl Fn() -> F,
    ) -> Reply<T> {
        let start = self.env.clock.monotonic();
        if start < *self.calm_until.lock() {
            return self.noted(request().await);
        }
        let patience = history.lock().patience();
        let reply = match patience {
            Some(patience) => self.race(history, patience, request).await,
            None => request().await,
        };
        history.lock().took(self.env.clock.monotonic().saturating_sub(start));
        self.noted(reply)
    }

    fn noted<T: Answer>(&self, reply: Reply<T>) -> Reply<T> {
        if reply.value.fault() == Some(FaultKind::Throttled) {
            *self.calm_until.lock() = self.env.clock.monotonic() + CALM;
        }
        reply
    }

    async fn race<T: Answer, F: Future<Output = Reply<T>>>(
        &self,
        history: &Mutex<History>,
        patience: Duration,
        request: impl Fn() -> F,
    ) -> Reply<T> {
        let proves = |reply: &Reply<T>| reply.value.fault().is_none();
        let first = request();
        tokio::pin!(first);
        tokio::select! {
            biased;
            answer = &mut first => return answer,
            () = self.env.clock.sleep(patience) => {}
        }
        if self.env.clock.monotonic() < *self.calm_until.lock() {
            return first.await;
        }
        let Some(kind) = history.lock().hedge() else { return first.await };
        (self.on_hedge)(kind);
        let second = request();
        tokio::pin!(second);
        tokio::select! {
            biased;
            answer = &mut first => if proves(&answer) { answer } else { second.await },
            answer = &mut second => if proves(&answer) { answer } else { first.await },
        }
    }
}

#[deny(clippy::missing_trait_methods)]
impl Store for Hedged {
    fn create<'a>(&'a self, key: &'a Key, body: &'a Body) -> BoxFuture<'a, Reply<Created>> {
        let history = if body.len() > LARGE { &self.large_puts } else { &self.small_puts };
        Box::pin(self.run(history, || self.store.create(key, body)))
    }

    fn get<'a>(&'a self, key: &'a Key, range: Option<Range<u64>>) -> BoxFuture<'a, Reply<Result<Object, ReadError>>> {
        Box::pin(self.run(&self.gets, move || self.store.get(key, range.clone())))
    }

    fn head<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Reply<Result<Meta, ReadError>>> {
        Box::pin(async move { self.noted(self.store.head(key).await) })
    }

    fn swap<'a>(
        &'a self,
        key: &'a Key,
        expected: Option<&'a Version>,
        body: &'a Body,
    ) -> BoxFuture<'a, Reply<Swapped>> {
        Box::pin(async move { self.noted(self.store.swap(key, expected, body).await) })
    }

    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Reply<Result<(), Fault>>> {
        self.store.delete(key)
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a Key>) -> BoxFuture<'a, Reply<Result<Listing, Fault>>> {
        Box::pin(async move { self.noted(self.store.list(prefix, after).await) })
    }

    fn kind(&self) -> StoreKind {
        self.store.kind()
    }

    fn refuses_short_bodies(&self) -> bool {
        self.store.refuses_short_bodies()
    }
}

/// How long recent requests of one kind took, and how many more may be sent twice. Pure.
#[derive(Debug)]
struct History {
    /// `put` or `get`.
    kind: &'static str,
    eagerness: Eagerness,
    recent: VecDeque<Duration>,
    /// In hundredths of a hedge.
    credit: u32,
}

impl History {
    fn new(kind: &'static str, eagerness: Eagerness) -> History {
        History { kind, eagerness, recent: VecDeque::new(), credit: 0 }
    }

    fn took(&mut self, duration: Duration) {
        if self.recent.len() == SAMPLES {
            self.recent.pop_front();
        }
        self.recent.push_back(duration);
        // At most ten at once.
        self.credit = (self.credit + self.eagerness.share).min(1000);
    }

    /// After which time a request is sent again; `None`: never.
    fn patience(&self) -> Option<Duration> {
        if self.recent.len() < ENOUGH {
            return None;
        }
        let mut sorted: Vec<_> = self.recent.iter().copied().collect();
        sorted.sort_unstable();
        let at = |percentile| sorted[(sorted.len() - 1) * percentile / 100];
        (at(50) >= WORTH_IT).then(|| at(self.eagerness.percentile))
    }

    /// Pays for a second request; `None`: there have been too many.
    fn hedge(&mut self) -> Option<&'static str> {
        self.credit = self.credit.checked_sub(100)?;
        Some(self.kind)
    }
}

#[cfg(test)]
mod tests;
