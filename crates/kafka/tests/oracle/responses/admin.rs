//! Of partitions and where they are.

use kafka_protocol::messages::{self as theirs, BrokerId, ProducerId};
use lakebed_kafka::wire::create_partitions::GrownTopic;
use lakebed_kafka::wire::describe_log_dirs::{DescribeLogDirsResponse, LogDir, LogDirPartition, LogDirTopic};
use lakebed_kafka::wire::describe_producers::{ActiveProducer, DescribedProducers, DescribedProducersTopic};
use lakebed_kafka::wire::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsResponse, DescribedPartition, DescribedTopic,
};
use lakebed_kafka::wire::elect_leaders::ElectLeadersResponse;
use lakebed_kafka::wire::partition_reassignments::{AlterPartitionReassignmentsResponse, encode_no_reassignments};
use lakebed_kafka::wire::partitions::{ExplainedPartition, ExplainedTopic};
use lakebed_kafka::wire::{ApiKey, create_partitions, describe_producers};
use lakebed_record::TopicId;

use super::{error, name, since, string, through, uuid};
use crate::draw::Draw;

pub fn create_partitions(version: i16, d: &mut Draw<'_>) {
    use theirs::create_partitions_response::CreatePartitionsTopicResult;
    let ours = d.vec(|d| GrownTopic { name: d.str(), error: error(d), error_message: d.option(Draw::text) });
    let results = ours.iter().map(|topic| {
        CreatePartitionsTopicResult::default()
            .with_name(name(topic.name))
            .with_error_code(topic.error as i16)
            .with_error_message(topic.error_message.as_deref().map(string))
    });
    let expected = theirs::CreatePartitionsResponse::default().with_results(results.collect());
    through(ApiKey::CreatePartitions, version, |w| create_partitions::encode_response(w, &ours), expected);
}

pub fn describe_topic_partitions(version: i16, d: &mut Draw<'_>) {
    use theirs::describe_topic_partitions_response as r;
    let partition = |d: &mut Draw<'_>| DescribedPartition { error: error(d), index: d.i32(), leader: d.i32() };
    let topic = |d: &mut Draw<'_>| DescribedTopic {
        error: error(d),
        name: d.str(),
        id: TopicId(d.uuid().as_u128()),
        partitions: d.vec(partition),
    };
    let ours = DescribeTopicPartitionsResponse {
        topics: d.vec(topic),
        next_cursor: d.option(|d| Cursor { topic: d.str(), partition: d.i32() }),
    };
    let partition = |p: &DescribedPartition| {
        let replicas = vec![BrokerId(p.leader)];
        r::DescribeTopicPartitionsResponsePartition::default()
            .with_error_code(p.error as i16)
            .with_partition_index(p.index)
            .with_leader_id(BrokerId(p.leader))
            .with_leader_epoch(0)
            .with_replica_nodes(replicas.clone())
            .with_isr_nodes(replicas)
            .with_eligible_leader_replicas(Some(Vec::new()))
            .with_last_known_elr(Some(Vec::new()))
    };
    let topics = ours.topics.iter().map(|topic| {
        r::DescribeTopicPartitionsResponseTopic::default()
            .with_error_code(topic.error as i16)
            .with_name(Some(name(topic.name)))
            .with_topic_id(uuid(topic.id))
            .with_partitions(topic.partitions.iter().map(partition).collect())
    });
    let cursor =
        ours.next_cursor.map(|c| r::Cursor::default().with_topic_name(name(c.topic)).with_partition_index(c.partition));
    let expected =
        theirs::DescribeTopicPartitionsResponse::default().with_topics(topics.collect()).with_next_cursor(cursor);
    through(ApiKey::DescribeTopicPartitions, version, |w| ours.encode(w), expected);
}

pub fn describe_log_dirs(version: i16, d: &mut Draw<'_>) {
    use theirs::describe_log_dirs_response as r;
    let partition = |d: &mut Draw<'_>| LogDirPartition { index: d.i32(), size: d.i64() };
    let topic = |d: &mut Draw<'_>| LogDirTopic { name: d.str(), partitions: d.vec(partition) };
    let dir = |d: &mut Draw<'_>| LogDir {
        error: error(d),
        path: d.str(),
        topics: d.vec(topic),
        total_bytes: d.i64(),
        usable_bytes: d.i64(),
    };
    let ours = DescribeLogDirsResponse { error: error(d), dirs: d.vec(dir) };
    let topic = |topic: &LogDirTopic<'_>| {
        let partitions = topic
            .partitions
            .iter()
            .map(|p| r::DescribeLogDirsPartition::default().with_partition_index(p.index).with_partition_size(p.size));
        r::DescribeLogDirsTopic::default().with_name(name(topic.name)).with_partitions(partitions.collect())
    };
    let results = ours.dirs.iter().map(|dir| {
        r::DescribeLogDirsResult::default()
            .with_error_code(dir.error as i16)
            .with_log_dir(string(dir.path))
            .with_topics(dir.topics.iter().map(topic).collect())
            .with_total_bytes(since(version >= 4, dir.total_bytes, -1))
            .with_usable_bytes(since(version >= 4, dir.usable_bytes, -1))
    });
    let expected = theirs::DescribeLogDirsResponse::default()
        .with_error_code(since(version >= 3, ours.error as i16, 0))
        .with_results(results.collect());
    through(ApiKey::DescribeLogDirs, version, |w| ours.encode(w), expected);
}

