//! The state: what results from applying slots 1..n in order. Equal on every node at equal slot and feature level.
//!
//! It lives in 256 hash buckets behind reference counts, so that a clone (for a snapshot) costs 256 pointers and later
//! changes copy only the buckets and partitions they touch. Nothing here does I/O, reads a clock or draws random numbers.

mod alter;
mod apply;
mod configs;
mod entries;
mod expiry;
mod freed;
mod groups;
mod hash;
mod moves;
mod objects;
mod partition;
mod parts;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use lakebed_record::{
    BrokerId, DataObject, GroupKey, Incarnation, LogTime, Namespace, SegmentName, Slot, TopicId, TopicName,
    TopicPartition,
};

pub use apply::{Applied, MAX_PARTITIONS, MAX_PRODUCER_STATES, MAX_STEP_MS};
pub use configs::{
    ConfigResource, MAX_CONFIG_BYTES, MAX_CONFIG_NAME, MAX_CONFIG_VALUE, MAX_CONFIGS, MAX_CONFIGS_BYTES,
    changed_configs,
};
pub use entries::Entries;
use freed::Freed;
pub use groups::{
    CommittedOffset, ConsumerGroup, MAX_GROUP_BYTES, MAX_GROUP_METADATA, MAX_OFFSET_METADATA, Offsets, Totals,
};
pub use partition::{AppendedBatch, Entry, Located, MAX_ENTRY_LEN, Page, PartitionState, ProducerState};
pub use parts::{PartError, decode_globals, encode_globals};

use crate::waits::Waits;

pub const BUCKETS: usize = 256;

/// Names and values, sorted by name.
pub type Configs = Vec<(String, String)>;
/// Less silence than this (ms of log time) ends no duty, however small the waiting times are.
const DUTY_MS: i64 = 10_000;

/// A registered incarnation, or the tombstone of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeState {
    pub broker_id: BrokerId,
    pub kafka_address: String,
    pub rack: String,
    /// Number of its last applied group.
    pub last_group: u64,
    /// Log time when its last group applied.
    pub last_seen: LogTime,
    /// Set once it is down: its groups apply no more.
    pub down_at: Option<LogTime>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub id: TopicId,
    pub namespace: Namespace,
    pub name: TopicName,
    pub partitions: u32,
    /// As they were given, sorted by name; what they mean is the broker's business.
    pub configs: Configs,
}

#[derive(Clone, Debug, Default)]
struct Bucket {
    nodes: BTreeMap<Incarnation, NodeState>,
    topics: BTreeMap<TopicId, Arc<Topic>>,
    partitions: BTreeMap<TopicPartition, Arc<PartitionState>>,
    /// Segments and pages without references, and since when.
    pending: BTreeMap<SegmentName, LogTime>,
    groups: BTreeMap<GroupKey, Arc<ConsumerGroup>>,
    /// Of the cluster and of consumer groups; none empty.
    configs: BTreeMap<ConfigResource, Arc<Configs>>,
    hash: u64,
    // Derived, not persisted:
    /// How many entries and pages name an object; never 0.
    references: BTreeMap<DataObject, u32>,
}

#[derive(Clone, Debug)]
pub struct State {
    slot: Slot,
    log_time: LogTime,
    feature_level: u16,
    next_producer_id: i64,
    /// Producer states of ids below this may have been expired.
    producers_expired_below: i64,
    /// Epoch of the last claim of any consumer group.
    last_claim_epoch: u64,
    freed: Freed,
    buckets: Vec<Arc<Bucket>>,
    /// The bucket's for its whole life, so no part of the hash.
    waits: Waits,
    // Derived, not persisted:
    names: Arc<BTreeMap<Namespace, BTreeMap<TopicName, TopicId>>>,
    /// (partition, producer) pairs.
    producer_states: usize,
    /// Of these, those of derived ids.
    derived_producers: usize,
    partitions: usize,
    group_totals: Totals,
    /// How often a topic was created, deleted or altered since this state was made.
    topic_changes: u64,
    /// What the configs in the buckets take, in bytes.
    config_bytes: usize,
    entries: usize,
    /// Bytes of the batches that were appended since this state was read or made.
    appended: u64,
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// The state before slot 1.
    pub fn new() -> State {
        State::with_waits(Waits::default())
    }

    /// The state before slot 1 of a bucket with these waiting times.
    pub fn with_waits(waits: Waits) -> State {
        State {
            slot: Slot(0),
            log_time: LogTime(0),
            feature_level: 1,
            next_producer_id: 1,
            producers_expired_below: 0,
            last_claim_epoch: 0,
            freed: Freed::default(),
            buckets: vec![Arc::default(); BUCKETS],
            waits,
            names: Arc::default(),
            producer_states: 0,
            derived_producers: 0,
            partitions: 0,
            group_totals: Totals::default(),
            config_bytes: 0,
            topic_changes: 0,
            entries: 0,
            appended: 0,
        }
    }

