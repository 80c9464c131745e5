//! Entries that change places: merged into other segments, sealed into index pages, truncated.
//!
//! An op names its inputs by identity (partition, offsets, object, range) and is refused as a whole, before anything changes,
//! if one of them is no longer exactly so in the state.

use std::collections::{BTreeMap, BTreeSet};

use lakebed_record::ops::{
    EntryRun, MoveEntries, ObjectRef, OpOutcome, PartitionMove, SealEntries, SegmentPlace, Truncate,
};
use lakebed_record::{DataObject, Incarnation, SegmentName, TopicId, TopicPartition};

use super::apply::At;
use super::objects::References;
use super::partition::{Entry, Page};
use super::{State, hash};

/// A partition's entries that an op names, as they stand in the state, and what comes instead.
struct Splice {
    tp: TopicPartition,
    inputs: Vec<Entry>,
    outputs: Vec<Entry>,
}

/// Why an op with inputs changes nothing.
enum Refusal {
    Malformed,
    OutsideWindow,
    InputGone,
}

impl From<Refusal> for OpOutcome {
    fn from(refusal: Refusal) -> OpOutcome {
        match refusal {
            Refusal::Malformed => OpOutcome::Refused,
            Refusal::OutsideWindow => OpOutcome::OutsideWindow,
            Refusal::InputGone => OpOutcome::InputGone,
        }
    }
}

impl State {
    pub(super) fn move_entries(&mut self, at: &At<'_>, op: &MoveEntries) -> OpOutcome {
        let splices = match self.plan_moves(at, op) {
            Ok(splices) => splices,
            Err(refusal) => return refusal.into(),
        };
        let (mut gone, mut fresh) = (References::default(), References::default());
        for Splice { tp, inputs, outputs } in splices {
            inputs.iter().for_each(|e| gone.add(e.object, 1));
            outputs.iter().for_each(|e| fresh.add(e.object, 1));
            self.with_partition(tp, |p, sum| {
                for e in &inputs {
                    *sum = sum.wrapping_sub(hash::entry(tp, e));
                }
                for e in &outputs {
                    *sum = sum.wrapping_add(hash::entry(tp, e));
                }
                p.entries.splice(inputs[0].base_offset, inputs.len(), &outputs);
            });
        }
        fresh.iter().for_each(|(object, count)| self.add_references(object, count));
        self.drop_references(at.now, &gone);
        OpOutcome::Done
    }

    fn plan_moves(&self, at: &At<'_>, op: &MoveEntries) -> Result<Vec<Splice>, Refusal> {
        let (name, total_len) = self.new_object(at, op.output.as_ref())?;
        let mut seen = BTreeSet::new();
        let splices: Vec<Splice> = op
            .moves
            .iter()
            .map(|m| {
                let run = m.inputs.as_ref().ok_or(Refusal::Malformed)?;
                let (tp, inputs) = self.live_run(&op.objects, run)?;
                let outputs = outputs(m, DataObject::Segment(name), total_len, run.base_offset)?;
                let ends = |entries: &[Entry]| entries.last().map(Entry::end_offset);
                if !seen.insert(tp) || ends(&outputs) != ends(&inputs) {
                    return Err(Refusal::Malformed);
                }
                Ok(Splice { tp, inputs, outputs })
            })
            .collect::<Result<_, _>>()?;
        if splices.is_empty() { Err(Refusal::Malformed) } else { Ok(splices) }
    }

    /// The name of an object that its node has just made and nobody has named yet.
    fn new_object(&self, at: &At<'_>, place: Option<&SegmentPlace>) -> Result<(SegmentName, u64), Refusal> {
        let place = place.filter(|s| Incarnation(s.node) == at.incarnation()).ok_or(Refusal::Malformed)?;
        let name = SegmentName::from(place);
        if !self.in_window(name.fence, at.now) {
            return Err(Refusal::OutsideWindow);
        }
        if self.needs_segment(&name) {
            return Err(Refusal::Malformed);
        }
        Ok((name, place.total_len))
    }

    /// The entries that a run names, if each of them is live.
    fn live_run(&self, objects: &[ObjectRef], run: &EntryRun) -> Result<(TopicPartition, Vec<Entry>), Refusal> {
        let count = run.offsets.len();
        let topic = TopicId::from_bytes(&run.topic_id).ok_or(Refusal::Malformed)?;
        if count == 0 || [run.object.len(), run.start.len(), run.len.len()] != [count; 3] {
            return Err(Refusal::Malformed);
        }
        let tp = TopicPartition::new(topic, run.partition);
        let partition = self.partition(tp).ok_or(Refusal::InputGone)?;
        let found: Vec<Entry> = partition.entries.entries_from(run.base_offset).take(count).copied().collect();
        let mut base_offset = run.base_offset;
        for i in 0..count {
            let object = objects.get(run.object[i] as usize).map(DataObject::from).ok_or(Refusal::Malformed)?;
            let entry = found.get(i).ok_or(Refusal::InputGone)?;
            let named = (base_offset, run.offsets[i], object, run.start[i], run.len[i]);
            if named != (entry.base_offset, entry.offsets, entry.object, entry.start, entry.len) {
                return Err(Refusal::InputGone);
            }
            base_offset = entry.end_offset();
        }
        Ok((tp, found))
    }

