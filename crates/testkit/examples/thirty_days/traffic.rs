//! Who writes what: the same every day.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;
use lakebed_broker::Broker;
use lakebed_broker::api::{Append, FetchPartition, FetchRequest, NewTopic};
use lakebed_record::batch::{self, BatchBuilder};
use lakebed_record::ops::{OpKind, OpOutcome, Truncate};
use lakebed_record::{TopicId, TopicName, TopicPartition};
use lakebed_testkit::entropy::Dice;
use lakebed_testkit::time::TrueTime;

use crate::cluster::Cluster;

const TOPICS: usize = 2;
const PARTITIONS: i32 = 4;
/// Producers at work at once, and how many steps each works before another takes its place.
const PRODUCERS: usize = 20;
const CAREER: u32 = 1_440;
const PATIENCE: Duration = Duration::from_secs(30);
/// Hours that records are kept, and days that a day's topic is.
const KEPT_HOURS: usize = 24;
const KEPT_DAYS: usize = 2;
/// Batches of an hour's burst, and bytes of each.
const BURST: usize = 32;
const BURST_BYTES: usize = 48 << 10;

pub struct Traffic {
    dice: Dice,
    time: TrueTime,
    topics: Vec<TopicId>,
    of_days: VecDeque<TopicId>,
    producers: VecDeque<Idempotent>,
    steps: u32,
    /// Ends of the lasting partitions, hour by hour.
    ends: VecDeque<BTreeMap<TopicPartition, i64>>,
    /// Where the lasting partitions begin by now.
    dropped: BTreeMap<TopicPartition, i64>,
    /// What the acknowledgements say: records of each partition so far.
    written: BTreeMap<TopicPartition, i64>,
}

struct Idempotent {
    id: i64,
    epoch: i16,
    next: BTreeMap<TopicPartition, i32>,
}

impl Traffic {
    pub async fn start(cluster: &Cluster, time: TrueTime) -> Traffic {
        let mut topics = Vec::new();
        for n in 0..TOPICS {
            topics.push(create(cluster, &format!("lasting-{n}")).await);
        }
        let mut producers = VecDeque::new();
        for _ in 0..PRODUCERS {
            producers.push_back(hire(cluster.node(0)).await);
        }
        Traffic {
            dice: Dice::new(7),
            time,
            topics,
            of_days: VecDeque::new(),
            producers,
            steps: 0,
            ends: VecDeque::new(),
            dropped: BTreeMap::new(),
            written: BTreeMap::new(),
        }
    }

    /// A topic for this day, with something in it; the oldest one goes.
    pub async fn begin_day(&mut self, cluster: &Cluster, number: u32) {
        self.of_days.push_back(create(cluster, &format!("day-{number}")).await);
        if self.of_days.len() > KEPT_DAYS {
            let gone = self.of_days.pop_front().expect("it is not empty");
            cluster.node(0).delete_topic(gone).await.expect("the topic is deleted");
            self.written.retain(|tp, _| tp.topic != gone);
        }
        self.burst(cluster).await;
    }

    /// A batch of one of the producers, on one of the nodes.
    pub async fn step(&mut self, cluster: &Cluster) {
        self.steps += 1;
        let node = cluster.node(self.dice.below(2));
        if self.steps.is_multiple_of(CAREER / PRODUCERS as u32) {
            self.producers.pop_front();
            self.producers.push_back(hire(node).await);
        }
        let tp = TopicPartition::new(self.topics[self.dice.below(TOPICS)], self.dice.below(PARTITIONS as usize) as i32);
        let values: Vec<Bytes> = (0..1 + self.dice.below(3)).map(|_| self.value(300)).collect();
        let which = self.dice.below(PRODUCERS);
        let producer = &mut self.producers[which];
        let sequence = producer.next.entry(tp).or_default();
        let builder = BatchBuilder::new().producer(producer.id, producer.epoch, *sequence);
        *sequence += values.len() as i32;
        let append = self.batch(builder, tp, &values);
        self.send(node, vec![append], values.len() as i64).await;
    }

    /// More than fits into a commit, from both nodes, to every partition there is.
    pub async fn burst(&mut self, cluster: &Cluster) {
        let topics: Vec<TopicId> = self.topics.iter().chain(self.of_days.back()).copied().collect();
        let appends = (0..BURST).map(|n| {
            let tp = TopicPartition::new(topics[n % topics.len()], (n / topics.len()) as i32 % PARTITIONS);
            self.batch(BatchBuilder::new(), tp, &[self.value(BURST_BYTES)])
        });
        let mut halves: [Vec<Append>; 2] = Default::default();
        appends.enumerate().for_each(|(n, append)| halves[n % 2].push(append));
        let [first, second] = halves;
        self.send(cluster.node(0), first, 1).await;
        self.send(cluster.node(1), second, 1).await;
    }

