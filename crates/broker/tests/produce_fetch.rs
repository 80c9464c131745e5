//! Producing and fetching through a whole broker, in simulated time.

mod latency;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use lakebed_broker::api::*;
use lakebed_broker::keyed::RequestKey;
use lakebed_broker::{Broker, BrokerConfig, Frame};
use lakebed_record::batch::BatchBuilder;
use lakebed_record::{Partition, TopicName, TopicPartition};
use lakebed_store::Store;
use support::*;

const MS: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(30);

fn bucket() -> Arc<Slow> {
    Slow::new(45 * MS, 25 * MS)
}

#[tokio::test(start_paused = true)]
async fn what_was_acknowledged_is_read_at_its_offset() {
    let broker = open(bucket(), 1, config()).await;
    let t = topic(&broker, "t", 2, &[]).await;
    let mut producer = broker.producer();
    let mut expected = Vec::new();
    for n in 0..20u32 {
        let values: Vec<_> = (0..=n).map(|i| format!("{n}.{i}").into_bytes()).collect();
        let results = producer.append(vec![append(t.id, 1, batch_of(&values))], PATIENCE).await;
        let appended = results[0].as_ref().expect("stored");
        assert_eq!(appended.base_offset, expected.len() as i64);
        expected.extend(values.into_iter().enumerate().map(|(i, v)| (appended.base_offset + i as i64, v)));
    }
    assert_eq!(read_all(&broker, t.id, 1, 0).await, expected);
    assert_eq!(read_all(&broker, t.id, 1, 100).await, expected[100..]);
    assert_eq!(read_all(&broker, t.id, 0, 0).await, []);
    broker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn pipelined_requests_keep_their_order_over_inline_and_segment_flushes() {
    let store = bucket();
    let broker = open(store.clone(), 1, config()).await;
    let t = topic(&broker, "t", 3, &[]).await;
    let mut producer = broker.producer();
    let mut answers = Vec::new();
    for n in 0..120u32 {
        let len = if n % 7 == 0 { 900_000 } else { 300 };
        let both = vec![append(t.id, 0, numbered(n, len)), append(t.id, 2, numbered(n, 10))];
        answers.push(producer.append(both, PATIENCE));
        tokio::time::sleep(13 * MS).await;
    }
    for (n, answer) in answers.into_iter().enumerate() {
        for result in answer.await {
            assert_eq!(result.expect("stored").base_offset, n as i64);
        }
    }
    for partition in [0, 2] {
        let records = read_all(&broker, t.id, partition, 0).await;
        let order: Vec<_> = records.iter().map(|(o, v)| (*o, u32::from_be_bytes(v[..4].try_into().unwrap()))).collect();
        assert_eq!(order, (0..120).map(|n| (i64::from(n), n)).collect::<Vec<_>>());
    }
    let keys = store.inner.keys();
    assert!(keys.iter().any(|k| k.as_str().starts_with("segments/")));
    broker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_second_node_reads_from_the_bucket_what_the_first_was_told_is_stored() {
    let store = bucket();
    let first = open(store.clone(), 1, config()).await;
    let t = topic(&first, "t", 1, &[]).await;
    let second = open(store.clone(), 2, config()).await;
    let mut producer = first.producer();
    let appends = (0..40).map(|n| append(t.id, 0, numbered(n, 40_000))).collect();
    for result in producer.append(appends, PATIENCE).await {
        result.expect("stored");
    }
    let small = producer.append(vec![append(t.id, 0, numbered(40, 100))], PATIENCE).await;
    assert_eq!(small[0].as_ref().expect("stored").base_offset, 40);
    // Latest passes a read barrier, so the second node has caught up.
    let tp = TopicPartition { topic: t.id, partition: Partition(0) };
    let latest = second.list_offsets(tp, OffsetSpec::Latest).await.expect("listed");
    assert_eq!(latest.offset, 41);
    let gets = store.gets.load(Ordering::Relaxed);
    let records = read_all(&second, t.id, 0, 0).await;
    assert_eq!(records.len(), 41);
    assert!(store.gets.load(Ordering::Relaxed) > gets);
    assert_eq!(records, read_all(&first, t.id, 0, 0).await);
    first.shutdown().await;
    second.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_wakes_when_records_come() {
    let broker = open(bucket(), 1, config()).await;
    let t = topic(&broker, "t", 1, &[]).await;
    let start = tokio::time::Instant::now();
    let poll = FetchRequest { max_wait: 500 * MS, ..fetch_of(t.id, 0, 0) };
    let empty = broker.fetch(poll.clone()).await.pop().unwrap().expect("fetched");
    assert_eq!((empty.records_len, start.elapsed().as_millis()), (0, 500));
    let reader = broker.clone();
    let waiting = tokio::spawn(async move { reader.fetch(poll).await });
    tokio::time::sleep(200 * MS).await;
    let start = tokio::time::Instant::now();
    broker.producer().append(vec![append(t.id, 0, numbered(1, 10))], PATIENCE).await[0].as_ref().expect("stored");
    let fetched = waiting.await.unwrap().pop().unwrap().expect("fetched");
    assert_eq!(decode(&fetched).len(), 1);
    assert!(start.elapsed() < 60 * MS, "one PUT later: {:?}", start.elapsed());
    broker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn limits_are_kept_but_the_first_batch_always_comes() {
    let broker = open(bucket(), 1, config()).await;
    let t = topic(&broker, "t", 3, &[]).await;
    let mut producer = broker.producer();
    let appends = (0..30).map(|n| append(t.id, n % 3, numbered(n as u32, 50_000))).collect();
    producer.append(appends, PATIENCE).await.into_iter().for_each(|r| assert!(r.is_ok()));
    let partition = |p, max_bytes| FetchPartition { topic: t.id, partition: Partition(p), offset: 0, max_bytes };
    let lens = async |partitions, max_bytes| {
        let request = FetchRequest { partitions, max_bytes, min_bytes: 1, max_wait: Duration::ZERO };
        let answers = broker.fetch(request).await;
        answers.into_iter().map(|a| a.expect("fetched").records_len / 50_000).collect::<Vec<_>>()
    };
    assert_eq!(lens(vec![partition(0, 10), partition(1, 10)], 1 << 20).await, [1, 0]);
    assert_eq!(lens(vec![partition(0, 120_000), partition(1, 220_000)], 1 << 20).await, [2, 4]);
    assert_eq!(
        lens(vec![partition(0, 1 << 20), partition(1, 1 << 20), partition(2, 1 << 20)], 560_000).await,
        [10, 1, 0]
    );
    assert_eq!(lens(vec![partition(0, 1 << 20)], 0).await, [1]);
    broker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn offsets_out_of_range_and_unknown_partitions_are_told_after_a_barrier() {
    let broker = open(bucket(), 1, config()).await;
    let t = topic(&broker, "t", 1, &[]).await;
    let one = async |request: FetchRequest| broker.fetch(request).await.pop().unwrap();
    assert!(matches!(
        one(fetch_of(t.id, 0, 1)).await,
        Err(FetchError::OutOfRange { offset: 1, high_watermark: 0, .. })
    ));
    assert!(matches!(one(fetch_of(t.id, 0, -1)).await, Err(FetchError::OutOfRange { .. })));
    assert!(matches!(one(fetch_of(t.id, 1, 0)).await, Err(FetchError::UnknownPartition)));
    let unknown = broker.producer().append(vec![append(t.id, 1, numbered(1, 1))], PATIENCE).await;
    assert_eq!(unknown, [Err(AppendError::UnknownPartition)]);
    broker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn offsets_by_time() {
    let broker = open(bucket(), 1, config()).await;
    let t = topic(&broker, "t", 1, &[]).await;
    let mut producer = broker.producer();
    for n in 0..5i64 {
        let mut batch = BatchBuilder::new();
        (0..10).for_each(|i| batch.push(START_MS + n * 100 + i * 10, None, Some(b"v"), []));
        producer.append(vec![append(t.id, 0, batch.build())], PATIENCE).await[0].as_ref().expect("stored");
    }
    let tp = TopicPartition { topic: t.id, partition: Partition(0) };
    let at = async |ms| broker.list_offsets(tp, OffsetSpec::AtTime(ms)).await.expect("listed");
    assert_eq!(at(0).await, ListedOffset { offset: 0, timestamp: START_MS });
    assert_eq!(at(START_MS + 234).await, ListedOffset { offset: 24, timestamp: START_MS + 240 });
    assert_eq!(at(START_MS + 490).await, ListedOffset { offset: 49, timestamp: START_MS + 490 });
    assert_eq!(at(START_MS + 491).await, ListedOffset { offset: -1, timestamp: -1 });
    assert_eq!(broker.list_offsets(tp, OffsetSpec::Earliest).await.expect("listed").offset, 0);
    broker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn idempotent_duplicates_get_the_original_offset() {
    let broker = open(bucket(), 1, config()).await;
    let t = topic(&broker, "t", 1, &[]).await;
    let identity = broker.init_producer_id().await.expect("granted");
    let batch = |sequence| {
        let mut b = BatchBuilder::new().producer(identity.id, identity.epoch, sequence);
        b.push(START_MS, None, Some(b"v"), []);
        append(t.id, 0, b.build())
    };
    let mut producer = broker.producer();
    let first = producer.append(vec![batch(0), batch(1)], PATIENCE).await;
    let again = broker.producer().append(vec![batch(1), batch(0), batch(2), batch(9)], PATIENCE).await;
    let offsets: Vec<_> = again.iter().map(|r| r.as_ref().map(|a| a.base_offset)).collect();
    assert_eq!(first[1].as_ref().map(|a| a.base_offset), Ok(1));
    assert_eq!(offsets, [Ok(1), Ok(0), Ok(2), Err(&AppendError::OutOfOrderSequence)]);
    assert_eq!(read_all(&broker, t.id, 0, 0).await.len(), 3);
    broker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_key_names_is_stored_once_by_any_node_and_only_for_keys() {
    let store = bucket();
    let (first, second) = (open(store.clone(), 1, config()).await, open(store, 2, config()).await);
    let t = topic(&first, "t", 1, &[]).await;
    let batch = |key: &str, value: &[u8]| {
        let mut keyed = RequestKey::new(key.as_bytes()).batch(0);
        keyed.add(Some(value));
        let identity = keyed.identity();
        let mut b = BatchBuilder::new().producer(identity.id, identity.epoch, 0);
        b.push(START_MS, None, Some(value), []);
        vec![append(t.id, 0, b.build())]
    };
    let offset = |results: Vec<Result<Appended, AppendError>>| results[0].clone().map(|a| a.base_offset);
    assert_eq!(offset(first.keyed_producer_of("").append(batch("a", b"x"), PATIENCE).await), Ok(0));
    assert_eq!(offset(first.keyed_producer_of("").append(batch("b", b"x"), PATIENCE).await), Ok(1));
    second.barrier().await.expect("the store is there");
    assert_eq!(offset(second.keyed_producer_of("").append(batch("a", b"x"), PATIENCE).await), Ok(0));
    let other = offset(second.keyed_producer_of("").append(batch("a", b"y"), PATIENCE).await);
    assert_eq!(other, Err(AppendError::InvalidProducerEpoch));
    let stranger = offset(second.producer().append(batch("c", b"x"), PATIENCE).await);
    assert_eq!(stranger, Err(AppendError::UnknownProducerId));
    assert_eq!(read_all(&second, t.id, 0, 0).await.len(), 2);
    first.shutdown().await;
    second.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn lost_replies_do_not_double_segments() {
    let store = bucket();
    let broker = open(store.clone(), 1, config()).await;
    let t = topic(&broker, "t", 1, &[]).await;
    store.faults.lock().lose_replies = ("segments/".into(), 3);
    let mut producer = broker.producer();
    let appends = (0..20).map(|n| append(t.id, 0, numbered(n, 100_000))).collect();
    producer.append(appends, PATIENCE).await.into_iter().for_each(|r| assert!(r.is_ok()));
    let segments = store.inner.keys().iter().filter(|k| k.as_str().starts_with("segments/")).count();
    assert_eq!(segments, 1);
    assert_eq!(read_all(&broker, t.id, 0, 0).await.len(), 20);
    broker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_away_requests_time_out_and_what_was_dropped_never_appears() {
    let store = bucket();
    let broker = open(store.clone(), 1, config()).await;
    let t = topic(&broker, "t", 1, &[]).await;
    store.faults.lock().away = true;
    let mut producer = broker.producer();
    // The first is large: its segment is never stored, so it never gets into a group.
    let large = producer.append((0..10).map(|n| append(t.id, 0, numbered(n, 100_000))).collect(), 5000 * MS);
    let large = large.await;
    assert!(large.iter().all(|r| *r == Err(AppendError::TimedOut)), "{large:?}");
    let small = producer.append(vec![append(t.id, 0, numbered(77, 10))], 5000 * MS).await;
    assert!(matches!(small[0], Err(AppendError::TimedOut | AppendError::TimedOutUnderWay)));
    store.faults.lock().away = false;
    let after = producer.append(vec![append(t.id, 0, numbered(99, 10))], PATIENCE).await;
    after[0].as_ref().expect("stored");
    let records = read_all(&broker, t.id, 0, 0).await;
    let numbers: Vec<_> = records.iter().map(|(_, v)| u32::from_be_bytes(v[..4].try_into().unwrap())).collect();
    assert!(numbers == [99] || numbers == [77, 99], "{numbers:?}");
    broker.shutdown().await;
}

/// A frame of so many bytes with its share of the budget.
async fn frame(broker: &Broker, len: usize) -> Frame {
    Frame { len, memory: Some(broker.memory().acquire(len).await) }
}

#[tokio::test(start_paused = true)]
async fn memory_is_given_back_with_the_bytes_and_not_with_the_answer() {
    let store = bucket();
    let broker = open(store.clone(), 1, config()).await;
    let t = topic(&broker, "t", 1, &[]).await;
    store.faults.lock().away = true;
    let mut producer = broker.producer();
    let from = frame(&broker, 100_000).await;
    let told = producer.append_from(from, vec![append(t.id, 0, numbered(1, 99_000))], 1000 * MS).await;
    assert_eq!(told, [Err(AppendError::TimedOutUnderWay)]);
    // What is not in a group is let go of, so also its memory: here a segment that cannot be stored.
    let from = frame(&broker, 3_000_000).await;
    let large = (0..3).map(|n| append(t.id, 0, numbered(n, 900_000))).collect();
    let told = producer.append_from(from, large, 1000 * MS).await;
    assert_eq!(told, [const { Err(AppendError::TimedOut) }; 3]);
    tokio::time::sleep(5000 * MS).await;
    assert_eq!(broker.memory().used(), 100_000);
    store.faults.lock().away = false;
    tokio::time::sleep(5000 * MS).await;
    assert_eq!(broker.memory().used(), 0);
    assert_eq!(read_all(&broker, t.id, 0, 0).await.len(), 1);
    broker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn refused_batches_keep_no_memory() {
    let broker = open(bucket(), 1, config()).await;
    let from = frame(&broker, 100_000).await;
    let unknown = vec![append(lakebed_record::TopicId(77), 0, numbered(1, 99_000))];
    let told = broker.producer().append_from(from, unknown, PATIENCE).await;
    assert_eq!(told, [Err(AppendError::UnknownPartition)]);
    assert_eq!(broker.memory().used(), 0);
    broker.shutdown().await;
}

/// Says when it is dropped.
struct Owned(Vec<u8>, Arc<AtomicBool>);

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.1.store(true, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn recent_records_keep_a_frame_only_if_they_are_most_of_it() {
    let broker = open(bucket(), 1, config()).await;
    let t = topic(&broker, "t", 1, &[]).await;
    for (rest, kept) in [(90_000, true), (110_000, false)] {
        let mut bytes = numbered(1, 100_000).to_vec();
        let batch = bytes.len();
        bytes.resize(batch + rest, 0);
        let (len, dropped) = (bytes.len(), Arc::new(AtomicBool::new(false)));
        let whole = Bytes::from_owner(Owned(bytes, dropped.clone()));
        let appends = vec![append(t.id, 0, whole.slice(..batch))];
        drop(whole);
        let told = broker.producer().append_from(Frame { len, memory: None }, appends, PATIENCE).await;
        assert!(told[0].is_ok());
        tokio::time::sleep(MS).await;
        assert_eq!(dropped.load(Ordering::Relaxed), !kept);
    }
    assert_eq!(read_all(&broker, t.id, 0, 0).await.len(), 2);
    broker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_away_only_so_many_changes_of_metadata_are_begun() {
    // As long as one may be, and as many of them as 4 MiB hold, with 1 KiB, the config's name and the topic's for each.
    const CONFIG: usize = 32 << 10;
    const BEGUN: usize = (4 << 20) / (CONFIG + (1 << 10) + "message.format.version".len() + "t000".len());
    let store = bucket();
    let broker = open(store.clone(), 1, config()).await;
    store.faults.lock().away = true;
    let create = |n| {
        let configs = vec![("message.format.version".to_owned(), "x".repeat(CONFIG))];
        let topic = NewTopic { name: TopicName::new(&format!("t{n:03}")).unwrap(), partitions: 1, configs };
        let broker = broker.clone();
        tokio::spawn(async move { broker.create_topic(topic, false).await.map(drop) })
    };
    let creating: Vec<_> = (0..BEGUN + 3).map(create).collect();
    for create in creating {
        let told = create.await.unwrap();
        assert!(matches!(told, Err(CreateTopicError::Unavailable(Unavailable::Timeout))), "{told:?}");
    }
    let late = create(999);
    store.faults.lock().away = false;
    late.await.unwrap().expect("created in its turn");
    let names: Vec<_> = broker.topics().iter().map(|t| t.name.as_str().to_owned()).collect();
    let begun: Vec<_> = (0..BEGUN).chain([999]).map(|n| format!("t{n:03}")).collect();
    assert_eq!(names, begun, "the others were never begun");
    broker.shutdown().await;
}

/// What is left of eight requests of 100,000 bytes, each with 40,000 of the budget, of which four may be under way.
#[derive(Debug, PartialEq)]
struct Left {
    /// When the store comes back: bytes in the queue, and of the budget.
    pending: u64,
    memory: usize,
    /// Batches, some time later.
    stored: usize,
}

/// More than may be under way: the rest waits in the queue, and nobody for it.
async fn behind_a_stuck_flush(timeout: Duration, orphaned: Duration) -> Left {
    let store = bucket();
    let broker = open(store.clone(), 1, BrokerConfig { cache_bytes: 0, memory_budget: 400_000, ..config() }).await;
    let t = topic(&broker, "t", 1, &[]).await;
    store.faults.lock().away = true;
    let mut producer = broker.producer();
    for n in 0..8 {
        let frame = Frame { len: 100_000, ..frame(&broker, 40_000).await };
        drop(producer.append_from(frame, vec![append(t.id, 0, numbered(n, 100_000))], timeout));
        tokio::time::sleep(200 * MS).await;
    }
    assert!(pending(&broker) > 400_000, "four wait");
    drop(producer);
    tokio::time::sleep(orphaned).await;
    let (pending, memory) = (pending(&broker), broker.memory().used());
    store.faults.lock().away = false;
    tokio::time::sleep(10_000 * MS).await;
    let stored = read_all(&broker, t.id, 0, 0).await.len();
    assert_eq!(broker.memory().used(), 0);
    broker.shutdown().await;
    Left { pending, memory, stored }
}

fn pending(broker: &Broker) -> u64 {
    let metrics = broker.render_metrics();
    let line = metrics.lines().find_map(|line| line.strip_prefix("lakebed_produce_pending_bytes "));
    line.expect("a gauge").parse().expect("a number")
}

#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_does_not_wait_for_ever() {
    let let_go = Left { pending: 0, memory: 4 * 40_000, stored: 4 };
    assert_eq!(behind_a_stuck_flush(PATIENCE, 5000 * MS).await.stored, 8);
    assert_eq!(behind_a_stuck_flush(PATIENCE, 35_000 * MS).await, let_go);
    // A client that asked for an hour, and is gone.
    assert_eq!(behind_a_stuck_flush(120 * PATIENCE, 50_000 * MS).await.stored, 8);
    assert_eq!(behind_a_stuck_flush(120 * PATIENCE, 70_000 * MS).await, let_go);
}

#[tokio::test(start_paused = true)]
async fn missing_and_damaged_objects_are_errors_and_come_back() {
    let store = bucket();
    let writer = open(store.clone(), 1, config()).await;
    let t = topic(&writer, "t", 1, &[]).await;
    let appends = (0..20).map(|n| append(t.id, 0, numbered(n, 100_000))).collect();
    writer.producer().append(appends, PATIENCE).await.into_iter().for_each(|r| assert!(r.is_ok()));
    let reader = open(store.clone(), 2, config()).await;
    let one = async || reader.fetch(fetch_of(t.id, 0, 0)).await.pop().unwrap();
    store.faults.lock().hide_segments = true;
    assert!(matches!(one().await, Err(FetchError::Storage(_))));
    assert!(reader.render_metrics().contains("alarm=\"DataMissing\"} 1"));
    store.faults.lock().hide_segments = false;
    store.faults.lock().damage_segments = true;
    // The damage is in the middle: what lies before it is good, the rest is an error.
    let before = decode(&one().await.expect("fetched"));
    assert!((1..10).contains(&before.len()), "{}", before.len());
    assert!(reader.render_metrics().contains("alarm=\"DataCorrupt\"} 1"));
    let damaged = reader.fetch(fetch_of(t.id, 0, before.len() as i64)).await.pop().unwrap();
    assert!(matches!(damaged, Err(FetchError::Storage(_))));
    store.faults.lock().damage_segments = false;
    assert_eq!(read_all(&reader, t.id, 0, 0).await.len(), 20);
    writer.shutdown().await;
    reader.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_read_that_fails_is_tried_again_before_a_client_hears_of_it() {
    let store = bucket();
    let writer = open(store.clone(), 1, config()).await;
    let t = topic(&writer, "t", 1, &[]).await;
    writer.producer().append(vec![append(t.id, 0, numbered(1, 900_000))], PATIENCE).await[0].as_ref().expect("stored");
    let reader = open(store.clone(), 2, config()).await;
    store.faults.lock().fail_gets = 3;
    let fetched = reader.fetch(fetch_of(t.id, 0, 0)).await.pop().expect("one partition, one answer");
    assert_eq!(decode(&fetched.expect("the fourth read succeeds")).len(), 1);
    assert_eq!(store.faults.lock().fail_gets, 0);
    writer.shutdown().await;
    reader.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn log_append_time_is_stamped() {
    let broker = open(bucket(), 1, config()).await;
    let t = topic(&broker, "t", 1, &[("message.timestamp.type", "LogAppendTime")]).await;
    let results = broker.producer().append(vec![append(t.id, 0, numbered(1, 10))], PATIENCE).await;
    let stamped = results[0].as_ref().expect("stored").log_append_time;
    assert!(stamped >= START_MS);
    let tp = TopicPartition { topic: t.id, partition: Partition(0) };
    let listed = broker.list_offsets(tp, OffsetSpec::AtTime(stamped)).await.expect("listed");
    assert_eq!(listed, ListedOffset { offset: 0, timestamp: stamped });
    broker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn shutdown_stores_and_answers_what_was_taken() {
    let store = bucket();
    let broker = open(store.clone(), 1, config()).await;
    let t = topic(&broker, "t", 1, &[]).await;
    let mut producer = broker.producer();
    let answers: Vec<_> = (0..5).map(|n| producer.append(vec![append(t.id, 0, numbered(n, 10))], PATIENCE)).collect();
    broker.shutdown().await;
    for answer in answers {
        answer.await[0].as_ref().expect("stored");
    }
    let late = producer.append(vec![append(t.id, 0, numbered(9, 10))], PATIENCE).await;
    assert_eq!(late, [Err(AppendError::Stopping)]);
    let store: Arc<dyn Store> = store;
    let next = open(store, 2, config()).await;
    assert_eq!(read_all(&next, t.id, 0, 0).await.len(), 5);
    next.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn topics_are_created_once_and_deleted() {
    let store = bucket();
    let broker = open(store.clone(), 1, config()).await;
    let other = open(store, 2, config()).await;
    let t = topic(&broker, "t", 4, &[("max.message.bytes", "1000")]).await;
    let seen = other.topic_by_name(&t.name).await.expect("answered").expect("known");
    assert_eq!((seen.id, seen.partitions, seen.config.max_message_bytes), (t.id, 4, 1000));
    let again = NewTopic { name: t.name.clone(), partitions: 1, configs: Vec::new() };
    assert!(matches!(other.create_topic(again.clone(), false).await, Err(CreateTopicError::Exists)));
    let too_large = broker.producer().append(vec![append(t.id, 0, numbered(1, 2000))], PATIENCE).await;
    assert!(matches!(too_large[0], Err(AppendError::TooLarge(_, 1000))));
    other.delete_topic(t.id).await.expect("deleted");
    assert!(matches!(other.delete_topic(t.id).await, Err(TopicError::Unknown)));
    // A node that lags may still find it, but decides nothing by that.
    assert!(broker.topic_by_name(&t.name).await.expect("answered").is_some());
    broker.create_topic(again, false).await.expect("the name is free");
    let new = other.current_topic_by_name(&t.name).await.expect("answered").expect("known");
    assert_ne!(new.id, t.id);
    broker.shutdown().await;
    other.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_old_records_does_not_wait_for_every_object() {
    let store = bucket();
    let writer = open(store.clone(), 1, config()).await;
    let t = topic(&writer, "t", 1, &[]).await;
    let mut producer = writer.producer();
    for round in 0..4 {
        let appends = (0..8).map(|n| append(t.id, 0, numbered(round * 8 + n, 1_000_000))).collect();
        producer.append(appends, PATIENCE).await.into_iter().for_each(|r| assert!(r.is_ok()));
    }
    let reader = open(store.clone(), 2, config()).await;
    let (start, gets) = (tokio::time::Instant::now(), store.gets.load(Ordering::Relaxed));
    assert_eq!(read_all(&reader, t.id, 0, 0).await.len(), 32);
    // One GET of 25 ms per MB, but several at once; nothing is read twice.
    assert!(start.elapsed() < 300 * MS, "{:?}", start.elapsed());
    let gets = store.gets.load(Ordering::Relaxed) - gets;
    assert!((32..40).contains(&gets), "{gets}");
    writer.shutdown().await;
    reader.shutdown().await;
}

/// A segment of node 1 arrives after its fence has passed, because node 2 advanced log time meanwhile. `later`: whether
/// the same connection has sent more by then. Returns what both requests were told, and the records' numbers.
async fn late_segment(later: bool) -> (Vec<Result<Appended, AppendError>>, Vec<u32>) {
    const MINUTE: Duration = Duration::from_secs(60);
    let store = bucket();
    let first = open(store.clone(), 1, config()).await;
    let second = open(store.clone(), 2, config()).await;
    let t = topic(&first, "t", 2, &[]).await;
    store.faults.lock().late_segment = Some(11 * MINUTE);
    let mut producer = first.producer();
    let large = producer.append(vec![append(t.id, 0, numbered(1, 900_000))], 30 * MINUTE);
    tokio::time::sleep(MINUTE).await;
    let small = later.then(|| producer.append(vec![append(t.id, 0, numbered(2, 10))], 30 * MINUTE));
    let mut other = second.producer();
    second.topic_by_id(t.id).await.expect("answered").expect("known");
    for n in 0..11 {
        tokio::time::sleep(MINUTE).await;
        assert!(other.append(vec![append(t.id, 1, numbered(n, 10))], MINUTE).await[0].is_ok());
    }
    let mut told = large.await;
    if let Some(small) = small {
        told.extend(small.await);
    }
    let records = read_all(&first, t.id, 0, 0).await;
    first.shutdown().await;
    second.shutdown().await;
    (told, records.iter().map(|(_, v)| u32::from_be_bytes(v[..4].try_into().unwrap())).collect())
}

#[tokio::test(start_paused = true)]
async fn a_segment_whose_fence_has_passed_is_uploaded_anew() {
    let (told, records) = late_segment(false).await;
    assert!(told[0].is_ok(), "{told:?}");
    assert_eq!(records, [1]);
}

#[tokio::test(start_paused = true)]
async fn but_not_once_its_connection_has_sent_more() {
    let (told, records) = late_segment(true).await;
    assert_eq!(told[0], Err(AppendError::TimedOut));
    assert!(told[1].is_ok(), "{told:?}");
    assert_eq!(records, [2]);
}
