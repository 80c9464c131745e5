use std::collections::{BTreeMap, BTreeSet};

use lakebed_record::{TopicId, TopicPartition};

use super::Candidate;
use crate::topics::Shapes;

/// Members stand in the order of what they had before, newcomers last, so that few partitions move when one comes or goes.
pub(super) fn assign(
    candidates: &[Candidate<'_>],
    subscribers: &BTreeMap<TopicId, Vec<usize>>,
    shapes: &Shapes,
) -> Vec<BTreeSet<TopicPartition>> {
    let first = |c: &Candidate<'_>| c.before.iter().map(|p| p.partition).min();
    let key = |place: usize| (first(&candidates[place]).map_or(i32::MAX, |p| p.0), place);
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_cached_key(|place| key(*place));
    let mut rank = vec![0; candidates.len()];
    order.iter().enumerate().for_each(|(r, place)| rank[*place] = r);

    let mut targets = vec![BTreeSet::new(); candidates.len()];
    for (topic, members) in subscribers {
        let mut members = members.clone();
        members.sort_by_key(|place| rank[*place]);
        let partitions = shapes.get(topic).copied().unwrap_or(0).max(0) as usize;
        let (each, more) = (partitions / members.len(), partitions % members.len());
        let mut next = 0;
        for (at, place) in members.into_iter().enumerate() {
            let end = next + each + usize::from(at < more);
            targets[place].extend((next..end).map(|p| TopicPartition::new(*topic, p as i32)));
            next = end;
        }
    }
    targets
}
