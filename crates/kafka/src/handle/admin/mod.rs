//! What administrators ask, beside creating and deleting topics.

pub(super) mod alter_configs;
pub(super) mod config_resources;
pub(super) mod create_partitions;
pub(super) mod delete_records;
pub(super) mod describe_configs;
pub(super) mod epochs;
pub(super) mod leaders;
pub(super) mod log_dirs;
pub(super) mod producers;
pub(super) mod topic_partitions;

use lakebed_broker::Broker;
use lakebed_broker::api::{TopicInfo, Unavailable};
use lakebed_record::TopicName;

use super::topics::{Refused, refuse};
use crate::errors;
use crate::wire::partitions::AskedTopic;
use crate::wire::reader::Decode;
use crate::wire::{Array, ErrorCode};

/// As of now (read barrier): for those who change it.
async fn current_topic(broker: &Broker, name: &str) -> Result<TopicInfo, Refused> {
    match TopicName::new(name) {
        Ok(name) => known(broker.current_topic_by_name(&name).await, errors::admin),
        Err(_) => known(Ok(None), errors::admin),
    }
}

/// For those who only look: unknown only if no node knows it.
async fn find_topic(broker: &Broker, name: &str) -> Result<TopicInfo, Refused> {
    match TopicName::new(name) {
        Ok(name) => known(broker.topic_by_name(&name).await, errors::read),
        Err(_) => known(Ok(None), errors::read),
    }
}

fn known(
    found: Result<Option<TopicInfo>, Unavailable>,
    code: impl FnOnce(Unavailable) -> ErrorCode,
) -> Result<TopicInfo, Refused> {
    match found {
        Ok(Some(topic)) => Ok(topic),
        Ok(None) => refuse(ErrorCode::UnknownTopicOrPartition, "no such topic"),
        Err(e) => refuse(code(e), e.to_string()),
    }
}

/// What asking about so many partitions takes at most, that are answered with some numbers, in a request of `size` bytes: while they are
/// answered, and in the answer.
fn most_bytes<'a, P: Decode<'a>>(topics: Array<'a, AskedTopic<'a, P>>, size: usize) -> usize {
    const PARTITION: usize = 96;
    const TOPIC_BESIDES_NAME: usize = 96;
    let partitions: usize = topics.iter().map(|topic| topic.partitions.len()).sum();
    size + topics.len() * TOPIC_BESIDES_NAME + partitions * PARTITION
}
