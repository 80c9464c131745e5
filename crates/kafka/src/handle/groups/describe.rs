//! DescribeGroups and ConsumerGroupDescribe.

use std::collections::HashMap;

use lakebed_broker::Broker;
use lakebed_groups::{ConsumerMember, Description, GroupError, GroupState, Members};
use lakebed_record::{TopicId, TopicPartition};

use super::{by_topic, distinct, group_id, run_all};
use crate::errors;
use crate::wire::consumer_group_describe::{
    self, ConsumerGroupDescribeRequest, DescribedAssignment, DescribedConsumer, DescribedConsumerGroup, MemberType,
};
use crate::wire::describe_groups::{self, DescribeGroupsRequest, DescribedGroup, DescribedMember};
use crate::wire::{Array, ErrorCode, Writer};

/// What a group takes while it is answered, besides its members.
const GROUP_BYTES: usize = 512;
/// Of what is stored of a group: it is copied, told, and assignments name their topics in the answer.
const TIMES_STORED: usize = 6;

/// What describing these groups takes, as far as their stored state tells.
pub(in super::super) fn expected_bytes(broker: &Broker, groups: Array<'_, &str>) -> usize {
    let stored = |group| group_id(group).map_or(0, |id| broker.groups().stored_bytes(&id));
    distinct(groups).map(|group| GROUP_BYTES + 2 * group.len() + TIMES_STORED * stored(group)).sum()
}

/// As Kafka writes it.
pub(super) fn state_name(state: GroupState) -> &'static str {
    match state {
        GroupState::Empty => "Empty",
        GroupState::PreparingRebalance => "PreparingRebalance",
        GroupState::CompletingRebalance => "CompletingRebalance",
        GroupState::Assigning => "Assigning",
        GroupState::Reconciling => "Reconciling",
        GroupState::Stable => "Stable",
    }
}

const DEAD: &str = "Dead";

type Refused = (ErrorCode, String);

/// With the group's id.
type Found<'a> = (&'a str, Result<Description, Refused>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Classic,
    Consumer,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Classic => "classic",
            Kind::Consumer => "consumer",
        }
    }

    /// A group that only has offsets counts as a classic one.
    fn of(group: &Description) -> Kind {
        if matches!(group.members, Members::Consumer { .. }) { Kind::Consumer } else { Kind::Classic }
    }
}

async fn describe_all<'a>(broker: &Broker, groups: Array<'a, &'a str>, kind: Kind) -> Vec<Found<'a>> {
    run_all(distinct(groups).map(|group| describe(broker, group, kind)).collect()).await
}

/// A group of another kind is as if there were none.
async fn describe<'a>(broker: &Broker, group: &'a str, kind: Kind) -> Found<'a> {
    let id = match group_id(group) {
        Ok(id) => id,
        Err(code) => return (group, Err((code, "a group id has 1 to 32,767 bytes".to_owned()))),
    };
    let not_found = |reason: String| Err((ErrorCode::GroupIdNotFound, reason));
    let found = match broker.groups().describe(&id).await {
        Ok(found) if Kind::of(&found) == kind => Ok(found),
        Ok(_) => not_found(format!("Group {group} is not a {} group.", kind.name())),
        Err(GroupError::GroupIdNotFound) => not_found(format!("Group {group} not found.")),
        Err(other) => Err((errors::group(other), other.to_string())),
    };
    (group, found)
}

pub(in super::super) async fn classic(
    broker: &Broker,
    request: &DescribeGroupsRequest<'_>,
    version: i16,
    w: &mut Writer,
) {
    let found = describe_all(broker, request.groups, Kind::Classic).await;
    let groups: Vec<_> = found.iter().map(|(group, found)| describe_classic(group, found, version)).collect();
    describe_groups::encode_response(w, &groups);
}

