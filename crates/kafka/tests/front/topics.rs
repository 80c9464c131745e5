//! Metadata, CreateTopics, DeleteTopics.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::*;
use lakebed_store::env::Env;
use lakebed_store::memory::MemoryStore;
use lakebed_store::profile::{Profile, Profiled};
use tokio::time::Instant;
use uuid::Uuid;

use crate::client::{Client, node, node_on, node_with};

pub fn named(name: &str) -> MetadataRequestTopic {
    MetadataRequestTopic::default().with_name(Some(TopicName(name.to_owned().into())))
}

fn by_id(id: Uuid) -> MetadataRequestTopic {
    MetadataRequestTopic::default().with_name(None).with_topic_id(id)
}

async fn metadata(client: &mut Client, version: i16, topics: Option<Vec<MetadataRequestTopic>>) -> MetadataResponse {
    client.ask(version, &MetadataRequest::default().with_topics(topics)).await
}

pub fn new(name: &str) -> CreatableTopic {
    let name = TopicName(name.to_owned().into());
    CreatableTopic::default().with_name(name).with_num_partitions(-1).with_replication_factor(-1)
}

pub async fn create(client: &mut Client, version: i16, topic: CreatableTopic) -> CreatableTopicResult {
    let mut answer = client.ask(version, &CreateTopicsRequest::default().with_topics(vec![topic])).await;
    answer.topics.remove(0)
}

fn names(topics: &[MetadataResponseTopic]) -> Vec<&str> {
    topics.iter().map(|topic| topic.name.as_ref().map_or("", |name| name.as_str())).collect()
}

#[tokio::test]
async fn topics_are_created_when_both_sides_want_it() {
    let node = node_with(|config| config.default_partitions = 3).await;
    let mut client = node.client().await;
    for version in 0..=13 {
        let name = format!("auto-{version}");
        let answer = metadata(&mut client, version, Some(vec![named(&name)])).await;
        let (topic, broker) = (&answer.topics[0], &answer.brokers[0]);
        assert_eq!((topic.error_code, topic.partitions.len()), (0, 3), "version {version}");
        assert_eq!((broker.node_id.0, broker.host.as_str(), broker.port), (1, "broker.example", 4711));
        assert!(topic.partitions.iter().all(|p| p.leader_id == broker.node_id && p.error_code == 0));
        assert_eq!(topic.topic_id.is_nil(), version < 10);
    }
    let unwanted =
        MetadataRequest::default().with_topics(Some(vec![named("no")])).with_allow_auto_topic_creation(false);
    let answer = client.ask(4, &unwanted).await;
    assert_eq!((answer.topics[0].error_code, answer.topics[0].partitions.len()), (3, 0));
    let answer = metadata(&mut client, 8, Some(vec![named("not a name"), named("twice"), named("twice")])).await;
    assert_eq!(answer.topics.iter().map(|topic| topic.error_code).collect::<Vec<_>>(), [17, 0]);

    let strict = node_with(|config| config.auto_create_topics = false).await;
    let answer = metadata(&mut strict.client().await, 4, Some(vec![named("no")])).await;
    assert_eq!(answer.topics[0].error_code, 3);
}

#[tokio::test]
async fn all_topics_none_and_by_id() {
    let node = node().await;
    let mut client = node.client().await;
    let created = metadata(&mut client, 12, Some(vec![named("a"), named("b")])).await;
    for version in 0..=13 {
        let all = if version == 0 { Some(Vec::new()) } else { None };
        let answer = metadata(&mut client, version, all).await;
        assert_eq!(names(&answer.topics), ["a", "b"], "version {version}");
        if version > 0 {
            assert!(metadata(&mut client, version, Some(Vec::new())).await.topics.is_empty());
        }
    }
    let (a, unknown) = (created.topics[0].topic_id, Uuid::from_u128(42));
    let answer = metadata(&mut client, 12, Some(vec![by_id(unknown), by_id(a)])).await;
    assert_eq!((answer.topics[0].error_code, &answer.topics[0].name, answer.topics[0].topic_id), (100, &None, unknown));
    assert_eq!((answer.topics[1].error_code, names(&answer.topics[1..])[0]), (0, "a"));
}

