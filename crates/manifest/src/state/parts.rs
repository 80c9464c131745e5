//! Snapshot parts: the elements of some buckets as protobuf (field numbers are for ever), and back.

use std::collections::BTreeMap;
use std::ops::Range;

use lakebed_record::ops::ObjectRef;
use lakebed_record::{
    BrokerId, DataObject, Incarnation, LogTime, Namespace, SegmentName, Slot, TopicId, TopicName, TopicPartition,
};
use prost::Message;

use super::configs::ConfigPart;
use super::entries::Entries;
use super::freed::Span;
use super::groups::GroupPart;
use super::partition::{AppendedBatch, Entry, Page, PartitionState, ProducerState, REMEMBERED_BATCHES};
use super::{NodeState, State, Topic};
use crate::waits::Waits;

#[derive(Clone, PartialEq, Message)]
struct Part {
    #[prost(message, repeated, tag = "1")]
    nodes: Vec<Node>,
    #[prost(message, repeated, tag = "2")]
    topics: Vec<TopicPart>,
    #[prost(message, repeated, tag = "3")]
    partitions: Vec<PartitionPart>,
    #[prost(message, repeated, tag = "4")]
    pending: Vec<PendingPart>,
    #[prost(message, repeated, tag = "5")]
    groups: Vec<GroupPart>,
    #[prost(message, repeated, tag = "6")]
    configs: Vec<ConfigPart>,
}

#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(fixed64, tag = "1")]
    incarnation: u64,
    #[prost(int32, tag = "2")]
    broker_id: i32,
    #[prost(string, tag = "3")]
    kafka_address: String,
    #[prost(string, tag = "4")]
    rack: String,
    #[prost(uint64, tag = "5")]
    last_group: u64,
    #[prost(int64, tag = "6")]
    last_seen: i64,
    #[prost(int64, optional, tag = "7")]
    down_at: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct TopicPart {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(string, tag = "2")]
    namespace: String,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(uint32, tag = "4")]
    partitions: u32,
    /// Names and values in turn.
    #[prost(string, repeated, tag = "5")]
    configs: Vec<String>,
}

/// Entries as columns; numbers as differences where neighbours are alike.
#[derive(Clone, PartialEq, Message)]
struct PartitionPart {
    #[prost(bytes = "vec", tag = "1")]
    topic_id: Vec<u8>,
    #[prost(int32, tag = "2")]
    partition: i32,
    #[prost(int64, tag = "3")]
    log_start: i64,
    #[prost(int64, tag = "4")]
    next_offset: i64,
    #[prost(message, repeated, tag = "5")]
    objects: Vec<ObjectRef>,
    /// Base offset less the end of the entry before (for the first: less the end of the pages, without them less `log_start`).
    #[prost(sint64, repeated, tag = "6")]
    gaps: Vec<i64>,
    #[prost(uint64, repeated, tag = "7")]
    offsets: Vec<u64>,
    /// Index into `objects`.
    #[prost(uint32, repeated, tag = "8")]
    object: Vec<u32>,
    #[prost(uint64, repeated, tag = "9")]
    start: Vec<u64>,
    #[prost(uint64, repeated, tag = "10")]
    len: Vec<u64>,
    /// Difference to the entry before (to 0 for the first), wrapping.
    #[prost(sint64, repeated, tag = "11")]
    max_timestamp: Vec<i64>,
    #[prost(message, repeated, tag = "12")]
    producers: Vec<ProducerPart>,
    #[prost(message, repeated, tag = "13")]
    pages: Vec<PagePart>,
}

#[derive(Clone, PartialEq, Message)]
struct PagePart {
    #[prost(message, optional, tag = "1")]
    name: Option<ObjectRef>,
    #[prost(uint64, tag = "2")]
    len: u64,
    #[prost(int64, tag = "3")]
    base_offset: i64,
    #[prost(int64, tag = "4")]
    end_offset: i64,
    #[prost(uint32, tag = "5")]
    entries: u32,
    #[prost(uint64, tag = "6")]
    bytes: u64,
    #[prost(int64, tag = "7")]
    max_timestamp: i64,
    #[prost(message, repeated, tag = "8")]
    objects: Vec<ObjectRef>,
    /// How many of its entries name each of `objects`.
    #[prost(uint32, repeated, tag = "9")]
    counts: Vec<u32>,
}

