//! OffsetCommit, OffsetFetch, OffsetDelete.

use std::sync::Arc;

use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use kafka_protocol::messages::*;
use lakebed_store::Store;
use lakebed_store::env::Env;
use lakebed_store::memory::MemoryStore;

use super::*;
use crate::client::{node, node_on};

fn all(offsets: &[(i32, i64)]) -> Fetched {
    (0, offsets.iter().map(|(partition, offset)| ("t".to_owned(), *partition, *offset, 0)).collect())
}

#[tokio::test]
async fn every_version_commits_and_fetches() {
    let node = node().await;
    let mut client = node.client().await;
    let id = topic(&mut client, "t", 3).await;
    for version in 2..=9 {
        let request = commit(&format!("g{version}"), "", -1, "t", &[(0, 40), (2, 42), (3, 1)]);
        assert_eq!(committed(&mut client, version, &request).await, [0, 0, 3], "version {version}");
    }
    let by_id = commit("g10", "", -1, "t", &[(0, 40), (2, 42), (3, 1)]);
    assert_eq!(committed_by_id(&mut client, &by_id, id).await, [0, 0, 3]);
    for version in 1..=10 {
        let mut request = OffsetFetchRequest::default();
        let named = OffsetFetchRequestTopics::default().with_name(TopicName(text("t")));
        let asked = OffsetFetchRequestGroup::default().with_group_id(group(&format!("g{}", version.max(2))));
        match version {
            1..=7 => {
                let topic = offset_fetch_request::OffsetFetchRequestTopic::default().with_name(TopicName(text("t")));
                request.group_id = asked.group_id;
                request.topics = Some(vec![topic.with_partition_indexes(vec![0, 1, 2, 7])]);
            }
            _ => {
                request.groups = vec![asked.with_topics(Some(vec![named.with_partition_indexes(vec![0, 1, 2, 7])]))];
            }
        }
        let answer = match version {
            10 => client.ask_by_id(10, &request, "t", id).await,
            _ => client.ask(version, &request).await,
        };
        let found: Vec<_> = match version {
            1..=7 => {
                let partitions = answer.topics[0].partitions.iter();
                partitions.map(|p| (p.committed_offset, p.metadata.clone().unwrap(), p.error_code)).collect()
            }
            _ => {
                let partitions = answer.groups[0].topics[0].partitions.iter();
                partitions.map(|p| (p.committed_offset, p.metadata.clone().unwrap(), p.error_code)).collect()
            }
        };
        let note = |text: &'static str| StrBytes::from_static_str(text);
        let expected = [(40, note("note"), 0), (-1, note(""), 0), (42, note("note"), 0), (-1, note(""), 0)];
        assert_eq!(found, expected, "version {version}");
    }
}

#[tokio::test]
async fn all_offsets_of_several_groups() {
    let node = node().await;
    let mut client = node.client().await;
    topic(&mut client, "t", 2).await;
    assert_eq!(committed(&mut client, 9, &commit("g", "", -1, "t", &[(1, 1), (0, 9)])).await, [0, 0]);
    assert_eq!(committed(&mut client, 9, &commit("h", "", -1, "t", &[(0, 3)])).await, [0]);
    let asked = |id: &str| OffsetFetchRequestGroup::default().with_group_id(group(id)).with_topics(None);
    let groups = vec![asked("h"), asked("none"), asked("g"), asked("")];
    let answer = client.ask(9, &OffsetFetchRequest::default().with_groups(groups)).await;
    let partitions = |n: usize| {
        let partitions = answer.groups[n].topics.iter().flat_map(|t| &t.partitions);
        partitions.map(|p| (p.partition_index, p.committed_offset)).collect::<Vec<_>>()
    };
    assert_eq!(answer.groups.iter().map(|g| g.error_code).collect::<Vec<_>>(), [0, 0, 0, 24]);
    assert_eq!((partitions(0), partitions(1), partitions(2)), (vec![(0, 3)], vec![], vec![(0, 9), (1, 1)]));
}

#[tokio::test]
async fn offsets_that_cannot_be_kept() {
    let node = node().await;
    let mut client = node.client().await;
    topic(&mut client, "t", 1).await;
    assert_eq!(committed(&mut client, 9, &commit("", "", -1, "t", &[(0, 1)])).await, [24]);
    assert_eq!(committed(&mut client, 9, &commit("g", "", -1, "unknown", &[(0, 1)])).await, [3]);
    assert_eq!(committed(&mut client, 9, &commit("g", "", -1, "not a name", &[(0, 1)])).await, [3]);
    assert_eq!(committed(&mut client, 9, &commit("g", "m", 3, "t", &[(0, 1)])).await, [22], "there is no group");
    let mut long = commit("g", "", -1, "t", &[(0, 1)]);
    long.topics[0].partitions[0].committed_metadata = Some(text(&"x".repeat(4_097)));
    assert_eq!(committed(&mut client, 9, &long).await, [12]);
    long.topics[0].partitions[0].committed_metadata = Some(text(&"x".repeat(4_096)));
    assert_eq!(committed(&mut client, 9, &long).await, [0]);
    let by_id = commit("g", "", -1, "t", &[(0, 1)]);
    assert_eq!(committed_by_id(&mut client, &by_id, Uuid::from_u128(77)).await, [100]);
    let (member, generation) = alone(&mut client, "live").await;
    assert_eq!(committed(&mut client, 9, &commit("live", "", -1, "t", &[(0, 1)])).await, [25], "it has members");
    assert_eq!(committed(&mut client, 9, &commit("live", &member, generation, "t", &[(0, 1)])).await, [0]);
}

