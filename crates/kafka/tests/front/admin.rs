//! CreatePartitions, DeleteRecords, OffsetForLeaderEpoch, DescribeTopicPartitions, DescribeLogDirs, DescribeProducers, and what
//! concerns leaders and replicas.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use kafka_protocol::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::describe_topic_partitions_request::Cursor;
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::*;

use crate::client::{Client, batch, node, node_with};
use crate::data::from;
use crate::produce::{to, topic};
use crate::topics::{create, named, new};

fn name(name: &str) -> TopicName {
    TopicName(name.to_owned().into())
}

fn more(topic: &str, count: i32) -> CreatePartitionsTopic {
    CreatePartitionsTopic::default().with_name(name(topic)).with_count(count).with_assignments(None)
}

fn assigned(topic: CreatePartitionsTopic, brokers: &[&[i32]]) -> CreatePartitionsTopic {
    let assignment = |ids: &&[i32]| ids.iter().map(|id| BrokerId(*id)).collect();
    let assignments = brokers.iter().map(|ids| CreatePartitionsAssignment::default().with_broker_ids(assignment(ids)));
    topic.with_assignments(Some(assignments.collect()))
}

async fn grow(client: &mut Client, version: i16, topics: Vec<CreatePartitionsTopic>, only_validate: bool) -> Vec<i16> {
    let request = CreatePartitionsRequest::default().with_topics(topics).with_timeout_ms(10_000);
    let answer = client.ask(version, &request.with_validate_only(only_validate)).await;
    assert!(answer.results.iter().all(|r| r.error_message.is_some() == (r.error_code != 0)));
    answer.results.iter().map(|r| r.error_code).collect()
}

async fn partitions(client: &mut Client, topic: &str) -> usize {
    let request = MetadataRequest::default().with_topics(Some(vec![named(topic)]));
    client.ask(12, &request).await.topics[0].partitions.len()
}

/// As a producer with this identity sends it: the CRC-32C at 17 covers all from 21 on.
fn of_producer(batch: &Bytes, id: i64, epoch: i16, sequence: i32) -> Bytes {
    let mut bytes = BytesMut::from(batch.as_ref());
    bytes[43..51].copy_from_slice(&id.to_be_bytes());
    bytes[51..53].copy_from_slice(&epoch.to_be_bytes());
    bytes[53..57].copy_from_slice(&sequence.to_be_bytes());
    let crc = lakebed_record::crc::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes.freeze()
}

#[tokio::test]
async fn topics_get_more_partitions() {
    let node = node().await;
    let mut client = node.client().await;
    create(&mut client, 7, new("t").with_num_partitions(1)).await;
    for version in 0..=3 {
        let count = 2 + i32::from(version);
        assert_eq!(grow(&mut client, version, vec![more("t", count)], false).await, [0]);
        assert_eq!(partitions(&mut client, "t").await, count as usize, "version {version}");
    }
    let stored = client.ask(9, &to("t", vec![(4, Some(batch(&["new"])))])).await;
    assert_eq!(stored.responses[0].partition_responses[0].error_code, 0);
    assert_eq!(grow(&mut client, 3, vec![assigned(more("t", 7), &[&[1], &[9, 1]])], false).await, [0]);
    assert_eq!(partitions(&mut client, "t").await, 7);
}

#[tokio::test]
async fn topics_that_cannot_grow_so() {
    let node = node().await;
    let mut client = node.client().await;
    create(&mut client, 7, new("t").with_num_partitions(3)).await;
    let wrong = [
        (3, more("unknown", 4)),
        (37, more("t", 3)),
        (37, more("t", 2)),
        (37, more("t", -1)),
        (37, more("t", 10_001)),
        (39, assigned(more("t", 5), &[&[1]])),
        (39, assigned(more("t", 5), &[&[1], &[]])),
    ];
    for (code, topic) in wrong {
        for only_validate in [true, false] {
            assert_eq!(grow(&mut client, 3, vec![topic.clone()], only_validate).await, [code], "{topic:?}");
        }
    }
    assert_eq!(grow(&mut client, 3, vec![more("t", 4), more("t", 5)], false).await, [42]);
    assert_eq!(grow(&mut client, 3, vec![more("t", 4)], true).await, [0]);
    assert_eq!(partitions(&mut client, "t").await, 3);
}

