//! Topics as clients see them: names resolved, configs parsed once and remembered by topic id.

use std::collections::HashMap;
use std::sync::Arc;

use lakebed_manifest::{Manifest, Topic};
use lakebed_record::{Namespace, TopicId, TopicName};
use parking_lot::RwLock;

use crate::api::{TimestampType, TopicConfig, TopicInfo};

/// Most partitions of one topic, so that one request cannot fill the state.
pub const MAX_PARTITIONS: i32 = 10_000;

/// Kafka's topic configs that clients and tools set: accepted and kept, whether or not they mean something here yet.
const KNOWN: &[&str] = &[
    "cleanup.policy",
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.type",
    "compression.zstd.level",
    "delete.retention.ms",
    "file.delete.delay.ms",
    "flush.messages",
    "flush.ms",
    "follower.replication.throttled.replicas",
    "index.interval.bytes",
    "leader.replication.throttled.replicas",
    "local.retention.bytes",
    "local.retention.ms",
    "max.compaction.lag.ms",
    "max.message.bytes",
    "message.downconversion.enable",
    "message.format.version",
    "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms",
    "message.timestamp.difference.max.ms",
    "message.timestamp.type",
    "min.cleanable.dirty.ratio",
    "min.compaction.lag.ms",
    "min.insync.replicas",
    "preallocate",
    "remote.storage.enable",
    "retention.bytes",
    "retention.ms",
    "segment.bytes",
    "segment.index.bytes",
    "segment.jitter.ms",
    "segment.ms",
    "unclean.leader.election.enable",
];

impl Default for TopicConfig {
    fn default() -> TopicConfig {
        TopicConfig {
            max_message_bytes: 1_048_588,
            timestamp_type: TimestampType::CreateTime,
            timestamp_after_max_ms: 3_600_000,
            timestamp_before_max_ms: i64::MAX,
        }
    }
}

impl TopicConfig {
    /// Later entries win; a sentence for people if one cannot be.
    pub fn parse(entries: &[(String, String)]) -> Result<TopicConfig, String> {
        let mut config = TopicConfig::default();
        for (name, value) in entries {
            match name.as_str() {
                "max.message.bytes" => config.max_message_bytes = number(name, value, i64::from(i32::MAX))? as u32,
                "message.timestamp.after.max.ms" => config.timestamp_after_max_ms = number(name, value, i64::MAX)?,
                "message.timestamp.before.max.ms" => config.timestamp_before_max_ms = number(name, value, i64::MAX)?,
                "message.timestamp.type" => config.timestamp_type = timestamp_type(value)?,
                known if KNOWN.contains(&known) => {}
                unknown => return Err(format!("unknown topic config name: {unknown}")),
            }
        }
        Ok(config)
    }
}

fn number(name: &str, value: &str, max: i64) -> Result<i64, String> {
    match value.trim().parse::<i64>() {
        Ok(n) if (0..=max).contains(&n) => Ok(n),
        _ => Err(format!("invalid value {value} for configuration {name}: it must be a number from 0 to {max}")),
    }
}

fn timestamp_type(value: &str) -> Result<TimestampType, String> {
    match value {
        "CreateTime" => Ok(TimestampType::CreateTime),
        "LogAppendTime" => Ok(TimestampType::LogAppendTime),
        _ => {
            Err(format!("invalid value {value} for configuration message.timestamp.type: CreateTime or LogAppendTime"))
        }
    }
}

/// Looks topics up in the state as this node has it; barriers are the caller's.
pub struct Topics {
    manifest: Manifest,
    configs: RwLock<HashMap<TopicId, Arc<TopicConfig>>>,
}

impl Topics {
    pub fn new(manifest: Manifest) -> Topics {
        Topics { manifest, configs: RwLock::default() }
    }

    pub fn local(&self, id: TopicId) -> Option<TopicInfo> {
        let topic = self.manifest.read(|s| s.topic(id).cloned())?;
        Some(self.info(&topic))
    }

    pub fn local_by_name(&self, name: &TopicName) -> Option<TopicInfo> {
        let topic = self.manifest.read(|s| s.topic_by_name(&Namespace::default(), name).cloned())?;
        Some(self.info(&topic))
    }

    /// Ordered by name.
    pub fn all(&self) -> Vec<TopicInfo> {
        let topics: Vec<_> = self.manifest.read(|s| s.topics().cloned().collect());
        let ours = Namespace::default();
        topics.iter().filter(|t| t.namespace == ours).map(|t| self.info(t)).collect()
    }

    fn info(&self, topic: &Topic) -> TopicInfo {
        let config = self.config(topic);
        TopicInfo { id: topic.id, name: topic.name.clone(), partitions: topic.partitions as i32, config }
    }

    fn config(&self, topic: &Topic) -> Arc<TopicConfig> {
        if let Some(config) = self.configs.read().get(&topic.id) {
            return Arc::clone(config);
        }
        let config = TopicConfig::parse(&topic.configs).unwrap_or_else(|reason| {
            tracing::warn!(topic = %topic.name, %reason, "a topic's config is not understood, defaults are used");
            TopicConfig::default()
        });
        let config = Arc::new(config);
        let mut configs = self.configs.write();
        // Ids of deleted topics are not looked up again; dropping all of them now and then keeps this small.
        if configs.len() > 100_000 {
            configs.clear();
        }
        configs.insert(topic.id, Arc::clone(&config));
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(entries: &[(&str, &str)]) -> Result<TopicConfig, String> {
        let entries: Vec<_> = entries.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        TopicConfig::parse(&entries)
    }

    #[test]
    fn configs_resolve_against_defaults() {
        assert_eq!(parse(&[]), Ok(TopicConfig::default()));
        let config = parse(&[
            ("max.message.bytes", "5000"),
            ("message.timestamp.type", "LogAppendTime"),
            ("message.timestamp.before.max.ms", "7"),
            ("retention.ms", "-1"),
        ]);
        let expected = TopicConfig {
            max_message_bytes: 5000,
            timestamp_type: TimestampType::LogAppendTime,
            timestamp_before_max_ms: 7,
            ..TopicConfig::default()
        };
        assert_eq!(config, Ok(expected));
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(parse(&[("max.message.bytes", "-5")]).is_err());
        assert!(parse(&[("max.message.bytes", "many")]).is_err());
        assert!(parse(&[("message.timestamp.type", "createtime")]).is_err());
        assert!(parse(&[("retention.msec", "5")]).is_err());
    }
}
