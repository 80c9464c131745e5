//! Commits and their ops, as persisted (protobuf; field numbers are for ever) and what applying an op decided.
//!
//! A commit is an [`envelope`](crate::envelope) of kind `Commit`: the body is a [`CommitBody`], the payload the inlined
//! record bytes of its append ops. New ops and fields are gated by the feature level in the state.

mod groups;
mod topics;

use prost::{Message, Oneof};

pub use groups::*;
pub use topics::*;

/// Body of the object at `log/<shard>/<slot>`.
#[derive(Clone, PartialEq, Message)]
pub struct CommitBody {
    #[prost(uint64, tag = "1")]
    pub slot: u64,
    #[prost(bytes = "vec", tag = "2")]
    pub commit_id: Vec<u8>,
    /// Incarnation of the node that wrote it.
    #[prost(fixed64, tag = "3")]
    pub writer: u64,
    /// The writer's wall clock (4.4) in ms since the epoch.
    #[prost(int64, tag = "4")]
    pub wall_ms: i64,
    /// Only in an empty commit: the wall clock was verified as 4.4 demands, so that a step of more than 5 min is honoured.
    #[prost(bool, tag = "5")]
    pub verified_time: bool,
    #[prost(message, repeated, tag = "6")]
    pub groups: Vec<Group>,
    #[prost(message, optional, tag = "7")]
    pub assert: Option<StateAssertion>,
}

/// "When I applied this slot, my state had this hash."
#[derive(Clone, Copy, PartialEq, Message)]
pub struct StateAssertion {
    #[prost(uint64, tag = "1")]
    pub slot: u64,
    #[prost(fixed64, tag = "2")]
    pub hash: u64,
}

