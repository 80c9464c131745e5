//! ElectLeaders, AlterPartitionReassignments, ListPartitionReassignments. Any node serves every partition, and the store keeps the
//! records: there is nothing to elect or to move.

use lakebed_broker::Broker;
use lakebed_broker::api::TopicInfo;

use super::find_topic;
use crate::handle::topics::Refused;
use crate::wire::elect_leaders::{ElectLeadersRequest, ElectLeadersResponse, PREFERRED};
use crate::wire::partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ListPartitionReassignmentsRequest,
    ReassignedPartition, encode_no_reassignments,
};
use crate::wire::partitions::{ExplainedPartition, ExplainedTopic};
use crate::wire::{ErrorCode, Writer};

/// For one that is not in sync.
const UNCLEAN: i8 = 1;
/// What a partition takes while it is answered, and in the answer; and a topic besides its name.
const PARTITION_BYTES: usize = 256;
const TOPIC_BYTES: usize = 96;

/// What answering about so many topics and partitions takes at most, in a request of `size` bytes.
fn most_bytes(topics: usize, partitions: usize, size: usize) -> usize {
    size + topics * TOPIC_BYTES + partitions * PARTITION_BYTES
}

pub(in crate::handle) fn most_elected(request: &ElectLeadersRequest<'_>, size: usize) -> usize {
    let topics = request.topics.iter().flat_map(|topics| topics.iter());
    most_bytes(request.topics.map_or(0, |topics| topics.len()), topics.map(|t| t.partitions.len()).sum(), size)
}

pub(in crate::handle) fn most_reassigned(request: &AlterPartitionReassignmentsRequest<'_>, size: usize) -> usize {
    most_bytes(request.topics.len(), request.topics.iter().map(|topic| topic.partitions.len()).sum(), size)
}

pub(in crate::handle) async fn elect(broker: &Broker, request: &ElectLeadersRequest<'_>, w: &mut Writer) {
    if ![PREFERRED, UNCLEAN].contains(&request.election_type) {
        return ElectLeadersResponse { error: ErrorCode::InvalidRequest, topics: Vec::new() }.encode(w);
    }
    // Asked about all, Apache Kafka tells only of those whose leader changes.
    let asked: Vec<_> = request.topics.iter().flat_map(|topics| topics.iter()).collect();
    let mut topics = Vec::new();
    for topic in asked {
        let found = find_topic(broker, topic.name).await;
        let not_needed = || (ErrorCode::ElectionNotNeeded, "any node serves every partition".to_owned());
        let partitions = topic.partitions.iter().map(|p| explain(&found, p, not_needed));
        topics.push(ExplainedTopic { name: topic.name, partitions: partitions.collect() });
    }
    ElectLeadersResponse { error: ErrorCode::None, topics }.encode(w);
}

pub(in crate::handle) async fn reassign(
    broker: &Broker,
    request: &AlterPartitionReassignmentsRequest<'_>,
    w: &mut Writer,
) {
    let nodes = broker.nodes().await;
    let mut topics = Vec::new();
    for topic in request.topics {
        let found = find_topic(broker, topic.name).await;
        let leader = |index| found.as_ref().map_or(-1, |topic| nodes.leader(topic.id, index).0);
        let partitions =
            topic.partitions.iter().map(|p| explain(&found, p.index, || reassignment(&p, leader(p.index))));
        topics.push(ExplainedTopic { name: topic.name, partitions: partitions.collect() });
    }
    let response = AlterPartitionReassignmentsResponse {
        allow_replication_factor_change: request.allow_replication_factor_change,
        error: ErrorCode::None,
        error_message: None,
        topics,
    };
    response.encode(w);
}

/// What clients are told is a replica may be one again.
fn reassignment(asked: &ReassignedPartition<'_>, leader: i32) -> (ErrorCode, String) {
    match asked.replicas {
        None => (ErrorCode::NoReassignmentInProgress, "partitions never move".to_owned()),
        Some(replicas) if replicas.iter().eq([leader]) => (ErrorCode::None, String::new()),
        Some(_) => {
            let why = "the object store keeps the records and any node serves every partition: none is assigned";
            (ErrorCode::InvalidReplicaAssignment, why.to_owned())
        }
    }
}

fn explain(
    topic: &Result<TopicInfo, Refused>,
    index: i32,
    of_known: impl FnOnce() -> (ErrorCode, String),
) -> ExplainedPartition {
    let (error, message) = match topic {
        Ok(topic) if topic.has_partition(index) => of_known(),
        Ok(_) => (ErrorCode::UnknownTopicOrPartition, "no such partition".to_owned()),
        Err(refused) => (refused.code, refused.message.clone().unwrap_or_default()),
    };
    ExplainedPartition { index, error, error_message: (!message.is_empty()).then_some(message) }
}

pub(in crate::handle) fn list_reassignments(_: &ListPartitionReassignmentsRequest<'_>, w: &mut Writer) {
    encode_no_reassignments(w, ErrorCode::None);
}
