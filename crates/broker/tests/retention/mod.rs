//! Retention through whole brokers, in simulated time, against what the producer wrote down.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lakebed_broker::api::*;
use lakebed_broker::{Background, Broker, BrokerConfig};
use lakebed_record::batch::BatchBuilder;
use lakebed_record::ops::{ConfigChange, ConfigEntry};
use lakebed_record::{TopicId, TopicPartition};
use lakebed_store::env::Env;
use tokio::time::Instant;

use super::support::*;
use super::{MINUTE, PATIENCE, bucket};

/// Of a batch, about.
const LEN: usize = 300 << 10;

/// What was appended to partition 0 of a topic: the time of each record (ms), by offset.
struct Ledger {
    begun: Instant,
    topic: TopicId,
    times: Vec<i64>,
}

impl Ledger {
    fn new(begun: Instant, topic: TopicId) -> Ledger {
        Ledger { begun, topic, times: Vec::new() }
    }

    fn now(&self) -> i64 {
        START_MS + self.begun.elapsed().as_millis() as i64
    }

    fn partition(&self) -> TopicPartition {
        TopicPartition::new(self.topic, 0)
    }

    async fn append(&mut self, broker: &Broker) {
        let time = self.now();
        let mut builder = BatchBuilder::new();
        builder.push(time, None, Some(&vec![7; LEN]), []);
        let appended = broker.producer().append(vec![append(self.topic, 0, builder.build())], PATIENCE).await;
        let offset = appended[0].as_ref().expect("stored").base_offset;
        assert_eq!(offset, self.times.len() as i64);
        self.times.push(time);
    }

    async fn log_start(&self, broker: &Broker) -> i64 {
        broker.list_offsets(self.partition(), OffsetSpec::Earliest).await.expect("listed").offset
    }

    /// Nothing younger than `ms` is gone, and nothing is there that is older by more than `late` than that.
    async fn check(&self, broker: &Broker, ms: i64, late: Duration) {
        let now = self.now();
        let log_start = self.log_start(broker).await as usize;
        let (gone, there) = self.times.split_at(log_start);
        assert!(gone.iter().all(|time| now - time > ms), "{gone:?} are gone at {now}");
        let oldest = now - ms - late.as_millis() as i64;
        assert!(there.iter().all(|time| *time >= oldest), "{there:?} are still there at {now}");
        let read = read_all(broker, self.topic, 0, log_start as i64).await;
        assert_eq!(read.len(), there.len());
        if log_start > 0 {
            let error = broker.fetch(fetch_of(self.topic, 0, 0)).await.remove(0).expect_err("it is gone");
            assert!(matches!(error, FetchError::OutOfRange { .. }), "{error}");
        }
    }
}

/// A node with the clock of `begun`.
async fn open_on(store: &Arc<Slow>, clock: &Env, node: u64, background: Background) -> Broker {
    let env = Env { clock: clock.clock.clone(), entropy: env(node).entropy };
    let config = BrokerConfig { background, ..config() };
    Broker::open(store.clone(), env, config).await.expect("the broker opens")
}

fn truncations(broker: &Broker) -> f64 {
    let page = broker.render_metrics();
    let line = page.lines().find_map(|l| l.strip_prefix("lakebed_retention_truncations_total "));
    line.expect("it is counted").parse().expect("a number")
}

