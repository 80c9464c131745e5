//! The log as it was written, slot by slot, whether its slots are still there or not: which objects every state named.
//!
//! What a state names is read off its entries and the pages themselves, not off the references that it counts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lakebed_manifest::{Commit, PartitionState, SlotContent, State, examine};
use lakebed_record::entries::IndexPage;
use lakebed_record::ops::{GroupOutcome, Op, OpKind, OpOutcome};
use lakebed_record::{DataObject, Incarnation, SegmentName, Slot, TopicId, TopicPartition, keys};
use lakebed_store::memory::MemoryStore;
use lakebed_store::{Body, Store};

use crate::sim::world::World;
use crate::store::plain_env;

/// The state after a slot.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Since when this slot and all before it were in the bucket, in true time.
    pub since: Duration,
    pub log_time: i64,
    pub hash: u64,
    /// The oldest slot with records that an entry names.
    pub first_inline: Option<Slot>,
}

/// From which slot on, and up to which one, the states named an object.
#[derive(Clone, Copy, Debug)]
pub struct Naming {
    pub first: Slot,
    pub last: Slot,
}

pub struct Past {
    /// After slot 0, 1, …
    moments: Vec<Moment>,
    named: BTreeMap<SegmentName, Naming>,
    /// The last slot with an op that is to name an output of background work, applied or not.
    asked_for: BTreeMap<SegmentName, Slot>,
    /// Where a partition started, and log time before the slot that made it start there (ms).
    truncations: BTreeMap<TopicPartition, Vec<(i64, i64)>>,
    pub state: State,
}

impl Past {
    pub async fn of(world: &World) -> Past {
        let env = plain_env(world.time, world.plan.seed ^ 0x9A57);
        let copy = MemoryStore::new(&env);
        let mut past = Past::new(world);
        let mut pages = Pages::default();
        loop {
            let slot = past.state.slot().next();
            let key = keys::log(slot);
            let Some(life) = world.bucket.ledger().first(&key) else { break };
            copy.create(&key, &Body::from(life.bytes)).await;
            let content = match examine::slot(&copy, &env, slot).await {
                Ok(Some(content)) => content,
                Ok(None) => break,
                Err(error) => {
                    world.violation(format!("slot {slot} cannot be read: {error}"));
                    break;
                }
            };
            past.apply(world, slot, &content, life.from);
            past.note_names(world, &content, &mut pages);
        }
        past
    }

    fn new(world: &World) -> Past {
        let state = State::with_waits(world.plan.waits());
        let start = Moment { since: Duration::ZERO, log_time: 0, hash: state.hash(), first_inline: None };
        let truncations = BTreeMap::new();
        Past { moments: vec![start], named: BTreeMap::new(), asked_for: BTreeMap::new(), truncations, state }
    }

    fn apply(&mut self, world: &World, slot: Slot, content: &SlotContent, from: Duration) {
        let before = self.state.clone();
        let applied = self.state.apply(slot, content);
        if let SlotContent::Commit(commit) = content {
            self.note_truncations(&before, commit);
            count(world, &before, &self.state, commit, &applied.outcomes);
            let outputs = commit.groups.iter().flat_map(|g| &g.ops).filter_map(|op| match &op.kind {
                Some(OpKind::MoveEntries(op)) => op.output.as_ref(),
                Some(OpKind::SealEntries(op)) => op.page.as_ref(),
                _ => None,
            });
            self.asked_for.extend(outputs.map(|place| (SegmentName::from(place), slot)));
        }
        let last = self.moments[self.moments.len() - 1];
        let (log_time, hash) = (self.state.log_time().0, self.state.hash());
        self.moments.push(Moment { since: last.since.max(from), log_time, hash, ..last });
    }

    fn note_truncations(&mut self, before: &State, commit: &Commit) {
        for op in commit.groups.iter().flat_map(|g| &g.ops) {
            let Some(OpKind::Truncate(op)) = &op.kind else { continue };
            let tp = TopicId::from_bytes(&op.topic_id).map(|id| TopicPartition::new(id, op.partition));
            let start = |state: &State| state.partition(tp?).map(PartitionState::log_start);
            if let (Some(tp), Some(now)) = (tp, start(&self.state).filter(|now| start(before) < Some(*now))) {
                self.truncations.entry(tp).or_default().push((now, before.log_time().0));
            }
        }
    }

