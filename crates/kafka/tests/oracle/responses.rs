//! Responses: written here, read by the oracle, compared field by field.

use std::fmt::Debug;

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages as theirs;
use kafka_protocol::messages::{BrokerId, ProducerId, TopicName};
use kafka_protocol::protocol::{Decodable, StrBytes};
use lakebed_kafka::wire::api::TABLE;
use lakebed_kafka::wire::create_topics::{ConfigSource, CreatedTopic, TopicSetting};
use lakebed_kafka::wire::delete_topics::DeletedTopic;
use lakebed_kafka::wire::describe_cluster::DescribeClusterResponse;
use lakebed_kafka::wire::fetch::{FetchResponse, FetchResponsePartition, FetchResponseTopic};
use lakebed_kafka::wire::init_producer_id::InitProducerIdResponse;
use lakebed_kafka::wire::list_offsets::{ListOffsetsResponsePartition, ListOffsetsResponseTopic};
use lakebed_kafka::wire::metadata::{MetadataResponse, MetadataTopic, Node};
use lakebed_kafka::wire::produce::{ProduceResponsePartition, ProduceResponseTopic, TopicRef};
use lakebed_kafka::wire::{
    ApiKey, ErrorCode, Writer, api_versions, create_topics, delete_topics, list_offsets, produce,
};
use lakebed_record::TopicId;
use proptest::prelude::*;
use uuid::Uuid;

use crate::draw::Draw;
use crate::golden::{Message, known};

mod admin;
mod configs;
mod groups;
mod offsets;

/// Writes a frame here, reads it with the oracle and compares.
fn through<M: Decodable + Debug + PartialEq>(api: ApiKey, version: i16, write: impl FnOnce(&mut Writer), expected: M) {
    let served = api.served();
    let tags = served.response_header_has_tags(version);
    let mut w = Writer::new(77, version, served.is_flexible(version), tags);
    write(&mut w);
    let reply = w.finish();
    let mut frame: BytesMut = reply.pieces.iter().flatten().copied().collect();
    assert_eq!(frame.len(), reply.len);
    assert_eq!(frame.get_i32() as usize, frame.len());
    let key = theirs::ApiKey::try_from(api as i16).unwrap();
    let mut frame = frame.freeze();
    let header = theirs::ResponseHeader::decode(&mut frame, key.response_header_version(version)).unwrap();
    assert_eq!(header.correlation_id, 77);
    let read = M::decode(&mut frame, version).unwrap_or_else(|e| panic!("{api} {version}: {e}"));
    assert_eq!(read, expected, "{api} {version}");
    assert!(frame.is_empty(), "{api} {version}: {} bytes too many", frame.len());
}

fn error(d: &mut Draw<'_>) -> ErrorCode {
    [ErrorCode::None, ErrorCode::UnknownServerError, ErrorCode::RequestTimedOut, ErrorCode::UnknownTopicId][d.below(4)]
}

fn since<T>(has: bool, value: T, default: T) -> T {
    if has { value } else { default }
}

fn name(s: &str) -> TopicName {
    TopicName(string(s))
}

fn string(s: &str) -> StrBytes {
    s.to_owned().into()
}

fn uuid(id: TopicId) -> Uuid {
    id.uuid()
}

/// As a response of that version has to name it.
fn topic_ref<'a>(text: &'a str, id: u128, by_id: bool) -> (TopicRef<'a>, TopicName, Uuid) {
    match by_id {
        true => (TopicRef::Id(TopicId(id)), TopicName::default(), Uuid::from_u128(id)),
        false => (TopicRef::Name(text), name(text), Uuid::nil()),
    }
}

fn check_api_versions(version: i16, d: &mut Draw<'_>) {
    let error = error(d);
    let listed = TABLE.map(|row| {
        theirs::api_versions_response::ApiVersion::default()
            .with_api_key(row.api as i16)
            .with_min_version(row.listed_from)
            .with_max_version(row.max)
    });
    let expected = theirs::ApiVersionsResponse::default().with_error_code(error as i16).with_api_keys(listed.to_vec());
    through(ApiKey::ApiVersions, version, |w| api_versions::encode_response(w, error), expected);
}

