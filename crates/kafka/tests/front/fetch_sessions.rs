//! Fetch sessions (KIP-227): requests name only what changes, answers only what is new.

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::*;
use uuid::Uuid;

use crate::client::{Client, batch, node, node_with};
use crate::data::{from, from_id, read};
use crate::produce::to;
use crate::topics::{create, new};

const NOT_FOUND: i16 = 70;
const WRONG_EPOCH: i16 = 71;
const OTHER_KIND: i16 = 106;

/// A request of a session that says of `t` what has changed: (partition, offset).
fn of(session: (i32, i32), changes: &[(i32, i64)]) -> FetchRequest {
    let partition = |&(index, offset): &(i32, i64)| {
        FetchPartition::default().with_partition(index).with_fetch_offset(offset).with_partition_max_bytes(1 << 20)
    };
    let topic = FetchTopic::default()
        .with_topic(TopicName("t".into()))
        .with_partitions(changes.iter().map(partition).collect());
    let topics = if changes.is_empty() { Vec::new() } else { vec![topic] };
    FetchRequest::default().with_session_id(session.0).with_session_epoch(session.1).with_topics(topics)
}

/// (partition, its records' offsets) of everything that is told, in order.
fn told(answer: &FetchResponse) -> Vec<(i32, Vec<i64>)> {
    let parts = answer.responses.iter().flat_map(|topic| &topic.partitions);
    parts.map(|part| (part.partition_index, read(part).into_iter().map(|(offset, _)| offset).collect())).collect()
}

async fn three_partitions(client: &mut Client) {
    create(client, 5, new("t").with_num_partitions(3)).await;
}

async fn produce(client: &mut Client, partition: i32, value: &str) {
    client.ask(9, &to("t", vec![(partition, Some(batch(&[value])))])).await;
}

#[tokio::test]
async fn a_session_tells_what_is_new() {
    let node = node().await;
    let mut client = node.client().await;
    three_partitions(&mut client).await;
    produce(&mut client, 1, "a").await;
    let begun = client.ask(12, &of((0, 0), &[(0, 0), (1, 0), (2, 0)])).await;
    assert_eq!(told(&begun), [(0, vec![]), (1, vec![0]), (2, vec![])], "all of it, at first");
    let id = begun.session_id;
    assert_ne!(id, 0);
    let answer = client.ask(12, &of((id, 1), &[(1, 1)])).await;
    assert_eq!((answer.error_code, answer.session_id, told(&answer)), (0, id, vec![]), "nothing is new");
    produce(&mut client, 2, "b").await;
    assert_eq!(told(&client.ask(12, &of((id, 2), &[])).await), [(2, vec![0])], "without being named");
    assert_eq!(told(&client.ask(12, &of((id, 3), &[])).await), [(2, vec![0])], "until the client has moved");
    assert_eq!(told(&client.ask(12, &of((id, 4), &[(2, 1)])).await), []);
    assert_eq!(told(&client.ask(12, &of((id, 5), &[(1, 0)])).await), [(1, vec![0])], "moved back");
}

#[tokio::test]
async fn a_new_high_watermark_is_told_and_an_error_always() {
    let node = node().await;
    let (mut client, mut other) = (node.client().await, node.client().await);
    three_partitions(&mut client).await;
    let id = client.ask(12, &of((0, 0), &[(0, 0), (1, 5)])).await.session_id;
    let mut full = of((id, 1), &[]);
    full.max_bytes = 1 << 20;
    let answer = client.ask(12, &full).await;
    assert_eq!(told(&answer), [(1, vec![])]);
    assert_eq!(answer.responses[0].partitions[0].error_code, 1, "out of range, until it is mended");
    produce(&mut other, 0, "a").await;
    produce(&mut other, 0, "b").await;
    // At the end of what there is: no records, but a watermark that the client has not seen.
    let answer = client.ask(12, &of((id, 2), &[(0, 2), (1, 0)])).await;
    assert_eq!(told(&answer), [(0, vec![]), (1, vec![])]);
    assert_eq!(answer.responses[0].partitions[0].high_watermark, 2);
    assert_eq!(told(&client.ask(12, &of((id, 3), &[])).await), []);
}

