//! Applying commits: every decision of the manifest is made here, deterministically.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use lakebed_record::ops::{
    Append, BatchMeta, BatchOutcome, CreateTopic, DropTombstones, ExpireProducers, Group, GroupOutcome, NodeUp, Op,
    OpKind, OpOutcome, PartitionAppend, Place, ProducerMeta, SetFeatureLevel,
};
use lakebed_record::{
    BrokerId, DataObject, FEATURE_LEVEL, Incarnation, LogTime, Namespace, SegmentName, Slot, TopicId, TopicName,
    TopicPartition, is_derived_producer,
};

use super::hash::{self, Element};
use super::objects::References;
use super::partition::{
    self, AppendedBatch, Entry, MAX_ENTRY_LEN, PartitionState, ProducerState, REMEMBERED_BATCHES, Verdict,
};
use super::{Bucket, NodeState, State, Topic, configs, parts};
use crate::commit::{Commit, SlotContent};

/// A larger step of log time is honoured only from a tick with verified time (4.4), in ms.
pub const MAX_STEP_MS: i64 = 5 * 60 * 1000;
/// No more (partition, producer) states than this: past it no new producer id is granted.
pub const MAX_PRODUCER_STATES: usize = 1 << 20;
/// Of these, derived ones: who names requests by keys must leave room for those who ask for ids.
pub const MAX_DERIVED_PRODUCERS: usize = MAX_PRODUCER_STATES / 2;
/// Partitions of one topic.
pub const MAX_PARTITIONS: u32 = 100_000;

/// What applying one slot did.
#[must_use]
#[derive(Debug, Default)]
pub struct Applied {
    /// One per group of the commit.
    pub outcomes: Vec<GroupOutcome>,
    /// Partitions that got records, were created or are gone.
    pub changed: Vec<TopicPartition>,
}

/// Where a commit is applied: what its ops may need of it.
pub(super) struct At<'a> {
    slot: Slot,
    /// Log time before the commit's own step: what fences are tested against.
    pub(super) now: LogTime,
    /// The writer's wall clock.
    wall_ms: i64,
    /// Where the group's inline bytes lie in the commit object; `None` if it names more than there are.
    inline: Option<Range<u64>>,
    group: &'a Group,
}

impl At<'_> {
    pub(super) fn incarnation(&self) -> Incarnation {
        Incarnation(self.group.incarnation)
    }

    /// What is dated by this commit, to be kept for a while from here on. After a long silence log time catches up behind the first
    /// commit, and what that one dates must not look as old as the silence. A wrong clock can only keep things longer.
    pub(super) fn stamp(&self) -> LogTime {
        self.now.max(LogTime(self.wall_ms))
    }
}

impl State {
    /// Applies the content of the next slot.
    ///
    /// # Panics
    /// If the content is not that of slot `self.slot() + 1`.
    pub fn apply(&mut self, slot: Slot, content: &SlotContent) -> Applied {
        assert_eq!(slot, self.slot.next(), "slots apply in order");
        let mut applied = Applied::default();
        if let SlotContent::Commit(commit) = content {
            for group in &commit.groups {
                let outcome = self.apply_group(commit, group, &mut applied.changed);
                applied.outcomes.push(outcome);
            }
            self.step_log_time(commit);
        }
        self.slot = slot;
        applied.changed.sort_unstable();
        applied.changed.dedup();
        applied
    }

    /// The first commit ever sets log time; later ones advance it, by more than [`MAX_STEP_MS`] only as a verified tick.
    fn step_log_time(&mut self, commit: &Commit) {
        let step = commit.wall_ms.saturating_sub(self.log_time.0);
        let tick = commit.groups.is_empty() && commit.verified_time;
        if step > 0 && (step <= MAX_STEP_MS || tick || self.log_time.0 == 0) {
            let before = std::mem::replace(&mut self.log_time, LogTime(commit.wall_ms));
            if step > self.waits.producer_expiry_ms.min(self.waits.node_silence_ms) / 2 && before.0 > 0 {
                self.redate(before);
            }
        }
    }

