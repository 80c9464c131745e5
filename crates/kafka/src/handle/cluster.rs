//! DescribeCluster: the nodes that serve, with this one as controller.

use lakebed_broker::Broker;

use crate::wire::describe_cluster::{BROKERS, DescribeClusterRequest, DescribeClusterResponse};
use crate::wire::metadata::Node;
use crate::wire::{ErrorCode, Writer};

pub(super) fn answer(broker: &Broker, request: &DescribeClusterRequest, w: &mut Writer) {
    // This node alone: a client that knows several would move its partitions between them with every answer, and what it
    // sends again without a sequence number would be stored twice.
    let nodes = [broker.node()];
    let nodes: Vec<_> = nodes.iter().map(|node| Node { id: node.id.0, host: &node.host, port: node.port }).collect();
    let mut response = DescribeClusterResponse {
        error: ErrorCode::None,
        error_message: None,
        endpoint_type: request.endpoint_type,
        cluster_id: broker.cluster_id(),
        nodes: &nodes,
        controller: broker.node().id.0,
    };
    if request.endpoint_type != BROKERS {
        response.error = ErrorCode::UnsupportedEndpointType;
        response.error_message = Some("there are no controllers: ask for brokers");
        response.nodes = &[];
        response.controller = -1;
    }
    response.encode(w);
}