fn check_metadata(version: i16, d: &mut Draw<'_>) {
    use theirs::metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic};
    let (hosts, cluster_id, node_id) = (d.vec(|d| (d.i32(), d.text(), d.i16() as u16)), d.text(), d.i32());
    let nodes: Vec<_> = hosts.iter().map(|(id, host, port)| Node { id: *id, host, port: *port }).collect();
    let topics = d.vec(|d| (error(d), d.option(Draw::text), TopicId(d.uuid().as_u128()), d.below(5) as i32));
    let leader = |topic: TopicId, partition: i32| topic.0 as i32 ^ partition;
    let response = MetadataResponse {
        nodes: &nodes,
        controller: node_id,
        leader: &leader,
        cluster_id: &cluster_id,
        topics: topics
            .iter()
            .map(|(error, name, id, partitions)| MetadataTopic {
                error: *error,
                name: name.as_deref(),
                id: *id,
                partitions: *partitions,
            })
            .collect(),
    };
    let partition = |topic, index| {
        let leader = BrokerId(leader(topic, index));
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(leader)
            .with_leader_epoch(since(version >= 7, 0, -1))
            .with_replica_nodes(vec![leader])
            .with_isr_nodes(vec![leader])
    };
    let topic = |(error, text, id, partitions): &(ErrorCode, Option<String>, TopicId, i32)| {
        let unnamed = since(version >= 12, None, Some(TopicName::default()));
        MetadataResponseTopic::default()
            .with_error_code(*error as i16)
            .with_name(text.as_deref().map_or(unnamed, |text| Some(name(text))))
            .with_topic_id(since(version >= 10, uuid(*id), Uuid::nil()))
            .with_partitions((0..*partitions).map(|index| partition(*id, index)).collect())
    };
    let broker = |node: &Node<'_>| {
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(node.id))
            .with_host(string(node.host))
            .with_port(i32::from(node.port))
    };
    let expected = theirs::MetadataResponse::default()
        .with_brokers(nodes.iter().map(broker).collect())
        .with_cluster_id(since(version >= 2, Some(string(&cluster_id)), None))
        .with_controller_id(BrokerId(since(version >= 1, node_id, -1)))
        .with_topics(topics.iter().map(topic).collect());
    through(ApiKey::Metadata, version, |w| response.encode(w), expected);
}

fn check_produce(version: i16, d: &mut Draw<'_>) {
    use theirs::produce_response::{PartitionProduceResponse, TopicProduceResponse};
    let partition = |d: &mut Draw<'_>| ProduceResponsePartition {
        index: d.i32(),
        error: error(d),
        error_message: d.option(Draw::text),
        base_offset: d.i64(),
        log_append_time: d.i64(),
        log_start_offset: d.i64(),
    };
    let drawn = d.vec(|d| (d.text(), d.uuid().as_u128(), d.vec(partition)));
    let (mut ours, mut expected) = (Vec::new(), Vec::new());
    for (text, id, partitions) in &drawn {
        let (topic, name, id) = topic_ref(text, *id, version >= 13);
        ours.push(ProduceResponseTopic { topic, partitions: partitions.clone() });
        let partitions = partitions.iter().map(|p| {
            PartitionProduceResponse::default()
                .with_index(p.index)
                .with_error_code(p.error as i16)
                .with_base_offset(p.base_offset)
                .with_log_append_time_ms(p.log_append_time)
                .with_log_start_offset(since(version >= 5, p.log_start_offset, -1))
                .with_error_message(since(version >= 8, p.error_message.as_deref().map(string), None))
        });
        expected.push(
            TopicProduceResponse::default()
                .with_name(name)
                .with_topic_id(id)
                .with_partition_responses(partitions.collect()),
        );
    }
    let expected = theirs::ProduceResponse::default().with_responses(expected);
    through(ApiKey::Produce, version, |w| produce::encode_response(w, &ours), expected);
}

