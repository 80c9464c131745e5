use std::sync::atomic::{AtomicU64, Ordering};

use lakebed_record::keys;
use tokio::time::Instant;

use super::*;
use crate::memory::MemoryStore;
use crate::{Fault, FaultKind};

const MS: Duration = Duration::from_millis(1);

struct TokioClock(Instant);

impl crate::env::Clock for TokioClock {
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

fn env() -> Env {
    Env { clock: Arc::new(TokioClock(Instant::now())), ..Env::system() }
}

/// What the next creates do, in order; then each takes 40 ms.
#[derive(Clone, Copy)]
enum Next {
    Takes(Duration),
    /// Fails after that time, and nothing happened.
    Fails(Duration),
    /// Is throttled.
    Throttled,
}

struct Script {
    inner: MemoryStore,
    next: Mutex<VecDeque<Next>>,
    creates: AtomicU64,
}

impl crate::testing::PassThrough for Script {
    fn inner(&self) -> &dyn Store {
        &self.inner
    }

    fn create<'a>(&'a self, key: &'a Key, body: &'a Body) -> BoxFuture<'a, Reply<Created>> {
        self.creates.fetch_add(1, Ordering::Relaxed);
        let next = self.next.lock().pop_front().unwrap_or(Next::Takes(40 * MS));
        Box::pin(async move {
            match next {
                Next::Takes(time) => {
                    tokio::time::sleep(time).await;
                    self.inner.create(key, body).await
                }
                Next::Throttled => {
                    let fault = Fault { kind: FaultKind::Throttled, message: "slow down".into() };
                    Reply { value: Created::Unknown(fault), date_ms: None }
                }
                Next::Fails(time) => {
                    tokio::time::sleep(time).await;
                    let fault = Fault { kind: FaultKind::Server, message: "no".into() };
                    Reply { value: Created::Unknown(fault), date_ms: None }
                }
            }
        })
    }
}

struct Bench {
    script: Arc<Script>,
    hedged: Hedged,
    hedges: Arc<AtomicU64>,
    created: AtomicU64,
}

impl Bench {
    /// After 100 creates of 40 ms.
    async fn warm() -> Bench {
        let env = env();
        let script = Script { inner: MemoryStore::new(&env), next: Mutex::default(), creates: AtomicU64::new(0) };
        let script = Arc::new(script);
        let hedges = Arc::new(AtomicU64::new(0));
        let count = hedges.clone();
        let hedged = Hedged::new(script.clone(), env, Eagerness::SPARING, move |kind| {
            assert_eq!(kind, "put");
            count.fetch_add(1, Ordering::Relaxed);
        });
        let bench = Bench { script, hedged, hedges, created: AtomicU64::new(0) };
        for _ in 0..100 {
            bench.create(&[]).await;
        }
        assert_eq!(bench.script.creates.load(Ordering::Relaxed), 100);
        bench
    }

