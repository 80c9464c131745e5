//! The sign of life of a node that owns groups with members: one empty group of ops now and then, however many groups it owns.
//! Any other commit of the node serves as well.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use lakebed_manifest::Manifest;
use lakebed_record::GroupKey;
use lakebed_store::env::Env;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// At least this often, whatever the groups' session time-outs are.
const LONGEST: Duration = Duration::from_secs(5);
/// At most this often.
const SHORTEST: Duration = Duration::from_millis(500);

#[derive(Default)]
pub(super) struct Beat {
    /// Of each group with members: within what time this node must have committed something.
    within: Mutex<HashMap<GroupKey, Duration>>,
    first: Notify,
}

impl Beat {
    pub fn set(&self, group: &GroupKey, within: Option<Duration>) {
        let mut all = self.within.lock();
        match within {
            Some(within) => {
                if all.get(group) != Some(&within) {
                    all.insert(group.clone(), within);
                    self.first.notify_one();
                }
            }
            None => {
                all.remove(group);
            }
        }
    }

    fn least(&self) -> Option<Duration> {
        self.within.lock().values().min().map(|least| (*least).clamp(SHORTEST, LONGEST))
    }
}

pub(super) async fn run(beat: Arc<Beat>, manifest: Manifest, env: Env) {
    loop {
        let Some(within) = beat.least() else {
            beat.first.notified().await;
            continue;
        };
        let ago = manifest.heard(manifest.incarnation()).unwrap_or_default();
        if ago >= within {
            // While the store is away one waits, not many.
            let _outcome = manifest.submit(Vec::new(), Vec::new()).await;
        } else {
            tokio::select! {
                biased;
                () = env.clock.sleep(within - ago) => {}
                () = beat.first.notified() => {}
            }
        }
    }
}
