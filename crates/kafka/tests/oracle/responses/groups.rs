//! Of consumer groups.

use bytes::Bytes;
use kafka_protocol::messages::{self as theirs, BrokerId, GroupId};
use lakebed_kafka::wire::consumer_group_describe::{
    DescribedAssignment, DescribedConsumer, DescribedConsumerGroup, MemberType,
};
use lakebed_kafka::wire::consumer_group_heartbeat::{AssignedTopic, ConsumerGroupHeartbeatResponse};
use lakebed_kafka::wire::delete_groups::DeletedGroup;
use lakebed_kafka::wire::describe_groups::{DescribedGroup, DescribedMember};
use lakebed_kafka::wire::find_coordinator::Coordinator;
use lakebed_kafka::wire::join_group::{JoinGroupResponse, JoinedMember};
use lakebed_kafka::wire::leave_group::{LeaveGroupResponse, LeftMember};
use lakebed_kafka::wire::list_groups::{ListGroupsResponse, ListedGroup};
use lakebed_kafka::wire::sync_group::SyncGroupResponse;
use lakebed_kafka::wire::{
    ApiKey, ErrorCode, consumer_group_describe, delete_groups, describe_groups, find_coordinator, heartbeat,
};
use lakebed_record::TopicId;

use super::{error, name, since, string, through, uuid};
use crate::draw::Draw;

pub fn id(s: &str) -> GroupId {
    GroupId(string(s))
}

fn optional(d: &mut Draw<'_>) -> Option<&'static str> {
    d.option(Draw::str)
}

pub fn find_coordinator(version: i16, d: &mut Draw<'_>) {
    let one = |d: &mut Draw<'_>| Coordinator {
        key: d.str(),
        node_id: d.i32(),
        host: d.str(),
        port: d.i32(),
        error: error(d),
        error_message: d.option(Draw::text),
    };
    let first = one(d);
    let ours = if version < 4 { vec![first.clone()] } else { d.vec(one) };
    let expected = theirs::FindCoordinatorResponse::default();
    let expected = if version < 4 {
        expected
            .with_error_code(first.error as i16)
            .with_error_message(since(version >= 1, first.error_message.as_deref().map(string), Some(string(""))))
            .with_node_id(BrokerId(first.node_id))
            .with_host(string(first.host))
            .with_port(first.port)
    } else {
        let coordinators = ours.iter().map(|c| {
            theirs::find_coordinator_response::Coordinator::default()
                .with_key(string(c.key))
                .with_node_id(BrokerId(c.node_id))
                .with_host(string(c.host))
                .with_port(c.port)
                .with_error_code(c.error as i16)
                .with_error_message(c.error_message.as_deref().map(string))
        });
        expected.with_error_message(Some(string(""))).with_coordinators(coordinators.collect())
    };
    through(ApiKey::FindCoordinator, version, |w| find_coordinator::encode_response(w, &ours), expected);
}

pub fn join_group(version: i16, d: &mut Draw<'_>) {
    use theirs::join_group_response::JoinGroupResponseMember;
    let member =
        |d: &mut Draw<'_>| JoinedMember { member_id: d.str(), group_instance_id: optional(d), metadata: d.slice() };
    let ours = JoinGroupResponse {
        error: error(d),
        generation_id: d.i32(),
        protocol_type: optional(d),
        protocol_name: optional(d),
        leader: d.str(),
        skip_assignment: d.bool(),
        member_id: d.str(),
        members: d.vec(member),
    };
    let members = ours.members.iter().map(|m| {
        JoinGroupResponseMember::default()
            .with_member_id(string(m.member_id))
            .with_group_instance_id(since(version >= 5, m.group_instance_id.map(string), None))
            .with_metadata(Bytes::from_static(m.metadata))
    });
    let named = Some(string(ours.protocol_name.unwrap_or_default()));
    let expected = theirs::JoinGroupResponse::default()
        .with_error_code(ours.error as i16)
        .with_generation_id(ours.generation_id)
        .with_protocol_type(since(version >= 7, ours.protocol_type.map(string), None))
        .with_protocol_name(since(version >= 7, ours.protocol_name.map(string), named))
        .with_leader(string(ours.leader))
        .with_skip_assignment(since(version >= 9, ours.skip_assignment, false))
        .with_member_id(string(ours.member_id))
        .with_members(members.collect());
    through(ApiKey::JoinGroup, version, |w| ours.encode(w), expected);
}

