//! Produce: what is stored, what is refused and in which words.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::*;
use lakebed_record::batch::{BatchBuilder, Codec};
use lakebed_store::env::Env;
use uuid::Uuid;

use crate::client::{Client, batch, node};

pub fn to(topic: &str, partitions: Vec<(i32, Option<Bytes>)>) -> ProduceRequest {
    let partitions = partitions
        .into_iter()
        .map(|(index, records)| PartitionProduceData::default().with_index(index).with_records(records));
    let topic = TopicProduceData::default()
        .with_name(TopicName(topic.to_owned().into()))
        .with_partition_data(partitions.collect());
    ProduceRequest::default().with_acks(-1).with_timeout_ms(10_000).with_topic_data(vec![topic])
}

/// By id, as from version 13.
fn to_id(id: Uuid, records: Bytes) -> ProduceRequest {
    let partition = PartitionProduceData::default().with_records(Some(records));
    let topic = TopicProduceData::default().with_topic_id(id).with_partition_data(vec![partition]);
    ProduceRequest::default().with_acks(-1).with_timeout_ms(10_000).with_topic_data(vec![topic])
}

/// Creates the topic and gives its id.
pub async fn topic(client: &mut Client, name: &str) -> Uuid {
    let topic = MetadataRequestTopic::default().with_name(Some(TopicName(name.to_owned().into())));
    client.ask(12, &MetadataRequest::default().with_topics(Some(vec![topic]))).await.topics[0].topic_id
}

async fn produce(client: &mut Client, version: i16, request: &ProduceRequest) -> PartitionProduceResponse {
    client.ask(version, request).await.responses[0].partition_responses[0].clone()
}

#[tokio::test]
async fn every_version_stores() {
    let node = node().await;
    let mut client = node.client().await;
    let id = topic(&mut client, "t").await;
    for version in 3..=13 {
        let records = batch(&["one", "two"]);
        let request = if version < 13 { to("t", vec![(0, Some(records))]) } else { to_id(id, records) };
        let stored = produce(&mut client, version, &request).await;
        assert_eq!((stored.error_code, stored.base_offset), (0, i64::from(version - 3) * 2), "version {version}");
        assert_eq!((stored.log_append_time_ms, stored.log_start_offset), (-1, if version >= 5 { 0 } else { -1 }));
    }
}

#[tokio::test]
async fn pipelined_requests_keep_their_order() {
    let node = node().await;
    let mut client = node.client().await;
    topic(&mut client, "t").await;
    let mut sent = Vec::new();
    for n in 0..100 {
        // Some of them big, so that frames of both kinds take turns.
        let text = format!("{n} ").repeat(if n % 7 == 0 { 20_000 } else { 3 });
        sent.push(client.send(9, &to("t", vec![(0, Some(batch(&[&text])))])).await);
    }
    for (n, id) in sent.into_iter().enumerate() {
        let answer = client.answer::<ProduceRequest>(9, id).await;
        assert_eq!(answer.responses[0].partition_responses[0].base_offset, n as i64);
    }
}

#[tokio::test]
async fn refusals_are_per_partition() {
    let node = node().await;
    let mut client = node.client().await;
    topic(&mut client, "t").await;
    let good = || Some(batch(&["x"]));
    let changed = |at: usize, byte: u8| {
        let mut bytes = BytesMut::from(&batch(&["x"])[..]);
        bytes[at] = byte;
        Some(bytes.freeze())
    };
    let two = Some(Bytes::from([batch(&["x"]), batch(&["y"])].concat()));
    let cut = good().map(|b| b.slice(..b.len() - 1));
    let cases = [
        (0, 0, good()),
        (3, 7, good()),
        (87, 0, None),
        (87, 0, Some(Bytes::new())),
        (87, 0, two),
        (87, 0, cut),
        (87, 0, changed(16, 1)),
        (2, 0, changed(17, 0xaa)),
        (0, 0, good()),
    ];
    let partitions = cases.iter().map(|(_, partition, records)| (*partition, records.clone())).collect();
    let answer = client.ask(9, &to("t", partitions)).await;
    let answered = &answer.responses[0].partition_responses;
    for ((code, partition, _), answer) in cases.iter().zip(answered) {
        assert_eq!((answer.error_code, answer.index), (*code, *partition), "{:?}", answer.error_message);
        assert_eq!(answer.error_message.is_some(), *code != 0);
    }
    assert_eq!((answered[0].base_offset, answered[8].base_offset, answered[1].base_offset), (0, 1, -1));
}

