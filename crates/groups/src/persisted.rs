//! The persisted form of a group: the opaque `metadata` of the manifest's consumer group (protobuf; field numbers are for ever). Times are
//! not in it: after a restart every member has a full session time-out.

use prost::Message;

/// Why metadata that the manifest holds cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error("the group's metadata is not readable: {0}")]
    Malformed(#[from] prost::DecodeError),
    #[error("the group's metadata is not valid: {0}")]
    Invalid(&'static str),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PersistedGroup {
    #[prost(message, optional, tag = "1")]
    pub classic: Option<PersistedClassic>,
    #[prost(message, optional, tag = "2")]
    pub consumer: Option<PersistedConsumer>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PersistedClassic {
    #[prost(string, tag = "1")]
    pub protocol_type: String,
    #[prost(string, tag = "2")]
    pub protocol: String,
    #[prost(string, tag = "3")]
    pub leader: String,
    #[prost(enumeration = "PersistedPhase", tag = "4")]
    pub phase: i32,
    #[prost(message, repeated, tag = "5")]
    pub members: Vec<PersistedClassicMember>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum PersistedPhase {
    Empty = 0,
    Preparing = 1,
    Completing = 2,
    Stable = 3,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PersistedClassicMember {
    #[prost(string, tag = "1")]
    pub member_id: String,
    #[prost(string, optional, tag = "2")]
    pub instance_id: Option<String>,
    #[prost(string, tag = "3")]
    pub client_id: String,
    #[prost(string, tag = "4")]
    pub client_host: String,
    #[prost(uint64, tag = "5")]
    pub session_timeout_ms: u64,
    #[prost(uint64, tag = "6")]
    pub rebalance_timeout_ms: u64,
    #[prost(message, repeated, tag = "7")]
    pub protocols: Vec<PersistedProtocol>,
    #[prost(bytes = "bytes", tag = "8")]
    pub assignment: bytes::Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PersistedProtocol {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub metadata: bytes::Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PersistedConsumer {
    #[prost(int32, tag = "1")]
    pub target_epoch: i32,
    #[prost(string, tag = "2")]
    pub assignor: String,
    /// Every topic that is named below, by its place in this list.
    #[prost(message, repeated, tag = "3")]
    pub topics: Vec<PersistedTopic>,
    #[prost(message, repeated, tag = "4")]
    pub members: Vec<PersistedConsumerMember>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PersistedTopic {
    #[prost(bytes = "vec", tag = "1")]
    pub topic: Vec<u8>,
    /// How many there were when the group epoch was last raised for the topic; none if no member subscribes to it.
    #[prost(int32, optional, tag = "2")]
    pub partitions: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PersistedConsumerMember {
    #[prost(string, tag = "1")]
    pub member_id: String,
    #[prost(string, optional, tag = "2")]
    pub instance_id: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub rack_id: Option<String>,
    #[prost(string, tag = "4")]
    pub client_id: String,
    #[prost(string, tag = "5")]
    pub client_host: String,
    #[prost(uint64, tag = "6")]
    pub rebalance_timeout_ms: u64,
    #[prost(string, repeated, tag = "7")]
    pub names: Vec<String>,
    #[prost(string, optional, tag = "8")]
    pub regex: Option<String>,
    #[prost(string, optional, tag = "9")]
    pub server_assignor: Option<String>,
    #[prost(int32, tag = "10")]
    pub epoch: i32,
    #[prost(int32, tag = "11")]
    pub previous_epoch: i32,
    #[prost(enumeration = "PersistedState", tag = "12")]
    pub state: i32,
    #[prost(message, repeated, tag = "13")]
    pub assigned: Vec<PersistedPartitions>,
    #[prost(message, repeated, tag = "14")]
    pub revoking: Vec<PersistedPartitions>,
    #[prost(message, repeated, tag = "15")]
    pub target: Vec<PersistedPartitions>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum PersistedState {
    Stable = 0,
    Unrevoked = 1,
    Unreleased = 2,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PersistedPartitions {
    /// Place in the list of topics.
    #[prost(uint32, tag = "1")]
    pub topic: u32,
    #[prost(int32, repeated, tag = "2")]
    pub partitions: Vec<i32>,
    /// Since which epoch; as many as partitions, or one that holds for all, or none where epochs mean nothing.
    #[prost(int32, repeated, tag = "3")]
    pub epochs: Vec<i32>,
}
