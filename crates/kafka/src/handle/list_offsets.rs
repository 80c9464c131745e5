//! ListOffsets, with those of Kafka's special times that mean something where nothing is tiered.

use std::collections::HashMap;

use futures_util::future::join_all;
use lakebed_broker::Broker;
use lakebed_broker::api::{FetchError, ListedOffset, OffsetSpec};
use lakebed_record::{TopicId, TopicName, TopicPartition};

use super::Front;
use crate::errors;
use crate::wire::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponsePartition, ListOffsetsResponseTopic, encode_response,
};
use crate::wire::{ErrorCode, Writer};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
/// The record with the largest timestamp (KIP-734).
const MAX_TIMESTAMP: i64 = -3;
/// The earliest that is not only in tiered storage: everything is where it always is.
const EARLIEST_LOCAL: i64 = -4;
/// The latest in tiered storage: there is none.
const LATEST_TIERED: i64 = -5;
/// The earliest that is not in tiered storage yet (KIP-1023): there is nothing to be uploaded.
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// Look-ups of one request that run at once.
const AT_ONCE: usize = 64;
/// What a partition takes while it is answered, and in the answer; and a topic besides its name.
const PARTITION_BYTES: usize = 192;
const TOPIC_BYTES: usize = 96;

/// What answering a request of `size` bytes takes at most, besides what is read.
pub(super) fn most_bytes(request: &ListOffsetsRequest<'_>, size: usize) -> usize {
    let partitions: usize = request.topics.iter().map(|topic| topic.partitions.len()).sum();
    size + request.topics.len() * TOPIC_BYTES + partitions * PARTITION_BYTES
}

pub(super) async fn answer(front: &Front, request: &ListOffsetsRequest<'_>, version: i16, w: &mut Writer) {
    let mut times = HashMap::new();
    for topic in request.topics {
        for partition in topic.partitions {
            *times.entry((topic.name, partition.index)).or_insert(0u32) += 1;
        }
    }
    let mut topics = Vec::new();
    for topic in request.topics {
        let found = find(&front.broker, topic.name).await;
        // Said once of a partition that stands there several times.
        let asked = topic.partitions.iter().filter_map(|partition| {
            let times = times.remove(&(topic.name, partition.index))?;
            let found = if times == 1 { found } else { Err(ErrorCode::InvalidRequest) };
            Some((partition, found))
        });
        let asked: Vec<_> = asked.collect();
        let mut partitions = Vec::new();
        for some in asked.chunks(AT_ONCE) {
            let listed = some.iter().map(|(partition, found)| one(front, *found, *partition, version));
            partitions.extend(join_all(listed).await);
        }
        if !partitions.is_empty() {
            topics.push(ListOffsetsResponseTopic { name: topic.name, partitions });
        }
    }
    encode_response(w, &topics);
}

async fn find(broker: &Broker, name: &str) -> Result<TopicId, ErrorCode> {
    let name = TopicName::new(name).map_err(|_| ErrorCode::UnknownTopicOrPartition)?;
    match broker.topic_by_name(&name).await {
        Ok(Some(topic)) => Ok(topic.id),
        Ok(None) => Err(ErrorCode::UnknownTopicOrPartition),
        Err(e) => Err(errors::read(e)),
    }
}

async fn one(
    front: &Front,
    topic: Result<TopicId, ErrorCode>,
    partition: ListOffsetsPartition,
    version: i16,
) -> ListOffsetsResponsePartition {
    let listed = match topic {
        Ok(_) if partition.current_leader_epoch > 0 => Err(ErrorCode::UnknownLeaderEpoch),
        Ok(topic) => list(front, TopicPartition::new(topic, partition.index), partition.timestamp, version).await,
        Err(code) => Err(code),
    };
    let (error, ListedOffset { offset, timestamp }) = match listed {
        Ok(listed) => (ErrorCode::None, listed),
        Err(code) => (code, NOWHERE),
    };
    let leader_epoch = if offset >= 0 { 0 } else { -1 };
    ListOffsetsResponsePartition { index: partition.index, error, timestamp, offset, leader_epoch }
}

const NOWHERE: ListedOffset = ListedOffset { offset: -1, timestamp: -1 };

async fn list(front: &Front, at: TopicPartition, timestamp: i64, version: i16) -> Result<ListedOffset, ErrorCode> {
    let spec = match timestamp {
        LATEST => OffsetSpec::Latest,
        EARLIEST => OffsetSpec::Earliest,
        EARLIEST_LOCAL if version >= 8 => OffsetSpec::Earliest,
        LATEST_TIERED if version >= 9 => return Ok(NOWHERE),
        EARLIEST_PENDING_UPLOAD if version >= 11 => return Ok(NOWHERE),
        MAX_TIMESTAMP if version >= 7 => {
            return latest_timestamp(front, at).await.map_err(|e| errors::list_offsets(&e));
        }
        time if time >= 0 => return by_time(front, at, time).await.map_err(|e| errors::list_offsets(&e)),
        _ => return Err(ErrorCode::UnsupportedVersion),
    };
    let listed = front.broker.list_offsets(at, spec).await.map_err(|e| errors::list_offsets(&e))?;
    Ok(ListedOffset { timestamp: -1, ..listed })
}

async fn by_time(front: &Front, at: TopicPartition, time: i64) -> Result<ListedOffset, FetchError> {
    let _memory = front.replies.look_up(front.shutdown.clone()).await?;
    front.broker.list_offsets(at, OffsetSpec::AtTime(time)).await
}

/// The first record with the largest timestamp, by bisection: each question is answered with a record, which raises the
/// lower bound to its timestamp, or with none, which halves what is left above.
async fn latest_timestamp(front: &Front, at: TopicPartition) -> Result<ListedOffset, FetchError> {
    let mut best = by_time(front, at, 0).await?;
    let mut none_from = i64::MAX;
    while best.offset >= 0 && best.timestamp < none_from - 1 {
        let time = best.timestamp + 1 + step(none_from - 1 - best.timestamp);
        match by_time(front, at, time).await? {
            later if later.offset >= 0 => best = later,
            _ => none_from = time,
        }
    }
    Ok(best)
}

/// How far above the lower bound the next question goes: half of what is left, rounded down.
fn step(left: i64) -> i64 {
    (left - 1) / 2
}
