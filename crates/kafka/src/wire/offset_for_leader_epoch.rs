//! OffsetForLeaderEpoch, 2–4 (KIP-101, KIP-320): where an epoch ends.

use super::ErrorCode;
use super::partitions::{AnsweredTopic, AskedTopic, EncodePartition, encode_topics};
use super::reader::{Array, Decode, Reader, Result};
use super::writer::Writer;

#[derive(Clone, Debug)]
pub struct OffsetForLeaderEpochRequest<'a> {
    pub topics: Array<'a, EpochTopic<'a>>,
}

pub type EpochTopic<'a> = AskedTopic<'a, EpochPartition>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochPartition {
    pub index: i32,
    /// −1: not known to the client.
    pub current_leader_epoch: i32,
    /// The one whose end is asked for.
    pub leader_epoch: i32,
}

impl<'a> OffsetForLeaderEpochRequest<'a> {
    pub fn decode(r: &mut Reader<'a>) -> Result<Self> {
        r.since(3, -2, Reader::i32)?; // replica id: there are no followers
        let topics = r.array()?;
        r.tags()?;
        Ok(Self { topics })
    }
}

impl<'a> Decode<'a> for EpochPartition {
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let (index, current_leader_epoch, leader_epoch) = (r.i32()?, r.i32()?, r.i32()?);
        r.tags()?;
        Ok(Self { index, current_leader_epoch, leader_epoch })
    }
}

pub type EpochResponseTopic<'a> = AnsweredTopic<'a, EpochEnd>;

#[derive(Clone, Copy, Debug)]
pub struct EpochEnd {
    pub index: i32,
    pub error: ErrorCode,
    /// −1 with an error, like the next.
    pub leader_epoch: i32,
    pub end_offset: i64,
}

pub fn encode_response(w: &mut Writer, topics: &[EpochResponseTopic<'_>]) {
    w.i32(0);
    encode_topics(w, topics);
    w.tags();
}

impl EncodePartition for EpochEnd {
    fn encode(&self, w: &mut Writer) {
        w.error(self.error);
        w.i32(self.index);
        w.i32(self.leader_epoch);
        w.i64(self.end_offset);
        w.tags();
    }
}