/// A segment or page that waits to be deleted.
#[derive(Clone, PartialEq, Message)]
struct PendingPart {
    #[prost(message, optional, tag = "1")]
    name: Option<ObjectRef>,
    #[prost(int64, tag = "2")]
    since: i64,
}

#[derive(Clone, PartialEq, Message)]
struct ProducerPart {
    #[prost(int64, tag = "1")]
    id: i64,
    #[prost(int32, tag = "2")]
    epoch: i32,
    #[prost(int64, tag = "3")]
    last_append: i64,
    /// First and last sequence and base offset, in turn.
    #[prost(int64, repeated, tag = "4")]
    batches: Vec<i64>,
}

/// What of the state is in no bucket.
#[derive(Clone, PartialEq, Message)]
struct Globals {
    #[prost(uint64, tag = "1")]
    slot: u64,
    #[prost(int64, tag = "2")]
    log_time: i64,
    #[prost(uint32, tag = "3")]
    feature_level: u32,
    #[prost(int64, tag = "4")]
    next_producer_id: i64,
    #[prost(int64, tag = "5")]
    producers_expired_below: i64,
    /// What waiting times are divided by; 0 means 1.
    #[prost(uint32, tag = "6")]
    time_scale: u32,
    /// Epoch of the last claim of a consumer group.
    #[prost(uint64, tag = "7")]
    last_claim_epoch: u64,
    /// Spans of log time in which inline slots became free, the newest first.
    #[prost(message, repeated, tag = "8")]
    freed: Vec<FreedPart>,
}

#[derive(Clone, PartialEq, Message)]
struct FreedPart {
    #[prost(int64, tag = "1")]
    since: i64,
    #[prost(uint64, tag = "2")]
    lowest: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("snapshot: {0}")]
pub struct PartError(pub String);

pub(super) fn node_bytes(incarnation: Incarnation, node: &NodeState) -> Vec<u8> {
    node_part(incarnation, node).encode_to_vec()
}

pub(super) fn topic_bytes(topic: &Topic) -> Vec<u8> {
    topic_part(topic).encode_to_vec()
}

/// The state's globals, for the snapshot's index.
pub fn encode_globals(state: &State) -> Vec<u8> {
    let freed = state.freed.0.iter().flatten();
    let globals = Globals {
        slot: state.slot.0,
        log_time: state.log_time.0,
        feature_level: state.feature_level.into(),
        next_producer_id: state.next_producer_id,
        producers_expired_below: state.producers_expired_below,
        time_scale: Some(state.waits.scale()).filter(|scale| *scale != 1).unwrap_or_default(),
        last_claim_epoch: state.last_claim_epoch,
        freed: freed.map(|span| FreedPart { since: span.since.0, lowest: span.lowest.0 }).collect(),
    };
    globals.encode_to_vec()
}

/// Slots end long before numbers do: what a damaged object says past this is refused, so that nothing overflows later.
const MAX_SLOT: u64 = u64::MAX / 2;

/// A state with these globals and empty buckets.
pub fn decode_globals(bytes: &[u8]) -> Result<State, PartError> {
    let g = Globals::decode(bytes).map_err(|e| PartError(e.to_string()))?;
    if g.slot > MAX_SLOT || g.log_time < 0 || g.next_producer_id < 0 {
        return Err(PartError("the globals are malformed".into()));
    }
    let mut state = State::with_waits(Waits::scaled(g.time_scale.max(1)));
    state.slot = Slot(g.slot);
    state.log_time = LogTime(g.log_time);
    state.feature_level = g.feature_level as u16;
    state.next_producer_id = g.next_producer_id;
    state.producers_expired_below = g.producers_expired_below;
    state.last_claim_epoch = g.last_claim_epoch;
    for (to, span) in state.freed.0.iter_mut().zip(g.freed) {
        *to = Some(Span { since: LogTime(span.since), lowest: Slot(span.lowest) });
    }
    Ok(state)
}

