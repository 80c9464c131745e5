//! Random clients: they produce, read, look things up, move between nodes, and write down what they are told.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use lakebed_broker::Producer;
use lakebed_broker::api::{
    Append, AppendError, Appended, CreateTopicError, FetchError, FetchPartition, FetchRequest, NewTopic, OffsetSpec,
    TopicError, Unavailable,
};
use lakebed_record::batch::{self, BatchBuilder, Codec};
use lakebed_record::{TopicId, TopicName, TopicPartition};

use super::idempotent::Idempotent;
use super::world::{Called, KnownTopic, Live, World};
use crate::entropy::Dice;
use crate::history::{Read, Sent, SentId, Told};

/// How long a client waits for any answer.
pub const CLIENT_TIMEOUT: Duration = Duration::from_secs(30);
/// `timeout_ms` of a produce request.
const SERVER_TIMEOUT: Duration = Duration::from_secs(20);
const FETCH_BYTES: usize = 1 << 20;
const LARGE: usize = 300 << 10;

/// A client's connection to a process.
pub struct Connection {
    pub live: Live,
    pub id: u64,
    pub producer: Producer,
    /// Batches sent on it so far.
    pub sent: u64,
    /// Topics whose metadata was asked for on this connection.
    looked_up: Vec<TopicId>,
}

pub struct Client {
    pub world: Arc<World>,
    pub id: u64,
    pub dice: Dice,
    pub connection: Option<Connection>,
    idempotent: Option<Idempotent>,
    /// Where it reads on.
    positions: std::collections::BTreeMap<TopicPartition, i64>,
}

/// Why an operation was cut short: the connection is of no more use.
pub struct Gone;

impl Client {
    pub fn new(world: Arc<World>, id: u64) -> Client {
        let dice = Dice::new(world.plan.seed.wrapping_mul(31).wrapping_add(id) ^ 0xC11E47);
        Client { world, id, dice, connection: None, idempotent: None, positions: std::collections::BTreeMap::new() }
    }

    pub async fn run(mut self, operations: usize) -> Client {
        for _ in 0..operations {
            self.world.thaw().await;
            self.operate().await;
            if self.dice.one_in(3) {
                tokio::time::sleep(Duration::from_millis(self.dice.between(1, 400))).await;
            }
        }
        self
    }

    /// When nothing fails any more: a record goes in and comes out on this connection; false if something went wrong.
    pub async fn final_round(&mut self) -> bool {
        let Ok(Some(tp)) = self.partition().await else { return false };
        let batch = self.batch(BatchBuilder::new());
        let id = self.record(tp, &batch, None);
        let sent = self.send(&[id]).await;
        let Ok([Ok(appended)]) = sent.as_deref() else { return false };
        let offset = appended.base_offset;
        matches!(self.fetch_from(tp, offset, Duration::ZERO).await, Ok(Some(_)))
    }

    async fn operate(&mut self) {
        if self.dice.one_in(12) {
            self.connection = None;
            self.world.count("operation move");
        }
        if !self.connect().await {
            return;
        }
        let done = match self.dice.weighted(&[24, 14, 24, 24, 8, 4, 1, 2, 3, 3]) {
            0 => self.produce(1).await,
            1 => self.produce(2 + self.dice.below(5)).await,
            2 => self.produce_idempotent().await,
            3 => self.fetch().await,
            4 => self.list_offsets().await,
            5 => self.create_topic().await,
            6 => self.delete_topic().await,
            7 => self.produce_damaged().await,
            8 => self.fetch_past_the_end().await,
            _ => self.look_up().await,
        };
        if done.is_err() {
            self.world.count("outcome connection lost");
            self.connection = None;
        }
    }

