//! Producing: batches like no other, sound and damaged, several in flight, and what must be said of each.

use std::time::Duration;

use futures_util::future::join_all;
use lakebed_broker::api::{Append, AppendError, Appended, TimestampType};
use lakebed_record::TopicPartition;
use lakebed_record::batch::{BatchBuilder, Codec};

use super::idempotent::Idempotent;
use super::{CLIENT_TIMEOUT, Client, Gone};
use crate::history::{Draft, Sent, SentId, Told};
use crate::sim::world::Called;

/// `timeout_ms` of a produce request.
pub const SERVER_TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes of a large record's value.
pub const LARGE: usize = 300 << 10;

impl Client {
    /// A batch like no other. Its records' times rise on the whole, but not from one to the next.
    pub fn draft(&self, builder: BatchBuilder) -> Draft {
        let mut builder = builder;
        if self.dice.one_in(4) {
            builder = builder.codec(Codec::ALL[self.dice.below(Codec::ALL.len())]);
        }
        let large = self.dice.below(100) < self.world.plan.large_batches_in_100 as usize;
        let mut times = Vec::new();
        for i in 0..1 + self.dice.below(3) {
            let mut value = format!("c{} {} {i}", self.id, self.world.next_serial()).into_bytes();
            if large && i == 0 {
                value.resize(LARGE, b'.');
            }
            let time = 10 * self.world.next_serial() as i64 + self.dice.below(100) as i64;
            builder.push(time, None, Some(&value), []);
            times.push(time);
        }
        let builder = if large { builder.codec(Codec::None) } else { builder };
        Draft { bytes: builder.build(), times }
    }

    /// Writes down that a batch is about to be sent on this connection.
    pub fn record(&mut self, tp: TopicPartition, draft: Draft, producer: Option<(i64, i16, i32)>) -> SentId {
        let stamped = self.world.timestamps(tp.topic) == Some(TimestampType::LogAppendTime);
        let connection = self.connection();
        let place = (connection.id, connection.sent);
        connection.sent += 1;
        self.world.history.lock().sent(Sent::new(tp, draft, stamped, place, producer))
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
            {
                let wall_ms = world.machines[usize::from(live.node)].clock.wall_ms();
                let mut history = world.history.lock();
                ids.iter().for_each(|id| history.tries(*id, world.time.now(), wall_ms));
            }
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
            let mut history = world.history.lock();
            history.told(*id, verdict(&answer));
            if let Ok(appended) = &answer {
                history.acknowledged(*id, live.process(), world.time.now(), appended.log_append_time);
            }
            drop(history);
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

    pub(super) async fn produce(&mut self, batches: usize) -> Result<(), Gone> {
        let mut ids = Vec::new();
        for _ in 0..batches {
            let Some(tp) = self.partition().await? else { continue };
            let draft = self.draft(BatchBuilder::new());
            ids.push(self.record(tp, draft, None));
        }
        self.world.count("operation produce");
        self.send(&ids).await.map(drop)
    }

    pub(super) async fn produce_idempotent(&mut self) -> Result<(), Gone> {
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
    pub(super) async fn produce_damaged(&mut self) -> Result<(), Gone> {
        let Some(tp) = self.partition().await? else { return Ok(()) };
        let mut bytes = self.draft(BatchBuilder::new()).bytes.to_vec();
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
