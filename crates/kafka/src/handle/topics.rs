//! CreateTopics and DeleteTopics.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures_util::future::join_all;
use lakebed_broker::Broker;
use lakebed_broker::api::{NewTopic, TimestampType, TopicConfig, TopicInfo, Unavailable};
use lakebed_record::{TopicId, TopicName};
use tokio::time::Instant;

use crate::errors;
use crate::wire::create_topics::{self, ConfigSource, CreatableTopic, CreateTopicsRequest, CreatedTopic, TopicSetting};
use crate::wire::delete_topics::{self, DeletableTopic, DeleteTopicsRequest, DeletedTopic};
use crate::wire::{ErrorCode, Writer};

/// How many copies there are is the object store's affair.
const REPLICATION_FACTOR: i16 = 1;
/// Topics of one request that are created, changed or deleted at once.
pub(super) const AT_ONCE: usize = 64;
/// What a topic takes while it is answered, and in the answer, besides what the request says.
const TOPIC_BYTES: usize = 1536;

/// A topic as a request names it, and what it is.
type ToDelete<'a> = (DeletableTopic<'a>, Result<TopicInfo, Refused>);

#[derive(Clone, Debug)]
pub(super) struct Refused {
    pub code: ErrorCode,
    pub message: Option<String>,
}

pub(super) fn refuse<T>(code: ErrorCode, message: impl Into<String>) -> Result<T, Refused> {
    Err(Refused { code, message: Some(message.into()) })
}

/// What answering about so many topics takes at most, in a request of `size` bytes: messages may repeat what it says.
pub(super) fn most_bytes(topics: usize, size: usize) -> usize {
    2 * size + topics * TOPIC_BYTES
}

/// Until when a request waits; none if it does not say.
#[derive(Clone, Copy)]
pub(super) struct Deadline(pub Option<Instant>);

impl Deadline {
    pub fn of(timeout_ms: i32, arrived: Instant) -> Self {
        let timeout = u64::try_from(timeout_ms).ok().filter(|ms| *ms > 0);
        Self(timeout.map(|ms| arrived + Duration::from_millis(ms)))
    }

    /// What was begun goes on: giving up only means not to wait for it. After the deadline nothing is begun.
    pub async fn within<T>(self, doing: impl Future<Output = T>) -> Option<T> {
        match self.0 {
            Some(deadline) if deadline <= Instant::now() => None,
            Some(deadline) => tokio::time::timeout_at(deadline, doing).await.ok(),
            None => Some(doing.await),
        }
    }
}

/// Nothing is begun of a request for whose answer there was no memory in time: what says so takes little.
pub(super) const NOT_BEGUN: Refused = Refused { code: ErrorCode::RequestTimedOut, message: None };

pub(super) fn create_none(request: &CreateTopicsRequest<'_>, w: &mut Writer) {
    let mut seen = HashSet::new();
    let asked = request.topics.iter().filter(|topic| seen.insert(topic.name));
    let none: Vec<_> = asked.map(|topic| describe(&topic, Err(NOT_BEGUN), request.validate_only)).collect();
    create_topics::encode_response(w, &none);
}

pub(super) async fn create(broker: &Broker, request: &CreateTopicsRequest<'_>, arrived: Instant, w: &mut Writer) {
    let deadline = Deadline::of(request.timeout_ms, arrived);
    let mut times = HashMap::new();
    for topic in request.topics {
        *times.entry(topic.name).or_insert(0u32) += 1;
    }
    // Said once of a name that stands there several times.
    let asked: Vec<_> = request.topics.iter().filter_map(|topic| Some((times.remove(topic.name)?, topic))).collect();
    let mut created = Vec::new();
    for some in asked.chunks(AT_ONCE) {
        let doing = some.iter().map(async |(times, topic)| {
            let result = match times {
                1 => create_one(broker, request.validate_only, topic, deadline).await,
                _ => refuse(ErrorCode::InvalidRequest, "the request names this topic more than once"),
            };
            describe(topic, result, request.validate_only)
        });
        created.extend(join_all(doing).await);
    }
    create_topics::encode_response(w, &created);
}