async fn delete(client: &mut Client, version: i16, topic: &str, partition: i32, offset: i64) -> (i16, i64) {
    let partition = DeleteRecordsPartition::default().with_partition_index(partition).with_offset(offset);
    let topic = DeleteRecordsTopic::default().with_name(name(topic)).with_partitions(vec![partition]);
    let request = DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
    let answer = client.ask(version, &request).await;
    let deleted = &answer.topics[0].partitions[0];
    (deleted.error_code, deleted.low_watermark)
}

#[tokio::test]
async fn records_are_deleted_up_to_an_offset() {
    let node = node().await;
    let mut client = node.client().await;
    topic(&mut client, "t").await;
    for _ in 0..4 {
        client.ask(9, &to("t", vec![(0, Some(batch(&["a", "b"])))])).await;
    }
    for (version, offset, start) in [(0, 1, 1), (1, 5, 5), (2, 3, 5)] {
        assert_eq!(delete(&mut client, version, "t", 0, offset).await, (0, start));
        let gone = client.ask(11, &from("t", start - 1)).await.responses[0].partitions[0].clone();
        assert_eq!(gone.error_code, 1);
        let left = client.ask(11, &from("t", start)).await.responses[0].partitions[0].clone();
        assert_eq!((left.error_code, left.log_start_offset, left.high_watermark), (0, start, 8));
    }
    assert_eq!(delete(&mut client, 2, "t", 0, 9).await, (1, -1));
    assert_eq!(delete(&mut client, 2, "t", 0, -2).await, (1, -1));
    assert_eq!(delete(&mut client, 2, "t", 1, 0).await, (3, -1));
    assert_eq!(delete(&mut client, 2, "unknown", 0, 0).await, (3, -1));
    assert_eq!(delete(&mut client, 2, "t", 0, -1).await, (0, 8));
    client.ask(9, &to("t", vec![(0, Some(batch(&["next"])))])).await;
    assert_eq!(delete(&mut client, 2, "t", 0, 0).await, (0, 8));
}

#[tokio::test]
async fn epoch_0_ends_at_the_high_watermark() {
    let node = node().await;
    let mut client = node.client().await;
    topic(&mut client, "t").await;
    client.ask(9, &to("t", vec![(0, Some(batch(&["a", "b", "c"])))])).await;
    for version in 2..=4 {
        for (at, (current, epoch), expected) in [
            (("t", 0), (0, 0), (0, 0, 3)),
            (("t", 0), (-1, 0), (0, 0, 3)),
            (("t", 0), (-1, 1), (0, -1, -1)),
            (("t", 0), (-1, -1), (0, -1, -1)),
            (("t", 0), (1, 0), (75, -1, -1)),
            (("t", 1), (0, 0), (3, -1, -1)),
            (("unknown", 0), (0, 0), (3, -1, -1)),
        ] {
            let partition = OffsetForLeaderPartition::default().with_partition(at.1).with_leader_epoch(epoch);
            let partition = partition.with_current_leader_epoch(current);
            let topic = OffsetForLeaderTopic::default().with_topic(name(at.0)).with_partitions(vec![partition]);
            let answer = client.ask(version, &OffsetForLeaderEpochRequest::default().with_topics(vec![topic])).await;
            let end = &answer.topics[0].partitions[0];
            assert_eq!((end.error_code, end.leader_epoch, end.end_offset), expected, "{at:?} {current} {epoch}");
        }
    }
}

/// Error, name and partitions of every topic, and where the next page begins.
async fn page(client: &mut Client, topics: &[&str], limit: i32, cursor: Option<(&str, i32)>) -> Page {
    use kafka_protocol::messages::describe_topic_partitions_request::TopicRequest;
    let topics = topics.iter().map(|topic| TopicRequest::default().with_name(name(topic)));
    let cursor = cursor.map(|(topic, p)| Cursor::default().with_topic_name(name(topic)).with_partition_index(p));
    let request = DescribeTopicPartitionsRequest::default().with_topics(topics.collect());
    let answer = client.ask(0, &request.with_response_partition_limit(limit).with_cursor(cursor)).await;
    let topics = answer.topics.iter().map(|topic| {
        assert!(topic.partitions.iter().all(|p| p.leader_id == 1 && p.replica_nodes == [BrokerId(1)]));
        let partitions = topic.partitions.iter().map(|p| p.partition_index).collect();
        (topic.error_code, topic.name.as_ref().unwrap().to_string(), partitions)
    });
    (topics.collect(), answer.next_cursor.map(|cursor| (cursor.topic_name.to_string(), cursor.partition_index)))
}

