//! Topics as clients see them: names resolved, configs parsed once and remembered by topic id.

use std::collections::HashMap;
use std::sync::Arc;

use lakebed_manifest::{Manifest, Topic};
use lakebed_record::{Namespace, TopicId, TopicName};
use parking_lot::RwLock;

use crate::api::{TopicConfig, TopicInfo};

/// Most partitions of one topic, so that one request cannot fill the state.
pub const MAX_PARTITIONS: i32 = 10_000;

/// A topic's config, with the topic that it was parsed from: an altered one is another.
type Parsed = (Arc<Topic>, Arc<TopicConfig>);

/// Looks topics up in the state as this node has it; barriers are the caller's.
pub struct Topics {
    manifest: Manifest,
    configs: RwLock<HashMap<TopicId, Parsed>>,
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

    fn info(&self, topic: &Arc<Topic>) -> TopicInfo {
        let config = self.config(topic);
        TopicInfo { id: topic.id, name: topic.name.clone(), partitions: topic.partitions as i32, config }
    }

    fn config(&self, topic: &Arc<Topic>) -> Arc<TopicConfig> {
        if let Some((of, config)) = self.configs.read().get(&topic.id)
            && Arc::ptr_eq(of, topic)
        {
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
        configs.insert(topic.id, (Arc::clone(topic), Arc::clone(&config)));
        config
    }
}
