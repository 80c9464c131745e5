//! DescribeConfigs, AlterConfigs, IncrementalAlterConfigs, ListConfigResources.

use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::create_topics_request::CreatableTopicConfig;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult};
use kafka_protocol::messages::{alter_configs_request as replacing, incremental_alter_configs_request as changing, *};

use crate::client::{Client, batch, node, node_with};
use crate::produce::to;
use crate::topics::{create, new};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;
/// Sources.
const OF_TOPIC: i8 = 1;
const OF_NODE: i8 = 4;
const DEFAULT: i8 = 5;

fn asked(kind: i8, name: &str) -> DescribeConfigsResource {
    let resource = DescribeConfigsResource::default().with_configuration_keys(None);
    resource.with_resource_type(kind).with_resource_name(name.to_owned().into())
}

async fn describe(client: &mut Client, version: i16, resource: DescribeConfigsResource) -> DescribeConfigsResult {
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let request = request.with_include_synonyms(true).with_include_documentation(version >= 3);
    client.ask(version, &request).await.results.remove(0)
}

fn config<'a>(described: &'a DescribeConfigsResult, name: &str) -> &'a DescribeConfigsResourceResult {
    described.configs.iter().find(|config| config.name.as_str() == name).unwrap()
}

/// What holds, and where it comes from.
async fn holds(client: &mut Client, topic: &str, name: &str) -> (String, i8) {
    let described = describe(client, 4, asked(TOPIC, topic)).await;
    let config = config(&described, name);
    (config.value.as_ref().unwrap().to_string(), config.config_source)
}

fn change(kind: i8, name: &str, changes: &[(&str, i8, Option<&str>)]) -> changing::AlterConfigsResource {
    let configs = changes.iter().map(|(name, operation, value)| {
        let value = value.map(|value| value.to_owned().into());
        let config = changing::AlterableConfig::default().with_name((*name).to_owned().into());
        config.with_config_operation(*operation).with_value(value)
    });
    let resource = changing::AlterConfigsResource::default().with_configs(configs.collect());
    resource.with_resource_type(kind).with_resource_name(name.to_owned().into())
}

async fn alter(client: &mut Client, resource: changing::AlterConfigsResource) -> i16 {
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let answer = client.ask(1, &request).await.responses.remove(0);
    assert_eq!(answer.error_message.is_some(), answer.error_code != 0);
    answer.error_code
}

async fn replace(client: &mut Client, version: i16, configs: &[(&str, Option<&str>)]) -> AlterConfigsResourceResponse {
    let configs = configs.iter().map(|(name, value)| {
        let value = value.map(|value| value.to_owned().into());
        replacing::AlterableConfig::default().with_name((*name).to_owned().into()).with_value(value)
    });
    let resource = replacing::AlterConfigsResource::default().with_configs(configs.collect());
    let resource = resource.with_resource_type(TOPIC).with_resource_name("t".into());
    client.ask(version, &AlterConfigsRequest::default().with_resources(vec![resource])).await.responses.remove(0)
}

#[tokio::test]
async fn topics_are_described_with_all_that_apache_kafka_knows() {
    let node = node().await;
    let mut client = node.client().await;
    let given = CreatableTopicConfig::default().with_name("segment.bytes".into()).with_value(Some("1048576".into()));
    create(&mut client, 7, new("t").with_configs(vec![given])).await;
    for version in 1..=4 {
        let described = describe(&mut client, version, asked(TOPIC, "t")).await;
        assert_eq!((described.error_code, described.resource_name.as_str()), (0, "t"), "version {version}");
        let set = config(&described, "segment.bytes");
        assert_eq!((set.value.as_ref().unwrap().as_str(), set.config_source), ("1048576", OF_TOPIC));
        let synonyms: Vec<_> = set.synonyms.iter().map(|s| (s.name.as_str(), s.source)).collect();
        assert_eq!(synonyms, [("segment.bytes", OF_TOPIC), ("log.segment.bytes", DEFAULT)]);
        // 3: int; and it is said that it tunes a disk.
        assert_eq!(set.config_type, if version >= 3 { 3 } else { 0 });
        let documentation = set.documentation.as_ref().map(ToString::to_string).unwrap_or_default();
        assert_eq!(documentation.contains("without effect"), version >= 3);
        // Of Apache Kafka 4.3's `LogConfig`.
        let defaults = [
            ("cleanup.policy", "delete", 7),
            ("compression.type", "producer", 2),
            ("max.message.bytes", "1048588", 3),
            ("min.cleanable.dirty.ratio", "0.5", 6),
            ("preallocate", "false", 1),
            ("flush.ms", "9223372036854775807", 5),
        ];
        for (name, value, config_type) in defaults {
            let config = config(&described, name);
            assert_eq!((config.value.as_ref().unwrap().as_str(), config.config_source), (value, DEFAULT), "{name}");
            assert_eq!(config.config_type, if version >= 3 { config_type } else { 0 }, "{name}");
        }
    }
    let some = asked(TOPIC, "t").with_configuration_keys(Some(vec!["flush.ms".into(), "none".into()]));
    let described = describe(&mut client, 4, some).await;
    assert_eq!(described.configs.iter().map(|config| config.name.as_str()).collect::<Vec<_>>(), ["flush.ms"]);
    let none = DescribeConfigsRequest::default().with_resources(vec![asked(TOPIC, "t")]);
    let answer = client.ask(4, &none).await;
    assert!(answer.results[0].configs.iter().all(|c| c.synonyms.is_empty() && c.documentation.is_none()));
}