async fn create_one(
    broker: &Broker,
    validate_only: bool,
    topic: &CreatableTopic<'_>,
    deadline: Deadline,
) -> Result<TopicInfo, Refused> {
    let new = new_topic(topic)?;
    match deadline.within(broker.create_topic(new, validate_only)).await {
        Some(Ok(topic)) => Ok(topic),
        Some(Err(error)) => Err(Refused { code: errors::create_topic(&error), message: Some(error.to_string()) }),
        None => refuse(ErrorCode::RequestTimedOut, "not known to be created in time; it may still appear"),
    }
}

fn new_topic(topic: &CreatableTopic<'_>) -> Result<NewTopic, Refused> {
    let name = match TopicName::new(topic.name) {
        Ok(name) => name,
        Err(e) => return refuse(ErrorCode::InvalidTopic, e.to_string()),
    };
    if topic.replication_factor == 0 || topic.replication_factor < -1 {
        return refuse(
            ErrorCode::InvalidReplicationFactor,
            "the replication factor is 1 or more, or -1 for the default",
        );
    }
    let mut configs = Vec::new();
    for config in topic.configs {
        let Some(value) = config.value else {
            return refuse(ErrorCode::InvalidConfig, format!("the setting {} has no value", config.name));
        };
        configs.push((config.name.to_owned(), value.to_owned()));
    }
    Ok(NewTopic { name, partitions: partitions(topic)?, configs })
}

/// Of a manual assignment only the number of partitions means something: any node serves every one.
fn partitions(topic: &CreatableTopic<'_>) -> Result<i32, Refused> {
    if topic.assignments.is_empty() {
        return Ok(topic.partitions);
    }
    if topic.partitions != -1 || topic.replication_factor != -1 {
        return refuse(
            ErrorCode::InvalidRequest,
            "with a manual assignment the numbers of partitions and replicas have to be -1",
        );
    }
    let mut indexes: Vec<_> = topic.assignments.iter().map(|assignment| assignment.partition).collect();
    indexes.sort_unstable();
    match indexes.iter().zip(0..).all(|(index, expected)| *index == expected) {
        true => Ok(indexes.len() as i32),
        false => refuse(ErrorCode::InvalidReplicaAssignment, "the partitions of an assignment count up from 0"),
    }
}

fn describe<'a>(
    asked: &CreatableTopic<'a>,
    result: Result<TopicInfo, Refused>,
    validate_only: bool,
) -> CreatedTopic<'a> {
    match result {
        Ok(topic) => CreatedTopic {
            name: asked.name,
            id: if validate_only { TopicId::NIL } else { topic.id },
            error: ErrorCode::None,
            error_message: None,
            partitions: topic.partitions,
            replication_factor: REPLICATION_FACTOR,
            configs: Some(settings(&topic.config, asked)),
        },
        Err(refused) => CreatedTopic {
            name: asked.name,
            id: TopicId::NIL,
            error: refused.code,
            error_message: refused.message,
            partitions: -1,
            replication_factor: -1,
            configs: None,
        },
    }
}

fn settings(config: &TopicConfig, asked: &CreatableTopic<'_>) -> Vec<TopicSetting> {
    let setting = |name: &'static str, value: String| {
        let given = asked.configs.iter().any(|config| config.name == name);
        TopicSetting { name, value, source: if given { ConfigSource::Topic } else { ConfigSource::Default } }
    };
    let timestamp_type = match config.timestamp_type {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    };
    vec![
        setting("max.message.bytes", config.max_message_bytes.to_string()),
        setting("message.timestamp.type", timestamp_type.to_owned()),
        setting("message.timestamp.after.max.ms", config.timestamp_after_max_ms.to_string()),
        setting("message.timestamp.before.max.ms", config.timestamp_before_max_ms.to_string()),
    ]
}

pub(super) fn delete_none(request: &DeleteTopicsRequest<'_>, w: &mut Writer) {
    let mut seen = HashSet::new();
    let asked = request.topics.iter().filter(|topic| seen.insert((topic.name, topic.id)));
    let none: Vec<_> = asked.map(|topic| answer(&topic, &Err(NOT_BEGUN), Err(NOT_BEGUN))).collect();
    delete_topics::encode_response(w, &none);
}

