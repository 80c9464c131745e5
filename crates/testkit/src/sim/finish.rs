//! The end of a run: faults stop, everything must come to rest within 30 s, and then the bucket alone must tell it all.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lakebed_broker::api::TimestampType;
use lakebed_broker::{Broker, BrokerConfig};
use lakebed_manifest::{ApplyListener, Manifest, ManifestConfig};
use lakebed_record::envelope::{self, Kind};
use lakebed_record::{FEATURE_LEVEL, Slot, TopicPartition, crc, keys};
use lakebed_store::env::Env;
use lakebed_store::memory::MemoryStore;
use lakebed_store::{Body, Store};

use super::audit;
use super::client::{Client, split, whole};
use super::rest::Rested;
use super::world::World;
use crate::entropy::SeededEntropy;
use crate::history::Read;
use crate::power::Power;
use crate::store::FaultyStore;
use crate::time::{MachineClock, SimClock};

/// Invariant 11.
const PROGRESS_WITHIN: Duration = Duration::from_secs(30);
/// By then whatever was under way has landed.
pub const LANDED_AFTER: Duration = Duration::from_secs(11 * 60);

/// Nothing fails any more: machines run, clocks are right.
pub fn heal(world: &World) {
    world.nemesis.disarm();
    for machine in &world.machines {
        machine.clock.set_off(0);
        if let Some(power) = &*machine.power.lock() {
            power.resume();
        }
    }
    world.frozen.set(false);
    world.note(0, "healed", &"");
}

/// Every node serves, and takes a record, within 30 s.
pub async fn check_progress(world: &Arc<World>) {
    let healed = world.time.now();
    let served = tokio::time::timeout(PROGRESS_WITHIN, async {
        for node in 0..world.machines.len() {
            one_record_through(world, node).await;
        }
    });
    if served.await.is_err() {
        let status = world.machines.iter().map(|m| m.live.lock().as_ref().map(|l| l.broker.status()));
        let what = format!("no progress within 30 s after faults stopped: {:?}", status.collect::<Vec<_>>());
        return world.violation(what);
    }
    let took = world.time.now() - healed;
    world.note(0, "progress", &took.as_millis());
}

