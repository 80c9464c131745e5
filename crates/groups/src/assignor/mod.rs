//! The server-side assignors of KIP-848: who is to own what in the end. Both keep what a member was to own before, as far as their rule allows,
//! since every partition that moves is revoked, and its consumer's caches with it.

mod range;
#[cfg(test)]
mod tests;
mod uniform;

use std::collections::{BTreeMap, BTreeSet};

use lakebed_record::{TopicId, TopicPartition};

use crate::topics::Shapes;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Assignor {
    /// As many partitions for each member as for every other, over all topics.
    #[default]
    Uniform,
    /// Of each topic a contiguous range; the same place in the range for all topics, so that co-partitioned topics meet in one member.
    Range,
}

impl Assignor {
    pub const ALL: [Assignor; 2] = [Assignor::Uniform, Assignor::Range];

    pub const fn name(self) -> &'static str {
        match self {
            Assignor::Uniform => "uniform",
            Assignor::Range => "range",
        }
    }

    pub fn named(name: &str) -> Option<Assignor> {
        Assignor::ALL.into_iter().find(|a| a.name() == name)
    }
}

/// One member, as an assignor sees it.
pub(crate) struct Candidate<'a> {
    pub topics: &'a Shapes,
    /// Its target before.
    pub before: &'a BTreeSet<TopicPartition>,
}

/// The target of each candidate, in their order: every partition of a topic that anybody subscribes to goes to exactly one subscriber.
pub(crate) fn assign(
    assignor: Assignor,
    candidates: &[Candidate<'_>],
    shapes: &Shapes,
) -> Vec<BTreeSet<TopicPartition>> {
    let subscribers = subscribers(candidates, shapes);
    match assignor {
        Assignor::Uniform => uniform::assign(candidates, &subscribers, shapes),
        Assignor::Range => range::assign(candidates, &subscribers, shapes),
    }
}

/// Places of the candidates that subscribe to each topic; topics that nobody wants are left out.
fn subscribers(candidates: &[Candidate<'_>], shapes: &Shapes) -> BTreeMap<TopicId, Vec<usize>> {
    let mut subscribers: BTreeMap<TopicId, Vec<usize>> = BTreeMap::new();
    for (place, candidate) in candidates.iter().enumerate() {
        for topic in candidate.topics.keys().filter(|t| shapes.contains_key(t)) {
            subscribers.entry(*topic).or_default().push(place);
        }
    }
    subscribers
}
