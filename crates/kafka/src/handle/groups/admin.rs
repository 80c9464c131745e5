//! ListGroups, DeleteGroups and OffsetDelete.

use lakebed_broker::Broker;
use lakebed_groups::{Description, Members};
use lakebed_record::TopicPartition;

use super::describe::state_name;
use super::{distinct, find_topics, group_id, run_all};
use crate::errors;
use crate::wire::delete_groups::{self, DeleteGroupsRequest, DeletedGroup};
use crate::wire::list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup};
use crate::wire::offset_delete::{OffsetDeleteRequest, OffsetDeleteResponse, OffsetDeleteResponseTopic};
use crate::wire::partitions::PartitionResult;
use crate::wire::produce::TopicRef;
use crate::wire::{ErrorCode, Writer};

/// What a group in a list takes while the answer is made, and in it, besides its id.
const LISTED_BYTES: usize = 256;

pub(in super::super) fn expected_bytes(broker: &Broker) -> usize {
    let (groups, ids) = broker.groups().totals();
    groups * LISTED_BYTES + 2 * ids
}

pub(in super::super) async fn list(broker: &Broker, request: &ListGroupsRequest<'_>, w: &mut Writer) {
    let all = broker.groups().list().await;
    let groups = all.iter().map(|group| {
        let (group_type, protocol_type) = kind(&group.description);
        ListedGroup {
            group_id: group.id.as_str(),
            protocol_type,
            state: state_name(group.description.state),
            group_type,
        }
    });
    let among = |asked: crate::wire::Array<'_, &str>, what: &str| {
        asked.is_empty() || asked.iter().any(|asked| asked.eq_ignore_ascii_case(what))
    };
    let groups = groups.filter(|group| among(request.states, group.state) && among(request.types, group.group_type));
    ListGroupsResponse { error: ErrorCode::None, groups: groups.collect() }.encode(w);
}

/// Type and protocol type, as Kafka writes them. A group that only has offsets is a classic one without protocol.
fn kind(group: &Description) -> (&'static str, &str) {
    match &group.members {
        Members::Simple => ("classic", ""),
        Members::Classic { protocol_type, .. } => ("classic", protocol_type),
        Members::Consumer { .. } => ("consumer", "consumer"),
    }
}

pub(in super::super) async fn delete(broker: &Broker, request: &DeleteGroupsRequest<'_>, w: &mut Writer) {
    let deleted = run_all(distinct(request.groups).map(|group| delete_one(broker, group)).collect());
    delete_groups::encode_response(w, &deleted.await);
}

async fn delete_one<'a>(broker: &Broker, group: &'a str) -> DeletedGroup<'a> {
    let error = match group_id(group) {
        Ok(id) => broker.groups().delete(&id).await.err().map_or(ErrorCode::None, errors::delete_group),
        Err(code) => code,
    };
    DeletedGroup { group_id: group, error }
}

pub(in super::super) async fn delete_offsets(broker: &Broker, request: &OffsetDeleteRequest<'_>, w: &mut Writer) {
    match delete_each(broker, request).await {
        Ok(topics) => OffsetDeleteResponse { error: ErrorCode::None, topics }.encode(w),
        Err(error) => OffsetDeleteResponse { error, topics: Vec::new() }.encode(w),
    }
}

async fn delete_each<'a>(
    broker: &Broker,
    request: &OffsetDeleteRequest<'a>,
) -> Result<Vec<OffsetDeleteResponseTopic<'a>>, ErrorCode> {
    let id = group_id(request.group_id)?;
    let names = request.topics.iter().map(|topic| TopicRef::Name(topic.name)).collect();
    let found = find_topics(broker, names).await.map_err(errors::group_topic)?;
    let place = |name: &'a str, index: i32| {
        let topic = found.get(&TopicRef::Name(name)).filter(|topic| topic.has_partition(index))?;
        Some((name.to_owned(), TopicPartition::new(topic.id, index)))
    };
    let asked: Vec<_> =
        request.topics.iter().flat_map(|t| t.partitions.iter().filter_map(move |index| place(t.name, index))).collect();
    let deleted = broker.groups().delete_offsets(&id, asked).await.map_err(errors::group)?;
    let mut deleted = deleted.into_iter();
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|index| {
            let error = match place(topic.name, index).and_then(|_| deleted.next()) {
                Some(true) => ErrorCode::None,
                Some(false) => ErrorCode::GroupSubscribedToTopic,
                None => ErrorCode::UnknownTopicOrPartition,
            };
            PartitionResult { index, error }
        });
        OffsetDeleteResponseTopic { name: topic.name, partitions: partitions.collect() }
    });
    Ok(topics.collect())
}