    /// Log time stood still for long: what it dates `before` may just as well be as young as this step, and counts from here. Else
    /// a producer whose batch was the first one after days of idleness would be forgotten with the tick that follows, and its
    /// next try be stored a second time.
    fn redate(&mut self, before: LogTime) {
        let now = self.log_time;
        let nodes: Vec<Incarnation> = self.nodes().filter(|(_, n)| n.last_seen == before).map(|(i, _)| i).collect();
        nodes.into_iter().for_each(|i| self.update_node(i, |node| node.last_seen = now));
        if self.producer_count() == 0 {
            return;
        }
        let dated = |p: &PartitionState| p.producers.values().any(|p| p.last_append == before);
        let partitions: Vec<TopicPartition> = self.partitions().filter(|(_, p)| dated(p)).map(|(tp, _)| tp).collect();
        for tp in partitions {
            self.with_partition(tp, |p, sum| {
                for (id, producer) in p.producers.iter_mut().filter(|(_, p)| p.last_append == before) {
                    *sum = sum.wrapping_sub(hash::producer(tp, *id, producer));
                    producer.last_append = now;
                    *sum = sum.wrapping_add(hash::producer(tp, *id, producer));
                }
            });
        }
    }

    fn apply_group(&mut self, commit: &Commit, group: &Group, changed: &mut Vec<TopicPartition>) -> GroupOutcome {
        let incarnation = Incarnation(group.incarnation);
        let last = match self.node(incarnation) {
            Some(node) if node.down_at.is_some() => return GroupOutcome::Fenced,
            Some(node) => node.last_group,
            None => 0,
        };
        if group.number <= last {
            return GroupOutcome::Ignored;
        }
        if group.number != last + 1 {
            return GroupOutcome::Gap;
        }
        if last == 0 {
            return self.register(commit, incarnation, group);
        }
        let now = self.log_time;
        self.update_node(incarnation, |node| {
            node.last_group = group.number;
            node.last_seen = now;
        });
        let (inline, wall_ms) = (inline_range(commit, group), commit.wall_ms);
        let at = At { slot: commit.slot, now, wall_ms, inline, group };
        GroupOutcome::Applied(group.ops.iter().map(|op| self.apply_op(&at, op, changed)).collect())
    }

    /// Group 1 registers its incarnation, or nothing ever applies from it.
    fn register(&mut self, commit: &Commit, incarnation: Incarnation, group: &Group) -> GroupOutcome {
        let [Op { kind: Some(OpKind::NodeUp(up)) }] = group.ops.as_slice() else { return GroupOutcome::Fenced };
        if !self.in_window(LogTime(up.fence), self.log_time) {
            return GroupOutcome::Fenced;
        }
        let NodeUp { kafka_address, rack, .. } = up.clone();
        let broker_id = self.broker_id_of(&kafka_address);
        // The first commit sets log time: a node that was last seen before any time would count as silent at once.
        let first = self.log_time.0 == 0;
        let last_seen = if first { LogTime(commit.wall_ms.max(0)) } else { self.log_time };
        let node = NodeState { broker_id, kafka_address, rack, last_group: 1, last_seen, down_at: None };
        self.insert_node(incarnation, node);
        GroupOutcome::Applied(vec![OpOutcome::NodeUp { broker_id }])
    }

    /// An id belongs to an address: clients that know both would drop what is under way to an id that is gone, and send it again. So a node
    /// that is started again has its id again, and nodes behind one address share one. Those of others are not reused while they are
    /// remembered.
    fn broker_id_of(&self, kafka_address: &str) -> BrokerId {
        let same = self.nodes().filter(|(_, n)| !kafka_address.is_empty() && n.kafka_address == kafka_address);
        if let Some(id) = same.map(|(_, n)| n.broker_id).min() {
            return id;
        }
        let mut taken: Vec<i32> = self.nodes().map(|(_, n)| n.broker_id.0).collect();
        taken.sort_unstable();
        let free = taken.iter().fold(1, |free, id| if *id == free { free + 1 } else { free });
        BrokerId(free)
    }

