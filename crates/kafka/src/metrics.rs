//! What the Kafka front end counts, in families that the server registers.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lakebed_broker::MemoryBudget;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::replies::Replies;
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

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UseLabel {
    r#use: &'static str,
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
    replies: Arc<ReplyMemory>,
}

/// Read off when the page is rendered; empty before anything is served.
#[derive(Debug, Default)]
struct ReplyMemory(OnceLock<Replies>);

impl Collector for ReplyMemory {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let Some(replies) = self.0.get() else { return Ok(()) };
        let mut gauge = |name, help, of: fn(&MemoryBudget) -> usize| {
            let mut family = encoder.encode_descriptor(name, help, Some(&Unit::Bytes), MetricType::Gauge)?;
            replies.budgets().into_iter().try_for_each(|(r#use, budget)| {
                ConstGauge::new(of(budget) as u64).encode(family.encode_family(&UseLabel { r#use })?)
            })
        };
        gauge("reply_memory_used", "Memory that replies hold, until they are taken", MemoryBudget::used)?;
        gauge("reply_memory_budget", "Memory that replies may hold", MemoryBudget::total)
    }
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
        let replies = Arc::default();
        Self { inner: Arc::new(Inner { apis, families, connections, accepted, refused, replies }) }
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
        let Inner { families, connections, accepted, refused, replies, .. } = &*self.inner;
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
        kafka.register_collector(Box::new(Arc::clone(replies)));
    }

    /// Shows the memory of these from now on; those of the first to be served, if there are several.
    pub(crate) fn sample(&self, replies: &Replies) {
        let _ = self.inner.replies.0.set(replies.clone());
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
    async fn the_memory_of_replies_shows() {
        let (metrics, mut registry) = (KafkaMetrics::default(), Registry::with_prefix("lakebed"));
        metrics.register(&mut registry);
        let page = |registry: &Registry| {
            let mut page = String::new();
            prometheus_client::encoding::text::encode(&mut page, registry).unwrap();
            page
        };
        assert!(!page(&registry).contains("reply_memory"));
        let replies = Replies::new(1600);
        metrics.sample(&replies);
        let _held = replies.other.acquire(150).await;
        let page = page(&registry);
        for line in [
            "# UNIT lakebed_kafka_reply_memory_used_bytes bytes",
            "lakebed_kafka_reply_memory_used_bytes{use=\"other\"} 150",
            "lakebed_kafka_reply_memory_used_bytes{use=\"fetch\"} 0",
            "lakebed_kafka_reply_memory_budget_bytes{use=\"fetch\"} 1200",
        ] {
            assert!(page.lines().any(|l| l == line), "{line} in {page}");
        }
    }

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
