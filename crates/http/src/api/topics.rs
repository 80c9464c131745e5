//! `/v1/topics`: list, create, describe, alter, delete.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use lakebed_broker::Broker;
use lakebed_broker::api::{
    AlterConfigsError, CreatePartitionsError, CreateTopicError, NewTopic, TopicError, TopicInfo,
};
use lakebed_record::ops::{ConfigChange, ConfigEntry};
use lakebed_record::{TopicName, TopicPartition};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::decimal::{Decimal, whole};
use super::extract::{self, Params, TopicPath, Up};
use super::{Front, TopicParam, replies_permit};
use crate::problem::{ChangeProblems, Kind, Problem, ReadProblems};

/// Items of a list, and how many there are if the client does not say.
const MOST_LISTED: usize = 10_000;
/// What a partition takes in an answer, in bytes.
const PARTITION_BYTES: usize = 160;

/// A part of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListParams {
    /// Only what comes behind this name in the order of bytes: the `next` of the answer before.
    after: Option<String>,
    /// How many at most.
    #[param(minimum = 1, maximum = 10000, default = 1000)]
    limit: Option<usize>,
}

impl ListParams {
    pub fn after(&self) -> &str {
        self.after.as_deref().unwrap_or_default()
    }

    pub fn limit(&self) -> Result<usize, Problem> {
        let limit = self.limit.unwrap_or(1_000);
        let wrong = || Problem::bad_request(format!("limit is 1 to {MOST_LISTED}"));
        (1..=MOST_LISTED).contains(&limit).then_some(limit).ok_or_else(wrong)
    }
}

/// Topics, ordered by name.
#[derive(Serialize, ToSchema)]
pub struct TopicList {
    topics: Vec<ListedTopic>,
    /// `after` of the next request; null: these were the last.
    #[schema(required = true)]
    next: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct ListedTopic {
    name: String,
    /// Of this topic alone, also if another one of this name follows.
    id: String,
    partitions: i32,
}

/// A topic to be created.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateTopic {
    /// Letters, digits, `.`, `_` and `-`.
    #[schema(pattern = r"^(?!\.{1,2}$)[A-Za-z0-9._-]+$", min_length = 1, max_length = 249)]
    name: String,
    /// The node's default if it is absent.
    #[serde(default, deserialize_with = "whole")]
    #[schema(minimum = 1, maximum = 10000)]
    partitions: Option<i32>,
    /// Kafka's topic configs, such as `max.message.bytes`.
    #[serde(default)]
    configs: BTreeMap<String, String>,
}

/// Whether it is only tried.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ChangeParams {
    /// True: nothing is made or changed; the answer says whether it could be.
    validate_only: Option<bool>,
}

/// What is to be another way: what is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AlterTopic {
    /// In all, more than there are.
    #[serde(default, deserialize_with = "whole")]
    #[schema(minimum = 1, maximum = 10000)]
    partitions: Option<i32>,
    /// A config that is null has its default again.
    #[serde(default)]
    configs: BTreeMap<String, Option<String>>,
}

/// A topic.
#[derive(Serialize, ToSchema)]
pub struct DescribedTopic {
    name: String,
    id: String,
    partitions: Vec<DescribedPartition>,
    /// Those that were set; the others have their defaults.
    configs: BTreeMap<String, String>,
}

#[derive(Serialize, ToSchema)]
pub struct DescribedPartition {
    partition: i32,
    /// The first offset that there is.
    log_start_offset: Decimal,
    /// The offset behind the last record.
    high_watermark: Decimal,
    /// Of its record batches, about.
    bytes: Decimal,
}

/// List topics
#[utoipa::path(
    get,
    path = "/v1/topics",
    tag = "topics",
    params(ListParams),
    responses((status = 200, description = "Some or all, as this node knows them: what other nodes change shows within seconds", body = TopicList), ReadProblems)
)]
pub async fn list(Up(broker): Up, Params(params): Params<ListParams>) -> Result<Json<TopicList>, Problem> {
    let limit = params.limit()?;
    let mut topics = broker.topics().into_iter().filter(|topic| topic.name.as_str() > params.after());
    let listed: Vec<_> = topics.by_ref().take(limit).map(|topic| listed(&topic)).collect();
    let next = topics.next().and(listed.last()).map(|topic| topic.name.clone());
    Ok(Json(TopicList { topics: listed, next }))
}

fn listed(topic: &TopicInfo) -> ListedTopic {
    ListedTopic { name: topic.name.to_string(), id: topic.id.to_string(), partitions: topic.partitions }
}