#[tokio::test]
async fn nodes_are_described() {
    let node = node_with(|config| config.default_partitions = 7).await;
    let mut client = node.client().await;
    let described = describe(&mut client, 4, asked(BROKER, "1")).await;
    let partitions = config(&described, "num.partitions");
    assert_eq!((partitions.value.as_ref().unwrap().as_str(), partitions.config_source), ("7", OF_NODE));
    assert!(described.configs.iter().all(|config| config.read_only));
    let listeners = config(&described, "advertised.listeners");
    assert_eq!(listeners.value.as_ref().unwrap().as_str(), "PLAINTEXT://broker.example:4711");
    assert_eq!(config(&described, "log.cleanup.policy").value.as_ref().unwrap().as_str(), "delete");
    let all = describe(&mut client, 4, asked(BROKER, "")).await;
    assert_eq!((all.error_code, all.configs.len()), (0, 0));
}

#[tokio::test]
async fn what_has_no_configuration_is_not_described() {
    let node = node().await;
    let mut client = node.client().await;
    let wrong = [
        (3, TOPIC, "unknown"),
        (17, TOPIC, "no name"),
        (42, BROKER, "2"),
        (42, BROKER, "one"),
        (42, 8, "1"),
        (42, 32, "g"),
        (42, 99, "t"),
    ];
    for (code, kind, name) in wrong {
        let described = describe(&mut client, 4, asked(kind, name)).await;
        assert_eq!((described.error_code, described.configs.len()), (code, 0), "{kind} {name}");
        assert!(described.error_message.is_some());
        assert_eq!((described.resource_type, described.resource_name.as_str()), (kind, name));
    }
}

#[tokio::test]
async fn configs_are_changed_one_by_one() {
    let node = node().await;
    let mut client = node.client().await;
    create(&mut client, 7, new("t")).await;
    let max = "max.message.bytes";
    assert_eq!(
        alter(&mut client, change(TOPIC, "t", &[(max, SET, Some("200")), ("flush.ms", SET, Some("1"))])).await,
        0
    );
    assert_eq!(holds(&mut client, "t", max).await, ("200".into(), OF_TOPIC));
    // It holds at once, also for those who have read the old one.
    let large = batch(&["x".repeat(300).as_str()]);
    let stored = client.ask(9, &to("t", vec![(0, Some(large.clone()))])).await;
    assert_eq!(stored.responses[0].partition_responses[0].error_code, 10);
    assert_eq!(alter(&mut client, change(TOPIC, "t", &[(max, DELETE, None)])).await, 0);
    assert_eq!(holds(&mut client, "t", max).await, ("1048588".into(), DEFAULT));
    assert_eq!(holds(&mut client, "t", "flush.ms").await, ("1".into(), OF_TOPIC));
    let stored = client.ask(9, &to("t", vec![(0, Some(large))])).await;
    assert_eq!(stored.responses[0].partition_responses[0].error_code, 0);
}

#[tokio::test]
async fn lists_are_added_to_and_taken_from() {
    let node = node().await;
    let mut client = node.client().await;
    create(&mut client, 7, new("t")).await;
    let list = "leader.replication.throttled.replicas";
    for (operation, value, expected) in
        [(APPEND, "0:1,1:1", "0:1,1:1"), (APPEND, "1:1,2:1", "0:1,1:1,2:1"), (SUBTRACT, "0:1,7:7", "1:1,2:1")]
    {
        assert_eq!(alter(&mut client, change(TOPIC, "t", &[(list, operation, Some(value))])).await, 0);
        assert_eq!(holds(&mut client, "t", list).await, (expected.into(), OF_TOPIC));
    }
    // What is there by default counts.
    assert_eq!(alter(&mut client, change(TOPIC, "t", &[("cleanup.policy", APPEND, Some("compact"))])).await, 40);
    assert_eq!(alter(&mut client, change(TOPIC, "t", &[("cleanup.policy", SUBTRACT, Some("delete"))])).await, 40);
    assert_eq!(alter(&mut client, change(TOPIC, "t", &[("cleanup.policy", APPEND, Some("delete"))])).await, 0);
    assert_eq!(holds(&mut client, "t", "cleanup.policy").await.0, "delete");
}

