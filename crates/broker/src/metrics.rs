//! What the broker counts. One registry per broker object, so that several in one process do not mix.

mod background;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

pub(crate) use background::{BackgroundCounts, Deleted, Outcome};

use crate::flush::planner::{Reason, Shape};

/// A step in the life of a produce request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Stage {
    /// CRC, limits, timestamps.
    Validate,
    /// In the queue, until a flush takes it.
    Wait,
    /// The segment's PUT.
    Upload,
    /// From submission to the manifest to the outcome.
    Commit,
    /// From the request's arrival to its answer.
    Total,
}

/// Where a fetch found its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Source {
    /// This node's own recent objects.
    Ring,
    Cache,
    Store,
}

/// What must never happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Alarm {
    DataMissing,
    DataCorrupt,
    /// The store does not give an object, while it gives others.
    Unreadable,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabel {
    stage: Stage,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceLabel {
    source: Source,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AlarmLabel {
    alarm: Alarm,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FlushLabel {
    kind: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HedgeLabel {
    kind: &'static str,
}

type StageHistogram = Family<StageLabel, Histogram, fn() -> Histogram>;

/// Cheap to clone; clones count together.
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Mutex<Registry>,
    /// One per stage, in the order of [`Stage`]: no look-up on the hot path.
    stages: [Histogram; 5],
    flushes: Family<FlushLabel, Counter>,
    flush_bytes: Family<FlushLabel, Counter>,
    reads: Family<SourceLabel, Counter>,
    read_bytes: Family<SourceLabel, Counter>,
    alarms: Family<AlarmLabel, Counter>,
    second_looks: Counter,
    hedges: Family<HedgeLabel, Counter>,
    window_limited: Counter,
    background: BackgroundCounts,
    sampled: Sampled,
}

/// Taken when the page is rendered.
#[derive(Clone, Debug, Default)]
struct Sampled {
    memory_used: Gauge,
    memory_budget: Gauge,
    pending_bytes: Gauge,
    ring_bytes: Gauge,
    cache_bytes: Gauge,
    slot: Gauge,
    log_time_ms: Gauge,
    commits: Gauge,
    commit_conflicts: Gauge,
    commit_retries: Gauge,
    ticks: Gauge,
    void_slots: Gauge,
    snapshots: Gauge,
    fenced: Gauge,
    overtaken: Gauge,
    log_alarm: Gauge,
    log_floor: Gauge,
    cleaning_rounds: Gauge,
    cleaning_failures: Gauge,
    cleaned_slots: Gauge,
    cleaned_snapshot_objects: Gauge,
    oldest_pending_seconds: Gauge<f64, AtomicU64>,
    commit_p50_seconds: Gauge<f64, AtomicU64>,
}

/// Values of the gauges that are read off other parts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    pub memory_used: usize,
    pub memory_budget: usize,
    pub pending_bytes: u64,
    pub ring_bytes: u64,
    pub cache_bytes: u64,
    pub manifest: lakebed_manifest::Status,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    pub fn new() -> Metrics {
        let mut registry = Registry::with_prefix("lakebed");
        let by_stage: StageHistogram = Family::new_with_constructor(latency);
        let stage = |stage| by_stage.get_or_create(&StageLabel { stage }).clone();
        let inner = Inner {
            stages: [
                stage(Stage::Validate),
                stage(Stage::Wait),
                stage(Stage::Upload),
                stage(Stage::Commit),
                stage(Stage::Total),
            ],
            flushes: Family::default(),
            flush_bytes: Family::default(),
            reads: Family::default(),
            read_bytes: Family::default(),
            alarms: Family::default(),
            second_looks: Counter::default(),
            hedges: Family::default(),
            window_limited: Counter::default(),
            background: BackgroundCounts::default(),
            sampled: Sampled::default(),
            registry: Mutex::default(),
        };
        registry.register("produce_stage_seconds", "Latency of produce requests by stage", by_stage.clone());
        registry.register("flushes", "Flushes by kind and reason", inner.flushes.clone());
        registry.register("flush_bytes", "Bytes of record batches flushed", inner.flush_bytes.clone());
        registry.register("reads", "Blocks or entries read for fetches, by source", inner.reads.clone());
        registry.register("read_bytes", "Bytes read for fetches, by source", inner.read_bytes.clone());
        registry.register("hedges", "Slow store requests that were sent a second time", inner.hedges.clone());
        registry.register(
            "second_looks",
            "Objects that were missing when they were fetched, and looked up again behind a read barrier",
            inner.second_looks.clone(),
        );
        registry.register("alarms", "What must never happen; see the log", inner.alarms.clone());
        registry.register(
            "producers_window_limited",
            "Producers that wait for answers most of the time; larger linger.ms, batch.size or \
             max.in.flight.requests.per.connection would free them",
            inner.window_limited.clone(),
        );
        inner.background.register(&mut registry);
        inner.sampled.register(&mut registry);
        *inner.registry.lock() = registry;
        Metrics { inner: Arc::new(inner) }
    }

    /// Adds what other parts of the process count, to be shown on the same page.
    pub fn register(&self, f: impl FnOnce(&mut Registry)) {
        f(&mut self.inner.registry.lock());
    }

    pub(crate) fn stage(&self, stage: Stage, took: Duration) {
        self.inner.stages[stage as usize].observe(took.as_secs_f64());
    }

    pub(crate) fn flush(&self, shape: Shape, reason: Reason, bytes: u64) {
        let kind = match shape {
            Shape::Inline => "inline",
            Shape::Segment => "segment",
        };
        let reason = match reason {
            Reason::Size => "size",
            Reason::Gap => "gap",
            Reason::Waiting => "waiting",
            Reason::Closing => "closing",
        };
        let label = FlushLabel { kind, reason };
        self.inner.flushes.get_or_create(&label).inc();
        self.inner.flush_bytes.get_or_create(&label).inc_by(bytes);
    }

    pub(crate) fn read(&self, source: Source, bytes: usize) {
        self.inner.reads.get_or_create(&SourceLabel { source }).inc();
        self.inner.read_bytes.get_or_create(&SourceLabel { source }).inc_by(bytes as u64);
    }

    pub(crate) fn hedge(&self, kind: &'static str) {
        self.inner.hedges.get_or_create(&HedgeLabel { kind }).inc();
    }

    pub(crate) fn alarm(&self, alarm: Alarm) {
        self.inner.alarms.get_or_create(&AlarmLabel { alarm }).inc();
    }

    pub(crate) fn second_look(&self) {
        self.inner.second_looks.inc();
    }

    pub(crate) fn window_limited(&self) {
        self.inner.window_limited.inc();
    }

    pub(crate) fn background(&self) -> &BackgroundCounts {
        &self.inner.background
    }

    /// The page in OpenMetrics text.
    pub(crate) fn render(&self, sample: &Sample) -> String {
        self.inner.sampled.set(sample);
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &self.inner.registry.lock())
            .expect("writing to a string does not fail");
        page
    }
}

impl Sampled {
    fn register(&self, registry: &mut Registry) {
        let gauges = [
            ("memory_used_bytes", "Bytes of the budget in use by requests", &self.memory_used),
            ("memory_budget_bytes", "Budget for requests", &self.memory_budget),
            ("produce_pending_bytes", "Bytes of record batches that wait for a flush", &self.pending_bytes),
            ("ring_bytes", "Bytes of recent objects in memory", &self.ring_bytes),
            ("cache_bytes", "Bytes of cached blocks", &self.cache_bytes),
            ("slot", "Last applied slot", &self.slot),
            ("log_time_ms", "The cluster's clock, ms since 1970", &self.log_time_ms),
            ("commits", "Commits that this node wrote", &self.commits),
            ("commit_conflicts", "Slots lost to other nodes", &self.commit_conflicts),
            ("commit_retries", "Commit PUTs sent again", &self.commit_retries),
            ("ticks", "Empty commits that advance log time", &self.ticks),
            ("void_slots", "Slots whose stored length is wrong", &self.void_slots),
            ("snapshots", "Snapshots that this node wrote", &self.snapshots),
            ("fenced", "Times this node was fenced", &self.fenced),
            ("overtaken", "Times the log floor passed this node", &self.overtaken),
            (
                "log_alarm",
                "1: something about the log that must never happen, since the node started; see its log",
                &self.log_alarm,
            ),
            ("log_floor", "Slots below it may be gone", &self.log_floor),
            ("cleaning_rounds", "Rounds of cleaning that this node began", &self.cleaning_rounds),
            ("cleaning_failures", "Rounds that the store cut short", &self.cleaning_failures),
            ("cleaned_slots", "Slots that this node deleted", &self.cleaned_slots),
            ("cleaned_snapshot_objects", "Snapshot parts and indexes that it deleted", &self.cleaned_snapshot_objects),
        ];
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.clone());
        }
        registry.register(
            "oldest_pending_commit_seconds",
            "Age of the oldest group without an outcome",
            self.oldest_pending_seconds.clone(),
        );
        registry.register("commit_p50_seconds", "Median time of recent commit PUTs", self.commit_p50_seconds.clone());
    }

    fn set(&self, sample: &Sample) {
        let log = &sample.manifest;
        let values = [
            (&self.memory_used, sample.memory_used as u64),
            (&self.memory_budget, sample.memory_budget as u64),
            (&self.pending_bytes, sample.pending_bytes),
            (&self.ring_bytes, sample.ring_bytes),
            (&self.cache_bytes, sample.cache_bytes),
            (&self.slot, log.applied.0),
            (&self.log_time_ms, log.log_time.0 as u64),
            (&self.commits, log.counters.commits),
            (&self.commit_conflicts, log.counters.conflicts),
            (&self.commit_retries, log.counters.retries),
            (&self.ticks, log.counters.ticks),
            (&self.void_slots, log.counters.void_slots),
            (&self.snapshots, log.snapshots_written),
            (&self.fenced, log.fenced),
            (&self.overtaken, log.overtaken),
            (&self.log_alarm, u64::from(log.alarm.is_some() || log.cleaning.alarm.is_some())),
            (&self.log_floor, log.cleaning.floor.0),
            (&self.cleaning_rounds, log.cleaning.rounds),
            (&self.cleaning_failures, log.cleaning.failures),
            (&self.cleaned_slots, log.cleaning.slots_deleted),
            (&self.cleaned_snapshot_objects, log.cleaning.snapshot_objects_deleted),
        ];
        for (gauge, value) in values {
            gauge.set(value as i64);
        }
        self.oldest_pending_seconds.set(log.oldest_pending.unwrap_or_default().as_secs_f64());
        self.commit_p50_seconds.set(log.commit_p50.as_secs_f64());
    }
}

fn latency() -> Histogram {
    // 100 µs to about 50 s.
    Histogram::new(exponential_buckets(0.0001, 1.6, 28))
}
