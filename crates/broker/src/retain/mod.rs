//! Retention: records that are older than `retention.ms`, or more than `retention.bytes`, go by truncation.
//!
//! Every node looks now and then at the topics that have one of the two set, and at no others; the one on [duty] truncates, and
//! any other what is left lying for [`OVERDUE_MS`]. Time is log time, after a read barrier, so no host's clock and no config that was
//! altered before decides. Several at once are safe: a truncation names an offset, and a log start never goes back. A crash leaves
//! nothing behind. What is truncated is gone for readers at once; the bucket gets its bytes back by merging and collecting.

mod plan;

use std::sync::Arc;
use std::time::Duration;

use lakebed_manifest::{Manifest, State, Topic};
use lakebed_record::ops::{Op, OpKind, OpOutcome, Truncate};
use lakebed_record::{LogTime, TopicPartition};
use lakebed_store::env::Env;

use crate::api::TopicConfig;
use crate::duty;
use crate::idle::Running;
use crate::metrics::Metrics;
use plan::Retention;

/// Truncations of one group.
const MOST_OPS: usize = 1_000;
/// Partitions looked at under one lock.
const AT_ONCE: u32 = 32;
/// What should have gone so long ago any node truncates (ms of log time).
const OVERDUE_MS: i64 = 10 * 60 * 1_000;

pub struct Retainer {
    manifest: Manifest,
    env: Env,
    metrics: Metrics,
    every: Duration,
    /// Those with a retention, as of this number of [`State::topic_changes`].
    topics: (Option<u64>, Vec<(Arc<Topic>, Retention)>),
    running: Running,
}

impl Retainer {
    pub fn new(every: Duration, manifest: Manifest, env: Env, metrics: Metrics) -> Retainer {
        let running = Running::new(manifest.read(State::log_time), env.clock.monotonic());
        Retainer { manifest, env, metrics, every, topics: (None, Vec::new()), running }
    }

    /// Until it is dropped.
    pub async fn run(mut self) {
        loop {
            self.env.clock.sleep(self.every).await;
            self.round().await;
        }
    }

    async fn round(&mut self) {
        self.refresh();
        if self.topics.1.is_empty() || self.manifest.status().in_doubt || !self.is_due().await {
            return;
        }
        // What is asked of the store is asked only where something is due.
        if self.manifest.barrier().await.is_err() || self.manifest.fence().await.is_err() {
            return;
        }
        self.refresh();
        if let Err(error) = self.truncate().await {
            tracing::warn!(error, "records past their retention stay for now");
        }
    }

    /// Topics come and go, and are altered, seldom.
    fn refresh(&mut self) {
        let Retainer { manifest, topics, .. } = self;
        // A clone costs pointers; going through all topics may take a while.
        let changed = manifest.read(|s| (Some(s.topic_changes()) != topics.0).then(|| s.clone()));
        let Some(state) = changed else { return };
        let retained = state.topics().filter_map(|t| Some((Arc::clone(t), retention_of(t)?)));
        *topics = (Some(state.topic_changes()), retained.collect());
    }

    /// By how far log time would be now. A node that is not on duty counts only what is overdue.
    async fn is_due(&mut self) -> bool {
        let ours = duty::is_ours(&self.manifest);
        let now = self.running.now(self.manifest.read(State::log_time), self.env.clock.monotonic());
        for (topic, retention) in &self.topics.1 {
            let retention = if ours { *retention } else { retention.overdue_by(OVERDUE_MS) };
            for first in (0..topic.partitions).step_by(AT_ONCE as usize) {
                if self.manifest.read(|s| due(s, topic, first, retention, now).next().is_some()) {
                    return true;
                }
                tokio::task::yield_now().await;
            }
        }
        false
    }

    async fn truncate(&self) -> Result<(), &'static str> {
        let now = self.manifest.read(State::log_time);
        let mut ops: Vec<Op> = Vec::new();
        for (topic, retention) in &self.topics.1 {
            for first in (0..topic.partitions).step_by(AT_ONCE as usize) {
                let truncate = |(tp, log_start): (TopicPartition, i64)| {
                    tracing::info!(partition = %tp, log_start, "records past their retention go");
                    let topic_id = tp.topic.0.to_be_bytes().to_vec();
                    Op::from(OpKind::Truncate(Truncate { topic_id, partition: tp.partition.0, log_start }))
                };
                self.manifest.read(|s| ops.extend(due(s, topic, first, *retention, now).map(truncate)));
                if ops.len() >= MOST_OPS {
                    self.submit(std::mem::take(&mut ops)).await?;
                }
                tokio::task::yield_now().await;
            }
        }
        self.submit(ops).await
    }

    async fn submit(&self, ops: Vec<Op>) -> Result<(), &'static str> {
        if ops.is_empty() {
            return Ok(());
        }
        let receipt = self.manifest.submit(ops, Vec::new()).await.map_err(|_| "the node was signed off, or stops")?;
        let done = receipt.outcomes.iter().filter(|o| matches!(o, OpOutcome::Truncated { .. })).count();
        self.metrics.background().retained(done as u64);
        Ok(())
    }
}

fn retention_of(topic: &Topic) -> Option<Retention> {
    let is_retention = |(name, _): &(String, String)| name == "retention.ms" || name == "retention.bytes";
    let set: Vec<_> = topic.configs.iter().filter(|c| is_retention(c)).cloned().collect();
    // What is not understood deletes nothing.
    Retention::of(&TopicConfig::parse(&set).ok()?)
}

/// Partitions from `first` on with something that is to go, and where they are to start; none of a topic that is another by now.
fn due<'a>(
    state: &'a State,
    topic: &Arc<Topic>,
    first: u32,
    retention: Retention,
    now: LogTime,
) -> impl Iterator<Item = (TopicPartition, i64)> + 'a {
    let same = state.topic(topic.id).is_some_and(|t| Arc::ptr_eq(t, topic));
    let last = if same { topic.partitions.min(first + AT_ONCE) } else { first };
    let (id, window_ms) = (topic.id, state.waits().window_ms);
    (first..last).filter_map(move |p| {
        let tp = TopicPartition::new(id, p as i32);
        Some((tp, retention.log_start(state.partition(tp)?, now, window_ms)?))
    })
}
