//! The parts of the simulation by themselves: the decorator keeps the store's contract, faults are what they claim to be,
//! clocks run, stop and jump as told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::time::Duration;

use bytes::Bytes;
use lakebed_record::keys;
use lakebed_store::env::{Clock, Env};
use lakebed_store::{Body, Created, Store};
use lakebed_testkit::entropy::{Dice, SeededEntropy};
use lakebed_testkit::faults::{Call, Fault, Rates, Tally};
use lakebed_testkit::power::{Nemesis, Power, Strikes};
use lakebed_testkit::store::{Bucket, FaultyStore};
use lakebed_testkit::switch::Switch;
use lakebed_testkit::time::{MachineClock, SimClock, TrueTime};
use lakebed_testkit::trace::{Lines, Trace};

struct Process {
    store: Arc<FaultyStore>,
    env: Env,
    power: Arc<Power>,
    machine: Arc<MachineClock>,
    bucket: Arc<Bucket>,
    nemesis: Arc<Nemesis>,
}

fn process(rates: Rates, strikes: Strikes) -> Process {
    let time = TrueTime::start();
    let nemesis = Arc::new(Nemesis {
        time,
        dice: Dice::new(1),
        strikes,
        tally: Tally::default(),
        trace: Trace::new(Lines::Dropped),
        armed: AtomicBool::new(true),
        struck: AtomicU32::new(0),
        long_pauses: AtomicU32::new(0),
        long_pause: Switch::new(None),
    });
    let bucket = Bucket::new(time, rates, 7);
    let machine = Arc::new(MachineClock::new(time, 0, 0));
    let power = Power::on(1, machine.clone(), nemesis.clone());
    let store = FaultyStore::new(bucket.clone(), power.clone());
    let clock = Arc::new(SimClock::new(machine.clone(), power.clone()));
    let env = Env { clock, entropy: Arc::new(SeededEntropy::new(3)) };
    Process { store, env, power, machine, bucket, nemesis }
}

#[tokio::test(start_paused = true)]
async fn without_faults_the_decorator_keeps_the_contract() {
    let p = process(Rates::none(), Strikes::default());
    lakebed_store::conformance::run(p.store, &p.env).await;
}

async fn create_under(fault: Fault) -> (Created, Option<Bytes>, Option<Bytes>) {
    let p = process(Rates::always(fault), Strikes::default());
    let key = keys::probe(1, "object");
    let body = Body::from(Bytes::from_static(b"0123456789"));
    let told = p.store.create(&key, &body).await.value;
    let at_once = p.bucket.peek(&key).await;
    tokio::time::sleep(Duration::from_secs(700)).await;
    (told, at_once, p.bucket.peek(&key).await)
}

#[tokio::test(start_paused = true)]
async fn a_delete_happens_at_once_or_late_or_never() {
    use Fault::*;
    for (fault, answered, at_once, in_the_end) in [
        (RequestLost, false, false, false),
        (ResponseLost, false, true, true),
        (LandsLate, false, false, true),
        (DuplicateAnswered, true, true, true),
        (Unavailable503, false, false, false),
        (ShortBodyUntold, true, true, true),
    ] {
        let p = process(Rates::always(fault), Strikes::default());
        let key = keys::probe(1, "object");
        p.bucket.put(&key, Bytes::from_static(b"0123456789")).await;
        assert_eq!(p.store.delete(&key).await.value.is_ok(), answered, "{fault:?}");
        assert_eq!(p.bucket.peek(&key).await.is_none(), at_once, "{fault:?}");
        tokio::time::sleep(Duration::from_secs(700)).await;
        assert_eq!(p.bucket.peek(&key).await.is_none(), in_the_end, "{fault:?}");
        assert!(p.bucket.changed().await.is_empty(), "{fault:?}: what is deleted has not changed");
    }
}

