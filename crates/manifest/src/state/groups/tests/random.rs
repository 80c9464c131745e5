//! Random ops beside a naive model; snapshots on the way, replays from each, two replicas: all the same.

use std::collections::{BTreeMap, BTreeSet};

use lakebed_record::ops::{ConfigChange, ConfigEntry, SetConfigs};

use super::super::super::{ConfigResource, decode_globals, encode_globals};
use super::*;

struct Random(u64);

impl Random {
    /// SplitMix64.
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % n
    }
}

/// What the rules say, in the plainest form: whole maps, no sharing, no sums.
#[derive(Default)]
struct Model {
    epochs: u64,
    groups: BTreeMap<String, ModelGroup>,
    gone: BTreeSet<u128>,
    configs: BTreeMap<String, BTreeMap<String, String>>,
    now: i64,
}

struct ModelGroup {
    claim: GroupClaim,
    generation: i32,
    members: u32,
    empty_since: i64,
    /// Offset and when.
    offsets: BTreeMap<(u128, i32), (i64, i64)>,
}

impl Model {
    fn owned(&mut self, node: Incarnation, id: &str, epoch: u64) -> Option<&mut ModelGroup> {
        self.groups.get_mut(id).filter(|g| g.claim == GroupClaim { epoch, owner: node })
    }

    fn claim(&mut self, node: Incarnation, id: &str, replaces: u64) -> OpOutcome {
        let present = self.groups.get(id).map(|g| g.claim);
        if present.map_or(0, |c| c.epoch) != replaces {
            return OpOutcome::ClaimRefused { present };
        }
        self.epochs += 1;
        let claim = GroupClaim { epoch: self.epochs, owner: node };
        let now = self.now;
        let fresh = || ModelGroup { claim, generation: 0, members: 0, empty_since: now, offsets: BTreeMap::new() };
        self.groups.entry(id.into()).or_insert_with(fresh).claim = claim;
        OpOutcome::GroupClaimed { epoch: self.epochs }
    }

    fn write(&mut self, node: Incarnation, id: &str, epoch: u64, from: i32, members: u32) -> OpOutcome {
        let now = self.now;
        let Some(g) = self.owned(node, id, epoch) else { return OpOutcome::NotOwner };
        if g.generation != from {
            return OpOutcome::IllegalGeneration { generation: g.generation };
        }
        if g.members > 0 && members == 0 {
            g.empty_since = now;
        }
        (g.generation, g.members) = (from + 1, members);
        OpOutcome::Done
    }

    fn commit(
        &mut self,
        node: Incarnation,
        id: &str,
        epoch: u64,
        generation: Option<i32>,
        topic: u128,
        offsets: &[(i32, i64)],
    ) -> OpOutcome {
        let (now, known) = (self.now, !self.gone.contains(&topic));
        let Some(g) = self.owned(node, id, epoch) else { return OpOutcome::NotOwner };
        match generation {
            None if g.members > 0 => return OpOutcome::NonEmpty,
            Some(generation) if generation != g.generation => {
                return OpOutcome::IllegalGeneration { generation: g.generation };
            }
            _ => {}
        }
        let each = offsets.iter().map(|&(partition, offset)| {
            if !known || partition >= PARTITIONS {
                return CommitOutcome::UnknownPartition;
            }
            g.offsets.insert((topic, partition), (offset, now));
            CommitOutcome::Committed
        });
        OpOutcome::OffsetsCommitted(vec![each.collect()])
    }

    fn expire(&mut self, id: &str, named: &[TopicPartition]) {
        let (now, gone) = (self.now, &self.gone);
        let Some(g) = self.groups.get_mut(id) else { return };
        let old = |at: i64| now - at > 7 * DAY;
        for tp in named {
            let at = (tp.topic.0, tp.partition.0);
            let Some((_, when)) = g.offsets.get(&at) else { continue };
            let idle = g.members == 0 && old(g.empty_since) && old(*when);
            if idle || gone.contains(&tp.topic.0) {
                g.offsets.remove(&at);
            }
        }
        if g.members == 0 && g.offsets.is_empty() && old(g.empty_since) {
            self.groups.remove(id);
        }
    }
}

const PARTITIONS: i32 = 400;
const GROUPS: u64 = 6;

struct Run {
    random: Random,
    log: Log,
    model: Model,
    topics: Vec<u128>,
    seen: BTreeMap<&'static str, u32>,
}

impl Run {
    fn new(seed: u64) -> Run {
        let mut run = Run {
            random: Random(seed),
            log: Log::new(),
            model: Model { now: T0, ..Model::default() },
            topics: Vec::new(),
            seen: BTreeMap::new(),
        };
        run.create_topic();
        run.create_topic();
        run
    }

