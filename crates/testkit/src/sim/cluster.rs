//! Machines on which processes start, run, die and start again, and the nemesis that does more than strike.

use std::sync::Arc;
use std::time::Duration;

use lakebed_broker::{Background, Broker, BrokerConfig, FlushProfile};
use lakebed_record::Incarnation;
use lakebed_record::ops::{NodeDown, OpKind};
use lakebed_store::env::Env;

use super::world::{Live, World};
use crate::entropy::{Dice, SeededEntropy};
use crate::faults::Fault;
use crate::power::Power;
use crate::store::FaultyStore;
use crate::time::SimClock;

const MOST_DEEDS: usize = 40;
const MEMORY: usize = 64 << 20;

/// Keeps a process running on a machine: the supervisor that restarts what has died.
pub async fn supervise(world: Arc<World>, node: u8) {
    let dice = Dice::new(world.plan.seed ^ (u64::from(node) << 32) ^ 0xA11CE);
    let mut generation = 0;
    loop {
        world.thaw().await;
        generation += 1;
        let power = start(&world, node, generation, &dice);
        power.died().await;
        let last = world.machines[usize::from(node)].live.lock().take();
        last.iter().for_each(|live| world.harvest(live));
        if dice.one_in(2) {
            // Whoever starts it again has read what it said of its clock.
            world.machines[usize::from(node)].clock.set_off(0);
        }
        tokio::time::sleep(Duration::from_millis(dice.between(50, 3_000))).await;
    }
}

fn start(world: &Arc<World>, node: u8, generation: u64, dice: &Dice) -> Arc<Power> {
    let machine = &world.machines[usize::from(node)];
    let started = world.time.now();
    let power = Power::on(node, machine.clock.clone(), world.nemesis.clone());
    *machine.power.lock() = Some(power.clone());
    let store = FaultyStore::new(world.bucket.clone(), power.clone());
    let clock = Arc::new(SimClock::new(machine.clock.clone(), power.clone()));
    let env = Env { clock, entropy: Arc::new(SeededEntropy::new(dice.u64())) };
    let flush = [FlushProfile::Latency, FlushProfile::Balanced, FlushProfile::Economy][dice.below(3)];
    let (world, power_of_task) = (world.clone(), power.clone());
    tokio::spawn(async move {
        let mut config = BrokerConfig::new(format!("node{node}"), 9092, MEMORY);
        config.flush = flush;
        config.background = background(world.plan.background);
        let log = world.plan.log();
        world.note(node, "start", &generation);
        match Broker::open_with(store, env, config, log).await {
            Ok(broker) => {
                world.note(node, "serves", &broker.manifest().incarnation());
                world.count("outcome node serves");
                let live = Live { node, generation, broker, power: power_of_task, started };
                if !live.power.is_dead() {
                    *world.machines[usize::from(node)].live.lock() = Some(live);
                }
            }
            Err(error) => {
                world.note(node, "start failed", &error);
                let clock = error.to_string().contains("clock is");
                let excused = if clock { world.was_off(node, started) } else { world.nemesis.is_armed() };
                if !excused {
                    world.violation(format!("node {node} does not start although nothing is wrong: {error}"));
                }
                world.count("outcome start failed");
                power_of_task.kill();
            }
        }
    });
    power
}

/// Skips most of a long pause of one process by pausing all others too, some time after it began and until shortly before
/// it ends: what happens around its ends is what matters, and hours of idling cost real time.
pub async fn skip_long_pauses(world: Arc<World>) {
    let dice = Dice::new(world.plan.seed ^ 0xF4EE2E);
    loop {
        let Some(until) = world.nemesis.long_pause.when(|until| until.is_some()).await else { continue };
        world.nemesis.long_pause.set(None);
        tokio::time::sleep(Duration::from_millis(dice.between(1_000, 40_000))).await;
        let left = until.saturating_sub(world.time.now() + Duration::from_secs(10));
        if left < Duration::from_secs(120) || !world.nemesis.is_armed() {
            continue;
        }
        world.note(0, "freeze", &left.as_secs());
        world.frozen.set(true);
        let suspended = dice.one_in(2);
        let running: Vec<_> = world.machines.iter().filter_map(|m| m.power.lock().clone()).collect();
        running.iter().filter(|p| p.is_running()).for_each(|p| p.hold(suspended, left));
        tokio::time::sleep(left).await;
        world.frozen.set(false);
        world.note(0, "thaw", &"");
    }
}

