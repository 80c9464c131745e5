use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use lakebed_store::env::Clock;
use lakebed_store::memory::MemoryStore;
use lakebed_store::{BoxFuture, Created, Reply};

use super::*;

struct Paused(tokio::time::Instant);

impl Clock for Paused {
    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    fn wall_ms(&self) -> i64 {
        0
    }

    fn sleep<'a>(&'a self, how_long: Duration) -> BoxFuture<'a, ()> {
        Box::pin(tokio::time::sleep(how_long))
    }
}

/// Answers so many creates, deletes and reads of whole objects with a fault, then does them.
struct Failing {
    inner: MemoryStore,
    left: AtomicU32,
    kind: FaultKind,
}

impl Failing {
    fn new(env: &Env, left: u32, kind: FaultKind) -> Failing {
        Failing { inner: MemoryStore::new(env), left: left.into(), kind }
    }

    fn fault(&self) -> Option<Fault> {
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        left.is_ok().then(|| Fault { kind: self.kind, message: "not now".into() })
    }
}

impl lakebed_store::testing::PassThrough for Failing {
    fn inner(&self) -> &dyn Store {
        &self.inner
    }

    fn create<'a>(&'a self, key: &'a Key, body: &'a Body) -> BoxFuture<'a, Reply<Created>> {
        match self.fault() {
            Some(fault) => Box::pin(async { Reply { value: Created::Unknown(fault), date_ms: None } }),
            None => self.inner.create(key, body),
        }
    }

    fn get<'a>(
        &'a self,
        key: &'a Key,
        range: Option<std::ops::Range<u64>>,
    ) -> BoxFuture<'a, Reply<Result<Object, ReadError>>> {
        match self.fault() {
            Some(fault) => Box::pin(async { Reply { value: Err(fault.into()), date_ms: None } }),
            None => self.inner.get(key, range),
        }
    }

    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Reply<Result<(), Fault>>> {
        match self.fault() {
            Some(fault) => Box::pin(async { Reply { value: Err(fault), date_ms: None } }),
            None => self.inner.delete(key),
        }
    }
}

fn env() -> Env {
    Env { clock: Arc::new(Paused(tokio::time::Instant::now())), ..Env::system() }
}

#[tokio::test(start_paused = true)]
async fn background_work_outlasts_a_store_that_throttles_for_an_hour() {
    let env = env();
    for kind in [FaultKind::Throttled, FaultKind::Timeout, FaultKind::Server, FaultKind::NoSpace] {
        let (key, body) = (Key::new("a"), Body::default());
        let store = Failing::new(&env, 200, kind);
        let begun = env.clock.monotonic();
        create(&store, &env, &key, &body).await.expect("at last");
        let took = env.clock.monotonic() - begun;
        assert!((3_000..6_000).contains(&took.as_secs()), "200 tries in {took:?}");
        store.left.store(20, Ordering::Relaxed);
        delete(&store, &env, &key).await.expect("at last");
        assert!(store.inner.keys().is_empty());
        store.left.store(20, Ordering::Relaxed);
        let read = get(&store, &env, &key, Tries::Endless).await;
        assert!(matches!(read, Err(GaveUp::NotFound(_))), "{read:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_gives_up_within_seconds_and_says_why() {
    let env = env();
    let store = Failing::new(&env, 200, FaultKind::Throttled);
    let begun = env.clock.monotonic();
    let error = get(&store, &env, &Key::new("a"), Tries::Few).await.unwrap_err();
    assert_eq!((error.to_string(), store.left.load(Ordering::Relaxed)), ("a: not now".into(), 200 - FEW));
    let took = env.clock.monotonic() - begun;
    assert!((5..15).contains(&took.as_secs()), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn what_an_operator_has_to_mend_is_not_waited_for() {
    let env = env();
    for kind in [FaultKind::Denied, FaultKind::Other] {
        let store = Failing::new(&env, 1, kind);
        let begun = env.clock.monotonic();
        create(&store, &env, &Key::new("a"), &Body::default()).await.unwrap_err();
        assert_eq!(env.clock.monotonic(), begun);
    }
}

#[test]
fn pauses_grow_to_a_bound_and_differ() {
    for failed in 1..100 {
        let (least, most) = (pause(failed, 0), pause(failed, u64::MAX));
        assert!(least < most && most <= LONGEST_PAUSE && 2 * least >= most, "{failed}: {least:?} to {most:?}");
        assert!(pause(failed + 1, 0) >= least);
    }
    assert_eq!(pause(99, 0), LONGEST_PAUSE / 2);
}
