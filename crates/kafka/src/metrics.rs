//! What the Kafka front end counts, in families that the server registers.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::wire::api::TABLE;
use crate::wire::{ApiKey, ErrorCode};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ApiLabel {
    api: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabel {
    api: &'static str,
    code: &'static str,
}

/// Cheap to clone; clones count together.
#[derive(Clone, Debug)]
pub struct KafkaMetrics {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// One for each row of the table of APIs.
    apis: Vec<(ApiKey, ApiMetrics)>,
    families: Families,
    connections: Gauge,
    accepted: Counter,
    refused: Counter,
}

#[derive(Debug)]
struct Families {
    requests: Family<ApiLabel, Counter>,
    request_bytes: Family<ApiLabel, Counter>,
    response_bytes: Family<ApiLabel, Counter>,
    errors: Family<ErrorLabel, Counter>,
    seconds: Family<ApiLabel, Histogram, fn() -> Histogram>,
}

#[derive(Debug)]
struct ApiMetrics {
    requests: Counter,
    request_bytes: Counter,
    response_bytes: Counter,
    seconds: Histogram,
}

/// Bounds in ms; narrow where acknowledgements out of a bucket lie, so that a median can be told within some ms.
const LATENCIES_MS: [u32; 24] =
    [1, 2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 120, 140, 160, 200, 250, 350, 500, 1_000, 2_500, 10_000, 30_000];

fn latencies() -> Histogram {
    Histogram::new(LATENCIES_MS.map(|ms| f64::from(ms) / 1000.0))
}

/// One that is open; also when its task panics, dropping this closes it.
#[derive(Debug)]
pub(crate) struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Default for KafkaMetrics {
    fn default() -> Self {
        let families = Families {
            requests: Family::default(),
            request_bytes: Family::default(),
            response_bytes: Family::default(),
            errors: Family::default(),
            seconds: Family::new_with_constructor(latencies),
        };
        let apis = TABLE.map(|row| (row.api, families.of(row.api))).into();
        let (connections, accepted, refused) = (Gauge::default(), Counter::default(), Counter::default());
        Self { inner: Arc::new(Inner { apis, families, connections, accepted, refused }) }
    }
}

impl Families {
    fn of(&self, api: ApiKey) -> ApiMetrics {
        let label = ApiLabel { api: api.name() };
        ApiMetrics {
            requests: self.requests.get_or_create(&label).clone(),
            request_bytes: self.request_bytes.get_or_create(&label).clone(),
            response_bytes: self.response_bytes.get_or_create(&label).clone(),
            seconds: self.seconds.get_or_create(&label).clone(),
        }
    }
}

impl KafkaMetrics {
    /// Registers everything under names that begin with `kafka_`.
    pub fn register(&self, registry: &mut Registry) {
        let Inner { families, connections, accepted, refused, .. } = &*self.inner;
        let kafka = registry.sub_registry_with_prefix("kafka");
        kafka.register("requests", "Requests answered", families.requests.clone());
        kafka.register_with_unit("request", "Size of requests", Unit::Bytes, families.request_bytes.clone());
        kafka.register_with_unit("response", "Size of replies", Unit::Bytes, families.response_bytes.clone());
        kafka.register_with_unit(
            "request_duration",
            "Time from a request's last byte to its reply, long polls included",
            Unit::Seconds,
            families.seconds.clone(),
        );
        kafka.register("errors", "Error codes in replies: one for each partition or topic", families.errors.clone());
        kafka.register("connections", "Open connections", connections.clone());
        kafka.register("connections_accepted", "Connections accepted", accepted.clone());
        kafka.register(
            "connections_refused",
            "Connections closed because of what they sent: malformed, not served, another protocol",
            refused.clone(),
        );
    }

    pub(crate) fn answered(&self, api: ApiKey, request_bytes: usize, response_bytes: usize, took: Duration) {
        let Some((_, metrics)) = self.inner.apis.iter().find(|(of, _)| *of == api) else { return };
        metrics.requests.inc();
        metrics.request_bytes.inc_by(request_bytes as u64);
        metrics.response_bytes.inc_by(response_bytes as u64);
        metrics.seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn errors(&self, api: ApiKey, errors: &[(ErrorCode, u64)]) {
        for (code, times) in errors {
            let label = ErrorLabel { api: api.name(), code: code.name() };
            self.inner.families.errors.get_or_create(&label).inc_by(*times);
        }
    }

    /// A connection is counted as open until what this gives is dropped.
    pub(crate) fn opened(&self) -> OpenConnection {
        self.inner.accepted.inc();
        self.inner.connections.inc();
        OpenConnection(self.inner.connections.clone())
    }

    pub(crate) fn refused(&self) {
        self.inner.refused.inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_whose_task_panics_is_not_open() {
        let metrics = KafkaMetrics::default();
        let (first, second) = (metrics.opened(), metrics.opened());
        let task = tokio::spawn(async move {
            let _open = first;
            panic!("a bug");
        });
        assert!(task.await.is_err_and(|e| e.is_panic()));
        assert_eq!(metrics.inner.connections.get(), 1);
        drop(second);
        assert_eq!((metrics.inner.connections.get(), metrics.inner.accepted.get()), (0, 2));
    }
}
