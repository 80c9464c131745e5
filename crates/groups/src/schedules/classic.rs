use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use super::{Owner, seeds};
use crate::testing::{Random, client, protocol, secs};
use crate::*;

const PARTITIONS: u8 = 12;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Will join at the time.
    Out(Duration),
    /// Waits for the answer; since when.
    Joining(Token, Duration),
    Syncing(Token, Duration),
    /// Works; next heartbeat at the time.
    In(Duration),
    Dead,
}

#[derive(Debug)]
struct Consumer {
    instance: Option<String>,
    member_id: String,
    generation: i32,
    protocol: String,
    assigned: BTreeSet<u8>,
    step: Step,
    /// Has joined, but is slow to sync: with what it hands out if it leads.
    late: Option<Vec<(String, Bytes)>>,
    /// Says nothing until then.
    paused: Duration,
}

struct World {
    random: Random,
    now: Duration,
    owner: Owner,
    consumers: Vec<Consumer>,
    next_token: u64,
    /// Tokens that were asked of the present owner and not answered.
    open: BTreeSet<Token>,
    chaos: bool,
    /// What the leader of each generation handed out.
    handed_out: BTreeMap<i32, BTreeMap<String, Bytes>>,
    leaders: BTreeMap<i32, BTreeSet<String>>,
    newest_generation: i32,
}

