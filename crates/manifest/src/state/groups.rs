//! Consumer groups (section 8): who owns each, its generation, its committed offsets, and the ops that change them.
//!
//! Every change but a claim names the claim's epoch, and applies only from the incarnation that holds it, so nothing has an effect from
//! an owner whose epoch has passed. Groups live in the bucket of their name, behind reference counts of their own, and offsets in
//! chunks (see [`Offsets`]): while a snapshot shares the state, a commit copies a chunk, not a group.

mod edit;
mod expiry;
mod offsets;
mod parts;
#[cfg(test)]
pub(super) mod tests;

use bytes::Bytes;
use lakebed_record::ops::{
    ClaimGroup, CommitOffsets, CommitOutcome, DeleteGroup, DeleteOffsets, ExpireOffsets, GroupKind, GroupRef,
    OpOutcome, TopicOffsets, WriteGroup,
};
use lakebed_record::{GroupClaim, GroupKey, LogTime, Namespace, TopicId, TopicPartition};

use super::apply::At;
use super::{State, hash};

pub use offsets::{CommittedOffset, Offsets};
pub(super) use parts::GroupPart;

/// What an owner may keep with a group, in bytes.
pub const MAX_GROUP_METADATA: usize = 1 << 20;
/// What a consumer may keep with an offset, in bytes (Kafka's `offset.metadata.max.bytes`).
pub const MAX_OFFSET_METADATA: usize = 4_096;
/// What all consumer groups may take of every node's memory, in bytes as [`Totals`] counts them; past it nothing that takes more applies.
pub const MAX_GROUP_BYTES: usize = 256 << 20;

/// A consumer group as the manifest knows it; its members are its owner's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerGroup {
    pub claim: GroupClaim,
    pub kind: GroupKind,
    /// The group epoch, where the kind is `Consumer`. Never goes back while the group exists.
    pub generation: i32,
    pub members: u32,
    /// Since when it has no members; `None` exactly while it has some.
    pub empty_since: Option<LogTime>,
    /// Of the owner, opaque.
    pub metadata: Bytes,
    pub offsets: Offsets,
}

/// Sums over all consumer groups; derived, not persisted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub groups: usize,
    pub offsets: usize,
    /// Groups without members.
    pub empty: usize,
    /// About what they take in memory.
    pub bytes: usize,
}

impl Totals {
    /// Whether `more` bytes may come in place of `less`. What does not grow always may.
    fn admits(&self, more: usize, less: usize) -> bool {
        more <= less || self.bytes + (more - less) <= MAX_GROUP_BYTES
    }
}

/// Bytes that a group without its offsets is counted as.
fn head_cost(key: &GroupKey, metadata: usize) -> usize {
    256 + key.namespace.as_str().len() + key.id.as_str().len() + metadata
}

/// Bytes that an offset is counted as.
fn offset_cost(metadata: &str) -> usize {
    96 + metadata.len()
}

/// Reading.
impl State {
    pub fn consumer_group(&self, key: &GroupKey) -> Option<&ConsumerGroup> {
        self.buckets[hash::bucket_of_group(key)].groups.get(key).map(AsRef::as_ref)
    }

    /// In no order that means anything.
    pub fn consumer_groups(&self) -> impl Iterator<Item = (&GroupKey, &ConsumerGroup)> {
        self.buckets.iter().flat_map(|b| b.groups.iter()).map(|(key, group)| (key, group.as_ref()))
    }

    pub fn group_totals(&self) -> Totals {
        self.group_totals
    }
}

/// Applying.
impl State {
    pub(super) fn claim_group(&mut self, at: &At<'_>, op: &ClaimGroup) -> OpOutcome {
        let Some(key) = op.group.as_ref().and_then(GroupRef::key) else { return OpOutcome::Refused };
        let present = self.consumer_group(&key).map(|g| g.claim);
        if present.map_or(0, |claim| claim.epoch) != op.replaces {
            return OpOutcome::ClaimRefused { present };
        }
        if present.is_none() && !self.group_totals.admits(head_cost(&key, 0), 0) {
            return OpOutcome::OutOfSpace;
        }
        self.last_claim_epoch += 1;
        let claim = GroupClaim { epoch: self.last_claim_epoch, owner: at.incarnation() };
        match self.edit_group(&key) {
            Some(mut edit) => edit.head(|group| group.claim = claim),
            None => self.insert_group(key, ConsumerGroup::new(claim, at.stamp())),
        }
        OpOutcome::GroupClaimed { epoch: claim.epoch }
    }

    pub(super) fn write_group(&mut self, at: &At<'_>, op: &WriteGroup) -> OpOutcome {
        let (key, group) = match self.owned_group(at, op.group.as_ref(), op.epoch) {
            Ok(owned) => owned,
            Err(outcome) => return outcome,
        };
        if op.from_generation != group.generation {
            return OpOutcome::IllegalGeneration { generation: group.generation };
        }
        let Ok(kind) = GroupKind::try_from(op.kind) else { return OpOutcome::Refused };
        // Members of one protocol never meet those of another.
        let converted = kind != group.kind && group.members > 0;
        let memberless = kind == GroupKind::Simple && op.members > 0;
        let back = op.generation < op.from_generation;
        if converted || memberless || back || op.metadata.len() > MAX_GROUP_METADATA {
            return OpOutcome::Refused;
        }
        if !self.group_totals.admits(op.metadata.len(), group.metadata.len()) {
            return OpOutcome::OutOfSpace;
        }
        let stamp = at.stamp();
        if let Some(mut edit) = self.edit_group(&key) {
            edit.head(|group| {
                group.kind = kind;
                group.generation = op.generation;
                group.members = op.members;
                group.empty_since = (op.members == 0).then(|| group.empty_since.unwrap_or(stamp));
                group.metadata = Bytes::copy_from_slice(&op.metadata);
            });
        }
        OpOutcome::Done
    }

