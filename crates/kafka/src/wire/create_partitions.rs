//! CreatePartitions, 0–3: a topic gets more of them.

use super::ErrorCode;
use super::reader::{Array, Decode, Reader, Result};
use super::writer::Writer;

#[derive(Clone, Debug)]
pub struct CreatePartitionsRequest<'a> {
    pub topics: Array<'a, GrowingTopic<'a>>,
    pub timeout_ms: i32,
    pub validate_only: bool,
}

#[derive(Clone, Debug)]
pub struct GrowingTopic<'a> {
    pub name: &'a str,
    /// How many it shall have in all.
    pub count: i32,
    /// Of the new ones.
    pub assignments: Option<Array<'a, NewPartition<'a>>>,
}

#[derive(Clone, Debug)]
pub struct NewPartition<'a> {
    pub brokers: Array<'a, i32>,
}

impl<'a> CreatePartitionsRequest<'a> {
    pub fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let topics = r.array()?;
        let timeout_ms = r.i32()?;
        let validate_only = r.bool()?;
        r.tags()?;
        Ok(Self { topics, timeout_ms, validate_only })
    }
}

impl<'a> Decode<'a> for GrowingTopic<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let name = r.string()?;
        let count = r.i32()?;
        let assignments = r.nullable_array()?;
        r.tags()?;
        Ok(Self { name, count, assignments })
    }
}

impl<'a> Decode<'a> for NewPartition<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let brokers = r.array()?;
        r.tags()?;
        Ok(Self { brokers })
    }
}

#[derive(Clone, Debug)]
pub struct GrownTopic<'a> {
    pub name: &'a str,
    pub error: ErrorCode,
    pub error_message: Option<String>,
}

pub fn encode_response(w: &mut Writer, topics: &[GrownTopic<'_>]) {
    w.i32(0);
    w.array(topics, |w, topic| {
        w.string(topic.name);
        w.error(topic.error);
        w.nullable_string(topic.error_message.as_deref());
        w.tags();
    });
    w.tags();
}
