//! Of partitions and where they are.

use kafka_protocol::messages::{self as theirs, BrokerId};
use lakebed_kafka::wire::{ApiKey, Request};

use super::{name, through};
use crate::draw::Draw;

fn brokers(d: &mut Draw<'_>) -> Vec<BrokerId> {
    d.vec(|d| BrokerId(d.i32()))
}

pub fn create_partitions(version: i16, d: &mut Draw<'_>) {
    use theirs::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
    let assignment = |d: &mut Draw<'_>| CreatePartitionsAssignment::default().with_broker_ids(brokers(d));
    let topic = |d: &mut Draw<'_>| {
        CreatePartitionsTopic::default()
            .with_name(d.name())
            .with_count(d.i32())
            .with_assignments(d.option(|d| d.vec(assignment)))
    };
    let sent = theirs::CreatePartitionsRequest::default()
        .with_topics(d.vec(topic))
        .with_timeout_ms(d.i32())
        .with_validate_only(d.bool());
    through(ApiKey::CreatePartitions, version, &sent, d, |read| {
        let Request::CreatePartitions(r) = read else { panic!() };
        let topics = r.topics.iter().map(|topic| {
            let assignments = topic.assignments.map(|assignments| {
                let brokers = assignments.iter().map(|a| a.brokers.iter().map(BrokerId).collect());
                brokers.map(|ids| CreatePartitionsAssignment::default().with_broker_ids(ids)).collect()
            });
            CreatePartitionsTopic::default()
                .with_name(name(topic.name))
                .with_count(topic.count)
                .with_assignments(assignments)
        });
        let back = theirs::CreatePartitionsRequest::default()
            .with_topics(topics.collect())
            .with_timeout_ms(r.timeout_ms)
            .with_validate_only(r.validate_only);
        assert_eq!(back, sent);
    });
}

pub fn describe_topic_partitions(version: i16, d: &mut Draw<'_>) {
    use theirs::describe_topic_partitions_request::{Cursor, TopicRequest};
    let sent = theirs::DescribeTopicPartitionsRequest::default()
        .with_topics(d.vec(|d| TopicRequest::default().with_name(d.name())))
        .with_response_partition_limit(d.i32())
        .with_cursor(d.option(|d| Cursor::default().with_topic_name(d.name()).with_partition_index(d.i32())));
    through(ApiKey::DescribeTopicPartitions, version, &sent, d, |read| {
        let Request::DescribeTopicPartitions(r) = read else { panic!() };
        let cursor =
            r.cursor.map(|c| Cursor::default().with_topic_name(name(c.topic)).with_partition_index(c.partition));
        let back = theirs::DescribeTopicPartitionsRequest::default()
            .with_topics(r.topics.iter().map(|t| TopicRequest::default().with_name(name(t.name))).collect())
            .with_response_partition_limit(r.response_partition_limit)
            .with_cursor(cursor);
        assert_eq!(back, sent);
    });
}

pub fn describe_log_dirs(version: i16, d: &mut Draw<'_>) {
    use theirs::describe_log_dirs_request::DescribableLogDirTopic;
    let topic =
        |d: &mut Draw<'_>| DescribableLogDirTopic::default().with_topic(d.name()).with_partitions(d.vec(Draw::i32));
    let sent = theirs::DescribeLogDirsRequest::default().with_topics(d.option(|d| d.vec(topic)));
    through(ApiKey::DescribeLogDirs, version, &sent, d, |read| {
        let Request::DescribeLogDirs(r) = read else { panic!() };
        let topics = r.topics.map(|topics| {
            let topics = topics.iter().map(|t| {
                DescribableLogDirTopic::default()
                    .with_topic(name(t.name))
                    .with_partitions(t.partitions.iter().collect())
            });
            topics.collect()
        });
        assert_eq!(theirs::DescribeLogDirsRequest::default().with_topics(topics), sent);
    });
}

