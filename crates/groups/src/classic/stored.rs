use std::time::Duration;

use super::{Classic, Member, Phase};
use crate::effect::Client;
use crate::persisted::{PersistedClassic, PersistedClassicMember, PersistedPhase, PersistedProtocol, RestoreError};
use crate::protocol::Protocol;

impl Classic {
    pub fn to_persisted(&self) -> PersistedClassic {
        let phase = match self.phase {
            Phase::Empty => PersistedPhase::Empty,
            Phase::Preparing { .. } => PersistedPhase::Preparing,
            Phase::Completing => PersistedPhase::Completing,
            Phase::Stable => PersistedPhase::Stable,
        };
        PersistedClassic {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            phase: phase.into(),
            members: self.members.iter().map(|(id, m)| m.to_persisted(id)).collect(),
        }
    }

    /// Goes on where the last owner was: same generation and assignments, every member with a full session before it.
    pub fn restore(persisted: PersistedClassic, now: Duration) -> Result<Self, RestoreError> {
        let mut group = Self::new();
        for member in persisted.members {
            let id = member.member_id.clone();
            let member = Member::restore(member, now);
            if let Some(instance) = &member.instance_id
                && group.statics.insert(instance.clone(), id.clone()).is_some()
            {
                return Err(RestoreError::Invalid("two members have one group.instance.id"));
            }
            if group.members.insert(id, member).is_some() {
                return Err(RestoreError::Invalid("two members have one id"));
            }
        }
        let until = now.saturating_add(group.longest_rebalance());
        let phase = PersistedPhase::try_from(persisted.phase).map_err(|_| RestoreError::Invalid("an unknown phase"))?;
        group.phase = match phase {
            _ if group.members.is_empty() => Phase::Empty,
            PersistedPhase::Empty => return Err(RestoreError::Invalid("an empty group with members")),
            PersistedPhase::Preparing => Phase::Preparing { until, initial: None },
            PersistedPhase::Completing => Phase::Completing,
            PersistedPhase::Stable => Phase::Stable,
        };
        if group.phase == Phase::Completing {
            group.sync_by = Some(until);
            group.members.values_mut().for_each(|m| m.synced = false);
        }
        group.protocol_type = persisted.protocol_type;
        group.protocol = persisted.protocol;
        group.leader = group.members.contains_key(&persisted.leader).then_some(persisted.leader);
        Ok(group)
    }
}

impl Member {
    fn to_persisted(&self, id: &str) -> PersistedClassicMember {
        let protocol = |p: &Protocol| PersistedProtocol { name: p.name.clone(), metadata: p.metadata.clone() };
        PersistedClassicMember {
            member_id: id.into(),
            instance_id: self.instance_id.clone(),
            client_id: self.client.id.clone(),
            client_host: self.client.host.clone(),
            session_timeout_ms: millis(self.session_timeout),
            rebalance_timeout_ms: millis(self.rebalance_timeout),
            protocols: self.protocols.iter().map(protocol).collect(),
            assignment: self.assignment.clone(),
        }
    }

    fn restore(persisted: PersistedClassicMember, now: Duration) -> Self {
        let protocol = |p: PersistedProtocol| Protocol { name: p.name, metadata: p.metadata };
        let session_timeout = Duration::from_millis(persisted.session_timeout_ms);
        Self {
            instance_id: persisted.instance_id,
            client: Client { id: persisted.client_id, host: persisted.client_host },
            session_timeout,
            rebalance_timeout: Duration::from_millis(persisted.rebalance_timeout_ms),
            protocols: persisted.protocols.into_iter().map(protocol).collect(),
            assignment: persisted.assignment,
            session_end: now.saturating_add(session_timeout),
            is_new: false,
            joining: None,
            syncing: None,
            synced: true,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