const SESSION: Duration = secs(10);
const REBALANCE: Duration = secs(15);
const REQUEST_TIMEOUT: Duration = secs(25);

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let config = Config {
            initial_rebalance_delay: if random.chance(50) { secs(3) } else { Duration::ZERO },
            new_member_join_timeout: secs(40),
            max_members: 12,
            ..Config::default()
        };
        Self {
            random,
            now: secs(1),
            owner: Owner::new(config),
            consumers: Vec::new(),
            next_token: 0,
            open: BTreeSet::new(),
            chaos: true,
            handed_out: BTreeMap::new(),
            leaders: BTreeMap::new(),
            newest_generation: 0,
        }
    }

    fn token(&mut self) -> Token {
        self.next_token += 1;
        let token = Token(self.next_token);
        self.open.insert(token);
        token
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
        (0..self.consumers.len()).for_each(|i| self.act(i));
    }

    fn disturb(&mut self) {
        let n = self.consumers.len() as u64;
        match self.random.below(200) {
            0..6 if n < 14 => self.spawn(),
            6..9 if n > 0 => {
                let i = self.random.below(n) as usize;
                self.consumers[i].step = Step::Dead;
            }
            9..13 if n > 0 => {
                let i = self.random.below(n) as usize;
                self.consumers[i].paused = self.now + self.random.millis(25_000);
            }
            13..16 if n > 0 => self.leave(),
            16..18 => {
                self.owner.crash(&mut self.random, self.now);
                self.open.clear();
            }
            // A static member starts again, its former self still there.
            18..21 => {
                let statics: Vec<usize> =
                    (0..self.consumers.len()).filter(|i| self.consumers[*i].instance.is_some()).collect();
                if let Some(i) = statics.first().copied() {
                    let instance = self.consumers[i].instance.clone();
                    self.consumers[i].step = Step::Dead;
                    self.consumers.push(fresh(instance, self.now));
                }
            }
            _ => {}
        }
        self.consumers.retain(|c| c.step != Step::Dead);
    }

    fn spawn(&mut self) {
        let instance = self.random.chance(30).then(|| format!("static-{}", self.next_token));
        self.consumers.push(fresh(instance, self.now));
    }

    fn leave(&mut self) {
        let i = self.random.below(self.consumers.len() as u64) as usize;
        let who = Leaving { member_id: self.consumers[i].member_id.clone(), instance_id: None };
        let token = self.token();
        let effects = self.owner.group.leave(token, &[who], self.now);
        self.consumers[i].step = Step::Dead;
        self.run(effects);
    }

    fn act(&mut self, i: usize) {
        let now = self.now;
        let consumer = &self.consumers[i];
        if consumer.paused > now {
            return;
        }
        match consumer.step {
            Step::Out(at) if at <= now => match self.consumers[i].late.take() {
                Some(assignments) => self.sync(i, assignments),
                None => self.join(i),
            },
            Step::Joining(_, since) | Step::Syncing(_, since) if since + REQUEST_TIMEOUT <= now => {
                self.consumers[i].step = Step::Out(now);
            }
            Step::In(at) if at <= now => {
                let who = MemberRef {
                    member_id: consumer.member_id.clone(),
                    instance_id: consumer.instance.clone(),
                    generation: consumer.generation,
                };
                let answer = self.owner.group.heartbeat(&who, now);
                if answer.is_ok() {
                    let permit = self.owner.group.check_commit(&who, now);
                    assert!(permit.is_ok_and(|p| p.generation == who.generation) || !self.stable(), "may commit");
                }
                let late = if self.chaos && self.random.chance(10) { 8_000 } else { 1_000 };
                let pause = self.random.millis(late);
                match answer {
                    Ok(()) => self.consumers[i].step = Step::In(now + secs(2)),
                    Err(error) => self.fail(i, error, pause),
                }
            }
            _ => {}
        }
    }

    fn stable(&self) -> bool {
        self.owner.group.describe().state == GroupState::Stable
    }

    fn fail(&mut self, i: usize, error: GroupError, pause: Duration) {
        let consumer = &mut self.consumers[i];
        consumer.step = Step::Out(self.now + pause);
        match error {
            GroupError::UnknownMemberId => consumer.member_id.clear(),
            GroupError::FencedInstanceId => consumer.step = Step::Dead,
            GroupError::RebalanceInProgress
            | GroupError::IllegalGeneration
            | GroupError::CoordinatorNotAvailable
            | GroupError::NotCoordinator
            | GroupError::GroupMaxSizeReached => {}
            other => panic!("{other}"),
        }
    }

    fn join(&mut self, i: usize) {
        let token = self.token();
        let fresh = format!("{:032}", self.next_token);
        let consumer = &mut self.consumers[i];
        consumer.step = Step::Joining(token, self.now);
        let request = JoinRequest {
            member_id: consumer.member_id.clone(),
            instance_id: consumer.instance.clone(),
            client: client("c"),
            protocol_type: "consumer".into(),
            protocols: vec![protocol("range", "r"), protocol("sticky", "s")],
            session_timeout: SESSION,
            rebalance_timeout: REBALANCE,
            features: if self.random.chance(80) { JoinFeatures::SkipAssignment } else { JoinFeatures::Plain },
            fresh,
        };
        let effects = self.owner.group.join(token, request, self.now);
        self.run(effects);
    }

    fn run(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Persist(persist) => self.owner.accept(persist, &mut self.random, self.now),
                Effect::Reply(token, reply) => {
                    self.open.remove(&token);
                    self.check(&reply);
                    let lost = self.chaos && self.random.chance(5);
                    let waits =
                        |c: &Consumer| matches!(c.step, Step::Joining(t, _) | Step::Syncing(t, _) if t == token);
                    if let Some(i) = self.consumers.iter().position(waits).filter(|_| !lost) {
                        self.receive(i, token, reply);
                    }
                }
            }
        }
    }

    /// What holds of every answer, whether it arrives or not.
    fn check(&mut self, reply: &Reply) {
        let written = self.owner.stored.restore(&self.owner.config, self.now).describe();
        let Members::Classic { members, .. } = &written.members else {
            assert!(!matches!(reply, Reply::Join(Ok(_)) | Reply::Sync(Ok(_))), "nothing is written yet");
            return;
        };
        match reply {
            Reply::Join(Ok(joined)) => {
                assert!(joined.generation <= written.generation, "a generation before it is written: {joined:?}");
                if joined.generation == written.generation {
                    assert!(members.iter().any(|m| m.member_id == joined.member_id), "a member that is not written");
                }
                if joined.leader_assigns == LeaderAssigns::Yes && joined.leader == joined.member_id {
                    self.leaders.entry(joined.generation).or_default().insert(joined.leader.clone());
                    assert!(joined.members.iter().any(|m| m.member_id == joined.member_id));
                }
                self.newest_generation = self.newest_generation.max(joined.generation);
            }
            Reply::Sync(Ok(synced)) if !members.iter().any(|m| m.assignment == synced.assignment) => {
                panic!("an assignment before it is written")
            }
            _ => {}
        }
    }

    fn receive(&mut self, i: usize, token: Token, reply: Reply) {
        let pause = self.random.millis(500);
        match reply {
            Reply::Join(Ok(joined)) => {
                let consumer = &mut self.consumers[i];
                assert!(joined.generation >= consumer.generation, "a member's generation goes back");
                consumer.member_id = joined.member_id.clone();
                consumer.generation = joined.generation;
                consumer.protocol = joined.protocol.clone();
                let assigns = joined.leader == joined.member_id && joined.leader_assigns == LeaderAssigns::Yes;
                let assignments = if assigns { divide(&joined.members) } else { Vec::new() };
                if self.chaos && self.random.chance(10) {
                    consumer.late = Some(assignments);
                    consumer.step = Step::Out(self.now + self.random.millis(14_000));
                    return;
                }
                self.sync(i, assignments);
            }
            Reply::Sync(Ok(synced)) => {
                let consumer = &mut self.consumers[i];
                consumer.assigned = synced.assignment.iter().copied().collect();
                consumer.step = Step::In(self.now + secs(2));
                let theirs = &self.handed_out[&consumer.generation][&consumer.member_id];
                assert_eq!(*theirs, synced.assignment, "what the leader handed out");
            }
            Reply::Join(Err(JoinRefused { error: GroupError::MemberIdRequired, member_id })) => {
                self.consumers[i].member_id = member_id;
                self.consumers[i].step = Step::Out(self.now);
            }
            Reply::Join(Err(JoinRefused { error, .. })) | Reply::Sync(Err(error)) => self.fail(i, error, pause),
            Reply::Leave(_) | Reply::ConsumerHeartbeat(_) => unreachable!("{token:?}"),
        }
    }

    fn sync(&mut self, i: usize, assignments: Vec<(String, Bytes)>) {
        let token = self.token();
        let consumer = &mut self.consumers[i];
        consumer.step = Step::Syncing(token, self.now);
        let member = MemberRef {
            member_id: consumer.member_id.clone(),
            instance_id: consumer.instance.clone(),
            generation: consumer.generation,
        };
        let request = SyncRequest {
            protocol_type: Some("consumer".into()),
            protocol: Some(consumer.protocol.clone()),
            member,
            assignments: assignments.clone(),
        };
        let generation = consumer.generation;
        let completing = self.owner.group.describe().state == GroupState::CompletingRebalance;
        let effects = self.owner.group.sync(token, request, self.now);
        if completing && self.stable() {
            let before = self.handed_out.insert(generation, assignments.iter().cloned().collect());
            // After a crash the leader may be asked a second time, before anybody was told of the first.
            assert!(before.is_none_or(|b| b == assignments.into_iter().collect()), "two assignments in one generation");
        } else if self.stable() {
            // A static member that took another's place has what that one had.
            self.adopt(generation);
        }
        self.run(effects);
    }

    fn adopt(&mut self, generation: i32) {
        let Members::Classic { members, .. } = self.owner.group.describe().members else { return };
        let known = self.handed_out.entry(generation).or_default();
        for member in members {
            let unknown = !known.contains_key(&member.member_id);
            if unknown && known.values().any(|a| *a == member.assignment) {
                known.insert(member.member_id, member.assignment);
            }
        }
    }

    fn calm(&mut self) {
        self.chaos = false;
        self.owner.faults = false;
        self.consumers.iter_mut().for_each(|c| c.paused = Duration::ZERO);
        self.consumers.retain(|c| c.step != Step::Dead);
        self.consumers.truncate(12);
        let until = self.now + secs(200);
        while self.now < until {
            self.step();
        }
        self.consumers.retain(|c| c.step != Step::Dead);
        let described = self.owner.group.describe();
        let Members::Classic { members, .. } = &described.members else {
            assert!(self.consumers.is_empty());
            return;
        };
        let ids: BTreeSet<&String> = members.iter().map(|m| &m.member_id).collect();
        let ours: BTreeSet<&String> = self.consumers.iter().map(|c| &c.member_id).collect();
        assert_eq!(ids, ours, "those who live, and nobody else");
        assert!(self.owner.group.members() == self.owner.stored.members as usize);
        if ours.is_empty() {
            assert_eq!(described.state, GroupState::Empty);
            return;
        }
        assert_eq!(described.state, GroupState::Stable);
        let mut all: Vec<u8> = Vec::new();
        for consumer in &self.consumers {
            assert!(matches!(consumer.step, Step::In(_)), "{consumer:?}");
            assert_eq!(consumer.generation, described.generation, "one generation for all");
            all.extend(&consumer.assigned);
        }
        all.sort();
        assert_eq!(all, (0..PARTITIONS).collect::<Vec<_>>(), "each partition once");
        assert_eq!(self.open, BTreeSet::new(), "every question is answered");
    }
}

fn fresh(instance: Option<String>, now: Duration) -> Consumer {
    Consumer {
        instance,
        member_id: String::new(),
        generation: -1,
        protocol: String::new(),
        assigned: BTreeSet::new(),
        step: Step::Out(now),
        late: None,
        paused: Duration::ZERO,
    }
}

fn divide(members: &[JoinedMember]) -> Vec<(String, Bytes)> {
    let share = |i: usize| (0..PARTITIONS).filter(move |p| usize::from(*p) % members.len() == i).collect::<Vec<u8>>();
    members.iter().enumerate().map(|(i, m)| (m.member_id.clone(), share(i).into())).collect()
}

#[test]
fn classic_groups_come_right() {
    for seed in 0..seeds() {
        let result = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            (0..4).for_each(|_| world.spawn());
            (0..600).for_each(|_| world.step());
            world.calm();
            world.newest_generation
        });
        assert!(result.is_ok_and(|generation| generation > 0), "seed {seed}");
    }
}
