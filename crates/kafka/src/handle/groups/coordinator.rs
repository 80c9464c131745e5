//! FindCoordinator: which node answers for a group.

use lakebed_broker::Broker;
use lakebed_broker::api::NodeInfo;

use super::group_id;
use crate::errors;
use crate::wire::find_coordinator::{Coordinator, FindCoordinatorRequest, GROUP, encode_response};
use crate::wire::{ErrorCode, Writer};

/// The kind of key that is a transactional id.
const TRANSACTION: i8 = 1;

type Refused = (ErrorCode, String);

pub(in super::super) fn find(broker: &Broker, request: &FindCoordinatorRequest<'_>, w: &mut Writer) {
    let found: Vec<_> = request.keys.iter().map(|key| one(broker, request.key_type, key)).collect();
    let coordinators: Vec<_> = request.keys.iter().zip(&found).map(|(key, found)| coordinator(key, found)).collect();
    encode_response(w, &coordinators);
}

fn one(broker: &Broker, key_type: i8, key: &str) -> Result<NodeInfo, Refused> {
    match key_type {
        GROUP => {}
        TRANSACTION => {
            // One that clients do not try again, and of which they show the sentence.
            let reason = "transactions are not supported yet: remove transactional.id";
            return Err((ErrorCode::InvalidRequest, reason.to_owned()));
        }
        other => {
            let reason = format!("there are no coordinators of type {other}: only consumer groups have one");
            return Err((ErrorCode::InvalidRequest, reason));
        }
    }
    let id = group_id(key).map_err(|code| (code, "a group id has 1 to 32,767 bytes".to_owned()))?;
    broker.groups().coordinator(&id).map_err(|error| (errors::group(error), error.to_string()))
}

fn coordinator<'a>(key: &'a str, found: &'a Result<NodeInfo, Refused>) -> Coordinator<'a> {
    match found {
        Ok(node) => Coordinator {
            key,
            node_id: node.id.0,
            host: &node.host,
            port: node.port.into(),
            error: ErrorCode::None,
            error_message: None,
        },
        Err((error, reason)) => {
            Coordinator { key, node_id: -1, host: "", port: -1, error: *error, error_message: Some(reason.clone()) }
        }
    }
}
