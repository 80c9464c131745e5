//! Which entries to merge next. Pure.
//!
//! Two looks at every partition that may have something to do. The first adds up what there is ([`Survey`]); it decides what
//! kind of merge is worth it. The second takes the entries ([`Gather`]), in the order of the partitions, until the output is as
//! large as it may be.
//!
//! *Fresh* entries lie where a flush put them: in a commit, or in a segment with other partitions' records. Once they are some
//! minutes old, the oldest of all partitions go first, so that a slot or segment is read whole, once, and nothing of it is
//! needed any more. What was merged is merged again by [`levels`]; once more when it is to go into an index page and lies
//! scattered ([`own`](super::own)); and like a fresh entry when little of its segment is still in use.
//!
//! The planner may be wrong about anything but what stands in the state: an op with a wrong input is refused.

use std::collections::{BTreeMap, BTreeSet};

use lakebed_manifest::{Entry, PartitionState};
use lakebed_record::{DataObject, LogTime, SegmentName, TopicPartition};

use super::ages::{Ages, BUCKET_MS};
use super::barred::Barred;
use super::levels;
use crate::pages::seal::{self, Due, Seal};

#[derive(Clone, Debug)]
pub struct Rules {
    /// Bytes of an output. An entry of more (one batch) stays where it is.
    pub most_bytes: u64,
    /// Input entries of one merge: they stand in one op.
    pub most_entries: usize,
    /// Fresh entries are merged when they are this old, in ms of log time.
    pub age_ms: i64,
    /// What is less than a quarter of a merge waits until something of it is this old.
    pub patience_ms: i64,
    /// Entries of an index page.
    pub page_entries: usize,
}

/// What a look needs besides the partition.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub rules: &'a Rules,
    pub ages: &'a Ages,
    pub barred: &'a Barred,
    /// Merged segments of which little is in use.
    pub sparse: &'a BTreeSet<SegmentName>,
    /// Log time, as it would be if somebody had just committed.
    pub now: LogTime,
    /// Too much waits: nothing is put off.
    pub pressed: bool,
    /// Nothing was merged by levels for as long as patience lasts.
    pub rested: bool,
}

impl View<'_> {
    /// Fresh entries from before this are old enough.
    fn old(&self) -> i64 {
        self.now.0 - if self.pressed { self.rules.age_ms / 10 } else { self.rules.age_ms }
    }

    /// It can be copied, as far as is known.
    pub fn is_movable(&self, tp: TopicPartition, entry: &Entry) -> bool {
        entry.len <= self.rules.most_bytes && !self.barred.has(tp, entry)
    }

    /// It leaves the object that it is in as soon as it is old enough.
    fn is_leaving(&self, tp: TopicPartition, entry: &Entry) -> bool {
        (!is_merged(entry) || self.is_sparse(entry)) && self.is_movable(tp, entry)
    }

    fn is_sparse(&self, entry: &Entry) -> bool {
        matches!(entry.object, DataObject::Segment(name) if self.sparse.contains(&name))
    }

    /// Nothing more is done about it before it goes into a page.
    pub fn is_settled(&self, tp: TopicPartition, entry: &Entry) -> bool {
        let in_segment = matches!(entry.object, DataObject::Segment(_));
        let stays = is_merged(entry) && !self.is_sparse(entry);
        in_segment && (stays || !self.is_movable(tp, entry) || (self.pressed && levels::is_full(entry.len)))
    }
}

fn is_merged(entry: &Entry) -> bool {
    matches!(entry.object, DataObject::Segment(name) if name.is_background())
}

/// A run of a partition's entries that become fewer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub partition: TopicPartition,
    /// Their offsets follow each other.
    pub entries: Vec<Entry>,
}

/// What goes into one output: at most one run per partition, in the order of the partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merge {
    pub runs: Vec<Run>,
}

impl Merge {
    pub fn bytes(&self) -> u64 {
        self.runs.iter().flat_map(|r| &r.entries).map(|e| e.len).sum()
    }

    pub fn entries(&self) -> usize {
        self.runs.iter().map(|r| r.entries.len()).sum()
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    pub entries: usize,
    pub bytes: u64,
}

impl Weight {
    fn add(&mut self, entries: usize, bytes: u64) {
        self.entries += entries;
        self.bytes += bytes;
    }

    fn exceeds(&self, rules: &Rules) -> bool {
        self.entries > rules.most_entries || self.bytes > rules.most_bytes
    }

    /// Worth a merge by itself.
    fn is_much(&self, rules: &Rules) -> bool {
        self.entries >= rules.most_entries / 4 || self.bytes >= rules.most_bytes / 4
    }
}

/// Which entries a merge takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// Fresh ones from up to this log time.
    Fresh(i64),
    /// Merged ones, by their levels.
    Levels,
}

/// What there is to do, added up.
#[derive(Debug, Default)]
pub struct Survey {
    /// Entries that were never merged and can be, however old.
    pub fresh: Weight,
    /// Those that leave their object and are old enough, by when they were committed.
    by_time: BTreeMap<i64, Weight>,
    levels: Weight,
    /// Entries that are due to go into pages.
    settled: usize,
    pub seal: Option<Seal>,
    /// Settled entries that lie scattered.
    pub own: Option<Run>,
}

impl Survey {
    /// False if there is nothing in this partition that will need work unless it gets records.
    pub fn add(&mut self, tp: TopicPartition, partition: &PartitionState, view: &View<'_>) -> bool {
        let leaving = self.add_leaving(tp, partition, view);
        let run = levels_run(tp, partition, view);
        self.levels.add(run.len(), run.iter().map(|e| e.len).sum());
        let due = seal::due(tp, partition, view);
        let busy = leaving || !run.is_empty() || due.is_some();
        match due {
            Some(Due::Seal(seal)) => {
                self.settled += seal.entries.len();
                self.seal.get_or_insert(seal);
            }
            Some(Due::Own(entries)) => {
                self.settled += entries.len();
                self.own.get_or_insert(Run { partition: tp, entries });
            }
            None => {}
        }
        busy
    }

