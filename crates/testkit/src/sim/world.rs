//! What the parts of a simulation share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lakebed_broker::Broker;
use lakebed_broker::api::{TimestampType, TopicInfo};
use lakebed_record::{TopicId, TopicName};
use parking_lot::Mutex;

use super::plan::Plan;
use super::retained::Retained;
use crate::history::{History, Process};
use crate::power::{Nemesis, Power};
use crate::store::Bucket;
use crate::switch::Switch;
use crate::time::{MachineClock, TrueTime};

/// A node stops that finds its host's clock further off than this from the store's (4.4), in ms.
const HOST_CLOCK_MS: i64 = 5 * 60 * 1000;

/// A process that serves.
#[derive(Clone)]
pub struct Live {
    pub node: u8,
    pub generation: u64,
    pub broker: Broker,
    pub power: Arc<Power>,
    /// When the process was started, in true time.
    pub started: Duration,
}

impl Live {
    pub fn process(&self) -> Process {
        (self.node, self.generation)
    }
}

/// A machine and the process on it, if one runs.
pub struct Machine {
    pub clock: Arc<MachineClock>,
    pub live: Mutex<Option<Live>>,
    /// The switch of the process that is starting or running.
    pub power: Mutex<Option<Arc<Power>>>,
}

/// What clients know of a topic.
#[derive(Clone, Debug)]
pub struct KnownTopic {
    pub id: TopicId,
    pub partitions: i32,
    pub timestamps: TimestampType,
    /// Somebody has asked for its deletion.
    pub doomed: bool,
}

pub struct World {
    pub plan: Plan,
    pub time: TrueTime,
    pub nemesis: Arc<Nemesis>,
    pub bucket: Arc<Bucket>,
    pub machines: Vec<Machine>,
    pub history: Mutex<History>,
    /// Ids of topics that are gone for sure.
    pub deleted: Mutex<BTreeSet<TopicId>>,
    pub topics: Mutex<BTreeMap<TopicName, KnownTopic>>,
    pub retained: Mutex<Retained>,
    /// While true, clients and restarts wait: a long pause is being skipped.
    pub frozen: Switch<bool>,
    pub producer_ids: Mutex<BTreeSet<i64>>,
    pub connections: AtomicU64,
    pub serial: AtomicU64,
}

/// How a call of a client ended.
pub enum Called<T> {
    Answered(T),
    /// The process died, or did not answer in time.
    NoAnswer,
}

impl World {
    pub fn note(&self, node: u8, what: &str, detail: &dyn std::fmt::Display) {
        self.nemesis.trace.note(self.time, node, what, detail);
    }

    pub fn count(&self, name: &str) {
        self.nemesis.tally.count(name, 1);
    }

    pub fn violation(&self, what: String) {
        self.note(0, "VIOLATION", &what);
        self.history.lock().violation(what);
    }

    pub fn next_serial(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::Relaxed)
    }

    /// A producer id is given out once.
    pub fn granted(&self, id: i64) {
        if !self.producer_ids.lock().insert(id) {
            self.violation(format!("producer id {id} was given out twice"));
        }
    }

    pub fn created(&self, name: &TopicName, info: &TopicInfo) {
        let TopicInfo { id, partitions, ref config, .. } = *info;
        let topic = KnownTopic { id, partitions, timestamps: config.timestamp_type, doomed: false };
        // A node that lags may still show it.
        if self.deleted.lock().contains(&topic.id) {
            return;
        }
        let mut topics = self.topics.lock();
        match topics.get(name) {
            Some(known) if !known.doomed && known.id != topic.id => {
                let what = format!("topic {name} is {} and {}", known.id, topic.id);
                drop(topics);
                self.violation(what);
            }
            // It may be known already, and its deletion asked for.
            Some(known) if known.id == topic.id => {}
            _ => {
                topics.insert(name.clone(), topic);
            }
        }
    }

    /// What the records of a topic that is known have as their times.
    pub fn timestamps(&self, id: TopicId) -> Option<TimestampType> {
        self.topics.lock().values().find(|t| t.id == id).map(|t| t.timestamps)
    }

    /// From now on it may be gone at any time.
    pub fn doom(&self, id: TopicId) {
        self.topics.lock().values_mut().filter(|t| t.id == id).for_each(|t| t.doomed = true);
    }

    pub fn forget(&self, id: TopicId) {
        self.deleted.lock().insert(id);
        self.topics.lock().retain(|_, t| t.id != id);
    }

    pub async fn thaw(&self) {
        self.frozen.when(|frozen| !frozen).await;
    }

    /// Some process that serves, from `start` on.
    pub fn live_from(&self, start: usize) -> Option<Live> {
        let n = self.machines.len();
        (0..n).find_map(|i| self.machines[(start + i) % n].live.lock().clone())
    }

    /// A client's call: it reaches the process and its answer leaves it only while it runs.
    pub async fn call<T>(&self, live: &Live, within: Duration, call: impl Future<Output = T>) -> Called<T> {
        let answered = async {
            live.power.running().await;
            let answer = call.await;
            live.power.running().await;
            answer
        };
        let called = tokio::select! {
            biased;
            () = live.power.died() => Called::NoAnswer,
            answer = answered => Called::Answered(answer),
            () = tokio::time::sleep(within) => Called::NoAnswer,
        };
        if !live.power.is_dead() {
            let (slot, hash) = live.broker.manifest().read(|s| (s.slot(), s.hash()));
            self.history.lock().state_hash(live.node, slot, hash);
            self.stop_if_halted(live);
        }
        called
    }

    /// A node that must not serve on ends its process, and says why.
    fn stop_if_halted(&self, live: &Live) {
        let Some(why) = live.broker.manifest().status().halted else { return };
        self.note(live.node, "halted", &why);
        let excused = if why.contains("clock is") {
            self.count("outcome halted by its clock");
            self.was_off(live.node, live.started)
        } else {
            // What broken reads may look like; a state that is not the others' never is.
            self.count("outcome halted by a slot");
            self.nemesis.is_armed() && why.contains("cannot be read")
        };
        if !excused {
            self.violation(format!("node {} stops without a reason: {why}", live.node));
        }
        live.power.kill();
    }

    /// What a process has counted, at its end.
    pub fn harvest(&self, live: &Live) {
        let status = live.broker.manifest().status();
        self.nemesis.tally.count("outcome jump over the floor", status.overtaken);
        if let Some(alarm) = status.cleaning.alarm {
            self.violation(format!("node {}: {alarm}", live.node));
        }
        let page = live.broker.render_metrics();
        self.nemesis.tally.count("outcome second look", counter(&page, "lakebed_second_looks_total "));
        if counter(&page, "lakebed_alarms_total{alarm=\"DataMissing\"} ") > 0 {
            self.violation(format!("node {}: an object that the log names was missing", live.node));
        }
    }

    /// Whether a machine's wall clock was so far off since then that a process on it has to stop.
    pub fn was_off(&self, node: u8, since: Duration) -> bool {
        self.machines[usize::from(node)].clock.most_off_since(since) > HOST_CLOCK_MS
    }
}

/// A counter of a page in OpenMetrics text; 0 if it is not there.
fn counter(page: &str, name: &str) -> u64 {
    page.lines().find_map(|line| line.strip_prefix(name)).map_or(0, |n| n.parse().expect("a counter is a number"))
}
