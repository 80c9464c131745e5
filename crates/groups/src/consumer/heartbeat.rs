use std::collections::BTreeSet;
use std::time::Duration;

use lakebed_record::TopicPartition;

use super::{AWAY, Consumer, JOIN, LEAVE, Member, State, Subscription};
use crate::GroupError;
use crate::assignor::Assignor;
use crate::core::Core;
use crate::effect::{Client, ConsumerAnswer, ConsumerHeartbeat, Reply, Token};
use crate::topics::Topics;

/// Which member a heartbeat speaks for.
enum Identity {
    Known,
    New,
    /// A static member that went away and came back as another.
    Replaces(String),
}

impl Consumer {
    pub fn heartbeat(
        &mut self,
        core: &mut Core,
        token: Token,
        request: ConsumerHeartbeat,
        topics: &dyn Topics,
        now: Duration,
    ) {
        let member_id = request.member_id.clone();
        let answer = check(&request).and_then(|()| match request.member_epoch {
            LEAVE | AWAY => self.leave(core, &request),
            _ => self.step(core, request, topics, now),
        });
        match answer {
            Ok(answer) if answer.member_epoch < 0 => {
                core.out.reply_when_written(token, "", Reply::ConsumerHeartbeat(Ok(answer)));
            }
            Ok(answer) => {
                // The member speaks again, so it did not get, and will not see, the answer that still waits.
                core.out.withdraw(&member_id, GroupError::CoordinatorNotAvailable);
                core.out.reply_when_written(token, &member_id, Reply::ConsumerHeartbeat(Ok(answer)));
            }
            Err(error) => core.out.reply(token, Reply::ConsumerHeartbeat(Err(error))),
        }
    }

    fn step(
        &mut self,
        core: &mut Core,
        request: ConsumerHeartbeat,
        topics: &dyn Topics,
        now: Duration,
    ) -> Result<ConsumerAnswer, GroupError> {
        let identity = self.identify(&request)?;
        let present = match &identity {
            Identity::Known => self.members.get(&request.member_id),
            Identity::Replaces(holder) => self.members.get(holder),
            Identity::New => None,
        };
        let subscription = subscription(&request, present);
        let new_regex =
            subscription.regex.is_some() && present.is_none_or(|m| m.subscription.regex != subscription.regex);
        if new_regex {
            subscription.check()?;
        }
        if request.member_epoch == JOIN || present.is_none_or(|m| m.subscription != subscription) {
            self.admit(core, &request, &subscription, present, topics)?;
        }
        let full = request.rebalance_timeout.is_some()
            && request.owned.is_some()
            && (request.subscribed_names.is_some() || request.subscribed_regex.is_some());
        let tell = full || request.member_epoch == JOIN;
        let member_id = request.member_id.clone();
        let owned = request.owned.clone();
        let before = self.members.get(&member_id).map(|m| m.assigned.clone());

        let resubscribed = self.enrol(core, identity, request, subscription);
        if self.refresh(core, topics, now) || resubscribed {
            core.next_generation();
        }
        self.retarget(core);
        self.reconcile(core, &member_id, owned.as_deref(), now);

        let Some(member) = self.members.get_mut(&member_id) else { return Err(GroupError::UnknownMemberId) };
        member.session_end = now.saturating_add(core.config.consumer_session_timeout);
        let changed = before.is_none_or(|before| before != member.assigned);
        Ok(ConsumerAnswer {
            member_id,
            member_epoch: member.epoch,
            heartbeat_interval: core.config.consumer_heartbeat_interval,
            assignment: (tell || changed).then(|| member.assigned.keys().copied().collect()),
        })
    }

    fn identify(&self, request: &ConsumerHeartbeat) -> Result<Identity, GroupError> {
        let joins = request.member_epoch == JOIN;
        let present = self.members.get(&request.member_id);
        let holder = request.instance_id.as_ref().map(|instance| (instance, self.statics.get(instance)));
        match (holder, present) {
            (None, None) | (Some((_, None)), None) if joins => Ok(Identity::New),
            (None, None) | (Some((_, None)), _) if !joins => Err(GroupError::UnknownMemberId),
            (Some((instance, _)), Some(member)) if member.instance_id.as_ref() != Some(instance) => {
                Err(GroupError::InvalidRequest("a member keeps the group.instance.id that it joined with"))
            }
            (Some((_, Some(holder))), _) if *holder != request.member_id => match self.members.get(holder) {
                Some(member) if joins && member.epoch == AWAY => Ok(Identity::Replaces(holder.clone())),
                _ if joins => Err(GroupError::UnreleasedInstanceId),
                _ => Err(GroupError::FencedInstanceId),
            },
            (_, Some(member)) => check_epoch(member, request).map(|()| Identity::Known),
            (_, None) => Err(GroupError::UnknownMemberId),
        }
    }

