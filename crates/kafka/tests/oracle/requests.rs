//! Requests: written by the oracle, read here, put back into the oracle's words and compared.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages as theirs;
use kafka_protocol::messages::{BrokerId, TopicName};
use kafka_protocol::protocol::{Encodable, StrBytes};
use lakebed_kafka::wire::api::TABLE;
use lakebed_kafka::wire::produce::TopicRef;
use lakebed_kafka::wire::{ApiKey, Request, RequestHeader};
use lakebed_record::TopicId;
use proptest::prelude::*;
use uuid::Uuid;

use crate::draw::Draw;
use crate::golden::{Message, known};

mod admin;
mod configs;
mod groups;
mod offsets;

/// Writes a body with the oracle and reads it, behind a header too if it is served. What was read is handed on.
fn through<M: Encodable>(api: ApiKey, version: i16, message: &M, draw: &mut Draw<'_>, check: impl FnOnce(Request<'_>)) {
    let mut body = BytesMut::new();
    message.encode(&mut body, version).unwrap_or_else(|e| panic!("{api} {version}: {e}"));
    if TABLE.iter().any(|row| row.api == api) {
        check_header(api, version, &body, draw);
    }
    check(Request::decode(api, version, &body).unwrap_or_else(|e| panic!("{api} {version}: {e}")));
    // Long ones only repeat what short ones show.
    for len in 0..body.len().min(300) {
        assert!(Request::decode(api, version, &body[..len]).is_err(), "{api} {version} cut at {len}");
    }
}

fn check_header(api: ApiKey, version: i16, body: &[u8], draw: &mut Draw<'_>) {
    let (correlation_id, client_id) = (draw.i32(), draw.option(|d| d.string()));
    let key = theirs::ApiKey::try_from(api as i16).unwrap();
    let header = theirs::RequestHeader::default()
        .with_request_api_key(api as i16)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(client_id.clone());
    let mut frame = BytesMut::new();
    header.encode(&mut frame, key.request_header_version(version)).unwrap();
    frame.extend_from_slice(body);
    let (read, rest) = RequestHeader::decode(&frame).unwrap();
    assert_eq!((read.api_key, read.api_version, read.correlation_id), (api as i16, version, correlation_id));
    assert_eq!(read.client_id, client_id.as_deref());
    assert_eq!(rest, body);
}

fn string(s: &str) -> StrBytes {
    s.to_owned().into()
}

fn name(s: &str) -> TopicName {
    TopicName(string(s))
}

fn id_of(topic: TopicRef<'_>) -> (TopicName, Uuid) {
    match topic {
        TopicRef::Name(s) => (name(s), Uuid::nil()),
        TopicRef::Id(TopicId(id)) => (TopicName::default(), Uuid::from_u128(id)),
    }
}

fn api_versions(version: i16, d: &mut Draw<'_>) {
    let sent = theirs::ApiVersionsRequest::default()
        .with_client_software_name(d.when(version >= 3, StrBytes::default(), Draw::string))
        .with_client_software_version(d.when(version >= 3, StrBytes::default(), Draw::string));
    through(ApiKey::ApiVersions, version, &sent, d, |read| {
        let Request::ApiVersions(r) = read else { panic!() };
        assert_eq!(sent.client_software_name, string(r.client_software_name));
        assert_eq!(sent.client_software_version, string(r.client_software_version));
    });
}

fn metadata(version: i16, d: &mut Draw<'_>) {
    let topic = |d: &mut Draw<'_>| {
        let name = d.name();
        theirs::metadata_request::MetadataRequestTopic::default()
            .with_topic_id(d.when(version >= 10, Uuid::nil(), Draw::uuid))
            .with_name(if version >= 10 && d.bool() { None } else { Some(name) })
    };
    let topics = d.vec(topic);
    let sent = theirs::MetadataRequest::default()
        .with_topics(if version >= 1 && d.bool() { None } else { Some(topics) })
        .with_allow_auto_topic_creation(d.when(version >= 4, true, Draw::bool))
        .with_include_cluster_authorized_operations(d.when((8..=10).contains(&version), false, Draw::bool))
        .with_include_topic_authorized_operations(d.when(version >= 8, false, Draw::bool));
    through(ApiKey::Metadata, version, &sent, d, |read| {
        let Request::Metadata(r) = read else { panic!() };
        assert_eq!(r.allow_auto_topic_creation, sent.allow_auto_topic_creation);
        let asked = sent.topics.clone().filter(|topics| version >= 1 || !topics.is_empty());
        assert_eq!(r.topics.is_some(), asked.is_some());
        let read = r.topics.into_iter().flatten().map(|topic| (topic.id.0, topic.name.map(name)));
        let asked = asked.into_iter().flatten().map(|topic| (topic.topic_id.as_u128(), topic.name));
        assert!(read.eq(asked));
    });
}

