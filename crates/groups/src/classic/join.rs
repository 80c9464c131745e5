use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Classic, Member, Phase};
use crate::GroupError;
use crate::core::Core;
use crate::effect::{JoinFeatures, JoinRefused, JoinRequest, Joined, JoinedMember, LeaderAssigns, Reply, Token};
use crate::protocol::Protocol;

impl Classic {
    pub fn join(&mut self, core: &mut Core, token: Token, request: JoinRequest, now: Duration) {
        let asked = request.member_id.clone();
        if let Err(error) = self.admit(core, &request) {
            return refuse(core, token, error, asked);
        }
        let fresh = match &request.instance_id {
            Some(instance) => format!("{instance}-{}", request.fresh),
            None => format!("{}-{}", request.client.id, request.fresh),
        };
        if asked.is_empty() {
            let holder = request.instance_id.as_ref().and_then(|instance| self.statics.get(instance)).cloned();
            if let Some(holder) = holder {
                return self.replace_static(core, token, &holder, fresh, request, now);
            }
            if request.instance_id.is_none() && request.features >= JoinFeatures::KnownMemberId {
                self.pending.insert(fresh.clone(), now.saturating_add(request.session_timeout));
                return refuse(core, token, GroupError::MemberIdRequired, fresh);
            }
            return self.add(core, token, fresh, request, now);
        }
        if self.pending.contains_key(&asked) {
            if request.instance_id.is_some() {
                let error = GroupError::InvalidRequest("a static member joins without a member id first");
                return refuse(core, token, error, asked);
            }
            self.pending.remove(&asked);
            return self.add(core, token, asked, request, now);
        }
        match self.validate_id(&asked, request.instance_id.as_deref()) {
            Ok(()) => self.rejoin(core, token, request, now),
            Err(error) => refuse(core, token, error, asked),
        }
    }

