//! What DescribeGroups, ConsumerGroupDescribe and ListGroups show.

use bytes::Bytes;
use lakebed_record::TopicPartition;

use crate::classic::{Classic, Phase};
use crate::consumer::Consumer;
use crate::core::Core;
use crate::effect::Client;

/// Kafka's group states, of both protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupState {
    Empty,
    PreparingRebalance,
    CompletingRebalance,
    Assigning,
    Reconciling,
    Stable,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    pub state: GroupState,
    /// Generation, or group epoch.
    pub generation: i32,
    pub members: Members,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Members {
    /// Has committed offsets, but never had a member.
    Simple,
    Classic {
        protocol_type: String,
        protocol: String,
        members: Vec<ClassicMember>,
    },
    Consumer {
        assignor: &'static str,
        assignment_epoch: i32,
        members: Vec<ConsumerMember>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicMember {
    pub member_id: String,
    pub instance_id: Option<String>,
    pub client: Client,
    /// For the chosen protocol; empty while there is none.
    pub metadata: Bytes,
    pub assignment: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerMember {
    pub member_id: String,
    pub instance_id: Option<String>,
    pub rack_id: Option<String>,
    pub client: Client,
    pub epoch: i32,
    pub subscribed_names: Vec<String>,
    pub subscribed_regex: Option<String>,
    pub assigned: Vec<TopicPartition>,
    pub target: Vec<TopicPartition>,
}

impl Classic {
    pub(crate) fn describe(&self, core: &Core) -> Description {
        let state = match self.phase {
            Phase::Empty => GroupState::Empty,
            Phase::Preparing { .. } => GroupState::PreparingRebalance,
            Phase::Completing => GroupState::CompletingRebalance,
            Phase::Stable => GroupState::Stable,
        };
        let members = self.members.iter().map(|(id, m)| ClassicMember {
            member_id: id.clone(),
            instance_id: m.instance_id.clone(),
            client: m.client.clone(),
            metadata: m.metadata(&self.protocol),
            assignment: m.assignment.clone(),
        });
        let members = Members::Classic {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            members: members.collect(),
        };
        Description { state, generation: core.generation, members }
    }
}

impl Consumer {
    pub(crate) fn describe(&self, core: &Core) -> Description {
        let state = if self.members.is_empty() {
            GroupState::Empty
        } else if core.generation != self.target_epoch {
            GroupState::Assigning
        } else if !self.members.values().all(|m| self.is_stable(m)) {
            GroupState::Reconciling
        } else {
            GroupState::Stable
        };
        let members = self.members.iter().map(|(id, m)| ConsumerMember {
            member_id: id.clone(),
            instance_id: m.instance_id.clone(),
            rack_id: m.rack_id.clone(),
            client: m.client.clone(),
            epoch: m.epoch,
            subscribed_names: m.subscription.names.iter().cloned().collect(),
            subscribed_regex: m.subscription.regex.clone(),
            assigned: m.assigned.keys().copied().collect(),
            target: m.target.iter().copied().collect(),
        });
        let members = Members::Consumer {
            assignor: self.assignor.name(),
            assignment_epoch: self.target_epoch,
            members: members.collect(),
        };
        Description { state, generation: core.generation, members }
    }
}
