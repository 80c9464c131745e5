//! CreateTopics, 2–7.

use lakebed_record::TopicId;

use super::ErrorCode;
use super::reader::{Array, Decode, Reader, Result};
use super::writer::Writer;

#[derive(Clone, Debug)]
pub struct CreateTopicsRequest<'a> {
    pub topics: Array<'a, CreatableTopic<'a>>,
    pub timeout_ms: i32,
    pub validate_only: bool,
}

#[derive(Clone, Debug)]
pub struct CreatableTopic<'a> {
    pub name: &'a str,
    /// −1: the default, or as many as there are assignments.
    pub partitions: i32,
    pub replication_factor: i16,
    pub assignments: Array<'a, Assignment<'a>>,
    pub configs: Array<'a, CreatableTopicConfig<'a>>,
}

#[derive(Clone, Debug)]
pub struct Assignment<'a> {
    pub partition: i32,
    pub brokers: Array<'a, i32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreatableTopicConfig<'a> {
    pub name: &'a str,
    pub value: Option<&'a str>,
}

impl<'a> CreateTopicsRequest<'a> {
    pub fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let topics = r.array()?;
        let timeout_ms = r.i32()?;
        let validate_only = r.bool()?;
        r.tags()?;
        Ok(Self { topics, timeout_ms, validate_only })
    }
}

impl<'a> Decode<'a> for CreatableTopic<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let name = r.string()?;
        let (partitions, replication_factor) = (r.i32()?, r.i16()?);
        let (assignments, configs) = (r.array()?, r.array()?);
        r.tags()?;
        Ok(Self { name, partitions, replication_factor, assignments, configs })
    }
}

impl<'a> Decode<'a> for Assignment<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let partition = r.i32()?;
        let brokers = r.array()?;
        r.tags()?;
        Ok(Self { partition, brokers })
    }
}

impl<'a> Decode<'a> for CreatableTopicConfig<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let name = r.string()?;
        let value = r.nullable_string()?;
        r.tags()?;
        Ok(Self { name, value })
    }
}

#[derive(Clone, Debug)]
pub struct CreatedTopic<'a> {
    pub name: &'a str,
    pub id: TopicId,
    pub error: ErrorCode,
    pub error_message: Option<String>,
    /// −1 with an error, like the next.
    pub partitions: i32,
    pub replication_factor: i16,
    /// `None` with an error.
    pub configs: Option<Vec<TopicSetting>>,
}

/// One setting of a topic, as it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSetting {
    pub name: &'static str,
    pub value: String,
    pub source: ConfigSource,
}

/// Where a setting comes from (`DescribeConfigsResponse.ConfigSource`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigSource {
    Topic = 1,
    /// Set while the node runs, for that node or (next) for all.
    DynamicBroker = 2,
    DynamicDefaultBroker = 3,
    /// From the node's configuration file.
    StaticBroker = 4,
    Default = 5,
    Group = 8,
}

pub fn encode_response(w: &mut Writer, topics: &[CreatedTopic<'_>]) {
    w.i32(0);
    w.array_len(topics.len());
    for topic in topics {
        topic.encode(w);
    }
    w.tags();
}

impl CreatedTopic<'_> {
    fn encode(&self, w: &mut Writer) {
        w.string(self.name);
        if w.since(7) {
            w.topic_id(self.id);
        }
        w.error(self.error);
        w.nullable_string(self.error_message.as_deref());
        if w.since(5) {
            w.i32(self.partitions);
            w.i16(self.replication_factor);
            self.encode_configs(w);
        }
        w.tags();
    }

    fn encode_configs(&self, w: &mut Writer) {
        let Some(configs) = &self.configs else { return w.null_array() };
        w.array_len(configs.len());
        for setting in configs {
            w.string(setting.name);
            w.nullable_string(Some(&setting.value));
            w.bool(false);
            w.i8(setting.source as i8);
            w.bool(false);
            w.tags();
        }
    }
}