fn produce(version: i16, d: &mut Draw<'_>) {
    use theirs::produce_request::{PartitionProduceData, TopicProduceData};
    let partition =
        |d: &mut Draw<'_>| PartitionProduceData::default().with_index(d.i32()).with_records(d.option(Draw::bytes));
    let topic = |d: &mut Draw<'_>| {
        TopicProduceData::default()
            .with_name(d.when(version < 13, TopicName::default(), Draw::name))
            .with_topic_id(d.when(version >= 13, Uuid::nil(), Draw::uuid))
            .with_partition_data(d.vec(partition))
    };
    let sent = theirs::ProduceRequest::default()
        .with_transactional_id(d.option(|d| theirs::TransactionalId(d.string())))
        .with_acks(d.i16())
        .with_timeout_ms(d.i32())
        .with_topic_data(d.vec(topic));
    through(ApiKey::Produce, version, &sent, d, |read| {
        let Request::Produce(r) = read else { panic!() };
        let topics = r.topics.iter().map(|topic| {
            let (name, id) = id_of(topic.topic);
            let partitions = topic.partitions.iter().map(|partition| {
                PartitionProduceData::default()
                    .with_index(partition.index)
                    .with_records(partition.records.map(Bytes::copy_from_slice))
            });
            TopicProduceData::default().with_name(name).with_topic_id(id).with_partition_data(partitions.collect())
        });
        let back = theirs::ProduceRequest::default()
            .with_transactional_id(r.transactional_id.map(|id| theirs::TransactionalId(string(id))))
            .with_acks(r.acks)
            .with_timeout_ms(r.timeout_ms)
            .with_topic_data(topics.collect());
        assert_eq!(back, sent);
    });
}

fn fetch(version: i16, d: &mut Draw<'_>) {
    use theirs::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic, ReplicaState};
    let partition = |d: &mut Draw<'_>| {
        FetchPartition::default()
            .with_partition(d.i32())
            .with_current_leader_epoch(d.when(version >= 9, -1, Draw::i32))
            .with_fetch_offset(d.i64())
            .with_last_fetched_epoch(d.when(version >= 12, -1, Draw::i32))
            .with_log_start_offset(d.when(version >= 5, -1, Draw::i64))
            .with_partition_max_bytes(d.i32())
            .with_replica_directory_id(d.when(version >= 17, Uuid::nil(), Draw::uuid))
            .with_high_watermark(d.when(version >= 18, i64::MAX, Draw::i64))
    };
    let topic = |d: &mut Draw<'_>| {
        FetchTopic::default()
            .with_topic(d.when(version < 13, TopicName::default(), Draw::name))
            .with_topic_id(d.when(version >= 13, Uuid::nil(), Draw::uuid))
            .with_partitions(d.vec(partition))
    };
    let forgotten = |d: &mut Draw<'_>| {
        ForgottenTopic::default()
            .with_topic(d.when(version < 13, TopicName::default(), Draw::name))
            .with_topic_id(d.when(version >= 13, Uuid::nil(), Draw::uuid))
            .with_partitions(d.vec(Draw::i32))
    };
    let sent = theirs::FetchRequest::default()
        .with_cluster_id(d.when(version >= 12, None, |d| d.option(Draw::string)))
        .with_replica_id(BrokerId(d.when(version < 15, -1, Draw::i32)))
        .with_replica_state(d.when(version >= 15, ReplicaState::default(), |d| {
            ReplicaState::default().with_replica_id(BrokerId(d.i32())).with_replica_epoch(d.i64())
        }))
        .with_max_wait_ms(d.i32())
        .with_min_bytes(d.i32())
        .with_max_bytes(d.i32())
        .with_isolation_level(d.i8())
        .with_session_id(d.when(version >= 7, 0, Draw::i32))
        .with_session_epoch(d.when(version >= 7, -1, Draw::i32))
        .with_topics(d.vec(topic))
        .with_forgotten_topics_data(d.when(version >= 7, Vec::new(), |d| d.vec(forgotten)))
        .with_rack_id(d.when(version >= 11, StrBytes::default(), Draw::string));
    through(ApiKey::Fetch, version, &sent, d, |read| {
        let Request::Fetch(r) = read else { panic!() };
        let read = (r.max_wait_ms, r.min_bytes, r.max_bytes, r.isolation_level, r.session_id, r.session_epoch);
        let s = &sent;
        let asked = (s.max_wait_ms, s.min_bytes, s.max_bytes, s.isolation_level, s.session_id, s.session_epoch);
        assert_eq!(read, asked);
        let read: Vec<_> = r.topics.iter().map(|t| (id_of(t.topic), t.partitions.iter().collect::<Vec<_>>())).collect();
        assert_eq!(read.len(), s.topics.len());
        for ((topic, partitions), asked) in read.into_iter().zip(&s.topics) {
            assert_eq!(topic, (asked.topic.clone(), asked.topic_id));
            let read = partitions.iter().map(|p| (p.index, p.current_leader_epoch, p.offset, p.max_bytes));
            let asked = asked.partitions.iter();
            let asked = asked.map(|p| (p.partition, p.current_leader_epoch, p.fetch_offset, p.partition_max_bytes));
            assert!(read.eq(asked));
        }
        let read = r.forgotten.iter().map(|t| (id_of(t.topic), t.partitions.iter().collect::<Vec<_>>()));
        let asked = s.forgotten_topics_data.iter();
        assert!(read.eq(asked.map(|t| ((t.topic.clone(), t.topic_id), t.partitions.clone()))));
    });
}

