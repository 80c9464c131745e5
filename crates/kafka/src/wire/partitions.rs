//! What many messages have in common: partitions of a topic that goes by name, asked for and answered.

use super::ErrorCode;
use super::reader::{Array, Decode, Reader, Result};
use super::writer::Writer;

/// In a request: what is asked of some of a topic's partitions.
#[derive(Clone, Debug)]
pub struct AskedTopic<'a, P: Decode<'a>> {
    pub name: &'a str,
    pub partitions: Array<'a, P>,
}

impl<'a, P: Decode<'a>> Decode<'a> for AskedTopic<'a, P> {
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let name = r.string()?;
        let partitions = r.array()?;
        r.tags()?;
        Ok(Self { name, partitions })
    }
}

/// Of partitions there is nothing to say but which.
pub type TopicPartitions<'a> = AskedTopic<'a, i32>;

/// In an answer: what is said of some of a topic's partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnsweredTopic<'a, P> {
    pub name: &'a str,
    pub partitions: Vec<P>,
}

pub(super) trait EncodePartition {
    fn encode(&self, w: &mut Writer);
}

pub(super) fn encode_topics<P: EncodePartition>(w: &mut Writer, topics: &[AnsweredTopic<'_, P>]) {
    w.array(topics, |w, topic| {
        w.string(topic.name);
        w.array(&topic.partitions, |w, partition| partition.encode(w));
        w.tags();
    });
}

/// In an answer that has nothing to say of a partition but whether it worked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionResult {
    pub index: i32,
    pub error: ErrorCode,
}

impl EncodePartition for PartitionResult {
    fn encode(&self, w: &mut Writer) {
        w.i32(self.index);
        w.error(self.error);
        w.tags();
    }
}

/// The same with a sentence.
pub type ExplainedTopic<'a> = AnsweredTopic<'a, ExplainedPartition>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedPartition {
    pub index: i32,
    pub error: ErrorCode,
    pub error_message: Option<String>,
}

impl EncodePartition for ExplainedPartition {
    fn encode(&self, w: &mut Writer) {
        w.i32(self.index);
        w.error(self.error);
        w.nullable_string(self.error_message.as_deref());
        w.tags();
    }
}
