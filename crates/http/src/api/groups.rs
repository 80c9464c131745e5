//! `/v1/groups`: list, describe, committed offsets with lag, reset, delete.
//!
//! What is in the log every node tells. Members are known to the group's coordinator alone, and only it commits offsets: other nodes say which it is.

use std::collections::{BTreeMap, HashMap};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use lakebed_broker::Broker;
use lakebed_broker::api::TopicInfo;
use lakebed_broker::groups::{
    CommitOffset, CommitRefused, DeleteError, Description, GroupError, GroupState, MemberRef, Members,
};
use lakebed_record::{GroupId, TopicName, TopicPartition};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::decimal::{Decimal, whole};
use super::extract::{self, GroupPath, Params, Up};
use super::fetch::position::{From, resolve};
use super::object::Object;
use super::topics::ListParams;
use super::{Front, replies_permit};
use crate::problem::{GroupProblems, Kind, Problem, ReadProblems};

mod assignment;

/// What a group takes in a list besides its id, and a partition in an answer, in bytes.
const LISTED_BYTES: usize = 256;
const OFFSET_BYTES: usize = 512;
/// Of what is stored of a group: it is copied, told, and names its topics in the answer.
const TIMES_STORED: usize = 6;
/// Offsets of one reset.
const MOST_RESET: usize = 10_000;

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it describes what GroupPath reads")]
pub struct GroupParam {
    /// A consumer group's id, at most 32,767 bytes. (The path has at most 65,534, as it is encoded.)
    #[param(min_length = 1)]
    group: String,
}

/// Consumer groups, ordered by id.
#[derive(Serialize, ToSchema)]
pub struct GroupList {
    groups: Vec<ListedGroup>,
    /// `after` of the next request; null: these were the last.
    #[schema(required = true)]
    next: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct ListedGroup {
    group: String,
    /// The Kafka address of the node to ask for its members, `host:port`; null: none is known now.
    #[schema(required = true)]
    coordinator: Option<String>,
    /// Kafka's name of its state; null where another node is the coordinator.
    #[schema(required = true)]
    state: Option<&'static str>,
}

/// A consumer group.
#[derive(Serialize, ToSchema)]
pub struct DescribedGroup {
    group: String,
    state: &'static str,
    /// `classic` or `consumer` (KIP-848).
    protocol: &'static str,
    /// Of the classic protocol: what its members chose; else the assignor of the server.
    assignor: String,
    /// Generation, or group epoch.
    generation: i32,
    members: Vec<Member>,
}

#[derive(Serialize, ToSchema)]
pub struct Member {
    member: String,
    /// Of a static member.
    #[schema(required = true)]
    instance: Option<String>,
    client_id: String,
    client_host: String,
    /// Partitions by topic.
    assignment: BTreeMap<String, Vec<i32>>,
}

/// What a group has committed.
#[derive(Serialize, ToSchema)]
pub struct GroupOffsets {
    group: String,
    /// Ordered by topic and partition.
    offsets: Vec<GroupOffset>,
}

#[derive(Serialize, ToSchema)]
pub struct GroupOffset {
    topic: String,
    partition: i32,
    /// The next record that the group wants.
    offset: Decimal,
    log_start_offset: Decimal,
    high_watermark: Decimal,
    /// Records up to the high watermark.
    lag: Decimal,
    /// What the consumer noted with it.
    metadata: String,
}

/// Where a group is to go on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResetOffsets {
    #[schema(value_type = Vec<ResetOffset>, min_items = 1, max_items = 1000)]
    offsets: Vec<Object<ResetOffset>>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResetOffset {
    #[schema(pattern = r"^(?!\.{1,2}$)[A-Za-z0-9._-]+$", min_length = 1, max_length = 249)]
    topic: String,
    /// All of the topic if it is absent.
    #[serde(default, deserialize_with = "whole")]
    #[schema(minimum = 0)]
    partition: Option<i32>,
    /// `earliest`, `latest`, an offset, or `time:` and ms since the epoch.
    #[schema(pattern = "^(earliest|latest|time:[0-9]{1,18}|[0-9]{1,18})$")]
    to: String,
}

/// List consumer groups
#[utoipa::path(
    get,
    path = "/v1/groups",
    tag = "groups",
    params(ListParams),
    responses((status = 200, description = "Some or all, as this node knows them", body = GroupList), ReadProblems)
)]
pub async fn list(
    State(front): State<Front>,
    Up(broker): Up,
    Params(params): Params<ListParams>,
) -> Result<Json<GroupList>, Problem> {
    let limit = params.limit()?;
    let (groups, ids) = broker.groups().totals();
    let _permit = replies_permit(&front, &broker, groups * LISTED_BYTES + 3 * ids).await?;
    let mut ids = broker.groups().ids_behind(params.after(), limit + 1);
    let next = ids.get(limit).is_some().then(|| ids[limit - 1].to_string());
    ids.truncate(limit);
    let here = broker.groups().list().await.into_iter().map(|group| (group.id, state_name(group.description.state)));
    let here: HashMap<GroupId, &'static str> = here.collect();
    let groups = ids.into_iter().map(|id| ListedGroup {
        coordinator: coordinator(&broker, &id),
        state: here.get(&id).copied(),
        group: id.to_string(),
    });
    Ok(Json(GroupList { groups: groups.collect(), next }))
}

