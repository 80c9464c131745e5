//! The Kafka protocol's bytes: requests read lazily where they lie, responses written once.
//!
//! Invariants, whatever a peer sends: nothing panics, nothing recurses, and reading allocates nothing. An array is
//! checked once from end to end when it is met and then iterated over the borrowed bytes; its declared length is never
//! taken as a capacity. Record batches are never looked into or copied: they are slices of the frame.
//!
//! Follows the message definitions of Apache Kafka 4.3 (`clients/src/main/resources/common/message`).

pub mod alter_configs;
pub mod api;
pub mod api_versions;
pub mod consumer_group_describe;
pub mod consumer_group_heartbeat;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_topic_partitions;
pub mod elect_leaders;
pub mod error_code;
pub mod fetch;
pub mod find_coordinator;
pub mod header;
pub mod heartbeat;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_config_resources;
pub mod list_groups;
pub mod list_offsets;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod partition_reassignments;
pub mod partitions;
pub mod produce;
pub mod reader;
pub mod request;
pub mod sync_group;
pub mod writer;

pub use api::{ApiKey, Served};
pub use error_code::ErrorCode;
pub use header::RequestHeader;
pub use reader::{Array, DecodeError, Reader};
pub use request::Request;
pub use writer::{Reply, Writer};