    pub(super) fn seal_entries(&mut self, at: &At<'_>, op: &SealEntries) -> OpOutcome {
        let (tp, page) = match self.plan_page(at, op) {
            Ok(plan) => plan,
            Err(refusal) => return refusal.into(),
        };
        // The page takes over the references of its entries: only the page itself is new.
        self.add_references(DataObject::Segment(page.name), 1);
        self.with_partition(tp, |p, sum| {
            for e in p.entries.iter().take_while(|e| e.base_offset < page.end_offset) {
                *sum = sum.wrapping_sub(hash::entry(tp, e));
            }
            *sum = sum.wrapping_add(hash::page(tp, &page));
            p.entries.drop_below(page.end_offset);
            p.pages.push(page);
        });
        OpOutcome::Done
    }

    fn plan_page(&self, at: &At<'_>, op: &SealEntries) -> Result<(TopicPartition, Page), Refusal> {
        let (name, len) = self.new_object(at, op.page.as_ref())?;
        let run = op.inputs.as_ref().ok_or(Refusal::Malformed)?;
        let (tp, inputs) = self.live_run(&op.objects, run)?;
        let first = self.partition(tp).and_then(|p| p.entries.iter().next()).map(|e| e.base_offset);
        if first != Some(run.base_offset) {
            return Err(Refusal::Malformed);
        }
        let mut objects: BTreeMap<SegmentName, u32> = BTreeMap::new();
        for entry in &inputs {
            let DataObject::Segment(segment) = entry.object else { return Err(Refusal::Malformed) };
            *objects.entry(segment).or_default() += 1;
        }
        let page = Page {
            name,
            len,
            base_offset: run.base_offset,
            end_offset: inputs.last().map_or(run.base_offset, Entry::end_offset),
            entries: inputs.len() as u32,
            bytes: inputs.iter().map(|e| e.len).sum(),
            max_timestamp: inputs.iter().map(|e| e.max_timestamp).max().unwrap_or(-1),
            objects: objects.into_iter().collect(),
        };
        Ok((tp, page))
    }

    pub(super) fn truncate(&mut self, at: &At<'_>, op: &Truncate, changed: &mut Vec<TopicPartition>) -> OpOutcome {
        let Some(topic) = TopicId::from_bytes(&op.topic_id) else { return OpOutcome::Refused };
        let tp = TopicPartition::new(topic, op.partition);
        let Some(partition) = self.partition(tp) else { return OpOutcome::UnknownPartition };
        if op.log_start > partition.next_offset || op.log_start < 0 {
            return OpOutcome::OffsetOutOfRange;
        }
        if op.log_start <= partition.log_start {
            return OpOutcome::Truncated { log_start_offset: partition.log_start };
        }
        let mut gone = References::default();
        self.with_partition(tp, |p, sum| {
            *sum = sum.wrapping_sub(hash::partition(tp, p.log_start, p.next_offset));
            p.log_start = op.log_start;
            *sum = sum.wrapping_add(hash::partition(tp, p.log_start, p.next_offset));
            for page in p.pages.iter().take_while(|page| page.end_offset <= op.log_start) {
                *sum = sum.wrapping_sub(hash::page(tp, page));
                gone.add_page(page);
            }
            p.pages.retain(|page| page.end_offset > op.log_start);
            for e in p.entries.iter().take_while(|e| e.end_offset() <= op.log_start) {
                *sum = sum.wrapping_sub(hash::entry(tp, e));
                gone.add(e.object, 1);
            }
            p.entries.drop_below(op.log_start);
        });
        self.drop_references(at.now, &gone);
        changed.push(tp);
        OpOutcome::Truncated { log_start_offset: op.log_start }
    }
}

/// The entries that a move makes, if they are well-formed and lie within the segment.
fn outputs(m: &PartitionMove, object: DataObject, total_len: u64, base_offset: i64) -> Result<Vec<Entry>, Refusal> {
    if m.len.len() != m.offsets.len() || m.max_timestamp.len() != m.offsets.len() {
        return Err(Refusal::Malformed);
    }
    let (mut base_offset, mut start) = (base_offset, m.start);
    let mut entries = Vec::with_capacity(m.offsets.len());
    for i in 0..m.offsets.len() {
        let (offsets, len, max_timestamp) = (m.offsets[i], m.len[i], m.max_timestamp[i]);
        let end = start.checked_add(len).filter(|end| *end <= total_len && len > 0).ok_or(Refusal::Malformed)?;
        let next = base_offset.checked_add_unsigned(offsets).filter(|_| offsets > 0).ok_or(Refusal::Malformed)?;
        entries.push(Entry { base_offset, offsets, object, start, len, max_timestamp });
        (base_offset, start) = (next, end);
    }
    Ok(entries)
}
