//! Deleting segments and index pages that nothing needs.
//!
//! Two kinds: what the state named once and names no more stands on its pending-delete list, and leaves it by an op when it is
//! deleted; what was stored and never named (a crash before its commit, an op that was refused) is found by listing the bucket.
//! Both are judged by the state that this node has applied alone: what that state, at its log time, says will never be named
//! again is not named in any later one either, so a collector that lags deletes less, never more. Several at once are safe.
//! A crash after a delete and before its op leaves the name on the list: it is deleted again, which is fine.
//!
//! The list also tells how long objects are: old merged segments of which little is in use are handed to merging, which copies
//! what is left of them.

mod plan;

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use lakebed_manifest::{Manifest, PartitionState, State};
use lakebed_record::keys::{self, Key, Name};
use lakebed_record::ops::{ObjectsDeleted, OpKind, OpOutcome};
use lakebed_record::{DataObject, SegmentName, TopicPartition};
use lakebed_store::env::Env;
use lakebed_store::{Listed, Store, list};

use crate::config::Background;
use crate::duty;
use crate::merge::Candidates;
use crate::metrics::{Deleted, Metrics};
use plan::{Garbage, InUse};

/// Deletes under way at once.
const AT_ONCE: usize = 8;
/// Names of one op.
const MOST_NAMES: usize = 1_000;
const SEGMENTS: &str = "segments/";
/// Partitions looked at before others have their turn.
const LOOKED_AT: usize = 64;
/// The first search after a start, or after one that was given up, comes after this part of the time between two.
const FIRST_SEARCH: u32 = 24;

pub struct Collector {
    manifest: Manifest,
    store: Arc<dyn Store>,
    env: Env,
    metrics: Metrics,
    /// Of merging, if that is on.
    candidates: Option<Arc<Candidates>>,
    every: Duration,
    orphans_every: Duration,
    /// Monotonic.
    next_search: Duration,
}

impl Collector {
    pub fn new(
        config: &Background,
        manifest: Manifest,
        store: Arc<dyn Store>,
        env: Env,
        metrics: Metrics,
        candidates: Option<Arc<Candidates>>,
    ) -> Collector {
        let next_search = env.clock.monotonic() + config.orphans_every / FIRST_SEARCH;
        let (every, orphans_every) = (config.collect_every, config.orphans_every);
        Collector { manifest, store, env, metrics, candidates, every, orphans_every, next_search }
    }

    /// Until it is dropped.
    pub async fn run(mut self) {
        loop {
            self.env.clock.sleep(self.every).await;
            let pending = self.manifest.read(|s| s.pending_deletes().count());
            self.metrics.background().pending_deletes(pending);
            if !duty::is_ours(&self.manifest) {
                continue;
            }
            if pending > 0 {
                self.delete_pending().await;
            }
            if self.env.clock.monotonic() >= self.next_search {
                let done = self.search().await;
                let wait = if done { self.orphans_every } else { self.orphans_every / FIRST_SEARCH };
                self.next_search = self.env.clock.monotonic() + wait;
            }
        }
    }

    async fn delete_pending(&self) {
        // While something waits to expire, log time has to go on, also when nobody writes.
        if self.manifest.fence().await.is_err() {
            return;
        }
        loop {
            let names: Vec<SegmentName> = self.manifest.read(|s| s.deletable().take(MOST_NAMES).collect());
            if names.is_empty() || !duty::is_ours(&self.manifest) {
                return;
            }
            let gone = self.delete(&names).await;
            self.metrics.background().deleted(Deleted::Dereferenced, gone.len() as u64);
            let all = gone.len() == names.len();
            if !gone.is_empty() {
                let op = ObjectsDeleted { segments: gone.into_iter().map(Into::into).collect() };
                let receipt = self.manifest.submit(vec![OpKind::ObjectsDeleted(op).into()], Vec::new()).await;
                match receipt.map(|r| r.outcomes) {
                    Ok(outcomes) if outcomes == [OpOutcome::Done] => {}
                    other => return tracing::warn!(?other, "deleted objects stay on the list for now"),
                }
            }
            if !all {
                return;
            }
        }
    }

