//! What many messages have in common: partitions of a topic that goes by name, asked for and answered.

use super::ErrorCode;
use super::reader::{Array, Decode, Reader, Result};
use super::writer::Writer;

/// In a request.
#[derive(Clone, Debug)]
pub struct TopicPartitions<'a> {
    pub name: &'a str,
    pub partitions: Array<'a, i32>,
}

impl<'a> Decode<'a> for TopicPartitions<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let name = r.string()?;
        let partitions = r.array()?;
        r.tags()?;
        Ok(Self { name, partitions })
    }
}

/// In an answer that has nothing to say of a partition but whether it worked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionResult {
    pub index: i32,
    pub error: ErrorCode,
}

impl PartitionResult {
    pub(super) fn encode(&self, w: &mut Writer) {
        w.i32(self.index);
        w.error(self.error);
        w.tags();
    }
}

/// The same with a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedTopic<'a> {
    pub name: &'a str,
    pub partitions: Vec<ExplainedPartition>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedPartition {
    pub index: i32,
    pub error: ErrorCode,
    pub error_message: Option<String>,
}

impl ExplainedTopic<'_> {
    pub(super) fn encode(&self, w: &mut Writer) {
        w.string(self.name);
        w.array(&self.partitions, |w, partition| {
            w.i32(partition.index);
            w.error(partition.error);
            w.nullable_string(partition.error_message.as_deref());
            w.tags();
        });
        w.tags();
    }
}
