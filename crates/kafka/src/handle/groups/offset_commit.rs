//! OffsetCommit.

use lakebed_broker::Broker;
use lakebed_broker::api::TopicInfo;
use lakebed_broker::groups::{CommitOffset, MAX_OFFSET_METADATA};
use lakebed_record::TopicPartition;

use super::classic::member;
use super::{find_topics, group_id, unknown};
use crate::errors;
use crate::wire::offset_commit::{
    OffsetCommitPartition, OffsetCommitRequest, OffsetCommitResponseTopic, encode_response,
};
use crate::wire::partitions::PartitionResult;
use crate::wire::{ErrorCode, Writer};

pub(in super::super) async fn answer(broker: &Broker, request: &OffsetCommitRequest<'_>, version: i16, w: &mut Writer) {
    let results = match commit(broker, request, version).await {
        Ok(results) => results,
        // What is wrong with the whole is said of each partition.
        Err(code) => request.topics.iter().flat_map(|t| t.partitions.iter().map(move |_| code)).collect(),
    };
    let mut results = results.into_iter();
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().zip(results.by_ref());
        let partitions = partitions.map(|(asked, error)| PartitionResult { index: asked.index, error }).collect();
        OffsetCommitResponseTopic { topic: topic.topic, partitions }
    });
    encode_response(w, &topics.collect::<Vec<_>>());
}

/// One result per partition, in their order.
async fn commit(broker: &Broker, request: &OffsetCommitRequest<'_>, version: i16) -> Result<Vec<ErrorCode>, ErrorCode> {
    let id = group_id(request.group_id)?;
    let topics =
        find_topics(broker, request.topics.iter().map(|t| t.topic).collect()).await.map_err(errors::group_topic)?;
    let (mut results, mut offsets, mut places) = (Vec::new(), Vec::new(), Vec::new());
    for topic in request.topics {
        let info = topics.get(&topic.topic);
        for partition in topic.partitions {
            match info.map_or(Err(unknown(topic.topic)), |info| to_commit(info, partition)) {
                Ok(offset) => {
                    places.push(results.len());
                    offsets.push(offset);
                    results.push(ErrorCode::None);
                }
                Err(code) => results.push(code),
            }
        }
    }
    if offsets.is_empty() {
        return Ok(results);
    }
    let who = member(request.member_id, request.group_instance_id, request.generation_or_member_epoch);
    match broker.groups().commit(&id, who, offsets).await {
        Ok(committed) => {
            for (place, result) in places.into_iter().zip(committed) {
                results[place] = result.err().map_or(ErrorCode::None, |error| errors::commit(error, version));
            }
        }
        Err(error) => {
            let code = errors::commit_group(error, version);
            places.into_iter().for_each(|place| results[place] = code);
        }
    }
    Ok(results)
}

fn to_commit(topic: &TopicInfo, asked: OffsetCommitPartition<'_>) -> Result<CommitOffset, ErrorCode> {
    let metadata = asked.metadata.unwrap_or_default();
    if !topic.has_partition(asked.index) {
        return Err(ErrorCode::UnknownTopicOrPartition);
    }
    if metadata.len() > MAX_OFFSET_METADATA {
        return Err(ErrorCode::OffsetMetadataTooLarge);
    }
    Ok(CommitOffset {
        at: TopicPartition::new(topic.id, asked.index),
        offset: asked.offset,
        leader_epoch: asked.leader_epoch,
        metadata: metadata.to_owned(),
    })
}