    /// Whether the group has room for this subscription.
    fn admit(
        &self,
        core: &Core,
        request: &ConsumerHeartbeat,
        subscription: &Subscription,
        present: Option<&Member>,
        topics: &dyn Topics,
    ) -> Result<(), GroupError> {
        if present.is_none() && self.members.len() >= core.config.max_members {
            return Err(GroupError::GroupMaxSizeReached);
        }
        let others = self.members.iter().filter(|(id, _)| **id != request.member_id);
        let mut regexes: BTreeSet<_> = others.filter_map(|(_, m)| m.subscription.regex.as_ref()).collect();
        regexes.extend(&subscription.regex);
        if regexes.len() > core.config.max_regexes {
            return Err(GroupError::InvalidRequest(
                "the members of this group have too many different regular expressions",
            ));
        }
        let mut union = self.topics.clone();
        match self.resolved.get(subscription) {
            Some(known) if self.seen == Some(topics.version()) => union.extend(known.iter()),
            _ => union.extend(subscription.resolve(topics)),
        }
        let strings = request.client.id.len() + request.client.host.len() + request.member_id.len();
        let optional = [&request.instance_id, &request.rack_id].into_iter().flatten().map(String::len).sum::<usize>();
        let added = super::MEMBER_OVERHEAD + strings + optional + subscription.size();
        let members = self.members.len() + usize::from(present.is_none());
        let freed = present.map_or(0, |m| request.member_id.len() + m.size());
        if (self.footprint(members, &union) + added).saturating_sub(freed) > core.config.max_metadata {
            return Err(GroupError::GroupMaxSizeReached);
        }
        Ok(())
    }

    /// Takes over what the member says of itself. True if it subscribes to something else than before.
    fn enrol(
        &mut self,
        core: &mut Core,
        identity: Identity,
        request: ConsumerHeartbeat,
        subscription: Subscription,
    ) -> bool {
        let member_id = request.member_id;
        match identity {
            Identity::Known => {}
            Identity::New => {
                self.members.insert(member_id.clone(), Member::new(request.instance_id.clone()));
                core.out.changed();
            }
            Identity::Replaces(holder) => {
                core.out.withdraw(&holder, GroupError::FencedInstanceId);
                if let Some(mut member) = self.members.remove(&holder) {
                    self.holders.release(&holder, &member.assigned);
                    self.holders.take(&member_id, &member.assigned);
                    (member.epoch, member.previous_epoch) = (JOIN, JOIN);
                    self.members.insert(member_id.clone(), member);
                }
                core.out.changed();
            }
        }
        if let Some(instance) = request.instance_id {
            self.statics.insert(instance, member_id.clone());
        }
        let Some(member) = self.members.get_mut(&member_id) else { return false };
        let kept = member.server_assignor.filter(|_| request.member_epoch != JOIN);
        let assignor = request.server_assignor.as_deref().and_then(Assignor::named).or(kept);
        let rebalance_timeout = request.rebalance_timeout.unwrap_or(member.rebalance_timeout);
        if (assignor, rebalance_timeout) != (member.server_assignor, member.rebalance_timeout) {
            core.out.changed();
        }
        member.server_assignor = assignor;
        member.rebalance_timeout = rebalance_timeout;
        if request.member_epoch == JOIN {
            member.rack_id = request.rack_id;
            member.client = request.client;
        }
        let resubscribed = member.subscription != subscription;
        if resubscribed {
            member.subscription = subscription;
            member.topics = None;
        }
        resubscribed
    }