fn coordinator(broker: &Broker, id: &GroupId) -> Option<String> {
    broker.groups().coordinator(id).ok().map(|node| format!("{}:{}", node.host, node.port))
}

/// Describe a consumer group with its members
#[utoipa::path(
    get,
    path = "/v1/groups/{group}",
    tag = "groups",
    params(GroupParam),
    responses((status = 200, description = "As it is now", body = DescribedGroup), GroupProblems)
)]
pub async fn describe(
    State(front): State<Front>,
    Up(broker): Up,
    GroupPath(id): GroupPath,
) -> Result<Json<DescribedGroup>, Problem> {
    let _permit = replies_permit(&front, &broker, TIMES_STORED * broker.groups().stored_bytes(&id)).await?;
    let description = broker.groups().describe(&id).await.map_err(|e| group_problem(&broker, &id, e))?;
    Ok(Json(described(&broker, &id, description)))
}

fn described(broker: &Broker, id: &GroupId, description: Description) -> DescribedGroup {
    let (protocol, assignor, members) = match description.members {
        Members::Simple => ("classic", String::new(), Vec::new()),
        Members::Classic { protocol, members, .. } => {
            let members = members.into_iter().map(|m| Member {
                member: m.member_id,
                instance: m.instance_id,
                client_id: m.client.id,
                client_host: m.client.host,
                assignment: assignment::read(&m.assignment).unwrap_or_default(),
            });
            ("classic", protocol, members.collect())
        }
        Members::Consumer { assignor, members, .. } => {
            let members = members.into_iter().map(|m| Member {
                member: m.member_id,
                instance: m.instance_id,
                client_id: m.client.id,
                client_host: m.client.host,
                assignment: by_name(broker, &m.assigned),
            });
            ("consumer", assignor.to_owned(), members.collect())
        }
    };
    let (state, generation) = (state_name(description.state), description.generation);
    DescribedGroup { group: id.to_string(), state, protocol, assignor, generation, members }
}

fn by_name(broker: &Broker, partitions: &[TopicPartition]) -> BTreeMap<String, Vec<i32>> {
    let mut named: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for at in partitions {
        if let Some(topic) = broker.local_topic(at.topic) {
            named.entry(topic.name.to_string()).or_default().push(at.partition.0);
        }
    }
    named
}

/// As Kafka writes it.
fn state_name(state: GroupState) -> &'static str {
    match state {
        GroupState::Empty => "Empty",
        GroupState::PreparingRebalance => "PreparingRebalance",
        GroupState::CompletingRebalance => "CompletingRebalance",
        GroupState::Assigning => "Assigning",
        GroupState::Reconciling => "Reconciling",
        GroupState::Stable => "Stable",
    }
}

/// Committed offsets and lag of a consumer group
#[utoipa::path(
    get,
    path = "/v1/groups/{group}/offsets",
    tag = "groups",
    params(GroupParam),
    responses((status = 200, description = "As of now, by any node", body = GroupOffsets), ReadProblems)
)]
pub async fn offsets(
    State(front): State<Front>,
    Up(broker): Up,
    GroupPath(id): GroupPath,
) -> Result<Json<GroupOffsets>, Problem> {
    committed(&front, &broker, &id).await.map(Json)
}

async fn committed(front: &Front, broker: &Broker, id: &GroupId) -> Result<GroupOffsets, Problem> {
    let (offsets, metadata) = broker.groups().offset_totals(id);
    let _permit = replies_permit(front, broker, offsets * OFFSET_BYTES + 2 * metadata).await?;
    let committed = broker.groups().committed(id, None, None).await.map_err(|e| group_problem(broker, id, e))?;
    if !broker.groups().exists(id) {
        return Err(group_problem(broker, id, GroupError::GroupIdNotFound));
    }
    let mut offsets: Vec<_> = committed
        .into_iter()
        .filter_map(|(at, offset)| {
            // Offsets of a topic that is gone go with it soon.
            let (topic, offset) = (broker.local_topic(at.topic)?, offset?);
            let (log_start, end) = broker.offset_range(at)?;
            Some(GroupOffset {
                topic: topic.name.to_string(),
                partition: at.partition.0,
                offset: Decimal(offset.offset),
                log_start_offset: Decimal(log_start),
                high_watermark: Decimal(end),
                lag: Decimal((end - offset.offset.max(log_start)).max(0)),
                metadata: offset.metadata.to_string(),
            })
        })
        .collect();
    offsets.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    Ok(GroupOffsets { group: id.to_string(), offsets })
}

