//! OffsetForLeaderEpoch. There is only epoch 0, which has not ended: its end is the high watermark.

use futures_util::future::join_all;
use lakebed_broker::Broker;
use lakebed_broker::api::TopicInfo;
use lakebed_record::TopicPartition;

use super::find_topic;
use crate::errors;
use crate::handle::topics::{AT_ONCE, Refused};
use crate::wire::offset_for_leader_epoch::{
    EpochEnd, EpochPartition, EpochResponseTopic, OffsetForLeaderEpochRequest, encode_response,
};
use crate::wire::{ErrorCode, Writer};

/// The epoch of every leader.
const EPOCH: i32 = 0;
/// No such epoch, or offset.
const UNDEFINED: i64 = -1;

/// What answering a request of `size` bytes takes at most.
pub(in crate::handle) fn most_bytes(request: &OffsetForLeaderEpochRequest<'_>, size: usize) -> usize {
    super::most_bytes(request.topics, size)
}

pub(in crate::handle) async fn answer(broker: &Broker, request: &OffsetForLeaderEpochRequest<'_>, w: &mut Writer) {
    let mut topics = Vec::new();
    for topic in request.topics {
        let found = find_topic(broker, topic.name).await;
        let asked: Vec<_> = topic.partitions.iter().collect();
        let mut partitions = Vec::new();
        for some in asked.chunks(AT_ONCE) {
            partitions.extend(join_all(some.iter().map(|partition| one(broker, &found, *partition))).await);
        }
        topics.push(EpochResponseTopic { name: topic.name, partitions });
    }
    encode_response(w, &topics);
}

async fn one(broker: &Broker, topic: &Result<TopicInfo, Refused>, asked: EpochPartition) -> EpochEnd {
    let (error, end_offset) = match end(broker, topic, asked).await {
        Ok(end_offset) => (ErrorCode::None, end_offset),
        Err(error) => (error, UNDEFINED),
    };
    let leader_epoch = if end_offset == UNDEFINED { UNDEFINED as i32 } else { EPOCH };
    EpochEnd { index: asked.index, error, leader_epoch, end_offset }
}

async fn end(broker: &Broker, topic: &Result<TopicInfo, Refused>, asked: EpochPartition) -> Result<i64, ErrorCode> {
    let topic = topic.as_ref().map_err(|refused| refused.code)?;
    let at = TopicPartition::new(topic.id, asked.index);
    let end_offset = broker.end_offset(at).await.map_err(errors::read)?;
    let end_offset = end_offset.ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if asked.current_leader_epoch > EPOCH {
        return Err(ErrorCode::UnknownLeaderEpoch);
    }
    Ok(if asked.leader_epoch == EPOCH { end_offset } else { UNDEFINED })
}