    /// Finds a process that serves; false if there was none for a while.
    pub async fn connect(&mut self) -> bool {
        if self.connection.as_ref().is_some_and(|c| c.live.power.is_dead()) {
            self.connection = None;
        }
        if self.connection.is_some() {
            return true;
        }
        for _ in 0..40 {
            if let Some(live) = self.world.live_from(self.dice.below(self.world.machines.len())) {
                self.connect_to(live);
                return true;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        false
    }

    pub fn connect_to(&mut self, live: Live) {
        let id = self.world.connections.fetch_add(1, Ordering::Relaxed);
        let producer = live.broker.producer();
        self.connection = Some(Connection { live, id, producer, sent: 0, looked_up: Vec::new() });
    }

    fn connection(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("operations begin with a connection")
    }

    fn live(&self) -> Live {
        self.connection.as_ref().expect("operations begin with a connection").live.clone()
    }

    fn note(&self, what: &str, detail: &dyn std::fmt::Display) {
        self.world.note(self.live().node, what, &format_args!("c{} {detail}", self.id));
    }

    /// A partition of a topic that is known to exist, looked up on this connection as the front ends do.
    pub async fn partition(&mut self) -> Result<Option<TopicPartition>, Gone> {
        let topics: Vec<(TopicName, KnownTopic)> =
            self.world.topics.lock().iter().map(|(n, t)| (n.clone(), t.clone())).collect();
        if topics.is_empty() {
            self.create_topic().await?;
            return Ok(None);
        }
        let (name, topic) = &topics[self.dice.below(topics.len())];
        if !self.connection().looked_up.contains(&topic.id) {
            if !self.look_up_topic(name, topic).await? {
                return Ok(None);
            }
            self.connection().looked_up.push(topic.id);
        }
        Ok(Some(TopicPartition::new(topic.id, self.dice.below(topic.partitions as usize) as i32)))
    }

    fn is_doomed(&self, tp: TopicPartition) -> bool {
        !self.world.topics.lock().values().any(|t| t.id == tp.topic && !t.doomed)
    }

    async fn look_up(&mut self) -> Result<(), Gone> {
        self.partition().await.map(drop)
    }

    /// No false "unknown topic". (A name may lead to a topic that is deleted meanwhile.)
    async fn look_up_topic(&mut self, name: &TopicName, topic: &KnownTopic) -> Result<bool, Gone> {
        let live = self.live();
        let broker = &live.broker;
        let found = async { Ok((broker.topic_by_name(name).await?, broker.topic_by_id(topic.id).await?)) };
        match self.world.call::<Result<_, Unavailable>>(&live, CLIENT_TIMEOUT, found).await {
            Called::Answered(Ok((by_name, by_id))) => {
                let doomed = self.is_doomed(TopicPartition::new(topic.id, 0));
                if (by_name.is_none() || by_id.is_none()) && !doomed {
                    self.world.violation(format!(
                        "node {} does not know topic {name} {}, which was created",
                        live.node, topic.id
                    ));
                }
                if by_id.is_none() {
                    self.world.forget(topic.id);
                }
                self.world.count("outcome topic found");
                Ok(by_id.is_some())
            }
            Called::Answered(Err(_)) => {
                self.world.count("outcome topic unavailable");
                Err(Gone)
            }
            Called::NoAnswer => Err(Gone),
        }
    }

    /// Front ends make sure that the topics of a request are known, or unknown to all, before they pass it on.
    async fn find_topics(&mut self, ids: &[SentId]) -> Result<(), Gone> {
        for id in ids {
            let topic = self.world.history.lock().get(*id).tp.topic;
            if self.connection().looked_up.contains(&topic) {
                continue;
            }
            let live = self.live();
            match self.world.call(&live, CLIENT_TIMEOUT, live.broker.topic_by_id(topic)).await {
                Called::Answered(Ok(_)) => self.connection().looked_up.push(topic),
                Called::Answered(Err(_)) | Called::NoAnswer => return Err(Gone),
            }
        }
        Ok(())
    }

    /// A batch like no other.
    pub fn batch(&self, builder: BatchBuilder) -> BatchBuilder {
        let mut builder = builder;
        if self.dice.one_in(4) {
            builder = builder.codec(Codec::ALL[self.dice.below(Codec::ALL.len())]);
        }
        let large = self.dice.below(100) < self.world.plan.large_batches_in_100 as usize;
        for i in 0..1 + self.dice.below(3) {
            let mut value = format!("c{} {} {i}", self.id, self.world.next_serial()).into_bytes();
            if large && i == 0 {
                value.resize(LARGE, b'.');
            }
            builder.push(self.world.next_serial() as i64, None, Some(&value), []);
        }
        if large { builder.codec(Codec::None) } else { builder }
    }

    /// Writes down that a batch is about to be sent on this connection.
    pub fn record(&mut self, tp: TopicPartition, batch: &BatchBuilder, producer: Option<(i64, i16, i32)>) -> SentId {
        let connection = self.connection();
        let place = (connection.id, connection.sent);
        connection.sent += 1;
        let sent = Sent {
            tp,
            bytes: batch.build(),
            count: i64::from(batch.count()),
            connection: place,
            producer,
            told: Told::Unknown,
            maybe: false,
        };
        self.world.history.lock().sent(sent)
    }

    /// Sends recorded batches, all at once, in order; writes down and returns what was told of each.
    pub async fn send(&mut self, ids: &[SentId]) -> Result<Vec<Result<Appended, AppendError>>, Gone> {
        self.find_topics(ids).await?;
        let live = self.live();
        let world = self.world.clone();
        let appends: Vec<Append> = {
            let history = world.history.lock();
            let append = |s: &Sent| Append { topic: s.tp.topic, partition: s.tp.partition, batch: s.bytes.clone() };
            ids.iter().map(|id| append(history.get(*id))).collect()
        };
        let producer = &mut self.connection().producer;
        let sending = async {
            // Each call queues its batch at once, so that all are in flight together.
            let calls: Vec<_> = appends.into_iter().map(|a| producer.append(vec![a], SERVER_TIMEOUT)).collect();
            join_all(calls).await
        };
        let called = world.call(&live, CLIENT_TIMEOUT, sending).await;
        let Called::Answered(answers) = called else {
            let mut history = world.history.lock();
            ids.iter().for_each(|id| history.told(*id, Told::Unknown));
            world.count("outcome produce unanswered");
            return Err(Gone);
        };
        let mut results = Vec::new();
        for (id, answer) in ids.iter().zip(answers) {
            let answer = answer.into_iter().next().expect("one batch, one answer");
            self.note("produced", &format_args!("{id} {answer:?}"));
            world.count(&format!("outcome produce {}", outcome(&answer)));
            world.history.lock().told(*id, verdict(&answer));
            self.expect_known(*id, &answer);
            results.push(answer);
        }
        Ok(results)
    }

    fn expect_known(&self, id: SentId, answer: &Result<Appended, AppendError>) {
        let tp = self.world.history.lock().get(id).tp;
        if matches!(answer, Err(AppendError::UnknownPartition)) && !self.is_doomed(tp) {
            self.world.violation(format!("produce: {tp} exists, but node {} does not know it", self.live().node));
        }
    }

    async fn produce(&mut self, batches: usize) -> Result<(), Gone> {
        let mut ids = Vec::new();
        for _ in 0..batches {
            let Some(tp) = self.partition().await? else { continue };
            let batch = self.batch(BatchBuilder::new());
            ids.push(self.record(tp, &batch, None));
        }
        self.world.count("operation produce");
        self.send(&ids).await.map(drop)
    }

    async fn produce_idempotent(&mut self) -> Result<(), Gone> {
        self.world.count("operation idempotent produce");
        let mut idempotent = match self.idempotent.take() {
            Some(idempotent) => idempotent,
            None => match self.init_producer_id().await? {
                Some((id, epoch)) => Idempotent::new(id, epoch),
                None => return Ok(()),
            },
        };
        let done = idempotent.produce(self).await;
        if !idempotent.is_over() {
            self.idempotent = Some(idempotent);
        }
        done
    }

    async fn init_producer_id(&mut self) -> Result<Option<(i64, i16)>, Gone> {
        let live = self.live();
        match self.world.call(&live, CLIENT_TIMEOUT, live.broker.init_producer_id()).await {
            Called::Answered(Ok(producer)) => {
                self.note("producer id", &producer.id);
                self.world.granted(producer.id);
                self.world.count("outcome producer id granted");
                Ok(Some((producer.id, producer.epoch)))
            }
            Called::Answered(Err(_)) => {
                self.world.count("outcome producer id unavailable");
                Ok(None)
            }
            Called::NoAnswer => Err(Gone),
        }
    }

    /// Bytes that were damaged on the way: refused, whatever else happens.
    async fn produce_damaged(&mut self) -> Result<(), Gone> {
        let Some(tp) = self.partition().await? else { return Ok(()) };
        let mut bytes = self.batch(BatchBuilder::new()).build().to_vec();
        let at = 16 + self.dice.below(bytes.len() - 16);
        bytes[at] ^= 1 << self.dice.below(8);
        let live = self.live();
        let append = Append { topic: tp.topic, partition: tp.partition, batch: bytes.into() };
        let world = self.world.clone();
        let producer = &mut self.connection().producer;
        let sending = async { producer.append(vec![append], SERVER_TIMEOUT).await };
        match world.call(&live, CLIENT_TIMEOUT, sending).await {
            Called::Answered(answers) if answers.iter().all(Result::is_err) => {
                self.world.count("outcome damage refused")
            }
            Called::Answered(_) => self.world.violation(format!("{tp}: damaged bytes were acknowledged")),
            Called::NoAnswer => return Err(Gone),
        }
        Ok(())
    }

    async fn fetch(&mut self) -> Result<(), Gone> {
        let Some(tp) = self.partition().await? else { return Ok(()) };
        let position = match self.positions.get(&tp) {
            Some(position) if !self.dice.one_in(5) => *position,
            // Some offset that is known to exist, the end included.
            _ => self.dice.below(self.world.history.lock().high(tp) as usize + 1) as i64,
        };
        let wait = Duration::from_millis([0, 0, 100, 1000][self.dice.below(4)]);
        if let Some(next) = self.fetch_from(tp, position, wait).await? {
            self.positions.insert(tp, next);
        }
        Ok(())
    }

    /// Reads on from an offset that exists; returns the next one.
    pub async fn fetch_from(&mut self, tp: TopicPartition, offset: i64, wait: Duration) -> Result<Option<i64>, Gone> {
        self.world.count("operation fetch");
        let live = self.live();
        let called = self.world.call(&live, CLIENT_TIMEOUT, live.broker.fetch(request(tp, offset, wait))).await;
        let Called::Answered(mut answers) = called else { return Err(Gone) };
        match answers.remove(0) {
            Ok(fetched) => {
                let bytes = fetched.records.concat();
                let batches = split(&bytes);
                self.note("fetched", &format_args!("{tp} {offset}: {} of {}", batches.len(), fetched.high_watermark));
                self.world.count(if batches.is_empty() { "outcome fetch empty" } else { "outcome fetch records" });
                let next = batches.last().map(|b| b.base_offset + last_delta(&b.bytes) + 1);
                if batches.is_empty() && offset < fetched.high_watermark {
                    self.world.violation(format!(
                        "{tp}: a fetch from {offset} below the high watermark {} found nothing",
                        fetched.high_watermark
                    ));
                }
                self.world.history.lock().fetched(tp, offset, fetched.high_watermark, &batches);
                return Ok(next);
            }
            Err(FetchError::OutOfRange { high_watermark, .. }) => {
                let node = live.node;
                self.world.violation(format!(
                    "{tp}: offset {offset} exists, but node {node} says the end is {high_watermark}"
                ));
            }
            Err(FetchError::UnknownPartition) => {
                if !self.is_doomed(tp) {
                    self.world.violation(format!("fetch: {tp} exists, but node {} does not know it", live.node));
                }
                self.world.count("outcome fetch unknown partition");
            }
            Err(error @ FetchError::Storage(_)) => {
                if error.to_string().contains("missing from the store") || !self.world.nemesis.is_armed() {
                    self.world.violation(format!("{tp} {offset}: {error}"));
                }
                self.note("fetch failed", &error);
                self.world.count("outcome fetch storage error");
            }
            Err(FetchError::Unavailable(_)) => self.world.count("outcome fetch unavailable"),
        }
        Ok(None)
    }

    async fn fetch_past_the_end(&mut self) -> Result<(), Gone> {
        let Some(tp) = self.partition().await? else { return Ok(()) };
        let live = self.live();
        let offset = 1 << 40;
        let called =
            self.world.call(&live, CLIENT_TIMEOUT, live.broker.fetch(request(tp, offset, Duration::ZERO))).await;
        let Called::Answered(answers) = called else { return Err(Gone) };
        match &answers[0] {
            Ok(_) => self.world.violation(format!("{tp}: a fetch from {offset} was answered")),
            Err(FetchError::OutOfRange { high_watermark, .. }) => {
                self.world.history.lock().exists(tp, *high_watermark);
                self.world.count("outcome fetch out of range");
            }
            Err(_) => self.world.count("outcome fetch unavailable"),
        }
        Ok(())
    }

    async fn list_offsets(&mut self) -> Result<(), Gone> {
        let Some(tp) = self.partition().await? else { return Ok(()) };
        let spec = match self.dice.below(6) {
            0 => OffsetSpec::Earliest,
            1 => OffsetSpec::AtTime(self.dice.below(500) as i64),
            _ => OffsetSpec::Latest,
        };
        self.world.count("operation list offsets");
        let known = self.world.history.lock().high(tp);
        let live = self.live();
        match self.world.call(&live, CLIENT_TIMEOUT, live.broker.list_offsets(tp, spec)).await {
            Called::Answered(Ok(listed)) => {
                self.world.count("outcome offsets listed");
                self.note("listed", &format_args!("{tp} {spec:?} {}", listed.offset));
                let wrong = match spec {
                    OffsetSpec::Latest => listed.offset < known,
                    OffsetSpec::Earliest => listed.offset != 0,
                    OffsetSpec::AtTime(_) => listed.offset < -1,
                };
                if wrong {
                    self.world.violation(format!("{tp}: {spec:?} is {}, but {known} was known", listed.offset));
                }
                if spec == OffsetSpec::Latest {
                    self.world.history.lock().exists(tp, listed.offset);
                }
            }
            Called::Answered(Err(FetchError::UnknownPartition)) => {
                if !self.is_doomed(tp) {
                    self.world.violation(format!("list offsets: {tp} exists, but node {} does not know it", live.node));
                }
            }
            Called::Answered(Err(_)) => self.world.count("outcome offsets unavailable"),
            Called::NoAnswer => return Err(Gone),
        }
        Ok(())
    }

    async fn create_topic(&mut self) -> Result<(), Gone> {
        let name = TopicName::new(&format!("topic-{}", self.dice.below(4))).expect("a valid name");
        let topic = NewTopic { name: name.clone(), partitions: 1 + self.dice.below(3) as i32, configs: Vec::new() };
        self.world.count("operation create topic");
        let live = self.live();
        match self.world.call(&live, CLIENT_TIMEOUT, live.broker.create_topic(topic, false)).await {
            Called::Answered(Ok(info)) => {
                self.note("created", &format_args!("{name} {}", info.id));
                self.world.count("outcome topic created");
                self.world.created(&name, KnownTopic { id: info.id, partitions: info.partitions, doomed: false });
            }
            Called::Answered(Err(CreateTopicError::Exists)) => {
                self.world.count("outcome topic exists");
                self.learn(&name).await?;
            }
            Called::Answered(Err(CreateTopicError::Unavailable(_))) => self.world.count("outcome create unavailable"),
            Called::Answered(Err(error)) => self.world.violation(format!("topic {name} was refused: {error}")),
            Called::NoAnswer => return Err(Gone),
        }
        Ok(())
    }

    /// A topic that exists although nobody was told of its creation.
    async fn learn(&mut self, name: &TopicName) -> Result<(), Gone> {
        let live = self.live();
        match self.world.call(&live, CLIENT_TIMEOUT, live.broker.topic_by_name(name)).await {
            Called::Answered(Ok(Some(info))) => {
                self.world.created(name, KnownTopic { id: info.id, partitions: info.partitions, doomed: false });
                Ok(())
            }
            Called::Answered(_) => Ok(()),
            Called::NoAnswer => Err(Gone),
        }
    }

    async fn delete_topic(&mut self) -> Result<(), Gone> {
        let Some(tp) = self.partition().await? else { return Ok(()) };
        self.world.doom(tp.topic);
        self.world.count("operation delete topic");
        let live = self.live();
        match self.world.call(&live, CLIENT_TIMEOUT, live.broker.delete_topic(tp.topic)).await {
            Called::Answered(Ok(())) => {
                self.note("deleted", &tp.topic);
                self.world.count("outcome topic deleted");
                self.world.forget(tp.topic);
            }
            Called::Answered(Err(TopicError::Unknown)) => self.world.forget(tp.topic),
            Called::Answered(Err(TopicError::Unavailable(Unavailable::Timeout | Unavailable::Stopping))) => {
                self.world.count("outcome delete unavailable");
            }
            Called::NoAnswer => return Err(Gone),
        }
        Ok(())
    }
}

pub fn request(tp: TopicPartition, offset: i64, max_wait: Duration) -> FetchRequest {
    let partition = FetchPartition { topic: tp.topic, partition: tp.partition, offset, max_bytes: FETCH_BYTES };
    FetchRequest { partitions: vec![partition], min_bytes: 1, max_bytes: FETCH_BYTES, max_wait }
}

/// Whole batches, as a client takes a response apart.
pub fn split(records: &[u8]) -> Vec<Read> {
    let read = |(header, bytes): (batch::BatchHeader, &[u8])| Read {
        base_offset: header.base_offset,
        bytes: bytes::Bytes::copy_from_slice(bytes),
    };
    batch::batches(records).map_while(Result::ok).map(read).collect()
}

fn last_delta(batch: &[u8]) -> i64 {
    batch::BatchHeader::parse(batch).map_or(0, |h| i64::from(h.last_offset_delta))
}

fn verdict(answer: &Result<Appended, AppendError>) -> Told {
    match answer {
        Ok(appended) => Told::Acked { base_offset: appended.base_offset },
        Err(AppendError::TimedOutUnderWay | AppendError::Stopping) => Told::Unknown,
        Err(_) => Told::Refused,
    }
}

fn outcome(answer: &Result<Appended, AppendError>) -> &'static str {
    match answer {
        Ok(_) => "acknowledged",
        Err(AppendError::TimedOutUnderWay) => "timed out under way",
        Err(AppendError::TimedOut) => "timed out, dropped",
        Err(AppendError::Stopping) => "stopping",
        Err(AppendError::UnknownPartition) => "unknown partition",
        Err(AppendError::OutOfOrderSequence) => "out of order sequence",
        Err(AppendError::InvalidProducerEpoch) => "invalid producer epoch",
        Err(AppendError::UnknownProducerId) => "unknown producer id",
        Err(_) => "refused otherwise",
    }
}