/// Create a topic
#[utoipa::path(
    post,
    path = "/v1/topics",
    tag = "topics",
    params(ChangeParams),
    request_body = CreateTopic,
    responses(
        (status = 201, description = "It is there", body = ListedTopic, headers(("Location" = String))),
        (status = 204, description = "It could be there: the answer to `validate_only`"),
        ChangeProblems
    )
)]
pub async fn create(
    Up(broker): Up,
    Params(params): Params<ChangeParams>,
    extract::Json(new): extract::Json<CreateTopic>,
) -> Result<Response, Problem> {
    let name = TopicName::new(&new.name).map_err(Problem::bad_request)?;
    let partitions = new.partitions.unwrap_or(-1);
    if new.partitions.is_some_and(|n| n < 1) {
        return Err(Problem::bad_request("a topic has at least one partition"));
    }
    let topic = NewTopic { name, partitions, configs: new.configs.into_iter().collect() };
    let only = params.validate_only.unwrap_or(false);
    let created = broker.create_topic(topic, only).await.map_err(|e| match e {
        CreateTopicError::Exists => Problem::new(Kind::TOPIC_EXISTS, e),
        CreateTopicError::InvalidPartitions(_) | CreateTopicError::InvalidConfig(_) => Problem::invalid(e),
        CreateTopicError::Unavailable(e) => e.into(),
    })?;
    if only {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let at = format!("/v1/topics/{}", created.name);
    Ok((StatusCode::CREATED, [(LOCATION, at)], Json(listed(&created))).into_response())
}

/// Describe a topic
#[utoipa::path(
    get,
    path = "/v1/topics/{topic}",
    tag = "topics",
    params(TopicParam),
    responses((status = 200, description = "As it is now", body = DescribedTopic), ReadProblems)
)]
pub async fn describe(
    State(front): State<Front>,
    Up(broker): Up,
    topic: TopicPath,
) -> Result<Json<DescribedTopic>, Problem> {
    let topic = topic.find_now(&broker).await?;
    let _permit = replies_permit(&front, &broker, topic.partitions as usize * PARTITION_BYTES).await?;
    Ok(Json(described(&broker, &topic)))
}

/// As this node knows it.
fn described(broker: &Broker, topic: &TopicInfo) -> DescribedTopic {
    let sizes = broker.partition_sizes(topic.id, 0, topic.partitions as usize);
    let partitions = sizes.into_iter().filter_map(|(partition, bytes)| {
        let (log_start, end) = broker.offset_range(TopicPartition::new(topic.id, partition))?;
        let (log_start_offset, high_watermark) = (Decimal(log_start), Decimal(end));
        Some(DescribedPartition { partition, log_start_offset, high_watermark, bytes: Decimal(bytes as i64) })
    });
    DescribedTopic {
        name: topic.name.to_string(),
        id: topic.id.to_string(),
        partitions: partitions.collect(),
        configs: broker.topic_configs(topic.id).unwrap_or_default().into_iter().collect(),
    }
}

/// Alter a topic
///
/// Partitions first, then configs: if these fail, those are there.
#[utoipa::path(
    patch,
    path = "/v1/topics/{topic}",
    tag = "topics",
    params(TopicParam, ChangeParams),
    request_body = AlterTopic,
    responses((status = 200, description = "As it is now", body = DescribedTopic), ChangeProblems)
)]
pub async fn alter(
    State(front): State<Front>,
    Up(broker): Up,
    path: TopicPath,
    Params(params): Params<ChangeParams>,
    extract::Json(change): extract::Json<AlterTopic>,
) -> Result<Json<DescribedTopic>, Problem> {
    let topic = path.find_now(&broker).await?;
    let configs = config_change(change.configs);
    let present = broker.topic_configs(topic.id).unwrap_or_default();
    broker.check_topic_configs(&present, &configs).map_err(alter_problem)?;
    if let Some(count) = change.partitions {
        let only = params.validate_only.unwrap_or(false);
        broker.create_partitions(topic.id, count, None, only).await.map_err(|e| match e {
            CreatePartitionsError::Unknown => Problem::no_topic(topic.name.as_str()),
            CreatePartitionsError::Invalid(_) | CreatePartitionsError::InvalidAssignment(_) => Problem::invalid(e),
            CreatePartitionsError::Unavailable(e) => e.into(),
        })?;
    }
    if params.validate_only != Some(true) && (!configs.set.is_empty() || !configs.delete.is_empty()) {
        broker.alter_topic_configs(topic.id, configs).await.map_err(alter_problem)?;
    }
    let topic = path.find(&broker).await?;
    let _permit = replies_permit(&front, &broker, topic.partitions as usize * PARTITION_BYTES).await?;
    Ok(Json(described(&broker, &topic)))
}

fn config_change(configs: BTreeMap<String, Option<String>>) -> ConfigChange {
    let mut change = ConfigChange::default();
    for (name, value) in configs {
        match value {
            Some(value) => change.set.push(ConfigEntry { name, value }),
            None => change.delete.push(name),
        }
    }
    change
}

fn alter_problem(error: AlterConfigsError) -> Problem {
    match error {
        AlterConfigsError::Unknown => Problem::new(Kind::NO_TOPIC, error),
        AlterConfigsError::Invalid(_) => Problem::invalid(error),
        AlterConfigsError::Unavailable(e) => e.into(),
    }
}

/// Delete a topic with all its records
#[utoipa::path(
    delete,
    path = "/v1/topics/{topic}",
    tag = "topics",
    params(TopicParam),
    responses((status = 204, description = "It is gone"), ChangeProblems)
)]
pub async fn delete(Up(broker): Up, path: TopicPath) -> Result<StatusCode, Problem> {
    let topic = path.find_now(&broker).await?;
    match broker.delete_topic(topic.id).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(TopicError::Unknown) => Err(Problem::no_topic(topic.name.as_str())),
        Err(TopicError::Unavailable(e)) => Err(e.into()),
    }
}