    fn add_leaving(&mut self, tp: TopicPartition, partition: &PartitionState, view: &View<'_>) -> bool {
        let (mut at, mut any) = (i64::MIN, false);
        for entry in partition.entries_from(0) {
            if !view.is_leaving(tp, entry) {
                // It is tried again some time, also if nothing comes meanwhile.
                any |= !is_merged(entry) && view.barred.has(tp, entry);
                continue;
            }
            at = at.max(view.ages.of(entry.object).0);
            any = true;
            if !is_merged(entry) {
                self.fresh.add(1, entry.len);
            }
            if at <= view.old() {
                self.by_time.entry(at.div_euclid(BUCKET_MS)).or_default().add(1, entry.len);
            }
        }
        any
    }

    /// Entries that merging and sealing will make fewer.
    pub fn waiting(&self) -> usize {
        self.fresh.entries + self.levels.entries + self.settled
    }

    /// The oldest has waited for twice as long as it should: whoever should merge does not.
    pub fn is_overdue(&self, view: &View<'_>) -> bool {
        // What is from before this node's start has no known age.
        let known = self.by_time.range(1..).next();
        known.is_some_and(|(bucket, _)| bucket * BUCKET_MS <= view.now.0 - view.rules.patience_ms.saturating_mul(2))
    }

    pub fn decide(&self, view: &View<'_>) -> Option<Take> {
        let mut old = Weight::default();
        self.by_time.values().for_each(|w| old.add(w.entries, w.bytes));
        let levels = self.levels.is_much(view.rules) || (self.levels.entries > 0 && (view.rested || view.pressed));
        // Otherwise those that are due might wait for ever behind what comes.
        if levels && self.levels.entries >= old.entries {
            return Some(Take::Levels);
        }
        let oldest = self.by_time.first_key_value().map(|(bucket, _)| bucket * BUCKET_MS);
        let waited = oldest.is_some_and(|at| view.pressed || at <= view.now.0 - view.rules.patience_ms);
        if waited || old.is_much(view.rules) {
            return Some(Take::Fresh(self.until(view)));
        }
        levels.then_some(Take::Levels)
    }

    /// The log time up to which everything fits into one output; at least the first bucket.
    fn until(&self, view: &View<'_>) -> i64 {
        let mut sum = Weight::default();
        let fitting = self.by_time.iter().enumerate().take_while(|(i, (_, w))| {
            sum.add(w.entries, w.bytes);
            *i == 0 || !sum.exceeds(view.rules)
        });
        let last = fitting.last().map_or(i64::MIN, |(_, (bucket, _))| *bucket);
        last.saturating_mul(BUCKET_MS).saturating_add(BUCKET_MS - 1).min(view.old())
    }
}

/// Takes entries, partition by partition.
#[derive(Debug)]
pub struct Gather {
    take: Take,
    taken: Weight,
    merge: Merge,
}

impl Gather {
    pub fn new(take: Take) -> Gather {
        Gather { take, taken: Weight::default(), merge: Merge::default() }
    }

    /// False if there is no room for more.
    pub fn add(&mut self, tp: TopicPartition, partition: &PartitionState, view: &View<'_>) -> bool {
        let run = match self.take {
            Take::Fresh(until) => leaving_run(tp, partition, view, until),
            Take::Levels => levels_run(tp, partition, view),
        };
        let count = run.len();
        let fitting = run.into_iter().take_while(|e| {
            let before = self.taken;
            self.taken.add(1, e.len);
            let fits = !self.taken.exceeds(view.rules);
            if !fits {
                self.taken = before;
            }
            fits
        });
        let entries: Vec<Entry> = fitting.collect();
        let room = entries.len() == count;
        // A part of a run may not be worth copying.
        if self.take == Take::Levels && !room && entries.len() < levels::FAN_IN {
            return false;
        }
        if !entries.is_empty() {
            self.merge.runs.push(Run { partition: tp, entries });
        }
        room
    }

    /// `None`: there was nothing.
    pub fn finish(mut self) -> Option<Merge> {
        self.merge.runs.sort_by_key(|r| r.partition);
        (!self.merge.runs.is_empty()).then_some(self.merge)
    }
}

/// The first entries that leave their objects and follow each other, from up to `until`.
fn leaving_run(tp: TopicPartition, partition: &PartitionState, view: &View<'_>, until: i64) -> Vec<Entry> {
    let entries = partition.entries_from(0).skip_while(|e| !view.is_leaving(tp, e));
    let run = entries.take_while(|e| view.is_leaving(tp, e) && view.ages.of(e.object).0 <= until);
    run.copied().collect()
}

/// The first merged entries that are due to be merged again.
fn levels_run(tp: TopicPartition, partition: &PartitionState, view: &View<'_>) -> Vec<Entry> {
    let small = |e: &Entry| is_merged(e) && !levels::is_full(e.len) && !view.is_sparse(e) && view.is_movable(tp, e);
    let mut neighbours: Vec<Entry> = Vec::new();
    let due = |neighbours: &[Entry]| {
        let lens: Vec<u64> = neighbours.iter().map(|e| e.len).collect();
        levels::due(&lens).map(|range| neighbours[range].to_vec())
    };
    for entry in partition.entries_from(0) {
        if small(entry) {
            neighbours.push(*entry);
        } else if let Some(run) = due(&neighbours) {
            return run;
        } else {
            neighbours.clear();
        }
    }
    due(&neighbours).unwrap_or_default()
}

#[cfg(test)]
mod tests;
