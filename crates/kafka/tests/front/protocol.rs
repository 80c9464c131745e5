//! What is said before anything is asked: versions, refusals, other protocols, stopping.

use std::time::Duration;

use bytes::{Buf, Bytes};
use kafka_protocol::messages::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::{Client, Node, node};

async fn raw(node: &Node, bytes: &[u8]) -> Client {
    let mut client = node.client().await;
    client.socket.write_all(bytes).await.unwrap();
    client
}

fn header(api: i16, version: i16) -> Vec<u8> {
    let mut frame = vec![0, 0, 0, 10];
    frame.extend(api.to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend(7i32.to_be_bytes());
    frame.extend((-1i16).to_be_bytes());
    frame
}

#[tokio::test]
async fn versions_are_listed() {
    let node = node().await;
    let mut client = node.client().await;
    for version in 0..=4 {
        let answer = client.ask(version, &ApiVersionsRequest::default()).await;
        assert_eq!(answer.error_code, 0);
        let produce = answer.api_keys.iter().find(|row| row.api_key == 0).unwrap();
        assert_eq!((produce.min_version, produce.max_version), (0, 13));
        assert_eq!(answer.api_keys.len(), 35);
    }
}

#[tokio::test]
async fn an_unknown_version_of_api_versions_is_told_which_there_are() {
    let node = node().await;
    let mut client = raw(&node, &header(18, 99)).await;
    let mut frame = client.frame().await.unwrap();
    assert_eq!((frame.get_i32(), frame.get_i16(), frame.get_i32()), (7, 35, 35));
    client.ask(3, &ApiVersionsRequest::default()).await;
}

#[tokio::test]
async fn what_is_not_served_closes_the_connection() {
    let node = node().await;
    for (api, version) in [(0, 2), (0, 0), (0, 14), (10, 3), (1, 3), (999, 0), (3, -1)] {
        let mut client = raw(&node, &header(api, version)).await;
        assert_eq!(client.frame().await, None, "API {api}, version {version}");
    }
}

#[tokio::test]
async fn malformed_requests_close_the_connection() {
    let node = node().await;
    let frames: [&[u8]; 4] = [
        &[0, 0, 0, 1, 9],
        &[0xff, 0xff, 0xff, 0xff],
        &[0, 0, 0, 12, 0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0x7f, 0xff],
        &[&[0, 0, 0, 14, 0, 1, 0, 4, 0, 0, 0, 1, 0xff, 0xff][..], &[0x7f; 4]].concat(),
    ];
    for bytes in frames {
        assert_eq!(raw(&node, bytes).await.frame().await, None);
    }
}

#[tokio::test]
async fn what_ends_a_connection_takes_no_answer_that_was_due() {
    let node = node().await;
    let ask = |id: u8| [&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, id][..], &[0xff; 2]].concat();
    let last: [&[u8]; 3] =
        [&[0, 0, 0, 1, 9], &header(0, 14), &[0, 0, 0, 12, 0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0x7f, 0xff]];
    for last in last {
        // What is not read any more must not take answers with it either.
        let bytes = [ask(1), ask(2), last.to_vec(), vec![0xee; 300_000]].concat();
        let mut client = raw(&node, &bytes).await;
        for id in [1, 2] {
            assert_eq!(client.frame().await.unwrap().get_i32(), id);
        }
        assert_eq!(client.frame().await, None);
    }
}

#[tokio::test]
async fn http_is_told_where_to_go() {
    let node = node().await;
    let mut client = raw(&node, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut answer = String::new();
    client.socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("http://h.example:8080"), "{answer}");
}

#[tokio::test]
async fn tls_is_closed() {
    let node = node().await;
    let mut client = raw(&node, &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]).await;
    assert_eq!(client.socket.read(&mut [0]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn describe_cluster_names_this_node() {
    let node = node().await;
    let mut client = node.client().await;
    for version in 0..=2 {
        let answer = client.ask(version, &DescribeClusterRequest::default()).await;
        assert_eq!(answer.cluster_id.as_str(), node.broker.cluster_id());
        let broker = &answer.brokers[0];
        assert_eq!((broker.broker_id.0, broker.host.as_str(), broker.port), (1, "broker.example", 4711));
    }
    let answer = client.ask(1, &DescribeClusterRequest::default().with_endpoint_type(2)).await;
    assert_eq!((answer.error_code, answer.brokers.len()), (115, 0));
}

#[tokio::test]
async fn producer_ids_differ_and_transactions_are_refused() {
    let node = node().await;
    let mut client = node.client().await;
    let mut ids = Vec::new();
    for version in 0..=5 {
        let answer = client.ask(version, &InitProducerIdRequest::default().with_transactional_id(None)).await;
        assert_eq!((answer.error_code, answer.producer_epoch), (0, 0));
        ids.push(answer.producer_id);
    }
    ids.dedup();
    assert_eq!(ids.len(), 6);
    let id = TransactionalId("t".into());
    let answer = client.ask(4, &InitProducerIdRequest::default().with_transactional_id(Some(id))).await;
    assert_eq!((answer.error_code, answer.producer_id.0), (42, -1));
}

#[tokio::test]
async fn stopping_ends_a_long_poll_and_every_connection() {
    let node = node().await;
    let mut client = node.client().await;
    let topics = vec![metadata_request::MetadataRequestTopic::default().with_name(Some(TopicName("t".into())))];
    client.ask(4, &MetadataRequest::default().with_topics(Some(topics))).await;
    let partition = fetch_request::FetchPartition::default().with_partition_max_bytes(1000);
    let topic = fetch_request::FetchTopic::default().with_topic(TopicName("t".into())).with_partitions(vec![partition]);
    let poll = FetchRequest::default().with_max_wait_ms(60_000).with_min_bytes(1).with_topics(vec![topic]);
    let id = client.send(4, &poll).await;
    let mut idle = node.client().await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    node.stop.send(true).unwrap();
    let answer = client.answer::<FetchRequest>(4, id).await;
    assert_eq!(answer.responses[0].partitions[0].records, Some(Bytes::new()));
    assert_eq!((client.frame().await, idle.frame().await), (None, None));
    drop((client, idle));
    tokio::time::timeout(Duration::from_secs(5), node.stopped).await.unwrap().unwrap().unwrap();
}
