//! Large replies behind each other, and behind those of clients that do not take them.

use std::time::Duration;

use kafka_protocol::messages::*;
use tokio::time::timeout;

use crate::client::{Client, Node, batch, node_with};
use crate::data::from;
use crate::produce::{to, topic};
use crate::topics::{create, named, new};

/// With 1 MiB for replies, 600 kB of records, and a topic whose description takes 360 kB.
async fn small_node() -> Node {
    let node = node_with(|config| {
        config.memory_budget = 8 << 20;
        config.cache_bytes = 4 << 20;
    })
    .await;
    let mut client = node.client().await;
    assert_eq!(create(&mut client, 7, new("wide").with_num_partitions(10_000)).await.error_code, 0);
    topic(&mut client, "t").await;
    for _ in 0..20 {
        client.ask(9, &to("t", vec![(0, Some(batch(&["x".repeat(30_000).as_str()])))])).await;
    }
    node
}

fn wide_and_unknown() -> MetadataRequest {
    let request = MetadataRequest::default().with_topics(Some(vec![named("wide"), named("unknown")]));
    request.with_allow_auto_topic_creation(false)
}

/// A description that has to be looked up, and behind it as many records as there is memory for.
async fn pipeline(client: &mut Client) -> [i32; 3] {
    let metadata = client.send(12, &wide_and_unknown()).await;
    [metadata, client.send(12, &from("t", 0)).await, client.send(12, &from("t", 0)).await]
}

#[tokio::test]
async fn a_large_answer_does_not_wait_for_those_behind_it() {
    let node = small_node().await;
    let mut client = node.client().await;
    let [metadata, first, second] = pipeline(&mut client).await;
    let answered = async {
        let answer = client.answer::<MetadataRequest>(12, metadata).await;
        assert_eq!((answer.topics[0].partitions.len(), answer.topics[1].error_code), (10_000, 3));
        for id in [first, second] {
            assert_eq!(client.answer::<FetchRequest>(12, id).await.error_code, 0);
        }
    };
    timeout(Duration::from_secs(30), answered).await.expect("all three are answered");
}

#[tokio::test]
async fn nor_do_others_wait_for_a_client_that_has_hung_up() {
    let node = small_node().await;
    for _ in 0..3 {
        let mut gone = node.client().await;
        gone.send(12, &from("t", 20).with_max_wait_ms(300_000)).await;
        pipeline(&mut gone).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut client = node.client().await;
    let request = wide_and_unknown();
    let answered = client.ask(12, &request);
    assert_eq!(timeout(Duration::from_secs(30), answered).await.expect("an answer").topics[0].partitions.len(), 10_000);
}
