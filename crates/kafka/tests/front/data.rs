//! Fetch and ListOffsets.

use std::time::Duration;

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::*;
use lakebed_record::batch::{Limits, batches, records};
use lakebed_store::env::Env;
use tokio::time::Instant;
use uuid::Uuid;

use crate::client::{Client, batch, batch_at, node, node_with};
use crate::produce::{to, topic};

pub fn from(topic: &str, offset: i64) -> FetchRequest {
    let partition = FetchPartition::default().with_fetch_offset(offset).with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default().with_topic(TopicName(topic.to_owned().into())).with_partitions(vec![partition]);
    FetchRequest::default().with_min_bytes(1).with_topics(vec![topic])
}

pub fn from_id(id: Uuid, offset: i64) -> FetchRequest {
    let mut request = from("", offset);
    request.topics[0].topic_id = id;
    request
}

async fn fetch(client: &mut Client, version: i16, request: &FetchRequest) -> PartitionData {
    client.ask(version, request).await.responses[0].partitions[0].clone()
}

/// (offset, value) of every record.
pub fn read(partition: &PartitionData) -> Vec<(i64, String)> {
    let bytes = partition.records.clone().unwrap_or_default();
    let mut read = Vec::new();
    for batch in batches(&bytes) {
        let (header, batch) = batch.unwrap();
        for record in records(batch, Limits::default()).unwrap().iter() {
            let record = record.unwrap();
            let value = String::from_utf8(record.value.unwrap_or_default().to_vec()).unwrap();
            read.push((header.base_offset + i64::from(record.offset_delta), value));
        }
    }
    read
}

async fn filled(client: &mut Client) -> Uuid {
    let id = topic(client, "t").await;
    for values in [["a", "b"], ["c", "d"]] {
        client.ask(9, &to("t", vec![(0, Some(batch(&values)))])).await;
    }
    id
}

#[tokio::test]
async fn every_version_reads() {
    let node = node().await;
    let mut client = node.client().await;
    let id = filled(&mut client).await;
    let all: Vec<_> = (0..).zip(["a", "b", "c", "d"]).map(|(offset, value)| (offset, value.to_owned())).collect();
    for version in 4..=18 {
        let request = |offset| if version < 13 { from("t", offset) } else { from_id(id, offset) };
        let partition = fetch(&mut client, version, &request(0)).await;
        assert_eq!((partition.error_code, partition.high_watermark, partition.last_stable_offset), (0, 4, 4));
        assert_eq!(read(&partition), all, "version {version}");
        let partition = fetch(&mut client, version, &request(2)).await;
        assert_eq!(read(&partition), all[2..]);
    }
}

#[tokio::test]
async fn what_cannot_be_fetched() {
    let node = node().await;
    let mut client = node.client().await;
    let id = filled(&mut client).await;
    let start = Instant::now();
    let patient = |request: FetchRequest| request.with_max_wait_ms(30_000);
    assert_eq!(fetch(&mut client, 12, &patient(from("t", 5))).await.error_code, 1);
    assert_eq!(fetch(&mut client, 12, &patient(from("unknown", 0))).await.error_code, 3);
    assert_eq!(fetch(&mut client, 13, &patient(from_id(Uuid::from_u128(1), 0))).await.error_code, 100);
    let mut ahead = from("t", 4);
    ahead.topics[0].partitions[0].current_leader_epoch = 3;
    assert_eq!(fetch(&mut client, 9, &patient(ahead)).await.error_code, 75);
    let mut other = from("t", 4);
    other.topics[0].partitions[0].partition = 9;
    assert_eq!(fetch(&mut client, 12, &patient(other)).await.error_code, 3);
    let mut both = from_id(Uuid::from_u128(1), 0);
    both.topics.extend(from_id(id, 0).topics);
    let answer = client.ask(15, &patient(both)).await;
    assert_eq!(answer.responses[0].partitions[0].error_code, 100);
    assert_eq!(read(&answer.responses[1].partitions[0]).len(), 4);
    assert!(start.elapsed() < Duration::from_secs(20), "errors do not wait");
}

#[tokio::test]
async fn a_long_poll_wakes_when_there_is_something() {
    let node = node().await;
    let (mut reader, mut writer) = (node.client().await, node.client().await);
    filled(&mut writer).await;
    let id = reader.send(12, &from("t", 4).with_max_wait_ms(30_000)).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    writer.ask(9, &to("t", vec![(0, Some(batch(&["e"])))])).await;
    let answer = reader.answer::<FetchRequest>(12, id).await;
    assert_eq!(read(&answer.responses[0].partitions[0]), [(4, "e".to_owned())]);
    let start = Instant::now();
    let nothing = fetch(&mut reader, 12, &from("t", 5).with_max_wait_ms(60)).await;
    assert!(read(&nothing).is_empty() && start.elapsed() >= Duration::from_millis(60));
}

#[tokio::test]
async fn a_batch_is_never_cut() {
    let node = node().await;
    let mut client = node.client().await;
    filled(&mut client).await;
    let mut request = from("t", 0).with_max_bytes(1);
    request.topics[0].partitions[0].partition_max_bytes = 1;
    assert_eq!(read(&fetch(&mut client, 12, &request).await).len(), 2);
}

