//! Ops that change topics that exist, and configs of the cluster and of consumer groups.

use prost::{Enumeration, Message};

use super::ConfigEntry;

/// What becomes of a list of configs: first all of it goes if it is to be replaced, then what is deleted, then the rest is set.
#[derive(Clone, PartialEq, Message)]
pub struct ConfigChange {
    /// What is not set here is gone (AlterConfigs); else it stays (IncrementalAlterConfigs).
    #[prost(bool, tag = "1")]
    pub replace: bool,
    #[prost(message, repeated, tag = "2")]
    pub set: Vec<ConfigEntry>,
    #[prost(string, repeated, tag = "3")]
    pub delete: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct AlterTopicConfigs {
    #[prost(bytes = "vec", tag = "1")]
    pub topic_id: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    pub change: Option<ConfigChange>,
}

/// A topic only grows.
#[derive(Clone, PartialEq, Message)]
pub struct CreatePartitions {
    #[prost(bytes = "vec", tag = "1")]
    pub topic_id: Vec<u8>,
    /// How many it is to have in all.
    #[prost(uint32, tag = "2")]
    pub count: u32,
    /// Applies only if it has this many.
    #[prost(uint32, tag = "3")]
    pub expected_now: u32,
}

/// What configs are set of, beside topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub enum ConfigScope {
    /// All nodes; it has no name.
    Cluster = 0,
    /// A consumer group, whether there is one or not.
    Group = 1,
}

#[derive(Clone, PartialEq, Message)]
pub struct SetConfigs {
    #[prost(enumeration = "ConfigScope", tag = "1")]
    pub scope: i32,
    /// Both empty for the cluster.
    #[prost(string, tag = "2")]
    pub namespace: String,
    #[prost(string, tag = "3")]
    pub name: String,
    #[prost(message, optional, tag = "4")]
    pub change: Option<ConfigChange>,
}
