//! The consumer protocol (KIP-848): one heartbeat carries everything; the group computes a target assignment, and each member moves from what it has
//! towards it in its own pace.
//!
//! A partition is in the hands of one member at most, from when it is assigned until that member reports that it gave it up, leaves, or is taken out
//! for its silence; `holders` says whose. A member is at an older epoch than the target's as long as it has partitions to give up.

mod heartbeat;
mod holdings;
mod reconcile;
mod stored;
mod subscription;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use lakebed_record::TopicPartition;

use crate::GroupError;
use crate::assignor::{self, Assignor, Candidate};
use crate::core::Core;
use crate::effect::Client;
use crate::topics::{Shapes, Topics};
use holdings::Holders;
use subscription::Subscription;

/// KIP-848's epochs that are none.
pub(crate) const JOIN: i32 = 0;
pub(crate) const LEAVE: i32 = -1;
/// Of a static member that said it will be back.
pub(crate) const AWAY: i32 = -2;

/// Topics are looked through for regular expressions no more often than this.
const REGEX_REFRESH: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Has its target.
    Stable,
    /// Is to give up partitions first.
    Unrevoked,
    /// At the target's epoch, but others still hold some of its partitions.
    Unreleased,
}

/// Partitions, and the epoch since which their owner has each.
pub(crate) type Assigned = BTreeMap<TopicPartition, i32>;

#[derive(Debug)]
pub(crate) struct Member {
    pub instance_id: Option<String>,
    pub rack_id: Option<String>,
    pub client: Client,
    rebalance_timeout: Duration,
    pub subscription: Subscription,
    server_assignor: Option<Assignor>,
    pub epoch: i32,
    previous_epoch: i32,
    state: State,
    pub assigned: Assigned,
    /// To be given up; still in its hands.
    revoking: Assigned,
    pub target: BTreeSet<TopicPartition>,
    /// What its subscription comes to; not known after a restart until topics were seen.
    topics: Option<Arc<Shapes>>,
    session_end: Duration,
    /// When it is taken out if it has not given up its partitions.
    revoke_by: Option<Duration>,
}

impl Member {
    fn topics(&self) -> Option<&Shapes> {
        self.topics.as_deref()
    }

    fn size(&self) -> usize {
        let optional = |s: &Option<String>| s.as_ref().map_or(0, String::len);
        let strings =
            self.client.id.len() + self.client.host.len() + optional(&self.instance_id) + optional(&self.rack_id);
        MEMBER_OVERHEAD + strings + self.subscription.size()
    }
}

/// Upper bounds in the persisted form: a member beside its strings; a topic; a topic with a member, in its target and in its assignment; a partition in both.
const MEMBER_OVERHEAD: usize = 128;
const TOPIC_SIZE: usize = 32;
const SHARE_SIZE: usize = 32;
const PARTITION_SIZE: usize = 16;

#[derive(Debug)]
pub(crate) struct Consumer {
    pub members: BTreeMap<String, Member>,
    statics: BTreeMap<String, String>,
    holders: Holders,
    /// The group epoch that the targets were computed for.
    pub target_epoch: i32,
    pub assignor: Assignor,
    /// All topics that anybody subscribes to, as the targets know them.
    topics: Shapes,
    resolved: BTreeMap<Subscription, Arc<Shapes>>,
    /// The topics' version that `resolved` is of.
    seen: Option<u64>,
    refresh_after: Duration,
}

impl Consumer {
    pub fn new(generation: i32) -> Self {
        Self {
            members: BTreeMap::new(),
            statics: BTreeMap::new(),
            holders: Holders::default(),
            target_epoch: generation,
            assignor: Assignor::default(),
            topics: Shapes::new(),
            resolved: BTreeMap::new(),
            seen: None,
            refresh_after: Duration::ZERO,
        }
    }

    pub fn is_stable(&self, member: &Member) -> bool {
        member.state == State::Stable && member.epoch == self.target_epoch
    }