/// Reset offsets of a consumer group without members
///
/// A group that is not there comes to be by it.
#[utoipa::path(
    patch,
    path = "/v1/groups/{group}/offsets",
    tag = "groups",
    params(GroupParam),
    request_body = ResetOffsets,
    responses((status = 200, description = "All of them are in the log", body = GroupOffsets), GroupProblems)
)]
pub async fn reset(
    State(front): State<Front>,
    Up(broker): Up,
    GroupPath(id): GroupPath,
    extract::Json(request): extract::Json<ResetOffsets>,
) -> Result<Json<GroupOffsets>, Problem> {
    if request.offsets.is_empty() || request.offsets.len() > 1_000 {
        return Err(Problem::bad_request("1 to 1000 offsets are reset at once"));
    }
    let mut offsets = Vec::new();
    for Object(reset) in &request.offsets {
        resolve_reset(&broker, reset, &mut offsets).await?;
        if offsets.len() > MOST_RESET {
            return Err(Problem::invalid(format!("offsets of at most {MOST_RESET} partitions are reset at once")));
        }
    }
    let nobody = MemberRef { member_id: String::new(), instance_id: None, generation: -1 };
    let results = broker.groups().commit(&id, nobody, offsets).await.map_err(|e| match e {
        GroupError::NotCoordinator | GroupError::CoordinatorNotAvailable => group_problem(&broker, &id, e),
        e => Problem::new(Kind::GROUP_IN_USE, format!("offsets are reset while the group has no members: {e}")),
    })?;
    if let Some(error) = results.into_iter().find_map(Result::err) {
        let kind = match error {
            CommitRefused::UnknownPartition => Kind::NO_PARTITION,
            CommitRefused::OutOfSpace => Kind::UNAVAILABLE,
            CommitRefused::Invalid | CommitRefused::StaleMemberEpoch => Kind::INVALID,
        };
        return Err(Problem::new(kind, error));
    }
    committed(&front, &broker, &id).await.map(Json)
}

async fn resolve_reset(broker: &Broker, reset: &ResetOffset, into: &mut Vec<CommitOffset>) -> Result<(), Problem> {
    let to = From::parse(&reset.to).filter(|to| !matches!(to, From::Positions(_)));
    let to = to.ok_or_else(|| {
        Problem::bad_request("to is earliest, latest, an offset, or time: and milliseconds since the epoch")
    })?;
    let name = TopicName::new(&reset.topic).map_err(Problem::bad_request)?;
    let topic = broker.topic_by_name(&name).await?.ok_or_else(|| Problem::no_topic(name.as_str()))?;
    let partitions: Vec<i32> = match reset.partition {
        None => (0..topic.partitions).collect(),
        Some(partition) if topic.has_partition(partition) => vec![partition],
        Some(partition) => return Err(Problem::no_partition(partition, topic.partitions)),
    };
    if let From::Offset(offset) = to {
        broker.barrier().await?;
        partitions.iter().try_for_each(|partition| check_range(broker, &topic, *partition, offset))?;
    }
    for (partition, offset) in resolve(broker, &topic, &partitions, &to).await?.0 {
        let at = TopicPartition::new(topic.id, partition);
        into.push(CommitOffset { at, offset, leader_epoch: -1, metadata: String::new() });
    }
    Ok(())
}

fn check_range(broker: &Broker, topic: &TopicInfo, partition: i32, offset: i64) -> Result<(), Problem> {
    let range = broker.offset_range(TopicPartition::new(topic.id, partition));
    let (log_start_offset, high_watermark) = range.ok_or_else(|| Problem::no_partition(partition, topic.partitions))?;
    if (log_start_offset..=high_watermark).contains(&offset) {
        return Ok(());
    }
    let error = lakebed_broker::api::FetchError::OutOfRange { offset, log_start_offset, high_watermark };
    Err(Problem::fetch(partition, &error).with("topic", topic.name.as_str()))
}

/// Delete a consumer group without members, with its offsets
#[utoipa::path(
    delete,
    path = "/v1/groups/{group}",
    tag = "groups",
    params(GroupParam),
    responses((status = 204, description = "It is gone"), GroupProblems)
)]
pub async fn delete(Up(broker): Up, GroupPath(id): GroupPath) -> Result<StatusCode, Problem> {
    match broker.groups().delete(&id).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(DeleteError::NonEmpty) => Err(Problem::new(Kind::GROUP_IN_USE, DeleteError::NonEmpty)),
        Err(DeleteError::Group(e)) => Err(group_problem(&broker, &id, e)),
    }
}

fn group_problem(broker: &Broker, id: &GroupId, error: GroupError) -> Problem {
    match error {
        GroupError::NotCoordinator => {
            let at = coordinator(broker, id);
            let which = at.as_deref().unwrap_or("not known yet");
            let detail = format!("{error}; that is the node whose clients use {which}");
            Problem::new(Kind::MISDIRECTED, detail).with("coordinator", at)
        }
        GroupError::GroupIdNotFound | GroupError::UnknownMemberId => {
            Problem::new(Kind::NO_GROUP, "there is no consumer group with this id")
        }
        error => Problem::new(Kind::UNAVAILABLE, error),
    }
}
