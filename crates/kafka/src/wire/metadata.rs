//! Metadata, 0–13: which topics there are and who leads them. Here every node can lead everything, so the leader is the one
//! that clients should use, always at epoch 0.

use lakebed_record::TopicId;

use super::ErrorCode;
use super::reader::{Array, Decode, Reader, Result};
use super::writer::Writer;

/// "Not asked for", in the fields of authorised operations.
pub(super) const NO_OPERATIONS: i32 = i32::MIN;

#[derive(Clone, Debug)]
pub struct MetadataRequest<'a> {
    /// `None`: all topics. (Version 0 has no null: there, empty means all.)
    pub topics: Option<Array<'a, MetadataRequestTopic<'a>>>,
    pub allow_auto_topic_creation: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetadataRequestTopic<'a> {
    /// `NIL`: by name.
    pub id: TopicId,
    pub name: Option<&'a str>,
}

impl<'a> MetadataRequest<'a> {
    pub fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let topics = match r.version() {
            0 => Some(r.array()?).filter(|topics| !topics.is_empty()),
            _ => r.nullable_array()?,
        };
        let allow_auto_topic_creation = r.since(4, true, Reader::bool)?;
        if (8..=10).contains(&r.version()) {
            r.bool()?;
        }
        r.since(8, false, Reader::bool)?;
        r.tags()?;
        Ok(Self { topics, allow_auto_topic_creation })
    }
}

impl<'a> Decode<'a> for MetadataRequestTopic<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let id = r.since(10, TopicId::NIL, Reader::topic_id)?;
        let name = if r.version() >= 10 { r.nullable_string()? } else { Some(r.string()?) };
        r.tags()?;
        Ok(Self { id, name })
    }
}

pub struct MetadataResponse<'a> {
    /// Those that are alive.
    pub nodes: &'a [Node<'a>],
    pub controller: i32,
    /// The leader of a partition, one of the nodes.
    pub leader: &'a dyn Fn(TopicId, i32) -> i32,
    pub cluster_id: &'a str,
    pub topics: Vec<MetadataTopic<'a>>,
}

/// How to reach a node.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    pub id: i32,
    pub host: &'a str,
    pub port: u16,
}

#[derive(Clone, Debug)]
pub struct MetadataTopic<'a> {
    pub error: ErrorCode,
    /// `None` only for an id that is not known; then, and only then, from version 12, it is written as null.
    pub name: Option<&'a str>,
    pub id: TopicId,
    /// Partitions are 0 .. this.
    pub partitions: i32,
}

impl MetadataResponse<'_> {
    pub fn encode(&self, w: &mut Writer) {
        if w.since(3) {
            w.i32(0);
        }
        self.encode_brokers(w);
        if w.since(2) {
            w.nullable_string(Some(self.cluster_id));
        }
        if w.since(1) {
            w.i32(self.controller);
        }
        w.array_len(self.topics.len());
        for topic in &self.topics {
            topic.encode(w, self.leader);
        }
        if (8..=10).contains(&w.version()) {
            w.i32(NO_OPERATIONS);
        }
        if w.since(13) {
            w.error(ErrorCode::None);
        }
        w.tags();
    }

    fn encode_brokers(&self, w: &mut Writer) {
        w.array(self.nodes, |w, node| {
            node.encode(w);
            if w.since(1) {
                w.nullable_string(None);
            }
            w.tags();
        });
    }
}

impl Node<'_> {
    pub(super) fn encode(&self, w: &mut Writer) {
        w.i32(self.id);
        w.string(self.host);
        w.i32(i32::from(self.port));
    }
}

impl MetadataTopic<'_> {
    fn encode(&self, w: &mut Writer, leader: &dyn Fn(TopicId, i32) -> i32) {
        w.error(self.error);
        match self.name {
            None if w.since(12) => w.nullable_string(None),
            name => w.string(name.unwrap_or_default()),
        }
        if w.since(10) {
            w.topic_id(self.id);
        }
        if w.since(1) {
            w.bool(false);
        }
        w.array_len(self.partitions as usize);
        for partition in 0..self.partitions {
            encode_partition(w, partition, leader(self.id, partition));
        }
        if w.since(8) {
            w.i32(NO_OPERATIONS);
        }
        w.tags();
    }
}

fn encode_partition(w: &mut Writer, partition: i32, leader: i32) {
    w.error(ErrorCode::None);
    w.i32(partition);
    w.i32(leader);
    if w.since(7) {
        w.i32(0);
    }
    w.i32_array(&[leader]);
    w.i32_array(&[leader]);
    if w.since(5) {
        w.i32_array(&[]);
    }
    w.tags();
}