#[tokio::test(start_paused = true)]
async fn records_go_when_they_are_older_than_the_retention_and_no_sooner() {
    let merging = Background { merging: true, collecting: true, page_entries: 4, ..Background::default() };
    // Entries hold one batch, or merged ones three; pages four such entries.
    for (background, late) in [(Background::default(), 2 * MINUTE), (merging, 12 * MINUTE)] {
        let (begun, clock, store) = (Instant::now(), env(0), bucket());
        let broker = open_on(&store, &clock, 1, background.clone()).await;
        let retained = topic(&broker, "retained", 1, &[("retention.ms", "3600000")]).await;
        let kept = topic(&broker, "kept", 1, &[]).await;
        let (mut retained, mut kept) = (Ledger::new(begun, retained.id), Ledger::new(begun, kept.id));
        let mut pages = 0;
        for _ in 0..200 {
            retained.append(&broker).await;
            kept.append(&broker).await;
            tokio::time::sleep(MINUTE / 2).await;
            retained.check(&broker, 3_600_000, late).await;
            pages = pages.max(broker.manifest().read(|s| s.partition(retained.partition()).unwrap().pages().len()));
        }
        assert_eq!(pages > 0, background.merging, "{pages} pages");
        assert!(retained.log_start(&broker).await > 20 && truncations(&broker) > 5.0);
        // Log time stands still while nobody writes.
        tokio::time::sleep(75 * MINUTE).await;
        assert_eq!(retained.log_start(&broker).await, 200, "all of it is old");
        assert_eq!(kept.log_start(&broker).await, 0);
        assert_eq!(read_all(&broker, kept.topic, 0, 0).await.len(), 200);
        // Offsets go on where they were.
        retained.append(&broker).await;
        retained.check(&broker, 3_600_000, late).await;
        broker.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_oldest_records_go_while_enough_is_left() {
    const KEPT: u64 = 3_000_000;
    let (begun, clock, store) = (Instant::now(), env(0), bucket());
    let broker = open_on(&store, &clock, 1, Background::default()).await;
    let t = topic(&broker, "t", 1, &[]).await;
    let mut ledger = Ledger::new(begun, t.id);
    for _ in 0..20 {
        ledger.append(&broker).await;
    }
    tokio::time::sleep(5 * MINUTE).await;
    assert_eq!(ledger.log_start(&broker).await, 0);
    // The config of a topic that exists takes effect.
    let set = vec![ConfigEntry { name: "retention.bytes".into(), value: KEPT.to_string() }];
    broker.alter_topic_configs(t.id, ConfigChange { set, ..ConfigChange::default() }).await.expect("altered");
    for appended in 20..30u64 {
        tokio::time::sleep(2 * MINUTE).await;
        let log_start = ledger.log_start(&broker).await;
        let left = appended - log_start as u64;
        let bytes = |batches: u64| batches * (LEN as u64 + 80);
        assert!(bytes(left) >= KEPT && bytes(left) < KEPT + bytes(1), "{left} batches");
        assert_eq!(read_all(&broker, t.id, 0, log_start).await.len() as u64, left);
        ledger.append(&broker).await;
    }
    broker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_node_left_that_stopped_another_truncates() {
    let (begun, clock, store) = (Instant::now(), env(0), bucket());
    let first = open_on(&store, &clock, 1, Background::default()).await;
    let t = topic(&first, "t", 1, &[("retention.ms", "600000")]).await;
    let mut ledger = Ledger::new(begun, t.id);
    let second = open_on(&store, &clock, 2, Background::default()).await;
    ledger.append(&first).await;
    tokio::time::sleep(5 * MINUTE).await;
    first.shutdown().await;
    // Its last commit was not the second's, so it waits longer.
    tokio::time::sleep(25 * MINUTE).await;
    assert_eq!(ledger.log_start(&second).await, 1);
    assert_eq!(truncations(&second), 1.0);
    second.shutdown().await;
}

/// PUTs and GETs of a node at rest with a record in a topic with these configs, for an hour.
async fn requests_at_rest(configs: &[(&str, &str)]) -> [u64; 2] {
    let (begun, clock, store) = (Instant::now(), env(0), bucket());
    let broker = open_on(&store, &clock, 1, Background::default()).await;
    let t = topic(&broker, "t", 1, configs).await;
    Ledger::new(begun, t.id).append(&broker).await;
    tokio::time::sleep(60 * MINUTE).await;
    broker.shutdown().await;
    [&store.puts, &store.gets].map(|count| count.load(Ordering::Relaxed))
}

#[tokio::test(start_paused = true)]
async fn while_nothing_is_due_the_store_is_asked_nothing() {
    let retained = requests_at_rest(&[("retention.ms", "86400000"), ("retention.bytes", "1000000000")]).await;
    assert_eq!(retained, requests_at_rest(&[]).await);
}