    fn apply_op(&mut self, at: &At<'_>, op: &Op, changed: &mut Vec<TopicPartition>) -> OpOutcome {
        match &op.kind {
            Some(OpKind::Append(op)) => self.append(at, op, changed),
            Some(OpKind::CreateTopic(op)) => self.create_topic(op, changed),
            Some(OpKind::DeleteTopic(op)) => self.delete_topic(at.now, &op.topic_id, changed),
            Some(OpKind::GrantProducerId(_)) => self.grant_producer_id(),
            Some(OpKind::NodeDown(op)) => self.node_down(at.now, Incarnation(op.incarnation)),
            Some(OpKind::DropTombstones(op)) => self.drop_tombstones(at.now, op),
            Some(OpKind::ExpireProducers(op)) => self.expire_producers(at.now, op),
            Some(OpKind::MoveEntries(op)) => self.move_entries(at, op),
            Some(OpKind::SealEntries(op)) => self.seal_entries(at, op),
            Some(OpKind::Truncate(op)) => self.truncate(at, op, changed),
            Some(OpKind::ObjectsDeleted(op)) => self.objects_deleted(op),
            Some(OpKind::FeatureLevel(op)) => self.raise_feature_level(op),
            Some(OpKind::ClaimGroup(op)) => self.claim_group(at, op),
            Some(OpKind::WriteGroup(op)) => self.write_group(at, op),
            Some(OpKind::CommitOffsets(op)) => self.commit_offsets(at, op),
            Some(OpKind::DeleteOffsets(op)) => self.delete_offsets(at, op),
            Some(OpKind::DeleteGroup(op)) => self.delete_group(at, op),
            Some(OpKind::ExpireOffsets(op)) => self.expire_offsets(at.now, op),
            Some(OpKind::AlterTopicConfigs(op)) => self.alter_topic_configs(op),
            Some(OpKind::CreatePartitions(op)) => self.create_partitions(op, changed),
            Some(OpKind::SetConfigs(op)) => self.set_configs(op),
            // Group 1 alone is a registration; an op of a newer build is refused by all until the level is raised.
            Some(OpKind::NodeUp(_)) | None => OpOutcome::Refused,
        }
    }

    fn create_topic(&mut self, op: &CreateTopic, changed: &mut Vec<TopicPartition>) -> OpOutcome {
        let (Ok(namespace), Ok(name)) = (Namespace::new(&op.namespace), TopicName::new(&op.name)) else {
            return OpOutcome::Refused;
        };
        let Some(id) = TopicId::from_bytes(&op.topic_id).filter(|id| *id != TopicId::NIL && self.topic(*id).is_none())
        else {
            return OpOutcome::Refused;
        };
        if op.partitions == 0 || op.partitions > MAX_PARTITIONS {
            return OpOutcome::Refused;
        }
        if let Some(topic) = self.topic_by_name(&namespace, &name) {
            return OpOutcome::TopicExists { topic_id: topic.id };
        }
        let Some(configs) = configs::given(&op.configs) else { return OpOutcome::Refused };
        self.insert_topic(Topic { id, namespace, name, partitions: op.partitions, configs });
        for p in 0..op.partitions {
            let tp = TopicPartition::new(id, p as i32);
            self.insert_partition(tp, PartitionState::default());
            changed.push(tp);
        }
        OpOutcome::TopicCreated
    }

    fn delete_topic(&mut self, now: LogTime, id: &[u8], changed: &mut Vec<TopicPartition>) -> OpOutcome {
        let Some(topic) = TopicId::from_bytes(id).and_then(|id| self.topic(id).cloned()) else {
            return OpOutcome::UnknownTopic;
        };
        for p in 0..topic.partitions {
            let tp = TopicPartition::new(topic.id, p as i32);
            self.remove_partition(now, tp);
            changed.push(tp);
        }
        self.remove_topic(&topic);
        OpOutcome::TopicDeleted
    }

