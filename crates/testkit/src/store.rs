//! A store that fails as S3 may, for one process of a simulation.
//!
//! Every call flips two coins, matched as a pair: *did it happen* and *was the caller told*; see [`Fault`] for the worlds
//! that follow. Writes take effect in tasks of their own, so that dropping the caller's future, a pause or a crash does
//! not call back a request that is on its way. What was created is watched: it must never change, only be deleted.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lakebed_record::crc;
use lakebed_record::keys::{self, Key};
use lakebed_store::env::{Clock, Entropy, Env};
use lakebed_store::memory::MemoryStore;
use lakebed_store::{
    Body, BoxFuture, Created, Fault as StoreFault, FaultKind, Listing, Meta, Object, ReadError, Reply, Store,
    StoreKind, Swapped, Version,
};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::entropy::{Dice, SeededEntropy};
use crate::faults::{Call, Fault, Rates};
use crate::ledger::Ledger;
use crate::power::{Nemesis, Point, Power};
use crate::time::TrueTime;

/// The bucket that all nodes of a run share.
pub struct Bucket {
    inner: MemoryStore,
    time: TrueTime,
    rates: Rates,
    dice: Dice,
    /// Median latency of a PUT and of a GET in ms.
    put_ms: u64,
    get_ms: u64,
    ledger: Ledger,
    /// Every content of CURRENT, and since when.
    currents: Mutex<Vec<(Duration, Bytes)>>,
}

impl Bucket {
    pub fn new(time: TrueTime, rates: Rates, seed: u64) -> Arc<Bucket> {
        let dice = Dice::new(seed);
        let env = Env { clock: Arc::new(WholeSeconds(time)), entropy: Arc::new(SeededEntropy::new(seed)) };
        // Some stores are slow, so that more than one commit of a node is under way at a time.
        let put_ms = if dice.one_in(3) { dice.between(150, 400) } else { dice.between(5, 80) };
        let get_ms = dice.between(3, 40);
        let inner = MemoryStore::new(&env);
        Arc::new(Bucket {
            inner,
            time,
            rates,
            dice,
            put_ms,
            get_ms,
            ledger: Ledger::default(),
            currents: Mutex::default(),
        })
    }

    pub fn keys(&self) -> Vec<Key> {
        self.inner.keys()
    }

    /// Without faults, latency or a process that asks.
    pub async fn peek(&self, key: &Key) -> Option<Bytes> {
        self.inner.get(key, None).await.value.ok().map(|o| o.bytes)
    }

    /// What every key has ever held.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Creates an object without faults, latency or a process that asks.
    pub async fn put(&self, key: &Key, bytes: Bytes) -> Created {
        self.create(key, &Body::from(bytes)).await
    }

    pub fn swaps_of_current(&self) -> Vec<(Duration, Bytes)> {
        self.currents.lock().clone()
    }

    /// Objects whose content is not the one they were created with.
    pub async fn changed(&self) -> Vec<Key> {
        let mut changed = self.ledger.replaced();
        for (key, bytes) in self.ledger.living() {
            if self.peek(&key).await != Some(bytes) {
                changed.push(key);
            }
        }
        changed
    }

    /// As S3, it refuses what does not have the checksum that came with it. (What is cut short comes with its own.)
    async fn create(&self, key: &Key, body: &Body) -> Created {
        if crc::crc32c(&body.to_bytes()) != body.crc32c() {
            return Created::Unknown(StoreFault { kind: FaultKind::Other, message: "400 BadDigest".into() });
        }
        let created = self.inner.create(key, body).await.value;
        if matches!(created, Created::Yes) {
            self.ledger.created(key, &body.to_bytes(), self.time.now());
        }
        created
    }

    /// What is deleted is no longer watched.
    async fn delete(&self, key: &Key) -> Result<(), StoreFault> {
        let deleted = self.inner.delete(key).await.value;
        if deleted.is_ok() {
            self.ledger.deleted(key, self.time.now());
        }
        deleted
    }

    async fn swap(&self, key: &Key, expected: Option<&Version>, body: &Body) -> Swapped {
        let swapped = self.inner.swap(key, expected, body).await.value;
        if matches!(swapped, Swapped::Yes(_)) && *key == keys::current() {
            self.currents.lock().push((self.time.now(), body.to_bytes()));
        }
        swapped
    }

    fn date(&self) -> i64 {
        Clock::wall_ms(&WholeSeconds(self.time))
    }