type Page = (Vec<(i16, String, Vec<i32>)>, Option<(String, i32)>);

#[tokio::test]
async fn partitions_are_described_page_by_page() {
    let node = node().await;
    let mut client = node.client().await;
    for (topic, partitions) in [("a", 3), ("b", 2), ("c", 1)] {
        create(&mut client, 7, new(topic).with_num_partitions(partitions)).await;
    }
    let of = |topic: &str, partitions: &[i32]| (0, topic.to_owned(), partitions.to_vec());
    let at = |topic: &str, partition| Some((topic.to_owned(), partition));
    let all = vec![of("a", &[0, 1, 2]), of("b", &[0, 1]), of("c", &[0])];
    assert_eq!(page(&mut client, &[], 2_000, None).await, (all.clone(), None));
    assert_eq!(page(&mut client, &["c", "b", "a"], 6, None).await, (all, None));
    assert_eq!(page(&mut client, &[], 2, None).await, (vec![of("a", &[0, 1])], at("a", 2)));
    let second = (vec![of("a", &[2]), of("b", &[0])], at("b", 1));
    assert_eq!(page(&mut client, &[], 2, Some(("a", 2))).await, second);
    assert_eq!(page(&mut client, &[], 3, None).await, (vec![of("a", &[0, 1, 2])], at("b", 0)));
    assert_eq!(page(&mut client, &[], 0, Some(("b", 1))).await, (vec![of("b", &[1])], at("c", 0)));
    assert_eq!(page(&mut client, &[], 9, Some(("bb", 0))).await, (vec![of("c", &[0])], None));

    let unknown = (3, "none".to_owned(), vec![]);
    let invalid = (17, "not a name".to_owned(), vec![]);
    let asked = page(&mut client, &["none", "c", "not a name"], 9, None).await;
    assert_eq!(asked, (vec![of("c", &[0]), unknown, invalid], None));
    let refused = (42, "c".to_owned(), vec![]);
    for cursor in [("b", 0), ("c", -1)] {
        assert_eq!(page(&mut client, &["c"], 9, Some(cursor)).await, (vec![refused.clone()], None));
    }
}

