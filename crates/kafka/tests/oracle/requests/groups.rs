//! Of consumer groups.

use bytes::Bytes;
use kafka_protocol::messages::{self as theirs, GroupId};
use kafka_protocol::protocol::StrBytes;
use lakebed_kafka::wire::{ApiKey, Request};
use uuid::Uuid;

use super::{name, string, through};
use crate::draw::Draw;

pub fn group(d: &mut Draw<'_>) -> GroupId {
    GroupId(d.string())
}

pub fn id(s: &str) -> GroupId {
    GroupId(string(s))
}

pub fn find_coordinator(version: i16, d: &mut Draw<'_>) {
    let sent = theirs::FindCoordinatorRequest::default()
        .with_key(d.when(version < 4, StrBytes::default(), Draw::string))
        .with_key_type(d.when(version >= 1, 0, Draw::i8))
        .with_coordinator_keys(d.when(version >= 4, Vec::new(), |d| d.vec(Draw::string)));
    through(ApiKey::FindCoordinator, version, &sent, d, |read| {
        let Request::FindCoordinator(r) = read else { panic!() };
        assert_eq!(r.key_type, sent.key_type);
        let asked = if version < 4 { vec![sent.key.clone()] } else { sent.coordinator_keys.clone() };
        assert_eq!(r.keys.len(), asked.len());
        assert!(r.keys.iter().map(string).eq(asked));
    });
}

pub fn join_group(version: i16, d: &mut Draw<'_>) {
    use theirs::join_group_request::JoinGroupRequestProtocol;
    let protocol =
        |d: &mut Draw<'_>| JoinGroupRequestProtocol::default().with_name(d.string()).with_metadata(d.bytes());
    let sent = theirs::JoinGroupRequest::default()
        .with_group_id(group(d))
        .with_session_timeout_ms(d.i32())
        .with_rebalance_timeout_ms(d.when(version >= 1, -1, Draw::i32))
        .with_member_id(d.string())
        .with_group_instance_id(d.when(version >= 5, None, |d| d.option(Draw::string)))
        .with_protocol_type(d.string())
        .with_protocols(d.vec(protocol))
        .with_reason(d.when(version >= 8, None, |d| d.option(Draw::string)));
    through(ApiKey::JoinGroup, version, &sent, d, |read| {
        let Request::JoinGroup(r) = read else { panic!() };
        if version == 0 {
            assert_eq!(r.rebalance_timeout_ms, sent.session_timeout_ms);
        }
        let protocols = r.protocols.iter().map(|p| {
            JoinGroupRequestProtocol::default()
                .with_name(string(p.name))
                .with_metadata(Bytes::copy_from_slice(p.metadata))
        });
        let back = theirs::JoinGroupRequest::default()
            .with_group_id(id(r.group_id))
            .with_session_timeout_ms(r.session_timeout_ms)
            .with_rebalance_timeout_ms(if version >= 1 { r.rebalance_timeout_ms } else { -1 })
            .with_member_id(string(r.member_id))
            .with_group_instance_id(r.group_instance_id.map(string))
            .with_protocol_type(string(r.protocol_type))
            .with_protocols(protocols.collect())
            .with_reason(r.reason.map(string));
        assert_eq!(back, sent);
    });
}

pub fn sync_group(version: i16, d: &mut Draw<'_>) {
    use theirs::sync_group_request::SyncGroupRequestAssignment;
    let assignment =
        |d: &mut Draw<'_>| SyncGroupRequestAssignment::default().with_member_id(d.string()).with_assignment(d.bytes());
    let sent = theirs::SyncGroupRequest::default()
        .with_group_id(group(d))
        .with_generation_id(d.i32())
        .with_member_id(d.string())
        .with_group_instance_id(d.when(version >= 3, None, |d| d.option(Draw::string)))
        .with_protocol_type(d.when(version >= 5, None, |d| d.option(Draw::string)))
        .with_protocol_name(d.when(version >= 5, None, |d| d.option(Draw::string)))
        .with_assignments(d.vec(assignment));
    through(ApiKey::SyncGroup, version, &sent, d, |read| {
        let Request::SyncGroup(r) = read else { panic!() };
        let assignments = r.assignments.iter().map(|a| {
            SyncGroupRequestAssignment::default()
                .with_member_id(string(a.member_id))
                .with_assignment(Bytes::copy_from_slice(a.assignment))
        });
        let back = theirs::SyncGroupRequest::default()
            .with_group_id(id(r.group_id))
            .with_generation_id(r.generation_id)
            .with_member_id(string(r.member_id))
            .with_group_instance_id(r.group_instance_id.map(string))
            .with_protocol_type(r.protocol_type.map(string))
            .with_protocol_name(r.protocol_name.map(string))
            .with_assignments(assignments.collect());
        assert_eq!(back, sent);
    });
}

pub fn heartbeat(version: i16, d: &mut Draw<'_>) {
    let sent = theirs::HeartbeatRequest::default()
        .with_group_id(group(d))
        .with_generation_id(d.i32())
        .with_member_id(d.string())
        .with_group_instance_id(d.when(version >= 3, None, |d| d.option(Draw::string)));
    through(ApiKey::Heartbeat, version, &sent, d, |read| {
        let Request::Heartbeat(r) = read else { panic!() };
        let back = theirs::HeartbeatRequest::default()
            .with_group_id(id(r.group_id))
            .with_generation_id(r.generation_id)
            .with_member_id(string(r.member_id))
            .with_group_instance_id(r.group_instance_id.map(string));
        assert_eq!(back, sent);
    });
}