    fn create_topic(&mut self) {
        let id = 100 + self.topics.len() as u128;
        let outcome = self.log.one(A, create_topic("default", id, &format!("topic-{id}"), PARTITIONS as u32));
        assert_eq!(outcome, OpOutcome::TopicCreated);
        self.topics.push(id);
    }

    fn step(&mut self) {
        let r = &mut self.random;
        let id = format!("group-{}", r.below(GROUPS));
        let node = if r.below(10) < 6 { A } else { B };
        let known = self.model.groups.get(&id);
        // Mostly right, else an epoch and generation of the near past or future.
        let epoch = known.map_or(0, |g| g.claim.epoch) + if r.below(10) == 0 { r.below(3) } else { 0 };
        let generation = known.map_or(0, |g| g.generation) - i32::from(r.below(10) == 0);
        let node = known.filter(|_| r.below(10) < 8).map_or(node, |g| g.claim.owner);
        let topic = self.topics[r.below(self.topics.len() as u64) as usize];
        match r.below(100) {
            0..8 => {
                let outcome = self.log.one(node, claim(&id, epoch));
                assert_eq!(outcome, self.model.claim(node, &id, epoch));
                self.saw(if matches!(outcome, OpOutcome::GroupClaimed { .. }) { "claimed" } else { "claim refused" });
            }
            8..25 => {
                let members = [0, 0, 1, 5][r.below(4) as usize];
                let outcome = self.log.one(node, OpKind::WriteGroup(write(&id, epoch, generation, members)));
                assert_eq!(outcome, self.model.write(node, &id, epoch, generation, members));
                self.saw(if outcome == OpOutcome::Done { "written" } else { "write refused" });
            }
            25..65 => {
                let generation = (r.below(2) == 0).then_some(generation);
                let many = if r.below(4) == 0 { 200 } else { 3 };
                let offsets: Vec<(i32, i64)> = (0..r.below(many))
                    .map(|_| (r.below(PARTITIONS as u64 + 5) as i32, r.below(1_000) as i64))
                    .collect();
                let outcome = self.log.one(node, commit(&id, epoch, generation, topic, &offsets));
                assert_eq!(outcome, self.model.commit(node, &id, epoch, generation, topic, &offsets));
                self.saw(if matches!(outcome, OpOutcome::OffsetsCommitted(_)) {
                    "committed"
                } else {
                    "commit refused"
                });
            }
            65..75 => {
                let named = self.some_partitions(topic);
                let topics = TopicPartitions::of(named.iter().copied());
                let op = OpKind::DeleteOffsets(DeleteOffsets { group: group(&id), epoch, topics });
                let outcome = self.log.one(node, op);
                let owned = self.model.owned(node, &id, epoch);
                assert_eq!(outcome == OpOutcome::Done, owned.is_some());
                if let Some(g) = owned {
                    g.offsets.retain(|(topic, p), _| !named.contains(&tp(*topic, *p)));
                }
            }
            75..77 => {
                let outcome = self.log.one(node, OpKind::DeleteGroup(DeleteGroup { group: group(&id), epoch }));
                let members = self.model.owned(node, &id, epoch).map(|g| g.members);
                let expected = match members {
                    None => OpOutcome::NotOwner,
                    Some(0) => OpOutcome::Done,
                    Some(_) => OpOutcome::NonEmpty,
                };
                assert_eq!(outcome, expected);
                if outcome == OpOutcome::Done {
                    self.model.groups.remove(&id);
                    self.saw("deleted");
                }
            }
            77..87 => {
                let mut named = self.some_partitions(topic);
                named.extend((0..PARTITIONS).filter(|_| self.random.below(2) == 0).map(|p| tp(topic, p)));
                let before = self.model.groups.len();
                assert_eq!(self.log.one(node, expire(&id, &named)), OpOutcome::Done);
                self.model.expire(&id, &named);
                if self.model.groups.len() < before {
                    self.saw("group expired");
                }
            }
            87..92 => {
                let ms = [1, DAY, 4 * DAY, 8 * DAY][r.below(4) as usize];
                self.log.tick(ms);
                self.model.now += ms;
            }
            92..94 if self.topics.len() < 12 => {
                self.log.one(A, OpKind::DeleteTopic(DeleteTopic { topic_id: topic.to_be_bytes().to_vec() }));
                self.model.gone.insert(topic);
                self.create_topic();
            }
            _ => self.configs(&id),
        }
    }

