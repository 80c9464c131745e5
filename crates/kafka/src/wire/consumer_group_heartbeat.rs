//! ConsumerGroupHeartbeat, 0–1 (KIP-848): a member joins, stays, takes over and gives back partitions, and leaves.

use lakebed_record::TopicId;

use super::ErrorCode;
use super::reader::{Array, Decode, Reader, Result};
use super::writer::Writer;

/// Every `None` but the instance id's means "as it was".
#[derive(Clone, Debug)]
pub struct ConsumerGroupHeartbeatRequest<'a> {
    pub group_id: &'a str,
    /// Empty in version 0, where the coordinator gives one.
    pub member_id: &'a str,
    /// 0: joins; −1: leaves; −2: a static member leaves for a while.
    pub member_epoch: i32,
    pub instance_id: Option<&'a str>,
    pub rack_id: Option<&'a str>,
    /// −1: as it was.
    pub rebalance_timeout_ms: i32,
    pub subscribed_topic_names: Option<Array<'a, &'a str>>,
    pub subscribed_topic_regex: Option<&'a str>,
    pub server_assignor: Option<&'a str>,
    /// What the member owns.
    pub topic_partitions: Option<Array<'a, OwnedTopic<'a>>>,
}

#[derive(Clone, Debug)]
pub struct OwnedTopic<'a> {
    pub topic: TopicId,
    pub partitions: Array<'a, i32>,
}

impl<'a> ConsumerGroupHeartbeatRequest<'a> {
    pub fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let (group_id, member_id, member_epoch) = (r.string()?, r.string()?, r.i32()?);
        let (instance_id, rack_id) = (r.nullable_string()?, r.nullable_string()?);
        let rebalance_timeout_ms = r.i32()?;
        let subscribed_topic_names = r.nullable_array()?;
        let subscribed_topic_regex = r.since(1, None, Reader::nullable_string)?;
        let server_assignor = r.nullable_string()?;
        let topic_partitions = r.nullable_array()?;
        r.tags()?;
        Ok(Self {
            group_id,
            member_id,
            member_epoch,
            instance_id,
            rack_id,
            rebalance_timeout_ms,
            subscribed_topic_names,
            subscribed_topic_regex,
            server_assignor,
            topic_partitions,
        })
    }
}

impl<'a> Decode<'a> for OwnedTopic<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let topic = r.topic_id()?;
        let partitions = r.array()?;
        r.tags()?;
        Ok(Self { topic, partitions })
    }
}

#[derive(Clone, Debug)]
pub struct ConsumerGroupHeartbeatResponse<'a> {
    pub error: ErrorCode,
    pub error_message: Option<String>,
    pub member_id: Option<&'a str>,
    pub member_epoch: i32,
    pub heartbeat_interval_ms: i32,
    /// All that the member shall own; `None`: as it was.
    pub assignment: Option<Vec<AssignedTopic>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssignedTopic {
    pub topic: TopicId,
    pub partitions: Vec<i32>,
}

impl ConsumerGroupHeartbeatResponse<'_> {
    pub fn encode(&self, w: &mut Writer) {
        w.i32(0);
        w.error(self.error);
        w.nullable_string(self.error_message.as_deref());
        w.nullable_string(self.member_id);
        w.i32(self.member_epoch);
        w.i32(self.heartbeat_interval_ms);
        w.nullable_struct(self.assignment.as_ref(), |w, topics| {
            w.array(topics, |w, topic| {
                w.topic_id(topic.topic);
                w.i32_array(&topic.partitions);
                w.tags();
            });
            w.tags();
        });
        w.tags();
    }
}
