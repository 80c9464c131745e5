//! Whether this node can serve: for `/readyz`. A watch asks the store at least every 5 s.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lakebed_manifest::Manifest;
use lakebed_store::env::Env;
use tokio::sync::Notify;

use crate::memory::MemoryBudget;

const EVERY: Duration = Duration::from_secs(5);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const COMMIT_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(crate) struct Health {
    store_away: AtomicBool,
    /// Somebody has waited for memory, and nobody has been given any, from one look to the next.
    memory_stuck: AtomicBool,
    stopping: AtomicBool,
    stop: Notify,
}

/// A node's state, and why it is not ready.
#[derive(Clone, Debug)]
pub struct Status {
    /// One sentence per reason; none: ready.
    pub not_ready: Vec<String>,
    pub log: lakebed_manifest::Status,
}

impl Status {
    pub fn is_ready(&self) -> bool {
        self.not_ready.is_empty()
    }
}

/// Starts the watch; it ends with [`Health::stop`].
pub(crate) fn watch(manifest: Manifest, memory: MemoryBudget, env: Env) -> Arc<Health> {
    let health = Arc::new(Health::default());
    let watching = Arc::clone(&health);
    tokio::spawn(async move {
        let mut waiting_since: Option<u64> = None;
        while !watching.stopping.load(Ordering::Relaxed) {
            let there = env.within(ANSWER_WITHIN, manifest.barrier()).await.is_some_and(|passed| passed.is_ok());
            watching.store_away.store(!there, Ordering::Relaxed);
            let waiting = memory.is_exhausted().then(|| memory.granted());
            watching.memory_stuck.store(waiting.is_some() && waiting == waiting_since, Ordering::Relaxed);
            waiting_since = waiting;
            tokio::select! {
                biased;
                () = watching.stop.notified() => {}
                () = env.clock.sleep(EVERY) => {}
            }
        }
    });
    health
}

impl Health {
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.stop.notify_one();
    }

    pub fn status(&self, manifest: &Manifest, memory: &MemoryBudget) -> Status {
        let log = manifest.status();
        let mut not_ready = Vec::new();
        if self.stopping.load(Ordering::Relaxed) {
            not_ready.push("this node is stopping".to_owned());
        }
        if let Some(reason) = &log.halted {
            not_ready.push(format!("this node serves no more: {reason}"));
        }
        if !log.registered {
            not_ready.push("this node is not registered in the log yet".to_owned());
        }
        if let Some(age) = log.oldest_pending.filter(|age| *age >= COMMIT_WITHIN) {
            not_ready.push(format!("a commit has been pending for {} s", age.as_secs()));
        }
        if self.memory_stuck.load(Ordering::Relaxed) && memory.is_exhausted() {
            not_ready.push(format!("the memory budget of {} bytes is used up", memory.total()));
        }
        if self.store_away.load(Ordering::Relaxed) {
            not_ready.push("the object store does not answer".to_owned());
        }
        Status { not_ready, log }
    }
}
