//! AlterConfigs and IncrementalAlterConfigs, for topics. What else has a configuration is not altered by clients.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use futures_util::future::join_all;
use lakebed_broker::{Broker, ConfigKind, KnownConfig, elements};
use lakebed_record::ops::{ConfigChange, ConfigEntry};

use super::current_topic;
use crate::errors;
use crate::handle::topics::{AT_ONCE, NOT_BEGUN, Refused, refuse};
use crate::wire::alter_configs::{
    self, AlterConfigsRequest, AlteredResource, ChangedConfigs, ConfigOperation, IncrementalAlterConfigsRequest,
    ReplacedConfigs, encode_response,
};
use crate::wire::describe_configs::ResourceType;
use crate::wire::{ErrorCode, Writer};

type Configs = [(String, String)];

/// What a request asks of one resource.
trait Asked {
    fn resource_type(&self) -> i8;
    fn name(&self) -> &str;
    /// With what is set now.
    fn change(&self, present: &Configs) -> Result<ConfigChange, Refused>;
}

pub(in crate::handle) fn replace_none(request: &AlterConfigsRequest<'_>, w: &mut Writer) {
    none(request.resources.iter().collect(), w);
}

pub(in crate::handle) fn change_none(request: &IncrementalAlterConfigsRequest<'_>, w: &mut Writer) {
    none(request.resources.iter().collect(), w);
}

fn none(asked: Vec<impl Asked>, w: &mut Writer) {
    encode_response(w, &asked.iter().map(|asked| describe(asked, Err(NOT_BEGUN))).collect::<Vec<_>>());
}

pub(in crate::handle) async fn replace(broker: &Broker, request: &AlterConfigsRequest<'_>, w: &mut Writer) {
    alter(broker, request.resources.iter().collect(), request.validate_only, w).await;
}

pub(in crate::handle) async fn change(broker: &Broker, request: &IncrementalAlterConfigsRequest<'_>, w: &mut Writer) {
    alter(broker, request.resources.iter().collect(), request.validate_only, w).await;
}

async fn alter(broker: &Broker, mut asked: Vec<impl Asked>, validate_only: bool, w: &mut Writer) {
    let mut times = HashMap::new();
    for one in &asked {
        *times.entry((one.resource_type(), one.name().to_owned())).or_insert(0u32) += 1;
    }
    // Said once of a resource that stands there several times.
    let mut seen = HashSet::new();
    asked.retain(|one| seen.insert((one.resource_type(), one.name().to_owned())));
    let mut altered = Vec::new();
    for some in asked.chunks(AT_ONCE) {
        let altering = some.iter().map(async |one| {
            let result = match times.get(&(one.resource_type(), one.name().to_owned())) {
                Some(1) => alter_one(broker, one, validate_only).await,
                _ => refuse(ErrorCode::InvalidRequest, "the request names this resource more than once"),
            };
            describe(one, result)
        });
        altered.extend(join_all(altering).await);
    }
    encode_response(w, &altered);
}

async fn alter_one(broker: &Broker, asked: &impl Asked, validate_only: bool) -> Result<(), Refused> {
    match ResourceType::from_wire(asked.resource_type()) {
        Some(ResourceType::Topic) => {}
        Some(ResourceType::Broker | ResourceType::BrokerLogger) => {
            return refuse(ErrorCode::InvalidRequest, "a node is configured where it is started, not by clients");
        }
        Some(ResourceType::Group | ResourceType::ClientMetrics) => {
            return refuse(ErrorCode::InvalidRequest, "only the configuration of topics can be altered");
        }
        None => return refuse(ErrorCode::InvalidRequest, format!("unknown resource type {}", asked.resource_type())),
    }
    let topic = current_topic(broker, asked.name()).await?;
    let present = broker.topic_configs(topic.id).unwrap_or_default();
    let change = asked.change(&present)?;
    let altered = match broker.check_topic_configs(&present, &change) {
        Ok(()) if !validate_only => broker.alter_topic_configs(topic.id, change).await,
        checked => checked,
    };
    altered.map_err(|e| Refused { code: errors::alter_configs(&e), message: Some(e.to_string()) })
}