#[tokio::test]
async fn what_is_forgotten_is_not_fetched_any_more() {
    let node = node().await;
    let mut client = node.client().await;
    three_partitions(&mut client).await;
    let id = client.ask(12, &of((0, 0), &[(0, 0), (1, 0)])).await.session_id;
    let forgotten = ForgottenTopic::default().with_topic(TopicName("t".into())).with_partitions(vec![0]);
    client.ask(12, &of((id, 1), &[(2, 0)]).with_forgotten_topics_data(vec![forgotten])).await;
    for partition in 0..3 {
        produce(&mut client, partition, "a").await;
    }
    assert_eq!(told(&client.ask(12, &of((id, 2), &[])).await), [(1, vec![0]), (2, vec![0])]);
}

#[tokio::test]
async fn one_full_partition_does_not_starve_the_others() {
    let node = node().await;
    let mut client = node.client().await;
    three_partitions(&mut client).await;
    for partition in 0..3 {
        produce(&mut client, partition, "a").await;
    }
    let little = |session, changes: &[(i32, i64)]| of(session, changes).with_max_bytes(1);
    let begun = client.ask(12, &little((0, 0), &[(0, 0), (1, 0), (2, 0)])).await;
    let id = begun.session_id;
    let full = |answer: &FetchResponse| -> Vec<i32> {
        told(answer).iter().filter(|(_, offsets)| !offsets.is_empty()).map(|(partition, _)| *partition).collect()
    };
    // The client never moves, as if more came all the time.
    let mut seen = vec![full(&begun)];
    for epoch in 1..4 {
        seen.push(full(&client.ask(12, &little((id, epoch), &[])).await));
    }
    assert_eq!(seen, [vec![0], vec![1], vec![2], vec![0]]);
}

#[tokio::test]
async fn requests_that_fit_no_session_are_refused() {
    let node = node().await;
    let (mut client, mut other) = (node.client().await, node.client().await);
    three_partitions(&mut client).await;
    let id = client.ask(12, &of((0, 0), &[(0, 0)])).await.session_id;
    let code = async |client: &mut Client, session| client.ask(12, &of(session, &[])).await.error_code;
    assert_eq!(code(&mut client, (id, 2)).await, WRONG_EPOCH);
    assert_eq!(code(&mut client, (id + 1, 1)).await, NOT_FOUND);
    assert_eq!(code(&mut other, (id, 1)).await, NOT_FOUND, "it belongs to its connection");
    let by_id = from_id(Uuid::from_u128(7), 0).with_session_id(id).with_session_epoch(1);
    assert_eq!(client.ask(13, &by_id).await.error_code, OTHER_KIND);
    assert_eq!(code(&mut client, (id, 1)).await, 0, "what was refused changes nothing");
    // −1 ends it.
    let last = client.ask(12, &from("t", 0).with_session_id(id).with_session_epoch(-1)).await;
    assert_eq!((last.error_code, last.session_id, last.responses.len()), (0, 0, 1));
    assert_eq!(code(&mut client, (id, 2)).await, NOT_FOUND);
}

#[tokio::test]
async fn without_memory_for_a_session_there_is_none() {
    // 1/16 of what replies may take, which is a quarter of half of it.
    let node = node_with(|config| {
        config.memory_budget = 1 << 20;
        config.cache_bytes = 1 << 19;
    })
    .await;
    let mut client = node.client().await;
    let many = |epoch, range: std::ops::Range<i32>| of((0, epoch), &range.map(|p| (p, 0)).collect::<Vec<_>>());
    let answer = client.ask(12, &many(0, 0..1_000)).await;
    assert_eq!((answer.error_code, answer.session_id, told(&answer).len()), (0, 0, 1_000));
    let few = client.ask(12, &many(0, 0..10)).await;
    assert_ne!(few.session_id, 0);
    let growing = of((few.session_id, 1), &(10..1_000).map(|p| (p, 0)).collect::<Vec<_>>());
    assert_eq!(client.ask(12, &growing).await.error_code, NOT_FOUND);
    let again = client.ask(12, &many(0, 0..10)).await;
    assert_ne!(again.session_id, 0, "its memory was given back");
}