impl State {
    pub fn encode_part(&self, buckets: Range<usize>) -> Vec<u8> {
        let mut part = Part::default();
        for bucket in &self.buckets[buckets] {
            part.nodes.extend(bucket.nodes.iter().map(|(i, n)| node_part(*i, n)));
            part.topics.extend(bucket.topics.values().map(|t| topic_part(t)));
            part.partitions.extend(bucket.partitions.iter().map(|(tp, p)| partition_part(*tp, p)));
            let pending = bucket.pending.iter();
            part.pending.extend(pending.map(|(n, since)| PendingPart { name: Some((*n).into()), since: since.0 }));
            part.groups.extend(bucket.groups.iter().map(|(key, group)| GroupPart::of(key, group)));
            part.configs.extend(bucket.configs.iter().map(|(of, configs)| ConfigPart::of(of, configs)));
        }
        part.encode_to_vec()
    }

    /// Adds the elements of a part.
    pub fn decode_part(&mut self, bytes: &[u8]) -> Result<(), PartError> {
        let part = Part::decode(bytes).map_err(|e| PartError(e.to_string()))?;
        for node in part.nodes {
            self.insert_node(Incarnation(node.incarnation), read_node(node));
        }
        for topic in part.topics {
            let topic = read_topic(topic).ok_or_else(|| PartError("a topic is malformed".into()))?;
            self.insert_topic(topic);
        }
        for partition in part.partitions {
            let malformed = || PartError("a partition is malformed".into());
            let (tp, partition) = read_partition(&partition).ok_or_else(malformed)?;
            self.insert_partition(tp, partition);
        }
        for pending in part.pending {
            let name =
                read_name(pending.name.as_ref()).ok_or_else(|| PartError("a pending delete is malformed".into()))?;
            self.insert_pending(name, LogTime(pending.since));
        }
        for group in part.groups {
            self.add_group_part(group).map_err(|why| PartError(why.into()))?;
        }
        for configs in part.configs {
            self.add_config_part(configs).map_err(|why| PartError(why.into()))?;
        }
        Ok(())
    }
}

fn node_part(incarnation: Incarnation, node: &NodeState) -> Node {
    Node {
        incarnation: incarnation.0,
        broker_id: node.broker_id.0,
        kafka_address: node.kafka_address.clone(),
        rack: node.rack.clone(),
        last_group: node.last_group,
        last_seen: node.last_seen.0,
        down_at: node.down_at.map(|t| t.0),
    }
}

fn read_node(node: Node) -> NodeState {
    NodeState {
        broker_id: BrokerId(node.broker_id),
        kafka_address: node.kafka_address,
        rack: node.rack,
        last_group: node.last_group,
        last_seen: LogTime(node.last_seen),
        down_at: node.down_at.map(LogTime),
    }
}

fn topic_part(topic: &Topic) -> TopicPart {
    TopicPart {
        id: topic.id.0.to_be_bytes().to_vec(),
        namespace: topic.namespace.as_str().into(),
        name: topic.name.as_str().into(),
        partitions: topic.partitions,
        configs: topic.configs.iter().flat_map(|(k, v)| [k.clone(), v.clone()]).collect(),
    }
}

fn read_topic(t: TopicPart) -> Option<Topic> {
    Some(Topic {
        id: TopicId::from_bytes(&t.id)?,
        namespace: Namespace::new(&t.namespace).ok()?,
        name: TopicName::new(&t.name).ok()?,
        partitions: t.partitions,
        configs: t.configs.chunks_exact(2).map(|c| (c[0].clone(), c[1].clone())).collect(),
    })
}

fn partition_part(tp: TopicPartition, p: &PartitionState) -> PartitionPart {
    let mut part = PartitionPart {
        topic_id: tp.topic.0.to_be_bytes().to_vec(),
        partition: tp.partition.0,
        log_start: p.log_start,
        next_offset: p.next_offset,
        producers: p.producers.iter().map(|(id, s)| producer_part(*id, s)).collect(),
        pages: p.pages.iter().map(page_part).collect(),
        ..PartitionPart::default()
    };
    let mut indexes: BTreeMap<DataObject, u32> = BTreeMap::new();
    let (mut end, mut time) = (p.pages.last().map_or(p.log_start, |page| page.end_offset), 0_i64);
    for e in p.entries.iter() {
        let index = *indexes.entry(e.object).or_insert_with(|| {
            part.objects.push(e.object.into());
            part.objects.len() as u32 - 1
        });
        part.gaps.push(e.base_offset - end);
        part.offsets.push(e.offsets);
        part.object.push(index);
        part.start.push(e.start);
        part.len.push(e.len);
        part.max_timestamp.push(e.max_timestamp.wrapping_sub(time));
        (end, time) = (e.end_offset(), e.max_timestamp);
    }
    part
}

