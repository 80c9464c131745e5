//! Hands batches to the broker and keeps what became of them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lakebed_broker::api::{Append, AppendError, Appended};
use lakebed_broker::{Broker, Frame, MemoryPermit, Producer};
use serde_json::json;

use super::gather::Batch;
use super::{Stored, StoredPartition};
use crate::api::decimal::Decimal;
use crate::problem::Problem;

/// So long the log has to take records; past it nothing is known of those that were under way.
const TIMEOUT: Duration = Duration::from_secs(30);
/// So long storing takes, with the wait for memory.
pub const LONGEST: Duration = Duration::from_secs(40);
/// Lots of batches of one request that are under way at once.
const UNDER_WAY: usize = 4;

type Results = Vec<Result<Appended, AppendError>>;

pub fn random(broker: &Broker) -> u64 {
    broker.groups().entropy() as u64
}

struct UnderWay {
    /// Partition and number of records of each batch.
    batches: Vec<(i32, u32)>,
    results: BoxFuture<'static, Results>,
}

/// Batches of one request on their way, in their order.
pub struct Writer {
    broker: Broker,
    producer: Producer,
    under_way: VecDeque<UnderWay>,
    stored: BTreeMap<i32, StoredPartition>,
    /// Of each batch so far: its base offset, or why there is none.
    pub outcomes: Vec<Result<i64, AppendError>>,
    /// The first thing that went wrong.
    pub problem: Option<Problem>,
}

impl Writer {
    pub fn new(broker: Broker, producer: Producer) -> Writer {
        let (under_way, stored) = (VecDeque::new(), BTreeMap::new());
        Writer { broker, producer, under_way, stored, outcomes: Vec::new(), problem: None }
    }

    /// Queues batches once not too many are under way. `memory`: what was taken for them.
    pub async fn send(&mut self, batches: Vec<Batch>, memory: MemoryPermit) {
        if batches.is_empty() {
            return;
        }
        while self.under_way.len() >= UNDER_WAY {
            self.wait_for_one().await;
        }
        let frame = Frame { len: 0, memory: Some(memory) };
        let told: Vec<_> = batches.iter().map(|b| (b.append.partition.0, b.records)).collect();
        let appends: Vec<Append> = batches.into_iter().map(|b| b.append).collect();
        let mut turn = None;
        let checked = loop {
            match self.producer.check(appends.clone(), turn.take()) {
                Ok(checked) => break checked,
                Err(_takes_long) => turn = Some(self.broker.turn().await),
            }
        };
        let results = self.producer.append_checked(frame, checked, TIMEOUT);
        self.under_way.push_back(UnderWay { batches: told, results: results.boxed() });
    }

    async fn wait_for_one(&mut self) {
        let Some(UnderWay { batches, results }) = self.under_way.pop_front() else { return };
        for ((partition, records), result) in batches.into_iter().zip(results.await) {
            match &result {
                Ok(appended) => self.count(partition, u64::from(records), appended.base_offset),
                Err(error) if self.problem.is_none() => {
                    self.problem = Some(Problem::append(error).with("partition", partition));
                }
                Err(_) => {}
            }
            self.outcomes.push(result.map(|appended| appended.base_offset));
        }
    }

    /// Nothing more is to come.
    pub async fn wait_for_all(&mut self) {
        self.producer.set_waiting(true);
        while !self.under_way.is_empty() {
            self.wait_for_one().await;
        }
    }

    fn count(&mut self, partition: i32, records: u64, base: i64) {
        let last = Decimal(base + records as i64 - 1);
        let fresh = StoredPartition { partition, records: 0, first_offset: Decimal(base), last_offset: last };
        let stored = self.stored.entry(partition).or_insert(fresh);
        stored.records += records;
        stored.first_offset = stored.first_offset.min(Decimal(base));
        stored.last_offset = stored.last_offset.max(last);
    }

    /// What is in the log so far.
    pub fn summary(&mut self) -> Stored {
        let partitions: Vec<_> = std::mem::take(&mut self.stored).into_values().collect();
        Stored { stored: partitions.iter().map(|p| p.records).sum(), partitions, records: None }
    }
}

/// A problem that says what is stored nevertheless.
pub fn with_summary(problem: Problem, summary: &Stored) -> Problem {
    problem.with("stored", summary.stored).with("partitions", json!(summary.partitions))
}
