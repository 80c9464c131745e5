//! What waits until log time has moved on, and what has waited long enough. Expiry itself happens by ops only.

use lakebed_record::{Incarnation, LogTime, TopicPartition};

use super::{ProducerState, State};

impl State {
    /// Whether anything will go once log time has advanced. Incarnations that merely fell silent do not count: a live node with
    /// nothing to do is silent too, and keeping log time going for it would never end.
    pub fn anything_expires(&self) -> bool {
        self.producer_states > 0
            || self.group_totals.empty > 0
            || self.buckets.iter().any(|b| !b.pending.is_empty())
            || self.nodes().any(|(_, n)| n.down_at.is_some())
            || self.first_freed_slot().is_some()
    }

    /// (partition, producer) pairs of which sequences are remembered.
    pub fn producer_count(&self) -> usize {
        self.producer_states
    }

    /// Incarnations without a group for so long that any node may sign them off.
    pub fn silent_nodes(&self) -> impl Iterator<Item = Incarnation> {
        let silent = |at: i64| self.log_time.0 > at.saturating_add(self.waits.node_silence_ms);
        self.nodes().filter(move |(_, n)| n.down_at.is_none() && silent(n.last_seen.0)).map(|(i, _)| i)
    }

    pub fn droppable_tombstones(&self) -> impl Iterator<Item = Incarnation> {
        let past = |at: i64| self.log_time.0 > at.saturating_add(self.waits.window_ms);
        self.nodes().filter(move |(_, n)| n.down_at.is_some_and(|at| past(at.0))).map(|(i, _)| i)
    }

    /// Producers without an append for so long that their state may go, of each of a bucket's partitions that has any.
    pub fn idle_producers(&self, bucket: usize) -> impl Iterator<Item = (TopicPartition, Vec<i64>)> {
        self.buckets[bucket].partitions.iter().filter_map(|(tp, p)| {
            let idle = p.producers.iter().filter(|(_, p)| self.is_idle(p, self.log_time));
            let ids: Vec<i64> = idle.map(|(id, _)| *id).collect();
            (!ids.is_empty()).then_some((*tp, ids))
        })
    }

    pub(super) fn is_idle(&self, producer: &ProducerState, now: LogTime) -> bool {
        now.0 > producer.last_append.0.saturating_add(self.waits.producer_expiry_ms)
    }
}
