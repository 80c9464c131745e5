//! Changing a group: whatever changes keeps its bucket's hash and the totals.

use std::sync::Arc;

use lakebed_record::ops::CommitOutcome;
use lakebed_record::{GroupKey, TopicPartition};

use super::super::{State, hash};
use super::{CommittedOffset, ConsumerGroup, Totals, head_cost, offset_cost};

/// A group of a bucket, to be changed.
pub(super) struct Edit<'a> {
    key: &'a GroupKey,
    name: u64,
    group: &'a mut ConsumerGroup,
    sum: &'a mut u64,
    totals: &'a mut Totals,
}

impl Edit<'_> {
    /// Changes all but the offsets.
    pub fn head(&mut self, change: impl FnOnce(&mut ConsumerGroup)) {
        *self.sum = self.sum.wrapping_sub(hash::group(self.name, self.group));
        self.totals.bytes -= head_cost(self.key, self.group.metadata.len());
        self.totals.empty -= usize::from(self.group.members == 0);
        change(self.group);
        *self.sum = self.sum.wrapping_add(hash::group(self.name, self.group));
        self.totals.bytes += head_cost(self.key, self.group.metadata.len());
        self.totals.empty += usize::from(self.group.members == 0);
    }

    /// Unless there is no more space.
    pub fn commit(&mut self, tp: TopicPartition, offset: CommittedOffset) -> CommitOutcome {
        let present = self.group.offsets.get(tp).map_or(0, |o| offset_cost(&o.metadata));
        if !self.totals.admits(offset_cost(&offset.metadata), present) {
            return CommitOutcome::OutOfSpace;
        }
        self.uncount(tp);
        self.totals.offsets += 1;
        self.totals.bytes += offset_cost(&offset.metadata);
        *self.sum = self.sum.wrapping_add(hash::offset(self.name, tp, &offset));
        self.group.offsets.insert(tp, offset);
        CommitOutcome::Committed
    }

    pub fn remove(&mut self, tp: TopicPartition) {
        self.uncount(tp);
        self.group.offsets.remove(tp);
    }

    fn uncount(&mut self, tp: TopicPartition) {
        if let Some(gone) = self.group.offsets.get(tp) {
            *self.sum = self.sum.wrapping_sub(hash::offset(self.name, tp, gone));
            self.totals.offsets -= 1;
            self.totals.bytes -= offset_cost(&gone.metadata);
        }
    }
}

impl State {
    pub(super) fn edit_group<'a>(&'a mut self, key: &'a GroupKey) -> Option<Edit<'a>> {
        let name = hash::group_name(key);
        let index = hash::bucket_of_group(key);
        // Looked up before the bucket is copied for a group that is not there.
        self.buckets[index].groups.get(key)?;
        let totals = &mut self.group_totals;
        let bucket = Arc::make_mut(&mut self.buckets[index]);
        let group = Arc::make_mut(bucket.groups.get_mut(key)?);
        Some(Edit { key, name, group, sum: &mut bucket.hash, totals })
    }

    /// There must be none of this name.
    pub(in super::super) fn insert_group(&mut self, key: GroupKey, group: ConsumerGroup) {
        self.group_totals = totals_with(self.group_totals, &key, &group);
        let bucket = self.bucket(hash::bucket_of_group(&key));
        bucket.hash = bucket.hash.wrapping_add(group_hash(&key, &group));
        bucket.groups.insert(key, Arc::new(group));
    }

    pub(super) fn remove_group(&mut self, key: &GroupKey) {
        let bucket = self.bucket(hash::bucket_of_group(key));
        if let Some(gone) = bucket.groups.remove(key) {
            bucket.hash = bucket.hash.wrapping_sub(group_hash(key, &gone));
            let (with, totals) = (totals_with(Totals::default(), key, &gone), &mut self.group_totals);
            totals.groups -= with.groups;
            totals.offsets -= with.offsets;
            totals.empty -= with.empty;
            totals.bytes -= with.bytes;
        }
    }
}

fn totals_with(totals: Totals, key: &GroupKey, group: &ConsumerGroup) -> Totals {
    let offsets: usize = group.offsets.iter().map(|(_, o)| offset_cost(&o.metadata)).sum();
    Totals {
        groups: totals.groups + 1,
        offsets: totals.offsets + group.offsets.len(),
        empty: totals.empty + usize::from(group.members == 0),
        bytes: totals.bytes + head_cost(key, group.metadata.len()) + offsets,
    }
}

fn group_hash(key: &GroupKey, group: &ConsumerGroup) -> u64 {
    let name = hash::group_name(key);
    let offsets = group.offsets.iter().map(|(tp, o)| hash::offset(name, tp, o));
    offsets.fold(hash::group(name, group), u64::wrapping_add)
}