fn page_part(page: &Page) -> PagePart {
    PagePart {
        name: Some(page.name.into()),
        len: page.len,
        base_offset: page.base_offset,
        end_offset: page.end_offset,
        entries: page.entries,
        bytes: page.bytes,
        max_timestamp: page.max_timestamp,
        objects: page.objects.iter().map(|(name, _)| (*name).into()).collect(),
        counts: page.objects.iter().map(|(_, count)| *count).collect(),
    }
}

fn read_page(p: &PagePart) -> Option<Page> {
    let names = p.objects.iter().map(|o| read_name(Some(o)));
    let objects: Vec<_> = names.zip(&p.counts).map(|(name, count)| Some((name?, *count))).collect::<Option<_>>()?;
    let counted = objects.len() == p.objects.len() && objects.iter().all(|(_, count)| *count > 0);
    (counted && p.entries > 0 && p.base_offset >= 0 && p.base_offset < p.end_offset).then_some(())?;
    Some(Page {
        name: read_name(p.name.as_ref())?,
        len: p.len,
        base_offset: p.base_offset,
        end_offset: p.end_offset,
        entries: p.entries,
        bytes: p.bytes,
        max_timestamp: p.max_timestamp,
        objects,
    })
}

fn read_name(object: Option<&ObjectRef>) -> Option<SegmentName> {
    match read_object(object?)? {
        DataObject::Segment(name) => Some(name),
        DataObject::Inline(_) => None,
    }
}

/// A slot has fence -1; no segment's is negative.
fn read_object(object: &ObjectRef) -> Option<DataObject> {
    (object.fence >= -1).then(|| object.into())
}

fn read_partition(part: &PartitionPart) -> Option<(TopicPartition, PartitionState)> {
    let tp = TopicPartition::new(TopicId::from_bytes(&part.topic_id)?, part.partition);
    let mut entries = Entries::default();
    let pages: Vec<Page> = part.pages.iter().map(read_page).collect::<Option<_>>()?;
    let (mut end, mut time) = (pages.last().map_or(part.log_start, |page| page.end_offset), 0_i64);
    for (i, gap) in part.gaps.iter().enumerate() {
        time = time.wrapping_add(*part.max_timestamp.get(i)?);
        let entry = Entry {
            base_offset: end.checked_add(*gap)?,
            offsets: *part.offsets.get(i)?,
            object: read_object(part.objects.get(*part.object.get(i)? as usize)?)?,
            start: *part.start.get(i)?,
            len: *part.len.get(i)?,
            max_timestamp: time,
        };
        entry.start.checked_add(entry.len).filter(|_| entry.len > 0 && entry.offsets > 0 && entry.base_offset >= 0)?;
        end = entry.base_offset.checked_add_unsigned(entry.offsets)?;
        entries.push(entry);
    }
    let producers = part.producers.iter().map(read_producer).collect::<Option<_>>()?;
    let (log_start, next_offset) = (part.log_start, part.next_offset);
    Some((tp, PartitionState { log_start, next_offset, pages, entries, producers }))
}

fn producer_part(id: i64, state: &ProducerState) -> ProducerPart {
    let batches = state.batches.iter();
    ProducerPart {
        id,
        epoch: state.epoch.into(),
        last_append: state.last_append.0,
        batches: batches.flat_map(|b| [b.first_sequence.into(), b.last_sequence.into(), b.base_offset]).collect(),
    }
}

fn read_producer(p: &ProducerPart) -> Option<(i64, ProducerState)> {
    if p.batches.len() > 3 * REMEMBERED_BATCHES {
        return None;
    }
    let batches = p.batches.chunks_exact(3).map(|b| AppendedBatch {
        first_sequence: b[0] as i32,
        last_sequence: b[1] as i32,
        base_offset: b[2],
    });
    let (epoch, last_append) = (p.epoch as i16, LogTime(p.last_append));
    Some((p.id, ProducerState { epoch, last_append, batches: batches.collect() }))
}

#[cfg(test)]
mod tests;