pub(super) async fn delete(broker: &Broker, request: &DeleteTopicsRequest<'_>, arrived: Instant, w: &mut Writer) {
    let deadline = Deadline::of(request.timeout_ms, arrived);
    let mut times = HashMap::new();
    for topic in request.topics {
        *times.entry((topic.name, topic.id)).or_insert(0u32) += 1;
    }
    // Said once of a name or id that stands there several times.
    let asked = request.topics.iter().filter_map(|topic| Some((times.remove(&(topic.name, topic.id))?, topic)));
    let asked: Vec<_> = asked.collect();
    let mut found = Vec::new();
    for some in asked.chunks(AT_ONCE) {
        let looking =
            some.iter().map(async |(times, topic)| (*topic, find_once(broker, *times, *topic, deadline).await));
        found.extend(join_all(looking).await);
    }
    refuse_name_and_id(&mut found);
    let mut deleted = Vec::new();
    for some in found.chunks(AT_ONCE) {
        let deleting = some.iter().map(async |(_, found)| match found {
            Ok(topic) => delete_one(broker, topic, deadline).await,
            Err(refused) => Err(refused.clone()),
        });
        deleted.extend(join_all(deleting).await);
    }
    let responses = found.iter().zip(deleted).map(|((asked, found), deleted)| answer(asked, found, deleted));
    delete_topics::encode_response(w, &responses.collect::<Vec<_>>());
}

async fn find_once(
    broker: &Broker,
    times: u32,
    asked: DeletableTopic<'_>,
    deadline: Deadline,
) -> Result<TopicInfo, Refused> {
    if times > 1 {
        return refuse(ErrorCode::InvalidRequest, "the request names this topic more than once");
    }
    let found = deadline.within(find(broker, asked)).await;
    found.unwrap_or_else(|| refuse(ErrorCode::RequestTimedOut, "not looked up in time; it is not deleted"))
}

/// A topic that is named by its name and by its id is not deleted.
fn refuse_name_and_id(found: &mut [ToDelete<'_>]) {
    let mut times = HashMap::new();
    for topic in found.iter().filter_map(|(_, found)| found.as_ref().ok()) {
        *times.entry(topic.id).or_insert(0u32) += 1;
    }
    for (_, found) in found {
        if found.as_ref().is_ok_and(|topic| times.get(&topic.id).is_some_and(|times| *times > 1)) {
            *found = refuse(ErrorCode::InvalidRequest, "the request names this topic by its name and by its id");
        }
    }
}

fn answer<'a>(
    asked: &DeletableTopic<'a>,
    found: &'a Result<TopicInfo, Refused>,
    deleted: Result<(), Refused>,
) -> DeletedTopic<'a> {
    let topic = found.as_ref().ok().filter(|_| deleted.is_ok());
    let (error, error_message) = match deleted {
        Ok(()) => (ErrorCode::None, None),
        Err(refused) => (refused.code, refused.message),
    };
    DeletedTopic {
        name: asked.name.or(topic.map(|topic| topic.name.as_str())),
        id: topic.map_or(asked.id, |topic| topic.id),
        error,
        error_message,
    }
}

async fn delete_one(broker: &Broker, topic: &TopicInfo, deadline: Deadline) -> Result<(), Refused> {
    match deadline.within(broker.delete_topic(topic.id)).await {
        Some(Ok(())) => Ok(()),
        Some(Err(error)) => Err(Refused { code: errors::delete_topic(&error), message: Some(error.to_string()) }),
        None => refuse(ErrorCode::RequestTimedOut, "not known to be deleted in time; it may still go"),
    }
}

async fn find(broker: &Broker, asked: DeletableTopic<'_>) -> Result<TopicInfo, Refused> {
    let unavailable = |e: Unavailable| Refused { code: errors::admin(e), message: Some(e.to_string()) };
    let unknown = |code| Refused { code, message: Some("no such topic".to_owned()) };
    match (asked.name, asked.id) {
        (Some(name), TopicId::NIL) => {
            let name = TopicName::new(name).map_err(|_| unknown(ErrorCode::UnknownTopicOrPartition))?;
            let found = broker.current_topic_by_name(&name).await.map_err(unavailable)?;
            found.ok_or_else(|| unknown(ErrorCode::UnknownTopicOrPartition))
        }
        (None, id) if id != TopicId::NIL => {
            broker.topic_by_id(id).await.map_err(unavailable)?.ok_or_else(|| unknown(ErrorCode::UnknownTopicId))
        }
        _ => refuse(ErrorCode::InvalidRequest, "a topic is deleted either by its name or by its id"),
    }
}