    fn grant_producer_id(&mut self) -> OpOutcome {
        if self.producer_states >= MAX_PRODUCER_STATES {
            return OpOutcome::ProducerIdsExhausted;
        }
        let id = self.next_producer_id;
        self.next_producer_id += 1;
        OpOutcome::ProducerId(id)
    }

    fn node_down(&mut self, now: LogTime, incarnation: Incarnation) -> OpOutcome {
        self.update_node(incarnation, |node| {
            node.down_at.get_or_insert(now);
        });
        OpOutcome::Done
    }

    fn drop_tombstones(&mut self, now: LogTime, op: &DropTombstones) -> OpOutcome {
        for incarnation in op.incarnations.iter().map(|i| Incarnation(*i)) {
            let down_at = self.node(incarnation).and_then(|n| n.down_at);
            if down_at.is_some_and(|at| now.0 > at.0.saturating_add(self.waits.window_ms)) {
                self.remove_node(incarnation);
            }
        }
        OpOutcome::Done
    }

    fn raise_feature_level(&mut self, op: &SetFeatureLevel) -> OpOutcome {
        match u16::try_from(op.level) {
            Ok(level) if level <= FEATURE_LEVEL => {
                self.feature_level = self.feature_level.max(level);
                OpOutcome::Done
            }
            _ => OpOutcome::Refused,
        }
    }

    fn expire_producers(&mut self, now: LogTime, op: &ExpireProducers) -> OpOutcome {
        for named in &op.partitions {
            let Some(topic) = TopicId::from_bytes(&named.topic_id) else { continue };
            let tp = TopicPartition::new(topic, named.partition);
            for id in &named.producer_ids {
                let state = self.partition(tp).and_then(|p| p.producers.get(id));
                if !state.is_some_and(|p| self.is_idle(p, now)) {
                    continue;
                }
                if is_derived_producer(*id) {
                    self.derived_producers -= 1;
                } else {
                    self.producers_expired_below = self.producers_expired_below.max(*id + 1);
                }
                self.producer_states -= 1;
                self.with_partition(tp, |p, sum| {
                    if let Some(gone) = p.producers.remove(id) {
                        *sum = sum.wrapping_sub(hash::producer(tp, *id, &gone));
                    }
                });
            }
        }
        OpOutcome::Done
    }

    fn append(&mut self, at: &At<'_>, op: &Append, changed: &mut Vec<TopicPartition>) -> OpOutcome {
        let (object, from, to) = match &op.place {
            Some(Place::Inline(_)) => {
                let Some(range) = &at.inline else { return OpOutcome::Refused };
                (DataObject::Inline(at.slot), range.start, range.end)
            }
            Some(Place::Segment(s)) if s.node == at.group.incarnation => {
                let name = SegmentName::from(s);
                if !self.in_window(name.fence, at.now) {
                    return OpOutcome::OutsideWindow;
                }
                // One op names all that is ever named of a segment, or one that is to be deleted could come back.
                if self.needs_segment(&name) {
                    return OpOutcome::Refused;
                }
                (DataObject::Segment(name), 0, s.total_len)
            }
            _ => return OpOutcome::Refused,
        };
        if !op.partitions.iter().all(|p| well_formed(p, to - from)) {
            return OpOutcome::Refused;
        }
        let outcomes = op.partitions.iter().map(|p| {
            let Some(topic) = TopicId::from_bytes(&p.topic_id) else {
                return vec![BatchOutcome::UnknownPartition; p.batches.len()];
            };
            let tp = TopicPartition::new(topic, p.partition);
            let run = Run { object, at: from + p.start, now: at.now };
            let outcomes = self.append_to_partition(tp, run, &p.batches);
            if outcomes.iter().any(|o| matches!(o, BatchOutcome::Appended { .. })) {
                changed.push(tp);
            }
            outcomes
        });
        OpOutcome::Appended(outcomes.collect())
    }

