//! ElectLeaders, 0–2 (KIP-183, KIP-460).

use super::ErrorCode;
use super::partitions::{ExplainedTopic, TopicPartitions, encode_topics};
use super::reader::{Array, Reader, Result};
use super::writer::Writer;

/// Of the kinds of elections the one for the first replica in the list; 1 is for one that is not in sync.
pub const PREFERRED: i8 = 0;

#[derive(Clone, Debug)]
pub struct ElectLeadersRequest<'a> {
    pub election_type: i8,
    /// `None`: all.
    pub topics: Option<Array<'a, TopicPartitions<'a>>>,
    pub timeout_ms: i32,
}

impl<'a> ElectLeadersRequest<'a> {
    pub fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let election_type = r.since(1, PREFERRED, Reader::i8)?;
        let topics = r.nullable_array()?;
        let timeout_ms = r.i32()?;
        r.tags()?;
        Ok(Self { election_type, topics, timeout_ms })
    }
}

#[derive(Clone, Debug)]
pub struct ElectLeadersResponse<'a> {
    /// Of the whole request; version 0 cannot say it.
    pub error: ErrorCode,
    pub topics: Vec<ExplainedTopic<'a>>,
}

impl ElectLeadersResponse<'_> {
    pub fn encode(&self, w: &mut Writer) {
        w.i32(0);
        if w.since(1) {
            w.error(self.error);
        }
        encode_topics(w, &self.topics);
        w.tags();
    }
}