    /// The last slot that was applied.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    pub fn log_time(&self) -> LogTime {
        self.log_time
    }

    pub fn waits(&self) -> &Waits {
        &self.waits
    }

    pub fn feature_level(&self) -> u16 {
        self.feature_level
    }

    pub fn topic(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.buckets[hash::bucket_of(id.0)].topics.get(&id)
    }

    pub fn topic_by_name(&self, namespace: &Namespace, name: &TopicName) -> Option<&Arc<Topic>> {
        self.topic(*self.names.get(namespace)?.get(name)?)
    }

    /// Ordered by namespace and name.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.names.values().flat_map(BTreeMap::values).filter_map(|id| self.topic(*id))
    }

    pub fn partition(&self, tp: TopicPartition) -> Option<&PartitionState> {
        self.buckets[hash::bucket_of_partition(tp)].partitions.get(&tp).map(AsRef::as_ref)
    }

    /// In no order that means anything.
    pub fn partitions(&self) -> impl Iterator<Item = (TopicPartition, &PartitionState)> {
        self.buckets.iter().flat_map(|b| b.partitions.iter()).map(|(tp, p)| (*tp, p.as_ref()))
    }

    /// Partitions that are not the same in both, or in one only.
    pub(crate) fn differing(&self, other: &State) -> Vec<TopicPartition> {
        let differs = |(tp, p): (&TopicPartition, &Arc<PartitionState>), other: &State| {
            let same = |o: &PartitionState| (o.log_start, o.next_offset) == (p.log_start, p.next_offset);
            (!other.partition(*tp).is_some_and(same)).then_some(*tp)
        };
        let here = self.buckets.iter().flat_map(|b| &b.partitions).filter_map(|p| differs(p, other));
        let there = other.buckets.iter().flat_map(|b| &b.partitions).filter_map(|p| differs(p, self));
        let mut all: Vec<TopicPartition> = here.chain(there).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Another number whenever a topic was created, deleted or altered; it means nothing in another process.
    pub fn topic_changes(&self) -> u64 {
        self.topic_changes
    }

    pub fn partition_count(&self) -> usize {
        self.partitions
    }

    /// Index entries of all partitions that are in no page: what grows until they are merged.
    pub fn entry_count(&self) -> usize {
        self.entries
    }

    /// Bytes of all batches appended since this state was read or made: for rates, by nobody to be relied on.
    pub fn appended_bytes(&self) -> u64 {
        self.appended
    }

    /// The node that merges and collects for all: of those that have committed a group in the last minute of log time (a
    /// tenth of the window), the one with the smallest broker id. Every node finds the same one in the same state, and it stays as
    /// long as that node lives and commits. `None`: nobody has committed for so long.
    pub fn duty_node(&self) -> Option<Incarnation> {
        let since = self.log_time.0 - (self.waits.window_ms / 10).max(DUTY_MS);
        let busy = self.nodes().filter(|(_, n)| n.down_at.is_none() && n.last_seen.0 >= since);
        busy.min_by_key(|(incarnation, n)| (n.broker_id, *incarnation)).map(|(incarnation, _)| incarnation)
    }

    pub fn node(&self, incarnation: Incarnation) -> Option<&NodeState> {
        self.buckets[hash::bucket_of(incarnation.0.into())].nodes.get(&incarnation)
    }

    /// Registered incarnations, tombstones included, in no order that means anything.
    pub fn nodes(&self) -> impl Iterator<Item = (Incarnation, &NodeState)> {
        self.buckets.iter().flat_map(|b| b.nodes.iter()).map(|(i, n)| (*i, n))
    }

    /// Hash of the whole state, the slot included.
    pub fn hash(&self) -> u64 {
        let globals = hash::globals([
            self.slot.0,
            self.log_time.0 as u64,
            u64::from(self.feature_level),
            self.next_producer_id as u64,
            self.producers_expired_below as u64,
        ]);
        let globals = globals.wrapping_add(hash::claims(self.last_claim_epoch));
        let globals = globals.wrapping_add(hash::freed(&self.freed));
        self.buckets.iter().fold(globals, |sum, b| sum.wrapping_add(b.hash))
    }

    /// As a bit that flipped in memory would.
    #[cfg(test)]
    pub(crate) fn spoil(&mut self) {
        self.next_producer_id ^= 1 << 40;
    }

    /// Additive hash of one bucket's elements.
    pub fn bucket_hash(&self, bucket: usize) -> u64 {
        self.buckets[bucket].hash
    }
}
