use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lakebed_record::TopicPartition;

use super::{Owner, seeds};
use crate::testing::{Random, TopicMap, client, secs};
use crate::*;

type Partitions = BTreeSet<TopicPartition>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Next heartbeat at the time.
    At(Duration),
    /// Waits for the answer; since when.
    Waiting(Token, Duration),
    Dead,
}

/// A client of KIP-848. It takes over an assignment between two heartbeats, some time after it heard of it, and forgets one of which it cannot know
/// whether it still holds.
#[derive(Debug)]
struct Consumer {
    instance: Option<String>,
    member_id: String,
    epoch: i32,
    owned: Partitions,
    told: Option<(Partitions, Duration)>,
    /// What the group was last told that we own.
    reported: Option<Partitions>,
    step: Step,
    paused: Duration,
    regex: bool,
}

struct World {
    random: Random,
    now: Duration,
    owner: Owner,
    topics: TopicMap,
    consumers: Vec<Consumer>,
    next_token: u64,
    open: BTreeSet<Token>,
    chaos: bool,
    moved: u64,
}

const REBALANCE: Duration = secs(20);
const REQUEST_TIMEOUT: Duration = secs(15);

impl World {
    fn new(seed: u64) -> Self {
        let config = Config { consumer_session_timeout: secs(10), max_members: 10, ..Config::default() };
        Self {
            random: Random(seed),
            now: secs(1),
            owner: Owner::new(config),
            topics: TopicMap::of(&[("t1", 5), ("t2", 3)]),
            consumers: Vec::new(),
            next_token: 0,
            open: BTreeSet::new(),
            chaos: true,
            moved: 0,
        }
    }

    fn number(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token
    }

    fn spawn(&mut self, instance: Option<String>) {
        let instance = instance.or_else(|| self.random.chance(30).then(|| format!("static-{}", self.next_token)));
        let member_id = format!("member-{}", self.number());
        self.consumers.push(Consumer {
            instance,
            member_id,
            epoch: 0,
            owned: Partitions::new(),
            told: None,
            reported: None,
            step: Step::At(self.now),
            paused: Duration::ZERO,
            regex: self.random.chance(30),
        });
    }

    fn step(&mut self) {
        self.now += self.random.millis(400);
        let effects = self.owner.settle(&mut self.random, self.now);
        self.run(effects);
        if self.chaos {
            self.disturb();
        }
        if self.owner.group.deadline().is_some_and(|at| at <= self.now) {
            let effects = self.owner.group.tick(self.now);
            self.run(effects);
        }
        for i in 0..self.consumers.len() {
            self.act(i);
            self.one_owner_each();
        }
        self.consumers.retain(|c| c.step != Step::Dead);
    }

    fn disturb(&mut self) {
        let n = self.consumers.len() as u64;
        let any = (n > 0).then(|| self.random.below(n.max(1)) as usize);
        match (self.random.below(200), any) {
            (0..5, _) if n < 12 => self.spawn(None),
            (5..7, Some(i)) => self.consumers[i].step = Step::Dead,
            (7..11, Some(i)) => self.consumers[i].paused = self.now + self.random.millis(25_000),
            (11..14, Some(i)) => self.leave(i, -1),
            // A static member starts again.
            (14..18, Some(i)) if self.consumers[i].instance.is_some() => {
                let instance = self.consumers[i].instance.clone();
                self.leave(i, -2);
                self.spawn(instance);
            }
            (18..20, _) => {
                self.owner.crash(&mut self.random, self.now);
                self.open.clear();
            }
            (20..22, _) => {
                let (name, partitions) = (format!("t{}", 1 + self.random.below(4)), 1 + self.random.below(6) as i32);
                let present = self.topics.topics.get(&name).map_or(0, |t| t.partitions);
                self.topics.set(&name, present.max(partitions));
            }
            (22, _) => self.topics.remove("t3"),
            _ => {}
        }
    }

    fn leave(&mut self, i: usize, epoch: i32) {
        let consumer = &mut self.consumers[i];
        if consumer.epoch == 0 || consumer.paused > self.now {
            return;
        }
        consumer.step = Step::Dead;
        consumer.owned.clear();
        let mut request = request(&self.consumers[i]);
        request.member_epoch = epoch;
        if epoch == -2 && request.instance_id.is_none() {
            request.member_epoch = -1;
        }
        let token = Token(self.number());
        self.open.insert(token);
        let effects = self.owner.group.consumer_heartbeat(token, request, &self.topics, self.now);
        self.run(effects);
    }

