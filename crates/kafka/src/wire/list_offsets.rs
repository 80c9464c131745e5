//! ListOffsets, 1–11: offsets by time, where some negative times have a meaning of their own.

use super::ErrorCode;
use super::partitions::{AnsweredTopic, AskedTopic, EncodePartition, encode_topics};
use super::reader::{Array, Decode, Reader, Result};
use super::writer::Writer;

#[derive(Clone, Debug)]
pub struct ListOffsetsRequest<'a> {
    pub isolation_level: i8,
    pub topics: Array<'a, ListOffsetsTopic<'a>>,
}

pub type ListOffsetsTopic<'a> = AskedTopic<'a, ListOffsetsPartition>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListOffsetsPartition {
    pub index: i32,
    pub current_leader_epoch: i32,
    /// In ms since the Unix epoch, or one of Kafka's negative ones.
    pub timestamp: i64,
}

impl<'a> ListOffsetsRequest<'a> {
    pub fn decode(r: &mut Reader<'a>) -> Result<Self> {
        r.i32()?; // replica id
        let isolation_level = r.since(2, 0, Reader::i8)?;
        let topics = r.array()?;
        r.since(10, 0, Reader::i32)?; // time-out of reads from remote storage
        r.tags()?;
        Ok(Self { isolation_level, topics })
    }
}

impl<'a> Decode<'a> for ListOffsetsPartition {
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let index = r.i32()?;
        let current_leader_epoch = r.since(4, -1, Reader::i32)?;
        let timestamp = r.i64()?;
        r.tags()?;
        Ok(Self { index, current_leader_epoch, timestamp })
    }
}

pub type ListOffsetsResponseTopic<'a> = AnsweredTopic<'a, ListOffsetsResponsePartition>;

#[derive(Clone, Copy, Debug)]
pub struct ListOffsetsResponsePartition {
    pub index: i32,
    pub error: ErrorCode,
    /// −1 if there is none.
    pub timestamp: i64,
    pub offset: i64,
    pub leader_epoch: i32,
}

pub fn encode_response(w: &mut Writer, topics: &[ListOffsetsResponseTopic<'_>]) {
    if w.since(2) {
        w.i32(0);
    }
    encode_topics(w, topics);
    w.tags();
}

impl EncodePartition for ListOffsetsResponsePartition {
    fn encode(&self, w: &mut Writer) {
        w.i32(self.index);
        w.error(self.error);
        w.i64(self.timestamp);
        w.i64(self.offset);
        if w.since(4) {
            w.i32(self.leader_epoch);
        }
        w.tags();
    }
}
