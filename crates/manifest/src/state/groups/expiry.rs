//! When offsets and groups go (KIP-211): offsets of a group without members live on for the retention, and the group as long as
//! it has any. Offsets of partitions that are no more go at once, whoever has members.
//!
//! A claim keeps nothing alive: with neither members nor offsets its holder has nothing to lose, and learns of it from its
//! next op, which finds it no owner.

use lakebed_record::{GroupKey, LogTime, TopicPartition};

use super::super::State;
use super::{CommittedOffset, ConsumerGroup};

impl State {
    /// Both ends of the retention belong to it.
    pub(super) fn has_expired(
        &self,
        now: LogTime,
        group: &ConsumerGroup,
        tp: TopicPartition,
        offset: &CommittedOffset,
    ) -> bool {
        self.partition(tp).is_none()
            || group.empty_since.is_some_and(|since| self.past_retention(now, since.max(offset.committed_at)))
    }

    /// Nobody will miss the group.
    pub(super) fn is_forgotten(&self, now: LogTime, group: &ConsumerGroup) -> bool {
        group.offsets.is_empty() && group.empty_since.is_some_and(|since| self.past_retention(now, since))
    }

    fn past_retention(&self, now: LogTime, since: LogTime) -> bool {
        now.0 > since.0.saturating_add(self.waits.offset_retention_ms)
    }

    /// Groups of a bucket that lose offsets or go, and which offsets.
    pub fn expired_offsets(&self, bucket: usize) -> impl Iterator<Item = (&GroupKey, Vec<TopicPartition>)> {
        let now = self.log_time;
        self.buckets[bucket].groups.iter().filter_map(move |(key, group)| {
            let offsets = group.offsets.iter().filter(|(tp, o)| self.has_expired(now, group, *tp, o));
            let expired: Vec<TopicPartition> = offsets.map(|(tp, _)| tp).collect();
            (!expired.is_empty() || self.is_forgotten(now, group)).then_some((key, expired))
        })
    }
}
