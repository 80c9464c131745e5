//! The Kafka protocol's bytes: requests read lazily where they lie, responses written once.
//!
//! Invariants, whatever a peer sends: nothing panics, nothing recurses, and reading allocates nothing. An array is
//! checked once from end to end when it is met and then iterated over the borrowed bytes; its declared length is never
//! taken as a capacity. Record batches are never looked into or copied: they are slices of the frame.
//!
//! Follows the message definitions of Apache Kafka 4.3 (`clients/src/main/resources/common/message`).

pub mod api;
pub mod api_versions;
pub mod create_topics;
pub mod delete_topics;
pub mod describe_cluster;
pub mod error_code;
pub mod fetch;
pub mod header;
pub mod init_producer_id;
pub mod list_offsets;
pub mod metadata;
pub mod produce;
pub mod reader;
pub mod request;
pub mod writer;

pub use api::{ApiKey, Served};
pub use error_code::ErrorCode;
pub use header::RequestHeader;
pub use reader::{Array, DecodeError, Reader};
pub use request::Request;
pub use writer::{Reply, Writer};
