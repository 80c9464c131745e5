//! Fetch, 4–18: record batches on their way out. Topics go by name up to version 12 and by id from version 13.

use bytes::Bytes;

use super::ErrorCode;
use super::produce::TopicRef;
use super::reader::{Array, Decode, Reader, Result};
use super::writer::Writer;

#[derive(Clone, Debug)]
pub struct FetchRequest<'a> {
    pub max_wait_ms: i32,
    pub min_bytes: i32,
    pub max_bytes: i32,
    pub isolation_level: i8,
    /// 0: no session yet.
    pub session_id: i32,
    /// −1: no session wanted; 0: a new one; else the next request of a session.
    pub session_epoch: i32,
    pub topics: Array<'a, FetchTopic<'a>>,
    pub forgotten: Array<'a, ForgottenTopic<'a>>,
}

#[derive(Clone, Debug)]
pub struct FetchTopic<'a> {
    pub topic: TopicRef<'a>,
    pub partitions: Array<'a, FetchPartition>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchPartition {
    pub index: i32,
    /// −1: not known to the client.
    pub current_leader_epoch: i32,
    pub offset: i64,
    pub max_bytes: i32,
}

#[derive(Clone, Debug)]
pub struct ForgottenTopic<'a> {
    pub topic: TopicRef<'a>,
    pub partitions: Array<'a, i32>,
}

impl<'a> FetchRequest<'a> {
    pub fn decode(r: &mut Reader<'a>) -> Result<Self> {
        if r.version() <= 14 {
            r.i32()?; // replica id: consumers send −1, and there are no others
        }
        let (max_wait_ms, min_bytes, max_bytes) = (r.i32()?, r.i32()?, r.i32()?);
        let isolation_level = r.i8()?;
        let session_id = r.since(7, 0, Reader::i32)?;
        let session_epoch = r.since(7, -1, Reader::i32)?;
        let topics = r.array()?;
        let none = r.empty_array();
        let forgotten = r.since(7, none, Reader::array)?;
        r.since(11, "", Reader::string)?; // rack
        r.tags()?;
        Ok(Self { max_wait_ms, min_bytes, max_bytes, isolation_level, session_id, session_epoch, topics, forgotten })
    }
}

impl<'a> Decode<'a> for FetchTopic<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let topic = TopicRef::decode_since(r, 13)?;
        let partitions = r.array()?;
        r.tags()?;
        Ok(Self { topic, partitions })
    }
}

impl<'a> Decode<'a> for FetchPartition {
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let index = r.i32()?;
        let current_leader_epoch = r.since(9, -1, Reader::i32)?;
        let offset = r.i64()?;
        r.since(12, -1, Reader::i32)?; // epoch of the last record fetched: all are 0
        r.since(5, -1, Reader::i64)?; // log start of a follower
        let max_bytes = r.i32()?;
        r.tags()?;
        Ok(Self { index, current_leader_epoch, offset, max_bytes })
    }
}

impl<'a> Decode<'a> for ForgottenTopic<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let topic = TopicRef::decode_since(r, 13)?;
        let partitions = r.array()?;
        r.tags()?;
        Ok(Self { topic, partitions })
    }
}

#[derive(Clone, Debug)]
pub struct FetchResponse<'a> {
    /// Of the whole answer; versions before 7 cannot say it.
    pub error: ErrorCode,
    /// 0: there is none. Versions before 7 cannot say it either.
    pub session_id: i32,
    pub topics: Vec<FetchResponseTopic<'a>>,
}

#[derive(Clone, Debug)]
pub struct FetchResponseTopic<'a> {
    pub topic: TopicRef<'a>,
    pub partitions: Vec<FetchResponsePartition>,
}

#[derive(Clone, Debug)]
pub struct FetchResponsePartition {
    pub index: i32,
    pub error: ErrorCode,
    /// −1 with an error, like the next two.
    pub high_watermark: i64,
    pub last_stable_offset: i64,
    pub log_start_offset: i64,
    pub records: Vec<Bytes>,
}

impl FetchResponse<'_> {
    pub fn encode(self, w: &mut Writer) {
        w.i32(0);
        if w.since(7) {
            w.error(self.error);
            w.i32(self.session_id);
        }
        w.array_len(self.topics.len());
        for topic in self.topics {
            topic.topic.encode(w);
            w.array_len(topic.partitions.len());
            for partition in topic.partitions {
                partition.encode(w);
            }
            w.tags();
        }
        w.tags();
    }
}

impl FetchResponsePartition {
    fn encode(self, w: &mut Writer) {
        w.i32(self.index);
        w.error(self.error);
        w.i64(self.high_watermark);
        w.i64(self.last_stable_offset);
        if w.since(5) {
            w.i64(self.log_start_offset);
        }
        w.null_array(); // aborted transactions
        if w.since(11) {
            w.i32(-1); // no other replica is preferred
        }
        w.records(self.records);
        w.tags();
    }
}