    pub(super) fn commit_offsets(&mut self, at: &At<'_>, op: &CommitOffsets) -> OpOutcome {
        let (key, group) = match self.owned_group(at, op.group.as_ref(), op.epoch) {
            Ok(owned) => owned,
            Err(outcome) => return outcome,
        };
        match op.generation {
            Some(generation) if generation != group.generation => {
                return OpOutcome::IllegalGeneration { generation: group.generation };
            }
            None if group.members > 0 => return OpOutcome::NonEmpty,
            Some(_) | None => {}
        }
        let topics: Vec<Option<(TopicId, u32)>> =
            op.topics.iter().map(|t| self.committable(&key.namespace, t)).collect();
        let committed_at = at.stamp();
        let Some(mut edit) = self.edit_group(&key) else { return OpOutcome::NotOwner };
        let outcomes = op.topics.iter().zip(topics).map(|(offsets, topic)| {
            let Some((topic, partitions)) = topic else {
                return vec![CommitOutcome::UnknownPartition; offsets.offsets.len()];
            };
            let outcomes = offsets.offsets.iter().map(|o| {
                if u32::try_from(o.partition).map_or(true, |p| p >= partitions) {
                    return CommitOutcome::UnknownPartition;
                }
                if o.offset < 0 || o.metadata.len() > MAX_OFFSET_METADATA {
                    return CommitOutcome::Invalid;
                }
                edit.commit(TopicPartition::new(topic, o.partition), CommittedOffset::new(o, committed_at))
            });
            outcomes.collect()
        });
        OpOutcome::OffsetsCommitted(outcomes.collect())
    }

    /// The topic and how many partitions it has. A group sees the topics of its own namespace.
    fn committable(&self, namespace: &Namespace, op: &TopicOffsets) -> Option<(TopicId, u32)> {
        let topic = self.topic(TopicId::from_bytes(&op.topic_id)?)?;
        (topic.namespace == *namespace).then_some((topic.id, topic.partitions))
    }

    pub(super) fn delete_offsets(&mut self, at: &At<'_>, op: &DeleteOffsets) -> OpOutcome {
        let key = match self.owned_group(at, op.group.as_ref(), op.epoch) {
            Ok((key, _)) => key,
            Err(outcome) => return outcome,
        };
        if let Some(mut edit) = self.edit_group(&key) {
            op.topics.iter().flat_map(|t| t.iter()).for_each(|tp| edit.remove(tp));
        }
        OpOutcome::Done
    }

    pub(super) fn delete_group(&mut self, at: &At<'_>, op: &DeleteGroup) -> OpOutcome {
        match self.owned_group(at, op.group.as_ref(), op.epoch) {
            Ok((_, group)) if group.members > 0 => OpOutcome::NonEmpty,
            Ok((key, _)) => {
                self.remove_group(&key);
                OpOutcome::Done
            }
            Err(outcome) => outcome,
        }
    }

    /// `now`: log time before the commit's own step, as for everything that expires.
    pub(super) fn expire_offsets(&mut self, now: LogTime, op: &ExpireOffsets) -> OpOutcome {
        for named in &op.groups {
            let Some(key) = named.group.as_ref().and_then(GroupRef::key) else { continue };
            let Some(group) = self.consumer_group(&key) else { continue };
            let partitions = named.topics.iter().flat_map(|t| t.iter());
            let expired: Vec<TopicPartition> = partitions
                .filter(|tp| group.offsets.get(*tp).is_some_and(|o| self.has_expired(now, group, *tp, o)))
                .collect();
            if !expired.is_empty()
                && let Some(mut edit) = self.edit_group(&key)
            {
                expired.into_iter().for_each(|tp| edit.remove(tp));
            }
            if self.consumer_group(&key).is_some_and(|group| self.is_forgotten(now, group)) {
                self.remove_group(&key);
            }
        }
        OpOutcome::Done
    }

    /// The group, if the incarnation that asks holds its claim under this epoch.
    fn owned_group(
        &self,
        at: &At<'_>,
        group: Option<&GroupRef>,
        epoch: u64,
    ) -> Result<(GroupKey, &ConsumerGroup), OpOutcome> {
        let key = group.and_then(GroupRef::key).ok_or(OpOutcome::Refused)?;
        let claim = GroupClaim { epoch, owner: at.incarnation() };
        match self.consumer_group(&key).filter(|g| g.claim == claim) {
            Some(group) => Ok((key, group)),
            None => Err(OpOutcome::NotOwner),
        }
    }
}

impl ConsumerGroup {
    fn new(claim: GroupClaim, now: LogTime) -> ConsumerGroup {
        ConsumerGroup {
            claim,
            kind: GroupKind::Simple,
            generation: 0,
            members: 0,
            empty_since: Some(now),
            metadata: Bytes::new(),
            offsets: Offsets::default(),
        }
    }
}