#[tokio::test]
async fn creating_topics() {
    let node = node_with(|config| config.default_partitions = 2).await;
    let mut client = node.client().await;
    for version in 2..=7 {
        let name = format!("t{version}");
        let created = create(&mut client, version, new(&name).with_num_partitions(5)).await;
        assert_eq!((created.error_code, created.topic_id.is_nil()), (0, version < 7));
        if version >= 5 {
            assert_eq!(created.num_partitions, 5);
            let configs = created.configs.unwrap();
            let max = configs.iter().find(|c| c.name.as_str() == "max.message.bytes").unwrap();
            assert_eq!((max.value.as_ref().unwrap().as_str(), max.config_source), ("1048588", 5));
        }
        let again = create(&mut client, version, new(&name)).await;
        assert_eq!(again.error_code, 36);
        assert!(again.error_message.is_some());
    }
    assert_eq!(create(&mut client, 7, new("default")).await.num_partitions, 2);

    let config = CreatableTopicConfig::default().with_name("max.message.bytes".into()).with_value(Some("9999".into()));
    let created = create(&mut client, 7, new("set").with_configs(vec![config])).await;
    let set = created.configs.unwrap().into_iter().find(|c| c.config_source == 1).unwrap();
    assert_eq!((set.name.as_str(), set.value.unwrap().as_str()), ("max.message.bytes", "9999"));
}

#[tokio::test]
async fn topics_that_cannot_be_created() {
    let node = node().await;
    let mut client = node.client().await;
    let config = |value: Option<&'static str>| {
        let config = CreatableTopicConfig::default().with_name("max.message.bytes".into());
        vec![config.with_value(value.map(Into::into))]
    };
    let assignment = |partition| {
        CreatableReplicaAssignment::default().with_partition_index(partition).with_broker_ids(vec![1.into()])
    };
    let wrong = [
        (17, new("..")),
        (37, new("t").with_num_partitions(0)),
        (38, new("t").with_replication_factor(0)),
        (40, new("t").with_configs(config(None))),
        (40, new("t").with_configs(config(Some("many")))),
        (42, new("t").with_num_partitions(1).with_assignments(vec![assignment(0)])),
        (39, new("t").with_assignments(vec![assignment(0), assignment(2)])),
    ];
    for (code, topic) in wrong {
        let result = create(&mut client, 7, topic).await;
        assert_eq!(result.error_code, code, "{:?}", result.error_message);
        assert!(result.error_message.is_some() && result.configs.is_none());
    }
    let twice = CreateTopicsRequest::default().with_topics(vec![new("t"), new("u"), new("t")]);
    let answer = client.ask(5, &twice).await;
    assert_eq!(answer.topics.iter().map(|topic| topic.error_code).collect::<Vec<_>>(), [42, 0]);

    let assigned = create(&mut client, 7, new("a").with_assignments(vec![assignment(1), assignment(0)])).await;
    assert_eq!((assigned.error_code, assigned.num_partitions), (0, 2));
}

#[tokio::test]
async fn validating_creates_nothing() {
    let node = node().await;
    let mut client = node.client().await;
    let request = CreateTopicsRequest::default().with_topics(vec![new("t"), new("..")]).with_validate_only(true);
    let answer = client.ask(7, &request).await;
    assert_eq!(answer.topics.iter().map(|topic| topic.error_code).collect::<Vec<_>>(), [0, 17]);
    assert!(metadata(&mut client, 12, None).await.topics.is_empty());
}

#[tokio::test]
async fn deleting_topics() {
    let node = node().await;
    let mut client = node.client().await;
    for version in 1..=5 {
        create(&mut client, 7, new("t")).await;
        let names = vec![TopicName("t".into()), TopicName("unknown".into())];
        let answer = client.ask(version, &DeleteTopicsRequest::default().with_topic_names(names)).await;
        assert_eq!(answer.responses.iter().map(|r| r.error_code).collect::<Vec<_>>(), [0, 3], "version {version}");
    }
    let (t, u) = (create(&mut client, 7, new("t")).await.topic_id, create(&mut client, 7, new("u")).await.topic_id);
    let state = DeleteTopicState::default;
    let named = |name: &'static str| state().with_name(Some(TopicName(name.into())));
    let topics = vec![
        named("t").with_topic_id(t),
        state().with_topic_id(Uuid::from_u128(9)),
        state().with_topic_id(t),
        named("u"),
    ];
    let answer = client.ask(6, &DeleteTopicsRequest::default().with_topics(topics)).await;
    assert_eq!(answer.responses.iter().map(|r| r.error_code).collect::<Vec<_>>(), [42, 100, 0, 0]);
    assert_eq!((answer.responses[2].name.as_ref().unwrap().as_str(), answer.responses[3].topic_id), ("t", u));
    assert!(metadata(&mut client, 12, None).await.topics.is_empty());
}

