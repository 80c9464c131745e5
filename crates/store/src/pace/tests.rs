use std::collections::VecDeque;

use super::*;
use crate::memory::MemoryStore;

const MS: Duration = Duration::from_millis(1);

fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Sends as fast as it may for so many ms; the store takes so many a second and throttles the rest. Answers arrive
/// after 20 ms. Returns when it ended, how many were taken, and how many throttled.
fn ask(rate: &mut Rate, from: u64, ms: u64, capacity: f64) -> (u64, u32, u32) {
    let (mut taken, mut refused, mut tokens) = (0, 0, capacity);
    let mut answers: VecDeque<(u64, bool)> = VecDeque::new();
    let mut due = from;
    for now in from..from + ms {
        tokens = (tokens + capacity / 1e3).min(capacity.max(1.0));
        while answers.front().is_some_and(|(sent, _)| sent + 20 <= now) {
            match answers.pop_front().unwrap() {
                (_, true) => rate.answered(),
                (sent, false) => drop(rate.throttled(at(sent), at(now))),
            }
        }
        // One request a millisecond at most.
        if due <= now {
            due = match rate.turn(at(now)).0 {
                Turn::Now => now + 1,
                Turn::In(wait) => now + wait.as_millis() as u64,
                Turn::TooLate => now + 1,
            };
            let fits = tokens >= 1.0;
            if fits {
                tokens -= 1.0;
                taken += 1;
            } else {
                refused += 1;
            }
            answers.push_back((now, fits));
        }
    }
    (from + ms, taken, refused)
}

#[test]
fn there_is_no_limit_until_a_reply_is_throttled() {
    let mut rate = Rate::default();
    for i in 0..100_000 {
        assert_eq!(rate.turn(at(i / 100)), (Turn::Now, None));
        rate.answered();
    }
}

#[test]
fn it_settles_near_what_the_store_takes() {
    let mut rate = Rate::default();
    let (now, ..) = ask(&mut rate, 0, 30_000, 200.0);
    let (_, taken, refused) = ask(&mut rate, now, 60_000, 200.0);
    assert!(taken > 60 * 140, "{taken} taken");
    assert!(refused < taken / 20, "{refused} refused, {taken} taken");
}

#[test]
fn a_store_that_takes_nothing_is_asked_at_the_lowest_rate_for_ever() {
    let mut rate = Rate::default();
    let (now, ..) = ask(&mut rate, 0, 60_000, 0.0);
    let (_, _, asked) = ask(&mut rate, now, 60_000, 0.0);
    assert!((100..=130).contains(&asked), "{asked} in a minute");
}

#[test]
fn it_recovers_with_the_store() {
    let mut rate = Rate::default();
    let (now, ..) = ask(&mut rate, 0, 60_000, 0.0);
    let (now, ..) = ask(&mut rate, now, 59_000, 1e6);
    let (_, taken, _) = ask(&mut rate, now, 2_000, 1e6);
    assert!(taken > 1_000, "{taken} in the two seconds around a minute later");
    assert_eq!(rate.turn(at(500_000)), (Turn::Now, None));
}

#[test]
fn replies_to_what_was_sent_before_the_cut_do_not_cut_again() {
    let mut rate = Rate::default();
    for i in 0..100 {
        rate.turn(at(i));
    }
    assert_eq!(rate.throttled(at(10), at(100)), Some(Change::Limited(70)));
    for i in 11..100 {
        assert_eq!(rate.throttled(at(i), at(100 + i)), None);
    }
    let Turn::In(first) = rate.turn(at(100)).0 else { panic!("no limit") };
    let Turn::In(second) = rate.turn(at(100)).0 else { panic!("no limit") };
    assert_eq!((second - first).as_millis(), 14);
}

#[test]
fn waits_are_bounded() {
    let mut rate = Rate::default();
    rate.throttled(at(0), at(0));
    let turns: Vec<_> = (0..20).map(|_| rate.turn(at(0)).0).collect();
    let waits = turns.iter().filter(|t| matches!(t, Turn::In(w) if *w <= LONGEST_WAIT)).count();
    assert_eq!((waits, turns.last()), (10, Some(&Turn::TooLate)));
    // Who was turned away took no turn.
    assert_eq!(rate.turn(at(1_000)).0, Turn::In(4_500 * MS));
}

/// Throttles while told to.
struct Busy {
    inner: MemoryStore,
    busy: Mutex<bool>,
    asked: Mutex<u32>,
}

impl Busy {
    fn new(env: &Env) -> Arc<Busy> {
        Arc::new(Busy { inner: MemoryStore::new(env), busy: Mutex::new(false), asked: Mutex::new(0) })
    }

    fn throttled<T: Answer>(&self) -> Option<Reply<T>> {
        *self.asked.lock() += 1;
        let fault = Fault { kind: FaultKind::Throttled, message: "slow down".into() };
        self.busy.lock().then(|| Reply { value: T::of(fault), date_ms: None })
    }
}

impl crate::testing::PassThrough for Busy {
    fn inner(&self) -> &dyn Store {
        &self.inner
    }

    fn create<'a>(&'a self, key: &'a Key, body: &'a Body) -> BoxFuture<'a, Reply<Created>> {
        Box::pin(async move {
            match self.throttled() {
                Some(reply) => reply,
                None => self.inner.create(key, body).await,
            }
        })
    }
}

struct TokioClock(tokio::time::Instant);

impl Clock for TokioClock {
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

#[tokio::test]
async fn keeps_the_contract() {
    let env = Env::system();
    crate::conformance::run(Arc::new(Paced::new(Arc::new(MemoryStore::new(&env)), &env)), &env).await;
}

#[tokio::test(start_paused = true)]
async fn a_throttled_write_slows_writes_and_deletes_but_no_reads() {
    let clock = Arc::new(TokioClock(tokio::time::Instant::now()));
    let env = Env { clock: clock.clone(), ..Env::system() };
    let busy = Busy::new(&env);
    let store = Paced::new(busy.clone(), &env);
    let (key, body) = (Key::new("a"), Body::default());
    *busy.busy.lock() = true;
    store.create(&key, &body).await;
    *busy.busy.lock() = false;
    assert_eq!(store.limits(), [("write", Some(FLOOR)), ("read", None), ("delete", Some(FLOOR))]);
    assert_eq!(clock.monotonic(), Duration::ZERO);
    store.list("", None).await.value.unwrap();
    store.get(&key, None).await.value.unwrap_err();
    assert_eq!(clock.monotonic(), Duration::ZERO);
    assert!(matches!(store.create(&key, &body).await.value, Created::Yes));
    assert_eq!(clock.monotonic().as_millis(), 500);
    for _ in 0..3 {
        store.delete(&key).await.value.unwrap();
    }
    assert!(clock.monotonic().as_millis() > 1_200, "{:?}", clock.monotonic());
    // Who would wait too long is told so, without asking the store.
    let many = futures_util::future::join_all((0..40).map(|_| store.create(&key, &body))).await;
    let told =
        many.iter().filter(|r| matches!(&r.value, Created::Unknown(f) if f.kind == FaultKind::Throttled)).count();
    assert!(told > 20, "{told}");
    assert_eq!(*busy.asked.lock() as usize, 2 + 40 - told);
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(store.limits().map(|(_, limit)| limit), [None; 3]);
}
