//! What background work counts: merging, index pages, deleting.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::merge::Merged;

/// What came of a merge or of an index page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Outcome {
    Done,
    /// Somebody else had moved or dropped an input.
    InputGone,
    Failed,
}

/// Why an object was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Deleted {
    /// It had been named, and is no more.
    Dereferenced,
    /// It was never named.
    Orphan,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeletedLabel {
    why: Deleted,
}

#[derive(Clone, Debug, Default)]
pub struct BackgroundCounts {
    merges: Family<OutcomeLabel, Counter>,
    pages: Family<OutcomeLabel, Counter>,
    bytes_read: Counter,
    bytes_written: Counter,
    entries_before: Counter,
    entries_after: Counter,
    deleted: Family<DeletedLabel, Counter>,
    listed: Counter,
    retained: Counter,
    unmerged_entries: Gauge,
    unmerged_bytes: Gauge,
    pending_deletes: Gauge,
    flush_slowdown_ms: Gauge,
}

impl BackgroundCounts {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("merges", "Merges of index entries, by outcome", self.merges.clone());
        registry.register("index_pages", "Index pages written, by outcome", self.pages.clone());
        registry.register("merge_read_bytes", "Bytes that merges read from the store", self.bytes_read.clone());
        registry.register(
            "merge_written_bytes",
            "Bytes of record batches in merged segments",
            self.bytes_written.clone(),
        );
        registry.register("merge_entries_before", "Index entries that merges replaced", self.entries_before.clone());
        registry.register("merge_entries_after", "Index entries that replaced them", self.entries_after.clone());
        registry.register("deleted_objects", "Segments and index pages deleted, by reason", self.deleted.clone());
        registry.register("orphan_search_objects", "Objects looked at in search of orphans", self.listed.clone());
        registry.register(
            "retention_truncations",
            "Truncations of partitions, since records were past their retention",
            self.retained.clone(),
        );
        let gauges = [
            ("unmerged_entries", "Index entries that were never merged", &self.unmerged_entries),
            ("unmerged_bytes", "Bytes of record batches that were never merged", &self.unmerged_bytes),
            ("pending_deletes", "Objects that wait to be deleted", &self.pending_deletes),
            (
                "flush_slowdown_ms",
                "Least time between flushes while too much waits to be merged",
                &self.flush_slowdown_ms,
            ),
        ];
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.clone());
        }
    }

    pub fn merge(&self, outcome: Outcome) {
        self.merges.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    pub fn merged(&self, merged: &Merged) {
        self.merge(Outcome::Done);
        self.bytes_read.inc_by(merged.read);
        self.bytes_written.inc_by(merged.written);
        self.entries_before.inc_by(merged.before as u64);
        self.entries_after.inc_by(merged.after as u64);
    }

    pub fn page(&self, outcome: Outcome) {
        self.pages.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    pub fn deleted(&self, why: Deleted, count: u64) {
        self.deleted.get_or_create(&DeletedLabel { why }).inc_by(count);
    }

    pub fn listed(&self, count: u64) {
        self.listed.inc_by(count);
    }

    pub fn retained(&self, truncations: u64) {
        self.retained.inc_by(truncations);
    }

    pub fn backlog(&self, entries: usize, bytes: u64, slowdown_ms: u64) {
        self.unmerged_entries.set(entries as i64);
        self.unmerged_bytes.set(bytes as i64);
        self.flush_slowdown_ms.set(slowdown_ms as i64);
    }

    pub fn pending_deletes(&self, count: usize) {
        self.pending_deletes.set(count as i64);
    }
}