pub fn describe_producers(version: i16, d: &mut Draw<'_>) {
    use theirs::describe_producers_response as r;
    let producer = |d: &mut Draw<'_>| ActiveProducer {
        id: d.i64(),
        epoch: d.i32(),
        last_sequence: d.i32(),
        last_timestamp: d.i64(),
    };
    let partition = |d: &mut Draw<'_>| DescribedProducers {
        index: d.i32(),
        error: error(d),
        error_message: d.option(Draw::text),
        active: d.vec(producer),
    };
    let ours = d.vec(|d| DescribedProducersTopic { name: d.str(), partitions: d.vec(partition) });
    let producer = |p: &ActiveProducer| {
        r::ProducerState::default()
            .with_producer_id(ProducerId(p.id))
            .with_producer_epoch(p.epoch)
            .with_last_sequence(p.last_sequence)
            .with_last_timestamp(p.last_timestamp)
            .with_coordinator_epoch(-1)
            .with_current_txn_start_offset(-1)
    };
    let topics = ours.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|p| {
            r::PartitionResponse::default()
                .with_partition_index(p.index)
                .with_error_code(p.error as i16)
                .with_error_message(p.error_message.as_deref().map(string))
                .with_active_producers(p.active.iter().map(producer).collect())
        });
        r::TopicResponse::default().with_name(name(topic.name)).with_partitions(partitions.collect())
    });
    let expected = theirs::DescribeProducersResponse::default().with_topics(topics.collect());
    through(ApiKey::DescribeProducers, version, |w| describe_producers::encode_response(w, &ours), expected);
}

fn explained(d: &mut Draw<'_>) -> Vec<ExplainedTopic<'static>> {
    let partition =
        |d: &mut Draw<'_>| ExplainedPartition { index: d.i32(), error: error(d), error_message: d.option(Draw::text) };
    d.vec(|d| ExplainedTopic { name: d.str(), partitions: d.vec(partition) })
}

pub fn elect_leaders(version: i16, d: &mut Draw<'_>) {
    use theirs::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
    let ours = ElectLeadersResponse { error: error(d), topics: explained(d) };
    let topics = ours.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|p| {
            PartitionResult::default()
                .with_partition_id(p.index)
                .with_error_code(p.error as i16)
                .with_error_message(p.error_message.as_deref().map(string))
        });
        ReplicaElectionResult::default().with_topic(name(topic.name)).with_partition_result(partitions.collect())
    });
    let expected = theirs::ElectLeadersResponse::default()
        .with_error_code(since(version >= 1, ours.error as i16, 0))
        .with_replica_election_results(topics.collect());
    through(ApiKey::ElectLeaders, version, |w| ours.encode(w), expected);
}

pub fn alter_partition_reassignments(version: i16, d: &mut Draw<'_>) {
    use theirs::alter_partition_reassignments_response::{ReassignablePartitionResponse, ReassignableTopicResponse};
    let ours = AlterPartitionReassignmentsResponse {
        allow_replication_factor_change: d.bool(),
        error: error(d),
        error_message: d.option(Draw::text),
        topics: explained(d),
    };
    let topics = ours.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|p| {
            ReassignablePartitionResponse::default()
                .with_partition_index(p.index)
                .with_error_code(p.error as i16)
                .with_error_message(p.error_message.as_deref().map(string))
        });
        ReassignableTopicResponse::default().with_name(name(topic.name)).with_partitions(partitions.collect())
    });
    let expected = theirs::AlterPartitionReassignmentsResponse::default()
        .with_allow_replication_factor_change(since(version >= 1, ours.allow_replication_factor_change, true))
        .with_error_code(ours.error as i16)
        .with_error_message(ours.error_message.as_deref().map(string))
        .with_responses(topics.collect());
    through(ApiKey::AlterPartitionReassignments, version, |w| ours.encode(w), expected);
}

pub fn list_partition_reassignments(version: i16, d: &mut Draw<'_>) {
    let error = error(d);
    let expected =
        theirs::ListPartitionReassignmentsResponse::default().with_error_code(error as i16).with_error_message(None);
    through(ApiKey::ListPartitionReassignments, version, |w| encode_no_reassignments(w, error), expected);
}