    fn latency(&self, median_ms: u64) -> Duration {
        // Half to twice the median, and now and then three times that.
        let base = self.dice.between(median_ms * 500, median_ms * 2000);
        let tail = if self.dice.one_in(50) { 3 } else { 1 };
        Duration::from_micros(base * tail)
    }
}

/// The store's clock as it shows itself: S3's `Date` and Last-Modified have whole seconds.
struct WholeSeconds(TrueTime);

impl Clock for WholeSeconds {
    fn monotonic(&self) -> Duration {
        self.0.now()
    }

    fn wall_ms(&self) -> i64 {
        self.0.wall_ms() / 1000 * 1000
    }

    fn sleep<'a>(&'a self, how_long: Duration) -> BoxFuture<'a, ()> {
        Clock::sleep(&self.0, how_long)
    }
}

/// What the caller's side of a call waits for: its time-out on one hand, an answer on the other.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);

/// The store as one process sees it.
pub struct FaultyStore {
    bucket: Arc<Bucket>,
    power: Arc<Power>,
}

/// A write on its way.
#[derive(Clone)]
enum Write {
    Create(Key, Body),
    Swap(Key, Option<Version>, Body),
    Delete(Key),
}

#[derive(Clone, Debug)]
enum Wrote {
    Created(Created),
    Swapped(Swapped),
    Deleted(Result<(), StoreFault>),
}

impl Write {
    /// FORMAT and CURRENT are never stored short: the first start would fail and the operator look for another store.
    fn call(&self) -> Call {
        match self {
            Write::Create(key, _) if *key != keys::format() => Call::Create,
            Write::Create(..) | Write::Swap(..) | Write::Delete(_) => Call::Control,
        }
    }

    fn key(&self) -> &Key {
        match self {
            Write::Create(key, _) | Write::Swap(key, ..) | Write::Delete(key) => key,
        }
    }

    fn cut_short(self, dice: &Dice) -> Write {
        match self {
            Write::Create(key, body) => {
                let bytes = body.to_bytes();
                let short = bytes.slice(..dice.below(bytes.len()));
                Write::Create(key, Body::from(short))
            }
            whole @ (Write::Swap(..) | Write::Delete(_)) => whole,
        }
    }

    async fn apply(&self, bucket: &Bucket) -> Wrote {
        match self {
            Write::Create(key, body) => Wrote::Created(bucket.create(key, body).await),
            Write::Swap(key, expected, body) => Wrote::Swapped(bucket.swap(key, expected.as_ref(), body).await),
            Write::Delete(key) => Wrote::Deleted(bucket.delete(key).await),
        }
    }

    fn unknown(&self, kind: FaultKind, message: &str) -> Wrote {
        let fault = StoreFault { kind, message: message.into() };
        match self {
            Write::Create(..) => Wrote::Created(Created::Unknown(fault)),
            Write::Swap(..) => Wrote::Swapped(Swapped::Unknown(fault)),
            Write::Delete(_) => Wrote::Deleted(Err(fault)),
        }
    }
}

/// When a write takes effect after it is sent, if it does, and what the caller hears.
struct Fate {
    effects: Vec<Duration>,
    /// Index of the effect whose result is answered; else this error.
    answer: Result<usize, (FaultKind, &'static str)>,
    answered: Duration,
    short: bool,
}

impl FaultyStore {
    pub fn new(bucket: Arc<Bucket>, power: Arc<Power>) -> Arc<FaultyStore> {
        Arc::new(FaultyStore { bucket, power })
    }

    fn nemesis(&self) -> &Nemesis {
        self.power.nemesis()
    }

    fn roll(&self, call: Call) -> Option<Fault> {
        let fault = if self.nemesis().is_armed() { self.bucket.rates.roll(call, &self.bucket.dice) } else { None };
        if let Some(fault) = fault {
            self.nemesis().tally.fault(fault);
        }
        fault
    }

    fn note(&self, what: &str, key: &dyn fmt::Display, detail: &dyn fmt::Debug) {
        let nemesis = self.nemesis();
        nemesis.trace.note(nemesis.time, self.power.node, what, &format_args!("{key} {detail:?}"));
    }

