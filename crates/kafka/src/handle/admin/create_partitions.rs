//! CreatePartitions.

use std::collections::HashMap;

use futures_util::future::join_all;
use lakebed_broker::Broker;
use tokio::time::Instant;

use super::current_topic;
use crate::errors;
use crate::handle::topics::{AT_ONCE, Deadline, NOT_BEGUN, Refused, refuse};
use crate::wire::create_partitions::{CreatePartitionsRequest, GrowingTopic, GrownTopic, encode_response};
use crate::wire::{ErrorCode, Writer};

pub(in crate::handle) fn none(request: &CreatePartitionsRequest<'_>, w: &mut Writer) {
    let none = request.topics.iter().map(|topic| describe(&topic, Err(NOT_BEGUN)));
    encode_response(w, &none.collect::<Vec<_>>());
}

pub(in crate::handle) async fn answer(
    broker: &Broker,
    request: &CreatePartitionsRequest<'_>,
    arrived: Instant,
    w: &mut Writer,
) {
    let deadline = Deadline::of(request.timeout_ms, arrived);
    let mut times = HashMap::new();
    for topic in request.topics {
        *times.entry(topic.name).or_insert(0u32) += 1;
    }
    // Said once of a name that stands there several times.
    let asked: Vec<_> = request.topics.iter().filter_map(|topic| Some((times.remove(topic.name)?, topic))).collect();
    let mut grown = Vec::new();
    for some in asked.chunks(AT_ONCE) {
        let growing = some.iter().map(async |(times, topic)| {
            let result = match times {
                1 => within(deadline, one(broker, topic, request.validate_only)).await,
                _ => refuse(ErrorCode::InvalidRequest, "the request names this topic more than once"),
            };
            describe(topic, result)
        });
        grown.extend(join_all(growing).await);
    }
    encode_response(w, &grown);
}

async fn within(deadline: Deadline, growing: impl Future<Output = Result<(), Refused>>) -> Result<(), Refused> {
    let grown = deadline.within(growing).await;
    grown.unwrap_or_else(|| refuse(ErrorCode::RequestTimedOut, "not known to be done in time; it may still be"))
}

/// Of a manual assignment only the number of partitions means something: any node serves every one.
async fn one(broker: &Broker, asked: &GrowingTopic<'_>, validate_only: bool) -> Result<(), Refused> {
    let topic = current_topic(broker, asked.name).await?;
    let assigned = asked.assignments.map(|assignments| assignments.len());
    if asked.assignments.is_some_and(|all| all.iter().any(|one| one.brokers.is_empty())) {
        return refuse(ErrorCode::InvalidReplicaAssignment, "a partition is assigned to no broker");
    }
    let grown = broker.create_partitions(topic.id, asked.count, assigned, validate_only).await;
    grown.map_err(|e| Refused { code: errors::create_partitions(&e), message: Some(e.to_string()) })
}

fn describe<'a>(asked: &GrowingTopic<'a>, result: Result<(), Refused>) -> GrownTopic<'a> {
    let (error, error_message) = match result {
        Ok(()) => (ErrorCode::None, None),
        Err(refused) => (refused.code, refused.message),
    };
    GrownTopic { name: asked.name, error, error_message }
}