    fn act(&mut self, i: usize) {
        let now = self.now;
        let consumer = &mut self.consumers[i];
        if consumer.paused > now {
            return;
        }
        if let Step::Waiting(_, since) = consumer.step
            && since + REQUEST_TIMEOUT <= now
        {
            consumer.start_over(now);
        }
        let Step::At(at) = consumer.step else { return };
        if let Some((told, _)) = consumer.told.take_if(|(_, at)| *at <= now) {
            self.moved += told.difference(&consumer.owned).count() as u64;
            consumer.owned = told;
        }
        if at > now {
            return;
        }
        let request = request(consumer);
        if let Some(owned) = &request.owned {
            consumer.reported = Some(owned.iter().copied().collect());
        }
        let token = Token(self.number());
        self.consumers[i].step = Step::Waiting(token, now);
        self.open.insert(token);
        let effects = self.owner.group.consumer_heartbeat(token, request, &self.topics, now);
        self.run(effects);
    }

    fn run(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Persist(persist) => self.owner.accept(persist, &mut self.random, self.now),
                Effect::Reply(token, Reply::ConsumerHeartbeat(answer)) => {
                    self.open.remove(&token);
                    if let Ok(answer) = &answer {
                        self.check(answer);
                    }
                    let lost = self.chaos && self.random.chance(5);
                    let waits = |c: &Consumer| matches!(c.step, Step::Waiting(t, _) if t == token);
                    if let Some(i) = self.consumers.iter().position(waits).filter(|_| !lost) {
                        self.receive(i, answer);
                    }
                }
                Effect::Reply(_, other) => panic!("{other:?}"),
            }
        }
    }

    /// What is said is written.
    fn check(&self, answer: &ConsumerAnswer) {
        let written = self.owner.stored.restore(&self.owner.config, self.now).describe();
        let Members::Consumer { members, .. } = written.members else { panic!("nothing is written yet") };
        let member = members.iter().find(|m| m.member_id == answer.member_id);
        if answer.member_epoch < 0 {
            assert!(member.is_none_or(|m| m.epoch < 0), "left, but it is not written");
            return;
        }
        let member = member.expect("a member that is not written");
        assert_eq!(member.epoch, answer.member_epoch, "an epoch that is not written");
        if let Some(told) = &answer.assignment {
            assert_eq!(*told, member.assigned, "an assignment that is not written");
        }
    }

    fn receive(&mut self, i: usize, answer: Result<ConsumerAnswer, GroupError>) {
        let late = if self.chaos && self.random.chance(15) { 12_000 } else { 500 };
        let (apply, next) = (self.now + self.random.millis(late), self.now + secs(1));
        let consumer = &mut self.consumers[i];
        consumer.step = Step::At(next);
        match answer {
            Ok(answer) => {
                consumer.epoch = answer.member_epoch;
                if let Some(told) = answer.assignment {
                    consumer.told = Some((told.into_iter().collect(), apply));
                }
            }
            Err(GroupError::UnknownMemberId | GroupError::FencedMemberEpoch) => {
                consumer.owned.clear();
                consumer.told = None;
                consumer.reported = None;
                consumer.epoch = 0;
            }
            Err(GroupError::FencedInstanceId) => {
                consumer.owned.clear();
                consumer.step = Step::Dead;
            }
            Err(GroupError::UnreleasedInstanceId | GroupError::GroupMaxSizeReached) => {}
            Err(GroupError::CoordinatorNotAvailable | GroupError::NotCoordinator) => consumer.start_over(next),
            Err(other) => panic!("{other}"),
        }
    }

    /// Of those whom the group counts as members, no two own one partition.
    fn one_owner_each(&self) {
        let Members::Consumer { members, .. } = self.owner.group.describe().members else { return };
        let ids: BTreeSet<String> = members.into_iter().filter(|m| m.epoch > 0).map(|m| m.member_id).collect();
        let mut owners: BTreeMap<TopicPartition, &str> = BTreeMap::new();
        for consumer in self.consumers.iter().filter(|c| c.epoch > 0 && ids.contains(&c.member_id)) {
            for at in &consumer.owned {
                let other = owners.insert(*at, &consumer.member_id);
                assert_eq!(other, None, "{at} is also owned by {}", consumer.member_id);
            }
        }
    }

    fn calm(&mut self) {
        self.chaos = false;
        self.owner.faults = false;
        self.consumers.iter_mut().for_each(|c| c.paused = Duration::ZERO);
        let until = self.now + secs(120);
        while self.now < until {
            self.step();
        }
        let described = self.owner.group.describe();
        let Members::Consumer { members, .. } = &described.members else {
            return assert!(self.consumers.is_empty());
        };
        // Those who find no room, or whose instance another has, are out.
        let inside: Vec<&Consumer> = self.consumers.iter().filter(|c| c.epoch > 0).collect();
        let ids: BTreeSet<&String> = members.iter().map(|m| &m.member_id).collect();
        assert_eq!(ids, inside.iter().map(|c| &c.member_id).collect(), "those who live, and nobody else");
        let places: BTreeSet<&String> =
            self.consumers.iter().map(|c| c.instance.as_ref().unwrap_or(&c.member_id)).collect();
        assert_eq!(inside.len(), places.len().min(self.owner.config.max_members), "all for whom there is room");
        assert_eq!(self.owner.group.members(), self.owner.stored.members as usize);
        if inside.is_empty() {
            return;
        }
        assert_eq!(described.state, GroupState::Stable);
        let mut all: Vec<TopicPartition> = Vec::new();
        for consumer in &inside {
            assert_eq!(consumer.epoch, described.generation, "one epoch for all");
            let member = members.iter().find(|m| m.member_id == consumer.member_id).expect("a member");
            assert_eq!(member.assigned, consumer.owned.iter().copied().collect::<Vec<_>>(), "owns what it is to own");
            assert_eq!(member.assigned, member.target);
            all.extend(&consumer.owned);
        }
        all.sort();
        let everything = inside.iter().any(|c| c.regex);
        let subscribed = |name: &String| everything || name == "t1" || name == "t2";
        let topics = self.topics.topics.iter().filter(|(name, _)| subscribed(name)).map(|(_, t)| t);
        let mut wanted: Vec<_> = topics.flat_map(|t| (0..t.partitions).map(|p| TopicPartition::new(t.id, p))).collect();
        wanted.sort();
        assert_eq!(all, wanted, "each partition once");
        let waiting: BTreeSet<Token> = self
            .consumers
            .iter()
            .filter_map(|c| match c.step {
                Step::Waiting(token, _) => Some(token),
                _ => None,
            })
            .collect();
        assert!(self.open.is_subset(&waiting), "every question is answered");
    }
}