fn check_fetch(version: i16, d: &mut Draw<'_>) {
    use theirs::fetch_response::{FetchableTopicResponse, PartitionData};
    let partition = |d: &mut Draw<'_>| FetchResponsePartition {
        index: d.i32(),
        error: error(d),
        high_watermark: d.i64(),
        last_stable_offset: d.i64(),
        log_start_offset: d.i64(),
        records: d.vec(Draw::bytes),
    };
    let (error, session_id) = (error(d), d.i32());
    let drawn = d.vec(|d| (d.text(), d.uuid().as_u128(), d.vec(partition)));
    let (mut ours, mut expected) = (Vec::new(), Vec::new());
    for (text, id, partitions) in &drawn {
        let (topic, name, id) = topic_ref(text, *id, version >= 13);
        ours.push(FetchResponseTopic { topic, partitions: partitions.clone() });
        let partitions = partitions.iter().map(|p| {
            PartitionData::default()
                .with_partition_index(p.index)
                .with_error_code(p.error as i16)
                .with_high_watermark(p.high_watermark)
                .with_last_stable_offset(p.last_stable_offset)
                .with_log_start_offset(since(version >= 5, p.log_start_offset, -1))
                .with_aborted_transactions(None)
                .with_preferred_read_replica(BrokerId(-1))
                .with_records(Some(p.records.iter().flatten().copied().collect::<Bytes>()))
        });
        let topic = FetchableTopicResponse::default().with_topic(name).with_topic_id(id);
        expected.push(topic.with_partitions(partitions.collect()));
    }
    let expected = theirs::FetchResponse::default()
        .with_error_code(since(version >= 7, error as i16, 0))
        .with_session_id(since(version >= 7, session_id, 0))
        .with_responses(expected);
    through(ApiKey::Fetch, version, |w| FetchResponse { error, session_id, topics: ours }.encode(w), expected);
}

fn check_list_offsets(version: i16, d: &mut Draw<'_>) {
    use theirs::list_offsets_response as r;
    let partition = |d: &mut Draw<'_>| ListOffsetsResponsePartition {
        index: d.i32(),
        error: error(d),
        timestamp: d.i64(),
        offset: d.i64(),
        leader_epoch: d.i32(),
    };
    let drawn = d.vec(|d| (d.text(), d.vec(partition)));
    let ours: Vec<_> = drawn
        .iter()
        .map(|(name, partitions)| ListOffsetsResponseTopic { name, partitions: partitions.clone() })
        .collect();
    let topics = drawn.iter().map(|(text, partitions)| {
        let partitions = partitions.iter().map(|p| {
            r::ListOffsetsPartitionResponse::default()
                .with_partition_index(p.index)
                .with_error_code(p.error as i16)
                .with_timestamp(p.timestamp)
                .with_offset(p.offset)
                .with_leader_epoch(since(version >= 4, p.leader_epoch, -1))
        });
        r::ListOffsetsTopicResponse::default().with_name(name(text)).with_partitions(partitions.collect())
    });
    let expected = theirs::ListOffsetsResponse::default().with_topics(topics.collect());
    through(ApiKey::ListOffsets, version, |w| list_offsets::encode_response(w, &ours), expected);
}

fn check_init_producer_id(version: i16, d: &mut Draw<'_>) {
    let ours = InitProducerIdResponse { error: error(d), producer_id: d.i64(), producer_epoch: d.i16() };
    let expected = theirs::InitProducerIdResponse::default()
        .with_error_code(ours.error as i16)
        .with_producer_id(ProducerId(ours.producer_id))
        .with_producer_epoch(ours.producer_epoch);
    through(ApiKey::InitProducerId, version, |w| ours.encode(w), expected);
}