pub fn describe_producers(version: i16, d: &mut Draw<'_>) {
    use theirs::describe_producers_request::TopicRequest;
    let topic = |d: &mut Draw<'_>| TopicRequest::default().with_name(d.name()).with_partition_indexes(d.vec(Draw::i32));
    let sent = theirs::DescribeProducersRequest::default().with_topics(d.vec(topic));
    through(ApiKey::DescribeProducers, version, &sent, d, |read| {
        let Request::DescribeProducers(r) = read else { panic!() };
        let topics = r.topics.iter().map(|t| {
            TopicRequest::default().with_name(name(t.name)).with_partition_indexes(t.partitions.iter().collect())
        });
        assert_eq!(topics.collect::<Vec<_>>(), sent.topics);
    });
}

pub fn elect_leaders(version: i16, d: &mut Draw<'_>) {
    use theirs::elect_leaders_request::TopicPartitions;
    let topic = |d: &mut Draw<'_>| TopicPartitions::default().with_topic(d.name()).with_partitions(d.vec(Draw::i32));
    let sent = theirs::ElectLeadersRequest::default()
        .with_election_type(d.when(version >= 1, 0, Draw::i8))
        .with_topic_partitions(d.option(|d| d.vec(topic)))
        .with_timeout_ms(d.i32());
    through(ApiKey::ElectLeaders, version, &sent, d, |read| {
        let Request::ElectLeaders(r) = read else { panic!() };
        let topics = r.topics.map(|topics| {
            let topics = topics.iter().map(|t| {
                TopicPartitions::default().with_topic(name(t.name)).with_partitions(t.partitions.iter().collect())
            });
            topics.collect()
        });
        let back = theirs::ElectLeadersRequest::default()
            .with_election_type(r.election_type)
            .with_topic_partitions(topics)
            .with_timeout_ms(r.timeout_ms);
        assert_eq!(back, sent);
    });
}

pub fn alter_partition_reassignments(version: i16, d: &mut Draw<'_>) {
    use theirs::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
    let partition = |d: &mut Draw<'_>| {
        ReassignablePartition::default().with_partition_index(d.i32()).with_replicas(d.option(brokers))
    };
    let topic = |d: &mut Draw<'_>| ReassignableTopic::default().with_name(d.name()).with_partitions(d.vec(partition));
    let sent = theirs::AlterPartitionReassignmentsRequest::default()
        .with_timeout_ms(d.i32())
        .with_allow_replication_factor_change(d.when(version >= 1, true, Draw::bool))
        .with_topics(d.vec(topic));
    through(ApiKey::AlterPartitionReassignments, version, &sent, d, |read| {
        let Request::AlterPartitionReassignments(r) = read else { panic!() };
        let topics = r.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|p| {
                ReassignablePartition::default()
                    .with_partition_index(p.index)
                    .with_replicas(p.replicas.map(|replicas| replicas.iter().map(BrokerId).collect()))
            });
            ReassignableTopic::default().with_name(name(topic.name)).with_partitions(partitions.collect())
        });
        let back = theirs::AlterPartitionReassignmentsRequest::default()
            .with_timeout_ms(r.timeout_ms)
            .with_allow_replication_factor_change(r.allow_replication_factor_change)
            .with_topics(topics.collect());
        assert_eq!(back, sent);
    });
}

pub fn list_partition_reassignments(version: i16, d: &mut Draw<'_>) {
    use theirs::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
    let topic = |d: &mut Draw<'_>| {
        ListPartitionReassignmentsTopics::default().with_name(d.name()).with_partition_indexes(d.vec(Draw::i32))
    };
    let sent = theirs::ListPartitionReassignmentsRequest::default()
        .with_timeout_ms(d.i32())
        .with_topics(d.option(|d| d.vec(topic)));
    through(ApiKey::ListPartitionReassignments, version, &sent, d, |read| {
        let Request::ListPartitionReassignments(r) = read else { panic!() };
        let topics = r.topics.map(|topics| {
            let topics = topics.iter().map(|t| {
                ListPartitionReassignmentsTopics::default()
                    .with_name(name(t.name))
                    .with_partition_indexes(t.partitions.iter().collect())
            });
            topics.collect()
        });
        let back =
            theirs::ListPartitionReassignmentsRequest::default().with_timeout_ms(r.timeout_ms).with_topics(topics);
        assert_eq!(back, sent);
    });
}
