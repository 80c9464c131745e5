//! DescribeProducers, 0 (KIP-664): the producers that a partition knows.

use super::ErrorCode;
use super::partitions::{AnsweredTopic, EncodePartition, TopicPartitions, encode_topics};
use super::reader::{Array, Reader, Result};
use super::writer::Writer;

#[derive(Clone, Debug)]
pub struct DescribeProducersRequest<'a> {
    pub topics: Array<'a, TopicPartitions<'a>>,
}

impl<'a> DescribeProducersRequest<'a> {
    pub fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let topics = r.array()?;
        r.tags()?;
        Ok(Self { topics })
    }
}

pub type DescribedProducersTopic<'a> = AnsweredTopic<'a, DescribedProducers>;

#[derive(Clone, Debug)]
pub struct DescribedProducers {
    pub index: i32,
    pub error: ErrorCode,
    pub error_message: Option<String>,
    pub active: Vec<ActiveProducer>,
}

/// Without a transaction: there are none.
#[derive(Clone, Copy, Debug)]
pub struct ActiveProducer {
    pub id: i64,
    pub epoch: i32,
    /// −1: not known, like the next.
    pub last_sequence: i32,
    pub last_timestamp: i64,
}

pub fn encode_response(w: &mut Writer, topics: &[DescribedProducersTopic<'_>]) {
    w.i32(0);
    encode_topics(w, topics);
    w.tags();
}

impl EncodePartition for DescribedProducers {
    fn encode(&self, w: &mut Writer) {
        w.i32(self.index);
        w.error(self.error);
        w.nullable_string(self.error_message.as_deref());
        w.array(&self.active, |w, producer| producer.encode(w));
        w.tags();
    }
}

impl ActiveProducer {
    fn encode(&self, w: &mut Writer) {
        w.i64(self.id);
        w.i32(self.epoch);
        w.i32(self.last_sequence);
        w.i64(self.last_timestamp);
        w.i32(-1); // the coordinator's epoch
        w.i64(-1); // where a transaction starts
        w.tags();
    }
}
