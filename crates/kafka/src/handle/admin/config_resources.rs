//! ListConfigResources: topics, and this node.

use lakebed_broker::Broker;
use lakebed_record::TopicName;

use crate::wire::describe_configs::ResourceType;
use crate::wire::list_config_resources::{ListConfigResourcesRequest, ListConfigResourcesResponse, ListedResource};
use crate::wire::{ErrorCode, Writer};

/// What a topic takes while it is answered, and in the answer, besides its name.
const TOPIC_BYTES: usize = 256;

pub(in crate::handle) fn most_bytes(broker: &Broker, request: &ListConfigResourcesRequest<'_>) -> usize {
    match wanted(request) {
        Ok(wanted) if wanted.contains(&ResourceType::Topic) => {
            broker.topic_totals().0 * (TOPIC_BYTES + TopicName::MAX_LEN)
        }
        _ => 0,
    }
}

/// Version 0 asks for client metrics.
fn wanted(request: &ListConfigResourcesRequest<'_>) -> Result<Vec<ResourceType>, ErrorCode> {
    match request.resource_types {
        None => Ok(vec![ResourceType::ClientMetrics]),
        Some(types) if types.is_empty() => Ok(vec![ResourceType::Topic, ResourceType::Broker]),
        Some(types) => {
            types.iter().map(|kind| ResourceType::from_wire(kind).ok_or(ErrorCode::UnsupportedVersion)).collect()
        }
    }
}

/// Nothing is configured but topics and nodes.
pub(in crate::handle) fn answer(broker: &Broker, request: &ListConfigResourcesRequest<'_>, w: &mut Writer) {
    let wanted = match wanted(request) {
        Ok(wanted) => wanted,
        Err(error) => return ListConfigResourcesResponse { error, resources: Vec::new() }.encode(w),
    };
    let topics = if wanted.contains(&ResourceType::Topic) { broker.topics() } else { Vec::new() };
    let node = broker.node().id.0.to_string();
    let topics = topics.iter().map(|t| ListedResource { name: t.name.as_str(), resource_type: ResourceType::Topic });
    let nodes = ListedResource { name: node.as_str(), resource_type: ResourceType::Broker };
    let nodes = wanted.contains(&ResourceType::Broker).then_some(nodes);
    let resources = topics.chain(nodes).collect();
    ListConfigResourcesResponse { error: ErrorCode::None, resources }.encode(w);
}
