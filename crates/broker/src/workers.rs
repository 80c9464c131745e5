//! The tasks of a node's background work, from its start to its end. What they do survives being cut off anywhere.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use lakebed_store::env::Env;
use tokio::sync::Notify;

use crate::collect::Collector;
use crate::config::BrokerConfig;
use crate::flush::stream::Stream;
use crate::groups::Groups;
use crate::merge::{Candidates, Inputs, Merger};
use crate::retain::Retainer;

/// From a failure of this program to the next attempt.
const PAUSE: Duration = Duration::from_secs(60);

pub struct Workers {
    merging: Arc<Notify>,
    collecting: Arc<Notify>,
    beating: Arc<Notify>,
    retaining: Arc<Notify>,
}

impl Workers {
    /// `candidates`: what the log's listener fills, if merging is on.
    pub fn spawn(
        config: &BrokerConfig,
        inputs: Inputs,
        candidates: Option<Arc<Candidates>>,
        stream: &Arc<Stream>,
        groups: &Groups,
    ) -> Workers {
        let workers = Workers {
            merging: Arc::default(),
            collecting: Arc::default(),
            beating: Arc::default(),
            retaining: Arc::default(),
        };
        let beating = groups.clone();
        spawn(&workers.beating, inputs.env.clone(), move || beating.beating(), || {});
        let (every, retained) = (config.background.retain_every, inputs.clone());
        let retainer = move || {
            let Inputs { manifest, env, metrics, .. } = retained.clone();
            Retainer::new(every, manifest, env, metrics).run()
        };
        spawn(&workers.retaining, inputs.env.clone(), retainer, || {});
        if config.background.collecting {
            let (background, inputs, candidates) = (config.background.clone(), inputs.clone(), candidates.clone());
            let env = inputs.env.clone();
            let collector = move || {
                let Inputs { manifest, store, env, metrics, .. } = inputs.clone();
                Collector::new(&background, manifest, store, env, metrics, candidates.clone()).run()
            };
            spawn(&workers.collecting, env, collector, || {});
        }
        if let Some(candidates) = candidates {
            let (config, env, going) = (config.clone(), inputs.env.clone(), Arc::clone(stream));
            let stream = Arc::clone(stream);
            let merger =
                move || Merger::new(&config, inputs.clone(), Arc::clone(&candidates), Arc::clone(&stream)).run();
            // Nobody would let go of the flushes that it holds apart.
            spawn(&workers.merging, env, merger, move || going.slow_down(Duration::ZERO));
        }
        workers
    }

    pub fn stop(&self) {
        self.merging.notify_one();
        self.collecting.notify_one();
        self.beating.notify_one();
        self.retaining.notify_one();
    }
}

/// Runs the work until it is stopped, and anew some time after it has panicked.
fn spawn<F>(stop: &Arc<Notify>, env: Env, work: impl Fn() -> F + Send + 'static, failed: impl Fn() + Send + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    let stop = Arc::clone(stop);
    tokio::spawn(async move {
        let keep_on = async move {
            while AssertUnwindSafe(work()).catch_unwind().await.is_err() {
                tracing::error!("background work failed; it starts again in {} s; please report this", PAUSE.as_secs());
                failed();
                env.clock.sleep(PAUSE).await;
            }
        };
        tokio::select! {
            biased;
            () = stop.notified() => {}
            () = keep_on => {}
        }
    });
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn work_that_panics_lets_go_and_starts_again() {
        let env = Env { clock: Arc::new(Instant), ..Env::system() };
        let (started, let_go) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let (done, stop) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (count, failures, tell) = (started.clone(), let_go.clone(), done.clone());
        let work = move || {
            let (nth, tell) = (count.fetch_add(1, Ordering::SeqCst), tell.clone());
            async move {
                assert!(nth == 2, "as it is meant to");
                tell.notify_one();
            }
        };
        let failed = move || {
            failures.fetch_add(1, Ordering::SeqCst);
        };
        spawn(&stop, env, work, failed);
        done.notified().await;
        assert_eq!((started.load(Ordering::SeqCst), let_go.load(Ordering::SeqCst)), (3, 2));
    }

    /// A clock whose sleeps take no time.
    struct Instant;

    impl lakebed_store::env::Clock for Instant {
        fn monotonic(&self) -> Duration {
            Duration::ZERO
        }

        fn wall_ms(&self) -> i64 {
            0
        }

        fn sleep<'a>(&'a self, _: Duration) -> lakebed_store::BoxFuture<'a, ()> {
            Box::pin(std::future::ready(()))
        }
    }
}
