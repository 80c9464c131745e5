//! The additive state hash: each element of the state hashes by itself, a bucket adds its elements up, the state its buckets.
//!
//! Adding and removing an element costs one hash of some tens of bytes, however large the state is.

use lakebed_record::{DataObject, GroupKey, LogTime, SegmentName, TopicPartition};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::freed::Freed;
use super::groups::{CommittedOffset, ConsumerGroup};
use super::partition::{Entry, Page, ProducerState};

/// Seeds, so that elements of different kinds never cancel out.
#[derive(Clone, Copy)]
pub enum Element {
    Node = 1,
    Topic = 2,
    Partition = 3,
    Entry = 4,
    Producer = 5,
    Globals = 6,
    Page = 7,
    Pending = 8,
    Group = 9,
    Offset = 10,
    Configs = 11,
    Claims = 12,
    Freed = 13,
}

/// A fixed buffer of numbers to hash.
struct Numbers {
    bytes: [u8; 256],
    len: usize,
}

impl Numbers {
    fn new() -> Self {
        Self { bytes: [0; 256], len: 0 }
    }

    fn push(mut self, n: u64) -> Self {
        self.bytes[self.len..self.len + 8].copy_from_slice(&n.to_le_bytes());
        self.len += 8;
        self
    }

    fn signed(self, n: i64) -> Self {
        self.push(n as u64)
    }

    fn partition(self, tp: TopicPartition) -> Self {
        self.push((tp.topic.0 >> 64) as u64).push(tp.topic.0 as u64).signed(i64::from(tp.partition.0))
    }

    fn object(self, object: DataObject) -> Self {
        match object {
            DataObject::Inline(slot) => self.push(0).push(slot.0),
            DataObject::Segment(s) => self.push(1).signed(s.fence.0).push(s.node.0).push(s.number),
        }
    }

    fn hash(self, element: Element) -> u64 {
        xxh3_64_with_seed(&self.bytes[..self.len], element as u64)
    }
}

/// Which of the 256 buckets a partition, an object, a topic or a node lives in.
pub fn bucket_of_partition(tp: TopicPartition) -> usize {
    let mut bytes = [0; 20];
    bytes[..16].copy_from_slice(&tp.topic.0.to_le_bytes());
    bytes[16..].copy_from_slice(&tp.partition.0.to_le_bytes());
    (xxh3_64(&bytes) & 0xff) as usize
}

pub fn bucket_of_object(object: DataObject) -> usize {
    (Numbers::new().object(object).hash(Element::Pending) & 0xff) as usize
}

pub fn bucket_of_group(key: &GroupKey) -> usize {
    (group_name(key) & 0xff) as usize
}

pub fn bucket_of(id: u128) -> usize {
    (xxh3_64(&id.to_le_bytes()) & 0xff) as usize
}

pub fn encoded(element: Element, bytes: &[u8]) -> u64 {
    xxh3_64_with_seed(bytes, element as u64)
}

pub fn partition(tp: TopicPartition, log_start: i64, next_offset: i64) -> u64 {
    Numbers::new().partition(tp).signed(log_start).signed(next_offset).hash(Element::Partition)
}

pub fn entry(tp: TopicPartition, e: &Entry) -> u64 {
    Numbers::new()
        .partition(tp)
        .signed(e.base_offset)
        .push(e.offsets)
        .object(e.object)
        .push(e.start)
        .push(e.len)
        .signed(e.max_timestamp)
        .hash(Element::Entry)
}

pub fn producer(tp: TopicPartition, id: i64, p: &ProducerState) -> u64 {
    let head = Numbers::new().partition(tp).signed(id).signed(i64::from(p.epoch)).signed(p.last_append.0);
    let numbers = p.batches.iter().fold(head, |n, b| {
        n.push((b.first_sequence as u64) << 32 | u64::from(b.last_sequence as u32)).signed(b.base_offset)
    });
    numbers.hash(Element::Producer)
}

/// What a page's object holds follows from its name and range.
pub fn page(tp: TopicPartition, page: &Page) -> u64 {
    Numbers::new()
        .partition(tp)
        .object(DataObject::Segment(page.name))
        .push(page.len)
        .signed(page.base_offset)
        .signed(page.end_offset)
        .push(page.entries.into())
        .push(page.bytes)
        .signed(page.max_timestamp)
        .hash(Element::Page)
}

pub fn pending(name: &SegmentName, since: LogTime) -> u64 {
    Numbers::new().object(DataObject::Segment(*name)).signed(since.0).hash(Element::Pending)
}

/// What stands for a consumer group's name in the hashes of its elements. A namespace holds no NUL.
pub fn group_name(key: &GroupKey) -> u64 {
    let (namespace, id) = (key.namespace.as_str(), key.id.as_str());
    let mut bytes = Vec::with_capacity(namespace.len() + 1 + id.len());
    bytes.extend_from_slice(namespace.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(id.as_bytes());
    encoded(Element::Group, &bytes)
}

/// All of a group but its offsets.
pub fn group(name: u64, g: &ConsumerGroup) -> u64 {
    Numbers::new()
        .push(name)
        .push(g.claim.epoch)
        .push(g.claim.owner.0)
        .signed(i32::from(g.kind).into())
        .signed(g.generation.into())
        .push(g.members.into())
        .push(g.empty_since.is_some().into())
        .signed(g.empty_since.map_or(0, |t| t.0))
        .push(g.metadata.len() as u64)
        .push(encoded(Element::Group, &g.metadata))
        .hash(Element::Group)
}

pub fn offset(name: u64, tp: TopicPartition, o: &CommittedOffset) -> u64 {
    Numbers::new()
        .push(name)
        .partition(tp)
        .signed(o.offset)
        .signed(o.leader_epoch.into())
        .signed(o.committed_at.0)
        .push(encoded(Element::Offset, o.metadata.as_bytes()))
        .hash(Element::Offset)
}

/// The last claim's epoch, once there was one.
pub fn claims(last_epoch: u64) -> u64 {
    if last_epoch == 0 { 0 } else { Numbers::new().push(last_epoch).hash(Element::Claims) }
}

/// 0 where nothing has become free yet.
pub fn freed(freed: &Freed) -> u64 {
    let numbers = |numbers: Numbers, span: &super::freed::Span| numbers.signed(span.since.0).push(span.lowest.0);
    let spans = || freed.0.iter().flatten();
    spans().next().map_or(0, |_| spans().fold(Numbers::new(), numbers).hash(Element::Freed))
}

pub fn globals(numbers: [u64; 5]) -> u64 {
    numbers.into_iter().fold(Numbers::new(), Numbers::push).hash(Element::Globals)
}