fn list_offsets(version: i16, d: &mut Draw<'_>) {
    use theirs::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
    let partition = |d: &mut Draw<'_>| {
        ListOffsetsPartition::default()
            .with_partition_index(d.i32())
            .with_current_leader_epoch(d.when(version >= 4, -1, Draw::i32))
            .with_timestamp(d.i64())
    };
    let topic = |d: &mut Draw<'_>| ListOffsetsTopic::default().with_name(d.name()).with_partitions(d.vec(partition));
    let sent = theirs::ListOffsetsRequest::default()
        .with_replica_id(BrokerId(d.i32()))
        .with_isolation_level(d.when(version >= 2, 0, Draw::i8))
        .with_topics(d.vec(topic))
        .with_timeout_ms(d.when(version >= 10, 0, Draw::i32));
    through(ApiKey::ListOffsets, version, &sent, d, |read| {
        let Request::ListOffsets(r) = read else { panic!() };
        assert_eq!(r.isolation_level, sent.isolation_level);
        let topics = r.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|p| {
                ListOffsetsPartition::default()
                    .with_partition_index(p.index)
                    .with_current_leader_epoch(p.current_leader_epoch)
                    .with_timestamp(p.timestamp)
            });
            ListOffsetsTopic::default().with_name(name(topic.name)).with_partitions(partitions.collect())
        });
        assert_eq!(topics.collect::<Vec<_>>(), sent.topics);
    });
}

fn init_producer_id(version: i16, d: &mut Draw<'_>) {
    let sent = theirs::InitProducerIdRequest::default()
        .with_transactional_id(d.option(|d| theirs::TransactionalId(d.string())))
        .with_transaction_timeout_ms(d.i32())
        .with_producer_id(theirs::ProducerId(d.when(version >= 3, -1, Draw::i64)))
        .with_producer_epoch(d.when(version >= 3, -1, Draw::i16));
    through(ApiKey::InitProducerId, version, &sent, d, |read| {
        let Request::InitProducerId(r) = read else { panic!() };
        let back = theirs::InitProducerIdRequest::default()
            .with_transactional_id(r.transactional_id.map(|id| theirs::TransactionalId(string(id))))
            .with_transaction_timeout_ms(r.transaction_timeout_ms)
            .with_producer_id(theirs::ProducerId(r.producer_id))
            .with_producer_epoch(r.producer_epoch);
        assert_eq!(back, sent);
    });
}

fn create_topics(version: i16, d: &mut Draw<'_>) {
    use theirs::create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig};
    let assignment = |d: &mut Draw<'_>| {
        CreatableReplicaAssignment::default()
            .with_partition_index(d.i32())
            .with_broker_ids(d.vec(|d| BrokerId(d.i32())))
    };
    let config =
        |d: &mut Draw<'_>| CreatableTopicConfig::default().with_name(d.string()).with_value(d.option(Draw::string));
    let topic = |d: &mut Draw<'_>| {
        CreatableTopic::default()
            .with_name(d.name())
            .with_num_partitions(d.i32())
            .with_replication_factor(d.i16())
            .with_assignments(d.vec(assignment))
            .with_configs(d.vec(config))
    };
    let sent = theirs::CreateTopicsRequest::default()
        .with_topics(d.vec(topic))
        .with_timeout_ms(d.i32())
        .with_validate_only(d.bool());
    through(ApiKey::CreateTopics, version, &sent, d, |read| {
        let Request::CreateTopics(r) = read else { panic!() };
        let topics = r.topics.iter().map(|topic| {
            let assignments = topic.assignments.iter().map(|a| {
                CreatableReplicaAssignment::default()
                    .with_partition_index(a.partition)
                    .with_broker_ids(a.brokers.iter().map(BrokerId).collect())
            });
            let configs = topic
                .configs
                .iter()
                .map(|c| CreatableTopicConfig::default().with_name(string(c.name)).with_value(c.value.map(string)));
            CreatableTopic::default()
                .with_name(name(topic.name))
                .with_num_partitions(topic.partitions)
                .with_replication_factor(topic.replication_factor)
                .with_assignments(assignments.collect())
                .with_configs(configs.collect())
        });
        let back = theirs::CreateTopicsRequest::default()
            .with_topics(topics.collect())
            .with_timeout_ms(r.timeout_ms)
            .with_validate_only(r.validate_only);
        assert_eq!(back, sent);
    });
}