    fn configs(&mut self, id: &str) {
        let r = &mut self.random;
        let name = |r: &mut Random| format!("config-{}", r.below(4));
        let set: Vec<(String, String)> = (0..r.below(3)).map(|_| (name(r), r.below(100).to_string())).collect();
        let delete: Vec<String> = (0..r.below(3)).map(|_| name(r)).collect();
        let replace = r.below(5) == 0;
        let entry = |(name, value): &(String, String)| ConfigEntry { name: name.clone(), value: value.clone() };
        let change = ConfigChange { replace, set: set.iter().map(entry).collect(), delete: delete.clone() };
        let op = SetConfigs { scope: 1, namespace: "default".into(), name: id.into(), change: Some(change) };
        assert_eq!(self.log.one(A, OpKind::SetConfigs(op)), OpOutcome::Done);
        let configs = self.model.configs.entry(id.into()).or_default();
        if replace {
            configs.clear();
        }
        delete.iter().for_each(|name| drop(configs.remove(name)));
        configs.extend(set);
    }

    fn some_partitions(&mut self, topic: u128) -> Vec<TopicPartition> {
        let r = &mut self.random;
        let from = r.below(PARTITIONS as u64) as i32;
        (from..from + r.below(150) as i32).map(|p| tp(topic, p)).collect()
    }

    fn saw(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn compare(&self) {
        let state = &self.log.state;
        let ids: BTreeSet<&str> = state.consumer_groups().map(|(key, _)| key.id.as_str()).collect();
        assert_eq!(ids, self.model.groups.keys().map(String::as_str).collect());
        for (id, expected) in &self.model.groups {
            let g = self.log.group(id);
            assert_eq!((g.claim, g.generation, g.members), (expected.claim, expected.generation, expected.members));
            let since = (expected.members == 0).then_some(LogTime(expected.empty_since));
            assert_eq!(g.empty_since, since, "{id}");
            let offsets = g.offsets.iter().map(|(tp, o)| ((tp.topic.0, tp.partition.0), (o.offset, o.committed_at.0)));
            assert!(offsets.eq(expected.offsets.iter().map(|(tp, o)| (*tp, *o))), "{id}");
            assert_eq!(g.offsets.len(), expected.offsets.len());
        }
        for (id, expected) in &self.model.configs {
            let configs = state.configs(&ConfigResource::Group(key(id)));
            assert!(configs.iter().cloned().eq(expected.clone()), "{id}");
        }
        let totals = state.group_totals();
        let offsets: usize = self.model.groups.values().map(|g| g.offsets.len()).sum();
        let empty = self.model.groups.values().filter(|g| g.members == 0).count();
        assert_eq!((totals.groups, totals.offsets, totals.empty), (self.model.groups.len(), offsets, empty));
    }

    fn through_snapshot(&self) -> State {
        let mut back = decode_globals(&encode_globals(&self.log.state)).expect("globals");
        for first in (0..256).step_by(64) {
            back.decode_part(&self.log.state.encode_part(first..first + 64)).expect("a part");
        }
        self.same(&back);
        back
    }

    fn same(&self, other: &State) {
        let state = &self.log.state;
        assert_eq!(other.hash(), state.hash());
        assert_eq!(other.group_totals(), state.group_totals());
        assert_eq!(other.config_bytes, state.config_bytes);
        assert!(other.consumer_groups().eq(state.consumer_groups()));
        assert!(other.config_resources().eq(state.config_resources()));
    }
}

#[test]
fn random_ops_give_what_the_naive_model_gives_on_every_replica() {
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    for seed in 1..=60 {
        let mut run = Run::new(seed);
        // Kept states are shared with the live one, so that copying on write is tried as well.
        let mut kept = vec![(State::new(), State::new().hash())];
        for step in 0..250 {
            run.step();
            if step % 25 == 0 {
                run.compare();
                kept.push((run.through_snapshot(), run.log.state.hash()));
                kept.push((run.log.state.clone(), run.log.state.hash()));
            }
        }
        run.compare();
        run.through_snapshot();
        for (mut replica, hash) in kept {
            assert_eq!(replica.hash(), hash, "a state that was kept has changed");
            for content in &run.log.history[replica.slot().0 as usize..] {
                let _applied = replica.apply(replica.slot().next(), content);
            }
            run.same(&replica);
        }
        run.seen.iter().for_each(|(what, n)| *seen.entry(what).or_default() += n);
    }
    let wanted = [
        "claimed",
        "claim refused",
        "written",
        "write refused",
        "committed",
        "commit refused",
        "deleted",
        "group expired",
    ];
    wanted.iter().for_each(|what| assert!(seen.get(what).is_some_and(|n| *n > 20), "{what}: {seen:?}"));
}
