//! Merging, index pages and deleting through whole brokers, in simulated time: what is read stays the same, byte for byte.

mod retention;
mod support;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lakebed_broker::api::*;
use lakebed_broker::{Background, Broker, BrokerConfig};
use lakebed_record::batch::BatchBuilder;
use lakebed_record::keys::{self, Key};
use lakebed_record::ops::{OpKind, Truncate};
use lakebed_record::{Incarnation, LogTime, Partition, SegmentName, TopicId, TopicPartition};
use lakebed_store::env::Env;
use lakebed_store::{Body, BoxFuture, Created, Object, ReadError, Reply, Store};
use parking_lot::Mutex;
use support::*;

const MS: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(30);

fn bucket() -> Arc<Slow> {
    Slow::new(45 * MS, 25 * MS)
}

/// Reads everything from the store.
fn forgetful(background: Background) -> BrokerConfig {
    BrokerConfig { cache_bytes: 1, background, ..config() }
}

fn merging() -> Background {
    Background { merging: true, ..Background::default() }
}

fn all_on() -> Background {
    Background { merging: true, collecting: true, ..Background::default() }
}

/// Batches of many sizes for three partitions, over some minutes.
async fn produce(broker: &Broker, topic: TopicId, numbers: Range<u32>) {
    let mut producer = broker.producer();
    for n in numbers {
        let len = [50, 700, 60_000, 400_000][n as usize % 4];
        let both = vec![append(topic, (n % 3) as i32, numbered(n, len)), append(topic, 2, numbered(n, 10))];
        for result in producer.append(both, PATIENCE).await {
            result.expect("stored");
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

async fn read_everything(broker: &Broker, topic: TopicId) -> Vec<Vec<(i64, Vec<u8>)>> {
    let mut all = Vec::new();
    for partition in 0..3 {
        all.push(read_all(broker, topic, partition, 0).await);
    }
    all
}

/// A node that starts long after the first one, with the same clock.
async fn open_later(store: &Arc<Slow>, clock: &Env, node: u64) -> Broker {
    let env = Env { clock: clock.clock.clone(), entropy: env(node).entropy };
    Broker::open(store.clone(), env, forgetful(Background::default())).await.expect("the broker opens")
}

fn segments(store: &Slow) -> Vec<SegmentName> {
    let names = store.inner.keys();
    let parsed = names.iter().filter_map(keys::parse);
    parsed.filter_map(|name| if let keys::Name::Segment(segment) = name { Some(segment) } else { None }).collect()
}

fn entries(broker: &Broker) -> usize {
    broker.manifest().read(|s| s.entry_count())
}

fn metric(broker: &Broker, name: &str) -> f64 {
    let page = broker.render_metrics();
    let line = page.lines().find(|l| l.starts_with(name) && l[name.len()..].starts_with([' ', '{']));
    line.and_then(|l| l.rsplit(' ').next()?.parse().ok()).unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn merged_records_are_the_same_on_every_node_and_old_objects_go() {
    let clock = env(0);
    let store = bucket();
    let broker = open(store.clone(), 1, forgetful(all_on())).await;
    let t = topic(&broker, "t", 3, &[]).await;
    produce(&broker, t.id, 0..120).await;
    let before = read_everything(&broker, t.id).await;
    assert_eq!(before.iter().map(Vec::len).sum::<usize>(), 240);
    let (many, flushed) = (entries(&broker), segments(&store));
    assert!(flushed.iter().all(|s| !s.is_background()));
    // Readers in between see the same, whatever moves and goes meanwhile.
    for _ in 0..45 {
        tokio::time::sleep(MINUTE).await;
        assert_eq!(read_everything(&broker, t.id).await, before);
    }
    assert_eq!(broker.manifest().read(|s| s.inline_slot_count()), 0);
    assert!(entries(&broker) * 5 < many, "{} of {many}", entries(&broker));
    let left = segments(&store);
    assert!(left.iter().all(SegmentName::is_background), "{left:?}");
    assert!(!left.is_empty() && broker.manifest().read(|s| s.pending_deletes().count()) == 0);
    assert!(metric(&broker, "lakebed_deleted_objects_total") >= flushed.len() as f64);
    assert!(metric(&broker, "lakebed_merges_total") >= 1.0);
    let fresh = open_later(&store, &clock, 2).await;
    assert_eq!(read_everything(&fresh, t.id).await, before);
    assert_eq!(metric(&fresh, "lakebed_alarms_total"), 0.0);
    broker.shutdown().await;
    fresh.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn several_nodes_merge_and_collect_at_once() {
    let store = bucket();
    let brokers =
        [open(store.clone(), 1, forgetful(all_on())).await, open(store.clone(), 2, forgetful(all_on())).await];
    let t = topic(&brokers[0], "t", 3, &[]).await;
    tokio::time::sleep(6 * Duration::from_secs(1)).await;
    for round in 0..12 {
        let from = round * 20;
        tokio::join!(produce(&brokers[0], t.id, from..from + 10), produce(&brokers[1], t.id, from + 10..from + 20),);
        tokio::time::sleep(2 * MINUTE).await;
    }
    let before = read_everything(&brokers[0], t.id).await;
    assert_eq!(before.iter().map(Vec::len).sum::<usize>(), 480);
    tokio::time::sleep(40 * MINUTE).await;
    for broker in &brokers {
        assert_eq!(read_everything(broker, t.id).await, before);
        assert_eq!(broker.manifest().read(|s| s.inline_slot_count()), 0);
        assert_eq!(metric(broker, "lakebed_alarms_total"), 0.0);
    }
    brokers[0].shutdown().await;
    brokers[1].shutdown().await;
}

/// A store whose next reads of segments take as long as it is told.
struct LateReads {
    inner: Arc<Slow>,
    late: Mutex<Duration>,
}

impl lakebed_store::testing::PassThrough for LateReads {
    fn inner(&self) -> &dyn Store {
        self.inner.as_ref()
    }

    fn get<'a>(&'a self, key: &'a Key, range: Option<Range<u64>>) -> BoxFuture<'a, Reply<Result<Object, ReadError>>> {
        let late = if key.as_str().starts_with("segments/") { *self.late.lock() } else { Duration::ZERO };
        Box::pin(async move {
            tokio::time::sleep(late).await;
            self.inner().get(key, range).await
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_comes_too_late_for_an_object_finds_where_its_records_went() {
    let store = bucket();
    let late = Arc::new(LateReads { inner: store.clone(), late: Mutex::default() });
    let reader = open(late.clone(), 2, forgetful(Background::default())).await;
    let writer = open(store.clone(), 1, forgetful(all_on())).await;
    let t = topic(&writer, "t", 1, &[]).await;
    let mut producer = writer.producer();
    for n in 0..11 {
        producer.append(vec![append(t.id, 0, numbered(n, 300_000))], PATIENCE).await[0].as_ref().expect("stored");
        tokio::time::sleep(MS * 500).await;
    }
    let old = segments(&store);
    tokio::time::sleep(10 * Duration::from_secs(1)).await;
    *late.late.lock() = 60 * MINUTE;
    let mut request = fetch_of(t.id, 0, 5);
    request.partitions[0].max_bytes = 50 << 20;
    let fetching = reader.clone();
    let answer = tokio::spawn(async move { fetching.fetch(request).await });
    tokio::time::sleep(MINUTE).await;
    *late.late.lock() = Duration::ZERO;
    // They end up in one entry with some that the reader knew.
    for n in 11..15 {
        producer.append(vec![append(t.id, 0, numbered(n, 300_000))], PATIENCE).await[0].as_ref().expect("stored");
    }
    tokio::time::sleep(40 * MINUTE).await;
    let now = segments(&store);
    assert!(old.iter().all(|name| !now.contains(name)), "the old segments are gone");
    let fetched = answer.await.unwrap().pop().unwrap().expect("fetched");
    let records = decode(&fetched);
    let offsets: Vec<i64> = records.iter().map(|(o, _)| *o).collect();
    assert_eq!(offsets, (offsets[0]..offsets[0] + offsets.len() as i64).collect::<Vec<_>>());
    assert!(offsets[0] <= 5 && offsets.contains(&5), "{offsets:?}");
    assert_eq!((fetched.high_watermark, offsets.last()), (11, Some(&10)));
    assert!(records.iter().all(|(o, v)| v[..4] == (*o as u32).to_be_bytes()));
    assert_eq!(metric(&reader, "lakebed_alarms_total"), 0.0);
    reader.shutdown().await;
    writer.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_missing_twice_is_an_alarm_and_nothing_is_skipped() {
    let store = bucket();
    let broker = open(store.clone(), 1, forgetful(merging())).await;
    let t = topic(&broker, "t", 1, &[]).await;
    let mut producer = broker.producer();
    for n in 0..3 {
        producer.append(vec![append(t.id, 0, numbered(n, 300_000))], PATIENCE).await[0].as_ref().expect("stored");
    }
    store.faults.lock().hide_segments = true;
    let error = broker.fetch(fetch_of(t.id, 0, 0)).await.pop().unwrap().unwrap_err();
    assert!(matches!(&error, FetchError::Storage(why) if why.contains("missing")), "{error}");
    assert!(metric(&broker, "lakebed_alarms_total") >= 1.0);
    // Merging leaves it alone as well.
    let before = entries(&broker);
    tokio::time::sleep(30 * MINUTE).await;
    assert_eq!(entries(&broker), before);
    store.faults.lock().hide_segments = false;
    assert_eq!(read_all(&broker, t.id, 0, 0).await.len(), 3);
    broker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn damaged_batches_are_never_copied() {
    let store = bucket();
    let broker = open(store.clone(), 1, forgetful(merging())).await;
    let t = topic(&broker, "t", 1, &[]).await;
    let mut producer = broker.producer();
    for n in 0..4 {
        let len = if n == 3 { 50 } else { 300_000 };
        producer.append(vec![append(t.id, 0, numbered(n, len))], PATIENCE).await[0].as_ref().expect("stored");
        tokio::time::sleep(MS * 500).await;
    }
    store.faults.lock().damage_segments = true;
    tokio::time::sleep(30 * MINUTE).await;
    assert!(metric(&broker, "lakebed_alarms_total") >= 3.0);
    // What is not damaged went on: the inline batch behind them.
    let objects: Vec<bool> = broker.manifest().read(|s| {
        let p = s.partition(TopicPartition::new(t.id, 0)).unwrap();
        let merged = |o| matches!(o, lakebed_record::DataObject::Segment(n) if n.is_background());
        p.entries_from(0).map(|e| merged(e.object)).collect()
    });
    assert_eq!(objects, [false, false, false, true]);
    store.faults.lock().damage_segments = false;
    assert_eq!(read_all(&broker, t.id, 0, 0).await.len(), 4);
    broker.shutdown().await;
}

/// A record batch with one record at each of these times.
fn at_times(times: &[i64], len: usize) -> bytes::Bytes {
    let mut builder = BatchBuilder::new();
    times.iter().for_each(|at| builder.push(*at, None, Some(&vec![1; len]), []));
    builder.build()
}

#[tokio::test(start_paused = true)]
async fn old_entries_in_pages_are_found_by_offset_and_by_time() {
    let clock = env(0);
    let store = bucket();
    let paged = Background { page_entries: 4, ..all_on() };
    let broker = open(store.clone(), 1, forgetful(paged)).await;
    let t = topic(&broker, "t", 1, &[("message.timestamp.before.max.ms", "9223372036854775807")]).await;
    let mut producer = broker.producer();
    for n in 0..30i64 {
        let batch = at_times(&[1_000 * n, 1_000 * n + 500], 300_000);
        producer.append(vec![append(t.id, 0, batch)], PATIENCE).await[0].as_ref().expect("stored");
        tokio::time::sleep(MS * 500).await;
    }
    let before = read_all(&broker, t.id, 0, 0).await;
    assert_eq!(before.len(), 60);
    tokio::time::sleep(60 * MINUTE).await;
    let tp = TopicPartition { topic: t.id, partition: Partition(0) };
    let (pages, rest) = broker.manifest().read(|s| {
        let p = s.partition(tp).unwrap();
        (p.pages().len(), p.entry_count())
    });
    assert!(pages >= 4 && rest < 12, "{pages} pages and {rest} entries");
    assert!(metric(&broker, "lakebed_index_pages_total") >= 4.0);
    let fresh = open_later(&store, &clock, 2).await;
    for node in [&broker, &fresh] {
        assert_eq!(read_all(node, t.id, 0, 0).await, before);
        for offset in [1, 7, 8, 17, 33, 58, 59] {
            let from = read_all(node, t.id, 0, offset).await;
            assert_eq!(from, before[offset as usize..], "from {offset}");
        }
        for (time, offset) in [(-5, 0), (0, 0), (1, 1), (500, 1), (501, 2), (12_000, 24), (12_400, 25), (29_500, 59)] {
            let listed = node.list_offsets(tp, OffsetSpec::AtTime(time)).await.expect("listed");
            assert_eq!(listed.offset, offset, "at {time}");
        }
        assert_eq!(node.list_offsets(tp, OffsetSpec::AtTime(29_501)).await.unwrap().offset, -1);
    }
    // Truncated in the middle of a batch in a page: what comes before is found no more, by time as by offset.
    let truncate = Truncate { topic_id: t.id.0.to_be_bytes().to_vec(), partition: 0, log_start: 11 };
    broker.manifest().submit(vec![OpKind::Truncate(truncate).into()], Vec::new()).await.expect("truncated");
    assert_eq!(broker.list_offsets(tp, OffsetSpec::AtTime(0)).await.unwrap().offset, 11);
    assert_eq!(broker.list_offsets(tp, OffsetSpec::AtTime(5_501)).await.unwrap().offset, 12);
    assert_eq!(read_all(&broker, t.id, 0, 11).await, before[11..]);
    let error = broker.fetch(fetch_of(t.id, 0, 10)).await.pop().unwrap().unwrap_err();
    assert!(matches!(error, FetchError::OutOfRange { log_start_offset: 11, .. }));
    // A page that is missing is an alarm, as records are.
    store.faults.lock().hide_segments = true;
    let third = open_later(&store, &clock, 3).await;
    let error = third.fetch(fetch_of(t.id, 0, 20)).await.pop().unwrap().unwrap_err();
    assert!(matches!(&error, FetchError::Storage(why) if why.contains("index page")), "{error}");
    assert!(metric(&third, "lakebed_alarms_total") >= 1.0);
    third.shutdown().await;
    fresh.shutdown().await;
    broker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn orphans_go_when_they_cannot_be_named_any_more_and_nothing_else_does() {
    let store = bucket();
    let broker = open(store.clone(), 1, forgetful(all_on())).await;
    let t = topic(&broker, "t", 3, &[]).await;
    produce(&broker, t.id, 0..20).await;
    let before = read_everything(&broker, t.id).await;
    let name = |fence, number| SegmentName { fence: LogTime(fence), node: Incarnation(77), number };
    let orphans = [name(START_MS, 1), name(START_MS + 60_000, SegmentName::BACKGROUND | 2)];
    let early = name(START_MS + 90 * 60_000, 3);
    let put = |key: Key| {
        let store = store.clone();
        async move {
            let body = Body::new(vec![bytes::Bytes::from_static(b"x")]);
            assert!(matches!(store.inner.create(&key, &body).await.value, Created::Yes));
        }
    };
    for orphan in orphans.iter().chain([&early]) {
        put(keys::segment(orphan)).await;
    }
    let foreign = [Key::new("segments/ab/hello"), Key::new("segments/notes.txt"), Key::new("other/1")];
    for key in &foreign {
        put(key.clone()).await;
    }
    tokio::time::sleep(70 * MINUTE).await;
    let keys = store.inner.keys();
    assert!(orphans.iter().all(|o| !keys.contains(&keys::segment(o))));
    assert!(foreign.iter().chain([&keys::segment(&early)]).all(|k| keys.contains(k)));
    assert_eq!(read_everything(&broker, t.id).await, before);
    broker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn flushes_slow_down_while_too_much_waits_to_be_merged() {
    // Nothing is old enough for merging to help.
    let stuck =
        Background { merge_age: 100 * 60 * MINUTE, most_unmerged: Some(20), poll: Duration::from_secs(1), ..merging() };
    let store = bucket();
    let broker = open(store.clone(), 1, BrokerConfig { background: stuck, ..config() }).await;
    let t = topic(&broker, "t", 3, &[]).await;
    let mut took = Vec::new();
    for n in 0..3u32 {
        let puts = store.puts.load(Ordering::Relaxed);
        let start = tokio::time::Instant::now();
        let mut producer = broker.producer();
        for i in 0..30 {
            producer.append(vec![append(t.id, 0, numbered(n * 30 + i, 10))], PATIENCE).await[0]
                .as_ref()
                .expect("stored");
        }
        took.push(start.elapsed());
        assert!(store.puts.load(Ordering::Relaxed) >= puts + 30);
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    assert!(took[2] > 2 * took[0] && took[2] >= Duration::from_secs(15), "{took:?}");
    assert!(metric(&broker, "lakebed_flush_slowdown_ms") >= 500.0);
    broker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn what_little_is_left_of_a_segment_moves_and_the_segment_goes() {
    let store = bucket();
    let background = Background { orphans_every: 30 * MINUTE, ..all_on() };
    let broker = open(store.clone(), 1, forgetful(background)).await;
    let (large, small) = (topic(&broker, "large", 1, &[]).await, topic(&broker, "small", 1, &[]).await);
    let mut producer = broker.producer();
    for n in 0..10 {
        let both = vec![append(large.id, 0, numbered(n, 300_000)), append(small.id, 0, numbered(n, 100))];
        for result in producer.append(both, PATIENCE).await {
            result.expect("stored");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let before = read_all(&broker, small.id, 0, 0).await;
    tokio::time::sleep(40 * MINUTE).await;
    let merged = segments(&store);
    assert!(merged.len() == 1 && merged[0].is_background(), "{merged:?}");
    broker.delete_topic(large.id).await.expect("deleted");
    tokio::time::sleep(90 * MINUTE).await;
    let left = segments(&store);
    assert!(left.len() == 1 && left != merged, "{left:?}");
    let len = store.inner.head(&keys::segment(&left[0])).await.value.expect("it is there").total_len;
    assert!(len < 10 * 300, "{len} bytes");
    assert_eq!(read_all(&broker, small.id, 0, 0).await, before);
    assert_eq!(metric(&broker, "lakebed_alarms_total"), 0.0);
    broker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn an_output_whose_inputs_are_gone_is_deleted_by_its_maker() {
    let store = bucket();
    let broker = open(store.clone(), 1, forgetful(merging())).await;
    let t = topic(&broker, "t", 1, &[]).await;
    let mut producer = broker.producer();
    for n in 0..5 {
        producer.append(vec![append(t.id, 0, numbered(n, 100))], PATIENCE).await[0].as_ref().expect("stored");
    }
    store.faults.lock().late_segment = Some(5 * MINUTE);
    tokio::time::sleep(16 * MINUTE + Duration::from_secs(30)).await;
    assert!(store.faults.lock().late_segment.is_none(), "a merge is under way");
    broker.delete_topic(t.id).await.expect("deleted");
    tokio::time::sleep(8 * MINUTE).await;
    let page = broker.render_metrics();
    assert!(page.contains("lakebed_merges_total{outcome=\"InputGone\"} 1"), "{page}");
    assert_eq!(segments(&store), []);
    broker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_deleted_topic_takes_only_its_own_part_out_of_a_merge() {
    let store = bucket();
    let broker = open(store.clone(), 1, forgetful(merging())).await;
    let (kept, deleted) = (topic(&broker, "kept", 1, &[]).await, topic(&broker, "deleted", 1, &[]).await);
    let mut producer = broker.producer();
    for n in 0..5 {
        let both = vec![append(kept.id, 0, numbered(n, 5_000)), append(deleted.id, 0, numbered(n, 100))];
        for result in producer.append(both, PATIENCE).await {
            result.expect("stored");
        }
    }
    let before = read_all(&broker, kept.id, 0, 0).await;
    store.faults.lock().late_segment = Some(5 * MINUTE);
    tokio::time::sleep(16 * MINUTE + Duration::from_secs(30)).await;
    assert!(store.faults.lock().late_segment.is_none(), "a merge is under way");
    broker.delete_topic(deleted.id).await.expect("deleted");
    tokio::time::sleep(8 * MINUTE).await;
    assert_eq!((entries(&broker), segments(&store).len()), (1, 1));
    assert!(!broker.render_metrics().contains("InputGone"));
    assert_eq!(read_all(&broker, kept.id, 0, 0).await, before);
    broker.shutdown().await;
}
