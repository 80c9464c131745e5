//! The tasks of a node's background work, from its start to its end. What they do survives being cut off anywhere.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::collect::Collector;
use crate::config::BrokerConfig;
use crate::flush::stream::Stream;
use crate::groups::Groups;
use crate::merge::{Candidates, Inputs, Merger};

pub struct Workers {
    merging: Arc<Notify>,
    collecting: Arc<Notify>,
    beating: Arc<Notify>,
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
        let workers = Workers { merging: Arc::default(), collecting: Arc::default(), beating: Arc::default() };
        spawn(&workers.beating, groups.beating());
        if config.background.collecting {
            let Inputs { manifest, store, env, metrics, .. } = inputs.clone();
            let collector = Collector::new(&config.background, manifest, store, env, metrics);
            spawn(&workers.collecting, collector.run());
        }
        if let Some(candidates) = candidates {
            let merger = Merger::new(config, inputs, candidates, Arc::clone(stream));
            spawn(&workers.merging, merger.run());
        }
        workers
    }

    pub fn stop(&self) {
        self.merging.notify_one();
        self.collecting.notify_one();
        self.beating.notify_one();
    }
}

fn spawn(stop: &Arc<Notify>, work: impl Future<Output = ()> + Send + 'static) {
    let stop = Arc::clone(stop);
    tokio::spawn(async move {
        tokio::select! {
            biased;
            () = stop.notified() => {}
            () = work => {}
        }
    });
}
