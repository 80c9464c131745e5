//! JoinGroup, SyncGroup, Heartbeat and LeaveGroup.

use std::time::Duration;

use bytes::Bytes;
use lakebed_broker::Broker;
use lakebed_groups::{
    Client, GroupError, JoinFeatures, JoinRequest, LeaderAssigns, Leaving, MemberRef, Protocol, SyncRequest,
};

use super::{group_id, member_uuid};
use crate::errors;
use crate::wire::heartbeat::{self, HeartbeatRequest};
use crate::wire::join_group::{JoinGroupRequest, JoinGroupResponse, JoinedMember};
use crate::wire::leave_group::{LeaveGroupRequest, LeaveGroupResponse, LeavingMember, LeftMember};
use crate::wire::sync_group::{SyncGroupRequest, SyncGroupResponse};
use crate::wire::{ErrorCode, Writer};

pub(in super::super) async fn join(
    broker: &Broker,
    request: &JoinGroupRequest<'_>,
    version: i16,
    client: Client,
    w: &mut Writer,
) {
    let refused = |error, member_id| JoinGroupResponse {
        error,
        generation_id: -1,
        protocol_type: None,
        protocol_name: None,
        leader: "",
        skip_assignment: false,
        member_id,
        members: Vec::new(),
    };
    let id = match group_id(request.group_id) {
        Ok(id) => id,
        Err(code) => return refused(code, request.member_id).encode(w),
    };
    let protocols = request.protocols.iter();
    let protocols =
        protocols.map(|p| Protocol { name: p.name.to_owned(), metadata: Bytes::copy_from_slice(p.metadata) }).collect();
    let asked = JoinRequest {
        member_id: request.member_id.to_owned(),
        instance_id: request.group_instance_id.map(str::to_owned),
        client,
        protocol_type: request.protocol_type.to_owned(),
        protocols,
        session_timeout: millis(request.session_timeout_ms),
        rebalance_timeout: millis(request.rebalance_timeout_ms),
        features: features(version),
        fresh: member_uuid(broker),
    };
    if let Some(reason) = request.reason.filter(|reason| !reason.is_empty()) {
        tracing::debug!(group = %id, member = request.member_id, reason, "a member joins");
    }
    match broker.groups().join(&id, asked).await {
        Ok(joined) => {
            let members = joined.members.iter().map(|m| JoinedMember {
                member_id: &m.member_id,
                group_instance_id: m.instance_id.as_deref(),
                metadata: &m.metadata,
            });
            JoinGroupResponse {
                error: ErrorCode::None,
                generation_id: joined.generation,
                protocol_type: Some(&joined.protocol_type),
                protocol_name: Some(&joined.protocol),
                leader: &joined.leader,
                skip_assignment: joined.leader_assigns == LeaderAssigns::Skips,
                member_id: &joined.member_id,
                members: members.collect(),
            }
            .encode(w);
        }
        Err(error) => refused(errors::group(error.error), &error.member_id).encode(w),
    }
}

fn features(version: i16) -> JoinFeatures {
    match version {
        ..=3 => JoinFeatures::Plain,
        4..=8 => JoinFeatures::KnownMemberId,
        9.. => JoinFeatures::SkipAssignment,
    }
}

/// What is negative is no time at all.
fn millis(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or_default())
}

pub(in super::super) async fn sync(broker: &Broker, request: &SyncGroupRequest<'_>, w: &mut Writer) {
    let asked = async {
        let id = group_id(request.group_id)?;
        let assignments = request.assignments.iter();
        let assignments = assignments.map(|a| (a.member_id.to_owned(), Bytes::copy_from_slice(a.assignment))).collect();
        let asked = SyncRequest {
            member: member(request.member_id, request.group_instance_id, request.generation_id),
            protocol_type: request.protocol_type.map(str::to_owned),
            protocol: request.protocol_name.map(str::to_owned),
            assignments,
        };
        broker.groups().sync(&id, asked).await.map_err(errors::group)
    };
    match asked.await {
        Ok(synced) => SyncGroupResponse {
            error: ErrorCode::None,
            protocol_type: Some(&synced.protocol_type),
            protocol_name: Some(&synced.protocol),
            assignment: &synced.assignment,
        }
        .encode(w),
        Err(error) => {
            SyncGroupResponse { error, protocol_type: None, protocol_name: None, assignment: &[] }.encode(w);
        }
    }
}

pub(in super::super) async fn heartbeat(broker: &Broker, request: &HeartbeatRequest<'_>, w: &mut Writer) {
    let asked = async {
        let who = member(request.member_id, request.group_instance_id, request.generation_id);
        broker.groups().heartbeat(&group_id(request.group_id)?, who).await.map_err(errors::group)
    };
    heartbeat::encode_response(w, asked.await.err().unwrap_or(ErrorCode::None));
}

pub(in super::super) async fn leave(broker: &Broker, request: &LeaveGroupRequest<'_>, w: &mut Writer) {
    let members: Vec<_> = request.members.iter().collect();
    let (error, results) = leave_all(broker, request.group_id, &members).await;
    let members = members.iter().zip(results).map(|(member, result)| LeftMember {
        member_id: member.member_id,
        group_instance_id: member.group_instance_id,
        error: result.err().map_or(ErrorCode::None, errors::group),
    });
    LeaveGroupResponse { error, members: members.collect() }.encode(w);
}

async fn leave_all(
    broker: &Broker,
    group: &str,
    members: &[LeavingMember<'_>],
) -> (ErrorCode, Vec<Result<(), GroupError>>) {
    let id = match group_id(group) {
        Ok(id) => id,
        Err(code) => return (code, Vec::new()),
    };
    let leaving = members.iter().map(|member| {
        tracing::debug!(group = %id, member = member.member_id, reason = member.reason, "a member leaves");
        let instance_id = member.group_instance_id.map(str::to_owned);
        Leaving { member_id: member.member_id.to_owned(), instance_id }
    });
    match broker.groups().leave(&id, leaving.collect()).await {
        Ok(results) => (ErrorCode::None, results),
        // There is no such group: so says Apache Kafka, of each.
        Err(GroupError::UnknownMemberId) => {
            (ErrorCode::None, members.iter().map(|_| Err(GroupError::UnknownMemberId)).collect())
        }
        Err(error) => (errors::group(error), Vec::new()),
    }
}

pub(super) fn member(member_id: &str, instance_id: Option<&str>, generation: i32) -> MemberRef {
    MemberRef { member_id: member_id.to_owned(), instance_id: instance_id.map(str::to_owned), generation }
}