    fn append_to_partition(&mut self, tp: TopicPartition, run: Run, batches: &[BatchMeta]) -> Vec<BatchOutcome> {
        let mut limits = ProducerLimits {
            granted_below: self.next_producer_id,
            expired_below: self.producers_expired_below,
            derived_left: MAX_DERIVED_PRODUCERS.saturating_sub(self.derived_producers),
        };
        let derived_left = limits.derived_left;
        let (mut new_producers, mut new_entries) = (0, 0);
        let outcomes = self.with_partition(tp, |partition, sum| {
            let (producers, entries) = (partition.producers.len(), partition.entries.len());
            *sum = sum.wrapping_sub(hash::partition(tp, partition.log_start, partition.next_offset));
            let outcomes = Appender { tp, partition, sum, run, limits: &mut limits, open: None }.append_all(batches);
            new_producers = partition.producers.len() - producers;
            new_entries = partition.entries.len() - entries;
            *sum = sum.wrapping_add(hash::partition(tp, partition.log_start, partition.next_offset));
            outcomes
        });
        self.producer_states += new_producers;
        self.derived_producers += derived_left - limits.derived_left;
        self.add_references(run.object, new_entries as u32);
        let appended =
            outcomes.iter().flatten().zip(batches).filter(|(o, _)| matches!(o, BatchOutcome::Appended { .. }));
        self.appended += appended.map(|(_, batch)| u64::from(batch.len)).sum::<u64>();
        outcomes.unwrap_or_else(|| vec![BatchOutcome::UnknownPartition; batches.len()])
    }
}

impl State {
    /// `fence ≤ log time ≤ fence + window`: both ends belong to it, so that what was named at this very log time is admitted
    /// and a collector, which waits until log time is strictly past the window, never meets what still is. Log time is never
    /// negative, and such a fence would not read back from an object's name.
    pub(super) fn in_window(&self, fence: LogTime, now: LogTime) -> bool {
        (0..=now.0).contains(&fence.0) && now.0.saturating_sub(fence.0) <= self.waits.window_ms
    }
}

/// Copy-on-write access: whatever changes an element keeps its bucket's hash.
impl State {
    pub(super) fn bucket(&mut self, index: usize) -> &mut Bucket {
        Arc::make_mut(&mut self.buckets[index])
    }

    pub(super) fn with_partition<R>(
        &mut self,
        tp: TopicPartition,
        change: impl FnOnce(&mut PartitionState, &mut u64) -> R,
    ) -> Option<R> {
        let index = hash::bucket_of_partition(tp);
        self.buckets[index].partitions.get(&tp)?;
        let Bucket { partitions, hash, .. } = self.bucket(index);
        let partition = Arc::make_mut(partitions.get_mut(&tp)?);
        let before = partition.entries.len();
        let result = change(partition, hash);
        let after = partition.entries.len();
        self.entries = self.entries + after - before;
        Some(result)
    }

    pub(super) fn insert_partition(&mut self, tp: TopicPartition, partition: PartitionState) {
        self.partitions += 1;
        self.entries += partition.entries.len();
        self.producer_states += partition.producers.len();
        self.derived_producers += partition.derived_producers();
        References::of(&partition).iter().for_each(|(object, count)| self.add_references(object, count));
        let bucket = self.bucket(hash::bucket_of_partition(tp));
        bucket.hash = bucket.hash.wrapping_add(partition_hash(tp, &partition));
        bucket.partitions.insert(tp, Arc::new(partition));
    }

    fn remove_partition(&mut self, now: LogTime, tp: TopicPartition) {
        let bucket = self.bucket(hash::bucket_of_partition(tp));
        if let Some(gone) = bucket.partitions.remove(&tp) {
            bucket.hash = bucket.hash.wrapping_sub(partition_hash(tp, &gone));
            self.partitions -= 1;
            self.entries -= gone.entries.len();
            self.producer_states -= gone.producers.len();
            self.derived_producers -= gone.derived_producers();
            self.drop_references(now, &References::of(&gone));
        }
    }

    pub(super) fn insert_topic(&mut self, topic: Topic) {
        let names: &mut BTreeMap<_, _> = Arc::make_mut(&mut self.names).entry(topic.namespace.clone()).or_default();
        names.insert(topic.name.clone(), topic.id);
        self.topic_changes += 1;
        let bucket = self.bucket(hash::bucket_of(topic.id.0));
        bucket.hash = bucket.hash.wrapping_add(topic_hash(&topic));
        bucket.topics.insert(topic.id, Arc::new(topic));
    }

