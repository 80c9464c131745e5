//! Metadata: the nodes that serve, and which of them clients of a partition should use; topics that do not exist are created if both sides want it.

use std::collections::HashSet;

use futures_util::FutureExt;
use futures_util::future::join_all;
use lakebed_broker::api::{CreateTopicError, NewTopic, TopicInfo};
use lakebed_broker::{Broker, MemoryPermit, Nodes};
use lakebed_record::{TopicId, TopicName};

use super::{Front, room_in};
use crate::errors;
use crate::replies::FREE_BYTES;
use crate::wire::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataTopic, Node};
use crate::wire::{ErrorCode, Writer};

/// Topics of one request that are looked up or created at once.
const AT_ONCE: usize = 64;
/// What a topic takes while the answer is made, besides its name.
const TOPIC_KEPT: usize = 224;
/// What a topic takes in the answer, besides its name and partitions; and a partition.
const TOPIC_SENT: usize = 40;
const PARTITION_SENT: usize = 36;

#[derive(Clone, Copy, PartialEq, Eq)]
enum IfMissing {
    Create,
    Refuse,
}

type Found<'a> = (MetadataRequestTopic<'a>, Result<TopicInfo, ErrorCode>);

/// With `permit` for what was expected; gives back what the answer holds.
pub(super) async fn answer(
    front: &Front,
    request: &MetadataRequest<'_>,
    mut permit: Option<MemoryPermit>,
    w: &mut Writer,
) -> Option<MemoryPermit> {
    let broker = &front.broker;
    let found = look_up(broker, request).await;
    let all = if request.topics.is_none() { broker.topics() } else { Vec::new() };
    let mut topics: Vec<_> = all.iter().map(known).chain(found.iter().map(describe)).collect();
    let needed = topics.iter().map(|topic| kept_bytes(topic) + sent_bytes(topic)).sum();
    let room = take_more(front, &mut permit, needed);
    turn_away(&mut topics, room);
    w.reserve(topics.iter().map(sent_bytes).sum());
    let nodes = broker.nodes().await;
    let (controller, listed) = (nodes.me().0, told(&nodes));
    let leader = |topic, partition| nodes.leader(topic, partition).0;
    MetadataResponse { nodes: &listed, controller, leader: &leader, cluster_id: broker.cluster_id(), topics }.encode(w);
    permit
}

pub(super) fn told(nodes: &Nodes) -> Vec<Node<'_>> {
    nodes.all().iter().map(|node| Node { id: node.id.0, host: &node.host, port: node.port }).collect()
}

/// Gives the room that there is for `needed` bytes. By now others may wait for what this holds, so it waits for nothing.
fn take_more(front: &Front, permit: &mut Option<MemoryPermit>, needed: usize) -> usize {
    let budget = &front.replies.other;
    let held = permit.as_ref().map_or(0, MemoryPermit::bytes);
    let missing = needed.min(budget.total()).saturating_sub(held);
    if needed > FREE_BYTES
        && missing > 0
        && let Some(more) = budget.acquire(missing).now_or_never()
    {
        match permit {
            Some(held) => held.merge(more),
            None => *permit = Some(more),
        }
    }
    room_in(front, permit)
}

/// Only look-ups tell how many partitions those topics have that were not known here. For what does not fit clients ask
/// again, and then it is expected.
fn turn_away(topics: &mut [MetadataTopic<'_>], room: usize) {
    let partitions_of = |topic: &MetadataTopic<'_>| topic.partitions as usize * PARTITION_SENT;
    let names: usize = topics.iter().map(|topic| kept_bytes(topic) + sent_bytes(topic) - partitions_of(topic)).sum();
    let mut left = room.saturating_sub(names);
    for topic in topics {
        match left.checked_sub(partitions_of(topic)) {
            Some(rest) => left = rest,
            None => *topic = MetadataTopic { error: ErrorCode::LeaderNotAvailable, partitions: 0, ..topic.clone() },
        }
    }
}

/// As far as it is known before anything is looked up.
pub(super) fn expected_bytes(broker: &Broker, request: &MetadataRequest<'_>) -> usize {
    let Some(asked) = request.topics else {
        let (topics, partitions) = broker.topic_totals();
        return topics * (TOPIC_KEPT + TOPIC_SENT + 2 * TopicName::MAX_LEN) + partitions * PARTITION_SENT;
    };
    let mut seen = HashSet::new();
    let asked = asked.iter().filter(|topic| seen.insert((topic.id, topic.name)));
    asked
        .map(|topic| TOPIC_KEPT + TOPIC_SENT + 2 * name_bytes(&topic) + partitions(broker, &topic) * PARTITION_SENT)
        .sum()
}

fn name_bytes(topic: &MetadataRequestTopic<'_>) -> usize {
    topic.name.map_or(TopicName::MAX_LEN, str::len)
}

/// As this node knows it without asking.
fn partitions(broker: &Broker, topic: &MetadataRequestTopic<'_>) -> usize {
    let known = match topic.name {
        Some(name) => TopicName::new(name).ok().and_then(|name| broker.find_topic(&name)),
        None => broker.local_topic(topic.id),
    };
    known.map_or(0, |topic| topic.partitions as usize)
}

fn kept_bytes(topic: &MetadataTopic<'_>) -> usize {
    TOPIC_KEPT + topic.name.map_or(0, str::len)
}

fn sent_bytes(topic: &MetadataTopic<'_>) -> usize {
    TOPIC_SENT + topic.name.map_or(0, str::len) + topic.partitions as usize * PARTITION_SENT
}

async fn look_up<'a>(broker: &Broker, request: &MetadataRequest<'a>) -> Vec<Found<'a>> {
    let Some(asked) = request.topics else { return Vec::new() };
    let create = request.allow_auto_topic_creation && broker.auto_create_topics();
    let if_missing = if create { IfMissing::Create } else { IfMissing::Refuse };
    let mut seen = HashSet::new();
    find_all(broker, asked.iter().filter(|topic| seen.insert((topic.id, topic.name))), if_missing).await
}

