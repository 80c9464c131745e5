//! OffsetFetch, 1–10: from version 8 on of several groups at once (KIP-709), by topic id from version 10 (KIP-848).

use super::ErrorCode;
use super::produce::TopicRef;
use super::reader::{Array, Decode, Reader, Result};
use super::writer::Writer;

#[derive(Clone, Debug)]
pub struct OffsetFetchRequest<'a> {
    /// One before version 8.
    pub groups: Array<'a, OffsetFetchGroup<'a>>,
    /// Not offsets whose transaction is open still (KIP-447).
    pub require_stable: bool,
}

#[derive(Clone, Debug)]
pub struct OffsetFetchGroup<'a> {
    pub group_id: &'a str,
    /// With the next, of a member of a KIP-848 group; `None` and −1: of anybody.
    pub member_id: Option<&'a str>,
    pub member_epoch: i32,
    /// `None`: all that there are. (Version 1 cannot say that.)
    pub topics: Option<Array<'a, OffsetFetchTopic<'a>>>,
}

#[derive(Clone, Debug)]
pub struct OffsetFetchTopic<'a> {
    pub topic: TopicRef<'a>,
    pub partitions: Array<'a, i32>,
}

impl<'a> OffsetFetchRequest<'a> {
    pub fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let groups = if r.version() < 8 { r.one()? } else { r.array()? };
        let require_stable = r.since(7, false, Reader::bool)?;
        r.tags()?;
        Ok(Self { groups, require_stable })
    }
}

impl<'a> Decode<'a> for OffsetFetchGroup<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let group_id = r.string()?;
        let member_id = r.since(9, None, Reader::nullable_string)?;
        let member_epoch = r.since(9, -1, Reader::i32)?;
        let topics = if r.version() == 1 { Some(r.array()?) } else { r.nullable_array()? };
        if r.version() >= 8 {
            r.tags()?;
        }
        Ok(Self { group_id, member_id, member_epoch, topics })
    }
}

impl<'a> Decode<'a> for OffsetFetchTopic<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let topic = TopicRef::decode_since(r, 10)?;
        let partitions = r.array()?;
        r.tags()?;
        Ok(Self { topic, partitions })
    }
}

#[derive(Clone, Debug)]
pub struct OffsetFetchResponseGroup<'a> {
    pub group_id: &'a str,
    pub topics: Vec<OffsetFetchResponseTopic<'a>>,
    /// Of the whole group. Version 1 has no place for it but in the partitions, so there they have to be listed.
    pub error: ErrorCode,
}

#[derive(Clone, Debug)]
pub struct OffsetFetchResponseTopic<'a> {
    pub topic: TopicRef<'a>,
    pub partitions: Vec<OffsetFetchResponsePartition<'a>>,
}

#[derive(Clone, Copy, Debug)]
pub struct OffsetFetchResponsePartition<'a> {
    pub index: i32,
    /// −1: none committed.
    pub offset: i64,
    pub leader_epoch: i32,
    pub metadata: Option<&'a str>,
    pub error: ErrorCode,
}

/// One answer for every group, in their order.
///
/// # Panics
/// Without any answer before version 8, which asks for exactly one.
pub fn encode_response(w: &mut Writer, groups: &[OffsetFetchResponseGroup<'_>]) {
    if w.since(3) {
        w.i32(0);
    }
    if w.since(8) {
        w.array(groups, |w, group| {
            w.string(group.group_id);
            group.encode_topics(w);
            w.error(group.error);
            w.tags();
        });
    } else {
        let group = groups.first().expect("one group, one answer");
        group.encode_topics(w);
        if w.since(2) {
            w.error(group.error);
        }
    }
    w.tags();
}

impl OffsetFetchResponseGroup<'_> {
    fn encode_topics(&self, w: &mut Writer) {
        w.array(&self.topics, |w, topic| {
            topic.topic.encode(w);
            w.array(&topic.partitions, |w, partition| partition.encode(w, self.error));
            w.tags();
        });
    }
}

impl OffsetFetchResponsePartition<'_> {
    fn encode(&self, w: &mut Writer, of_group: ErrorCode) {
        w.i32(self.index);
        w.i64(self.offset);
        if w.since(5) {
            w.i32(self.leader_epoch);
        }
        w.nullable_string(self.metadata);
        let error = if self.error == ErrorCode::None && !w.since(2) { of_group } else { self.error };
        w.error(error);
        w.tags();
    }
}
