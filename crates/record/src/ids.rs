//! The identifiers of section 1 of the design, each a type of its own.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number_id!(
    /// Number of a commit in the log; the first is 1, 0 means "before the first".
    Slot, u64
);
number_id!(
    /// Small integer by which Kafka clients name a node; the smallest free one, from 1.
    BrokerId, i32
);
number_id!(
    /// The cluster's own clock, in ms since the Unix epoch; only commits advance it.
    LogTime, i64
);
number_id!(
    /// Sequence number of a group within its incarnation; the first, `node up`, is 1.
    GroupNumber, u64
);
number_id!(
    /// Index of a partition within its topic, from 0.
    Partition, i32
);

impl Slot {
    /// The last number there is stays where it is: no log gets there, but a damaged object may say so.
    pub const fn next(self) -> Slot {
        self.plus(1)
    }
    pub const fn plus(self, n: u64) -> Slot {
        Slot(self.0.saturating_add(n))
    }
}

/// One start of one process: random, new at every start and after every fence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// 128 random bits that tell one commit from every other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(pub u128);

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Kafka's topic id (KIP-516): a random UUID that a deleted and re-created topic does not share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub u128);

impl TopicId {
    pub const NIL: TopicId = TopicId(0);

    /// From the 16 big-endian bytes that ops and snapshots hold; `None` if there are not 16.
    pub fn from_bytes(bytes: &[u8]) -> Option<TopicId> {
        bytes.try_into().ok().map(|b| TopicId(u128::from_be_bytes(b)))
    }

    pub fn uuid(self) -> Uuid {
        Uuid::from_u128(self.0)
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.uuid(), f)
    }
}

/// Producer ids from here on are never granted: who names a request by a key derives one from that, so that every node has the same
/// for it. They count once for all: [`is_derived_producer`].
pub const FIRST_DERIVED_PRODUCER: i64 = 1 << 62;

pub const fn is_derived_producer(id: i64) -> bool {
    id >= FIRST_DERIVED_PRODUCER
}

/// One partition of one topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    pub topic: TopicId,
    pub partition: Partition,
}

impl TopicPartition {
    pub const fn new(topic: TopicId, partition: i32) -> Self {
        Self { topic, partition: Partition(partition) }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// Why a topic name is not one (Kafka's `org.apache.kafka.common.internals.Topic`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("a topic name must not be empty")]
    Empty,
    #[error("a topic name must not be '.' or '..'")]
    Dots,
    #[error("a topic name has at most {max} characters", max = TopicName::MAX_LEN)]
    TooLong,
    #[error("a topic name has only the characters a-z, A-Z, 0-9, '.', '_' and '-'")]
    Character,
}

/// A valid topic name: 1 to 249 of `[A-Za-z0-9._-]`, not `.` or `..`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

impl TopicName {
    pub const MAX_LEN: usize = 249;

    pub fn new(name: &str) -> Result<Self, NameError> {
        match name {
            "" => Err(NameError::Empty),
            "." | ".." => Err(NameError::Dots),
            _ if name.len() > Self::MAX_LEN => Err(NameError::TooLong),
            _ if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) => Err(NameError::Character),
            _ => Ok(Self(name.into())),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Name of a namespace: a set of topics; `default` unless said otherwise. Same rules as a topic name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(TopicName);

impl Namespace {
    pub fn new(name: &str) -> Result<Self, NameError> {
        TopicName::new(name).map(Self)
    }

    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self(TopicName("default".into()))
    }
}

/// Names one segment object: its fence (log time at naming), its maker and a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentName {
    pub fence: LogTime,
    pub node: Incarnation,
    pub number: u64,
}

impl SegmentName {
    /// Set in the number of what background work made of objects that were there before: merged segments and index pages.
    pub const BACKGROUND: u64 = 1 << 48;

    /// True unless a flush made it: no entry in it is there for the first time.
    pub const fn is_background(&self) -> bool {
        self.number & Self::BACKGROUND != 0
    }
}

/// An object that holds record batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DataObject {
    /// Records that ride in the commit of this slot.
    Inline(Slot),
    Segment(SegmentName),
}