#[tokio::test]
async fn refusals_of_a_whole_request() {
    let node = node().await;
    let mut client = node.client().await;
    topic(&mut client, "t").await;
    let good = || to("t", vec![(0, Some(batch(&["x"])))]);
    assert_eq!(produce(&mut client, 9, &good().with_acks(2)).await.error_code, 21);
    let id = TransactionalId("t".into());
    assert_eq!(produce(&mut client, 9, &good().with_transactional_id(Some(id))).await.error_code, 42);
    for name in ["unknown", "not a name"] {
        assert_eq!(produce(&mut client, 9, &to(name, vec![(0, Some(batch(&["x"])))])).await.error_code, 3);
    }
    assert_eq!(produce(&mut client, 13, &to_id(Uuid::from_u128(1), batch(&["x"]))).await.error_code, 100);
    assert_eq!(produce(&mut client, 9, &good().with_acks(1)).await.base_offset, 0);
}

#[tokio::test]
async fn zstd_needs_version_7() {
    let node = node().await;
    let mut client = node.client().await;
    topic(&mut client, "t").await;
    let mut builder = BatchBuilder::new().codec(Codec::Zstd);
    builder.push(Env::system().clock.wall_ms(), None, Some(b"x"), []);
    let request = to("t", vec![(0, Some(builder.build()))]);
    assert_eq!(produce(&mut client, 6, &request).await.error_code, 76);
    assert_eq!(produce(&mut client, 7, &request).await.error_code, 0);
}

#[tokio::test]
async fn acks_0_gets_no_reply_and_an_error_ends_the_connection() {
    let node = node().await;
    let mut client = node.client().await;
    topic(&mut client, "t").await;
    client.send(9, &to("t", vec![(0, Some(batch(&["x"])))]).with_acks(0)).await;
    assert_eq!(produce(&mut client, 9, &to("t", vec![(0, Some(batch(&["y"])))])).await.base_offset, 1);
    client.send(9, &to("t", vec![(5, Some(batch(&["x"])))]).with_acks(0)).await;
    assert_eq!(client.frame().await, None);
}

#[tokio::test]
async fn a_partition_named_twice_gets_both_batches_and_two_answers() {
    let node = node().await;
    let mut client = node.client().await;
    topic(&mut client, "t").await;
    let answer = client.ask(9, &to("t", vec![(0, Some(batch(&["x", "y"]))), (0, Some(batch(&["z"])))])).await;
    let answered = &answer.responses[0].partition_responses;
    assert_eq!(answered.iter().map(|p| (p.error_code, p.base_offset)).collect::<Vec<_>>(), [(0, 0), (0, 2)]);
}

#[tokio::test]
async fn what_takes_long_to_check_keeps_its_place() {
    let node = node().await;
    let mut client = node.client().await;
    topic(&mut client, "t").await;
    let mut builder = BatchBuilder::new().codec(Codec::Zstd);
    builder.push(0, None, Some(&vec![0; 40 << 20]), []);
    let long = builder.build();
    let mut sent = Vec::new();
    for n in 0..20 {
        let records = if n % 5 == 0 { long.clone() } else { batch(&["short"]) };
        sent.push(client.send(9, &to("t", vec![(0, Some(records))])).await);
    }
    for (offset, correlation_id) in sent.into_iter().enumerate() {
        let reply = client.answer::<ProduceRequest>(9, correlation_id).await;
        let stored = &reply.responses[0].partition_responses[0];
        assert_eq!((stored.error_code, stored.base_offset), (0, offset as i64));
    }
}