#[tokio::test]
async fn offsets_and_generation_survive_a_restart() {
    let env = Env::system();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(&env));
    let node = node_on(Arc::clone(&store), env.clone(), |_| {}).await;
    let mut client = node.client().await;
    topic(&mut client, "t", 2).await;
    let (member, generation) = alone(&mut client, "g").await;
    assert_eq!(committed(&mut client, 9, &commit("g", &member, generation, "t", &[(0, 5), (1, 6)])).await, [0, 0]);
    node.stop.send(true).unwrap();
    node.stopped.await.unwrap().unwrap();
    node.broker.shutdown().await;

    let node = node_on(store, env, |_| {}).await;
    let mut client = node.client().await;
    assert_eq!(fetch(&mut client, "g", None).await, all(&[(0, 5), (1, 6)]));
    assert_eq!(heartbeat(&mut client, "g", &member, generation).await, 0, "the member is known still");
    assert_eq!(committed(&mut client, 9, &commit("g", &member, generation, "t", &[(0, 7)])).await, [0]);
    assert_eq!(fetch(&mut client, "g", Some(("t", &[0, 1]))).await, all(&[(0, 7), (1, 6)]));
}

#[tokio::test]
async fn offsets_of_a_topic_that_is_gone_are_left_out() {
    let node = node().await;
    let mut client = node.client().await;
    topic(&mut client, "t", 1).await;
    topic(&mut client, "gone", 1).await;
    assert_eq!(committed(&mut client, 9, &commit("g", "", -1, "gone", &[(0, 5)])).await, [0]);
    assert_eq!(committed(&mut client, 9, &commit("g", "", -1, "t", &[(0, 6)])).await, [0]);
    let state = DeleteTopicState::default().with_name(Some(TopicName(text("gone"))));
    client.ask(6, &DeleteTopicsRequest::default().with_topics(vec![state])).await;
    assert_eq!(fetch(&mut client, "g", None).await, all(&[(0, 6)]));
    assert_eq!(fetch(&mut client, "g", Some(("gone", &[0]))).await, (0, vec![("gone".to_owned(), 0, -1, 0)]));
    let by_id = OffsetFetchRequestTopics::default().with_name(TopicName(text("t"))).with_partition_indexes(vec![0]);
    let asked = OffsetFetchRequestGroup::default().with_group_id(group("g")).with_topics(Some(vec![by_id]));
    let request = OffsetFetchRequest::default().with_groups(vec![asked]);
    let answer = client.ask_by_id(10, &request, "t", Uuid::from_u128(5)).await;
    assert_eq!(answer.groups[0].topics[0].partitions[0].error_code, 100);
}

#[tokio::test]
async fn offsets_are_deleted_unless_somebody_subscribes() {
    let node = node().await;
    let mut client = node.client().await;
    topic(&mut client, "t", 2).await;
    topic(&mut client, "u", 1).await;
    let (member, generation) = alone(&mut client, "g").await;
    assert_eq!(committed(&mut client, 9, &commit("g", &member, generation, "t", &[(0, 1), (1, 2)])).await, [0, 0]);
    assert_eq!(committed(&mut client, 9, &commit("g", &member, generation, "u", &[(0, 3)])).await, [0]);
    let asked = |id: &str| {
        let partition = |n| OffsetDeleteRequestPartition::default().with_partition_index(n);
        let topic = |name: &str, partitions: &[i32]| {
            OffsetDeleteRequestTopic::default()
                .with_name(TopicName(text(name)))
                .with_partitions(partitions.iter().map(|n| partition(*n)).collect())
        };
        let topics = vec![topic("t", &[0, 9]), topic("none", &[0]), topic("u", &[0])];
        OffsetDeleteRequest::default().with_group_id(group(id)).with_topics(topics)
    };
    let codes = |answer: &OffsetDeleteResponse| {
        answer.topics.iter().flat_map(|t| t.partitions.iter().map(|p| p.error_code)).collect::<Vec<_>>()
    };
    let answer = client.ask(0, &asked("g")).await;
    assert_eq!((answer.error_code, codes(&answer)), (0, vec![86, 3, 3, 0]));
    assert_eq!(fetch(&mut client, "g", None).await, all(&[(0, 1), (1, 2)]));
    leave(&mut client, "g", &member).await;
    assert_eq!(codes(&client.ask(0, &asked("g")).await), [0, 3, 3, 0]);
    assert_eq!(fetch(&mut client, "g", None).await, all(&[(1, 2)]));
    let answer = client.ask(0, &asked("none")).await;
    assert_eq!((answer.error_code, answer.topics.len()), (69, 0));
}
