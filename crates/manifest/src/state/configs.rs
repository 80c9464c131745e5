//! Configs as they are kept: of topics (with the topic), of the cluster, of consumer groups. What they mean is the broker's business;
//! here they are names and values, sorted, and bounded.

use std::collections::BTreeMap;
use std::sync::Arc;

use lakebed_record::GroupKey;
use lakebed_record::ops::{ConfigChange, ConfigEntry, ConfigScope, OpOutcome, SetConfigs};
use prost::Message;

use super::hash::{self, Element};
use super::{Configs, State};

/// Of one topic, group or of the cluster.
pub const MAX_CONFIGS: usize = 256;
/// In bytes.
pub const MAX_CONFIG_NAME: usize = 255;
/// In bytes.
pub const MAX_CONFIG_VALUE: usize = 32 << 10;
/// Names and values of one topic, group or of the cluster, in bytes.
pub const MAX_CONFIGS_BYTES: usize = 64 << 10;
/// What configs of cluster and groups may take together, in bytes.
pub const MAX_CONFIG_BYTES: usize = 16 << 20;

/// What has configs, beside topics.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigResource {
    Cluster,
    /// Whether there is such a group or not.
    Group(GroupKey),
}

impl ConfigResource {
    pub fn scope(&self) -> ConfigScope {
        match self {
            ConfigResource::Cluster => ConfigScope::Cluster,
            ConfigResource::Group(_) => ConfigScope::Group,
        }
    }

    /// Namespace and name, as in ops.
    pub fn names(&self) -> (&str, &str) {
        match self {
            ConfigResource::Cluster => ("", ""),
            ConfigResource::Group(key) => (key.namespace.as_str(), key.id.as_str()),
        }
    }

    fn parse(scope: i32, namespace: &str, name: &str) -> Option<ConfigResource> {
        match ConfigScope::try_from(scope).ok()? {
            ConfigScope::Cluster => (namespace.is_empty() && name.is_empty()).then_some(ConfigResource::Cluster),
            ConfigScope::Group => GroupKey::parse(namespace, name).map(ConfigResource::Group),
        }
    }

    fn bucket(&self) -> usize {
        match self {
            ConfigResource::Cluster => 0,
            ConfigResource::Group(key) => hash::bucket_of_group(key),
        }
    }
}

/// Configs of a new topic; `None` if they are too many or too long.
pub(super) fn given(set: &[ConfigEntry]) -> Option<Configs> {
    changed_configs(&[], &ConfigChange { set: set.to_vec(), ..ConfigChange::default() })
}

/// What a change makes of configs; `None` if that is too much. Deletions come before what is set.
pub fn changed_configs(present: &[(String, String)], change: &ConfigChange) -> Option<Configs> {
    let mut configs: BTreeMap<String, String> =
        if change.replace { BTreeMap::new() } else { present.iter().cloned().collect() };
    change.delete.iter().for_each(|name| drop(configs.remove(name)));
    configs.extend(change.set.iter().map(|c| (c.name.clone(), c.value.clone())));
    let configs: Configs = configs.into_iter().collect();
    fit(&configs).then_some(configs)
}

fn fit(configs: &[(String, String)]) -> bool {
    let fits = |(name, value): &(String, String)| {
        (1..=MAX_CONFIG_NAME).contains(&name.len()) && value.len() <= MAX_CONFIG_VALUE
    };
    configs.len() <= MAX_CONFIGS && bytes(configs) <= MAX_CONFIGS_BYTES && configs.iter().all(fits)
}

fn bytes(configs: &[(String, String)]) -> usize {
    configs.iter().map(|(name, value)| name.len() + value.len()).sum()
}

/// What they take beside what names them.
fn cost(resource: &ConfigResource, configs: &[(String, String)]) -> usize {
    let (namespace, name) = resource.names();
    128 + namespace.len() + name.len() + 48 * configs.len() + bytes(configs)
}

impl State {
    /// Empty if none are set.
    pub fn configs(&self, of: &ConfigResource) -> &[(String, String)] {
        self.buckets[of.bucket()].configs.get(of).map_or(&[], |c| c.as_slice())
    }