pub fn sync_group(version: i16, d: &mut Draw<'_>) {
    let ours = SyncGroupResponse {
        error: error(d),
        protocol_type: optional(d),
        protocol_name: optional(d),
        assignment: d.slice(),
    };
    let expected = theirs::SyncGroupResponse::default()
        .with_error_code(ours.error as i16)
        .with_protocol_type(since(version >= 5, ours.protocol_type.map(string), None))
        .with_protocol_name(since(version >= 5, ours.protocol_name.map(string), None))
        .with_assignment(Bytes::from_static(ours.assignment));
    through(ApiKey::SyncGroup, version, |w| ours.encode(w), expected);
}

pub fn heartbeat(version: i16, d: &mut Draw<'_>) {
    let error = error(d);
    let expected = theirs::HeartbeatResponse::default().with_error_code(error as i16);
    through(ApiKey::Heartbeat, version, |w| heartbeat::encode_response(w, error), expected);
}

pub fn leave_group(version: i16, d: &mut Draw<'_>) {
    use theirs::leave_group_response::MemberResponse;
    let member = |d: &mut Draw<'_>| LeftMember { member_id: d.str(), group_instance_id: optional(d), error: error(d) };
    let first = member(d);
    let members = if version < 3 { vec![first] } else { d.vec(member) };
    let ours = LeaveGroupResponse { error: error(d), members };
    let expected = theirs::LeaveGroupResponse::default();
    let expected = if version < 3 {
        let first = first.error as i16;
        expected.with_error_code(if ours.error == ErrorCode::None { first } else { ours.error as i16 })
    } else {
        let members = ours.members.iter().map(|m| {
            MemberResponse::default()
                .with_member_id(string(m.member_id))
                .with_group_instance_id(m.group_instance_id.map(string))
                .with_error_code(m.error as i16)
        });
        expected.with_error_code(ours.error as i16).with_members(members.collect())
    };
    through(ApiKey::LeaveGroup, version, |w| ours.encode(w), expected);
}

pub fn describe_groups(version: i16, d: &mut Draw<'_>) {
    use theirs::describe_groups_response::DescribedGroupMember;
    let member = |d: &mut Draw<'_>| DescribedMember {
        member_id: d.str(),
        group_instance_id: optional(d),
        client_id: d.str(),
        client_host: d.str(),
        metadata: d.slice(),
        assignment: d.slice(),
    };
    let group = |d: &mut Draw<'_>| DescribedGroup {
        error: error(d),
        error_message: d.option(Draw::text),
        group_id: d.str(),
        state: d.str(),
        protocol_type: d.str(),
        protocol: d.str(),
        members: d.vec(member),
    };
    let ours = d.vec(group);
    let member = |m: &DescribedMember<'_>| {
        DescribedGroupMember::default()
            .with_member_id(string(m.member_id))
            .with_group_instance_id(since(version >= 4, m.group_instance_id.map(string), None))
            .with_client_id(string(m.client_id))
            .with_client_host(string(m.client_host))
            .with_member_metadata(Bytes::copy_from_slice(m.metadata))
            .with_member_assignment(Bytes::copy_from_slice(m.assignment))
    };
    let groups = ours.iter().map(|g| {
        theirs::describe_groups_response::DescribedGroup::default()
            .with_error_code(g.error as i16)
            .with_error_message(since(version >= 6, g.error_message.as_deref().map(string), None))
            .with_group_id(id(g.group_id))
            .with_group_state(string(g.state))
            .with_protocol_type(string(g.protocol_type))
            .with_protocol_data(string(g.protocol))
            .with_members(g.members.iter().map(member).collect())
    });
    let expected = theirs::DescribeGroupsResponse::default().with_groups(groups.collect());
    through(ApiKey::DescribeGroups, version, |w| describe_groups::encode_response(w, &ours), expected);
}

pub fn list_groups(version: i16, d: &mut Draw<'_>) {
    let group = |d: &mut Draw<'_>| ListedGroup {
        group_id: d.str(),
        protocol_type: d.str(),
        state: d.str(),
        group_type: d.str(),
    };
    let ours = ListGroupsResponse { error: error(d), groups: d.vec(group) };
    let groups = ours.groups.iter().map(|g| {
        theirs::list_groups_response::ListedGroup::default()
            .with_group_id(id(g.group_id))
            .with_protocol_type(string(g.protocol_type))
            .with_group_state(string(since(version >= 4, g.state, "")))
            .with_group_type(string(since(version >= 5, g.group_type, "")))
    });
    let expected =
        theirs::ListGroupsResponse::default().with_error_code(ours.error as i16).with_groups(groups.collect());
    through(ApiKey::ListGroups, version, |w| ours.encode(w), expected);
}

pub fn delete_groups(version: i16, d: &mut Draw<'_>) {
    use theirs::delete_groups_response::DeletableGroupResult;
    let ours = d.vec(|d| DeletedGroup { group_id: d.str(), error: error(d) });
    let results = ours
        .iter()
        .map(|g| DeletableGroupResult::default().with_group_id(id(g.group_id)).with_error_code(g.error as i16));
    let expected = theirs::DeleteGroupsResponse::default().with_results(results.collect());
    through(ApiKey::DeleteGroups, version, |w| delete_groups::encode_response(w, &ours), expected);
}

