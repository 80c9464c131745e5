//! DescribeConfigs: of topics all that Apache Kafka knows, of this node what clients and tools look for.

use std::collections::HashSet;

use lakebed_broker::api::TopicInfo;
use lakebed_broker::{Broker, ConfigKind, KnownConfig};
use lakebed_record::TopicName;

use super::find_topic;
use crate::handle::topics::{Refused, refuse};
use crate::wire::create_topics::ConfigSource;
use crate::wire::describe_configs::{
    ConfigResource, ConfigSynonym, ConfigType, DescribeConfigsRequest, DescribedConfig, DescribedResource,
    ResourceType, encode_response,
};
use crate::wire::{ErrorCode, Writer};

/// What a resource takes while it is answered, and in the answer, besides its name; a config, besides values; and its documentation.
const RESOURCE_BYTES: usize = 320;
const CONFIG_BYTES: usize = 384;
const DOCUMENTATION_BYTES: usize = 128;

/// What answering takes, as far as it is known before topics are looked up.
pub(in crate::handle) fn expected_bytes(broker: &Broker, request: &DescribeConfigsRequest<'_>) -> usize {
    let documentation = if request.include_documentation { DOCUMENTATION_BYTES } else { 0 };
    let described = KnownConfig::all().len() * (CONFIG_BYTES + documentation);
    let mut seen = HashSet::new();
    let asked = request.resources.iter().filter(|asked| seen.insert((asked.resource_type, asked.name)));
    let needed = asked.map(|asked| {
        let configs = match ResourceType::from_wire(asked.resource_type) {
            Some(ResourceType::Topic) => {
                let known = TopicName::new(asked.name).ok().and_then(|name| broker.find_topic(&name));
                let set = known.and_then(|topic| broker.topic_configs(topic.id));
                set.map_or(0, |set| described + 3 * set.iter().map(|(n, v)| n.len() + v.len()).sum::<usize>())
            }
            Some(ResourceType::Broker) => described,
            _ => 0,
        };
        RESOURCE_BYTES + 2 * asked.name.len() + configs
    });
    needed.sum()
}

/// `room`: bytes for what is described.
pub(in crate::handle) async fn answer(
    broker: &Broker,
    request: &DescribeConfigsRequest<'_>,
    mut room: usize,
    w: &mut Writer,
) {
    // Said once of a resource that stands there several times.
    let mut seen = HashSet::new();
    let asked = request.resources.iter().filter(|asked| seen.insert((asked.resource_type, asked.name)));
    let asked: Vec<_> = asked.collect();
    let mut resources = Vec::new();
    for asked in asked {
        let described = describe(broker, &asked).await.and_then(|configs| {
            room = room.checked_sub(bytes(&configs, request.include_documentation)).ok_or(NO_ROOM)?;
            Ok(configs)
        });
        let (error, error_message, mut configs) = match described {
            Ok(configs) => (ErrorCode::None, None, configs),
            Err(refused) => (refused.code, refused.message, Vec::new()),
        };
        // As in Apache Kafka, none at all means every one.
        if let Some(keys) = asked.keys
            && !keys.is_empty()
        {
            let keys: HashSet<_> = keys.iter().collect();
            configs.retain(|config| keys.contains(config.name));
        }
        for config in &mut configs {
            config.synonyms.retain(|_| request.include_synonyms);
            config.documentation = config.documentation.filter(|_| request.include_documentation);
        }
        let (resource_type, name) = (asked.resource_type, asked.name);
        resources.push(DescribedResource { error, error_message, resource_type, name, configs });
    }
    encode_response(w, &resources);
}

/// Of a topic that was not known here before it was looked up: now it is, and there will be room for it.
const NO_ROOM: Refused = Refused { code: ErrorCode::RequestTimedOut, message: None };

