//! Which stored objects the state still needs.
//!
//! References are counted (derived, not persisted): entries and index pages name segments and slots. A segment or page that
//! loses its last reference goes on the pending-delete list (persisted), since readers of an older state may still want it;
//! it leaves by an `objects deleted` op. An inline slot becomes free for the log floor as much later.

use std::collections::BTreeMap;

use lakebed_record::ops::{ObjectsDeleted, OpOutcome};
use lakebed_record::{DataObject, LogTime, SegmentName, Slot};

use super::partition::PartitionState;
use super::{State, hash};

impl State {
    /// The oldest slot with inline records that are live, or were until a short while ago: the log floor stays at or below it.
    pub fn first_wanted_slot(&self) -> Option<Slot> {
        self.first_inline_slot().into_iter().chain(self.first_freed_slot()).min()
    }

    /// The oldest slot whose last inline records left a short while ago.
    pub(super) fn first_freed_slot(&self) -> Option<Slot> {
        self.freed.lowest(self.log_time, self.waits.window_ms)
    }

    /// The oldest slot with live inline records.
    pub fn first_inline_slot(&self) -> Option<Slot> {
        let firsts = self.buckets.iter().filter_map(|b| b.references.first_key_value());
        firsts.filter_map(|(object, _)| if let DataObject::Inline(slot) = object { Some(*slot) } else { None }).min()
    }

    /// Slots with live inline records.
    pub fn inline_slot_count(&self) -> usize {
        let inline = |o: &&DataObject| matches!(o, DataObject::Inline(_));
        self.buckets.iter().map(|b| b.references.keys().take_while(inline).count()).sum()
    }

    /// True while the state names this segment or page, or did until a short while ago.
    pub fn needs_segment(&self, name: &SegmentName) -> bool {
        let object = DataObject::Segment(*name);
        let bucket = &self.buckets[hash::bucket_of_object(object)];
        bucket.references.contains_key(&object) || bucket.pending.contains_key(name)
    }

    /// Segments and pages that are named by nothing, and since when.
    pub fn pending_deletes(&self) -> impl Iterator<Item = (SegmentName, LogTime)> {
        self.buckets.iter().flat_map(|b| b.pending.iter()).map(|(name, since)| (*name, *since))
    }

    /// True if only readers of an older state may still want it.
    pub fn awaits_deletion(&self, object: &DataObject) -> bool {
        matches!(object, DataObject::Segment(name) if self.is_pending(name))
    }

    /// Those that no reader can still want: what a collector may delete now.
    pub fn deletable(&self) -> impl Iterator<Item = SegmentName> {
        self.pending_deletes().filter(|(_, since)| self.is_past_window(*since)).map(|(name, _)| name)
    }

    /// A segment or page that was named at `fence` and is not in this state will never be.
    pub fn is_orphan(&self, name: &SegmentName) -> bool {
        self.is_past_window(name.fence) && !self.needs_segment(name)
    }

    /// Objects with records or pages that the state needs, in no order that means anything.
    pub fn objects(&self) -> impl Iterator<Item = DataObject> {
        let pending = |b: &'_ super::Bucket| b.pending.keys().map(|n| DataObject::Segment(*n)).collect::<Vec<_>>();
        self.buckets.iter().flat_map(move |b| b.references.keys().copied().chain(pending(b)))
    }

    fn is_past_window(&self, since: LogTime) -> bool {
        self.log_time.0 > since.0.saturating_add(self.waits.window_ms)
    }

    pub(super) fn is_pending(&self, name: &SegmentName) -> bool {
        self.buckets[hash::bucket_of_object(DataObject::Segment(*name))].pending.contains_key(name)
    }

    pub(super) fn add_references(&mut self, object: DataObject, count: u32) {
        if count > 0 {
            *self.bucket(hash::bucket_of_object(object)).references.entry(object).or_default() += count;
        }
    }

    /// # Panics
    /// If the state has fewer references to it.
    pub(super) fn drop_references(&mut self, now: LogTime, dropped: &References) {
        for (object, count) in &dropped.0 {
            let bucket = self.bucket(hash::bucket_of_object(*object));
            let left = bucket.references.get_mut(object).expect("what is dropped was counted");
            *left = left.checked_sub(*count).expect("no more is dropped than was counted");
            if *left == 0 {
                bucket.references.remove(object);
                match object {
                    DataObject::Segment(name) => self.insert_pending(*name, now),
                    DataObject::Inline(slot) => self.freed.add(*slot, now, self.waits.window_ms),
                }
            }
        }
    }

    pub(super) fn insert_pending(&mut self, name: SegmentName, since: LogTime) {
        let bucket = self.bucket(hash::bucket_of_object(DataObject::Segment(name)));
        if bucket.pending.insert(name, since).is_none() {
            bucket.hash = bucket.hash.wrapping_add(hash::pending(&name, since));
        }
    }

    pub(super) fn objects_deleted(&mut self, op: &ObjectsDeleted) -> OpOutcome {
        for object in op.segments.iter().map(DataObject::from) {
            let DataObject::Segment(name) = object else { continue };
            let index = hash::bucket_of_object(object);
            let Some(since) = self.buckets[index].pending.get(&name).copied().filter(|s| self.is_past_window(*s))
            else {
                continue;
            };
            let bucket = self.bucket(index);
            bucket.pending.remove(&name);
            bucket.hash = bucket.hash.wrapping_sub(hash::pending(&name, since));
        }
        OpOutcome::Done
    }
}

/// References to objects, counted.
#[derive(Debug, Default)]
pub(super) struct References(BTreeMap<DataObject, u32>);

impl References {
    pub fn of(partition: &PartitionState) -> References {
        let mut all = References::default();
        partition.entries.iter().for_each(|e| all.add(e.object, 1));
        partition.pages.iter().for_each(|p| all.add_page(p));
        all
    }

    pub fn add(&mut self, object: DataObject, count: u32) {
        *self.0.entry(object).or_default() += count;
    }

    /// A page, and through it the segments that its entries name.
    pub fn add_page(&mut self, page: &super::Page) {
        self.add(DataObject::Segment(page.name), 1);
        page.objects.iter().for_each(|(name, count)| self.add(DataObject::Segment(*name), *count));
    }

    pub fn iter(&self) -> impl Iterator<Item = (DataObject, u32)> {
        self.0.iter().map(|(object, count)| (*object, *count))
    }
}
