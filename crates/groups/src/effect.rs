//! What a group asks its driver to do, and the answers that it gives.

use std::time::Duration;

use bytes::Bytes;
use lakebed_record::TopicPartition;

use crate::GroupError;
use crate::protocol::Protocol;

/// The caller's name for one request that is to be answered; every token that was passed in is answered exactly once, unless the
/// group is dropped without [`close`](crate::Group::close).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    Reply(Token, Reply),
    /// Write this and tell [`persisted`](crate::Group::persisted) what came of it. There is one at a time.
    Persist(Persist),
}

/// Whether a group's members follow the classic protocol or KIP-848; an empty group may change.
pub use lakebed_record::ops::GroupKind as Kind;

/// The whole of a group as it is to be restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Persist {
    /// The generation of the last state that was written.
    pub from_generation: i32,
    /// At least `from_generation`; larger by more than one if generations passed while a write was under way.
    pub generation: i32,
    pub kind: Kind,
    pub members: u32,
    pub metadata: Bytes,
}

/// What came of a [`Persist`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PersistOutcome {
    Done,
    /// It was not written and will not be, but the claim holds: those who wait are told to retry, the group tries again.
    NotWritten,
    /// The claim is gone or another state was written: the group answers NOT_COORDINATOR from here on, and is to be dropped.
    Lost,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Join(Result<Joined, JoinRefused>),
    Sync(Result<Synced, GroupError>),
    /// One result for each member named in the request, in its order.
    Leave(Result<Vec<Result<(), GroupError>>, GroupError>),
    ConsumerHeartbeat(Result<ConsumerAnswer, GroupError>),
}

/// JoinGroup, answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    pub generation: i32,
    pub protocol_type: String,
    pub protocol: String,
    pub leader: String,
    pub member_id: String,
    /// Only the leader is told the members, with their metadata for the chosen protocol.
    pub members: Vec<JoinedMember>,
    pub leader_assigns: LeaderAssigns,
}

/// KIP-814: whether the leader is to compute an assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaderAssigns {
    Yes,
    /// A static leader came back and nothing changed: the assignment stands (`SkipAssignment`).
    Skips,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    pub member_id: String,
    pub instance_id: Option<String>,
    pub metadata: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRefused {
    pub error: GroupError,
    /// The member's id; the one to join with for [`GroupError::MemberIdRequired`].
    pub member_id: String,
}

/// SyncGroup, answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    pub protocol_type: String,
    pub protocol: String,
    pub assignment: Bytes,
}

/// ConsumerGroupHeartbeat, answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerAnswer {
    pub member_id: String,
    pub member_epoch: i32,
    pub heartbeat_interval: Duration,
    /// `None`: as it was last told.
    pub assignment: Option<Vec<TopicPartition>>,
}

/// What is told of the client behind a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    pub id: String,
    pub host: String,
}

/// JoinGroup.
#[derive(Clone, Debug)]
pub struct JoinRequest {
    /// Empty: not known yet.
    pub member_id: String,
    pub instance_id: Option<String>,
    pub client: Client,
    pub protocol_type: String,
    /// In the member's order of preference.
    pub protocols: Vec<Protocol>,
    pub session_timeout: Duration,
    pub rebalance_timeout: Duration,
    pub features: JoinFeatures,
    /// A new UUID: the group names a new member `<instance or client id>-<fresh>`.
    pub fresh: String,
}

/// What the version of the JoinGroup request can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum JoinFeatures {
    /// Version 3 and older: a new member is taken at once.
    Plain,
    /// From version 4 (KIP-394): a new dynamic member is first given its id.
    KnownMemberId,
    /// From version 9 (KIP-814): a leader can be told to skip the assignment.
    SkipAssignment,
}

/// SyncGroup.
#[derive(Clone, Debug)]
pub struct SyncRequest {
    pub member: MemberRef,
    /// `None` in versions that do not name it.
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    /// By member id; only the leader's count.
    pub assignments: Vec<(String, Bytes)>,
}

/// How a classic member names itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRef {
    pub member_id: String,
    pub instance_id: Option<String>,
    pub generation: i32,
}

/// One member that is to leave (LeaveGroup); a static member may be named by its instance alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaving {
    /// May be empty if `instance_id` is there.
    pub member_id: String,
    pub instance_id: Option<String>,
}

/// ConsumerGroupHeartbeat (KIP-848); `None`: not changed since the last one.
#[derive(Clone, Debug)]
pub struct ConsumerHeartbeat {
    /// From version 1 the client's own choice; the driver puts a new UUID here if version 0 came without.
    pub member_id: String,
    /// 0 joins, −1 leaves, −2 leaves as a static member that will come back.
    pub member_epoch: i32,
    pub instance_id: Option<String>,
    pub rack_id: Option<String>,
    pub client: Client,
    pub rebalance_timeout: Option<Duration>,
    pub subscribed_names: Option<Vec<String>>,
    /// From version 1; empty: no longer.
    pub subscribed_regex: Option<String>,
    pub server_assignor: Option<String>,
    pub owned: Option<Vec<TopicPartition>>,
}