    fn note_names(&mut self, world: &World, content: &SlotContent, pages: &mut Pages) {
        let slot = self.state.slot();
        if !matches!(content, SlotContent::Commit(c) if !c.groups.is_empty()) {
            // Nothing has changed: what was named is.
            let still = self.named.values_mut().filter(|n| n.last.next() == slot);
            return still.for_each(|n| n.last = slot);
        }
        let (mut segments, mut first_inline) = (BTreeSet::new(), None::<Slot>);
        for (tp, partition) in self.state.partitions() {
            for page in partition.pages() {
                segments.insert(page.name);
                segments.extend(pages.names(world, tp, page.name));
            }
            for entry in partition.entries() {
                match entry.object {
                    DataObject::Segment(name) => drop(segments.insert(name)),
                    DataObject::Inline(s) => first_inline = Some(first_inline.map_or(s, |f| f.min(s))),
                }
            }
        }
        for name in segments {
            self.named.entry(name).or_insert(Naming { first: slot, last: slot }).last = slot;
        }
        self.moments.last_mut().expect("slot 0 is there").first_inline = first_inline;
    }

    pub fn head(&self) -> Slot {
        self.state.slot()
    }

    pub fn after(&self, slot: Slot) -> &Moment {
        &self.moments[slot.0 as usize]
    }

    /// The last slot of the log as it was at this time.
    pub fn head_at(&self, at: Duration) -> Slot {
        Slot(self.moments.partition_point(|m| m.since <= at) as u64 - 1)
    }

    /// `None`: no state has ever named it.
    pub fn naming(&self, name: &SegmentName) -> Option<Naming> {
        self.named.get(name).copied()
    }

    pub fn asked_for(&self, name: &SegmentName) -> Option<Slot> {
        self.asked_for.get(name).copied()
    }

    /// Log starts and log times (ms), in the order of the log.
    pub fn truncations(&self, tp: TopicPartition) -> &[(i64, i64)] {
        self.truncations.get(&tp).map_or(&[], Vec::as_slice)
    }

    pub fn named(&self) -> impl Iterator<Item = (&SegmentName, &Naming)> {
        self.named.iter()
    }
}

/// What stands in index pages.
#[derive(Default)]
struct Pages(BTreeMap<SegmentName, Vec<SegmentName>>);

impl Pages {
    fn names(&mut self, world: &World, tp: TopicPartition, name: SegmentName) -> Vec<SegmentName> {
        let names = self.0.entry(name).or_insert_with(|| {
            let first = world.bucket.ledger().first(&keys::segment(&name));
            let page = first.as_ref().map(|life| IndexPage::decode(&life.bytes));
            let Some(Ok(page)) = page.filter(|p| p.as_ref().is_ok_and(|p| p.partition == tp)) else {
                world.violation(format!("{tp} has a page {name:?} that is none"));
                return Vec::new();
            };
            let objects = page.entries.iter().map(|(place, _)| place.object);
            objects.filter_map(|o| if let DataObject::Segment(name) = o { Some(name) } else { None }).collect()
        });
        names.clone()
    }
}

/// What has to happen now and then, or the run shows nothing of it.
fn count(world: &World, before: &State, after: &State, commit: &Commit, outcomes: &[GroupOutcome]) {
    for (group, outcome) in commit.groups.iter().zip(outcomes) {
        let GroupOutcome::Applied(outcomes) = outcome else { continue };
        for (Op { kind }, outcome) in group.ops.iter().zip(outcomes) {
            let (what, times) = match (kind, outcome) {
                (Some(OpKind::MoveEntries(_)), OpOutcome::Done) => ("merge applied", 1),
                (Some(OpKind::MoveEntries(_)), OpOutcome::InputGone) => ("merge refused, an input was gone", 1),
                (Some(OpKind::MoveEntries(_)), OpOutcome::OutsideWindow) => ("merge refused, too late", 1),
                (Some(OpKind::SealEntries(_)), OpOutcome::Done) => ("page sealed", 1),
                (Some(OpKind::SealEntries(_)), OpOutcome::InputGone) => ("page refused, an input was gone", 1),
                (Some(OpKind::NodeDown(op)), _) => {
                    let silent = before.silent_nodes().any(|i| i == Incarnation(op.incarnation));
                    ("silent node signed off", u64::from(silent))
                }
                (Some(OpKind::DropTombstones(op)), _) => {
                    let gone =
                        |i: &&u64| before.node(Incarnation(**i)).is_some() && after.node(Incarnation(**i)).is_none();
                    ("tombstone dropped", op.incarnations.iter().filter(gone).count() as u64)
                }
                (Some(OpKind::ExpireProducers(op)), _) => {
                    let buckets = 0..lakebed_manifest::state::BUCKETS;
                    let idle: BTreeMap<TopicPartition, Vec<i64>> =
                        buckets.flat_map(|b| before.idle_producers(b)).collect();
                    let expired = op.partitions.iter().flat_map(|p| {
                        let at = TopicId::from_bytes(&p.topic_id).map(|id| TopicPartition::new(id, p.partition));
                        let idle = at.and_then(|at| idle.get(&at));
                        p.producer_ids.iter().filter(move |id| idle.is_some_and(|ids| ids.contains(id)))
                    });
                    ("producer expired", expired.count() as u64)
                }
                _ => continue,
            };
            world.nemesis.tally.count(&format!("outcome {what}"), times);
        }
    }
}