fn describe<A: Asked>(asked: &A, result: Result<(), Refused>) -> AlteredResource<'_> {
    let (error, error_message) = match result {
        Ok(()) => (ErrorCode::None, None),
        Err(refused) => (refused.code, refused.message),
    };
    AlteredResource { error, error_message, resource_type: asked.resource_type(), name: asked.name() }
}

fn check_names<T: Eq + Hash>(mut names: impl Iterator<Item = T>) -> Result<(), Refused> {
    let mut seen = HashSet::new();
    match names.all(|name| seen.insert(name)) {
        true => Ok(()),
        false => refuse(ErrorCode::InvalidRequest, "the request names a config of this resource more than once"),
    }
}

fn entry(name: &str, value: Option<&str>) -> Result<ConfigEntry, Refused> {
    match value {
        Some(value) => Ok(ConfigEntry { name: name.to_owned(), value: value.to_owned() }),
        None => refuse(ErrorCode::InvalidRequest, format!("the config {name} has no value")),
    }
}

impl Asked for ReplacedConfigs<'_> {
    fn resource_type(&self) -> i8 {
        self.resource_type
    }

    fn name(&self) -> &str {
        self.name
    }

    fn change(&self, _: &Configs) -> Result<ConfigChange, Refused> {
        check_names(self.configs.iter().map(|config| config.name))?;
        let set = self.configs.iter().map(|config| entry(config.name, config.value)).collect::<Result<_, _>>()?;
        Ok(ConfigChange { replace: true, set, delete: Vec::new() })
    }
}

impl Asked for ChangedConfigs<'_> {
    fn resource_type(&self) -> i8 {
        self.resource_type
    }

    fn name(&self) -> &str {
        self.name
    }

    fn change(&self, present: &Configs) -> Result<ConfigChange, Refused> {
        check_names(self.changes.iter().map(|change| change.name))?;
        let mut change = ConfigChange::default();
        for asked in self.changes {
            match ConfigOperation::from_wire(asked.operation) {
                Some(ConfigOperation::Delete) => change.delete.push(asked.name.to_owned()),
                Some(ConfigOperation::Set) => change.set.push(entry(asked.name, asked.value)?),
                Some(edit @ (ConfigOperation::Append | ConfigOperation::Subtract)) => {
                    change.set.push(edited(asked, edit, present)?);
                }
                None => {
                    let why = format!("unknown operation {} on the config {}", asked.operation, asked.name);
                    return refuse(ErrorCode::InvalidRequest, why);
                }
            }
        }
        Ok(change)
    }
}

/// A list with some elements more or less than it has now: two clients that edit it at once may undo each other's change.
fn edited(
    asked: alter_configs::ConfigChange<'_>,
    edit: ConfigOperation,
    present: &Configs,
) -> Result<ConfigEntry, Refused> {
    let known = KnownConfig::find(asked.name).filter(|known| known.kind == ConfigKind::List);
    let Some(known) = known else {
        let why = format!("the config {} is no list: nothing can be added to it or taken from it", asked.name);
        return refuse(ErrorCode::InvalidConfig, why);
    };
    let change = entry(asked.name, asked.value)?.value;
    let set = present.iter().find(|(name, _)| name == known.name).map(|(_, value)| value.as_str());
    let mut list: Vec<_> = elements(set.or(known.default).unwrap_or_default()).collect();
    if edit == ConfigOperation::Subtract {
        let gone: HashSet<_> = elements(&change).collect();
        list.retain(|element| !gone.contains(element));
    } else {
        let mut there: HashSet<_> = list.iter().copied().collect();
        list.extend(elements(&change).filter(|element| there.insert(element)));
    }
    entry(known.name, Some(&list.join(",")))
}
