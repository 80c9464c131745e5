//! Metadata: this node alone, as leader of everything; topics that do not exist are created if both sides want it.

use std::collections::HashSet;

use futures_util::future::join_all;
use lakebed_broker::api::{CreateTopicError, NewTopic, TopicInfo};
use lakebed_broker::{Broker, MemoryPermit};
use lakebed_record::{TopicId, TopicName};

use super::{FREE_BYTES, Front};
use crate::errors;
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

/// With the memory that the answer was given.
pub(super) async fn answer(front: &Front, request: &MetadataRequest<'_>, w: &mut Writer) -> Option<MemoryPermit> {
    let broker = &front.broker;
    let mut expected = expected_bytes(broker, request);
    loop {
        let permit = front.room_for(expected).await;
        let found = look_up(broker, request).await;
        let all = if request.topics.is_none() { broker.topics() } else { Vec::new() };
        let topics: Vec<_> = all.iter().map(known).chain(found.iter().map(describe)).collect();
        let needed = topics.iter().map(|topic| kept_bytes(topic) + sent_bytes(topic)).sum::<usize>();
        // How many partitions a topic has, only the look-up tells. Nobody waits for more while it holds some: it starts
        // again with what it needs, and by now everything is known here.
        if needed.min(front.replies.total()) > expected.max(FREE_BYTES) {
            expected = needed;
            continue;
        }
        w.reserve(topics.iter().map(sent_bytes).sum());
        let node = broker.node();
        let node = Node { id: node.id.0, host: &node.host, port: node.port };
        MetadataResponse { node, cluster_id: broker.cluster_id(), topics }.encode(w);
        return permit;
    }
}

/// As far as the number of elements tells it.
fn expected_bytes(broker: &Broker, request: &MetadataRequest<'_>) -> usize {
    let Some(asked) = request.topics else {
        let (topics, partitions) = broker.topic_totals();
        return topics * (TOPIC_KEPT + TOPIC_SENT + 2 * TopicName::MAX_LEN) + partitions * PARTITION_SENT;
    };
    asked.iter().map(|topic| TOPIC_KEPT + TOPIC_SENT + 2 * topic.name.map_or(0, str::len)).sum()
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
