//! What the tests share.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use lakebed_record::{TopicId, TopicPartition};

use crate::*;

pub(crate) struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn millis(&mut self, below: u64) -> Duration {
        Duration::from_millis(self.below(below))
    }
}

pub(crate) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[derive(Clone, Debug, Default)]
pub(crate) struct TopicMap {
    pub version: u64,
    pub topics: BTreeMap<String, TopicShape>,
}

impl TopicMap {
    pub fn of(topics: &[(&str, i32)]) -> Self {
        let mut map = Self::default();
        topics.iter().for_each(|(name, partitions)| map.set(name, *partitions));
        map
    }

    /// Creates the topic, or gives it as many partitions.
    pub fn set(&mut self, name: &str, partitions: i32) {
        self.version += 1;
        let next = TopicId(u128::from(self.version) << 64 | 7);
        self.topics.entry(name.into()).or_insert(TopicShape { id: next, partitions }).partitions = partitions;
    }

    pub fn remove(&mut self, name: &str) {
        self.version += 1;
        self.topics.remove(name);
    }

    pub fn at(&self, name: &str, partition: i32) -> TopicPartition {
        TopicPartition::new(self.topics[name].id, partition)
    }
}

impl Topics for TopicMap {
    fn version(&self) -> u64 {
        self.version
    }

    fn find(&self, name: &str) -> Option<TopicShape> {
        self.topics.get(name).copied()
    }

    fn each(&self, visit: &mut dyn FnMut(&str, TopicShape)) {
        self.topics.iter().for_each(|(name, shape)| visit(name, *shape));
    }
}

/// What the manifest would hold.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub kind: Kind,
    pub generation: i32,
    pub members: u32,
    pub metadata: Bytes,
}

impl Default for Stored {
    fn default() -> Self {
        Self { kind: Kind::Simple, generation: 0, members: 0, metadata: Bytes::new() }
    }
}

impl Stored {
    pub fn write(&mut self, persist: &Persist) {
        assert_eq!(persist.from_generation, self.generation, "written on another state");
        assert!(persist.generation >= self.generation, "a generation that goes back");
        let Persist { kind, generation, members, metadata, .. } = persist.clone();
        *self = Self { kind, generation, members, metadata };
    }

    pub fn restore(&self, config: &Config, now: Duration) -> Group {
        Group::restore(config.clone(), self.kind, self.generation, &self.metadata, now).expect("readable")
    }
}

/// A group whose writes succeed at once unless they are held back.
pub(crate) struct Bench {
    pub group: Group,
    pub stored: Stored,
    pub topics: TopicMap,
    pub now: Duration,
    pub config: Config,
    /// While set, writes are not answered but kept here.
    pub held: Option<Vec<Persist>>,
    pub replies: BTreeMap<Token, Reply>,
    pub writes: usize,
    next: u64,
}

impl Bench {
    pub fn new(config: Config) -> Self {
        let stored = Stored::default();
        let group = stored.restore(&config, Duration::ZERO);
        let topics = TopicMap::of(&[("a", 4), ("b", 2)]);
        Self { group, stored, topics, now: secs(1), config, held: None, replies: BTreeMap::new(), writes: 0, next: 0 }
    }

    pub fn token(&mut self) -> Token {
        self.next += 1;
        Token(self.next)
    }

    pub fn run(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Reply(token, reply) => {
                    assert_eq!(self.replies.insert(token, reply), None, "answered twice");
                }
                Effect::Persist(persist) => match &mut self.held {
                    Some(held) => held.push(persist),
                    None => {
                        self.stored.write(&persist);
                        self.writes += 1;
                        let more = self.group.persisted(PersistOutcome::Done, self.now);
                        self.run(more);
                    }
                },
            }
        }
    }

    /// Answers the write that was held back and the later ones at once.
    pub fn release(&mut self, outcome: PersistOutcome) {
        let held = self.held.take().expect("held");
        for persist in held {
            if outcome == PersistOutcome::Done {
                self.stored.write(&persist);
            }
            let more = self.group.persisted(outcome, self.now);
            self.run(more);
        }
    }

    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.group.deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            let effects = self.group.tick(self.now);
            self.run(effects);
        }
        self.now = end;
    }

    pub fn restart(&mut self) {
        self.group = self.stored.restore(&self.config, self.now);
    }

    pub fn reply(&mut self, token: Token) -> Option<Reply> {
        self.replies.remove(&token)
    }
}

pub(crate) fn client(id: &str) -> Client {
    Client { id: id.into(), host: "/127.0.0.1".into() }
}

pub(crate) fn protocol(name: &str, metadata: &str) -> Protocol {
    Protocol { name: name.into(), metadata: Bytes::copy_from_slice(metadata.as_bytes()) }
}
