//! DescribeProducers.

use std::collections::HashSet;

use lakebed_broker::Broker;
use lakebed_broker::api::TopicInfo;
use lakebed_record::{TopicName, TopicPartition};

use super::find_topic;
use crate::handle::topics::Refused;
use crate::wire::describe_producers::{
    ActiveProducer, DescribeProducersRequest, DescribedProducers, DescribedProducersTopic, encode_response,
};
use crate::wire::{ErrorCode, Writer};

/// What a producer takes while it is answered, and in the answer; a partition; and a topic besides its name.
const PRODUCER_BYTES: usize = 80;
const PARTITION_BYTES: usize = 192;
const TOPIC_BYTES: usize = 96;

/// What answering takes, as far as it is known before topics are looked up.
pub(in crate::handle) fn expected_bytes(broker: &Broker, request: &DescribeProducersRequest<'_>) -> usize {
    let of_topic = |name| TopicName::new(name).ok().and_then(|name| broker.find_topic(&name));
    let mut seen = HashSet::new();
    let topics = request.topics.iter().map(|topic| {
        let known = of_topic(topic.name);
        let partitions = topic.partitions.iter().filter(|index| seen.insert((topic.name, *index)));
        let partitions = partitions.map(|index| {
            let producers = known.as_ref().map_or(0, |t| broker.producer_count(TopicPartition::new(t.id, index)));
            PARTITION_BYTES + producers * PRODUCER_BYTES
        });
        TOPIC_BYTES + topic.name.len() + partitions.sum::<usize>()
    });
    topics.sum()
}

/// `room`: bytes for producers.
pub(in crate::handle) async fn answer(
    broker: &Broker,
    request: &DescribeProducersRequest<'_>,
    mut room: usize,
    w: &mut Writer,
) {
    // Said once of a partition that stands there several times.
    let mut seen = HashSet::new();
    let mut topics = Vec::new();
    for topic in request.topics {
        let found = find_topic(broker, topic.name).await;
        let partitions = topic.partitions.iter().filter(|index| seen.insert((topic.name, *index)));
        let partitions = partitions.map(|index| describe(broker, &found, index, &mut room));
        topics.push(DescribedProducersTopic { name: topic.name, partitions: partitions.collect() });
    }
    encode_response(w, &topics);
}

fn describe(broker: &Broker, topic: &Result<TopicInfo, Refused>, index: i32, room: &mut usize) -> DescribedProducers {
    let refused = |error, message| DescribedProducers { index, error, error_message: message, active: Vec::new() };
    let topic = match topic {
        Ok(topic) => topic,
        Err(why) => return refused(why.code, why.message.clone()),
    };
    let Some(producers) = broker.producers(TopicPartition::new(topic.id, index)) else {
        return refused(ErrorCode::UnknownTopicOrPartition, Some("no such partition".to_owned()));
    };
    // Of a topic that was not known here before it was looked up: clients ask again, and then there will be room for it.
    let Some(left) = room.checked_sub(producers.len() * PRODUCER_BYTES) else {
        return refused(ErrorCode::NotLeaderOrFollower, None);
    };
    *room = left;
    let active = producers.iter().map(|producer| ActiveProducer {
        id: producer.id,
        epoch: i32::from(producer.epoch),
        last_sequence: producer.last_sequence,
        last_timestamp: producer.last_append_ms,
    });
    DescribedProducers { index, error: ErrorCode::None, error_message: None, active: active.collect() }
}