#[tokio::test]
async fn a_page_has_2000_partitions_at_most() {
    let node = node().await;
    let mut client = node.client().await;
    create(&mut client, 7, new("wide").with_num_partitions(4_100)).await;
    let (mut cursor, mut sizes) = (None, Vec::new());
    loop {
        let asked = cursor.as_ref().map(|(topic, partition): &(String, i32)| (topic.as_str(), *partition));
        let (topics, next) = page(&mut client, &[], i32::MAX, asked).await;
        sizes.push(topics[0].2.len());
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(sizes, [2_000, 2_000, 100]);
}

#[tokio::test]
async fn the_log_directory_is_the_store() {
    let node = node_with(|config| config.store_kind = "s3").await;
    let mut client = node.client().await;
    create(&mut client, 7, new("t").with_num_partitions(3)).await;
    create(&mut client, 7, new("u")).await;
    let records = batch(&["one", "two"]);
    for _ in 0..2 {
        client.ask(9, &to("t", vec![(1, Some(records.clone()))])).await;
    }
    let size = 2 * records.len() as i64;
    let some = |topic: &str, partitions: &[i32]| {
        DescribableLogDirTopic::default().with_topic(name(topic)).with_partitions(partitions.to_vec())
    };
    for version in 1..=4 {
        for (asked, expected) in [
            (None, vec![("t", vec![(0, 0), (1, size), (2, 0)]), ("u", vec![(0, 0)])]),
            (Some(vec![some("t", &[1, 7, -1]), some("none", &[0])]), vec![("t", vec![(1, size)])]),
            (Some(vec![]), vec![]),
        ] {
            let answer = client.ask(version, &DescribeLogDirsRequest::default().with_topics(asked)).await;
            let [dir] = answer.results.as_slice() else { panic!("one directory") };
            assert_eq!((dir.error_code, dir.log_dir.as_str()), (0, "s3"));
            assert_eq!((dir.total_bytes, dir.usable_bytes), (-1, -1));
            let sizes = dir.topics.iter().map(|topic| {
                let partitions = topic.partitions.iter().map(|p| (p.partition_index, p.partition_size));
                (topic.name.as_str(), partitions.collect::<Vec<_>>())
            });
            assert_eq!(sizes.collect::<Vec<_>>(), expected, "version {version}");
        }
    }
}

#[tokio::test]
async fn producers_are_described() {
    use kafka_protocol::messages::describe_producers_request::TopicRequest;
    let node = node().await;
    let mut client = node.client().await;
    topic(&mut client, "t").await;
    let mut ids = Vec::new();
    for records in 1..=2 {
        let request = InitProducerIdRequest::default().with_transactional_id(None);
        let id = client.ask(4, &request).await.producer_id.0;
        let sent = of_producer(&batch(&vec!["x"; records]), id, 0, 0);
        let stored = client.ask(9, &to("t", vec![(0, Some(sent))])).await;
        assert_eq!(stored.responses[0].partition_responses[0].error_code, 0);
        ids.push(id);
    }
    let asked = |topic: &str, partitions: &[i32]| {
        TopicRequest::default().with_name(name(topic)).with_partition_indexes(partitions.to_vec())
    };
    let request = DescribeProducersRequest::default().with_topics(vec![asked("t", &[0, 0, 5]), asked("none", &[0])]);
    let answer = client.ask(0, &request).await;
    let errors = answer.topics.iter().flat_map(|t| t.partitions.iter().map(|p| (p.partition_index, p.error_code)));
    assert_eq!(errors.collect::<Vec<_>>(), [(0, 0), (5, 3), (0, 3)]);
    let known = &answer.topics[0].partitions[0].active_producers;
    let told: Vec<_> = known.iter().map(|p| (p.producer_id.0, p.producer_epoch, p.last_sequence)).collect();
    assert_eq!(told, [(ids[0], 0, 0), (ids[1], 0, 1)]);
    assert!(known.iter().all(|p| p.last_timestamp > 0 && p.current_txn_start_offset == -1));
}

#[tokio::test]
async fn nothing_is_to_be_elected() {
    let node = node().await;
    let mut client = node.client().await;
    topic(&mut client, "t").await;
    let of = |topic: &str, partitions: &[i32]| {
        TopicPartitions::default().with_topic(name(topic)).with_partitions(partitions.to_vec())
    };
    for version in 0..=2 {
        let asked = Some(vec![of("t", &[0, 1]), of("none", &[0])]);
        let request = ElectLeadersRequest::default().with_topic_partitions(asked).with_timeout_ms(1_000);
        let answer = client.ask(version, &request).await;
        let results = answer.replica_election_results.iter().flat_map(|topic| &topic.partition_result);
        assert_eq!(results.map(|p| p.error_code).collect::<Vec<_>>(), [84, 3, 3], "version {version}");
        // Of all partitions those whose leader changes are told.
        let answer = client.ask(version, &request.with_topic_partitions(None)).await;
        assert_eq!((answer.error_code, answer.replica_election_results.len()), (0, 0));
    }
    let unknown = ElectLeadersRequest::default().with_election_type(7).with_topic_partitions(None);
    assert_eq!(client.ask(2, &unknown).await.error_code, 42);
}

#[tokio::test]
async fn partitions_are_nobodys_to_be_reassigned() {
    let node = node().await;
    let mut client = node.client().await;
    topic(&mut client, "t").await;
    let to = |index, replicas: Option<&[i32]>| {
        let replicas = replicas.map(|ids| ids.iter().map(|id| BrokerId(*id)).collect());
        ReassignablePartition::default().with_partition_index(index).with_replicas(replicas)
    };
    let asked =
        |topic: &str, partitions| ReassignableTopic::default().with_name(name(topic)).with_partitions(partitions);
    for version in 0..=1 {
        let own =
            [to(0, None), to(0, Some(&[1])), to(0, Some(&[2])), to(0, Some(&[1, 2])), to(0, Some(&[])), to(1, None)];
        let topics = vec![asked("t", own.to_vec()), asked("none", vec![to(0, Some(&[1]))])];
        let request = AlterPartitionReassignmentsRequest::default().with_topics(topics).with_timeout_ms(1_000);
        let answer = client.ask(version, &request).await;
        let results = answer.responses.iter().flat_map(|topic| topic.partitions.iter().map(|p| p.error_code));
        assert_eq!(results.collect::<Vec<_>>(), [85, 0, 39, 39, 39, 3, 3], "version {version}");
        assert_eq!(answer.error_code, 0);
    }
    let list = ListPartitionReassignmentsRequest::default().with_topics(None);
    let answer = client.ask(0, &list).await;
    assert_eq!((answer.error_code, answer.topics.len()), (0, 0));
}