    fn fate(&self, fault: Option<Fault>) -> Fate {
        let dice = &self.bucket.dice;
        let there = self.bucket.latency(self.bucket.put_ms) / 2;
        let back = self.bucket.latency(self.bucket.put_ms) / 2;
        let later = there + Duration::from_millis(dice.between(1, 90_000));
        let fine = Fate { effects: vec![there], answer: Ok(0), answered: there + back, short: false };
        // A cut connection is noticed at once, a silent one by the time-out.
        let gone = if dice.one_in(2) { CLIENT_TIMEOUT } else { there + back };
        let lost =
            |effects| Fate { effects, answer: Err((FaultKind::Timeout, "no reply")), answered: gone, short: false };
        let error =
            |effects, kind, what| Fate { effects, answer: Err((kind, what)), answered: there + back, short: false };
        match fault {
            None | Some(Fault::ShortRead) => fine,
            Some(Fault::RequestLost) => lost(vec![]),
            Some(Fault::ResponseLost) => lost(vec![there]),
            Some(Fault::LandsLate) => lost(vec![Duration::from_millis(dice.between(30_000, 600_000))]),
            Some(Fault::DuplicateLater) => Fate { effects: vec![there, later], ..fine },
            Some(Fault::DuplicateAnswered) => {
                let second = there * 2;
                Fate { effects: vec![there, second], answer: Ok(1), answered: second + back, short: false }
            }
            Some(Fault::Conflict409) => error(vec![], FaultKind::Conflict, "409 ConditionalRequestConflict"),
            Some(Fault::Throttled429) => error(vec![], FaultKind::Throttled, "429 TooManyRequests"),
            Some(Fault::Server500) => error(vec![], FaultKind::Server, "500 InternalError"),
            Some(Fault::Server500Done) => error(vec![there], FaultKind::Server, "500 InternalError"),
            Some(Fault::Unavailable503) => error(vec![], FaultKind::Throttled, "503 SlowDown"),
            Some(Fault::Unavailable503Done) => error(vec![there], FaultKind::Server, "503 ServiceUnavailable"),
            Some(Fault::SlowTail) => {
                let slow = Duration::from_millis(dice.between(500, 9_000));
                Fate { effects: vec![slow], answer: Ok(0), answered: slow + back, short: false }
            }
            Some(Fault::ShortBodyUntold) => Fate { short: true, ..fine },
            Some(Fault::ShortBodyTold) => {
                Fate { short: true, ..error(vec![there], FaultKind::Server, "400 IncompleteBody") }
            }
            Some(_) => fine,
        }
    }

    async fn write(&self, write: Write) -> Reply<Wrote> {
        self.power.point(Point::BeforeWrite).await;
        let fault = self.roll(write.call());
        let fate = self.fate(fault);
        self.note("send", write.key(), &(write.call(), fault));
        let sent = if fate.short { write.clone().cut_short(&self.bucket.dice) } else { write.clone() };
        let mut results = Vec::new();
        for after in fate.effects {
            results.push(self.happen(after, sent.clone()));
        }
        tokio::time::sleep(fate.answered).await;
        let reply = match fate.answer {
            Ok(index) => {
                let result = results.swap_remove(index);
                let value = result.await.unwrap_or_else(|_| write.unknown(FaultKind::Timeout, "no reply"));
                Reply { value, date_ms: Some(self.bucket.date()) }
            }
            Err((kind, message)) => {
                // Errors are replies too, with a date; a time-out is none.
                let date_ms = (kind != FaultKind::Timeout).then(|| self.bucket.date());
                Reply { value: write.unknown(kind, message), date_ms }
            }
        };
        self.power.point(Point::AfterWrite).await;
        self.note("told", write.key(), &reply.value);
        reply
    }

    /// The write takes effect after a while, whatever becomes of the process that sent it.
    fn happen(&self, after: Duration, write: Write) -> oneshot::Receiver<Wrote> {
        let (done, result) = oneshot::channel();
        let (bucket, power) = (self.bucket.clone(), self.power.clone());
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let wrote = write.apply(&bucket).await;
            let nemesis = power.nemesis();
            nemesis.trace.note(nemesis.time, power.node, "done", &format_args!("{} {wrote:?}", write.key()));
            let _ = done.send(wrote);
        });
        result
    }

    async fn read<T: Send>(
        &self,
        key: &(dyn fmt::Display + Sync),
        read: impl Future<Output = Reply<Result<T, ReadError>>> + Send,
        cut: impl FnOnce(T, &Dice) -> T + Send,
    ) -> Reply<Result<T, ReadError>> {
        self.power.point(Point::BeforeRead).await;
        let fault = self.roll(Call::Read);
        let there = self.bucket.latency(self.bucket.get_ms) / 2;
        let back = self.bucket.latency(self.bucket.get_ms) / 2;
        let slow = if fault == Some(Fault::SlowTail) { self.bucket.dice.between(500, 9_000) } else { 0 };
        tokio::time::sleep(there + Duration::from_millis(slow)).await;
        let real = read.await.value;
        let date_ms = Some(self.bucket.date());
        let failed = |kind, message: &str| Err(ReadError::Fault(StoreFault { kind, message: message.into() }));
        let reply = match fault {
            Some(Fault::RequestLost) => {
                tokio::time::sleep(if self.bucket.dice.one_in(2) { CLIENT_TIMEOUT } else { back }).await;
                Reply { value: failed(FaultKind::Timeout, "no reply"), date_ms: None }
            }
            Some(Fault::Throttled429) => Reply { value: failed(FaultKind::Throttled, "429 TooManyRequests"), date_ms },
            Some(Fault::Server500) => Reply { value: failed(FaultKind::Server, "500 InternalError"), date_ms },
            Some(Fault::Unavailable503) => Reply { value: failed(FaultKind::Throttled, "503 SlowDown"), date_ms },
            Some(Fault::ShortRead) => match real {
                // Half of them are noticed by the client of the store, the others look whole.
                Ok(value) if self.bucket.dice.one_in(2) => Reply { value: Ok(cut(value, &self.bucket.dice)), date_ms },
                _ => Reply { value: failed(FaultKind::Server, "the body ended early"), date_ms },
            },
            _ => Reply { value: real, date_ms },
        };
        tokio::time::sleep(back).await;
        self.power.point(Point::AfterRead).await;
        self.note("read", key, &(reply.value.as_ref().err(), fault));
        reply
    }
}

