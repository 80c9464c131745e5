//! A producer with an id, as clients are: several batches in flight, everything without an answer sent again in order, on
//! another node if need be, until each batch has been acknowledged once.

use std::collections::BTreeMap;
use std::time::Duration;

use lakebed_broker::api::AppendError;
use lakebed_record::TopicPartition;
use lakebed_record::batch::BatchBuilder;

use super::{Client, Gone};
use crate::history::{SentId, Told};

pub struct Idempotent {
    id: i64,
    epoch: i16,
    next: BTreeMap<TopicPartition, i32>,
    /// Batches without an acknowledgement, in the order of their sequences.
    open: Vec<SentId>,
    over: bool,
}

impl Idempotent {
    pub fn new(id: i64, epoch: i16) -> Idempotent {
        Idempotent { id, epoch, next: BTreeMap::new(), open: Vec::new(), over: false }
    }

    /// Its partition is gone or its state has expired: a client takes a new id.
    pub fn is_over(&self) -> bool {
        self.over
    }

    pub async fn produce(&mut self, client: &mut Client) -> Result<(), Gone> {
        if !self.open.is_empty() {
            return self.send_again(client).await;
        }
        let Some(tp) = client.partition().await? else { return Ok(()) };
        if client.dice.one_in(12) {
            return self.leave_a_gap(client, tp).await;
        }
        for _ in 0..1 + client.dice.below(5) {
            let sequence = self.next.entry(tp).or_insert(0);
            let draft = client.draft(BatchBuilder::new().producer(self.id, self.epoch, *sequence));
            let key = (self.id, self.epoch, *sequence);
            *sequence += draft.times.len() as i32;
            self.open.push(client.record(tp, draft, Some(key)));
        }
        let results = client.send(&self.open.clone()).await?;
        let acked: Vec<bool> = results.iter().map(Result::is_ok).collect();
        if results.iter().any(|r| matches!(r, Err(e) if gives_up(e))) {
            self.over = true;
        }
        // A batch may be refused because the one before it was dropped, never the other way round.
        if acked.windows(2).any(|w| !w[0] && w[1]) && !self.landed_meanwhile(client, &acked) {
            client.world.violation(format!("producer {}: a batch was acknowledged behind one that was not", self.id));
        }
        self.keep_open(client);
        Ok(())
    }

    /// A client that has lost count is refused.
    async fn leave_a_gap(&mut self, client: &mut Client, tp: TopicPartition) -> Result<(), Gone> {
        let sequence = self.next.get(&tp).copied().unwrap_or(0) + 1 + client.dice.below(10) as i32;
        let draft = client.draft(BatchBuilder::new().producer(self.id, self.epoch, sequence));
        let id = client.record(tp, draft, Some((self.id, self.epoch, sequence)));
        // If it is under way, no other batch may take its sequence: the id is given up, on whatever ends this.
        self.over = true;
        match client.send(&[id]).await?.remove(0) {
            Ok(_) => {
                client.world.violation(format!("producer {}: batch {id} leaves a gap and was acknowledged", self.id))
            }
            Err(AppendError::OutOfOrderSequence) => self.over = false,
            Err(_) => {}
        }
        Ok(())
    }

    /// The unacknowledged one may be stored all the same, if nobody knows its end.
    fn landed_meanwhile(&self, client: &Client, acked: &[bool]) -> bool {
        let history = client.world.history.lock();
        self.open.iter().zip(acked).all(|(id, acked)| *acked || history.get(*id).told == Told::Unknown)
    }

    /// One at a time and in order, as a client does that has lost its connection.
    async fn send_again(&mut self, client: &mut Client) -> Result<(), Gone> {
        for id in self.open.clone() {
            if self.is_given_up(client, id) {
                client.world.count("operation delivery timed out");
                self.over = true;
                return Ok(());
            }
            client.world.count("operation resend");
            let result = client.send(&[id]).await?.remove(0);
            match result {
                Ok(_) => self.keep_open(client),
                Err(error) if gives_up(&error) => {
                    self.over = true;
                    return Ok(());
                }
                Err(AppendError::OutOfOrderSequence | AppendError::InvalidProducerEpoch) => {
                    client
                        .world
                        .violation(format!("producer {}: batch {id} in its turn was refused: {result:?}", self.id));
                    self.over = true;
                    return Ok(());
                }
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Kafka's clients send a batch again for `delivery.timeout.ms` (2 min), long before brokers forget its producer.
    fn is_given_up(&self, client: &Client, id: SentId) -> bool {
        let expiry = Duration::from_millis(client.world.plan.waits().producer_expiry_ms as u64);
        let timeout = Duration::from_secs(120).min(expiry / 2);
        let first = client.world.history.lock().get(id).first_try;
        client.world.plan.cleaning && first.is_some_and(|at| client.world.time.now() > at + timeout)
    }

    fn keep_open(&mut self, client: &Client) {
        let history = client.world.history.lock();
        self.open.retain(|id| !matches!(history.get(*id).told, Told::Acked { .. }));
    }
}

fn gives_up(error: &AppendError) -> bool {
    matches!(error, AppendError::UnknownPartition | AppendError::UnknownProducerId)
}
