//! What a front end asks of the broker, and what it may be told: no protocol's types, one small error enum per operation.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lakebed_manifest::NodeState;
use lakebed_record::{BrokerId, Partition, TopicId, TopicName};

/// A topic as clients see it.
#[derive(Clone, Debug)]
pub struct TopicInfo {
    pub id: TopicId,
    pub name: TopicName,
    /// Partitions are 0 .. this.
    pub partitions: i32,
    pub config: Arc<TopicConfig>,
}

impl TopicInfo {
    pub fn has_partition(&self, index: i32) -> bool {
        (0..self.partitions).contains(&index)
    }
}

/// The per-topic settings that mean something so far, resolved against their defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicConfig {
    /// `max.message.bytes`: largest record batch, as it is sent, in bytes (default 1,048,588).
    pub max_message_bytes: u32,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.after.max.ms`: how far a CreateTime may lie past the broker's clock, in ms (default 1 h).
    pub timestamp_after_max_ms: i64,
    /// `message.timestamp.before.max.ms`: how far before, in ms (default: any).
    pub timestamp_before_max_ms: i64,
    /// `retention.ms`: records that are older go, in ms; −1 (default): none.
    pub retention_ms: i64,
    /// `retention.bytes`: so many bytes of a partition stay, the newest; −1 (default): all.
    pub retention_bytes: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    CreateTime,
    LogAppendTime,
}

#[derive(Clone, Debug)]
pub struct NewTopic {
    pub name: TopicName,
    /// −1: the broker's default.
    pub partitions: i32,
    pub configs: Vec<(String, String)>,
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum CreateTopicError {
    #[error("a topic with this name exists")]
    Exists,
    #[error("{0}")]
    InvalidPartitions(String),
    #[error("{0}")]
    InvalidConfig(String),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum TopicError {
    #[error("no such topic")]
    Unknown,
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum CreatePartitionsError {
    #[error("no such topic")]
    Unknown,
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    InvalidAssignment(String),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum AlterConfigsError {
    #[error("no such topic")]
    Unknown,
    #[error("{0}")]
    Invalid(String),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum TruncateError {
    #[error("no such topic or partition")]
    UnknownPartition,
    /// Below 0 or past the high watermark.
    #[error("no offset of the partition")]
    OutOfRange,
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// An idempotent producer, as a partition remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownProducer {
    pub id: i64,
    pub epoch: i16,
    /// −1: not known.
    pub last_sequence: i32,
    /// Log time of its last append, in ms since the epoch.
    pub last_append_ms: i64,
}

/// The log could not be reached in time: nothing is known of what was asked; ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    #[error("no answer from the object store in time; try again")]
    Timeout,
    #[error("this node is stopping; try another one")]
    Stopping,
}

/// One record batch (magic 2) for one partition, exactly as it came, header included.
#[derive(Clone, Debug)]
pub struct Append {
    pub topic: TopicId,
    pub partition: Partition,
    pub batch: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    pub base_offset: i64,
    /// Set if the topic has LogAppendTime: what was stamped (ms), else −1.
    pub log_append_time: i64,
    pub log_start_offset: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    #[error("no such topic or partition")]
    UnknownPartition,
    #[error("corrupt record batch: {0}")]
    Corrupt(String),
    #[error("invalid record batch: {0}")]
    InvalidRecord(String),
    #[error("record batch format below version 2 is not supported")]
    UnsupportedFormat,
    #[error("compression codec {0} is not known")]
    UnsupportedCompression(u8),
    #[error("the record batch has {0} bytes, more than max.message.bytes = {1}")]
    TooLarge(usize, u32),
    #[error("timestamp {0} is out of the range that the topic allows")]
    InvalidTimestamp(i64),
    #[error("transactions are not supported yet")]
    Transactional,
    #[error("the sequence number is neither the next one nor one of the last five batches")]
    OutOfOrderSequence,
    #[error("a newer epoch of this producer exists")]
    InvalidProducerEpoch,
    #[error("nothing is known of this producer and its sequence does not start at 0")]
    UnknownProducerId,
    #[error("the cluster remembers as many keys of requests as it may; the oldest expire a day after their use")]
    ProducersExhausted,
    #[error("the partition has used up its offsets")]
    OffsetsExhausted,
    /// Dropped before it was in a group: it will never appear.
    #[error("not stored in time")]
    TimedOut,
    /// It was under way when the time was up: it may still appear.
    #[error("not known to be stored in time")]
    TimedOutUnderWay,
    #[error("this node is stopping; try another one")]
    Stopping,
}

#[derive(Clone, Copy, Debug)]
pub struct FetchPartition {
    pub topic: TopicId,
    pub partition: Partition,
    pub offset: i64,
    pub max_bytes: usize,
}

#[derive(Clone, Debug)]
pub struct FetchRequest {
    pub partitions: Vec<FetchPartition>,
    pub min_bytes: usize,
    pub max_bytes: usize,
    pub max_wait: Duration,
}

/// Record batches ready for the wire, base offsets and leader epoch (0) patched, whole batches only.
/// The first batch of the first partition that has data is never withheld for its size.
#[derive(Clone, Debug, Default)]
pub struct Fetched {
    pub records: Vec<Bytes>,
    pub records_len: usize,
    pub high_watermark: i64,
    pub last_stable_offset: i64,
    pub log_start_offset: i64,
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum FetchError {
    #[error("no such topic or partition")]
    UnknownPartition,
    #[error("offset {offset} is outside {log_start_offset} ..= {high_watermark}")]
    OutOfRange { offset: i64, log_start_offset: i64, high_watermark: i64 },
    /// The data could not be read now (store away) or not at all (an alarm is raised): never skipped.
    #[error("{0}")]
    Storage(String),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    Earliest,
    /// The high watermark, after a read barrier.
    Latest,
    /// The first record with a timestamp (ms) at or past this one.
    AtTime(i64),
}

/// `offset` −1: no record at or past that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedOffset {
    pub offset: i64,
    pub timestamp: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdentity {
    pub id: i64,
    pub epoch: i16,
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum ProducerIdError {
    #[error("the cluster keeps as many producer states as it may; retry when idle ones have expired")]
    Exhausted,
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// What clients are told of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    pub id: BrokerId,
    pub host: String,
    pub port: u16,
}

impl NodeInfo {
    /// `None` if what the node tells of itself is no address.
    pub(crate) fn of(node: &NodeState) -> Option<NodeInfo> {
        let (host, port) = node.kafka_address.rsplit_once(':')?;
        Some(NodeInfo { id: node.broker_id, host: host.into(), port: port.parse().ok()? })
    }
}
