//! Requests to the object store, as `/metrics` shows them: `lakebed_store_…`.

use std::fmt;
use std::sync::Arc;

use lakebed_store::metered::{BUCKETS_MS, Count, Metered, Operation, Outcome};
use lakebed_store::pace::Paced;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

/// The kind of request that an operation is on the wire, and in the bill.
fn kind(operation: Operation) -> &'static str {
    match operation {
        Operation::Create | Operation::Swap => "put",
        Operation::Get => "get",
        Operation::Head => "head",
        Operation::Delete => "delete",
        Operation::List => "list",
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    kind: &'static str,
    operation: &'static str,
    outcome: &'static str,
}

fn labels(operation: Operation, outcome: Outcome) -> RequestLabels {
    RequestLabels { kind: kind(operation), operation: operation.label(), outcome: outcome.label() }
}

/// `lakebed_store_…`: requests to the object store.
pub struct StoreMetrics {
    pub requests: Arc<Metered>,
    pub pace: Arc<Paced>,
}

impl fmt::Debug for StoreMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreMetrics")
    }
}

impl Collector for StoreMetrics {
    fn encode(&self, mut out: DescriptorEncoder) -> fmt::Result {
        let now = self.requests.snapshot();
        let mut requests =
            out.encode_descriptor("store_requests", "Requests to the object store", None, MetricType::Counter)?;
        for (operation, outcome, count) in &now.counts {
            counter(&mut requests.encode_family(&labels(*operation, *outcome))?, count.requests)?;
        }
        let mut bytes = out.encode_descriptor(
            "store_transferred",
            "Bytes of objects sent and received",
            Some(&Unit::Bytes),
            MetricType::Counter,
        )?;
        for (operation, outcome, count) in &now.counts {
            counter(&mut bytes.encode_family(&labels(*operation, *outcome))?, count.bytes)?;
        }
        let mut seconds = out.encode_descriptor(
            "store_request_duration",
            "How long requests to the object store took",
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        for (operation, outcome, count) in &now.counts {
            let labels = labels(*operation, *outcome);
            let mut one = seconds.encode_family(&labels)?;
            let (sum, buckets) = (count.latency_sum.as_secs_f64(), buckets(count));
            one.encode_histogram::<[(&str, &str); 0]>(sum, count.requests, &buckets, None)?;
        }
        let help = "Requests a second that may be sent, while the store throttles; without a limit there is no sample";
        let mut pace = out.encode_descriptor("store_pace", help, None, MetricType::Gauge)?;
        for (requests, limit) in self.pace.limits() {
            if let Some(per_second) = limit {
                pace.encode_family(&[("requests", requests)])?.encode_gauge(&per_second)?;
            }
        }
        gauge(&mut out, "store_requests_in_flight", "Requests without an answer yet", now.in_flight as i64)
    }
}

/// Upper bound in seconds, count in this bucket alone.
fn buckets(count: &Count) -> Vec<(f64, u64)> {
    let bounds = BUCKETS_MS.iter().map(|ms| *ms as f64 / 1e3).chain([f64::INFINITY]);
    bounds.zip(count.buckets).collect()
}

fn counter(at: &mut prometheus_client::encoding::MetricEncoder<'_>, value: u64) -> fmt::Result {
    at.encode_counter::<[(&str, &str); 0], _, u64>(&value, None)
}

fn gauge(out: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: i64) -> fmt::Result {
    out.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
}

#[cfg(test)]
mod tests {
    use lakebed_record::keys;
    use lakebed_store::env::Env;
    use lakebed_store::memory::MemoryStore;
    use lakebed_store::{Body, Store};
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    #[tokio::test]
    async fn store_requests_are_shown_by_kind_and_outcome() {
        let env = Env::system();
        let store = Arc::new(Metered::new(Arc::new(MemoryStore::new(&env)), &env));
        store.create(&keys::format(), &Body::from(bytes::Bytes::from_static(b"12345"))).await;
        store.get(&keys::current(), None).await;
        store.delete(&keys::probe(0, "a")).await.value.unwrap();
        store.list("log/", None).await.value.unwrap();
        let mut registry = Registry::with_prefix("lakebed");
        let pace = Arc::new(Paced::new(store.clone(), &env));
        registry.register_collector(Box::new(StoreMetrics { requests: store, pace }));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "lakebed_store_requests_total{kind=\"put\",operation=\"create\",outcome=\"ok\"} 1",
            "lakebed_store_requests_total{kind=\"get\",operation=\"get\",outcome=\"not_found\"} 1",
            "lakebed_store_requests_total{kind=\"delete\",operation=\"delete\",outcome=\"ok\"} 1",
            "lakebed_store_requests_total{kind=\"list\",operation=\"list\",outcome=\"ok\"} 1",
            "lakebed_store_transferred_bytes_total{kind=\"put\",operation=\"create\",outcome=\"ok\"} 5",
            "lakebed_store_request_duration_seconds_count{kind=\"put\",operation=\"create\",outcome=\"ok\"} 1",
            "lakebed_store_requests_in_flight 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in:\n{text}");
        }
    }
}
