//! What cannot be copied for now. Pure.
//!
//! An object that is missing, or that the store does not give while it gives others, is barred with all that lies in it; of
//! an object that is there, only an entry with a damaged batch. Each is tried again after a while: an object may come back,
//! and damage may have happened on the way here. What is still so then is an alarm again.

use std::collections::BTreeMap;
use std::time::Duration;

use lakebed_manifest::Entry;
use lakebed_record::{DataObject, Slot, TopicPartition};

/// Until what is missing or damaged is tried again, and what the store did not give.
const LOST: Duration = Duration::from_secs(60 * 60);
const UNREADABLE: Duration = Duration::from_secs(10 * 60);
/// Merges that may fail for want of the same object.
const FAULTS: u32 = 3;
/// More than these are not remembered: the one that would be tried next is tried now.
const MOST: usize = 100_000;

#[derive(Debug, Default)]
pub struct Barred {
    /// Until when (monotonic).
    objects: BTreeMap<DataObject, Duration>,
    /// By partition and base offset.
    entries: BTreeMap<(TopicPartition, i64), Duration>,
    /// Objects that the store did not give: how often, and the log's end when it first did not.
    faults: BTreeMap<DataObject, (u32, Slot)>,
}

impl Barred {
    pub fn has(&self, tp: TopicPartition, entry: &Entry) -> bool {
        self.objects.contains_key(&entry.object) || self.entries.contains_key(&(tp, entry.base_offset))
    }

    pub fn lost(&mut self, object: DataObject, now: Duration) {
        insert(&mut self.objects, object, now + LOST);
    }

    pub fn damaged(&mut self, tp: TopicPartition, base_offset: i64, now: Duration) {
        insert(&mut self.entries, (tp, base_offset), now + LOST);
    }

    /// The store did not give it, with the log's end at `slot`. True if it is barred: it was asked for several times, and the
    /// store took commits meanwhile, so that the store as a whole is not away.
    pub fn unreadable(&mut self, object: DataObject, slot: Slot, now: Duration) -> bool {
        let (count, first) = self.faults.entry(object).or_insert((0, slot));
        *count += 1;
        let barred = *count >= FAULTS && slot > *first;
        if barred {
            self.faults.remove(&object);
            insert(&mut self.objects, object, now + UNREADABLE);
        } else if self.faults.len() > MOST {
            self.faults.pop_first();
        }
        barred
    }

    /// Lets go of what is to be tried again.
    pub fn forget(&mut self, now: Duration) {
        self.objects.retain(|_, until| *until > now);
        self.entries.retain(|_, until| *until > now);
    }
}

fn insert<K: Ord + Copy>(barred: &mut BTreeMap<K, Duration>, key: K, until: Duration) {
    if barred.len() >= MOST
        && let Some(first) = barred.iter().min_by_key(|(_, until)| **until).map(|(key, _)| *key)
    {
        barred.remove(&first);
    }
    barred.insert(key, until);
}

#[cfg(test)]
mod tests {
    use lakebed_record::TopicId;

    use super::*;

    const NOW: Duration = Duration::from_secs(1_000);

    fn entry(slot: u64, base_offset: i64) -> Entry {
        Entry { base_offset, offsets: 1, object: DataObject::Inline(Slot(slot)), start: 0, len: 1, max_timestamp: 0 }
    }

    fn tp(partition: i32) -> TopicPartition {
        TopicPartition::new(TopicId(1), partition)
    }

    #[test]
    fn a_lost_object_is_barred_with_all_that_lies_in_it_and_tried_again() {
        let mut barred = Barred::default();
        barred.lost(entry(5, 0).object, NOW);
        assert!((0..1_000).all(|p| barred.has(tp(p), &entry(5, p.into()))));
        assert!(!barred.has(tp(0), &entry(6, 0)));
        barred.damaged(tp(3), 7, NOW);
        assert!(
            barred.has(tp(3), &entry(6, 7)) && !barred.has(tp(3), &entry(6, 8)) && !barred.has(tp(4), &entry(6, 7))
        );
        barred.forget(NOW + LOST - Duration::from_secs(1));
        assert!(barred.has(tp(0), &entry(5, 0)) && barred.has(tp(3), &entry(6, 7)));
        barred.forget(NOW + LOST);
        assert!(!barred.has(tp(0), &entry(5, 0)) && !barred.has(tp(3), &entry(6, 7)));
    }

    #[test]
    fn what_the_store_does_not_give_is_barred_only_while_it_takes_commits() {
        let (mut barred, object) = (Barred::default(), entry(5, 0).object);
        // The store is away: nothing is committed either.
        assert!((0..20).all(|_| !barred.unreadable(object, Slot(9), NOW)));
        assert!(barred.unreadable(object, Slot(10), NOW));
        assert!(barred.has(tp(0), &entry(5, 0)));
        barred.forget(NOW + UNREADABLE);
        assert!(!barred.has(tp(0), &entry(5, 0)));
        let found: Vec<bool> = (11..15).map(|slot| barred.unreadable(object, Slot(slot), NOW)).collect();
        assert_eq!(found, [false, false, true, false]);
    }
}