fn bytes(configs: &[DescribedConfig<'_>], documented: bool) -> usize {
    let documentation = if documented { DOCUMENTATION_BYTES } else { 0 };
    let values = configs.iter().filter(|config| config.source == ConfigSource::Topic);
    let values = values.filter_map(|config| config.value.as_ref()).map(|value| 3 * value.len());
    configs.len() * (CONFIG_BYTES + documentation) + values.sum::<usize>()
}

async fn describe(broker: &Broker, asked: &ConfigResource<'_>) -> Result<Vec<DescribedConfig<'static>>, Refused> {
    match ResourceType::from_wire(asked.resource_type) {
        Some(ResourceType::Topic) if TopicName::new(asked.name).is_err() => {
            refuse(ErrorCode::InvalidTopic, "no topic can have this name")
        }
        Some(ResourceType::Topic) => {
            let topic = find_topic(broker, asked.name).await?;
            Ok(of_topic(broker, &topic))
        }
        // What is set for all nodes while they run: nothing.
        Some(ResourceType::Broker) if asked.name.is_empty() => Ok(Vec::new()),
        Some(ResourceType::Broker) => match asked.name.parse::<i32>() {
            Ok(id) if id == broker.node().id.0 => Ok(of_node(broker)),
            Ok(_) => {
                let why =
                    format!("this is node {}: another one is asked for its configuration itself", broker.node().id.0);
                refuse(ErrorCode::InvalidRequest, why)
            }
            Err(_) => refuse(ErrorCode::InvalidRequest, "the name of a broker is its id, a number"),
        },
        Some(ResourceType::BrokerLogger | ResourceType::ClientMetrics | ResourceType::Group) => {
            refuse(ErrorCode::InvalidRequest, "only topics and brokers have a configuration")
        }
        None => refuse(ErrorCode::InvalidRequest, format!("unknown resource type {}", asked.resource_type)),
    }
}

fn of_topic(broker: &Broker, topic: &TopicInfo) -> Vec<DescribedConfig<'static>> {
    let set = broker.topic_configs(topic.id).unwrap_or_default();
    let value_of = |name: &str| set.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
    KnownConfig::all().iter().filter_map(|known| of_known(known, value_of(known.name))).collect()
}

/// `None`: nobody expects it there.
fn of_known(known: &KnownConfig, set: Option<String>) -> Option<DescribedConfig<'static>> {
    let default = known.default.map(|value| ConfigSynonym {
        name: broker_name(known.name),
        value: Some(value.to_owned()),
        source: ConfigSource::Default,
    });
    let (value, source) = match (&set, known.default) {
        (Some(value), _) => (value.clone(), ConfigSource::Topic),
        (None, Some(default)) => (default.to_owned(), ConfigSource::Default),
        (None, None) => return None,
    };
    let set = set.map(|value| ConfigSynonym { name: known.name, value: Some(value), source: ConfigSource::Topic });
    Some(DescribedConfig {
        name: known.name,
        value: Some(value),
        read_only: false,
        source,
        sensitive: false,
        synonyms: set.into_iter().chain(default).collect(),
        config_type: config_type(known.kind),
        documentation: Some(known.documentation),
    })
}

fn config_type(kind: ConfigKind) -> ConfigType {
    match kind {
        ConfigKind::Boolean => ConfigType::Boolean,
        ConfigKind::Text => ConfigType::String,
        ConfigKind::Int => ConfigType::Int,
        ConfigKind::Long => ConfigType::Long,
        ConfigKind::Double => ConfigType::Double,
        ConfigKind::List => ConfigType::List,
    }
}

/// The name that the default of a topic config has among those of brokers (`ServerTopicConfigSynonyms` of Apache Kafka).
fn broker_name(topic_config: &'static str) -> &'static str {
    match topic_config {
        "cleanup.policy" => "log.cleanup.policy",
        "delete.retention.ms" => "log.cleaner.delete.retention.ms",
        "file.delete.delay.ms" => "log.segment.delete.delay.ms",
        "flush.messages" => "log.flush.interval.messages",
        "flush.ms" => "log.flush.interval.ms",
        "index.interval.bytes" => "log.index.interval.bytes",
        "local.retention.bytes" => "log.local.retention.bytes",
        "local.retention.ms" => "log.local.retention.ms",
        "max.compaction.lag.ms" => "log.cleaner.max.compaction.lag.ms",
        "max.message.bytes" => "message.max.bytes",
        "message.timestamp.after.max.ms" => "log.message.timestamp.after.max.ms",
        "message.timestamp.before.max.ms" => "log.message.timestamp.before.max.ms",
        "message.timestamp.type" => "log.message.timestamp.type",
        "min.cleanable.dirty.ratio" => "log.cleaner.min.cleanable.ratio",
        "min.compaction.lag.ms" => "log.cleaner.min.compaction.lag.ms",
        "preallocate" => "log.preallocate",
        "retention.bytes" => "log.retention.bytes",
        "retention.ms" => "log.retention.ms",
        "segment.bytes" => "log.segment.bytes",
        "segment.index.bytes" => "log.index.size.max.bytes",
        "segment.jitter.ms" => "log.roll.jitter.ms",
        "segment.ms" => "log.roll.ms",
        same => same,
    }
}

fn of_node(broker: &Broker) -> Vec<DescribedConfig<'static>> {
    let (node, config) = (broker.node(), broker.config());
    let given = |name, config_type, value: String| (name, config_type, value, ConfigSource::StaticBroker);
    let own = [
        given("advertised.listeners", ConfigType::List, format!("PLAINTEXT://{}:{}", node.host, node.port)),
        given("auto.create.topics.enable", ConfigType::Boolean, config.auto_create_topics.to_string()),
        given("broker.rack", ConfigType::String, config.rack.clone()),
        given("node.id", ConfigType::Int, node.id.0.to_string()),
        given("num.partitions", ConfigType::Int, config.default_partitions.to_string()),
        ("default.replication.factor", ConfigType::Int, "1".to_owned(), ConfigSource::Default),
        ("delete.topic.enable", ConfigType::Boolean, "true".to_owned(), ConfigSource::Default),
    ];
    let own = own.map(|(name, config_type, value, source)| DescribedConfig {
        name,
        value: (name != "broker.rack" || !value.is_empty()).then(|| value.clone()),
        read_only: true,
        source,
        sensitive: false,
        synonyms: vec![ConfigSynonym { name, value: Some(value), source }],
        config_type,
        documentation: None,
    });
    let of_topics = KnownConfig::all().iter().filter_map(|known| {
        let described = of_known(known, None)?;
        Some(DescribedConfig { name: broker_name(known.name), read_only: true, ..described })
    });
    let mut configs: Vec<_> = of_topics.chain(own).collect();
    configs.sort_by_key(|config| config.name);
    configs
}
