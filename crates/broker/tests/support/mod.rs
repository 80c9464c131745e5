//! A broker on a bucket in memory under simulated time, and batches to feed it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use lakebed_broker::api::*;
use lakebed_broker::{Broker, BrokerConfig};
use lakebed_record::batch::{self, BatchBuilder, Limits};
use lakebed_record::keys::Key;
use lakebed_record::{TopicId, TopicName};
use lakebed_store::env::{Clock, Entropy, Env};
use lakebed_store::memory::MemoryStore;
use lakebed_store::{Body, BoxFuture, Created, Fault, FaultKind, Meta, Object, ReadError, Reply, Store};
use parking_lot::Mutex;
use tokio::time::Instant;

pub const START_MS: i64 = 1_700_000_000_000;

struct TokioClock(Instant);

impl Clock for TokioClock {
    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    fn wall_ms(&self) -> i64 {
        START_MS + self.0.elapsed().as_millis() as i64
    }

    fn sleep<'a>(&'a self, how_long: Duration) -> BoxFuture<'a, ()> {
        Box::pin(tokio::time::sleep(how_long))
    }
}

struct Counting(AtomicU64);

impl Entropy for Counting {
    fn u64(&self) -> u64 {
        self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
    }
}

/// `node`: different nodes draw different numbers.
pub fn env(node: u64) -> Env {
    let clock = TokioClock(Instant::now());
    Env { clock: Arc::new(clock), entropy: Arc::new(Counting(AtomicU64::new(0x5151 + node))) }
}

pub fn config() -> BrokerConfig {
    BrokerConfig::new("localhost", 9092, 256 << 20)
}

pub async fn open(store: Arc<dyn Store>, node: u64, config: BrokerConfig) -> Broker {
    Broker::open(store, env(node), config).await.expect("the broker opens")
}

pub async fn topic(broker: &Broker, name: &str, partitions: i32, configs: &[(&str, &str)]) -> TopicInfo {
    let configs = configs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let name = TopicName::new(name).expect("a topic name");
    broker.create_topic(NewTopic { name, partitions, configs }, false).await.expect("the topic is created")
}

/// A batch of one record per value.
pub fn batch_of(values: &[Vec<u8>]) -> Bytes {
    let mut builder = BatchBuilder::new();
    values.iter().for_each(|v| builder.push(START_MS, None, Some(v), []));
    builder.build()
}

/// A batch of one record of so many bytes, whose first four tell it apart.
pub fn numbered(n: u32, len: usize) -> Bytes {
    let mut value = vec![0; len.max(4)];
    value[..4].copy_from_slice(&n.to_be_bytes());
    batch_of(&[value])
}

pub fn append(topic: TopicId, partition: i32, batch: Bytes) -> Append {
    Append { topic, partition: lakebed_record::Partition(partition), batch }
}

pub fn fetch_of(topic: TopicId, partition: i32, offset: i64) -> FetchRequest {
    let partition = lakebed_record::Partition(partition);
    FetchRequest {
        partitions: vec![FetchPartition { topic, partition, offset, max_bytes: 1 << 20 }],
        min_bytes: 1,
        max_bytes: 50 << 20,
        max_wait: Duration::ZERO,
    }
}

/// (offset, value) of every record, from `offset` to the end.
pub async fn read_all(broker: &Broker, topic: TopicId, partition: i32, offset: i64) -> Vec<(i64, Vec<u8>)> {
    let mut records = Vec::new();
    let mut next = offset;
    loop {
        let mut answers = broker.fetch(fetch_of(topic, partition, next)).await;
        let fetched = answers.pop().expect("one partition, one answer").expect("the fetch succeeds");
        let got = decode(&fetched);
        if got.is_empty() {
            assert_eq!(next, fetched.high_watermark);
            return records;
        }
        next = got.last().expect("not empty").0 + 1;
        records.extend(got.into_iter().filter(|(o, _)| *o >= offset));
    }
}

