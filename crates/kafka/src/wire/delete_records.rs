//! DeleteRecords, 0–2 (KIP-107): everything below an offset goes.

use super::ErrorCode;
use super::reader::{Array, Decode, Reader, Result};
use super::writer::Writer;

#[derive(Clone, Debug)]
pub struct DeleteRecordsRequest<'a> {
    pub topics: Array<'a, DeleteRecordsTopic<'a>>,
    pub timeout_ms: i32,
}

#[derive(Clone, Debug)]
pub struct DeleteRecordsTopic<'a> {
    pub name: &'a str,
    pub partitions: Array<'a, DeleteRecordsPartition>,
}

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

impl<'a> Decode<'a> for DeleteRecordsTopic<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let name = r.string()?;
        let partitions = r.array()?;
        r.tags()?;
        Ok(Self { name, partitions })
    }
}

impl<'a> Decode<'a> for DeleteRecordsPartition {
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let (index, offset) = (r.i32()?, r.i64()?);
        r.tags()?;
        Ok(Self { index, offset })
    }
}

#[derive(Clone, Debug)]
pub struct DeleteRecordsResponseTopic<'a> {
    pub name: &'a str,
    pub partitions: Vec<DeleteRecordsResponsePartition>,
}

#[derive(Clone, Copy, Debug)]
pub struct DeleteRecordsResponsePartition {
    pub index: i32,
    /// −1 with an error.
    pub low_watermark: i64,
    pub error: ErrorCode,
}

pub fn encode_response(w: &mut Writer, topics: &[DeleteRecordsResponseTopic<'_>]) {
    w.i32(0);
    w.array(topics, |w, topic| {
        w.string(topic.name);
        w.array(&topic.partitions, |w, partition| partition.encode(w));
        w.tags();
    });
    w.tags();
}

impl DeleteRecordsResponsePartition {
    fn encode(&self, w: &mut Writer) {
        w.i32(self.index);
        w.i64(self.low_watermark);
        w.error(self.error);
        w.tags();
    }
}