#[tokio::test]
async fn a_topic_named_twice_is_not_deleted() {
    let node = node().await;
    let mut client = node.client().await;
    let mut ids = Vec::new();
    for name in ["a", "b", "c", "d"] {
        ids.push(create(&mut client, 7, new(name)).await.topic_id);
    }
    let state = DeleteTopicState::default;
    let named = |name: &'static str| state().with_name(Some(TopicName(name.into())));
    let topics = vec![
        named("a"),
        named("b"),
        named("a"),
        state().with_topic_id(ids[2]),
        state().with_topic_id(ids[2]),
        state().with_topic_id(ids[3]),
        named("d"),
    ];
    let answer = client.ask(6, &DeleteTopicsRequest::default().with_topics(topics)).await;
    assert_eq!(answer.responses.iter().map(|r| r.error_code).collect::<Vec<_>>(), [42, 0, 42, 42, 42]);
    assert_eq!(names(&metadata(&mut client, 12, None).await.topics), ["a", "c", "d"]);
}

#[tokio::test]
async fn many_topics_at_once_keep_their_order() {
    let node = node().await;
    let mut client = node.client().await;
    let name = |n: usize| format!("t{n:03}");
    let topics = (0..300).map(|n| new(&if n == 70 { "not a name".to_owned() } else { name(n) })).collect();
    let answer = client.ask(7, &CreateTopicsRequest::default().with_topics(topics)).await;
    for (n, topic) in answer.topics.iter().enumerate() {
        assert_eq!(topic.error_code, if n == 70 { 17 } else { 0 });
        assert!(n == 70 || topic.name.as_str() == name(n));
    }
    let names = (0..300).map(|n| TopicName(name(n).into())).collect();
    let answer = client.ask(5, &DeleteTopicsRequest::default().with_topic_names(names)).await;
    for (n, topic) in answer.responses.iter().enumerate() {
        assert_eq!(
            (topic.error_code, topic.name.as_ref().unwrap().as_str()),
            (if n == 70 { 3 } else { 0 }, name(n).as_str())
        );
    }
}

#[tokio::test]
async fn a_request_has_one_time_out_for_all_its_topics() {
    let env = Env::system();
    let store = Profiled::new(Arc::new(MemoryStore::new(&env)), Profile::S3Standard, &env);
    let node = node_on(Arc::new(store), env, |_| {}).await;
    let mut client = node.client().await;
    let begun = Instant::now();
    let topics = (0..200).map(|n| new(&format!("t{n}"))).collect();
    let request = CreateTopicsRequest::default().with_topics(topics).with_timeout_ms(20);
    let answer = client.ask(7, &request).await;
    assert_eq!(answer.topics.len(), 200);
    assert!(answer.topics.iter().skip(64).all(|topic| topic.error_code == 7), "not begun after the time-out");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn large_answers_wait_for_memory() {
    let node = node_with(|config| config.memory_budget = 8 << 20).await;
    let mut client = node.client().await;
    let created = create(&mut client, 7, new("wide").with_num_partitions(10_000)).await;
    assert_eq!(created.error_code, 0);
    for version in [0, 1, 7, 12, 13] {
        let asked = Some(vec![named("wide")]);
        assert_eq!(metadata(&mut client, version, asked).await.topics[0].partitions.len(), 10_000);
        let all = if version == 0 { Some(Vec::new()) } else { None };
        assert_eq!(metadata(&mut client, version, all).await.topics[0].partitions.len(), 10_000);
    }
}
