//! Whole nodes on one failing bucket, random clients, and the checks of section 10: one run per seed.

mod audit;
mod client;
mod cluster;
mod finish;
mod plan;
mod rest;
mod retained;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;

pub use plan::Plan;
use world::{Machine, World};

use crate::entropy::Dice;
use crate::faults::Tally;
use crate::history::History;
use crate::power::Nemesis;
use crate::store::Bucket;
use crate::switch::Switch;
use crate::time::{MachineClock, TrueTime};
use crate::trace::{Lines, Trace};

/// What became of a run.
pub struct Report {
    pub seed: u64,
    /// Empty: all is well.
    pub violations: Vec<String>,
    pub counts: BTreeMap<String, u64>,
    pub trace_hash: u64,
    /// The trace itself, if it was asked for.
    pub trace: String,
    pub simulated: Duration,
    /// Lines of the trace.
    pub events: u64,
}

/// Runs a seed on this thread, on a runtime of its own.
pub fn run(seed: u64, lines: Lines) -> Report {
    run_plan(Plan::of(seed), lines)
}

pub fn run_plan(plan: Plan, lines: Lines) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime without I/O can always be built").block_on(simulate(plan, lines))
}

/// A run that is not over by then will never be.
const SIMULATED_AT_MOST: Duration = Duration::from_secs(60 * 24 * 3600);

async fn simulate(plan: Plan, lines: Lines) -> Report {
    let world = build(plan, lines);
    if tokio::time::timeout(SIMULATED_AT_MOST, drive(&world)).await.is_err() {
        world.violation("the run does not come to an end".into());
    }
    let violations = world.history.lock().violations().to_vec();
    Report {
        seed: world.plan.seed,
        violations,
        counts: world.nemesis.tally.snapshot(),
        trace_hash: world.nemesis.trace.hash(),
        trace: world.nemesis.trace.text(),
        simulated: world.time.now(),
        events: world.nemesis.trace.count(),
    }
}

fn build(plan: Plan, lines: Lines) -> Arc<World> {
    let time = TrueTime::start();
    let nemesis = Arc::new(Nemesis {
        time,
        dice: Dice::new(plan.seed ^ 0x4E4E),
        strikes: plan.strikes.clone(),
        tally: Tally::default(),
        trace: Trace::new(lines),
        armed: AtomicBool::new(true),
        struck: AtomicU32::new(0),
        long_pauses: AtomicU32::new(0),
        long_pause: Switch::new(None),
    });
    let bucket = Bucket::new(time, plan.rates.clone(), plan.seed ^ 0xB0C4E7);
    let dice = Dice::new(plan.seed ^ 0xC10C4);
    let machines = (0..plan.nodes).map(|_| machine(&plan, time, &dice)).collect();
    Arc::new(World {
        plan,
        time,
        nemesis,
        bucket,
        machines,
        history: Mutex::new(History::default()),
        topics: Mutex::default(),
        deleted: Mutex::default(),
        retained: Mutex::default(),
        frozen: Switch::new(false),
        producer_ids: Mutex::new(BTreeSet::new()),
        connections: AtomicU64::new(1),
        serial: AtomicU64::new(1),
    })
}

fn machine(plan: &Plan, time: TrueTime, dice: &Dice) -> Machine {
    let within = |most: i64| dice.between(0, 2 * most as u64) as i64 - most;
    let clock = Arc::new(MachineClock::new(time, within(plan.fast_ppm), within(plan.wall_off_ms)));
    Machine { clock, live: Mutex::new(None), power: Mutex::new(None) }
}

async fn drive(world: &Arc<World>) {
    world.note(0, "plan", &format_args!("{:?}", world.plan));
    let supervisors: Vec<_> =
        (0..world.machines.len()).map(|n| tokio::spawn(cluster::supervise(world.clone(), n as u8))).collect();
    let freezer = tokio::spawn(cluster::skip_long_pauses(world.clone()));
    let deeds = tokio::spawn(cluster::do_deeds(world.clone()));
    let each = world.plan.operations.div_ceil(world.plan.clients);
    let clients = (0..world.plan.clients).map(|c| client::Client::new(world.clone(), c as u64).run(each));
    let keeper = tokio::spawn(client::Client::new(world.clone(), 2_000).keep_retained());
    drop(join_all(clients).await);
    keeper.abort();
    deeds.abort();
    freezer.abort();
    finish::heal(world);
    finish::check_progress(world).await;
    let rested = if world.plan.cleaning { Some(rest::rest(world).await) } else { None };
    supervisors.iter().for_each(tokio::task::JoinHandle::abort);
    finish::check_bucket(world, rested).await;
}
