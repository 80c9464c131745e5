//! Deleting segments and index pages that nothing needs.
//!
//! Two kinds: what the state named once and names no more stands on its pending-delete list, and leaves it by an op when it is
//! deleted; what was stored and never named (a crash before its commit, an op that was refused) is found by listing the bucket.
//! Both are judged by the state that this node has applied alone: what that state, at its log time, says will never be named
//! again is not named in any later one either, so a collector that lags deletes less, never more. Several at once are safe.
//! A crash after a delete and before its op leaves the name on the list: it is deleted again, which is fine.

mod plan;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use lakebed_manifest::Manifest;
use lakebed_record::SegmentName;
use lakebed_record::keys::{self, Key};
use lakebed_record::ops::{ObjectsDeleted, OpKind, OpOutcome};
use lakebed_store::env::Env;
use lakebed_store::{Store, list};

use crate::config::Background;
use crate::metrics::{Deleted, Metrics};
use plan::Garbage;

/// Deletes under way at once.
const AT_ONCE: usize = 8;
/// Names of one op.
const MOST_NAMES: usize = 1_000;
const SEGMENTS: &str = "segments/";
/// The first search after a start comes after this part of the time between two.
const FIRST_SEARCH: u32 = 24;

pub struct Collector {
    manifest: Manifest,
    store: Arc<dyn Store>,
    env: Env,
    metrics: Metrics,
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
    ) -> Collector {
        let next_search = env.clock.monotonic() + config.orphans_every / FIRST_SEARCH;
        let (every, orphans_every) = (config.collect_every, config.orphans_every);
        Collector { manifest, store, env, metrics, every, orphans_every, next_search }
    }

    /// Until it is dropped.
    pub async fn run(mut self) {
        loop {
            self.env.clock.sleep(self.every).await;
            let pending = self.manifest.read(|s| s.pending_deletes().count());
            self.metrics.background().pending_deletes(pending);
            if !self.is_duty() {
                continue;
            }
            if pending > 0 {
                self.delete_pending().await;
            }
            if self.env.clock.monotonic() >= self.next_search {
                self.delete_orphans().await;
                self.next_search = self.env.clock.monotonic() + self.orphans_every;
            }
        }
    }

    /// Asked again before each page of names: a node that has come to doubt its own state goes by it no further.
    fn is_duty(&self) -> bool {
        self.manifest.status().last_author
    }

    async fn delete_pending(&self) {
        // While something waits to expire, log time has to go on, also when nobody writes.
        if self.manifest.fence().await.is_err() {
            return;
        }
        loop {
            let names: Vec<SegmentName> = self.manifest.read(|s| s.deletable().take(MOST_NAMES).collect());
            if names.is_empty() || !self.is_duty() {
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

    /// Every object below `segments/`, page by page.
    async fn delete_orphans(&self) {
        if self.manifest.fence().await.is_err() {
            return;
        }
        let mut found: u64 = 0;
        let mut pages = pin!(list::pages(self.store.as_ref(), SEGMENTS));
        while let Some(page) = pages.next().await {
            let objects = match page {
                Ok(objects) => objects,
                Err(fault) => return tracing::warn!(%fault, "the search for orphans was given up; it comes again"),
            };
            self.metrics.background().listed(objects.len() as u64);
            // Judged by what is applied now, after the reply.
            let orphans = self.manifest.read(|s| Garbage::in_page(s, objects.iter().map(|o| &o.key)));
            if !self.is_duty() {
                return;
            }
            for key in &orphans.foreign {
                tracing::warn!(%key, "this object is none of ours; it is left alone");
            }
            let gone = self.delete(&orphans.names).await.len() as u64;
            self.metrics.background().deleted(Deleted::Orphan, gone);
            found += gone;
        }
        if found > 0 {
            tracing::info!(found, "deleted objects that were stored and never named");
        }
    }
}