pub fn decode(fetched: &Fetched) -> Vec<(i64, Vec<u8>)> {
    let mut all = BytesMut::new();
    fetched.records.iter().for_each(|piece| all.extend_from_slice(piece));
    assert_eq!(all.len(), fetched.records_len);
    let mut records = Vec::new();
    for batch in batch::batches(&all) {
        let (header, bytes) = batch.expect("whole batches");
        assert_eq!(header.leader_epoch, 0);
        let set = batch::records(bytes, Limits::default()).expect("readable records");
        batch::validate(bytes, Limits::default()).expect("a valid batch");
        records.extend(set.iter().map(|r| {
            let r = r.expect("a readable record");
            (header.base_offset + i64::from(r.offset_delta), r.value.unwrap_or_default().to_vec())
        }));
    }
    records
}

/// A store that takes its time and can be told to fail.
pub struct Slow {
    pub inner: MemoryStore,
    pub put: Duration,
    pub get: Duration,
    pub faults: Mutex<Faults>,
    pub puts: AtomicU64,
    pub gets: AtomicU64,
}

#[derive(Default)]
pub struct Faults {
    /// Everything fails.
    pub away: bool,
    /// Creates of keys that start so fail this many times more, although they happen.
    pub lose_replies: (String, u32),
    /// The next segment takes so much longer to get there.
    pub late_segment: Option<Duration>,
    /// Segments are not found.
    pub hide_segments: bool,
    /// So many ranged reads fail as timed out.
    pub fail_gets: u32,
    /// A byte of what is read from segments is wrong.
    pub damage_segments: bool,
}

impl Slow {
    pub fn new(put: Duration, get: Duration) -> Arc<Slow> {
        let faults = Mutex::default();
        let inner = MemoryStore::new(&env(0));
        Arc::new(Slow { inner, put, get, faults, puts: AtomicU64::new(0), gets: AtomicU64::new(0) })
    }

    fn fails_get(&self) -> bool {
        let left = &mut self.faults.lock().fail_gets;
        let fails = *left > 0;
        *left = left.saturating_sub(1);
        fails
    }

    fn away(&self) -> Option<Fault> {
        let fault = Fault { kind: FaultKind::Timeout, message: "away".into() };
        self.faults.lock().away.then_some(fault)
    }
}

impl lakebed_store::testing::PassThrough for Slow {
    fn inner(&self) -> &dyn Store {
        &self.inner
    }

    fn create<'a>(&'a self, key: &'a Key, body: &'a Body) -> BoxFuture<'a, Reply<Created>> {
        Box::pin(async move {
            self.puts.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(self.put).await;
            if let Some(fault) = self.away() {
                return Reply { value: Created::Unknown(fault), date_ms: None };
            }
            if key.as_str().starts_with("segments/") {
                let late = self.faults.lock().late_segment.take();
                tokio::time::sleep(late.unwrap_or_default()).await;
            }
            let reply = self.inner.create(key, body).await;
            let (prefix, left) = &mut self.faults.lock().lose_replies;
            if *left > 0 && key.as_str().starts_with(prefix.as_str()) {
                *left -= 1;
                let fault = Fault { kind: FaultKind::Timeout, message: "lost".into() };
                return Reply { value: Created::Unknown(fault), date_ms: None };
            }
            reply
        })
    }

    fn get<'a>(
        &'a self,
        key: &'a Key,
        range: Option<std::ops::Range<u64>>,
    ) -> BoxFuture<'a, Reply<Result<Object, ReadError>>> {
        Box::pin(async move {
            self.gets.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(self.get).await;
            if let Some(fault) = self.away() {
                return Reply { value: Err(fault.into()), date_ms: None };
            }
            if range.is_some() && self.fails_get() {
                let fault = Fault { kind: FaultKind::Timeout, message: "no answer".into() };
                return Reply { value: Err(fault.into()), date_ms: None };
            }
            let mut reply = self.inner.get(key, range).await;
            let faults = self.faults.lock();
            if key.as_str().starts_with("segments/") {
                if faults.hide_segments {
                    reply.value = Err(ReadError::NotFound);
                }
                if faults.damage_segments
                    && let Ok(object) = &mut reply.value
                {
                    let mut bytes = object.bytes.to_vec();
                    let middle = bytes.len() * 11 / 20;
                    bytes[middle] ^= 1;
                    object.bytes = bytes.into();
                }
            }
            reply
        })
    }

    fn head<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Reply<Result<Meta, ReadError>>> {
        Box::pin(async move {
            match self.away() {
                Some(fault) => Reply { value: Err(fault.into()), date_ms: None },
                None => self.inner.head(key).await,
            }
        })
    }
}