#[tokio::test(start_paused = true)]
async fn each_fault_is_one_of_the_four_worlds() {
    let whole = Some(Bytes::from_static(b"0123456789"));
    use Fault::*;
    for fault in [RequestLost, Conflict409, Throttled429, Server500, Unavailable503] {
        let (told, _, there) = create_under(fault).await;
        assert!(matches!(told, Created::Unknown(_)) && there.is_none(), "{fault:?}: {told:?} {there:?}");
    }
    for fault in [ResponseLost, Server500Done, Unavailable503Done] {
        let (told, there, _) = create_under(fault).await;
        assert!(matches!(told, Created::Unknown(_)) && there == whole, "{fault:?}: {told:?} {there:?}");
    }
    for fault in [DuplicateLater, SlowTail] {
        let (told, there, later) = create_under(fault).await;
        assert!(matches!(told, Created::Yes) && there == whole && later == whole, "{fault:?}: {told:?} {there:?}");
    }
    let (told, there, _) = create_under(DuplicateAnswered).await;
    assert!(matches!(told, Created::Exists) && there == whole, "its own first copy is in the way: {told:?}");
    let (told, at_once, later) = create_under(LandsLate).await;
    assert!(matches!(told, Created::Unknown(_)) && at_once.is_none() && later == whole, "{told:?}");
    let (told, there, _) = create_under(ShortBodyUntold).await;
    assert!(matches!(told, Created::Yes) && there.is_some_and(|b| b.len() < 10), "{told:?}");
    let (told, there, _) = create_under(ShortBodyTold).await;
    assert!(matches!(told, Created::Unknown(_)) && there.is_some_and(|b| b.len() < 10), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_keeps_short_bodies_says_so() {
    assert!(process(Rates::none(), Strikes::default()).store.refuses_short_bodies());
    assert!(!process(Rates::always(Fault::ShortBodyTold), Strikes::default()).store.refuses_short_bodies());
    assert_eq!(Rates::always(Fault::ShortBodyTold).roll(Call::Control, &Dice::new(1)), None);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_sent_lands_though_its_sender_dies_or_hangs_up() {
    let p = process(Rates::none(), Strikes::default());
    let key = keys::probe(1, "object");
    let body = Body::from(Bytes::from_static(b"x"));
    tokio::select! {
        biased;
        _ = p.store.create(&key, &body) => panic!("nobody is that fast"),
        () = tokio::time::sleep(Duration::from_millis(1)) => p.power.kill(),
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(p.bucket.peek(&key).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_calls_and_sleeps_and_a_suspend_stops_the_clock() {
    for suspended in [false, true] {
        let p = process(Rates::none(), Strikes::default());
        let (start, wall) = (p.env.clock.monotonic(), p.env.clock.wall_ms());
        let began = p.nemesis.time.now();
        p.power.hold(suspended, Duration::from_secs(61));
        p.env.clock.sleep(Duration::from_secs(2)).await;
        let took = p.nemesis.time.now() - began;
        let monotonic = p.env.clock.monotonic() - start;
        let seconds = |s| Duration::from_secs(s)..Duration::from_millis(s * 1000 + 50);
        // Suspended, the two seconds have only begun when the machine wakes.
        assert!(seconds(if suspended { 63 } else { 61 }).contains(&took), "{suspended}: {took:?}");
        assert!(seconds(if suspended { 2 } else { 61 }).contains(&monotonic), "{suspended}: {monotonic:?}");
        let wall = Duration::from_millis((p.env.clock.wall_ms() - wall) as u64);
        assert_eq!(wall.as_secs(), took.as_secs(), "the wall clock goes on");
    }
}

#[tokio::test(start_paused = true)]
async fn clocks_run_at_their_own_rate_and_jump() {
    let time = TrueTime::start();
    let machine = MachineClock::new(time, 50_000, -7_000);
    let nemesis = process(Rates::none(), Strikes::default());
    let machine = Arc::new(machine);
    let clock = SimClock::new(machine.clone(), Power::on(1, machine.clone(), nemesis.nemesis.clone()));
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(clock.monotonic().as_millis(), 105_000);
    assert_eq!(clock.wall_ms(), time.wall_ms() - 7_000);
    machine.set_off(90_000);
    assert_eq!(clock.wall_ms(), time.wall_ms() + 90_000);
    let before = time.now();
    clock.sleep(Duration::from_secs(105)).await;
    assert_eq!((time.now() - before).as_secs(), 100);
    drop(nemesis.machine);
}

#[tokio::test(start_paused = true)]
async fn strikes_hit_calls_in_the_middle() {
    let strikes = Strikes { write_one_in: 2, weights: [1, 0, 0, 0, 0], most: 1, ..Strikes::default() };
    let p = process(Rates::none(), strikes);
    let body = Body::from(Bytes::from_static(b"x"));
    for n in 0..20 {
        let key = keys::probe(n, "object");
        tokio::select! {
            biased;
            _ = p.store.create(&key, &body) => {}
            () = p.power.died() => return,
        }
    }
    panic!("twenty writes and no strike");
}
