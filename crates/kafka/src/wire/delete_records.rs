//! DeleteRecords, 0–2 (KIP-107): everything below an offset goes.

use super::ErrorCode;
use super::partitions::{AnsweredTopic, AskedTopic, EncodePartition, encode_topics};
use super::reader::{Array, Decode, Reader, Result};
use super::writer::Writer;

#[derive(Clone, Debug)]
pub struct DeleteRecordsRequest<'a> {
    pub topics: Array<'a, DeleteRecordsTopic<'a>>,
    pub timeout_ms: i32,
}

pub type DeleteRecordsTopic<'a> = AskedTopic<'a, DeleteRecordsPartition>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeleteRecordsPartition {
    pub index: i32,
    /// The first that stays; −1: the high watermark.
    pub offset: i64,
}

impl<'a> DeleteRecordsRequest<'a> {
    pub fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let topics = r.array()?;
        let timeout_ms = r.i32()?;
        r.tags()?;
        Ok(Self { topics, timeout_ms })
    }
}

impl<'a> Decode<'a> for DeleteRecordsPartition {
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let (index, offset) = (r.i32()?, r.i64()?);
        r.tags()?;
        Ok(Self { index, offset })
    }
}

pub type DeleteRecordsResponseTopic<'a> = AnsweredTopic<'a, DeleteRecordsResponsePartition>;

#[derive(Clone, Copy, Debug)]
pub struct DeleteRecordsResponsePartition {
    pub index: i32,
    /// −1 with an error.
    pub low_watermark: i64,
    pub error: ErrorCode,
}

pub fn encode_response(w: &mut Writer, topics: &[DeleteRecordsResponseTopic<'_>]) {
    w.i32(0);
    encode_topics(w, topics);
    w.tags();
}

impl EncodePartition for DeleteRecordsResponsePartition {
    fn encode(&self, w: &mut Writer) {
        w.i32(self.index);
        w.i64(self.low_watermark);
        w.error(self.error);
        w.tags();
    }
}