fn describe_classic<'a>(group: &'a str, found: &'a Result<Description, Refused>, version: i16) -> DescribedGroup<'a> {
    let nothing = DescribedGroup {
        error: ErrorCode::None,
        error_message: None,
        group_id: group,
        state: "",
        protocol_type: "",
        protocol: "",
        members: Vec::new(),
    };
    match found {
        Ok(description) => {
            let described = DescribedGroup { state: state_name(description.state), ..nothing };
            let Members::Classic { protocol_type, protocol, members } = &description.members else { return described };
            // While it rebalances there is no protocol, nor what members said under it: so has it Apache Kafka.
            let stable = description.state == GroupState::Stable;
            let members = members.iter().map(|m| DescribedMember {
                member_id: &m.member_id,
                group_instance_id: m.instance_id.as_deref(),
                client_id: &m.client.id,
                client_host: &m.client.host,
                metadata: if stable { &m.metadata } else { &[] },
                assignment: if stable { &m.assignment } else { &[] },
            });
            let protocol = if stable { protocol } else { "" };
            DescribedGroup { protocol_type, protocol, members: members.collect(), ..described }
        }
        // Older clients are told of a group that there is not by its state alone.
        Err((ErrorCode::GroupIdNotFound, _)) if version < 6 => DescribedGroup { state: DEAD, ..nothing },
        Err((error, reason)) => {
            let state = if *error == ErrorCode::GroupIdNotFound { DEAD } else { "" };
            DescribedGroup { error: *error, error_message: Some(reason.clone()), state, ..nothing }
        }
    }
}

pub(in super::super) async fn consumer(broker: &Broker, request: &ConsumerGroupDescribeRequest<'_>, w: &mut Writer) {
    let found = describe_all(broker, request.groups, Kind::Consumer).await;
    let names = topic_names(broker, found.iter().filter_map(|(_, found)| found.as_ref().ok()));
    let groups: Vec<_> = found.iter().map(|(group, found)| describe_consumer(group, found, &names)).collect();
    consumer_group_describe::encode_response(w, &groups);
}

/// Of those topics that there still are.
fn topic_names<'a>(broker: &Broker, groups: impl Iterator<Item = &'a Description>) -> HashMap<TopicId, String> {
    let mut names = HashMap::new();
    for group in groups {
        let Members::Consumer { members, .. } = &group.members else { continue };
        for at in members.iter().flat_map(|m| m.assigned.iter().chain(&m.target)) {
            if !names.contains_key(&at.topic)
                && let Some(topic) = broker.local_topic(at.topic)
            {
                names.insert(at.topic, topic.name.as_str().to_owned());
            }
        }
    }
    names
}

fn describe_consumer<'a>(
    group: &'a str,
    found: &'a Result<Description, Refused>,
    names: &'a HashMap<TopicId, String>,
) -> DescribedConsumerGroup<'a> {
    let nothing = DescribedConsumerGroup {
        error: ErrorCode::None,
        error_message: None,
        group_id: group,
        state: "",
        group_epoch: 0,
        assignment_epoch: 0,
        assignor: "",
        members: Vec::new(),
    };
    match found {
        Ok(Description { state, generation, members: Members::Consumer { assignor, assignment_epoch, members } }) => {
            DescribedConsumerGroup {
                state: state_name(*state),
                group_epoch: *generation,
                assignment_epoch: *assignment_epoch,
                assignor,
                members: members.iter().map(|member| describe_member(member, names)).collect(),
                ..nothing
            }
        }
        Ok(_) => nothing,
        Err((error, reason)) => {
            DescribedConsumerGroup { error: *error, error_message: Some(reason.clone()), state: DEAD, ..nothing }
        }
    }
}

fn describe_member<'a>(member: &'a ConsumerMember, names: &'a HashMap<TopicId, String>) -> DescribedConsumer<'a> {
    let regex = member.subscribed_regex.as_deref();
    DescribedConsumer {
        member_id: &member.member_id,
        instance_id: member.instance_id.as_deref(),
        rack_id: member.rack_id.as_deref(),
        member_epoch: member.epoch,
        client_id: &member.client.id,
        client_host: &member.client.host,
        subscribed_topic_names: member.subscribed_names.iter().map(String::as_str).collect(),
        subscribed_topic_regex: Some(regex.unwrap_or_default()),
        assignment: assignment(&member.assigned, names),
        target_assignment: assignment(&member.target, names),
        member_type: MemberType::Consumer,
    }
}

fn assignment<'a>(partitions: &[TopicPartition], names: &'a HashMap<TopicId, String>) -> Vec<DescribedAssignment<'a>> {
    let known = by_topic(partitions.iter().map(|at| (at.topic, at.partition.0)))
        .into_iter()
        .filter_map(|(topic, partitions)| Some(DescribedAssignment { topic, name: names.get(&topic)?, partitions }));
    known.collect()
}
