//! DeleteTopics, 1–6: by name, and from version 6 by name or id.

use lakebed_record::TopicId;

use super::ErrorCode;
use super::reader::{Array, Decode, Reader, Result};
use super::writer::Writer;

#[derive(Clone, Debug)]
pub struct DeleteTopicsRequest<'a> {
    pub topics: Array<'a, DeletableTopic<'a>>,
    pub timeout_ms: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeletableTopic<'a> {
    pub name: Option<&'a str>,
    /// `NIL`: by name.
    pub id: TopicId,
}

impl<'a> DeleteTopicsRequest<'a> {
    pub fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let topics = r.array()?;
        let timeout_ms = r.i32()?;
        r.tags()?;
        Ok(Self { topics, timeout_ms })
    }
}

impl<'a> Decode<'a> for DeletableTopic<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        if r.version() < 6 {
            return Ok(Self { name: Some(r.string()?), id: TopicId::NIL });
        }
        let name = r.nullable_string()?;
        let id = r.topic_id()?;
        r.tags()?;
        Ok(Self { name, id })
    }
}

#[derive(Clone, Debug)]
pub struct DeletedTopic<'a> {
    /// `None` only for an id that is not known.
    pub name: Option<&'a str>,
    pub id: TopicId,
    pub error: ErrorCode,
    pub error_message: Option<String>,
}

pub fn encode_response(w: &mut Writer, topics: &[DeletedTopic<'_>]) {
    w.i32(0);
    w.array_len(topics.len());
    for topic in topics {
        topic.encode(w);
    }
    w.tags();
}

impl DeletedTopic<'_> {
    fn encode(&self, w: &mut Writer) {
        match self.name {
            None if w.since(6) => w.nullable_string(None),
            name => w.string(name.unwrap_or_default()),
        }
        if w.since(6) {
            w.topic_id(self.id);
        }
        w.error(self.error);
        if w.since(5) {
            w.nullable_string(self.error_message.as_deref());
        }
        w.tags();
    }
}