fn delete_topics(version: i16, d: &mut Draw<'_>) {
    use theirs::delete_topics_request::DeleteTopicState;
    let topic = |d: &mut Draw<'_>| DeleteTopicState::default().with_name(d.option(Draw::name)).with_topic_id(d.uuid());
    let sent = theirs::DeleteTopicsRequest::default()
        .with_topics(d.when(version >= 6, Vec::new(), |d| d.vec(topic)))
        .with_topic_names(d.when(version < 6, Vec::new(), |d| d.vec(Draw::name)))
        .with_timeout_ms(d.i32());
    through(ApiKey::DeleteTopics, version, &sent, d, |read| {
        let Request::DeleteTopics(r) = read else { panic!() };
        assert_eq!(r.timeout_ms, sent.timeout_ms);
        let read = r.topics.iter().map(|topic| (topic.name.map(name), topic.id.0));
        let named = sent.topic_names.iter().map(|name| (Some(name.clone()), 0));
        let asked = sent.topics.iter().map(|topic| (topic.name.clone(), topic.topic_id.as_u128()));
        assert!(read.eq(named.chain(asked)));
    });
}

fn describe_cluster(version: i16, d: &mut Draw<'_>) {
    let sent = theirs::DescribeClusterRequest::default()
        .with_include_cluster_authorized_operations(d.bool())
        .with_endpoint_type(d.when(version >= 1, 1, Draw::i8))
        .with_include_fenced_brokers(d.when(version >= 2, false, Draw::bool));
    through(ApiKey::DescribeCluster, version, &sent, d, |read| {
        let Request::DescribeCluster(r) = read else { panic!() };
        assert_eq!(r.endpoint_type, sent.endpoint_type);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_the_oracle_writes_is_read_the_same(bytes in proptest::collection::vec(any::<u8>(), 0..1500)) {
        for row in TABLE {
            let check = match row.api {
                ApiKey::Produce => produce,
                ApiKey::Fetch => fetch,
                ApiKey::ListOffsets => list_offsets,
                ApiKey::Metadata => metadata,
                ApiKey::ApiVersions => api_versions,
                ApiKey::CreateTopics => create_topics,
                ApiKey::DeleteTopics => delete_topics,
                ApiKey::InitProducerId => init_producer_id,
                ApiKey::DescribeCluster => describe_cluster,
                ApiKey::OffsetCommit => offsets::offset_commit,
                ApiKey::OffsetFetch => offsets::offset_fetch,
                ApiKey::OffsetDelete => offsets::offset_delete,
                ApiKey::OffsetForLeaderEpoch => offsets::offset_for_leader_epoch,
                ApiKey::DeleteRecords => offsets::delete_records,
                ApiKey::FindCoordinator => groups::find_coordinator,
                ApiKey::JoinGroup => groups::join_group,
                ApiKey::Heartbeat => groups::heartbeat,
                ApiKey::LeaveGroup => groups::leave_group,
                ApiKey::SyncGroup => groups::sync_group,
                ApiKey::DescribeGroups => groups::describe_groups,
                ApiKey::ListGroups => groups::list_groups,
                ApiKey::DeleteGroups => groups::delete_groups,
                ApiKey::ConsumerGroupHeartbeat => groups::consumer_group_heartbeat,
                ApiKey::ConsumerGroupDescribe => groups::consumer_group_describe,
                ApiKey::DescribeConfigs => configs::describe_configs,
                ApiKey::AlterConfigs => configs::alter_configs,
                ApiKey::IncrementalAlterConfigs => configs::incremental_alter_configs,
                ApiKey::ListConfigResources => configs::list_config_resources,
                ApiKey::DescribeLogDirs => admin::describe_log_dirs,
                ApiKey::CreatePartitions => admin::create_partitions,
                ApiKey::ElectLeaders => admin::elect_leaders,
                ApiKey::AlterPartitionReassignments => admin::alter_partition_reassignments,
                ApiKey::ListPartitionReassignments => admin::list_partition_reassignments,
                ApiKey::DescribeProducers => admin::describe_producers,
                ApiKey::DescribeTopicPartitions => admin::describe_topic_partitions,
            };
            for version in known(row, Message::Request) {
                check(version, &mut Draw::new(&bytes));
            }
        }
    }
}