pub fn leave_group(version: i16, d: &mut Draw<'_>) {
    use theirs::leave_group_request::MemberIdentity;
    let member = |d: &mut Draw<'_>| {
        MemberIdentity::default()
            .with_member_id(d.string())
            .with_group_instance_id(d.option(Draw::string))
            .with_reason(d.when(version >= 5, None, |d| d.option(Draw::string)))
    };
    let sent = theirs::LeaveGroupRequest::default()
        .with_group_id(group(d))
        .with_member_id(d.when(version < 3, StrBytes::default(), Draw::string))
        .with_members(d.when(version >= 3, Vec::new(), |d| d.vec(member)));
    through(ApiKey::LeaveGroup, version, &sent, d, |read| {
        let Request::LeaveGroup(r) = read else { panic!() };
        assert_eq!(id(r.group_id), sent.group_id);
        let members = r.members.iter().map(|m| {
            MemberIdentity::default()
                .with_member_id(string(m.member_id))
                .with_group_instance_id(m.group_instance_id.map(string))
                .with_reason(m.reason.map(string))
        });
        let alone = MemberIdentity::default().with_member_id(sent.member_id.clone()).with_group_instance_id(None);
        let asked = if version < 3 { vec![alone] } else { sent.members.clone() };
        assert_eq!(members.collect::<Vec<_>>(), asked);
    });
}

pub fn describe_groups(version: i16, d: &mut Draw<'_>) {
    let sent = theirs::DescribeGroupsRequest::default()
        .with_groups(d.vec(group))
        .with_include_authorized_operations(d.when(version >= 3, false, Draw::bool));
    through(ApiKey::DescribeGroups, version, &sent, d, |read| {
        let Request::DescribeGroups(r) = read else { panic!() };
        assert_eq!(r.groups.iter().map(id).collect::<Vec<_>>(), sent.groups);
    });
}

pub fn list_groups(version: i16, d: &mut Draw<'_>) {
    let sent = theirs::ListGroupsRequest::default()
        .with_states_filter(d.when(version >= 4, Vec::new(), |d| d.vec(Draw::string)))
        .with_types_filter(d.when(version >= 5, Vec::new(), |d| d.vec(Draw::string)));
    through(ApiKey::ListGroups, version, &sent, d, |read| {
        let Request::ListGroups(r) = read else { panic!() };
        let back = theirs::ListGroupsRequest::default()
            .with_states_filter(r.states.iter().map(string).collect())
            .with_types_filter(r.types.iter().map(string).collect());
        assert_eq!(back, sent);
    });
}

pub fn delete_groups(version: i16, d: &mut Draw<'_>) {
    let sent = theirs::DeleteGroupsRequest::default().with_groups_names(d.vec(group));
    through(ApiKey::DeleteGroups, version, &sent, d, |read| {
        let Request::DeleteGroups(r) = read else { panic!() };
        assert_eq!(r.groups.iter().map(id).collect::<Vec<_>>(), sent.groups_names);
    });
}

pub fn consumer_group_heartbeat(version: i16, d: &mut Draw<'_>) {
    use theirs::consumer_group_heartbeat_request::TopicPartitions;
    let owned = |d: &mut Draw<'_>| TopicPartitions::default().with_topic_id(d.uuid()).with_partitions(d.vec(Draw::i32));
    let sent = theirs::ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group(d))
        .with_member_id(d.string())
        .with_member_epoch(d.i32())
        .with_instance_id(d.option(Draw::string))
        .with_rack_id(d.option(Draw::string))
        .with_rebalance_timeout_ms(d.i32())
        .with_subscribed_topic_names(d.option(|d| d.vec(Draw::name)))
        .with_subscribed_topic_regex(d.when(version >= 1, None, |d| d.option(Draw::string)))
        .with_server_assignor(d.option(Draw::string))
        .with_topic_partitions(d.option(|d| d.vec(owned)));
    through(ApiKey::ConsumerGroupHeartbeat, version, &sent, d, |read| {
        let Request::ConsumerGroupHeartbeat(r) = read else { panic!() };
        let owned = r.topic_partitions.map(|topics| {
            let topics = topics.iter().map(|t| {
                TopicPartitions::default()
                    .with_topic_id(Uuid::from_u128(t.topic.0))
                    .with_partitions(t.partitions.iter().collect())
            });
            topics.collect()
        });
        let back = theirs::ConsumerGroupHeartbeatRequest::default()
            .with_group_id(id(r.group_id))
            .with_member_id(string(r.member_id))
            .with_member_epoch(r.member_epoch)
            .with_instance_id(r.instance_id.map(string))
            .with_rack_id(r.rack_id.map(string))
            .with_rebalance_timeout_ms(r.rebalance_timeout_ms)
            .with_subscribed_topic_names(r.subscribed_topic_names.map(|names| names.iter().map(name).collect()))
            .with_subscribed_topic_regex(r.subscribed_topic_regex.map(string))
            .with_server_assignor(r.server_assignor.map(string))
            .with_topic_partitions(owned);
        assert_eq!(back, sent);
    });
}

pub fn consumer_group_describe(version: i16, d: &mut Draw<'_>) {
    let sent = theirs::ConsumerGroupDescribeRequest::default()
        .with_group_ids(d.vec(group))
        .with_include_authorized_operations(d.bool());
    through(ApiKey::ConsumerGroupDescribe, version, &sent, d, |read| {
        let Request::ConsumerGroupDescribe(r) = read else { panic!() };
        assert_eq!(r.groups.iter().map(id).collect::<Vec<_>>(), sent.group_ids);
    });
}