/// Sets clocks, signs off nodes that are well, and stops nodes in order.
pub async fn do_deeds(world: Arc<World>) {
    if world.plan.deeds_apart_ms == 0 {
        return;
    }
    let dice = Dice::new(world.plan.seed ^ 0xDEED);
    for _ in 0..MOST_DEEDS {
        tokio::time::sleep(Duration::from_millis(dice.between(1, 2 * world.plan.deeds_apart_ms))).await;
        world.thaw().await;
        if !world.nemesis.is_armed() {
            return;
        }
        let node = dice.below(world.machines.len());
        match dice.below(4) {
            0 | 1 => jump_clock(&world, node, &dice),
            2 => sign_off_another(&world, node, &dice),
            // On its own, so that it is finished even if the run's faults end meanwhile.
            _ => drop(tokio::spawn(shut_down(world.clone(), node))),
        }
    }
}

fn jump_clock(world: &World, node: usize, dice: &Dice) {
    let by = [-7_200_000, -400_000, -70_000, 1_500, 70_000, 400_000, 7_200_000, 100_000_000][dice.below(8)];
    world.nemesis.tally.fault(Fault::ClockJump);
    world.note(node as u8, "clock jumps", &by);
    world.machines[node].clock.set_off(by);
}

/// Any node may write `node down` for any incarnation: a false one is safe (4.3 rule 3).
fn sign_off_another(world: &World, node: usize, dice: &Dice) {
    let Some(live) = world.live_from(node).filter(|l| l.power.is_running()) else { return };
    let manifest = live.broker.manifest();
    let known: Vec<Incarnation> = manifest.read(|s| {
        let mut up: Vec<_> = s.nodes().filter(|(_, n)| n.down_at.is_none()).map(|(i, _)| i).collect();
        up.sort_unstable();
        up
    });
    if known.is_empty() {
        return;
    }
    let victim = known[dice.below(known.len())];
    world.nemesis.tally.fault(Fault::FalseNodeDown);
    world.note(live.node, "signs off", &victim);
    // The ticket is not waited for: dropping it stops nothing.
    drop(manifest.submit(vec![OpKind::NodeDown(NodeDown { incarnation: victim.0 }).into()], Vec::new()));
}

async fn shut_down(world: Arc<World>, node: usize) {
    let Some(live) = world.machines[node].live.lock().clone() else { return };
    world.nemesis.tally.fault(Fault::Shutdown);
    world.note(live.node, "shuts down", &live.generation);
    let started = world.time.now();
    if let super::world::Called::Answered(()) =
        world.call(&live, Duration::from_secs(3600), live.broker.shutdown()).await
    {
        world.note(live.node, "shut down", &(world.time.now() - started).as_millis());
    }
    live.power.kill();
}

/// In a hurry, so that a run of some minutes sees entries merged, merged again, sealed and deleted.
fn background(on: bool) -> Background {
    Background {
        merging: on,
        collecting: on,
        merge_age: Duration::from_secs(2),
        merge_patience: Duration::from_secs(4),
        poll: Duration::from_millis(700),
        page_entries: 3,
        put_spacing: Some(Duration::from_millis(100)),
        orphans_every: Duration::from_secs(240),
        collect_every: Duration::from_secs(5),
        retain_every: Duration::from_secs(5),
        ..Background::default()
    }
}
