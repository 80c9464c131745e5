//! Which other nodes are heard of, and since when one is silent (section 8 of the design: a consumer group may be taken from an owner
//! that was silent for 15 s while the challenger's own probes succeeded).
//!
//! A probe that was sent at `p` and answered proves that all that was committed before `p` is applied here. So a node of which the
//! last group was heard of at `h` has committed nothing between `h` and `p`, however late this node learned of either. That
//! alone would call everybody silent after a time without the store; so only the last stretch in which proofs followed
//! each other closely counts.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use lakebed_record::Incarnation;

use crate::state::State;

/// A stretch ends where two proofs, by when they were sent, lie further apart: three times what lies between the probes of an idle
/// node that follows the log.
const GAP: Duration = Duration::from_secs(3);
/// Operations under way of which is known when they were sent; of those left out an earlier one answers, which is on the safe side.
const MOST_SENT: usize = 1_024;
const SENT_APART: Duration = Duration::from_millis(20);

/// All times are this process's monotonic ones.
#[derive(Debug, Default)]
pub struct Hearing {
    sent: VecDeque<(u64, Duration)>,
    /// When the first and the last proof of the present stretch were sent.
    stretch: Option<(Duration, Duration)>,
    /// Live incarnations: the number of the last applied group, and when it was first seen.
    nodes: BTreeMap<Incarnation, (u64, Duration)>,
}

impl Hearing {
    /// Operations are numbered upwards.
    pub fn sent(&mut self, op: u64, now: Duration) {
        if self.sent.back().is_none_or(|(_, last)| now >= *last + SENT_APART) {
            self.sent.push_back((op, now));
        }
        if self.sent.len() > MOST_SENT {
            self.sent.pop_front();
        }
    }

    /// Operations are numbered anew.
    pub fn begin_again(&mut self) {
        self.sent.clear();
    }

    /// Operation `op`, and with it each one before, proved that when it was sent this node lagged behind nothing.
    pub fn proved(&mut self, op: u64) {
        let mut proof = None;
        while let Some((_, at)) = self.sent.pop_front_if(|(sent, _)| *sent <= op) {
            proof = Some(at);
        }
        let Some(at) = proof else { return };
        self.stretch = match self.stretch {
            Some((first, last)) if at <= last + GAP => Some((first, last.max(at))),
            Some(_) | None => Some((at, at)),
        };
    }

    /// What has been applied by now.
    pub fn observe(&mut self, state: &State, now: Duration) {
        let live = |(incarnation, node): (Incarnation, &crate::NodeState)| {
            node.down_at.is_none().then_some((incarnation, node.last_group))
        };
        let before = std::mem::take(&mut self.nodes);
        self.nodes = state
            .nodes()
            .filter_map(live)
            .map(|(incarnation, group)| {
                let same = before.get(&incarnation).filter(|(last, _)| *last == group);
                (incarnation, same.copied().unwrap_or((group, now)))
            })
            .collect();
    }

    /// For how long no group of this incarnation has been applied here; `None` if it is not registered, or down.
    pub fn heard(&self, incarnation: Incarnation, now: Duration) -> Option<Duration> {
        let (_, at) = self.nodes.get(&incarnation)?;
        Some(now.saturating_sub(*at))
    }

    /// For how long this incarnation has provably committed nothing, the store having served this node all that time.
    pub fn silent(&self, incarnation: Incarnation, now: Duration) -> Option<Duration> {
        let (_, heard) = self.nodes.get(&incarnation)?;
        let silence = self
            .stretch
            .filter(|(_, last)| now <= *last + GAP)
            .map(|(first, last)| last.saturating_sub(first.max(*heard)));
        Some(silence.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
