//! The classic protocol: JoinGroup, SyncGroup, Heartbeat, LeaveGroup, with static members (KIP-345), ids before joining (KIP-394) and
//! skipped assignments (KIP-814).
//!
//! A rebalance is `Preparing` (members are called back and join), `Completing` (the generation is fixed, the leader assigns) and `Stable`.
//! The generation is written when it is fixed, before any member hears of it, and again with the leader's assignments, before any
//! member hears of those. `Preparing` itself is in memory only: an owner that starts again is in the last generation, from which the members' joins
//! lead to the same place.

mod join;
mod rebalance;
mod static_member;
mod stored;
mod sync;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::GroupError;
use crate::core::Core;
use crate::effect::{Client, JoinRefused, Leaving, MemberRef, Reply, Token};
use crate::protocol::Protocol;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Empty,
    /// Members are joining; completed when all have, or at `until`.
    Preparing {
        until: Duration,
        initial: Option<Initial>,
    },
    /// Joined; the leader's assignments are awaited.
    Completing,
    Stable,
}

/// The first rebalance of an empty group waits for company: while members keep coming, by one delay after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Initial {
    remaining: Duration,
    grew: bool,
}

#[derive(Debug)]
pub(crate) struct Member {
    pub instance_id: Option<String>,
    pub client: Client,
    pub session_timeout: Duration,
    pub rebalance_timeout: Duration,
    pub protocols: Vec<Protocol>,
    pub assignment: Bytes,
    session_end: Duration,
    /// Has not been in a generation yet.
    is_new: bool,
    /// The JoinGroup that waits for the generation.
    joining: Option<Token>,
    /// The SyncGroup that waits for the leader's.
    syncing: Option<Token>,
    /// Has asked for its assignment in this generation.
    synced: bool,
}

impl Member {
    fn size(&self) -> usize {
        let protocols: usize = self.protocols.iter().map(|p| p.name.len() + p.metadata.len()).sum();
        let strings = self.client.id.len() + self.client.host.len() + self.instance_id.as_ref().map_or(0, String::len);
        MEMBER_OVERHEAD + protocols + strings + self.assignment.len()
    }

    pub fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols.iter().find(|p| p.name == protocol).map(|p| p.metadata.clone()).unwrap_or_default()
    }
}

/// Of a member in the persisted form beside its strings: its id twice, tags, lengths and time-outs.
const MEMBER_OVERHEAD: usize = 256;

#[derive(Debug)]
pub(crate) struct Classic {
    pub protocol_type: String,
    /// The one that the present generation speaks; empty without members.
    pub protocol: String,
    pub leader: Option<String>,
    pub phase: Phase,
    pub members: BTreeMap<String, Member>,
    /// Member id by `group.instance.id`.
    statics: BTreeMap<String, String>,
    /// Ids that were given out and not yet joined with (KIP-394), and when they are given up.
    pending: BTreeMap<String, Duration>,
    /// When members who joined but did not sync are given up.
    sync_by: Option<Duration>,
}

impl Classic {
    pub fn new() -> Self {
        Self {
            protocol_type: String::new(),
            protocol: String::new(),
            leader: None,
            phase: Phase::Empty,
            members: BTreeMap::new(),
            statics: BTreeMap::new(),
            pending: BTreeMap::new(),
            sync_by: None,
        }
    }

    /// Nobody is in it or about to be.
    pub fn is_vacant(&self) -> bool {
        self.members.is_empty() && self.pending.is_empty() && self.phase == Phase::Empty
    }

    pub fn heartbeat(&mut self, core: &Core, who: &MemberRef, now: Duration) -> Result<(), GroupError> {
        self.validate(core, who)?;
        self.touch(core, &who.member_id, now);
        match self.phase {
            Phase::Empty => Err(GroupError::UnknownMemberId),
            Phase::Preparing { .. } => Err(GroupError::RebalanceInProgress),
            Phase::Completing | Phase::Stable => Ok(()),
        }
    }

    pub fn leave(&mut self, core: &mut Core, token: Token, leaving: &[Leaving], now: Duration) {
        let results = leaving.iter().map(|who| self.leave_one(core, who, now)).collect();
        core.out.reply_when_written(token, "", Reply::Leave(Ok(results)));
    }

    fn leave_one(&mut self, core: &mut Core, who: &Leaving, now: Duration) -> Result<(), GroupError> {
        if self.pending.remove(&who.member_id).is_some() {
            self.try_complete(core, now);
            return Ok(());
        }
        let member_id = match &who.instance_id {
            Some(instance) if who.member_id.is_empty() => {
                self.statics.get(instance).cloned().ok_or(GroupError::UnknownMemberId)?
            }
            _ => who.member_id.clone(),
        };
        self.validate_id(&member_id, who.instance_id.as_deref())?;
        self.remove(core, &member_id);
        self.rebalance(core, now);
        Ok(())
    }

    /// Whether offsets may be committed by this member now.
    pub fn check_commit(&mut self, core: &Core, who: &MemberRef, now: Duration) -> Result<(), GroupError> {
        let anonymous = who.member_id.is_empty() && who.instance_id.is_none();
        if who.generation < 0 && anonymous {
            return if self.members.is_empty() { Ok(()) } else { Err(GroupError::UnknownMemberId) };
        }
        self.validate(core, who)?;
        match self.phase {
            Phase::Empty => return Err(GroupError::UnknownMemberId),
            Phase::Completing => return Err(GroupError::RebalanceInProgress),
            Phase::Preparing { .. } | Phase::Stable => {}
        }
        self.touch(core, &who.member_id, now);
        Ok(())
    }

    /// A sign of life.
    pub fn touch(&mut self, core: &Core, member_id: &str, now: Duration) {
        if let Some(member) = self.members.get_mut(member_id) {
            let timeout = if member.is_new { core.config.new_member_join_timeout } else { member.session_timeout };
            member.session_end = now.saturating_add(timeout);
        }
    }

    /// Answers everybody who waits for others.
    pub fn refuse_waiting(&mut self, core: &mut Core, error: GroupError) {
        for (member_id, member) in &mut self.members {
            if let Some(token) = member.joining.take() {
                core.out.reply(token, Reply::Join(Err(JoinRefused { error, member_id: member_id.clone() })));
            }
            if let Some(token) = member.syncing.take() {
                core.out.reply(token, Reply::Sync(Err(error)));
            }
        }
    }

    pub fn deadline(&self) -> Option<Duration> {
        let until = match self.phase {
            Phase::Preparing { until, .. } => Some(until),
            _ => None,
        };
        let sessions = self.members.values().filter(|m| m.may_expire()).map(|m| m.session_end);
        sessions.chain(self.pending.values().copied()).chain(until).chain(self.sync_by).min()
    }

    fn validate(&self, core: &Core, who: &MemberRef) -> Result<(), GroupError> {
        self.validate_id(&who.member_id, who.instance_id.as_deref())?;
        if who.generation == core.generation { Ok(()) } else { Err(GroupError::IllegalGeneration) }
    }

    fn validate_id(&self, member_id: &str, instance_id: Option<&str>) -> Result<(), GroupError> {
        if let Some(instance) = instance_id {
            let holder = self.statics.get(instance).ok_or(GroupError::UnknownMemberId)?;
            if holder != member_id {
                return Err(GroupError::FencedInstanceId);
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(GroupError::UnknownMemberId) }
    }

    /// What the persisted form may take at most, near enough.
    fn footprint(&self) -> usize {
        let members: usize = self.members.iter().map(|(id, m)| 2 * id.len() + m.size()).sum();
        members + self.pending.keys().map(String::len).sum::<usize>()
    }
}
