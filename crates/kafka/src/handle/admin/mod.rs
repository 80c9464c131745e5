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
use lakebed_broker::api::TopicInfo;
use lakebed_record::TopicName;

use super::topics::{Refused, refuse};
use crate::errors;
use crate::wire::ErrorCode;

/// As of now (read barrier): for those who change it.
async fn current_topic(broker: &Broker, name: &str) -> Result<TopicInfo, Refused> {
    let Ok(name) = TopicName::new(name) else { return refuse(ErrorCode::UnknownTopicOrPartition, "no such topic") };
    match broker.current_topic_by_name(&name).await {
        Ok(Some(topic)) => Ok(topic),
        Ok(None) => refuse(ErrorCode::UnknownTopicOrPartition, "no such topic"),
        Err(e) => refuse(errors::admin(e), e.to_string()),
    }
}

/// For those who only look: unknown only if no node knows it.
async fn find_topic(broker: &Broker, name: &str) -> Result<TopicInfo, Refused> {
    let Ok(name) = TopicName::new(name) else { return refuse(ErrorCode::UnknownTopicOrPartition, "no such topic") };
    match broker.topic_by_name(&name).await {
        Ok(Some(topic)) => Ok(topic),
        Ok(None) => refuse(ErrorCode::UnknownTopicOrPartition, "no such topic"),
        Err(e) => refuse(errors::read(e), e.to_string()),
    }
}

fn has_partition(topic: &TopicInfo, index: i32) -> bool {
    (0..topic.partitions).contains(&index)
}
