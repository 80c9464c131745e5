//! OffsetFetch. Nothing is ever unstable: there are no transactions.

use std::collections::HashSet;

use lakebed_broker::Broker;
use lakebed_broker::groups::CommittedOffset;
use lakebed_record::{TopicId, TopicName, TopicPartition};

use super::classic::member;
use super::{by_topic, find_topics, group_id, run_all, unknown};
use crate::errors;
use crate::wire::offset_fetch::{
    OffsetFetchGroup, OffsetFetchRequest, OffsetFetchResponseGroup, OffsetFetchResponsePartition,
    OffsetFetchResponseTopic, OffsetFetchTopic, encode_response,
};
use crate::wire::produce::TopicRef;
use crate::wire::{ErrorCode, Writer};

/// What a partition takes while it is answered, and in the answer, besides its metadata.
const PARTITION_BYTES: usize = 192;

/// What answering a request of `size` bytes takes, as far as it is known before the offsets are looked up.
pub(in super::super) fn expected_bytes(broker: &Broker, request: &OffsetFetchRequest<'_>, size: usize) -> usize {
    let each = distinct_groups(request).map(|group| {
        let (offsets, metadata) = group_id(group.group_id).map_or((0, 0), |id| broker.groups().offset_totals(&id));
        let asked = group.topics.map_or(offsets, |topics| topics.iter().map(|topic| topic.partitions.len()).sum());
        asked * PARTITION_BYTES + 2 * metadata
    });
    size + each.sum::<usize>()
}

fn distinct_groups<'a>(request: &OffsetFetchRequest<'a>) -> impl Iterator<Item = OffsetFetchGroup<'a>> + use<'a> {
    let mut seen = HashSet::new();
    request.groups.iter().filter(move |group| seen.insert(group.group_id))
}

/// A partition of the answer, with what it has.
type Found = (i32, Result<Option<CommittedOffset>, ErrorCode>);

enum Topic<'a> {
    Asked(TopicRef<'a>),
    Known(TopicId, TopicName),
}

pub(in super::super) async fn answer(broker: &Broker, request: &OffsetFetchRequest<'_>, version: i16, w: &mut Writer) {
    let groups: Vec<_> = distinct_groups(request).collect();
    let found = run_all(groups.iter().map(|group| one(broker, group)).collect()).await;
    let answers = groups.iter().zip(&found).map(|(group, found)| {
        let (topics, error) = match found {
            Ok(topics) => (
                topics.iter().map(|(topic, partitions)| to_answer(topic, partitions, version)).collect(),
                ErrorCode::None,
            ),
            Err(code) if version < 2 => (nothing(group), *code),
            Err(code) => (Vec::new(), *code),
        };
        OffsetFetchResponseGroup { group_id: group.group_id, topics, error }
    });
    encode_response(w, &answers.collect::<Vec<_>>());
}

async fn one<'a>(broker: &Broker, group: &OffsetFetchGroup<'a>) -> Result<Vec<(Topic<'a>, Vec<Found>)>, ErrorCode> {
    let id = group_id(group.group_id)?;
    let who = group.member_id.filter(|_| group.member_epoch >= 0).map(|m| member(m, None, group.member_epoch));
    match group.topics {
        Some(topics) => {
            let found =
                find_topics(broker, topics.iter().map(|t| t.topic).collect()).await.map_err(errors::group_topic)?;
            let places = topics.iter().filter_map(|topic| Some((found.get(&topic.topic)?.id, topic.partitions)));
            let asked: Vec<_> = places
                .flat_map(|(id, partitions)| partitions.iter().map(move |p| TopicPartition::new(id, p)))
                .collect();
            let committed = broker.groups().committed(&id, who, Some(&asked)).await.map_err(errors::offset_fetch)?;
            let mut committed = committed.into_iter().map(|(_, offset)| offset);
            let answer = topics.iter().map(|topic| {
                let partitions =
                    topic.partitions.iter().map(|index| match (found.contains_key(&topic.topic), topic.topic) {
                        (true, _) => (index, Ok(committed.next().flatten())),
                        // Nothing was committed for it, so says Apache Kafka.
                        (false, TopicRef::Name(_)) => (index, Ok(None)),
                        (false, by_id) => (index, Err(unknown(by_id))),
                    });
                (Topic::Asked(topic.topic), partitions.collect())
            });
            Ok(answer.collect())
        }
        None => {
            let committed = broker.groups().committed(&id, who, None).await.map_err(errors::offset_fetch)?;
            let each = committed.into_iter().map(|(at, offset)| (at.topic, (at.partition.0, Ok(offset))));
            // Offsets of a topic that is gone go with it soon.
            let known = by_topic(each).into_iter().filter_map(|(topic, partitions)| {
                Some((Topic::Known(topic, broker.local_topic(topic)?.name), partitions))
            });
            Ok(known.collect())
        }
    }
}

fn to_answer<'a>(topic: &'a Topic<'_>, partitions: &'a [Found], version: i16) -> OffsetFetchResponseTopic<'a> {
    let topic = match topic {
        Topic::Asked(topic) => *topic,
        Topic::Known(id, _) if version >= 10 => TopicRef::Id(*id),
        Topic::Known(_, name) => TopicRef::Name(name.as_str()),
    };
    OffsetFetchResponseTopic { topic, partitions: partitions.iter().map(partition).collect() }
}

fn partition((index, found): &Found) -> OffsetFetchResponsePartition<'_> {
    let committed = found.as_ref().ok().and_then(Option::as_ref);
    OffsetFetchResponsePartition {
        index: *index,
        offset: committed.map_or(-1, |c| c.offset),
        leader_epoch: committed.map_or(-1, |c| c.leader_epoch),
        metadata: Some(committed.map_or("", |c| &*c.metadata)),
        error: found.as_ref().err().copied().unwrap_or(ErrorCode::None),
    }
}

/// All partitions that were asked for, for the error of the group to stand there.
fn nothing<'a>(group: &OffsetFetchGroup<'a>) -> Vec<OffsetFetchResponseTopic<'a>> {
    let topics = group.topics.into_iter().flatten();
    let topics = topics.map(|OffsetFetchTopic { topic, partitions }| OffsetFetchResponseTopic {
        topic,
        partitions: partitions
            .iter()
            .map(|index| OffsetFetchResponsePartition {
                index,
                offset: -1,
                leader_epoch: -1,
                metadata: Some(""),
                error: ErrorCode::None,
            })
            .collect(),
    });
    topics.collect()
}
