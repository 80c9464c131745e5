//! DescribeTopicPartitions, 0 (KIP-966): topics page by page.

use lakebed_record::TopicId;

use super::ErrorCode;
use super::metadata::NO_OPERATIONS;
use super::reader::{Array, Decode, Reader, Result};
use super::writer::Writer;

#[derive(Clone, Debug)]
pub struct DescribeTopicPartitionsRequest<'a> {
    /// Empty: all.
    pub topics: Array<'a, TopicName<'a>>,
    pub response_partition_limit: i32,
    /// Where the page begins.
    pub cursor: Option<Cursor<'a>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicName<'a> {
    pub name: &'a str,
}

/// The first partition of a page that is not on the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor<'a> {
    pub topic: &'a str,
    pub partition: i32,
}

impl<'a> DescribeTopicPartitionsRequest<'a> {
    pub fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let topics = r.array()?;
        let response_partition_limit = r.i32()?;
        let cursor = r.nullable_struct()?;
        r.tags()?;
        Ok(Self { topics, response_partition_limit, cursor })
    }
}

impl<'a> Decode<'a> for TopicName<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let name = r.string()?;
        r.tags()?;
        Ok(Self { name })
    }
}

impl<'a> Decode<'a> for Cursor<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let (topic, partition) = (r.string()?, r.i32()?);
        r.tags()?;
        Ok(Self { topic, partition })
    }
}

#[derive(Clone, Debug)]
pub struct DescribeTopicPartitionsResponse<'a> {
    pub topics: Vec<DescribedTopic<'a>>,
    pub next_cursor: Option<Cursor<'a>>,
}

#[derive(Clone, Debug)]
pub struct DescribedTopic<'a> {
    pub error: ErrorCode,
    pub name: &'a str,
    /// `NIL` with an error.
    pub id: TopicId,
    pub partitions: Vec<DescribedPartition>,
}

#[derive(Clone, Copy, Debug)]
pub struct DescribedPartition {
    pub error: ErrorCode,
    pub index: i32,
    /// Shown as the only replica, too: the store keeps the records.
    pub leader: i32,
}

impl DescribeTopicPartitionsResponse<'_> {
    pub fn encode(&self, w: &mut Writer) {
        w.i32(0);
        w.array(&self.topics, |w, topic| topic.encode(w));
        w.nullable_struct(self.next_cursor.as_ref(), |w, cursor| {
            w.string(cursor.topic);
            w.i32(cursor.partition);
            w.tags();
        });
        w.tags();
    }
}

impl DescribedTopic<'_> {
    fn encode(&self, w: &mut Writer) {
        w.error(self.error);
        w.nullable_string(Some(self.name));
        w.topic_id(self.id);
        w.bool(false);
        w.array(&self.partitions, |w, partition| partition.encode(w));
        w.i32(NO_OPERATIONS);
        w.tags();
    }
}

impl DescribedPartition {
    fn encode(&self, w: &mut Writer) {
        w.error(self.error);
        w.i32(self.index);
        w.i32(self.leader);
        w.i32(0);
        w.i32_array(&[self.leader]);
        w.i32_array(&[self.leader]);
        // Eligible leaders, the last known ones, offline replicas: every node can always lead.
        for _ in 0..3 {
            w.i32_array(&[]);
        }
        w.tags();
    }
}
