use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use lakebed_record::{TopicId, TopicPartition};

use super::Candidate;
use crate::topics::Shapes;

/// Keeps what still holds, gives what is free to the least loaded subscriber, and moves single partitions from the most to the least
/// loaded subscriber of their topic while that evens out. With equal subscriptions the loads differ by 1 at most.
pub(super) fn assign(
    candidates: &[Candidate<'_>],
    subscribers: &BTreeMap<TopicId, Vec<usize>>,
    shapes: &Shapes,
) -> Vec<BTreeSet<TopicPartition>> {
    let mut balance = Balance::keep(candidates, shapes);
    for (topic, members) in subscribers {
        balance.hand_out(*topic, shapes.get(topic).copied().unwrap_or(0), members);
    }
    while subscribers.iter().fold(false, |moved, (topic, members)| balance.even_out(*topic, members) || moved) {}
    balance.into_targets()
}

struct Balance {
    /// Of each member by topic.
    owned: Vec<BTreeMap<TopicId, BTreeSet<i32>>>,
    loads: Vec<usize>,
}

impl Balance {
    fn keep(candidates: &[Candidate<'_>], shapes: &Shapes) -> Self {
        let mut taken = BTreeSet::new();
        let mut balance = Self { owned: vec![BTreeMap::new(); candidates.len()], loads: vec![0; candidates.len()] };
        for (place, candidate) in candidates.iter().enumerate() {
            for at in candidate.before {
                let exists = shapes.get(&at.topic).is_some_and(|n| at.partition.0 < *n);
                if exists && candidate.topics.contains_key(&at.topic) && taken.insert(*at) {
                    balance.give(place, *at);
                }
            }
        }
        balance
    }

    fn give(&mut self, place: usize, at: TopicPartition) {
        self.owned[place].entry(at.topic).or_default().insert(at.partition.0);
        self.loads[place] += 1;
    }

    /// Gives the partitions of a topic that nobody has.
    fn hand_out(&mut self, topic: TopicId, partitions: i32, members: &[usize]) {
        let taken: BTreeSet<i32> =
            members.iter().filter_map(|m| self.owned[*m].get(&topic)).flatten().copied().collect();
        let mut least: BinaryHeap<_> = members.iter().map(|m| Reverse((self.loads[*m], *m))).collect();
        for partition in (0..partitions).filter(|p| !taken.contains(p)) {
            let Some(Reverse((load, place))) = least.pop() else { return };
            self.give(place, TopicPartition::new(topic, partition));
            least.push(Reverse((load + 1, place)));
        }
    }

    /// Moves partitions of a topic until no move makes two loads more alike. True if one was moved.
    fn even_out(&mut self, topic: TopicId, members: &[usize]) -> bool {
        let mut by_load: BTreeSet<(usize, usize)> = members.iter().map(|m| (self.loads[*m], *m)).collect();
        let owns = |b: &Self, m: usize| b.owned[m].get(&topic).is_some_and(|p| !p.is_empty());
        let mut owners: BTreeSet<(usize, usize)> =
            members.iter().filter(|m| owns(self, **m)).map(|m| (self.loads[*m], *m)).collect();
        let mut moved = false;
        while let (Some(&(most, from)), Some(&(least, to))) = (owners.last(), by_load.first())
            && most >= least + 2
        {
            let Some(partition) = self.owned[from].get_mut(&topic).and_then(BTreeSet::pop_last) else { return moved };
            self.loads[from] -= 1;
            self.give(to, TopicPartition::new(topic, partition));
            by_load.remove(&(most, from));
            by_load.remove(&(least, to));
            by_load.extend([(most - 1, from), (least + 1, to)]);
            owners.remove(&(most, from));
            owners.remove(&(least, to));
            owners.insert((least + 1, to));
            if owns(self, from) {
                owners.insert((most - 1, from));
            }
            moved = true;
        }
        moved
    }

    fn into_targets(self) -> Vec<BTreeSet<TopicPartition>> {
        let flat = |topics: BTreeMap<TopicId, BTreeSet<i32>>| {
            topics.into_iter().flat_map(|(t, ps)| ps.into_iter().map(move |p| TopicPartition::new(t, p))).collect()
        };
        self.owned.into_iter().map(flat).collect()
    }
}
