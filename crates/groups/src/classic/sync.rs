use std::collections::BTreeMap;
use std::time::Duration;

use super::{Classic, Phase};
use crate::GroupError;
use crate::core::Core;
use crate::effect::{Reply, SyncRequest, Synced, Token};

impl Classic {
    pub fn sync(&mut self, core: &mut Core, token: Token, request: SyncRequest, now: Duration) {
        if let Err(error) = self.try_sync(core, token, request, now) {
            core.out.reply(token, Reply::Sync(Err(error)));
        }
    }

    fn try_sync(
        &mut self,
        core: &mut Core,
        token: Token,
        request: SyncRequest,
        now: Duration,
    ) -> Result<(), GroupError> {
        let SyncRequest { member: who, protocol_type, protocol, assignments } = request;
        self.validate(core, &who)?;
        let differs = |said: &Option<String>, ours: &str| said.as_ref().is_some_and(|s| s != ours);
        match self.phase {
            Phase::Empty => return Err(GroupError::UnknownMemberId),
            Phase::Preparing { .. } => return Err(GroupError::RebalanceInProgress),
            Phase::Completing | Phase::Stable => {}
        }
        if differs(&protocol_type, &self.protocol_type) || differs(&protocol, &self.protocol) {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        let leads = self.leader.as_ref() == Some(&who.member_id);
        if self.phase == Phase::Completing && leads {
            let size: usize = assignments.iter().map(|(_, a)| a.len()).sum();
            if self.footprint() + size > core.config.max_metadata {
                return Err(GroupError::InvalidRequest("the assignments of this group are too large to be stored"));
            }
        }
        self.touch(core, &who.member_id, now);
        core.out.withdraw(&who.member_id, GroupError::RebalanceInProgress);
        let Some(member) = self.members.get_mut(&who.member_id) else { return Err(GroupError::UnknownMemberId) };
        member.synced = true;
        if let Some(earlier) = member.syncing.replace(token) {
            core.out.reply(earlier, Reply::Sync(Err(GroupError::RebalanceInProgress)));
        }
        if self.phase == Phase::Completing && leads {
            let mut assignments: BTreeMap<String, _> = assignments.into_iter().collect();
            for (member_id, member) in &mut self.members {
                member.assignment = assignments.remove(member_id).unwrap_or_default();
            }
            self.phase = Phase::Stable;
            core.out.changed();
        }
        if self.phase == Phase::Stable {
            self.hand_out(core, now);
        }
        Ok(())
    }

    /// Answers all who wait for their assignment.
    fn hand_out(&mut self, core: &mut Core, now: Duration) {
        for (member_id, member) in &mut self.members {
            let Some(token) = member.syncing.take() else { continue };
            member.session_end = now.saturating_add(member.session_timeout);
            let synced = Synced {
                protocol_type: self.protocol_type.clone(),
                protocol: self.protocol.clone(),
                assignment: member.assignment.clone(),
            };
            core.out.reply_when_written(token, member_id, Reply::Sync(Ok(synced)));
        }
        if self.members.values().all(|m| m.synced) {
            self.sync_by = None;
        }
    }
}
