//! Random clients: they produce, read, look things up, move between nodes, and write down what they are told.

mod fetch;
mod idempotent;
mod offsets;
mod produce;
mod retained;
mod topics;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lakebed_broker::Producer;
use lakebed_record::batch::BatchBuilder;
use lakebed_record::{TopicId, TopicPartition};

pub use fetch::{split, whole};
use idempotent::Idempotent;

use super::world::{Live, World};
use crate::entropy::Dice;

/// How long a client waits for any answer.
pub const CLIENT_TIMEOUT: Duration = Duration::from_secs(30);

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
    positions: BTreeMap<TopicPartition, i64>,
}

/// Why an operation was cut short: the connection is of no more use.
pub struct Gone;

impl Client {
    pub fn new(world: Arc<World>, id: u64) -> Client {
        let dice = Dice::new(world.plan.seed.wrapping_mul(31).wrapping_add(id) ^ 0xC11E47);
        Client { world, id, dice, connection: None, idempotent: None, positions: BTreeMap::new() }
    }

    pub async fn run(mut self, operations: usize) -> Client {
        for _ in 0..operations {
            self.world.thaw().await;
            self.operate().await;
            if self.dice.one_in(3) {
                tokio::time::sleep(Duration::from_millis(self.dice.between(1, 400))).await;
            }
            if self.world.plan.rests_ms > 0 && self.dice.one_in(8) {
                tokio::time::sleep(Duration::from_millis(self.dice.between(1, self.world.plan.rests_ms))).await;
            }
        }
        self
    }

    /// When nothing fails any more: a record goes in and comes out on this connection; false if something went wrong.
    pub async fn final_round(&mut self) -> bool {
        let Ok(Some(tp)) = self.partition().await else { return false };
        let draft = self.draft(BatchBuilder::new());
        let id = self.record(tp, draft, None);
        let sent = self.send(&[id]).await;
        let Ok([Ok(appended)]) = sent.as_deref() else { return false };
        let offset = appended.base_offset;
        matches!(self.poll(whole(tp, offset)).await.as_deref(), Ok([Some(_)]))
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
}