    /// Those that are gone now.
    async fn delete(&self, names: &[SegmentName]) -> Vec<SegmentName> {
        let mut gone = Vec::with_capacity(names.len());
        for names in names.chunks(AT_ONCE) {
            let keys: Vec<Key> = names.iter().map(keys::segment).collect();
            let replies = join_all(keys.iter().map(|key| self.store.delete(key))).await;
            for (name, reply) in names.iter().zip(replies) {
                match reply.value {
                    Ok(()) => gone.push(*name),
                    Err(fault) => tracing::debug!(%fault, "a segment is not deleted yet"),
                }
            }
        }
        gone
    }

    /// Every object below `segments/`, page by page. False if it was given up.
    async fn search(&self) -> bool {
        if self.manifest.fence().await.is_err() {
            return false;
        }
        let in_use = self.in_use().await;
        let (mut found, mut sparse): (u64, _) = (0, BTreeSet::new());
        let mut pages = pin!(list::pages(self.store.as_ref(), SEGMENTS));
        while let Some(page) = pages.next().await {
            let objects = match page {
                Ok(objects) => objects,
                Err(fault) => {
                    tracing::warn!(%fault, "the search for orphans was given up; it comes again");
                    return false;
                }
            };
            self.metrics.background().listed(objects.len() as u64);
            // Judged by what is applied now, after the reply.
            let orphans = self.manifest.read(|s| Garbage::in_page(s, objects.iter().map(|o| &o.key)));
            // A node that has come to doubt its own state goes by it no further.
            if !duty::is_ours(&self.manifest) {
                return false;
            }
            for key in &orphans.foreign {
                tracing::warn!(%key, "this object is none of ours; it is left alone");
            }
            let gone = self.delete(&orphans.names).await.len() as u64;
            self.metrics.background().deleted(Deleted::Orphan, gone);
            found += gone;
            sparse.extend(self.sparse(&in_use, &objects));
        }
        if found > 0 {
            tracing::info!(found, "deleted objects that were stored and never named");
        }
        self.hand_over(sparse).await;
        true
    }

    async fn in_use(&self) -> InUse {
        let mut in_use = InUse::default();
        if self.candidates.is_some() {
            // A clone costs pointers; going through all entries may take a while.
            let state = self.manifest.read(State::clone);
            each_partition(&state, |_, p| in_use.add_entries(p)).await;
            each_partition(&state, |_, p| in_use.drop_pages(p)).await;
        }
        in_use
    }

    /// Those on the page that are old and of which little is in use.
    fn sparse(&self, in_use: &InUse, page: &[Listed]) -> Vec<SegmentName> {
        let old = self.manifest.read(|s| s.log_time().0) - self.orphans_every.as_millis() as i64;
        let names = page.iter().filter_map(|o| match keys::parse(&o.key) {
            Some(Name::Segment(name)) if name.fence.0 <= old => Some((name, o.len)),
            _ => None,
        });
        names.filter(|(name, len)| in_use.is_sparse(name, *len)).map(|(name, _)| name).collect()
    }

    async fn hand_over(&self, sparse: BTreeSet<SegmentName>) {
        let Some(candidates) = &self.candidates else { return };
        let mut partitions: Vec<TopicPartition> = Vec::new();
        if !sparse.is_empty() {
            tracing::info!(segments = sparse.len(), "of these segments little is in use; what is left of them moves");
            let state = self.manifest.read(State::clone);
            let names = |p: &PartitionState| {
                p.entries().any(|e| matches!(e.object, DataObject::Segment(name) if sparse.contains(&name)))
            };
            each_partition(&state, |tp, p| partitions.extend(names(p).then_some(tp))).await;
        }
        candidates.set_sparse(sparse, partitions);
    }
}

async fn each_partition(state: &State, mut look: impl FnMut(TopicPartition, &PartitionState)) {
    for (i, (tp, partition)) in state.partitions().enumerate() {
        look(tp, partition);
        if i % LOOKED_AT == LOOKED_AT - 1 {
            tokio::task::yield_now().await;
        }
    }
}
