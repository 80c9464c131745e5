//! AlterPartitionReassignments, 0–1, and ListPartitionReassignments, 0 (KIP-455): which nodes keep which partitions.

use super::ErrorCode;
use super::partitions::{AskedTopic, ExplainedTopic, TopicPartitions, encode_topics};
use super::reader::{Array, Decode, Reader, Result};
use super::writer::Writer;

#[derive(Clone, Debug)]
pub struct AlterPartitionReassignmentsRequest<'a> {
    pub timeout_ms: i32,
    pub allow_replication_factor_change: bool,
    pub topics: Array<'a, ReassignedTopic<'a>>,
}

pub type ReassignedTopic<'a> = AskedTopic<'a, ReassignedPartition<'a>>;

#[derive(Clone, Debug)]
pub struct ReassignedPartition<'a> {
    pub index: i32,
    /// `None`: what is under way is to be cancelled.
    pub replicas: Option<Array<'a, i32>>,
}

impl<'a> AlterPartitionReassignmentsRequest<'a> {
    pub fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let timeout_ms = r.i32()?;
        let allow_replication_factor_change = r.since(1, true, Reader::bool)?;
        let topics = r.array()?;
        r.tags()?;
        Ok(Self { timeout_ms, allow_replication_factor_change, topics })
    }
}

impl<'a> Decode<'a> for ReassignedPartition<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let index = r.i32()?;
        let replicas = r.nullable_array()?;
        r.tags()?;
        Ok(Self { index, replicas })
    }
}

#[derive(Clone, Debug)]
pub struct AlterPartitionReassignmentsResponse<'a> {
    /// As it was asked.
    pub allow_replication_factor_change: bool,
    /// Of the whole request.
    pub error: ErrorCode,
    pub error_message: Option<String>,
    pub topics: Vec<ExplainedTopic<'a>>,
}

impl AlterPartitionReassignmentsResponse<'_> {
    pub fn encode(&self, w: &mut Writer) {
        w.i32(0);
        if w.since(1) {
            w.bool(self.allow_replication_factor_change);
        }
        w.error(self.error);
        w.nullable_string(self.error_message.as_deref());
        encode_topics(w, &self.topics);
        w.tags();
    }
}

#[derive(Clone, Debug)]
pub struct ListPartitionReassignmentsRequest<'a> {
    pub timeout_ms: i32,
    /// `None`: all.
    pub topics: Option<Array<'a, TopicPartitions<'a>>>,
}

impl<'a> ListPartitionReassignmentsRequest<'a> {
    pub fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let timeout_ms = r.i32()?;
        let topics = r.nullable_array()?;
        r.tags()?;
        Ok(Self { timeout_ms, topics })
    }
}

/// That nothing is under way: nothing ever is, since no node keeps partitions.
pub fn encode_no_reassignments(w: &mut Writer, error: ErrorCode) {
    w.i32(0);
    w.error(error);
    w.nullable_string(None);
    w.array_len(0);
    w.tags();
}