/// Until a record went in and came out.
pub async fn one_record_through(world: &Arc<World>, node: usize) {
    let mut client = Client::new(world.clone(), 1_000 + node as u64);
    loop {
        let live = world.machines[node].live.lock().clone();
        let Some(live) = live.filter(|l| !l.power.is_dead()) else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        client.connect_to(live);
        if client.final_round().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Invariant 12: all processes die, and the bucket alone is asked.
pub async fn check_bucket(world: &Arc<World>, rested: Option<Rested>) {
    let last = world.machines.iter().filter_map(|m| m.live.lock().take());
    last.for_each(|live| world.harvest(&live));
    world.machines.iter().filter_map(|m| m.power.lock().clone()).for_each(|p| p.kill());
    tokio::time::sleep(LANDED_AFTER).await;
    for key in world.bucket.changed().await {
        world.violation(format!("object {key} has changed since it was created"));
    }
    read_all(world).await;
    audit::check(world, rested).await;
    check_replays(world).await;
}

async fn read_all(world: &Arc<World>) {
    let machine = Arc::new(MachineClock::new(world.time, 0, 0));
    let power = Power::on(99, machine.clone(), world.nemesis.clone());
    let store = FaultyStore::new(world.bucket.clone(), power.clone());
    let clock = Arc::new(SimClock::new(machine, power));
    let env = Env { clock, entropy: Arc::new(SeededEntropy::new(world.plan.seed ^ 0xF1)) };
    let log = ManifestConfig { cleaning: None, ..world.plan.log() };
    let config = BrokerConfig::new("last", 9092, 64 << 20);
    let broker = match Broker::open_with(store, env, config, log).await {
        Ok(broker) => broker,
        Err(error) => return world.violation(format!("no node starts from the bucket alone: {error}")),
    };
    let (slot, hash) = broker.manifest().read(|s| (s.slot(), s.hash()));
    world.history.lock().state_hash(99, slot, hash);
    let there = broker.topics();
    for (name, topic) in world.topics.lock().iter().filter(|(_, t)| !t.doomed) {
        if !there.iter().any(|t| t.id == topic.id) {
            world.violation(format!("topic {name} {} was created and is lost", topic.id));
        }
    }
    let retained = world.retained.lock().topic;
    for topic in there.into_iter().filter(|t| Some(t.id) != retained) {
        for partition in 0..topic.partitions {
            let tp = TopicPartition::new(topic.id, partition);
            if let Some(log) = read_log(world, &broker, tp).await {
                world.nemesis.tally.count("batches in the end", log.len() as u64);
                if topic.config.timestamp_type == TimestampType::LogAppendTime {
                    world.nemesis.tally.count("LogAppendTime batches in the end", log.len() as u64);
                }
                world.history.lock().check_log(tp, &log);
            }
        }
    }
}

async fn read_log(world: &World, broker: &Broker, tp: TopicPartition) -> Option<Vec<Read>> {
    let mut log: Vec<Read> = Vec::new();
    let mut offset = 0;
    loop {
        match broker.fetch(whole(tp, offset)).await.remove(0) {
            Ok(fetched) if fetched.high_watermark == offset => return Some(log),
            Ok(fetched) => {
                let batches = split(&fetched.records.concat());
                let Some(last) = batches.last() else {
                    world.violation(format!("{tp}: nothing can be read at {offset}"));
                    return None;
                };
                offset = last.base_offset + i64::from(last_delta(&last.bytes)) + 1;
                log.extend(batches);
            }
            Err(error) => {
                world.violation(format!("{tp}: reading the whole log stops at {offset}: {error}"));
                return None;
            }
        }
    }
}

fn last_delta(batch: &Bytes) -> i32 {
    lakebed_record::batch::BatchHeader::parse(batch).map_or(0, |h| h.last_offset_delta)
}

struct Deaf;

impl ApplyListener for Deaf {
    fn applied(&self, _: &[TopicPartition], _: Slot) {}
    fn inline_data(&self, _: Slot, _: &Body) {}
}

/// Invariant 2: replay of the whole log as it was written, and from every snapshot that CURRENT keeps, gives one state.
async fn check_replays(world: &World) {
    let Some(current) = world.bucket.peek(&keys::current()).await else {
        return world.violation("CURRENT is gone".into());
    };
    let json: serde_json::Value = match envelope::open(Kind::Current, &current)
        .and_then(|h| envelope::body(&h, &current))
        .map(serde_json::from_slice)
    {
        Ok(Ok(json)) => json,
        _ => return world.violation("CURRENT cannot be read".into()),
    };
    let kept = json["snapshots"].as_array().cloned().unwrap_or_default();
    world.nemesis.tally.count("snapshots in the end", kept.len() as u64);
    let mut first = None;
    for snapshot in std::iter::once(None).chain(kept.into_iter().map(Some)) {
        let from = snapshot.as_ref().map_or_else(|| "slot 1".to_owned(), |s| format!("snapshot {}", s["slot"]));
        match replay(world, &json, snapshot).await {
            Ok(state) if *first.get_or_insert(state) == state => {}
            Ok(state) => world.violation(format!("replay from {from} gives {state:?}, else {first:?}")),
            Err(error) => world.violation(format!("replay from {from} fails: {error}")),
        }
    }
}

/// Slot and state hash that a node has which starts from a copy of the bucket where CURRENT names this snapshot only; without one
/// from the first slot, so that what was cleaned is put back.
async fn replay(
    world: &World,
    current: &serde_json::Value,
    snapshot: Option<serde_json::Value>,
) -> Result<(Slot, u64), String> {
    let env = crate::store::plain_env(world.time, world.plan.seed ^ 0xE1);
    let copy = MemoryStore::new(&env);
    let mut current = current.clone();
    if snapshot.is_none() {
        current["log_floor"] = 1.into();
        for (key, lives) in world.bucket.ledger().all(&keys::log_prefix()) {
            copy.create(&key, &Body::from(lives[0].bytes.clone())).await;
        }
    }
    current["snapshots"] = snapshot.into_iter().collect();
    for key in world.bucket.keys() {
        let bytes = if key == keys::current() {
            let json = serde_json::to_vec(&current).map_err(|e| e.to_string())?;
            envelope::seal(Kind::Current, FEATURE_LEVEL, &json, 0, crc::crc32c(&[])).0
        } else {
            world.bucket.peek(&key).await.ok_or("an object is gone")?
        };
        copy.create(&key, &Body::from(bytes)).await;
    }
    let listener = Arc::new(Deaf);
    let log = ManifestConfig { time_scale: world.plan.time_scale, ..ManifestConfig::default() };
    let opened = Manifest::open(Arc::new(copy), env, log, listener).await;
    opened.map(|m| m.read(|s| (s.slot(), s.hash()))).map_err(|e| e.to_string())
}