impl Consumer {
    /// No answer came that can be trusted.
    fn start_over(&mut self, at: Duration) {
        self.told = None;
        self.reported = None;
        self.step = Step::At(at);
    }
}

fn request(consumer: &Consumer) -> ConsumerHeartbeat {
    let joins = consumer.epoch == 0;
    let full = joins || consumer.reported.is_none();
    let names = if consumer.regex { Vec::new() } else { vec!["t1".to_owned(), "t2".to_owned()] };
    let news = consumer.reported.as_ref() != Some(&consumer.owned);
    ConsumerHeartbeat {
        member_id: consumer.member_id.clone(),
        member_epoch: consumer.epoch,
        instance_id: consumer.instance.clone(),
        rack_id: None,
        client: client("c"),
        rebalance_timeout: full.then_some(REBALANCE),
        subscribed_names: full.then_some(names),
        subscribed_regex: (full && consumer.regex).then(|| "t.*".to_owned()),
        server_assignor: None,
        owned: (full || news).then(|| consumer.owned.iter().copied().collect()),
    }
}

#[test]
fn consumer_groups_come_right() {
    let mut moved = 0;
    for seed in 0..seeds() {
        let result = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            (0..4).for_each(|_| world.spawn(None));
            (0..600).for_each(|_| world.step());
            world.calm();
            world.moved
        });
        moved += result.unwrap_or_else(|_| panic!("seed {seed}"));
    }
    assert!(moved > 10 * seeds(), "partitions moved: {moved}");
}
