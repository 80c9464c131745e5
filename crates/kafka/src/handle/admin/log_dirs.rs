//! DescribeLogDirs: every node has one directory, the store, and in it every partition with the bytes of its record batches.

use std::collections::{BTreeMap, BTreeSet};

use lakebed_broker::Broker;
use lakebed_broker::api::TopicInfo;
use lakebed_record::TopicName;

use crate::wire::describe_log_dirs::{
    DescribeLogDirsRequest, DescribeLogDirsResponse, LogDir, LogDirPartition, LogDirTopic,
};
use crate::wire::{ErrorCode, Writer};

/// A bucket does not end.
const UNKNOWN: i64 = -1;
/// Partitions whose entries are summed up before others have their turn.
const AT_ONCE: usize = 64;
/// What a partition takes while it is answered, and in the answer; and a topic besides its name.
const PARTITION_BYTES: usize = 64;
const TOPIC_BYTES: usize = 256;

pub(in crate::handle) fn most_bytes(broker: &Broker, request: &DescribeLogDirsRequest<'_>, size: usize) -> usize {
    let Some(asked) = request.topics else {
        let (topics, partitions) = broker.topic_totals();
        return topics * (TOPIC_BYTES + TopicName::MAX_LEN) + partitions * PARTITION_BYTES;
    };
    let partitions: usize = asked.iter().map(|topic| topic.partitions.len()).sum();
    2 * size + asked.len() * TOPIC_BYTES + partitions * PARTITION_BYTES
}

/// Apache Kafka leaves out what it does not know, and so does this.
pub(in crate::handle) async fn answer(broker: &Broker, request: &DescribeLogDirsRequest<'_>, w: &mut Writer) {
    let asked = request.topics.map(|asked| {
        let mut topics: BTreeMap<&str, BTreeSet<i32>> = BTreeMap::new();
        asked.iter().for_each(|topic| topics.entry(topic.name).or_default().extend(topic.partitions.iter()));
        topics
    });
    let known: Vec<TopicInfo> = match &asked {
        None => broker.topics(),
        Some(asked) => {
            let names = asked.keys().filter_map(|name| TopicName::new(name).ok());
            names.filter_map(|name| broker.find_topic(&name)).collect()
        }
    };
    let mut topics = Vec::new();
    for topic in &known {
        let partitions = match &asked {
            None => all_sizes(broker, topic).await,
            Some(asked) => some_sizes(broker, topic, &asked[topic.name.as_str()]).await,
        };
        if !partitions.is_empty() {
            topics.push(LogDirTopic { name: topic.name.as_str(), partitions });
        }
    }
    let path = broker.config().store_kind;
    let dir = LogDir { error: ErrorCode::None, path, topics, total_bytes: UNKNOWN, usable_bytes: UNKNOWN };
    DescribeLogDirsResponse { error: ErrorCode::None, dirs: vec![dir] }.encode(w);
}

async fn all_sizes(broker: &Broker, topic: &TopicInfo) -> Vec<LogDirPartition> {
    let mut sizes = Vec::new();
    for first in (0..topic.partitions).step_by(AT_ONCE) {
        sizes.extend(broker.partition_sizes(topic.id, first, AT_ONCE).into_iter().map(size));
        tokio::task::yield_now().await;
    }
    sizes
}

async fn some_sizes(broker: &Broker, topic: &TopicInfo, asked: &BTreeSet<i32>) -> Vec<LogDirPartition> {
    let mut sizes = Vec::new();
    for index in asked.range(0..) {
        sizes.extend(broker.partition_sizes(topic.id, *index, 1).into_iter().map(size));
        tokio::task::yield_now().await;
    }
    sizes
}

fn size((index, bytes): (i32, u64)) -> LogDirPartition {
    LogDirPartition { index, size: i64::try_from(bytes).unwrap_or(i64::MAX) }
}
