use std::time::Duration;

use super::join::refuse;
use super::{Classic, Initial, Member, Phase};
use crate::GroupError;
use crate::core::Core;
use crate::effect::{LeaderAssigns, Reply};

impl Member {
    /// A member that waits for others is not to be heard from, unless it is so new that nobody relies on it.
    pub(super) fn may_expire(&self) -> bool {
        self.is_new || (self.joining.is_none() && self.syncing.is_none())
    }
}

impl Classic {
    /// Calls all members back, if that is not under way, and goes on if all are there.
    pub(super) fn rebalance(&mut self, core: &mut Core, now: Duration) {
        if !matches!(self.phase, Phase::Preparing { .. }) {
            for member in self.members.values_mut() {
                if let Some(token) = member.syncing.take() {
                    core.out.reply(token, Reply::Sync(Err(GroupError::RebalanceInProgress)));
                    member.session_end = now.saturating_add(member.session_timeout);
                }
            }
            self.sync_by = None;
            let longest = self.longest_rebalance();
            let delay = core.config.initial_rebalance_delay;
            let initial = (self.phase == Phase::Empty && !delay.is_zero())
                .then(|| Initial { remaining: longest.saturating_sub(delay), grew: false });
            let until = now.saturating_add(if initial.is_some() { delay } else { longest });
            self.phase = Phase::Preparing { until, initial };
        }
        self.try_complete(core, now);
    }

    /// Fixes the generation once every member has joined and nobody who was given an id is still to come.
    pub(super) fn try_complete(&mut self, core: &mut Core, now: Duration) {
        if let Phase::Preparing { initial: None, .. } = self.phase
            && self.pending.is_empty()
            && self.members.values().all(|m| m.joining.is_some())
        {
            self.complete(core, now);
        }
    }

    fn complete(&mut self, core: &mut Core, now: Duration) {
        let absent = |m: &Member| m.joining.is_none() && m.instance_id.is_none();
        let gone: Vec<String> = self.members.iter().filter(|(_, m)| absent(m)).map(|(id, _)| id.clone()).collect();
        gone.iter().for_each(|id| self.remove(core, id));
        if self.members.is_empty() {
            self.protocol.clear();
            self.protocol_type.clear();
            self.phase = Phase::Empty;
            return core.next_generation();
        }
        let joined = |m: &Member| m.joining.is_some();
        if !self.leader.as_ref().and_then(|id| self.members.get(id)).is_some_and(joined) {
            match self.members.iter().find(|(_, m)| joined(m)) {
                Some((id, _)) => self.leader = Some(id.clone()),
                // Only static members, all of them away: they keep their places until their sessions end.
                None => {
                    let until = now.saturating_add(self.longest_rebalance());
                    self.phase = Phase::Preparing { until, initial: None };
                    return;
                }
            }
        }
        core.next_generation();
        self.protocol = self.select_protocol();
        self.phase = Phase::Completing;
        self.sync_by = Some(now.saturating_add(self.longest_rebalance()));
        for member in self.members.values_mut() {
            member.assignment.clear();
            // Who is away and keeps its place has its session to come back in.
            member.synced = member.joining.is_none();
        }
        let waiting: Vec<_> =
            self.members.iter_mut().filter_map(|(id, m)| Some((id.clone(), m.joining.take()?))).collect();
        for (member_id, token) in waiting {
            if let Some(member) = self.members.get_mut(&member_id) {
                member.is_new = false;
            }
            self.touch(core, &member_id, now);
            let reply = self.joined(core, &member_id, LeaderAssigns::Yes);
            core.out.reply_when_written(token, &member_id, Reply::Join(Ok(reply)));
        }
    }

    pub(super) fn longest_rebalance(&self) -> Duration {
        self.members.values().map(|m| m.rebalance_timeout).max().unwrap_or_default()
    }

    /// Takes a member out; a [`rebalance`](Self::rebalance) is to follow.
    pub(super) fn remove(&mut self, core: &mut Core, member_id: &str) {
        let Some(member) = self.members.remove(member_id) else { return };
        core.out.withdraw(member_id, GroupError::UnknownMemberId);
        if let Some(token) = member.joining {
            refuse(core, token, GroupError::UnknownMemberId, member_id.into());
        }
        if let Some(token) = member.syncing {
            core.out.reply(token, Reply::Sync(Err(GroupError::UnknownMemberId)));
        }
        if let Some(instance) = &member.instance_id {
            self.statics.remove(instance);
        }
        if self.leader.as_deref() == Some(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
    }

    /// Does what has become due.
    pub fn tick(&mut self, core: &mut Core, now: Duration) {
        let pending = self.pending.len();
        self.pending.retain(|_, until| *until > now);
        if self.pending.len() < pending {
            self.try_complete(core, now);
        }
        let due = |m: &Member| m.session_end <= now && m.may_expire();
        let gone: Vec<String> = self.members.iter().filter(|(_, m)| due(m)).map(|(id, _)| id.clone()).collect();
        self.remove_silent(core, gone, now);
        if self.sync_by.is_some_and(|by| by <= now) {
            self.sync_by = None;
            let late: Vec<String> = self.members.iter().filter(|(_, m)| !m.synced).map(|(id, _)| id.clone()).collect();
            self.remove_silent(core, late, now);
        }
        match &mut self.phase {
            Phase::Preparing { until, initial: Some(Initial { remaining, grew }) } if *until <= now => {
                if *grew && !remaining.is_zero() {
                    let delay = core.config.initial_rebalance_delay.min(*remaining);
                    *remaining -= delay;
                    *grew = false;
                    *until = now.saturating_add(delay);
                } else {
                    self.complete(core, now);
                }
            }
            Phase::Preparing { until, .. } if *until <= now => self.complete(core, now),
            _ => {}
        }
    }

    /// Takes out members who should have been heard from, but for those whom we keep waiting.
    fn remove_silent(&mut self, core: &mut Core, members: Vec<String>, now: Duration) {
        let (held, gone): (Vec<_>, Vec<_>) = members.into_iter().partition(|id| core.out.holds_reply_for(id));
        held.iter().for_each(|id| self.touch(core, id, now));
        gone.iter().for_each(|id| self.remove(core, id));
        if !gone.is_empty() {
            self.rebalance(core, now);
        }
    }
}