    /// Drops what is older than a day.
    pub async fn truncate(&mut self, cluster: &Cluster) {
        let lasting = self.written.iter().filter(|(tp, _)| self.topics.contains(&tp.topic));
        self.ends.push_back(lasting.map(|(tp, n)| (*tp, *n)).collect());
        if self.ends.len() <= KEPT_HOURS {
            return;
        }
        self.dropped = self.ends.pop_front().expect("it is not empty");
        let truncates = self.dropped.iter().map(|(tp, &log_start)| {
            let topic_id = tp.topic.0.to_be_bytes().to_vec();
            OpKind::Truncate(Truncate { topic_id, partition: tp.partition.0, log_start }).into()
        });
        let receipt = cluster.node(0).manifest().submit(truncates.collect(), Vec::new()).await.expect("committed");
        assert!(receipt.outcomes.iter().all(|o| matches!(o, OpOutcome::Truncated { .. })), "{receipt:?}");
    }

    /// Reads what is kept and compares it with what was acknowledged; the number of records.
    pub async fn read_everything(&self, cluster: &Cluster) -> i64 {
        let from = |tp| self.dropped.get(tp).copied().unwrap_or_default();
        let kept = self.written.iter().map(|(tp, end)| read(cluster.node(1), *tp, from(tp), *end));
        join_all(kept).await.into_iter().sum()
    }

    fn value(&self, len: usize) -> Bytes {
        (0..len).map(|_| self.dice.u64() as u8).collect()
    }

    fn batch(&self, mut builder: BatchBuilder, tp: TopicPartition, values: &[Bytes]) -> Append {
        values.iter().for_each(|v| builder.push(self.time.wall_ms(), None, Some(v), []));
        Append { topic: tp.topic, partition: tp.partition, batch: builder.build() }
    }

    /// Each of the batches has this many records.
    async fn send(&mut self, node: &Broker, appends: Vec<Append>, records: i64) {
        let to: Vec<_> = appends.iter().map(|a| TopicPartition { topic: a.topic, partition: a.partition }).collect();
        let results = node.producer().append(appends, PATIENCE).await;
        for (tp, result) in to.into_iter().zip(results) {
            let appended = result.expect("nothing fails, so everything is taken");
            let written = self.written.entry(tp).or_default();
            assert_eq!(appended.base_offset, *written, "{tp}");
            *written += records;
        }
    }
}

/// Both nodes know it, as clients wait for.
async fn create(cluster: &Cluster, name: &str) -> TopicId {
    let name = TopicName::new(name).expect("a topic name");
    let topic = NewTopic { name, partitions: PARTITIONS, configs: Vec::new() };
    let id = cluster.node(0).create_topic(topic, false).await.expect("the topic is created").id;
    assert!(cluster.node(1).topic_by_id(id).await.expect("the store answers").is_some());
    id
}

async fn hire(node: &Broker) -> Idempotent {
    let identity = node.init_producer_id().await.expect("an id is granted");
    Idempotent { id: identity.id, epoch: identity.epoch, next: BTreeMap::new() }
}

/// Every offset from `start` to `end`, once and in order.
async fn read(node: &Broker, tp: TopicPartition, start: i64, end: i64) -> i64 {
    let mut next = start;
    while next < end {
        let partition = FetchPartition { topic: tp.topic, partition: tp.partition, offset: next, max_bytes: 1 << 20 };
        let request =
            FetchRequest { partitions: vec![partition], min_bytes: 1, max_bytes: 8 << 20, max_wait: PATIENCE };
        let fetched = node.fetch(request).await.remove(0).expect("the fetch succeeds");
        let mut bytes = BytesMut::new();
        fetched.records.iter().for_each(|piece| bytes.extend_from_slice(piece));
        let before = next;
        for batch in batch::batches(&bytes) {
            let (header, whole) = batch.expect("whole batches");
            assert!(batch::crc_matches(&header, whole), "{tp} at {next}");
            assert!(header.base_offset <= next && (header.base_offset == next || next == start), "{tp} at {next}");
            next = header.base_offset + i64::from(header.last_offset_delta) + 1;
        }
        assert!(next > before, "{tp}: nothing at {next}, although {end} were acknowledged");
    }
    assert_eq!(next, end, "{tp}");
    end - start
}
