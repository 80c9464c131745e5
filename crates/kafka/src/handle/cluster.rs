//! DescribeCluster: this node.

use lakebed_broker::Broker;

use crate::wire::describe_cluster::{BROKERS, DescribeClusterRequest, DescribeClusterResponse};
use crate::wire::metadata::Node;
use crate::wire::{ErrorCode, Writer};

pub(super) fn answer(broker: &Broker, request: &DescribeClusterRequest, w: &mut Writer) {
    let node = broker.node();
    let nodes = [Node { id: node.id.0, host: &node.host, port: node.port }];
    let mut response = DescribeClusterResponse {
        error: ErrorCode::None,
        error_message: None,
        endpoint_type: request.endpoint_type,
        cluster_id: broker.cluster_id(),
        nodes: &nodes,
        controller: node.id.0,
    };
    if request.endpoint_type != BROKERS {
        response.error = ErrorCode::UnsupportedEndpointType;
        response.error_message = Some("there are no controllers: ask for brokers");
        response.nodes = &[];
        response.controller = -1;
    }
    response.encode(w);
}
