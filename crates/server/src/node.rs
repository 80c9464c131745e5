//! What the HTTP pages are told: they answer from the first moment, also while the broker is still starting.

use std::sync::{Arc, OnceLock};

use lakebed_broker::Broker;
use lakebed_http::Node;
use lakebed_store::metered::Metered;

/// Empty until the broker is up.
#[derive(Clone, Default)]
pub struct NodeView {
    running: Arc<OnceLock<Running>>,
}

struct Running {
    broker: Broker,
    store: Arc<Metered>,
}

impl NodeView {
    pub fn started(&self, broker: Broker, store: Arc<Metered>) {
        // Called once; a second broker in one process would be a bug that readers of this view could not see.
        assert!(self.running.set(Running { broker, store }).is_ok(), "a node starts once");
    }
}

impl Node for NodeView {
    fn not_ready(&self) -> Vec<String> {
        let Some(Running { broker, store }) = self.running.get() else {
            return vec!["the node is starting: it reads the log and registers".to_owned()];
        };
        let mut reasons = broker.status().not_ready;
        let health = store.health();
        if health.last_call_answered == Some(false) {
            let fault = health.last_fault.unwrap_or_default();
            reasons.push(format!("the last request to the object store failed: {fault}"));
        }
        reasons
    }

    fn metrics(&self) -> String {
        let page = self.running.get().map(|r| r.broker.render_metrics()).unwrap_or_default();
        page.strip_suffix("# EOF\n").map(str::to_owned).unwrap_or(page)
    }

    fn about(&self) -> String {
        match self.running.get() {
            Some(Running { broker, .. }) => {
                let node = broker.node();
                let (cluster, id, host, port) = (broker.cluster_id(), node.id, node.host, node.port);
                format!("cluster {cluster}, broker {id}, kafka clients use {host}:{port}")
            }
            None => "starting".to_owned(),
        }
    }
}
