//! CreateTopics and DeleteTopics.

use std::collections::HashMap;
use std::time::Duration;

use lakebed_broker::Broker;
use lakebed_broker::api::{NewTopic, TimestampType, TopicConfig, TopicInfo, Unavailable};
use lakebed_record::{TopicId, TopicName};

use crate::errors;
use crate::wire::create_topics::{self, ConfigSource, CreatableTopic, CreateTopicsRequest, CreatedTopic, TopicSetting};
use crate::wire::delete_topics::{self, DeletableTopic, DeleteTopicsRequest, DeletedTopic};
use crate::wire::{ErrorCode, Writer};

/// How many copies there are is the object store's affair.
const REPLICATION_FACTOR: i16 = 1;

struct Refused {
    code: ErrorCode,
    message: Option<String>,
}

fn refuse<T>(code: ErrorCode, message: impl Into<String>) -> Result<T, Refused> {
    Err(Refused { code, message: Some(message.into()) })
}

pub(super) async fn create(broker: &Broker, request: &CreateTopicsRequest<'_>, w: &mut Writer) {
    let mut times = HashMap::new();
    for topic in request.topics {
        *times.entry(topic.name).or_insert(0u32) += 1;
    }
    let mut created = Vec::new();
    for topic in request.topics {
        // Said once of a name that stands there several times.
        let Some(times) = times.remove(topic.name) else { continue };
        let result = match times {
            1 => create_one(broker, request, &topic).await,
            _ => refuse(ErrorCode::InvalidRequest, "the request names this topic more than once"),
        };
        created.push(describe(&topic, result, request.validate_only));
    }
    create_topics::encode_response(w, &created);
}

async fn create_one(
    broker: &Broker,
    request: &CreateTopicsRequest<'_>,
    topic: &CreatableTopic<'_>,
) -> Result<TopicInfo, Refused> {
    let new = new_topic(topic)?;
    let creating = broker.create_topic(new, request.validate_only);
    match within(request.timeout_ms, creating).await {
        Some(Ok(topic)) => Ok(topic),
        Some(Err(error)) => Err(Refused { code: errors::create_topic(&error), message: Some(error.to_string()) }),
        None => refuse(ErrorCode::RequestTimedOut, "not known to be created in time; it may still appear"),
    }
}

/// What was begun goes on: giving up only means not to wait for it.
async fn within<T>(timeout_ms: i32, doing: impl Future<Output = T>) -> Option<T> {
    match u64::try_from(timeout_ms) {
        Ok(ms) if ms > 0 => tokio::time::timeout(Duration::from_millis(ms), doing).await.ok(),
        _ => Some(doing.await),
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

pub(super) async fn delete(broker: &Broker, request: &DeleteTopicsRequest<'_>, w: &mut Writer) {
    let mut deleted = Vec::new();
    let mut names = Vec::new();
    for topic in request.topics {
        let result = delete_one(broker, topic, request.timeout_ms).await;
        names.push(result.as_ref().ok().map(|topic| topic.name.clone()));
        deleted.push((topic, result));
    }
    let responses: Vec<_> = deleted
        .iter()
        .zip(&names)
        .map(|((asked, result), name)| DeletedTopic {
            name: asked.name.or(name.as_ref().map(TopicName::as_str)),
            id: result.as_ref().map_or(asked.id, |topic| topic.id),
            error: result.as_ref().err().map_or(ErrorCode::None, |refused| refused.code),
            error_message: result.as_ref().err().and_then(|refused| refused.message.clone()),
        })
        .collect();
    delete_topics::encode_response(w, &responses);
}

async fn delete_one(broker: &Broker, asked: DeletableTopic<'_>, timeout_ms: i32) -> Result<TopicInfo, Refused> {
    let topic = find(broker, asked).await?;
    match within(timeout_ms, broker.delete_topic(topic.id)).await {
        Some(Ok(())) => Ok(topic),
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