    /// All that have configs, beside topics; in no order that means anything.
    pub fn config_resources(&self) -> impl Iterator<Item = (&ConfigResource, &[(String, String)])> {
        self.buckets.iter().flat_map(|b| b.configs.iter()).map(|(of, configs)| (of, configs.as_slice()))
    }

    pub(super) fn set_configs(&mut self, op: &SetConfigs) -> OpOutcome {
        let Some(resource) = ConfigResource::parse(op.scope, &op.namespace, &op.name) else {
            return OpOutcome::Refused;
        };
        let present = self.configs(&resource);
        let Some(configs) = op.change.as_ref().and_then(|change| changed_configs(present, change)) else {
            return OpOutcome::Refused;
        };
        let present = if present.is_empty() { 0 } else { cost(&resource, present) };
        let next = if configs.is_empty() { 0 } else { cost(&resource, &configs) };
        if next > present && self.config_bytes + (next - present) > MAX_CONFIG_BYTES {
            return OpOutcome::OutOfSpace;
        }
        self.put_configs(resource, configs);
        OpOutcome::Done
    }

    /// In place of what is there; none at all leave nothing behind.
    fn put_configs(&mut self, resource: ConfigResource, configs: Configs) {
        let index = resource.bucket();
        if self.configs(&resource) == configs {
            return;
        }
        let bucket = self.bucket(index);
        let gone = bucket.configs.remove(&resource);
        let mut freed = 0;
        if let Some(gone) = gone {
            bucket.hash = bucket.hash.wrapping_sub(configs_hash(&resource, &gone));
            freed = cost(&resource, &gone);
        }
        let mut taken = 0;
        if !configs.is_empty() {
            bucket.hash = bucket.hash.wrapping_add(configs_hash(&resource, &configs));
            taken = cost(&resource, &configs);
            bucket.configs.insert(resource, Arc::new(configs));
        }
        self.config_bytes = self.config_bytes - freed + taken;
    }

    /// Adds the configs of a part; says why not.
    pub(super) fn add_config_part(&mut self, part: ConfigPart) -> Result<(), &'static str> {
        let resource = ConfigResource::parse(part.scope, &part.namespace, &part.name).ok_or("configs of nothing")?;
        if !self.configs(&resource).is_empty() {
            return Err("configs stand there twice");
        }
        if !part.configs.len().is_multiple_of(2) {
            return Err("configs are malformed");
        }
        let mut strings = part.configs.into_iter();
        let configs: Configs = std::iter::from_fn(|| strings.next().zip(strings.next())).collect();
        if configs.is_empty() || !configs.is_sorted_by(|a, b| a.0 < b.0) || !fit(&configs) {
            return Err("configs are malformed");
        }
        self.put_configs(resource, configs);
        if self.config_bytes > MAX_CONFIG_BYTES {
            return Err("configs take more than they may");
        }
        Ok(())
    }
}

fn configs_hash(resource: &ConfigResource, configs: &[(String, String)]) -> u64 {
    hash::encoded(Element::Configs, &ConfigPart::of(resource, configs).encode_to_vec())
}

/// In a snapshot part (field numbers are for ever).
#[derive(Clone, PartialEq, Message)]
pub(super) struct ConfigPart {
    #[prost(enumeration = "ConfigScope", tag = "1")]
    scope: i32,
    #[prost(string, tag = "2")]
    namespace: String,
    #[prost(string, tag = "3")]
    name: String,
    /// Names and values in turn.
    #[prost(string, repeated, tag = "4")]
    configs: Vec<String>,
}

impl ConfigPart {
    pub fn of(resource: &ConfigResource, configs: &[(String, String)]) -> ConfigPart {
        let (namespace, name) = resource.names();
        ConfigPart {
            scope: resource.scope().into(),
            namespace: namespace.into(),
            name: name.into(),
            configs: configs.iter().flat_map(|(name, value)| [name.clone(), value.clone()]).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