/// Ops of one node that apply together or not at all, in the order of their numbers. Immutable once numbered.
#[derive(Clone, PartialEq, Message)]
pub struct Group {
    #[prost(fixed64, tag = "1")]
    pub incarnation: u64,
    #[prost(uint64, tag = "2")]
    pub number: u64,
    /// On whose behalf; empty until there is a login.
    #[prost(string, tag = "3")]
    pub principal: String,
    #[prost(message, repeated, tag = "4")]
    pub ops: Vec<Op>,
    /// Where this group's inline bytes start in the payload of the commit that carries it (set when packed), and how many.
    #[prost(uint64, tag = "5")]
    pub inline_start: u64,
    #[prost(uint64, tag = "6")]
    pub inline_len: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Op {
    #[prost(oneof = "OpKind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22")]
    pub kind: Option<OpKind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum OpKind {
    #[prost(message, tag = "1")]
    NodeUp(NodeUp),
    #[prost(message, tag = "2")]
    NodeDown(NodeDown),
    #[prost(message, tag = "3")]
    DropTombstones(DropTombstones),
    #[prost(message, tag = "4")]
    FeatureLevel(SetFeatureLevel),
    #[prost(message, tag = "5")]
    CreateTopic(CreateTopic),
    #[prost(message, tag = "6")]
    DeleteTopic(DeleteTopic),
    #[prost(message, tag = "7")]
    GrantProducerId(GrantProducerId),
    #[prost(message, tag = "8")]
    Append(Append),
    #[prost(message, tag = "9")]
    ExpireProducers(ExpireProducers),
    #[prost(message, tag = "10")]
    MoveEntries(MoveEntries),
    #[prost(message, tag = "11")]
    SealEntries(SealEntries),
    #[prost(message, tag = "12")]
    Truncate(Truncate),
    #[prost(message, tag = "13")]
    ObjectsDeleted(ObjectsDeleted),
    #[prost(message, tag = "14")]
    ClaimGroup(ClaimGroup),
    #[prost(message, tag = "15")]
    WriteGroup(WriteGroup),
    #[prost(message, tag = "16")]
    CommitOffsets(CommitOffsets),
    #[prost(message, tag = "17")]
    DeleteOffsets(DeleteOffsets),
    #[prost(message, tag = "18")]
    DeleteGroup(DeleteGroup),
    #[prost(message, tag = "19")]
    ExpireOffsets(ExpireOffsets),
    #[prost(message, tag = "20")]
    AlterTopicConfigs(AlterTopicConfigs),
    #[prost(message, tag = "21")]
    CreatePartitions(CreatePartitions),
    #[prost(message, tag = "22")]
    SetConfigs(SetConfigs),
}

impl From<OpKind> for Op {
    fn from(kind: OpKind) -> Op {
        Op { kind: Some(kind) }
    }
}

/// Registers the incarnation of its group; always group 1, alone.
#[derive(Clone, PartialEq, Message)]
pub struct NodeUp {
    /// The node's applied log time when it made this op (ms); apply refuses it outside `fence ..= fence + 10 min`.
    #[prost(int64, tag = "1")]
    pub fence: i64,
    /// What the node advertises to Kafka clients, `host:port`.
    #[prost(string, tag = "2")]
    pub kafka_address: String,
    #[prost(string, tag = "3")]
    pub rack: String,
}

/// Fences an incarnation for ever: its groups apply no more. Leaves a tombstone.
#[derive(Clone, PartialEq, Message)]
pub struct NodeDown {
    #[prost(fixed64, tag = "1")]
    pub incarnation: u64,
}

/// Applies to those whose `node down` is more than the window (10 min of log time) ago.
#[derive(Clone, PartialEq, Message)]
pub struct DropTombstones {
    #[prost(fixed64, repeated, tag = "1")]
    pub incarnations: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub struct SetFeatureLevel {
    #[prost(uint32, tag = "1")]
    pub level: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct CreateTopic {
    #[prost(string, tag = "1")]
    pub namespace: String,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(bytes = "vec", tag = "3")]
    pub topic_id: Vec<u8>,
    #[prost(uint32, tag = "4")]
    pub partitions: u32,
    #[prost(message, repeated, tag = "5")]
    pub configs: Vec<ConfigEntry>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ConfigEntry {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct DeleteTopic {
    #[prost(bytes = "vec", tag = "1")]
    pub topic_id: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct GrantProducerId {}

/// Producer states without an append for 24 h of log time go, those that have one since stay.
#[derive(Clone, PartialEq, Message)]
pub struct ExpireProducers {
    #[prost(message, repeated, tag = "1")]
    pub partitions: Vec<PartitionProducers>,
}

/// Producers of one partition.
#[derive(Clone, PartialEq, Message)]
pub struct PartitionProducers {
    #[prost(bytes = "vec", tag = "1")]
    pub topic_id: Vec<u8>,
    #[prost(int32, tag = "2")]
    pub partition: i32,
    #[prost(int64, repeated, tag = "3")]
    pub producer_ids: Vec<i64>,
}

/// Index entries whose records were copied into one segment, sorted by partition: refused as a whole if an input is not live.
#[derive(Clone, PartialEq, Message)]
pub struct MoveEntries {
    /// The segment, made by the node of this group.
    #[prost(message, optional, tag = "1")]
    pub output: Option<SegmentPlace>,
    /// The objects that the inputs lie in.
    #[prost(message, repeated, tag = "2")]
    pub objects: Vec<ObjectRef>,
    /// At most one per partition.
    #[prost(message, repeated, tag = "3")]
    pub moves: Vec<PartitionMove>,
}

/// Entries of one partition that follow each other, and what replaces them.
#[derive(Clone, PartialEq, Message)]
pub struct PartitionMove {
    #[prost(message, optional, tag = "1")]
    pub inputs: Option<EntryRun>,
    /// Of each output entry: the offsets it takes, its length in bytes, its largest timestamp (ms). They lie behind each other.
    #[prost(uint64, repeated, tag = "2")]
    pub offsets: Vec<u64>,
    #[prost(uint64, repeated, tag = "3")]
    pub len: Vec<u64>,
    #[prost(int64, repeated, tag = "4")]
    pub max_timestamp: Vec<i64>,
    /// Where the first one starts in the segment, in bytes.
    #[prost(uint64, tag = "5")]
    pub start: u64,
}

/// Names live entries by identity, as columns; their offsets follow each other from `base_offset` on.
#[derive(Clone, PartialEq, Message)]
pub struct EntryRun {
    #[prost(bytes = "vec", tag = "1")]
    pub topic_id: Vec<u8>,
    #[prost(int32, tag = "2")]
    pub partition: i32,
    #[prost(int64, tag = "3")]
    pub base_offset: i64,
    #[prost(uint64, repeated, tag = "4")]
    pub offsets: Vec<u64>,
    /// Index into the op's `objects`.
    #[prost(uint32, repeated, tag = "5")]
    pub object: Vec<u32>,
    #[prost(uint64, repeated, tag = "6")]
    pub start: Vec<u64>,
    #[prost(uint64, repeated, tag = "7")]
    pub len: Vec<u64>,
}

/// A slot (fence −1) or a segment.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct ObjectRef {
    #[prost(sint64, tag = "1")]
    pub fence: i64,
    #[prost(fixed64, tag = "2")]
    pub node: u64,
    #[prost(uint64, tag = "3")]
    pub number: u64,
}

/// The oldest entries that the state holds of one partition, all in segments, stand in an index page now.
#[derive(Clone, PartialEq, Message)]
pub struct SealEntries {
    /// The page; its name has the form of a segment's.
    #[prost(message, optional, tag = "1")]
    pub page: Option<SegmentPlace>,
    #[prost(message, repeated, tag = "2")]
    pub objects: Vec<ObjectRef>,
    #[prost(message, optional, tag = "3")]
    pub inputs: Option<EntryRun>,
}

/// Records below an offset are gone.
#[derive(Clone, PartialEq, Message)]
pub struct Truncate {
    #[prost(bytes = "vec", tag = "1")]
    pub topic_id: Vec<u8>,
    #[prost(int32, tag = "2")]
    pub partition: i32,
    #[prost(int64, tag = "3")]
    pub log_start: i64,
}

/// Segments on the pending-delete list that are no more in the bucket.
#[derive(Clone, PartialEq, Message)]
pub struct ObjectsDeleted {
    #[prost(message, repeated, tag = "1")]
    pub segments: Vec<ObjectRef>,
}

/// Record batches of one flush, stored in one object.
#[derive(Clone, PartialEq, Message)]
pub struct Append {
    #[prost(oneof = "Place", tags = "1, 2")]
    pub place: Option<Place>,
    #[prost(message, repeated, tag = "3")]
    pub partitions: Vec<PartitionAppend>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum Place {
    /// Ranges count from the start of the group's inline bytes.
    #[prost(message, tag = "1")]
    Inline(InlinePlace),
    /// Ranges count from the start of the segment object.
    #[prost(message, tag = "2")]
    Segment(SegmentPlace),
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct InlinePlace {}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct SegmentPlace {
    #[prost(int64, tag = "1")]
    pub fence: i64,
    #[prost(fixed64, tag = "2")]
    pub node: u64,
    #[prost(uint64, tag = "3")]
    pub number: u64,
    /// Length of the whole object in bytes.
    #[prost(uint64, tag = "4")]
    pub total_len: u64,
}

/// Batches of one partition that lie behind each other in the object, in the order in which they get offsets.
#[derive(Clone, PartialEq, Message)]
pub struct PartitionAppend {
    #[prost(bytes = "vec", tag = "1")]
    pub topic_id: Vec<u8>,
    #[prost(int32, tag = "2")]
    pub partition: i32,
    /// Where the first batch starts (see [`Place`]).
    #[prost(uint64, tag = "3")]
    pub start: u64,
    #[prost(message, repeated, tag = "4")]
    pub batches: Vec<BatchMeta>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct BatchMeta {
    /// Length of the whole batch in bytes, its first 12 included.
    #[prost(uint32, tag = "1")]
    pub len: u32,
    /// Offsets it takes: last offset delta + 1.
    #[prost(uint32, tag = "2")]
    pub offsets: u32,
    /// Largest timestamp of its records (ms).
    #[prost(int64, tag = "3")]
    pub max_timestamp: i64,
    #[prost(message, optional, tag = "4")]
    pub producer: Option<ProducerMeta>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct ProducerMeta {
    #[prost(int64, tag = "1")]
    pub id: i64,
    #[prost(int32, tag = "2")]
    pub epoch: i32,
    #[prost(int32, tag = "3")]
    pub sequence: i32,
    #[prost(bool, tag = "4")]
    pub transactional: bool,
}

impl From<crate::DataObject> for ObjectRef {
    fn from(object: crate::DataObject) -> ObjectRef {
        match object {
            crate::DataObject::Inline(slot) => ObjectRef { fence: -1, node: 0, number: slot.0 },
            crate::DataObject::Segment(s) => s.into(),
        }
    }
}

impl From<crate::SegmentName> for ObjectRef {
    fn from(s: crate::SegmentName) -> ObjectRef {
        ObjectRef { fence: s.fence.0, node: s.node.0, number: s.number }
    }
}

impl From<&ObjectRef> for crate::DataObject {
    fn from(o: &ObjectRef) -> crate::DataObject {
        match o.fence {
            -1 => crate::DataObject::Inline(crate::Slot(o.number)),
            fence => crate::DataObject::Segment(crate::SegmentName {
                fence: crate::LogTime(fence),
                node: crate::Incarnation(o.node),
                number: o.number,
            }),
        }
    }
}

impl From<&SegmentPlace> for crate::SegmentName {
    fn from(s: &SegmentPlace) -> crate::SegmentName {
        crate::SegmentName { fence: crate::LogTime(s.fence), node: crate::Incarnation(s.node), number: s.number }
    }
}

/// What became of one group of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupOutcome {
    /// It applied, here and now: one outcome per op.
    Applied(Vec<OpOutcome>),
    /// Its number had been applied before: no effect, and no outcome.
    Ignored,
    /// Its number is more than one past the last: no effect, and no outcome; its origin sends it again.
    Gap,
    /// Its incarnation is not registered (never, or no more): no effect, ever.
    Fenced,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpOutcome {
    /// node down, tombstones, feature level, expiry, entries moved or sealed, objects deleted, consumer group written or deleted,
    /// its offsets deleted, configs set: done, as far as it applied.
    Done,
    NodeUp {
        broker_id: crate::BrokerId,
    },
    /// The fence lies outside the admission window (node up, append with a segment).
    OutsideWindow,
    TopicCreated,
    /// Another topic has the name.
    TopicExists {
        topic_id: crate::TopicId,
    },
    TopicDeleted,
    UnknownTopic,
    ProducerId(i64),
    /// No more producer states are kept than the cap allows.
    ProducerIdsExhausted,
    /// An input is not live (any more): nothing was moved or sealed, and the new object is nobody's.
    InputGone,
    Truncated {
        log_start_offset: i64,
    },
    UnknownPartition,
    /// Of a truncation past the end of the partition.
    OffsetOutOfRange,
    /// For each partition of the op, for each of its batches.
    Appended(Vec<Vec<BatchOutcome>>),
    PartitionsCreated,
    /// Not as many as the op expects, but these.
    PartitionsNow {
        partitions: u32,
    },
    GroupClaimed {
        epoch: u64,
    },
    /// Another claim stands than the op names; none: there is no such group.
    ClaimRefused {
        present: Option<crate::GroupClaim>,
    },
    /// The consumer group's claim is another one, or there is no such group.
    NotOwner,
    /// The consumer group has this generation.
    IllegalGeneration {
        generation: i32,
    },
    /// The consumer group has members.
    NonEmpty,
    /// For each topic of the op, for each of its offsets.
    OffsetsCommitted(Vec<Vec<CommitOutcome>>),
    /// All that the state keeps of this kind (consumer groups, configs) is taken.
    OutOfSpace,
    /// The op is not known at the state's feature level or is malformed; every node refuses it alike.
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchOutcome {
    Appended {
        base_offset: i64,
        log_start_offset: i64,
    },
    /// These sequence numbers were appended before, at this offset.
    Duplicate {
        base_offset: i64,
        log_start_offset: i64,
    },
    UnknownPartition,
    /// The sequence number is neither the next nor one of the last five batches.
    OutOfOrderSequence,
    /// A newer epoch of this producer id has appended to the partition.
    InvalidProducerEpoch,
    /// The sequence does not start at 0 although nothing is known of this producer here.
    UnknownProducerId,
    /// As many derived producer ids are remembered as may be.
    ProducersExhausted,
    /// Offsets end at 2^63 − 1.
    OffsetsExhausted,
}
