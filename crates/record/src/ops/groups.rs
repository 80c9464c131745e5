//! Ops of consumer groups (section 8 of the design): who owns one, its generation, its committed offsets.

use prost::{Enumeration, Message};

use crate::{GroupKey, TopicId, TopicPartition};

/// Names a consumer group.
#[derive(Clone, PartialEq, Message)]
pub struct GroupRef {
    #[prost(string, tag = "1")]
    pub namespace: String,
    #[prost(string, tag = "2")]
    pub id: String,
}

impl From<&GroupKey> for GroupRef {
    fn from(key: &GroupKey) -> GroupRef {
        GroupRef { namespace: key.namespace.as_str().into(), id: key.id.as_str().into() }
    }
}

impl GroupRef {
    /// `None` if it names no group that could be.
    pub fn key(&self) -> Option<GroupKey> {
        GroupKey::parse(&self.namespace, &self.id)
    }
}

/// By which protocol a group has members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub enum GroupKind {
    /// It only keeps offsets: its consumers assign themselves.
    Simple = 0,
    /// JoinGroup and SyncGroup.
    Classic = 1,
    /// ConsumerGroupHeartbeat (KIP-848).
    Consumer = 2,
}

/// The node of this group of ops owns the consumer group from here on, if the present claim is the one that it names. Makes the
/// group if there is none.
#[derive(Clone, PartialEq, Message)]
pub struct ClaimGroup {
    #[prost(message, optional, tag = "1")]
    pub group: Option<GroupRef>,
    /// Epoch of the claim that it takes the place of; 0: there is no such group.
    #[prost(uint64, tag = "2")]
    pub replaces: u64,
}

/// What the owner needs to go on after a restart.
#[derive(Clone, PartialEq, Message)]
pub struct WriteGroup {
    #[prost(message, optional, tag = "1")]
    pub group: Option<GroupRef>,
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    /// Applies only if this is the generation (KIP-848: the group epoch) that the group has.
    #[prost(int32, tag = "3")]
    pub from_generation: i32,
    /// At least `from_generation`.
    #[prost(int32, tag = "4")]
    pub generation: i32,
    #[prost(enumeration = "GroupKind", tag = "5")]
    pub kind: i32,
    #[prost(uint32, tag = "6")]
    pub members: u32,
    /// Members, protocol, assignments: the owner's business.
    #[prost(bytes = "vec", tag = "7")]
    pub metadata: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub struct CommitOffsets {
    #[prost(message, optional, tag = "1")]
    pub group: Option<GroupRef>,
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    /// The generation that the group must have; none: it must have no members.
    #[prost(int32, optional, tag = "3")]
    pub generation: Option<i32>,
    #[prost(message, repeated, tag = "4")]
    pub topics: Vec<TopicOffsets>,
}

#[derive(Clone, PartialEq, Message)]
pub struct TopicOffsets {
    #[prost(bytes = "vec", tag = "1")]
    pub topic_id: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    pub offsets: Vec<PartitionOffset>,
}

#[derive(Clone, PartialEq, Message)]
pub struct PartitionOffset {
    #[prost(int32, tag = "1")]
    pub partition: i32,
    /// The next record that the group wants.
    #[prost(int64, tag = "2")]
    pub offset: i64,
    /// −1: not known.
    #[prost(sint32, tag = "3")]
    pub leader_epoch: i32,
    /// The consumer's business.
    #[prost(string, tag = "4")]
    pub metadata: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct DeleteOffsets {
    #[prost(message, optional, tag = "1")]
    pub group: Option<GroupRef>,
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    #[prost(message, repeated, tag = "3")]
    pub topics: Vec<TopicPartitions>,
}

/// Refused while the group has members.
#[derive(Clone, PartialEq, Message)]
pub struct DeleteGroup {
    #[prost(message, optional, tag = "1")]
    pub group: Option<GroupRef>,
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
}

/// Of what it names goes what has expired: offsets of partitions that are no more, those of groups that were without members
/// for the retention, and groups that have then nothing left.
#[derive(Clone, PartialEq, Message)]
pub struct ExpireOffsets {
    #[prost(message, repeated, tag = "1")]
    pub groups: Vec<ExpireGroup>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ExpireGroup {
    #[prost(message, optional, tag = "1")]
    pub group: Option<GroupRef>,
    #[prost(message, repeated, tag = "2")]
    pub topics: Vec<TopicPartitions>,
}

#[derive(Clone, PartialEq, Message)]
pub struct TopicPartitions {
    #[prost(bytes = "vec", tag = "1")]
    pub topic_id: Vec<u8>,
    #[prost(int32, repeated, tag = "2")]
    pub partitions: Vec<i32>,
}

impl TopicPartitions {
    /// By topic, as far as neighbours have the same.
    pub fn of(partitions: impl IntoIterator<Item = TopicPartition>) -> Vec<TopicPartitions> {
        let mut topics: Vec<TopicPartitions> = Vec::new();
        for tp in partitions {
            let id = tp.topic.0.to_be_bytes();
            match topics.last_mut() {
                Some(topic) if topic.topic_id == id => topic.partitions.push(tp.partition.0),
                _ => topics.push(TopicPartitions { topic_id: id.to_vec(), partitions: vec![tp.partition.0] }),
            }
        }
        topics
    }

    /// Nothing of a topic id that is malformed.
    pub fn iter(&self) -> impl Iterator<Item = TopicPartition> {
        let topic = TopicId::from_bytes(&self.topic_id);
        self.partitions.iter().filter_map(move |p| Some(TopicPartition::new(topic?, *p)))
    }
}

/// What became of one offset that was to be committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitOutcome {
    Committed,
    UnknownPartition,
    /// The offset is negative, or its metadata is longer than the state keeps.
    Invalid,
    /// All that consumer groups may take is taken.
    OutOfSpace,
}
