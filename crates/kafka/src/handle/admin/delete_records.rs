//! DeleteRecords: what lies below an offset goes, at once for readers and later from the bucket.

use futures_util::future::join_all;
use lakebed_broker::Broker;
use lakebed_broker::api::TopicInfo;
use lakebed_record::TopicPartition;
use tokio::time::Instant;

use super::current_topic;
use crate::errors;
use crate::handle::topics::{AT_ONCE, Deadline, Refused};
use crate::wire::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsResponsePartition, DeleteRecordsResponseTopic,
    encode_response,
};
use crate::wire::{ErrorCode, Writer};

/// Up to the high watermark.
const ALL: i64 = -1;

/// What answering a request of `size` bytes takes at most.
pub(in crate::handle) fn most_bytes(request: &DeleteRecordsRequest<'_>, size: usize) -> usize {
    super::most_bytes(request.topics, size)
}

pub(in crate::handle) fn none(request: &DeleteRecordsRequest<'_>, w: &mut Writer) {
    let none = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|p| describe(p.index, Err(ErrorCode::RequestTimedOut)));
        DeleteRecordsResponseTopic { name: topic.name, partitions: partitions.collect() }
    });
    encode_response(w, &none.collect::<Vec<_>>());
}

pub(in crate::handle) async fn answer(
    broker: &Broker,
    request: &DeleteRecordsRequest<'_>,
    arrived: Instant,
    w: &mut Writer,
) {
    let deadline = Deadline::of(request.timeout_ms, arrived);
    let mut topics = Vec::new();
    for topic in request.topics {
        let found = deadline.within(current_topic(broker, topic.name)).await;
        let found = found.unwrap_or(Err(Refused { code: ErrorCode::RequestTimedOut, message: None }));
        let asked: Vec<_> = topic.partitions.iter().collect();
        let mut partitions = Vec::new();
        for some in asked.chunks(AT_ONCE) {
            let deleting = some.iter().map(async |partition| {
                let deleted = deadline.within(one(broker, &found, *partition)).await;
                describe(partition.index, deleted.unwrap_or(Err(ErrorCode::RequestTimedOut)))
            });
            partitions.extend(join_all(deleting).await);
        }
        topics.push(DeleteRecordsResponseTopic { name: topic.name, partitions });
    }
    encode_response(w, &topics);
}

async fn one(
    broker: &Broker,
    topic: &Result<TopicInfo, Refused>,
    asked: DeleteRecordsPartition,
) -> Result<i64, ErrorCode> {
    let topic = topic.as_ref().map_err(|refused| refused.code)?;
    let before = Some(asked.offset).filter(|offset| *offset != ALL);
    let truncated = broker.truncate(TopicPartition::new(topic.id, asked.index), before).await;
    truncated.map_err(|e| errors::delete_records(&e))
}

fn describe(index: i32, deleted: Result<i64, ErrorCode>) -> DeleteRecordsResponsePartition {
    let (low_watermark, error) = match deleted {
        Ok(log_start) => (log_start, ErrorCode::None),
        Err(error) => (-1, error),
    };
    DeleteRecordsResponsePartition { index, low_watermark, error }
}
