//! OffsetCommit, 2–10. Topics go by name up to version 9 and by id from version 10 (KIP-848).

use super::partitions::{EncodePartition, PartitionResult};
use super::produce::TopicRef;
use super::reader::{Array, Decode, Reader, Result};
use super::writer::Writer;

#[derive(Clone, Debug)]
pub struct OffsetCommitRequest<'a> {
    pub group_id: &'a str,
    /// −1: of a consumer that is no member.
    pub generation_or_member_epoch: i32,
    pub member_id: &'a str,
    pub group_instance_id: Option<&'a str>,
    pub topics: Array<'a, OffsetCommitTopic<'a>>,
}

#[derive(Clone, Debug)]
pub struct OffsetCommitTopic<'a> {
    pub topic: TopicRef<'a>,
    pub partitions: Array<'a, OffsetCommitPartition<'a>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetCommitPartition<'a> {
    pub index: i32,
    pub offset: i64,
    /// −1: not known.
    pub leader_epoch: i32,
    pub metadata: Option<&'a str>,
}

impl<'a> OffsetCommitRequest<'a> {
    pub fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let group_id = r.string()?;
        let generation_or_member_epoch = r.i32()?;
        let member_id = r.string()?;
        let group_instance_id = r.since(7, None, Reader::nullable_string)?;
        if r.version() <= 4 {
            r.i64()?; // for how long to keep it: all are kept as long as the node's configuration says
        }
        let topics = r.array()?;
        r.tags()?;
        Ok(Self { group_id, generation_or_member_epoch, member_id, group_instance_id, topics })
    }
}

impl<'a> Decode<'a> for OffsetCommitTopic<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let topic = TopicRef::decode_since(r, 10)?;
        let partitions = r.array()?;
        r.tags()?;
        Ok(Self { topic, partitions })
    }
}

impl<'a> Decode<'a> for OffsetCommitPartition<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let index = r.i32()?;
        let offset = r.i64()?;
        let leader_epoch = r.since(6, -1, Reader::i32)?;
        let metadata = r.nullable_string()?;
        r.tags()?;
        Ok(Self { index, offset, leader_epoch, metadata })
    }
}

#[derive(Clone, Debug)]
pub struct OffsetCommitResponseTopic<'a> {
    pub topic: TopicRef<'a>,
    pub partitions: Vec<PartitionResult>,
}

pub fn encode_response(w: &mut Writer, topics: &[OffsetCommitResponseTopic<'_>]) {
    if w.since(3) {
        w.i32(0);
    }
    w.array(topics, |w, topic| {
        topic.topic.encode(w);
        w.array(&topic.partitions, |w, partition| partition.encode(w));
        w.tags();
    });
    w.tags();
}
