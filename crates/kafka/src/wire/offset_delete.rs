//! OffsetDelete, 0 (KIP-496): committed offsets go.

use super::ErrorCode;
use super::partitions::{AnsweredTopic, PartitionResult, TopicPartitions, encode_topics};
use super::reader::{Array, Reader, Result};
use super::writer::Writer;

#[derive(Clone, Debug)]
pub struct OffsetDeleteRequest<'a> {
    pub group_id: &'a str,
    pub topics: Array<'a, TopicPartitions<'a>>,
}

impl<'a> OffsetDeleteRequest<'a> {
    pub fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let group_id = r.string()?;
        let topics = r.array()?;
        r.tags()?;
        Ok(Self { group_id, topics })
    }
}

#[derive(Clone, Debug)]
pub struct OffsetDeleteResponse<'a> {
    /// Of the whole request; then there are no topics.
    pub error: ErrorCode,
    pub topics: Vec<OffsetDeleteResponseTopic<'a>>,
}

pub type OffsetDeleteResponseTopic<'a> = AnsweredTopic<'a, PartitionResult>;

impl OffsetDeleteResponse<'_> {
    pub fn encode(&self, w: &mut Writer) {
        w.error(self.error);
        w.i32(0);
        encode_topics(w, &self.topics);
        w.tags();
    }
}
