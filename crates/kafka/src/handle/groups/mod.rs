//! Consumer groups: the classic protocol, KIP-848, committed offsets, and what administrators ask of them.

pub(super) mod admin;
pub(super) mod classic;
pub(super) mod consumer;
pub(super) mod coordinator;
pub(super) mod describe;
pub(super) mod offset_commit;
pub(super) mod offset_fetch;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use futures_util::future::join_all;
use lakebed_broker::Broker;
use lakebed_broker::api::{TopicInfo, Unavailable};
use lakebed_groups::Client;
use lakebed_record::{GroupId, TopicId, TopicName};

use crate::wire::produce::TopicRef;
use crate::wire::{Array, ErrorCode};

/// Groups of one request that are asked at once.
const AT_ONCE: usize = 64;

fn group_id(id: &str) -> Result<GroupId, ErrorCode> {
    GroupId::new(id).map_err(|_| ErrorCode::InvalidGroupId)
}

/// What groups remember of a client, in Apache Kafka's notation.
pub(super) fn client(id: Option<&str>, peer: SocketAddr) -> Client {
    Client { id: id.unwrap_or_default().to_owned(), host: format!("/{}", peer.ip()) }
}

/// A new member's random id.
fn member_uuid(broker: &Broker) -> String {
    uuid::Builder::from_random_bytes(broker.groups().entropy().to_be_bytes()).into_uuid().to_string()
}

/// Each of the groups once: none is answered twice, so that a small request gets no answer of many times its size.
fn distinct<'a>(groups: Array<'a, &'a str>) -> impl Iterator<Item = &'a str> {
    let mut seen = HashSet::new();
    groups.iter().filter(move |group| seen.insert(*group))
}

/// Runs what is to be asked for a request's groups, some at once; answers keep their order.
async fn run_all<F: Future>(asks: Vec<F>) -> Vec<F::Output> {
    let (mut answers, mut rest) = (Vec::new(), asks.into_iter());
    while rest.len() > 0 {
        answers.extend(join_all(rest.by_ref().take(AT_ONCE)).await);
    }
    answers
}

/// Those topics that there are. However many this node does not know, it asks once whether it lags.
async fn find_topics<'a>(
    broker: &Broker,
    topics: Vec<TopicRef<'a>>,
) -> Result<HashMap<TopicRef<'a>, TopicInfo>, Unavailable> {
    let mut found = HashMap::new();
    let mut missing = Vec::new();
    for topic in topics {
        match local(broker, topic) {
            Some(info) => {
                found.insert(topic, info);
            }
            None if is_a_topic(topic) => missing.push(topic),
            None => {}
        }
    }
    if !missing.is_empty() {
        broker.barrier().await?;
        found.extend(missing.into_iter().filter_map(|topic| Some((topic, local(broker, topic)?))));
    }
    Ok(found)
}

fn is_a_topic(topic: TopicRef<'_>) -> bool {
    !matches!(topic, TopicRef::Name(name) if TopicName::new(name).is_err())
}

fn local(broker: &Broker, topic: TopicRef<'_>) -> Option<TopicInfo> {
    match topic {
        TopicRef::Name(name) => broker.find_topic(&TopicName::new(name).ok()?),
        TopicRef::Id(id) => broker.local_topic(id),
    }
}

/// Topics in the order in which they first come, each with what there is of it.
fn by_topic<T>(all: impl IntoIterator<Item = (TopicId, T)>) -> Vec<(TopicId, Vec<T>)> {
    let mut topics: Vec<(TopicId, Vec<T>)> = Vec::new();
    let mut places = HashMap::new();
    for (topic, one) in all {
        let place = *places.entry(topic).or_insert_with(|| {
            topics.push((topic, Vec::new()));
            topics.len() - 1
        });
        topics[place].1.push(one);
    }
    topics
}

/// What a topic that there is not is called, by the way in which it was asked for.
fn unknown(topic: TopicRef<'_>) -> ErrorCode {
    match topic {
        TopicRef::Name(_) => ErrorCode::UnknownTopicOrPartition,
        TopicRef::Id(_) => ErrorCode::UnknownTopicId,
    }
}