    /// A sign of life.
    pub fn touch(&mut self, core: &Core, member_id: &str, now: Duration) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.session_end = now.saturating_add(core.config.consumer_session_timeout);
        }
    }

    pub fn deadline(&self) -> Option<Duration> {
        self.members.values().flat_map(|m| [Some(m.session_end), m.revoke_by]).flatten().min()
    }

    /// Takes out members whose session ended or who did not give up their partitions in time.
    pub fn tick(&mut self, core: &mut Core, now: Duration) {
        let due = |m: &Member| m.session_end <= now || m.revoke_by.is_some_and(|by| by <= now);
        let gone: Vec<String> = self.members.iter().filter(|(_, m)| due(m)).map(|(id, _)| id.clone()).collect();
        for id in gone {
            if !core.out.holds_reply_for(&id) {
                self.remove(core, &id);
                continue;
            }
            self.touch(core, &id, now);
            if let Some(member) = self.members.get_mut(&id).filter(|m| m.revoke_by.is_some()) {
                member.revoke_by = Some(now.saturating_add(member.rebalance_timeout));
            }
        }
    }

    fn remove(&mut self, core: &mut Core, member_id: &str) {
        let Some(member) = self.members.remove(member_id) else { return };
        core.out.withdraw(member_id, GroupError::UnknownMemberId);
        self.holders.release(member_id, &member.assigned);
        self.holders.release(member_id, &member.revoking);
        if let Some(instance) = &member.instance_id {
            self.statics.remove(instance);
        }
        core.next_generation();
        if self.members.is_empty() {
            *self = Self::new(core.generation);
        }
    }

    /// Looks the subscriptions up again if topics changed. True if the members' topics are others than the targets know.
    fn refresh(&mut self, core: &Core, topics: &dyn Topics, now: Duration) -> bool {
        if self.seen != Some(topics.version()) {
            let has_regex = self.resolved.keys().any(|s| s.regex.is_some());
            if !has_regex || self.refresh_after <= now {
                self.resolved.clear();
                self.seen = Some(topics.version());
                self.refresh_after = now.saturating_add(REGEX_REFRESH);
                self.members.values_mut().for_each(|m| m.topics = None);
            }
        }
        let mut used = BTreeSet::new();
        for member in self.members.values_mut() {
            if member.topics.is_none() {
                if !self.resolved.contains_key(&member.subscription) {
                    let found = Arc::new(member.subscription.resolve(topics));
                    self.resolved.insert(member.subscription.clone(), found);
                }
                member.topics = self.resolved.get(&member.subscription).cloned();
            }
            used.extend(member.topics.as_ref().map(Arc::as_ptr));
        }
        self.resolved.retain(|_, shapes| used.contains(&Arc::as_ptr(shapes)));
        let mut wanted = Shapes::new();
        self.resolved.values().for_each(|shapes| wanted.extend(shapes.iter()));
        if wanted == self.topics || self.footprint(self.members.len(), &wanted) > core.config.max_metadata {
            // Topics that outgrow what can be stored leave the assignment as it is.
            return false;
        }
        self.topics = wanted;
        true
    }

    /// Brings the targets to the group epoch.
    fn retarget(&mut self, core: &mut Core) {
        if self.target_epoch == core.generation {
            return;
        }
        self.assignor = self.preferred_assignor();
        let none = Shapes::new();
        let candidate = |m| Candidate { topics: Member::topics(m).unwrap_or(&none), before: &m.target };
        let candidates: Vec<_> = self.members.values().map(candidate).collect();
        let targets = assignor::assign(self.assignor, &candidates, &self.topics);
        for (member, target) in self.members.values_mut().zip(targets) {
            member.target = target;
        }
        self.target_epoch = core.generation;
        core.out.changed();
    }

    /// The one that most members ask for; without a wish, or among equals, the first of [`Assignor::ALL`].
    fn preferred_assignor(&self) -> Assignor {
        let votes = |a: Assignor| self.members.values().filter(|m| m.server_assignor == Some(a)).count();
        Assignor::ALL.into_iter().rev().max_by_key(|a| votes(*a)).unwrap_or_default()
    }

    pub fn subscribes(&self, topic: &str, topics: &dyn Topics) -> bool {
        let id = topics.find(topic).map(|shape| shape.id);
        let resolves = |m: &Member| id.zip(m.topics()).is_some_and(|(id, shapes)| shapes.contains_key(&id));
        self.members.values().any(|m| m.subscription.names.contains(topic) || resolves(m))
    }

    /// What the persisted form takes at most with so many members and these topics.
    fn footprint(&self, members: usize, topics: &Shapes) -> usize {
        let sizes: usize = self.members.iter().map(|(id, m)| id.len() + m.size()).sum();
        let topics = topics.values().map(|n| {
            let partitions = (*n).max(0) as usize;
            TOPIC_SIZE + partitions.min(members) * SHARE_SIZE + partitions * PARTITION_SIZE
        });
        sizes + topics.sum::<usize>()
    }
}
