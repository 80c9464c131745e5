//! Produce, 3–13: record batches on their way in. Topics go by name up to version 12 and by id from version 13.

use lakebed_record::TopicId;

use super::ErrorCode;
use super::reader::{Array, Decode, Reader, Result};
use super::writer::Writer;

#[derive(Clone, Debug)]
pub struct ProduceRequest<'a> {
    pub transactional_id: Option<&'a str>,
    pub acks: i16,
    pub timeout_ms: i32,
    pub topics: Array<'a, ProduceTopic<'a>>,
}

#[derive(Clone, Debug)]
pub struct ProduceTopic<'a> {
    pub topic: TopicRef<'a>,
    pub partitions: Array<'a, ProducePartition<'a>>,
}

/// How a request names a topic, and so how the answer has to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TopicRef<'a> {
    Name(&'a str),
    Id(TopicId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducePartition<'a> {
    pub index: i32,
    pub records: Option<&'a [u8]>,
}

impl<'a> ProduceRequest<'a> {
    pub fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let transactional_id = r.nullable_string()?;
        let (acks, timeout_ms) = (r.i16()?, r.i32()?);
        let topics = r.array()?;
        r.tags()?;
        Ok(Self { transactional_id, acks, timeout_ms, topics })
    }
}

impl<'a> Decode<'a> for ProduceTopic<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let topic = TopicRef::decode_since(r, 13)?;
        let partitions = r.array()?;
        r.tags()?;
        Ok(Self { topic, partitions })
    }
}

impl<'a> TopicRef<'a> {
    /// By id from that version on.
    pub fn decode_since(r: &mut Reader<'a>, version: i16) -> Result<Self> {
        if r.version() >= version { r.topic_id().map(Self::Id) } else { r.string().map(Self::Name) }
    }

    pub fn encode(&self, w: &mut Writer) {
        match self {
            Self::Name(name) => w.string(name),
            Self::Id(id) => w.topic_id(*id),
        }
    }
}

impl<'a> Decode<'a> for ProducePartition<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let index = r.i32()?;
        let records = r.records()?;
        r.tags()?;
        Ok(Self { index, records })
    }
}

#[derive(Clone, Debug)]
pub struct ProduceResponseTopic<'a> {
    pub topic: TopicRef<'a>,
    pub partitions: Vec<ProduceResponsePartition>,
}

#[derive(Clone, Debug)]
pub struct ProduceResponsePartition {
    pub index: i32,
    pub error: ErrorCode,
    pub error_message: Option<String>,
    /// −1 with an error, like the next two.
    pub base_offset: i64,
    pub log_append_time: i64,
    pub log_start_offset: i64,
}

pub fn encode_response(w: &mut Writer, topics: &[ProduceResponseTopic<'_>]) {
    w.array_len(topics.len());
    for topic in topics {
        topic.topic.encode(w);
        w.array_len(topic.partitions.len());
        for partition in &topic.partitions {
            partition.encode(w);
        }
        w.tags();
    }
    w.i32(0);
    w.tags();
}

impl ProduceResponsePartition {
    fn encode(&self, w: &mut Writer) {
        w.i32(self.index);
        w.error(self.error);
        w.i64(self.base_offset);
        w.i64(self.log_append_time);
        if w.since(5) {
            w.i64(self.log_start_offset);
        }
        if w.since(8) {
            w.array_len(0);
            w.nullable_string(self.error_message.as_deref());
        }
        w.tags();
    }
}
