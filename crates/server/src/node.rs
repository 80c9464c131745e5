//! What the HTTP pages are told: they answer from the first moment, also while the broker is still starting.

use std::sync::{Arc, OnceLock};

use lakebed_broker::Broker;
use lakebed_http::Node;

use crate::probe::Probe;

/// Empty until the broker is up.
#[derive(Clone, Default)]
pub struct NodeView {
    running: Arc<OnceLock<Running>>,
}

struct Running {
    broker: Broker,
    probe: Probe,
}

impl NodeView {
    pub fn started(&self, broker: Broker, probe: Probe) {
        // Called once; a second broker in one process would be a bug that readers of this view could not see.
        assert!(self.running.set(Running { broker, probe }).is_ok(), "a node starts once");
    }
}

impl Node for NodeView {
    fn not_ready(&self) -> Vec<String> {
        let Some(Running { broker, probe }) = self.running.get() else {
            return vec!["the node is starting: it reads the log and registers".to_owned()];
        };
        let mut not_ready = broker.status().not_ready;
        let health = probe.store().health();
        match (health.last_fault, probe.unwritable()) {
            (Some(fault), _) if health.last_call_answered == Some(false) => {
                not_ready.push(format!("the last request to the object store failed: {fault}"));
            }
            (_, Some(fault)) => not_ready.push(format!("the object store takes nothing: {fault}")),
            _ => {}
        }
        not_ready
    }

    fn metrics(&self) -> String {
        let page = self.running.get().map(|r| r.broker.render_metrics()).unwrap_or_default();
        page.strip_suffix("# EOF\n").map(str::to_owned).unwrap_or(page)
    }

    fn broker(&self) -> Option<Broker> {
        self.running.get().map(|r| r.broker.clone())
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
