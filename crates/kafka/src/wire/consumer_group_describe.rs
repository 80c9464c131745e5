//! ConsumerGroupDescribe, 0–1 (KIP-848): groups of the new protocol and their members.

use lakebed_record::TopicId;

use super::ErrorCode;
use super::metadata::NO_OPERATIONS;
use super::reader::{Array, Reader, Result};
use super::writer::Writer;

#[derive(Clone, Debug)]
pub struct ConsumerGroupDescribeRequest<'a> {
    pub groups: Array<'a, &'a str>,
}

impl<'a> ConsumerGroupDescribeRequest<'a> {
    pub fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let groups = r.array()?;
        r.bool()?; // authorised operations: there are none
        r.tags()?;
        Ok(Self { groups })
    }
}

#[derive(Clone, Debug)]
pub struct DescribedConsumerGroup<'a> {
    pub error: ErrorCode,
    pub error_message: Option<String>,
    pub group_id: &'a str,
    /// As Kafka writes it: `Empty`, `Assigning`, `Reconciling`, `Stable`, `Dead`.
    pub state: &'a str,
    pub group_epoch: i32,
    pub assignment_epoch: i32,
    pub assignor: &'a str,
    pub members: Vec<DescribedConsumer<'a>>,
}

#[derive(Clone, Debug)]
pub struct DescribedConsumer<'a> {
    pub member_id: &'a str,
    pub instance_id: Option<&'a str>,
    pub rack_id: Option<&'a str>,
    pub member_epoch: i32,
    pub client_id: &'a str,
    pub client_host: &'a str,
    pub subscribed_topic_names: Vec<&'a str>,
    pub subscribed_topic_regex: Option<&'a str>,
    pub assignment: Vec<DescribedAssignment<'a>>,
    pub target_assignment: Vec<DescribedAssignment<'a>>,
    pub member_type: MemberType,
}

#[derive(Clone, Debug)]
pub struct DescribedAssignment<'a> {
    pub topic: TopicId,
    pub name: &'a str,
    pub partitions: Vec<i32>,
}

/// By which protocol a member takes part (`ConsumerGroupDescribeResponse.MemberType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum MemberType {
    Unknown = -1,
    Classic = 0,
    Consumer = 1,
}

pub fn encode_response(w: &mut Writer, groups: &[DescribedConsumerGroup<'_>]) {
    w.i32(0);
    w.array(groups, |w, group| group.encode(w));
    w.tags();
}

impl DescribedConsumerGroup<'_> {
    fn encode(&self, w: &mut Writer) {
        w.error(self.error);
        w.nullable_string(self.error_message.as_deref());
        w.string(self.group_id);
        w.string(self.state);
        w.i32(self.group_epoch);
        w.i32(self.assignment_epoch);
        w.string(self.assignor);
        w.array(&self.members, |w, member| member.encode(w));
        w.i32(NO_OPERATIONS);
        w.tags();
    }
}

impl DescribedConsumer<'_> {
    fn encode(&self, w: &mut Writer) {
        w.string(self.member_id);
        w.nullable_string(self.instance_id);
        w.nullable_string(self.rack_id);
        w.i32(self.member_epoch);
        w.string(self.client_id);
        w.string(self.client_host);
        w.array(&self.subscribed_topic_names, |w, name| w.string(name));
        w.nullable_string(self.subscribed_topic_regex);
        encode_assignment(w, &self.assignment);
        encode_assignment(w, &self.target_assignment);
        if w.since(1) {
            w.i8(self.member_type as i8);
        }
        w.tags();
    }
}

fn encode_assignment(w: &mut Writer, topics: &[DescribedAssignment<'_>]) {
    w.array(topics, |w, topic| {
        w.topic_id(topic.topic);
        w.string(topic.name);
        w.i32_array(&topic.partitions);
        w.tags();
    });
    w.tags();
}