async fn list(client: &mut Client, version: i16, timestamp: i64) -> (i16, i64, i64) {
    let partition = ListOffsetsPartition::default().with_timestamp(timestamp);
    let topic = ListOffsetsTopic::default().with_name(TopicName("t".into())).with_partitions(vec![partition]);
    let answer = client.ask(version, &ListOffsetsRequest::default().with_topics(vec![topic])).await;
    let partition = &answer.topics[0].partitions[0];
    (partition.error_code, partition.offset, partition.timestamp)
}

#[tokio::test]
async fn offsets_by_time() {
    let node = node().await;
    let mut client = node.client().await;
    topic(&mut client, "t").await;
    for version in 1..=11 {
        assert_eq!(list(&mut client, version, -1).await, (0, 0, -1));
        assert_eq!(list(&mut client, version, 0).await, (0, -1, -1));
    }
    assert_eq!(list(&mut client, 7, -3).await, (0, -1, -1), "nothing has the largest timestamp");
    let now = Env::system().clock.wall_ms();
    let at = |ago: i64, value| (now - ago, value);
    for records in [[at(900, "a"), at(500, "b")], [at(100, "c"), at(300, "d")], [at(200, "e"), at(400, "f")]] {
        client.ask(9, &to("t", vec![(0, Some(batch_at(&records)))])).await;
    }
    for version in 1..=11 {
        assert_eq!(list(&mut client, version, -1).await, (0, 6, -1), "version {version}");
        assert_eq!(list(&mut client, version, -2).await, (0, 0, -1));
        assert_eq!(list(&mut client, version, now - 600).await, (0, 1, now - 500));
        assert_eq!(list(&mut client, version, now - 350).await, (0, 2, now - 100));
        assert_eq!(list(&mut client, version, now).await, (0, -1, -1));
        let largest = if version >= 7 { (0, 2, now - 100) } else { (35, -1, -1) };
        assert_eq!(list(&mut client, version, -3).await, largest);
        assert_eq!(list(&mut client, version, -4).await, if version >= 8 { (0, 0, -1) } else { (35, -1, -1) });
        assert_eq!(list(&mut client, version, -5).await, if version >= 9 { (0, -1, -1) } else { (35, -1, -1) });
        assert_eq!(list(&mut client, version, -6).await, if version >= 11 { (0, -1, -1) } else { (35, -1, -1) });
        assert_eq!(list(&mut client, version, -7).await, (35, -1, -1));
    }
}

#[tokio::test]
async fn those_who_wait_take_no_memory_from_those_who_read() {
    let node = node_with(|config| {
        config.memory_budget = 8 << 20;
        config.cache_bytes = 4 << 20;
    })
    .await;
    let mut client = node.client().await;
    topic(&mut client, "t").await;
    for _ in 0..10 {
        client.ask(9, &to("t", vec![(0, Some(batch(&["x".repeat(30_000).as_str()])))])).await;
    }
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let mut idle = node.client().await;
        idle.send(12, &from("t", 10).with_max_wait_ms(60_000)).await;
        waiting.push(idle);
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(read(&fetch(&mut client, 12, &from("t", 0)).await).len(), 10);
}

#[tokio::test]
async fn a_partition_asked_for_twice_is_fetched_once() {
    let node = node().await;
    let mut client = node.client().await;
    let id = filled(&mut client).await;
    let partition = |index: i32, offset| {
        let partition = FetchPartition::default().with_partition(index).with_fetch_offset(offset);
        partition.with_partition_max_bytes(1 << 20)
    };
    let mut request = from_id(id, 0);
    request.topics[0].partitions = vec![partition(0, 0), partition(7, 0), partition(0, 2)];
    // The same topic again, and one without partitions.
    request.topics.push(from_id(id, 0).topics.remove(0).with_partitions(vec![partition(7, 1), partition(8, 0)]));
    request.topics.push(from_id(Uuid::from_u128(1), 0).topics.remove(0).with_partitions(Vec::new()));
    let answer = client.ask(15, &request).await;
    assert_eq!(answer.responses.len(), 1);
    let partitions = &answer.responses[0].partitions;
    let codes: Vec<_> = partitions.iter().map(|p| (p.partition_index, p.error_code)).collect();
    assert_eq!(codes, [(0, 0), (7, 3), (8, 3)]);
    assert_eq!(read(&partitions[0])[0].0, 2, "the last wish counts");
}

#[tokio::test]
async fn offsets_of_a_partition_asked_for_twice_are_refused_once() {
    let node = node().await;
    let mut client = node.client().await;
    filled(&mut client).await;
    let partition =
        |index, timestamp| ListOffsetsPartition::default().with_partition_index(index).with_timestamp(timestamp);
    let topic = |partitions| ListOffsetsTopic::default().with_name(TopicName("t".into())).with_partitions(partitions);
    let one = topic(vec![partition(0, -1), partition(3, -1), partition(3, -2)]);
    let request = ListOffsetsRequest::default().with_topics(vec![one.clone()]);
    let listed = |answer: ListOffsetsResponse| -> Vec<_> {
        let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        partitions.map(|p| (p.partition_index, p.error_code, p.offset)).collect()
    };
    assert_eq!(listed(client.ask(7, &request).await), [(0, 0, 4), (3, 42, -1)]);
    let request = ListOffsetsRequest::default().with_topics(vec![one, topic(vec![partition(0, -2)])]);
    assert_eq!(listed(client.ask(7, &request).await), [(0, 42, -1), (3, 42, -1)]);
}