pub fn consumer_group_heartbeat(version: i16, d: &mut Draw<'_>) {
    use theirs::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
    let topic = |d: &mut Draw<'_>| AssignedTopic { topic: TopicId(d.uuid().as_u128()), partitions: d.vec(Draw::i32) };
    let ours = ConsumerGroupHeartbeatResponse {
        error: error(d),
        error_message: d.option(Draw::text),
        member_id: optional(d),
        member_epoch: d.i32(),
        heartbeat_interval_ms: d.i32(),
        assignment: d.option(|d| d.vec(topic)),
    };
    let assignment = ours.assignment.as_ref().map(|topics| {
        let topics = topics
            .iter()
            .map(|t| TopicPartitions::default().with_topic_id(uuid(t.topic)).with_partitions(t.partitions.clone()));
        Assignment::default().with_topic_partitions(topics.collect())
    });
    let expected = theirs::ConsumerGroupHeartbeatResponse::default()
        .with_error_code(ours.error as i16)
        .with_error_message(ours.error_message.as_deref().map(string))
        .with_member_id(ours.member_id.map(string))
        .with_member_epoch(ours.member_epoch)
        .with_heartbeat_interval_ms(ours.heartbeat_interval_ms)
        .with_assignment(assignment);
    through(ApiKey::ConsumerGroupHeartbeat, version, |w| ours.encode(w), expected);
}

fn assignment(d: &mut Draw<'_>) -> Vec<DescribedAssignment<'static>> {
    d.vec(|d| DescribedAssignment { topic: TopicId(d.uuid().as_u128()), name: d.str(), partitions: d.vec(Draw::i32) })
}

pub fn consumer_group_describe(version: i16, d: &mut Draw<'_>) {
    use theirs::consumer_group_describe_response::{Assignment, DescribedGroup, Member, TopicPartitions};
    let member = |d: &mut Draw<'_>| DescribedConsumer {
        member_id: d.str(),
        instance_id: optional(d),
        rack_id: optional(d),
        member_epoch: d.i32(),
        client_id: d.str(),
        client_host: d.str(),
        subscribed_topic_names: d.vec(Draw::str),
        subscribed_topic_regex: optional(d),
        assignment: assignment(d),
        target_assignment: assignment(d),
        member_type: [MemberType::Unknown, MemberType::Classic, MemberType::Consumer][d.below(3)],
    };
    let ours = d.vec(|d| DescribedConsumerGroup {
        error: error(d),
        error_message: d.option(Draw::text),
        group_id: d.str(),
        state: d.str(),
        group_epoch: d.i32(),
        assignment_epoch: d.i32(),
        assignor: d.str(),
        members: d.vec(member),
    });
    let assigned = |topics: &[DescribedAssignment<'_>]| {
        let topics = topics.iter().map(|t| {
            TopicPartitions::default()
                .with_topic_id(uuid(t.topic))
                .with_topic_name(name(t.name))
                .with_partitions(t.partitions.clone())
        });
        Assignment::default().with_topic_partitions(topics.collect())
    };
    let member = |m: &DescribedConsumer<'_>| {
        Member::default()
            .with_member_id(string(m.member_id))
            .with_instance_id(m.instance_id.map(string))
            .with_rack_id(m.rack_id.map(string))
            .with_member_epoch(m.member_epoch)
            .with_client_id(string(m.client_id))
            .with_client_host(string(m.client_host))
            .with_subscribed_topic_names(m.subscribed_topic_names.iter().map(|s| name(s)).collect())
            .with_subscribed_topic_regex(m.subscribed_topic_regex.map(string))
            .with_assignment(assigned(&m.assignment))
            .with_target_assignment(assigned(&m.target_assignment))
            .with_member_type(since(version >= 1, m.member_type as i8, -1))
    };
    let groups = ours.iter().map(|g| {
        DescribedGroup::default()
            .with_error_code(g.error as i16)
            .with_error_message(g.error_message.as_deref().map(string))
            .with_group_id(id(g.group_id))
            .with_group_state(string(g.state))
            .with_group_epoch(g.group_epoch)
            .with_assignment_epoch(g.assignment_epoch)
            .with_assignor_name(string(g.assignor))
            .with_members(g.members.iter().map(member).collect())
    });
    let expected = theirs::ConsumerGroupDescribeResponse::default().with_groups(groups.collect());
    through(ApiKey::ConsumerGroupDescribe, version, |w| consumer_group_describe::encode_response(w, &ours), expected);
}