async fn find_all<'a>(
    broker: &Broker,
    asked: impl Iterator<Item = MetadataRequestTopic<'a>>,
    if_missing: IfMissing,
) -> Vec<Found<'a>> {
    let asked: Vec<_> = asked.collect();
    let mut found = Vec::new();
    for some in asked.chunks(AT_ONCE) {
        found.extend(join_all(some.iter().map(async |topic| (*topic, find(broker, *topic, if_missing).await))).await);
    }
    found
}

async fn find(broker: &Broker, topic: MetadataRequestTopic<'_>, if_missing: IfMissing) -> Result<TopicInfo, ErrorCode> {
    let Some(name) = topic.name else {
        let found = broker.topic_by_id(topic.id).await.map_err(errors::read)?;
        return found.ok_or(ErrorCode::UnknownTopicId);
    };
    let name = TopicName::new(name).map_err(|_| ErrorCode::InvalidTopic)?;
    match broker.topic_by_name(&name).await.map_err(errors::read)? {
        Some(topic) => Ok(topic),
        None if if_missing == IfMissing::Create => create(broker, name).await,
        None => Err(ErrorCode::UnknownTopicOrPartition),
    }
}

/// Another client may be faster: then the topic is what that one made of it.
async fn create(broker: &Broker, name: TopicName) -> Result<TopicInfo, ErrorCode> {
    let new = NewTopic { name: name.clone(), partitions: -1, configs: Vec::new() };
    match broker.create_topic(new, false).await {
        Ok(topic) => Ok(topic),
        Err(CreateTopicError::Exists) => {
            let found = broker.topic_by_name(&name).await.map_err(errors::read)?;
            found.ok_or(ErrorCode::LeaderNotAvailable)
        }
        Err(CreateTopicError::Unavailable(e)) => Err(errors::read(e)),
        Err(error) => {
            tracing::warn!(topic = %name, %error, "topic not created");
            Err(errors::create_topic(&error))
        }
    }
}

fn known(topic: &TopicInfo) -> MetadataTopic<'_> {
    MetadataTopic {
        error: ErrorCode::None,
        name: Some(topic.name.as_str()),
        id: topic.id,
        partitions: topic.partitions,
    }
}

fn describe<'a>((asked, found): &'a Found<'a>) -> MetadataTopic<'a> {
    match found {
        Ok(topic) => known(topic),
        Err(error) => {
            let id = if asked.name.is_some() { TopicId::NIL } else { asked.id };
            MetadataTopic { error: *error, name: asked.name, id, partitions: 0 }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(partitions: i32) -> MetadataTopic<'static> {
        MetadataTopic { error: ErrorCode::None, name: Some("t"), id: TopicId(1), partitions }
    }

    #[test]
    fn what_does_not_fit_is_to_be_asked_for_again() {
        let mut topics = [topic(100), topic(1000), topic(100)];
        let names = 3 * (TOPIC_KEPT + TOPIC_SENT + 2);
        turn_away(&mut topics, names + 200 * PARTITION_SENT);
        let answered = topics.each_ref().map(|topic| (topic.error, topic.partitions));
        let away = (ErrorCode::LeaderNotAvailable, 0);
        assert_eq!(answered, [(ErrorCode::None, 100), away, (ErrorCode::None, 100)]);
        let mut alone = [topic(i32::MAX)];
        turn_away(&mut alone, usize::MAX);
        assert_eq!(alone[0].error, ErrorCode::None);
    }
}