    fn remove_topic(&mut self, topic: &Topic) {
        if let Some(names) = Arc::make_mut(&mut self.names).get_mut(&topic.namespace) {
            names.remove(&topic.name);
        }
        self.topic_changes += 1;
        let bucket = self.bucket(hash::bucket_of(topic.id.0));
        if bucket.topics.remove(&topic.id).is_some() {
            bucket.hash = bucket.hash.wrapping_sub(topic_hash(topic));
        }
    }

    pub(super) fn insert_node(&mut self, incarnation: Incarnation, node: NodeState) {
        let bucket = self.bucket(hash::bucket_of(incarnation.0.into()));
        bucket.hash = bucket.hash.wrapping_add(node_hash(incarnation, &node));
        bucket.nodes.insert(incarnation, node);
    }

    fn remove_node(&mut self, incarnation: Incarnation) {
        let bucket = self.bucket(hash::bucket_of(incarnation.0.into()));
        if let Some(gone) = bucket.nodes.remove(&incarnation) {
            bucket.hash = bucket.hash.wrapping_sub(node_hash(incarnation, &gone));
        }
    }

    fn update_node(&mut self, incarnation: Incarnation, change: impl FnOnce(&mut NodeState)) {
        let index = hash::bucket_of(incarnation.0.into());
        let Bucket { nodes, hash, .. } = self.bucket(index);
        if let Some(node) = nodes.get_mut(&incarnation) {
            *hash = hash.wrapping_sub(node_hash(incarnation, node));
            change(node);
            *hash = hash.wrapping_add(node_hash(incarnation, node));
        }
    }
}

fn inline_range(commit: &Commit, group: &Group) -> Option<Range<u64>> {
    let end = group.inline_start.checked_add(group.inline_len).filter(|end| *end <= commit.payload_len)?;
    Some(commit.payload_start.checked_add(group.inline_start)?..commit.payload_start.checked_add(end)?)
}

fn well_formed(p: &PartitionAppend, space: u64) -> bool {
    let len: u64 = p.batches.iter().map(|b| u64::from(b.len)).sum();
    let fits = p.start.checked_add(len).is_some_and(|end| end <= space);
    fits && p.batches.iter().all(|b| {
        let producer =
            b.producer.is_none_or(|m| m.id >= 0 && (0..=i32::from(i16::MAX)).contains(&m.epoch) && m.sequence >= 0);
        b.len > 0 && b.offsets > 0 && b.offsets <= i32::MAX as u32 && producer
    })
}

fn node_hash(incarnation: Incarnation, node: &NodeState) -> u64 {
    hash::encoded(Element::Node, &parts::node_bytes(incarnation, node))
}

pub(super) fn topic_hash(topic: &Topic) -> u64 {
    hash::encoded(Element::Topic, &parts::topic_bytes(topic))
}

fn partition_hash(tp: TopicPartition, p: &PartitionState) -> u64 {
    let head = hash::partition(tp, p.log_start, p.next_offset);
    let entries = p.entries.iter().map(|e| hash::entry(tp, e)).chain(p.pages.iter().map(|page| hash::page(tp, page)));
    let producers = p.producers.iter().map(|(id, s)| hash::producer(tp, *id, s));
    entries.chain(producers).fold(head, u64::wrapping_add)
}

/// Where the next batch of a partition's run lies.
#[derive(Clone, Copy)]
struct Run {
    object: DataObject,
    at: u64,
    now: LogTime,
}

struct ProducerLimits {
    granted_below: i64,
    expired_below: i64,
    /// So many more derived ids may be remembered.
    derived_left: usize,
}

/// Appends one op's batches to one partition, joining neighbours into entries.
struct Appender<'a> {
    tp: TopicPartition,
    partition: &'a mut PartitionState,
    sum: &'a mut u64,
    run: Run,
    limits: &'a mut ProducerLimits,
    open: Option<Entry>,
}

