//! ConsumerGroupHeartbeat (KIP-848).

use std::time::Duration;

use lakebed_broker::Broker;
use lakebed_groups::{Client, ConsumerAnswer, ConsumerHeartbeat};
use lakebed_record::TopicPartition;

use super::{by_topic, group_id, member_uuid};
use crate::errors;
use crate::wire::consumer_group_heartbeat::{
    AssignedTopic, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
};
use crate::wire::{ErrorCode, Writer};

pub(in super::super) async fn heartbeat(
    broker: &Broker,
    request: &ConsumerGroupHeartbeatRequest<'_>,
    version: i16,
    client: Client,
    w: &mut Writer,
) {
    match ask(broker, request, version, client).await {
        Ok(answer) => ConsumerGroupHeartbeatResponse {
            error: ErrorCode::None,
            error_message: None,
            member_id: Some(&answer.member_id),
            member_epoch: answer.member_epoch,
            heartbeat_interval_ms: answer.heartbeat_interval.as_millis() as i32,
            assignment: answer.assignment.as_deref().map(assigned),
        }
        .encode(w),
        Err((error, reason)) => ConsumerGroupHeartbeatResponse {
            error,
            error_message: Some(reason),
            member_id: None,
            member_epoch: 0,
            heartbeat_interval_ms: 0,
            assignment: None,
        }
        .encode(w),
    }
}

async fn ask(
    broker: &Broker,
    request: &ConsumerGroupHeartbeatRequest<'_>,
    version: i16,
    client: Client,
) -> Result<ConsumerAnswer, (ErrorCode, String)> {
    let id = group_id(request.group_id).map_err(|code| (code, "a group id has 1 to 32,767 bytes".to_owned()))?;
    // From version 1 on the member chooses its id.
    let new = version == 0 && request.member_epoch == 0 && request.member_id.is_empty();
    let owned = request.topic_partitions.map(|topics| {
        let each = topics.iter().flat_map(|t| t.partitions.iter().map(move |p| TopicPartition::new(t.topic, p)));
        each.collect()
    });
    let asked = ConsumerHeartbeat {
        member_id: if new { member_uuid(broker) } else { request.member_id.to_owned() },
        member_epoch: request.member_epoch,
        instance_id: request.instance_id.map(str::to_owned),
        rack_id: request.rack_id.map(str::to_owned),
        client,
        rebalance_timeout: u64::try_from(request.rebalance_timeout_ms).ok().map(Duration::from_millis),
        subscribed_names: request.subscribed_topic_names.map(|names| names.iter().map(str::to_owned).collect()),
        subscribed_regex: request.subscribed_topic_regex.map(str::to_owned),
        server_assignor: request.server_assignor.map(str::to_owned),
        owned,
    };
    broker.groups().consumer_heartbeat(&id, asked).await.map_err(|error| (errors::group(error), error.to_string()))
}

fn assigned(partitions: &[TopicPartition]) -> Vec<AssignedTopic> {
    by_topic(partitions.iter().map(|at| (at.topic, at.partition.0)))
        .into_iter()
        .map(|(topic, partitions)| AssignedTopic { topic, partitions })
        .collect()
}
