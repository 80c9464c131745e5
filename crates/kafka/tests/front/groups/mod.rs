//! Consumer groups: what members, consumers without group and administrators are told.

mod admin;
mod classic;
mod consumer;
mod offsets;

use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::client::Client;
use crate::topics::{create, new};

pub fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub fn group(id: &str) -> GroupId {
    GroupId(text(id))
}

pub async fn topic(client: &mut Client, name: &str, partitions: i32) -> Uuid {
    let created = create(client, 7, new(name).with_num_partitions(partitions)).await;
    assert_eq!(created.error_code, 0);
    created.topic_id
}

/// ConsumerProtocolSubscription version 0 for one topic.
pub fn subscription(topic: &str) -> Bytes {
    let mut bytes = vec![0, 0, 0, 0, 0, 1];
    bytes.extend((topic.len() as u16).to_be_bytes());
    bytes.extend(topic.as_bytes());
    bytes.extend((-1_i32).to_be_bytes());
    bytes.into()
}

pub fn join(id: &str, member: &str) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default().with_name(text("range")).with_metadata(subscription("t"));
    JoinGroupRequest::default()
        .with_group_id(group(id))
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(10_000)
        .with_member_id(text(member))
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
}

/// A new member's first two requests; gives its id, with the second under way.
pub async fn send_join(client: &mut Client, id: &str) -> (String, i32) {
    let first = client.ask(9, &join(id, "")).await;
    assert_eq!(first.error_code, 79, "KIP-394");
    assert!(first.member_id.starts_with("test-") && first.member_id.len() == 5 + 36, "{}", first.member_id.as_str());
    let sent = client.send(9, &join(id, &first.member_id)).await;
    (first.member_id.to_string(), sent)
}

pub fn sync(id: &str, member: &str, generation: i32, assignments: &[(&str, &'static str)]) -> SyncGroupRequest {
    let assignments = assignments.iter().map(|(member, assignment)| {
        SyncGroupRequestAssignment::default()
            .with_member_id(text(member))
            .with_assignment(Bytes::from_static(assignment.as_bytes()))
    });
    SyncGroupRequest::default()
        .with_group_id(group(id))
        .with_generation_id(generation)
        .with_member_id(text(member))
        .with_protocol_type(Some(text("consumer")))
        .with_protocol_name(Some(text("range")))
        .with_assignments(assignments.collect())
}

pub async fn heartbeat(client: &mut Client, id: &str, member: &str, generation: i32) -> i16 {
    let request = HeartbeatRequest::default()
        .with_group_id(group(id))
        .with_member_id(text(member))
        .with_generation_id(generation);
    client.ask(4, &request).await.error_code
}

pub async fn leave(client: &mut Client, id: &str, member: &str) -> i16 {
    let member = MemberIdentity::default().with_member_id(text(member));
    let request = LeaveGroupRequest::default().with_group_id(group(id)).with_members(vec![member]);
    let answer = client.ask(5, &request).await;
    assert_eq!((answer.error_code, answer.members.len()), (0, 1));
    answer.members[0].error_code
}

/// A member alone in its group at a stable generation.
pub async fn alone(client: &mut Client, id: &str) -> (String, i32) {
    let (member, sent) = send_join(client, id).await;
    let joined = client.answer::<JoinGroupRequest>(9, sent).await;
    assert_eq!((joined.error_code, joined.leader.as_str()), (0, member.as_str()));
    let synced = client.ask(5, &sync(id, &member, joined.generation_id, &[(&member, "all")])).await;
    assert_eq!((synced.error_code, &synced.assignment[..]), (0, &b"all"[..]));
    (member, joined.generation_id)
}

/// Commits these partitions and offsets of a topic.
pub fn commit(id: &str, member: &str, generation: i32, topic: &str, offsets: &[(i32, i64)]) -> OffsetCommitRequest {
    let partitions = offsets.iter().map(|(partition, offset)| {
        OffsetCommitRequestPartition::default()
            .with_partition_index(*partition)
            .with_committed_offset(*offset)
            .with_committed_leader_epoch(0)
            .with_committed_metadata(Some(text("note")))
    });
    let topic = OffsetCommitRequestTopic::default().with_name(TopicName(text(topic)));
    OffsetCommitRequest::default()
        .with_group_id(group(id))
        .with_member_id(text(member))
        .with_generation_id_or_member_epoch(generation)
        .with_topics(vec![topic.with_partitions(partitions.collect())])
}

/// The partitions' error codes.
pub async fn committed(client: &mut Client, version: i16, request: &OffsetCommitRequest) -> Vec<i16> {
    let answer = client.ask(version, request).await;
    answer.topics.iter().flat_map(|t| t.partitions.iter().map(|p| p.error_code)).collect()
}

/// The same of topic `t`, by its id.
pub async fn committed_by_id(client: &mut Client, request: &OffsetCommitRequest, id: Uuid) -> Vec<i16> {
    let answer = client.ask_by_id(10, request, "t", id).await;
    answer.topics.iter().flat_map(|t| t.partitions.iter().map(|p| p.error_code)).collect()
}

/// Group's error, then each partition's topic, number, offset, and error.
pub type Fetched = (i16, Vec<(String, i32, i64, i16)>);

/// `asked`: topic and partitions; else all.
pub async fn fetch(client: &mut Client, id: &str, asked: Option<(&str, &[i32])>) -> Fetched {
    let topics = asked.map(|(name, partitions)| {
        vec![
            OffsetFetchRequestTopics::default()
                .with_name(TopicName(text(name)))
                .with_partition_indexes(partitions.to_vec()),
        ]
    });
    let asked = OffsetFetchRequestGroup::default().with_group_id(group(id)).with_topics(topics);
    let answer = client.ask(9, &OffsetFetchRequest::default().with_groups(vec![asked])).await;
    let group = &answer.groups[0];
    let partitions = group.topics.iter().flat_map(|t| {
        t.partitions.iter().map(|p| (t.name.to_string(), p.partition_index, p.committed_offset, p.error_code))
    });
    (group.error_code, partitions.collect())
}