impl Appender<'_> {
    fn append_all(mut self, batches: &[BatchMeta]) -> Vec<BatchOutcome> {
        let outcomes = batches.iter().map(|b| self.append(b)).collect();
        self.close();
        outcomes
    }

    fn append(&mut self, batch: &BatchMeta) -> BatchOutcome {
        let start = self.run.at;
        self.run.at += u64::from(batch.len);
        let log_start_offset = self.partition.log_start;
        let base_offset = self.partition.next_offset;
        let refusal = match &batch.producer {
            _ if base_offset.checked_add(i64::from(batch.offsets)).is_none() => Some(BatchOutcome::OffsetsExhausted),
            Some(meta) => self.refusal(meta, batch.offsets),
            None => None,
        };
        if let Some(outcome) = refusal {
            self.close();
            return outcome;
        }
        self.partition.next_offset += i64::from(batch.offsets);
        if let Some(meta) = &batch.producer {
            self.remember(meta, batch.offsets, base_offset);
        }
        self.extend(start, base_offset, batch);
        BatchOutcome::Appended { base_offset, log_start_offset }
    }

    fn refusal(&self, meta: &ProducerMeta, offsets: u32) -> Option<BatchOutcome> {
        let derived = is_derived_producer(meta.id);
        if meta.id >= self.limits.granted_below && !derived {
            return Some(BatchOutcome::UnknownProducerId);
        }
        let known = self.partition.producers.get(&meta.id);
        if derived && known.is_none() && self.limits.derived_left == 0 {
            return Some(BatchOutcome::ProducersExhausted);
        }
        let expired = meta.id < self.limits.expired_below;
        match partition::check_sequence(known, meta, offsets, self.partition.log_start, expired) {
            Verdict::Append => None,
            Verdict::Refuse(outcome) => Some(outcome),
        }
    }

    fn remember(&mut self, meta: &ProducerMeta, offsets: u32, base_offset: i64) {
        let last_sequence = partition::last_sequence(meta.sequence, offsets);
        let batch = AppendedBatch { first_sequence: meta.sequence, last_sequence, base_offset };
        let fresh = ProducerState { epoch: meta.epoch as i16, last_append: self.run.now, batches: vec![batch] };
        match self.partition.producers.get_mut(&meta.id) {
            None => {
                *self.sum = self.sum.wrapping_add(hash::producer(self.tp, meta.id, &fresh));
                self.partition.producers.insert(meta.id, fresh);
                self.limits.derived_left -= usize::from(is_derived_producer(meta.id));
            }
            Some(known) => {
                *self.sum = self.sum.wrapping_sub(hash::producer(self.tp, meta.id, known));
                if known.epoch == fresh.epoch {
                    if known.batches.len() == REMEMBERED_BATCHES {
                        known.batches.remove(0);
                    }
                    known.batches.push(batch);
                    known.last_append = fresh.last_append;
                } else {
                    *known = fresh;
                }
                *self.sum = self.sum.wrapping_add(hash::producer(self.tp, meta.id, known));
            }
        }
    }

    fn extend(&mut self, start: u64, base_offset: i64, batch: &BatchMeta) {
        let len = u64::from(batch.len);
        match &mut self.open {
            Some(entry) if entry.len + len <= MAX_ENTRY_LEN => {
                entry.offsets += u64::from(batch.offsets);
                entry.len += len;
                entry.max_timestamp = entry.max_timestamp.max(batch.max_timestamp);
            }
            _ => {
                self.close();
                self.open = Some(Entry {
                    base_offset,
                    offsets: u64::from(batch.offsets),
                    object: self.run.object,
                    start,
                    len,
                    max_timestamp: batch.max_timestamp,
                });
            }
        }
    }

    fn close(&mut self) {
        if let Some(entry) = self.open.take() {
            *self.sum = self.sum.wrapping_add(hash::entry(self.tp, &entry));
            self.partition.entries.push(entry);
        }
    }
}