#[deny(clippy::missing_trait_methods)]
impl Store for FaultyStore {
    fn create<'a>(&'a self, key: &'a Key, body: &'a Body) -> BoxFuture<'a, Reply<Created>> {
        Box::pin(async move {
            let Reply { value, date_ms } = self.write(Write::Create(key.clone(), body.clone())).await;
            let Wrote::Created(value) = value else { unreachable!("a create was answered as a swap") };
            Reply { value, date_ms }
        })
    }

    fn get<'a>(&'a self, key: &'a Key, range: Option<Range<u64>>) -> BoxFuture<'a, Reply<Result<Object, ReadError>>> {
        let cut = |object: Object, dice: &Dice| {
            let bytes = object.bytes.slice(..dice.below(object.bytes.len() + 1));
            Object { bytes, ..object }
        };
        Box::pin(self.read(key, self.bucket.inner.get(key, range), cut))
    }

    fn head<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Reply<Result<Meta, ReadError>>> {
        Box::pin(self.read(key, self.bucket.inner.head(key), |meta, _| meta))
    }

    fn swap<'a>(
        &'a self,
        key: &'a Key,
        expected: Option<&'a Version>,
        body: &'a Body,
    ) -> BoxFuture<'a, Reply<Swapped>> {
        Box::pin(async move {
            let write = Write::Swap(key.clone(), expected.cloned(), body.clone());
            let Reply { value, date_ms } = self.write(write).await;
            let Wrote::Swapped(value) = value else { unreachable!("a swap was answered as a create") };
            Reply { value, date_ms }
        })
    }

    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Reply<Result<(), StoreFault>>> {
        Box::pin(async move {
            let Reply { value, date_ms } = self.write(Write::Delete(key.clone())).await;
            let Wrote::Deleted(value) = value else { unreachable!("a delete was answered as another write") };
            Reply { value, date_ms }
        })
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a Key>,
    ) -> BoxFuture<'a, Reply<Result<Listing, StoreFault>>> {
        // Pages may be shorter than a caller expects, but one that goes on is not empty.
        let cut = |mut listing: Listing, dice: &Dice| {
            let kept = 1 + dice.below(listing.objects.len().max(1));
            listing.more |= kept < listing.objects.len();
            listing.objects.truncate(kept);
            listing
        };
        Box::pin(async move {
            let page = async {
                let Reply { value, date_ms } = self.bucket.inner.list(prefix, after).await;
                Reply { value: value.map_err(ReadError::Fault), date_ms }
            };
            let Reply { value, date_ms } = self.read(&prefix, page, cut).await;
            let value = value.map_err(|e| match e {
                ReadError::Fault(fault) => fault,
                ReadError::NotFound => unreachable!("a list is always found"),
            });
            Reply { value, date_ms }
        })
    }

    fn kind(&self) -> StoreKind {
        StoreKind::S3
    }

    fn refuses_short_bodies(&self) -> bool {
        !self.bucket.rates.keep_short_bodies()
    }
}

/// A process with faithful clocks, for tests that need no cluster.
pub fn plain_env(time: TrueTime, seed: u64) -> Env {
    let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(seed));
    let clock: Arc<dyn Clock> = Arc::new(time);
    Env { clock, entropy }
}
