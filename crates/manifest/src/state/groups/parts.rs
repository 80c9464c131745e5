//! A group in a snapshot part (field numbers are for ever), and back. What no sequence of ops could have made is refused.

use lakebed_record::ops::GroupKind;
use lakebed_record::{GroupClaim, GroupKey, Incarnation, LogTime, TopicId, TopicPartition};
use prost::Message;

use super::super::State;
use super::offsets::shared;
use super::{CommittedOffset, ConsumerGroup, MAX_GROUP_BYTES, MAX_GROUP_METADATA, MAX_OFFSET_METADATA, Offsets};

#[derive(Clone, PartialEq, Message)]
pub struct GroupPart {
    #[prost(string, tag = "1")]
    namespace: String,
    #[prost(string, tag = "2")]
    id: String,
    #[prost(uint64, tag = "3")]
    epoch: u64,
    #[prost(fixed64, tag = "4")]
    owner: u64,
    #[prost(enumeration = "GroupKind", tag = "5")]
    kind: i32,
    #[prost(int32, tag = "6")]
    generation: i32,
    #[prost(uint32, tag = "7")]
    members: u32,
    #[prost(int64, optional, tag = "8")]
    empty_since: Option<i64>,
    #[prost(bytes = "bytes", tag = "9")]
    metadata: bytes::Bytes,
    #[prost(message, repeated, tag = "10")]
    topics: Vec<TopicPart>,
}

/// Offsets of one topic, as columns in the order of partitions.
#[derive(Clone, PartialEq, Message)]
struct TopicPart {
    #[prost(bytes = "vec", tag = "1")]
    topic_id: Vec<u8>,
    #[prost(int32, repeated, tag = "2")]
    partitions: Vec<i32>,
    #[prost(int64, repeated, tag = "3")]
    offsets: Vec<i64>,
    #[prost(sint32, repeated, tag = "4")]
    leader_epochs: Vec<i32>,
    /// Difference to the one before (to 0 for the first), wrapping.
    #[prost(sint64, repeated, tag = "5")]
    committed_at: Vec<i64>,
    /// None at all if all are empty.
    #[prost(string, repeated, tag = "6")]
    metadata: Vec<String>,
}

impl GroupPart {
    pub fn of(key: &GroupKey, group: &ConsumerGroup) -> GroupPart {
        GroupPart {
            namespace: key.namespace.as_str().into(),
            id: key.id.as_str().into(),
            epoch: group.claim.epoch,
            owner: group.claim.owner.0,
            kind: group.kind.into(),
            generation: group.generation,
            members: group.members,
            empty_since: group.empty_since.map(|t| t.0),
            metadata: group.metadata.clone(),
            topics: topics(&group.offsets),
        }
    }
}

fn topics(offsets: &Offsets) -> Vec<TopicPart> {
    let mut topics: Vec<TopicPart> = Vec::new();
    let mut time = 0_i64;
    for (tp, offset) in offsets.iter() {
        let id = tp.topic.0.to_be_bytes();
        if topics.last().is_none_or(|t| t.topic_id != id) {
            topics.push(TopicPart { topic_id: id.to_vec(), ..TopicPart::default() });
            time = 0;
        }
        let Some(topic) = topics.last_mut() else { continue };
        topic.partitions.push(tp.partition.0);
        topic.offsets.push(offset.offset);
        topic.leader_epochs.push(offset.leader_epoch);
        topic.committed_at.push(offset.committed_at.0.wrapping_sub(time));
        topic.metadata.push(offset.metadata.as_ref().into());
        time = offset.committed_at.0;
    }
    topics.iter_mut().filter(|t| t.metadata.iter().all(String::is_empty)).for_each(|t| t.metadata.clear());
    topics
}

impl State {
    /// Adds a group of a part; says why not.
    pub(in super::super) fn add_group_part(&mut self, part: GroupPart) -> Result<(), &'static str> {
        let key = GroupKey::parse(&part.namespace, &part.id).ok_or("a consumer group has no valid name")?;
        if self.consumer_group(&key).is_some() {
            return Err("a consumer group stands there twice");
        }
        if part.epoch == 0 || part.epoch > self.last_claim_epoch {
            return Err("a consumer group's claim was never made");
        }
        let kind = GroupKind::try_from(part.kind).map_err(|_| "a consumer group is of no known kind")?;
        let simple_members = kind == GroupKind::Simple && part.members > 0;
        if simple_members || part.generation < 0 || part.empty_since.is_none() != (part.members > 0) {
            return Err("a consumer group's members are malformed");
        }
        if part.metadata.len() > MAX_GROUP_METADATA {
            return Err("a consumer group's metadata is too long");
        }
        let group = ConsumerGroup {
            claim: GroupClaim { epoch: part.epoch, owner: Incarnation(part.owner) },
            kind,
            generation: part.generation,
            members: part.members,
            empty_since: part.empty_since.map(LogTime),
            metadata: part.metadata,
            offsets: read_offsets(&part.topics).ok_or("a consumer group's offsets are malformed")?,
        };
        self.insert_group(key, group);
        if self.group_totals.bytes > MAX_GROUP_BYTES {
            return Err("the consumer groups take more than they may");
        }
        Ok(())
    }
}

fn read_offsets(topics: &[TopicPart]) -> Option<Offsets> {
    let mut offsets = Offsets::default();
    let mut last = None;
    for topic in topics {
        let id = TopicId::from_bytes(&topic.topic_id)?;
        let count = topic.partitions.len();
        let lengths = [topic.offsets.len(), topic.leader_epochs.len(), topic.committed_at.len()];
        if lengths != [count; 3] || ![0, count].contains(&topic.metadata.len()) {
            return None;
        }
        let mut time = 0_i64;
        for (i, partition) in topic.partitions.iter().enumerate() {
            let tp = TopicPartition::new(id, *partition);
            time = time.wrapping_add(topic.committed_at[i]);
            let metadata = topic.metadata.get(i).map_or("", String::as_str);
            if last.is_some_and(|last| last >= tp)
                || *partition < 0
                || topic.offsets[i] < 0
                || metadata.len() > MAX_OFFSET_METADATA
            {
                return None;
            }
            last = Some(tp);
            let offset = CommittedOffset {
                offset: topic.offsets[i],
                leader_epoch: topic.leader_epochs[i],
                committed_at: LogTime(time),
                metadata: shared(metadata),
            };
            offsets.insert(tp, offset);
        }
    }
    Some(offsets)
}