fn check_create_topics(version: i16, d: &mut Draw<'_>) {
    use theirs::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
    let setting =
        |d: &mut Draw<'_>| TopicSetting { name: "max.message.bytes", value: d.text(), source: ConfigSource::Default };
    let names = d.vec(Draw::text);
    let ours: Vec<_> = names
        .iter()
        .map(|name| CreatedTopic {
            name,
            id: TopicId(d.uuid().as_u128()),
            error: error(d),
            error_message: d.option(Draw::text),
            partitions: d.i32(),
            replication_factor: d.i16(),
            configs: d.option(|d| d.vec(setting)),
        })
        .collect();
    let topics = ours.iter().map(|t| {
        let configs = t.configs.as_ref().map(|configs| {
            let config = |s: &TopicSetting| {
                CreatableTopicConfigs::default()
                    .with_name(string(s.name))
                    .with_value(Some(string(&s.value)))
                    .with_config_source(s.source as i8)
            };
            configs.iter().map(config).collect()
        });
        CreatableTopicResult::default()
            .with_name(name(t.name))
            .with_topic_id(since(version >= 7, uuid(t.id), Uuid::nil()))
            .with_error_code(t.error as i16)
            .with_error_message(t.error_message.as_deref().map(string))
            .with_num_partitions(since(version >= 5, t.partitions, -1))
            .with_replication_factor(since(version >= 5, t.replication_factor, -1))
            .with_configs(since(version >= 5, configs, Some(Vec::new())))
    });
    let expected = theirs::CreateTopicsResponse::default().with_topics(topics.collect());
    through(ApiKey::CreateTopics, version, |w| create_topics::encode_response(w, &ours), expected);
}

fn check_delete_topics(version: i16, d: &mut Draw<'_>) {
    use theirs::delete_topics_response::DeletableTopicResult;
    let drawn = d.vec(|d| (d.option(Draw::text), TopicId(d.uuid().as_u128()), error(d), d.option(Draw::text)));
    let ours: Vec<_> = drawn
        .iter()
        .map(|(name, id, error, message)| DeletedTopic {
            name: name.as_deref(),
            id: *id,
            error: *error,
            error_message: message.clone(),
        })
        .collect();
    let responses = ours.iter().map(|t| {
        let unnamed = since(version >= 6, None, Some(TopicName::default()));
        DeletableTopicResult::default()
            .with_name(t.name.map_or(unnamed, |text| Some(name(text))))
            .with_topic_id(since(version >= 6, uuid(t.id), Uuid::nil()))
            .with_error_code(t.error as i16)
            .with_error_message(since(version >= 5, t.error_message.as_deref().map(string), None))
    });
    let expected = theirs::DeleteTopicsResponse::default().with_responses(responses.collect());
    through(ApiKey::DeleteTopics, version, |w| delete_topics::encode_response(w, &ours), expected);
}

fn check_describe_cluster(version: i16, d: &mut Draw<'_>) {
    use theirs::describe_cluster_response::DescribeClusterBroker;
    let (hosts, cluster_id) = (d.vec(|d| (d.i32(), d.text(), d.i16() as u16)), d.text());
    let nodes: Vec<_> = hosts.iter().map(|(id, host, port)| Node { id: *id, host, port: *port }).collect();
    let message = d.option(Draw::text);
    let ours = DescribeClusterResponse {
        error: error(d),
        error_message: message.as_deref(),
        endpoint_type: d.when(version >= 1, 1, Draw::i8),
        cluster_id: &cluster_id,
        nodes: &nodes,
        controller: d.i32(),
    };
    let brokers = nodes.iter().map(|node| {
        DescribeClusterBroker::default()
            .with_broker_id(BrokerId(node.id))
            .with_host(string(node.host))
            .with_port(i32::from(node.port))
    });
    let expected = theirs::DescribeClusterResponse::default()
        .with_error_code(ours.error as i16)
        .with_error_message(message.as_deref().map(string))
        .with_endpoint_type(ours.endpoint_type)
        .with_cluster_id(string(&cluster_id))
        .with_controller_id(BrokerId(ours.controller))
        .with_brokers(brokers.collect());
    through(ApiKey::DescribeCluster, version, |w| ours.encode(w), expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_written_the_oracle_reads_the_same(bytes in proptest::collection::vec(any::<u8>(), 0..1500)) {
        for row in TABLE {
            let check = match row.api {
                ApiKey::Produce => check_produce,
                ApiKey::Fetch => check_fetch,
                ApiKey::ListOffsets => check_list_offsets,
                ApiKey::Metadata => check_metadata,
                ApiKey::ApiVersions => check_api_versions,
                ApiKey::CreateTopics => check_create_topics,
                ApiKey::DeleteTopics => check_delete_topics,
                ApiKey::InitProducerId => check_init_producer_id,
                ApiKey::DescribeCluster => check_describe_cluster,
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
            for version in known(row, Message::Response) {
                check(version, &mut Draw::new(&bytes));
            }
        }
    }
}