    /// How it ended, after how many ms, with how many requests.
    async fn create(&self, script: &[Next]) -> (Created, u128, u64) {
        self.script.next.lock().extend(script);
        let before = self.script.creates.load(Ordering::Relaxed);
        let key = keys::probe(1, &self.created.fetch_add(1, Ordering::Relaxed).to_string());
        let start = Instant::now();
        let reply = self.hedged.create(&key, &Body::from(bytes::Bytes::from_static(b"x"))).await;
        let requests = self.script.creates.load(Ordering::Relaxed) - before;
        self.script.next.lock().clear();
        (reply.value, start.elapsed().as_millis(), requests)
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_request_is_overtaken_by_its_twin() {
    let bench = Bench::warm().await;
    let (answer, took, requests) = bench.create(&[Next::Takes(500 * MS)]).await;
    assert!(matches!(answer, Created::Yes));
    assert_eq!((took, requests), (80, 2));
    let (answer, took, requests) = bench.create(&[Next::Takes(60 * MS), Next::Takes(60 * MS)]).await;
    assert!(matches!(answer, Created::Yes));
    assert_eq!((took, requests), (60, 2));
    assert_eq!(bench.hedges.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_proves_nothing_waits_for_the_other() {
    let bench = Bench::warm().await;
    let (answer, took, _) = bench.create(&[Next::Fails(50 * MS), Next::Takes(70 * MS)]).await;
    assert!(matches!(answer, Created::Yes));
    assert_eq!(took, 110);
    let (answer, took, _) = bench.create(&[Next::Takes(200 * MS), Next::Fails(10 * MS)]).await;
    assert!(matches!(answer, Created::Yes));
    assert_eq!(took, 200);
    let (answer, took, requests) = bench.create(&[Next::Fails(30 * MS)]).await;
    assert!(matches!(answer, Created::Unknown(_)));
    assert_eq!((took, requests), (30, 1));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_slow_as_a_whole_is_not_asked_for_twice_as_much() {
    let bench = Bench::warm().await;
    let mut requests = 0;
    for _ in 0..200 {
        requests += bench.create(&[Next::Takes(400 * MS), Next::Takes(400 * MS)]).await.2;
    }
    assert!(requests <= 220, "{requests}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_throttles_is_sent_nothing_twice() {
    let bench = Bench::warm().await;
    assert!(matches!(bench.create(&[Next::Throttled]).await.0, Created::Unknown(_)));
    let late = [Next::Takes(500 * MS)];
    for _ in 0..50 {
        let (_, took, requests) = bench.create(&late).await;
        assert_eq!((took, requests), (500, 1), "it keeps its pace");
    }
    tokio::time::sleep(60_000 * MS).await;
    let (_, took, requests) = bench.create(&late).await;
    assert_eq!((took, requests), (80, 2), "and what was slow then is not what is usual");
}

#[tokio::test]
async fn keeps_the_contract() {
    let env = Env::system();
    let memory = Arc::new(MemoryStore::new(&env));
    let store = Hedged::new(memory, env.clone(), Eagerness::EAGER, |_| {});
    crate::conformance::run(Arc::new(store), &env).await;
    let store = Hedged::new(Arc::new(MemoryStore::new(&env)), env.clone(), Eagerness::EAGER, |_| {});
    crate::conformance::run(Arc::new(Patient::new(Arc::new(store))), &env).await;
}

#[tokio::test(start_paused = true)]
async fn patient_work_is_sent_once_and_is_no_measure_for_others() {
    let bench = Bench::warm().await;
    let Bench { script, hedged, hedges, .. } = bench;
    let hedged = Arc::new(hedged);
    let patient = Patient::new(Arc::clone(&hedged));
    let create = async |store: &dyn Store, n: &str, takes: Next| {
        script.next.lock().push_back(takes);
        let start = Instant::now();
        let key = keys::probe(2, n);
        let reply = store.create(&key, &Body::from(bytes::Bytes::from_static(b"x"))).await;
        (matches!(reply.value, Created::Yes), start.elapsed())
    };
    for n in 0..200 {
        let (created, took) = create(&patient, &format!("p{n}"), Next::Takes(5_000 * MS)).await;
        assert!(created && took == 5_000 * MS);
    }
    assert_eq!(hedges.load(Ordering::Relaxed), 0);
    // What is waited for is still hedged as if there were no others.
    assert_eq!(create(&*hedged, "a", Next::Takes(500 * MS)).await, (true, 80 * MS));
    // While the store throttles those, writes that can wait do so, but not for ever.
    assert!(!create(&*hedged, "b", Next::Throttled).await.0);
    assert_eq!(create(&patient, "c", Next::Takes(40 * MS)).await, (true, 15_040 * MS));
    tokio::time::sleep(60_000 * MS).await;
    assert_eq!(create(&patient, "d", Next::Takes(40 * MS)).await, (true, 40 * MS));
}

#[test]
fn local_stores_are_never_hedged() {
    let mut history = History::new("put", Eagerness::SPARING);
    (0..1000).for_each(|n| history.took(if n % 50 == 0 { 90 * MS } else { MS }));
    assert_eq!(history.patience(), None);
}
