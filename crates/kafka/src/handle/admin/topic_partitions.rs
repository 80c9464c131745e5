//! DescribeTopicPartitions: topics by name, in order, some partitions at a time.

use std::collections::BTreeSet;

use lakebed_broker::Broker;
use lakebed_broker::api::TopicInfo;
use lakebed_record::{TopicId, TopicName};

use super::find_topic;
use crate::wire::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, DescribedPartition, DescribedTopic,
};
use crate::wire::{ErrorCode, Writer};

/// Partitions of one answer (`max.request.partition.size.limit` of Apache Kafka).
const MOST: i32 = 2_000;
/// What a topic takes while it is answered, and in the answer, besides its name; and a partition.
const TOPIC_BYTES: usize = 224;
const PARTITION_BYTES: usize = 96;

/// A topic that is asked for, by name, and what it is.
type Found<'a> = (&'a str, Result<TopicInfo, ErrorCode>);

pub(in crate::handle) fn most_bytes(
    broker: &Broker,
    request: &DescribeTopicPartitionsRequest<'_>,
    size: usize,
) -> usize {
    let topics = match request.topics.is_empty() {
        true => broker.topic_totals().0 * (TOPIC_BYTES + TopicName::MAX_LEN),
        false => 2 * size + request.topics.len() * TOPIC_BYTES,
    };
    topics + most_partitions(request) * PARTITION_BYTES
}

fn most_partitions(request: &DescribeTopicPartitionsRequest<'_>) -> usize {
    request.response_partition_limit.clamp(1, MOST) as usize
}

pub(in crate::handle) async fn answer(broker: &Broker, request: &DescribeTopicPartitionsRequest<'_>, w: &mut Writer) {
    if !cursor_is_valid(request) {
        let refused = request.topics.iter().map(|topic| refused(topic.name, ErrorCode::InvalidRequest));
        return DescribeTopicPartitionsResponse { topics: refused.collect(), next_cursor: None }.encode(w);
    }
    let from = request.cursor.map_or("", |cursor| cursor.topic);
    let all = if request.topics.is_empty() { broker.topics() } else { Vec::new() };
    let mut found: Vec<Found<'_>> = Vec::new();
    for topic in all.iter().filter(|topic| topic.name.as_str() >= from) {
        found.push((topic.name.as_str(), Ok(topic.clone())));
    }
    let asked: BTreeSet<_> = request.topics.iter().map(|topic| topic.name).filter(|name| *name >= from).collect();
    for name in asked {
        found.push((name, find(broker, name).await));
    }
    let nodes = broker.nodes().await;
    page(&found, request.cursor, most_partitions(request), |topic, partition| nodes.leader(topic, partition).0)
        .encode(w);
}

/// A cursor's topic has to be one of those that are asked for.
fn cursor_is_valid(request: &DescribeTopicPartitionsRequest<'_>) -> bool {
    request.cursor.is_none_or(|cursor| {
        cursor.partition >= 0
            && (request.topics.is_empty() || request.topics.iter().any(|topic| topic.name == cursor.topic))
    })
}

async fn find(broker: &Broker, name: &str) -> Result<TopicInfo, ErrorCode> {
    if TopicName::new(name).is_err() {
        return Err(ErrorCode::InvalidTopic);
    }
    find_topic(broker, name).await.map_err(|refused| refused.code)
}

/// The page that begins at the cursor, with so many partitions at most; topics are ordered by name.
fn page<'a>(
    found: &'a [Found<'a>],
    cursor: Option<Cursor<'a>>,
    most: usize,
    leader: impl Fn(TopicId, i32) -> i32,
) -> DescribeTopicPartitionsResponse<'a> {
    let (mut topics, mut left) = (Vec::new(), most);
    for (name, topic) in found {
        if left == 0 {
            let next_cursor = Some(Cursor { topic: name, partition: 0 });
            return DescribeTopicPartitionsResponse { topics, next_cursor };
        }
        let topic = match topic {
            Ok(topic) => topic,
            Err(error) => {
                topics.push(refused(name, *error));
                continue;
            }
        };
        let first = cursor.filter(|cursor| cursor.topic == *name).map_or(0, |cursor| cursor.partition);
        let shown = (first..topic.partitions).take(left);
        let partitions: Vec<_> = shown
            .map(|index| DescribedPartition { error: ErrorCode::None, index, leader: leader(topic.id, index) })
            .collect();
        left -= partitions.len();
        let next = first.max(0).saturating_add(partitions.len() as i32);
        topics.push(DescribedTopic { error: ErrorCode::None, name, id: topic.id, partitions });
        if next < topic.partitions {
            let next_cursor = Some(Cursor { topic: name, partition: next });
            return DescribeTopicPartitionsResponse { topics, next_cursor };
        }
    }
    DescribeTopicPartitionsResponse { topics, next_cursor: None }
}

fn refused(name: &str, error: ErrorCode) -> DescribedTopic<'_> {
    DescribedTopic { error, name, id: TopicId::NIL, partitions: Vec::new() }
}
