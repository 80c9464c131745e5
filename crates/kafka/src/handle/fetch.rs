//! Fetch: without sessions, so every request names all of its partitions.

use std::time::Duration;

use lakebed_broker::Broker;
use lakebed_broker::api::{self, FetchError, Fetched};
use lakebed_record::{Partition, TopicId, TopicName};

use crate::errors;
use crate::wire::ErrorCode;
use crate::wire::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchResponsePartition, FetchResponseTopic};
use crate::wire::produce::TopicRef;

/// A reply has at most so many bytes of records, whatever is asked for (Apache Kafka's `fetch.max.bytes`).
const MAX_BYTES: i32 = 55 * 1024 * 1024;

pub(super) async fn answer<'a>(broker: &Broker, version: i16, request: &FetchRequest<'a>) -> FetchResponse<'a> {
    // 0 asks for a new session and −1 for none: either is answered in full, and that there is none. All else is about a
    // session that this node does not have.
    if !matches!(request.session_epoch, -1 | 0) {
        return FetchResponse { error: ErrorCode::FetchSessionIdNotFound, topics: Vec::new() };
    }
    let (asked, refused) = plan(broker, version, request).await;
    // Bad news does not wait for good ones.
    let max_wait = if refused.iter().any(Option::is_some) { 0 } else { request.max_wait_ms.max(0) };
    let results = broker.fetch(api::FetchRequest {
        partitions: asked,
        min_bytes: request.min_bytes.max(0) as usize,
        max_bytes: request.max_bytes.clamp(0, MAX_BYTES) as usize,
        max_wait: Duration::from_millis(max_wait as u64),
    });
    let mut results = results.await.into_iter();
    let mut refused = refused.into_iter();
    let topics = request.topics.iter().map(|topic| FetchResponseTopic {
        topic: topic.topic,
        partitions: topic
            .partitions
            .iter()
            .map(|partition| match refused.next().flatten() {
                Some(code) => failed(partition.index, code),
                None => fetched(partition.index, results.next(), version),
            })
            .collect(),
    });
    FetchResponse { error: ErrorCode::None, topics: topics.collect() }
}

/// What the broker is asked, and for every partition of the request why it is not.
async fn plan(
    broker: &Broker,
    version: i16,
    request: &FetchRequest<'_>,
) -> (Vec<api::FetchPartition>, Vec<Option<ErrorCode>>) {
    let (mut asked, mut refused) = (Vec::new(), Vec::new());
    for topic in request.topics {
        let found = find(broker, version, topic.topic).await;
        for partition in topic.partitions {
            let checked = found.and_then(|id| check_epoch(partition).map(|()| id));
            refused.push(checked.err());
            if let Ok(topic) = checked {
                let max_bytes = partition.max_bytes.max(0) as usize;
                let FetchPartition { index, offset, .. } = partition;
                asked.push(api::FetchPartition { topic, partition: Partition(index), offset, max_bytes });
            }
        }
    }
    (asked, refused)
}

async fn find(broker: &Broker, version: i16, topic: TopicRef<'_>) -> Result<TopicId, ErrorCode> {
    let (found, unknown) = match topic {
        TopicRef::Name(name) => {
            let name = TopicName::new(name).map_err(|_| ErrorCode::UnknownTopicOrPartition)?;
            (broker.topic_by_name(&name).await, ErrorCode::UnknownTopicOrPartition)
        }
        TopicRef::Id(id) => (broker.topic_by_id(id).await, ErrorCode::UnknownTopicId),
    };
    match found {
        Ok(Some(topic)) => Ok(topic.id),
        Ok(None) => Err(unknown),
        Err(e) => Err(errors::fetch(&FetchError::Unavailable(e), version)),
    }
}

/// Every partition is at leader epoch 0.
fn check_epoch(partition: FetchPartition) -> Result<(), ErrorCode> {
    if partition.current_leader_epoch > 0 { Err(ErrorCode::UnknownLeaderEpoch) } else { Ok(()) }
}

fn fetched(index: i32, result: Option<Result<Fetched, FetchError>>, version: i16) -> FetchResponsePartition {
    match result {
        Some(Ok(fetched)) => FetchResponsePartition {
            index,
            error: ErrorCode::None,
            high_watermark: fetched.high_watermark,
            last_stable_offset: fetched.last_stable_offset,
            log_start_offset: fetched.log_start_offset,
            records: fetched.records,
        },
        Some(Err(error)) => {
            tracing::debug!(partition = index, %error, "fetch failed");
            failed(index, errors::fetch(&error, version))
        }
        None => failed(index, ErrorCode::UnknownServerError),
    }
}

fn failed(index: i32, error: ErrorCode) -> FetchResponsePartition {
    FetchResponsePartition {
        index,
        error,
        high_watermark: -1,
        last_stable_offset: -1,
        log_start_offset: -1,
        records: Vec::new(),
    }
}