    fn leave(&mut self, core: &mut Core, request: &ConsumerHeartbeat) -> Result<ConsumerAnswer, GroupError> {
        let member_id = &request.member_id;
        if let Some(instance) = &request.instance_id {
            let holder = self.statics.get(instance).ok_or(GroupError::UnknownMemberId)?;
            if holder != member_id {
                return Err(GroupError::FencedInstanceId);
            }
        }
        let Some(member) = self.members.get_mut(member_id) else { return Err(GroupError::UnknownMemberId) };
        if request.member_epoch == AWAY {
            core.out.withdraw(member_id, GroupError::UnknownMemberId);
            self.holders.release(member_id, &member.revoking);
            member.revoking.clear();
            member.revoke_by = None;
            member.state = State::Stable;
            member.set_epoch(AWAY);
            core.out.changed();
        } else {
            self.remove(core, member_id);
        }
        Ok(ConsumerAnswer {
            member_id: member_id.clone(),
            member_epoch: request.member_epoch,
            heartbeat_interval: core.config.consumer_heartbeat_interval,
            assignment: None,
        })
    }
}

impl Member {
    fn new(instance_id: Option<String>) -> Self {
        Self {
            instance_id,
            rack_id: None,
            client: Client { id: String::new(), host: String::new() },
            rebalance_timeout: Duration::ZERO,
            subscription: Subscription::default(),
            server_assignor: None,
            epoch: JOIN,
            previous_epoch: JOIN,
            state: State::Stable,
            assigned: Default::default(),
            revoking: Default::default(),
            target: Default::default(),
            topics: None,
            session_end: Duration::MAX,
            revoke_by: None,
        }
    }
}

/// What can be said without knowing the group (KIP-848, request validation).
fn check(request: &ConsumerHeartbeat) -> Result<(), GroupError> {
    let invalid =
        |condition: bool, what: &'static str| if condition { Err(GroupError::InvalidRequest(what)) } else { Ok(()) };
    let empty = |s: &Option<String>| s.as_ref().is_some_and(String::is_empty);
    invalid(request.member_id.is_empty(), "MemberId can't be empty.")?;
    invalid(empty(&request.instance_id), "InstanceId can't be empty.")?;
    invalid(empty(&request.rack_id), "RackId can't be empty.")?;
    invalid(request.member_epoch < AWAY, "MemberEpoch is invalid.")?;
    invalid(request.member_epoch == AWAY && request.instance_id.is_none(), "InstanceId can't be null.")?;
    if request.member_epoch == JOIN {
        invalid(request.rebalance_timeout.is_none(), "RebalanceTimeoutMs must be provided in first request.")?;
        let nothing_owned = request.owned.as_ref().is_some_and(Vec::is_empty);
        invalid(!nothing_owned, "TopicPartitions must be empty when (re-)joining.")?;
        let nothing = request.subscribed_names.is_none() && request.subscribed_regex.is_none();
        invalid(nothing, "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.")?;
    }
    match &request.server_assignor {
        Some(name) if Assignor::named(name).is_none() => Err(GroupError::UnsupportedAssignor),
        _ => Ok(()),
    }
}

/// The present epoch, or the one before it from a member that has nothing but what it may have: the answer with the present one was lost. 0 is a
/// member that starts over.
fn check_epoch(member: &Member, request: &ConsumerHeartbeat) -> Result<(), GroupError> {
    let within = |owned: &Vec<TopicPartition>| owned.iter().all(|at| member.assigned.contains_key(at));
    match request.member_epoch {
        JOIN => Ok(()),
        epoch if epoch == member.epoch => Ok(()),
        epoch if epoch == member.previous_epoch && member.epoch > 0 && request.owned.as_ref().is_some_and(within) => {
            Ok(())
        }
        _ => Err(GroupError::FencedMemberEpoch),
    }
}

/// Who joins says everything; afterwards what is not said has not changed.
fn subscription(request: &ConsumerHeartbeat, present: Option<&Member>) -> Subscription {
    let before = present.filter(|_| request.member_epoch != JOIN).map(|m| &m.subscription);
    let names = request.subscribed_names.as_ref().map(|names| names.iter().cloned().collect());
    let regex = request.subscribed_regex.as_ref().map(|regex| (!regex.is_empty()).then(|| regex.clone()));
    Subscription {
        names: names.unwrap_or_else(|| before.map(|s| s.names.clone()).unwrap_or_default()),
        regex: regex.unwrap_or_else(|| before.and_then(|s| s.regex.clone())),
    }
}
