//! DescribeCluster: the nodes that serve, with this one as controller.

use lakebed_broker::Broker;

use super::metadata;
use crate::wire::describe_cluster::{BROKERS, DescribeClusterRequest, DescribeClusterResponse};
use crate::wire::{ErrorCode, Writer};

pub(super) async fn answer(broker: &Broker, request: &DescribeClusterRequest, w: &mut Writer) {
    let nodes = broker.nodes().await;
    let mut response = DescribeClusterResponse {
        error: ErrorCode::None,
        error_message: None,
        endpoint_type: request.endpoint_type,
        cluster_id: broker.cluster_id(),
        nodes: &metadata::told(&nodes),
        controller: nodes.me().0,
    };
    if request.endpoint_type != BROKERS {
        response.error = ErrorCode::UnsupportedEndpointType;
        response.error_message = Some("there are no controllers: ask for brokers");
        response.nodes = &[];
        response.controller = -1;
    }
    response.encode(w);
}