    /// The checks that change nothing.
    fn admit(&self, core: &Core, request: &JoinRequest) -> Result<(), GroupError> {
        let config = &core.config;
        if !(config.min_session_timeout..=config.max_session_timeout).contains(&request.session_timeout) {
            return Err(GroupError::InvalidSessionTimeout);
        }
        let static_holder = request.instance_id.as_ref().and_then(|i| self.statics.get(i));
        let present = self.members.get(static_holder.unwrap_or(&request.member_id));
        let known = present.is_some() || self.pending.contains_key(&request.member_id);
        if !known && request.member_id.is_empty() && self.members.len() + self.pending.len() >= config.max_members {
            return Err(GroupError::GroupMaxSizeReached);
        }
        let described: usize = request.protocols.iter().map(|p| p.name.len() + p.metadata.len()).sum();
        let strings = request.client.id.len() + request.client.host.len() + request.protocol_type.len();
        let ids = 4 * (request.instance_id.as_ref().map_or(request.client.id.len(), String::len) + request.fresh.len());
        let added = super::MEMBER_OVERHEAD + described + strings + ids;
        if self.footprint() - present.map_or(0, |m| m.size() - m.assignment.len()) + added > config.max_metadata {
            return Err(GroupError::GroupMaxSizeReached);
        }
        if !self.speaks(&request.protocol_type, &request.protocols) {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        Ok(())
    }

    /// Whether a member with these protocols leaves at least one that all have.
    fn speaks(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if protocol_type.is_empty() || protocols.is_empty() {
            return false;
        }
        if self.members.is_empty() {
            return true;
        }
        let common = self.common_protocols();
        self.protocol_type == protocol_type && protocols.iter().any(|p| common.contains(p.name.as_str()))
    }

    fn common_protocols(&self) -> BTreeSet<&str> {
        let mut members = self.members.values();
        let Some(first) = members.next() else { return BTreeSet::new() };
        let mut common: BTreeSet<&str> = first.protocols.iter().map(|p| p.name.as_str()).collect();
        for member in members {
            common.retain(|name| member.protocols.iter().any(|p| p.name == *name));
        }
        common
    }

    /// The common protocol that most members prefer; among equals the first in the order of names.
    pub(super) fn select_protocol(&self) -> String {
        let common = self.common_protocols();
        let votes = self.members.values().filter_map(|m| m.protocols.iter().find(|p| common.contains(p.name.as_str())));
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for vote in votes {
            *counts.entry(&vote.name).or_default() += 1;
        }
        let most = counts.values().copied().max().unwrap_or(0);
        counts.iter().find(|(_, n)| **n == most).map(|(name, _)| name.to_string()).unwrap_or_default()
    }

    fn add(&mut self, core: &mut Core, token: Token, member_id: String, request: JoinRequest, now: Duration) {
        if self.members.is_empty() {
            self.protocol_type = request.protocol_type.clone();
        }
        if let Some(instance) = &request.instance_id {
            self.statics.insert(instance.clone(), member_id.clone());
        }
        self.leader.get_or_insert_with(|| member_id.clone());
        let member = Member {
            instance_id: request.instance_id,
            client: request.client,
            session_timeout: request.session_timeout,
            rebalance_timeout: request.rebalance_timeout,
            protocols: request.protocols,
            assignment: Default::default(),
            session_end: now.saturating_add(core.config.new_member_join_timeout),
            is_new: true,
            joining: Some(token),
            syncing: None,
            synced: false,
        };
        self.members.insert(member_id, member);
        if let Phase::Preparing { initial: Some(initial), .. } = &mut self.phase {
            initial.grew = true;
        }
        self.rebalance(core, now);
    }

    /// A member that is known joins under its id.
    fn rejoin(&mut self, core: &mut Core, token: Token, request: JoinRequest, now: Duration) {
        let Some(member) = self.members.get(&request.member_id) else { return };
        let same = member.protocols == request.protocols;
        let leads = self.leader.as_ref() == Some(&request.member_id);
        let told_again = match self.phase {
            // It is in this generation already: the answer did not reach it.
            Phase::Completing => same,
            // A leader joins again to call for a new assignment.
            Phase::Stable => same && !leads,
            Phase::Empty | Phase::Preparing { .. } => false,
        };
        if told_again {
            core.out.withdraw(&request.member_id, GroupError::RebalanceInProgress);
            self.touch(core, &request.member_id, now);
            let reply = self.joined(core, &request.member_id, LeaderAssigns::Yes);
            core.out.reply_when_written(token, &request.member_id, Reply::Join(Ok(reply)));
            return;
        }
        let member_id = request.member_id.clone();
        self.update(core, &member_id, request, GroupError::RebalanceInProgress);
        self.await_join(&member_id, token);
        self.rebalance(core, now);
    }

    pub(super) fn await_join(&mut self, member_id: &str, token: Token) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.joining = Some(token);
        }
    }

    /// Takes over what a member says of itself. Whoever waits under this id does so in vain.
    pub(super) fn update(&mut self, core: &mut Core, member_id: &str, request: JoinRequest, to_others: GroupError) {
        core.out.withdraw(member_id, to_others);
        let Some(member) = self.members.get_mut(member_id) else { return };
        if let Some(token) = member.joining.take() {
            refuse(core, token, to_others, member_id.into());
        }
        if let Some(token) = member.syncing.take() {
            core.out.reply(token, Reply::Sync(Err(to_others)));
        }
        member.client = request.client;
        member.session_timeout = request.session_timeout;
        member.rebalance_timeout = request.rebalance_timeout;
        member.protocols = request.protocols;
    }

    /// The answer that tells a member of the present generation.
    pub(super) fn joined(&self, core: &Core, member_id: &str, leader_assigns: LeaderAssigns) -> Joined {
        let leader = self.leader.clone().unwrap_or_default();
        let member = |(id, m): (&String, &Member)| JoinedMember {
            member_id: id.clone(),
            instance_id: m.instance_id.clone(),
            metadata: m.metadata(&self.protocol),
        };
        let leads = leader == member_id;
        Joined {
            generation: core.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            members: if leads { self.members.iter().map(member).collect() } else { Vec::new() },
            leader,
            member_id: member_id.into(),
            leader_assigns: if leads { leader_assigns } else { LeaderAssigns::Yes },
        }
    }
}

pub(super) fn refuse(core: &mut Core, token: Token, error: GroupError, member_id: String) {
    core.out.reply(token, Reply::Join(Err(JoinRefused { error, member_id })));
}
