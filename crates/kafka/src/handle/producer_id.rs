//! InitProducerId, for idempotent producers; transactions are refused.

use lakebed_broker::Broker;

use crate::errors;
use crate::wire::ErrorCode;
use crate::wire::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};

/// A producer that wants a new epoch gets a new id: so does Apache Kafka where there is no transactional id.
pub(super) async fn answer(broker: &Broker, request: &InitProducerIdRequest<'_>) -> InitProducerIdResponse {
    if let Some(id) = request.transactional_id {
        // Clients learn of it before, from FindCoordinator. To one that does not ask for it this code says that the broker
        // does not fit, and to see its log.
        tracing::warn!(transactional_id = id, "transactions are not supported yet: remove transactional.id");
        return failed(ErrorCode::InvalidRequest);
    }
    match broker.init_producer_id().await {
        Ok(identity) => {
            InitProducerIdResponse { error: ErrorCode::None, producer_id: identity.id, producer_epoch: identity.epoch }
        }
        Err(error) => {
            tracing::warn!(%error, "no producer id granted");
            failed(errors::producer_id(&error))
        }
    }
}

fn failed(error: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse { error, producer_id: -1, producer_epoch: -1 }
}