#[tokio::test]
async fn changes_that_are_refused_change_nothing() {
    let node = node().await;
    let mut client = node.client().await;
    create(&mut client, 7, new("t")).await;
    let before = describe(&mut client, 4, asked(TOPIC, "t")).await;
    let good = ("flush.ms", SET, Some("5"));
    let wrong = [
        (3, change(TOPIC, "unknown", &[good])),
        (3, change(TOPIC, "no name", &[good])),
        (42, change(BROKER, "1", &[good])),
        (42, change(32, "g", &[good])),
        (42, change(99, "t", &[good])),
        (40, change(TOPIC, "t", &[good, ("cleanup.policy", SET, Some("compact"))])),
        (40, change(TOPIC, "t", &[good, ("retention.ms", SET, Some("long"))])),
        (40, change(TOPIC, "t", &[good, ("no.config", SET, Some("1"))])),
        (40, change(TOPIC, "t", &[good, ("retention.ms", APPEND, Some("1"))])),
        (42, change(TOPIC, "t", &[good, ("retention.ms", SET, None)])),
        (42, change(TOPIC, "t", &[good, ("retention.ms", 9, Some("1"))])),
        (42, change(TOPIC, "t", &[good, good])),
    ];
    for (code, resource) in wrong {
        assert_eq!(alter(&mut client, resource.clone()).await, code, "{resource:?}");
    }
    let twice = vec![change(TOPIC, "t", &[good]), change(TOPIC, "t", &[good])];
    let answer = client.ask(0, &IncrementalAlterConfigsRequest::default().with_resources(twice)).await;
    assert_eq!(answer.responses.iter().map(|r| r.error_code).collect::<Vec<_>>(), [42]);
    let only = IncrementalAlterConfigsRequest::default().with_validate_only(true);
    for (code, value) in [(0, "5"), (40, "-5")] {
        let resources = vec![change(TOPIC, "t", &[("flush.ms", SET, Some(value))])];
        let answer = client.ask(1, &only.clone().with_resources(resources)).await;
        assert_eq!(answer.responses[0].error_code, code);
    }
    assert_eq!(describe(&mut client, 4, asked(TOPIC, "t")).await, before);
}

#[tokio::test]
async fn replacing_configs_drops_the_others() {
    let node = node().await;
    let mut client = node.client().await;
    create(&mut client, 7, new("t")).await;
    for version in 0..=2 {
        assert_eq!(replace(&mut client, version, &[("flush.ms", Some("5"))]).await.error_code, 0);
        assert_eq!(holds(&mut client, "t", "flush.ms").await, ("5".into(), OF_TOPIC));
        assert_eq!(replace(&mut client, version, &[("segment.ms", Some("6"))]).await.error_code, 0);
        assert_eq!(holds(&mut client, "t", "flush.ms").await.1, DEFAULT);
        assert_eq!(holds(&mut client, "t", "segment.ms").await, ("6".into(), OF_TOPIC));
    }
    let refused = replace(&mut client, 2, &[("cleanup.policy", Some("compact"))]).await;
    assert_eq!(refused.error_code, 40);
    assert_eq!(refused.error_message.unwrap().as_str(), "log compaction is not supported; delete only");
    assert_eq!(replace(&mut client, 2, &[("flush.ms", None)]).await.error_code, 42);
    assert_eq!(holds(&mut client, "t", "segment.ms").await, ("6".into(), OF_TOPIC));
}

#[tokio::test]
async fn topics_that_are_to_be_compacted_are_not_created() {
    let node = node().await;
    let mut client = node.client().await;
    let policy = |value: &'static str| {
        let config = CreatableTopicConfig::default().with_name("cleanup.policy".into());
        vec![config.with_value(Some(value.into()))]
    };
    let refused = create(&mut client, 7, new("t").with_configs(policy("compact"))).await;
    assert_eq!(refused.error_code, 40);
    assert_eq!(refused.error_message.unwrap().as_str(), "log compaction is not supported; delete only");
    assert_eq!(create(&mut client, 7, new("t").with_configs(policy("delete"))).await.error_code, 0);
}

#[tokio::test]
async fn what_has_a_configuration_is_listed() {
    let node = node().await;
    let mut client = node.client().await;
    create(&mut client, 7, new("a")).await;
    create(&mut client, 7, new("b")).await;
    let (topics, broker) = ([("a", TOPIC), ("b", TOPIC)], [("1", BROKER)]);
    for (types, expected) in [
        (vec![], [topics.as_slice(), &broker].concat()),
        (vec![TOPIC], topics.to_vec()),
        (vec![BROKER, 32], broker.to_vec()),
        (vec![16], vec![]),
    ] {
        let answer = client.ask(1, &ListConfigResourcesRequest::default().with_resource_types(types)).await;
        let listed = answer.config_resources.iter().map(|r| (r.resource_name.as_str(), r.resource_type));
        assert_eq!((answer.error_code, listed.collect::<Vec<_>>()), (0, expected));
    }
    let unknown = ListConfigResourcesRequest::default().with_resource_types(vec![TOPIC, 3]);
    assert_eq!(client.ask(1, &unknown).await.error_code, 35);
    // Version 0 is about client metrics.
    assert!(client.ask(0, &ListConfigResourcesRequest::default()).await.config_resources.is_empty());
}
