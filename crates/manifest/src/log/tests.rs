//! Several cores race on one simulated log: lost and late requests, lost replies, void slots, pauses, crashes. Pure and fast, so
//! that it tries many schedules; the simulation of whole nodes is in `testkit`.
//!
//! In half of them the log is cleaned behind a floor, with waiting times so short that paused nodes and late requests meet deleted
//! slots: what was first written to a slot is the truth, whatever stands there later.
//!
//! Every client creates a topic with a name of its own and claims the consumer group of that name: applied twice it would answer
//! "exists" and "refused".

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use bytes::Bytes;
use lakebed_record::ops::{ClaimGroup, CreateTopic, GroupRef, NodeDown, OpKind, OpOutcome};
use lakebed_record::{Incarnation, Namespace, Slot, TopicName};
use lakebed_store::{Created, Fault, FaultKind};

use super::core::{Action, Answered, Config, Core, GetAnswer};
use super::time::TimeView;
use crate::commit::{self, Opened};
use crate::state::State;
use crate::waits::Waits;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

#[derive(Debug)]
enum Event {
    /// A PUT reaches the store; whether its reply reaches the node.
    PutArrives {
        slot: Slot,
        op: u64,
        bytes: Bytes,
        told: bool,
    },
    PutReply {
        slot: Slot,
        op: u64,
        outcome: Created,
        date: u64,
    },
    GetArrives {
        slot: Slot,
        op: u64,
        told: bool,
    },
    GetReply {
        slot: Slot,
        op: u64,
        answer: GetAnswer,
        date: u64,
    },
    HeadArrives {
        slot: Slot,
        op: u64,
    },
    HeadReply {
        slot: Slot,
        op: u64,
        len: Option<u64>,
        date: u64,
    },
    FloorArrives {
        op: u64,
    },
    FloorReply {
        op: u64,
        floor: Option<Slot>,
    },
    /// The floor moves, and slots below it are deleted.
    Clean,
    Client,
    Wake,
    Crash,
    Resume,
}

struct Node {
    core: Core,
    state: State,
    life: u64,
    /// While paused, what would happen is held.
    paused: bool,
    held: Vec<Event>,
    /// Own groups by number, and the topic each creates.
    asked: BTreeMap<u64, String>,
    /// Barriers under way, and what had been acknowledged before.
    barriers: BTreeMap<u64, BTreeSet<String>>,
}

struct World {
    random: Random,
    now: u64,
    sequence: u64,
    events: BinaryHeap<Reverse<(u64, u64)>>,
    what: BTreeMap<u64, (usize, u64, Event)>,
    /// What the store holds, and since when.
    log: BTreeMap<Slot, (Bytes, u64)>,
    /// What was first written to each slot.
    truth: BTreeMap<Slot, Bytes>,
    cleaning: bool,
    floor: Slot,
    nodes: Vec<Node>,
    faults: bool,
    acknowledged: BTreeSet<String>,
    /// Of claims, as they were answered.
    epochs: BTreeSet<u64>,
    names: u64,
    hashes: BTreeMap<Slot, u64>,
    conflicts: u64,
    voids: u64,
    fenced: u64,
    barriers: u64,
    overtaken: u64,
    reused: u64,
    floor_checks: u64,
}

const CONFIG: Config = Config { kafka_address: String::new(), rack: String::new(), confirm_length: true };

impl World {
    fn new(seed: u64) -> World {
        let mut random = Random(seed);
        let nodes = 1 + random.below(4) as usize;
        let mut world = World {
            random,
            now: 1_000_000,
            sequence: 0,
            events: BinaryHeap::new(),
            what: BTreeMap::new(),
            log: BTreeMap::new(),
            truth: BTreeMap::new(),
            cleaning: seed.is_multiple_of(2),
            floor: Slot(1),
            nodes: Vec::new(),
            faults: true,
            acknowledged: BTreeSet::new(),
            epochs: BTreeSet::new(),
            names: 0,
            hashes: BTreeMap::new(),
            conflicts: 0,
            voids: 0,
            fenced: 0,
            barriers: 0,
            overtaken: 0,
            reused: 0,
            floor_checks: 0,
        };
        for index in 0..nodes {
            let state = world.empty();
            let core = world.core(&state);
            let (asked, barriers) = (BTreeMap::new(), BTreeMap::new());
            let node = Node { core, state, life: 0, paused: false, held: Vec::new(), asked, barriers };
            world.nodes.push(node);
            world.after(index, 1, Event::Wake);
            world.after(index, 5, Event::Client);
        }
        if world.cleaning {
            world.after(0, 500, Event::Clean);
        }
        world
    }

    fn empty(&self) -> State {
        let mut waits = Waits::default();
        if self.cleaning {
            (waits.slot_age_ms, waits.evidence_after_ms, waits.evidence_before_ms) = (3_000, 500, 200);
        }
        State::with_waits(waits)
    }

    fn core(&mut self, state: &State) -> Core {
        Core::new(Incarnation(self.random.next()), CONFIG, state, None, Duration::from_millis(self.now))
    }

    fn after(&mut self, node: usize, ms: u64, event: Event) {
        self.sequence += 1;
        let life = self.nodes[node].life;
        self.events.push(Reverse((self.now + ms, self.sequence)));
        self.what.insert(self.sequence, (node, life, event));
    }

    fn run(&mut self, events: u64) {
        for _ in 0..events {
            let Some(Reverse((at, sequence))) = self.events.pop() else { return };
            self.now = at.max(self.now);
            let (node, life, event) = self.what.remove(&sequence).expect("scheduled");
            self.step(node, life, event);
        }
    }

    fn step(&mut self, index: usize, life: u64, event: Event) {
        // What happens at the store happens whatever became of the sender.
        match event {
            Event::PutArrives { slot, op, bytes, told } => self.put_arrives(index, life, slot, op, bytes, told),
            Event::GetArrives { slot, op, told } => self.get_arrives(index, life, slot, op, told),
            Event::HeadArrives { slot, op } => {
                let len = self.log.get(&slot).map(|(b, _)| b.len() as u64);
                self.reply(index, life, Event::HeadReply { slot, op, len, date: self.now });
            }
            Event::FloorArrives { op } => {
                let floor = (!self.faults || self.random.chance(90)).then_some(self.floor);
                self.reply(index, life, Event::FloorReply { op, floor });
            }
            Event::Clean => self.clean(),
            _ if self.nodes[index].life != life => {}
            Event::Resume => self.resume(index),
            _ if self.nodes[index].paused => self.nodes[index].held.push(event),
            event => self.node_step(index, event),
        }
    }

    fn resume(&mut self, index: usize) {
        self.nodes[index].paused = false;
        for event in std::mem::take(&mut self.nodes[index].held) {
            self.after(index, 0, event);
        }
    }

    fn reply(&mut self, index: usize, life: u64, event: Event) {
        let delay = 1 + self.random.below(40);
        if self.nodes[index].life == life {
            self.after(index, delay, event);
        }
    }

    fn put_arrives(&mut self, index: usize, life: u64, slot: Slot, op: u64, bytes: Bytes, told: bool) {
        let outcome = if self.log.contains_key(&slot) {
            Created::Exists
        } else {
            let cut = self.faults && self.random.chance(2);
            self.voids += u64::from(cut);
            let kept = if cut { bytes.slice(..self.random.below(bytes.len() as u64) as usize) } else { bytes };
            if let Some(first) = self.truth.get(&slot) {
                self.reused += u64::from(*first != kept);
            }
            self.truth.entry(slot).or_insert_with(|| kept.clone());
            self.log.insert(slot, (kept, self.now));
            Created::Yes
        };
        let outcome = if told { outcome } else { Created::Unknown(timeout()) };
        self.reply(index, life, Event::PutReply { slot, op, outcome, date: self.now });
    }

    fn get_arrives(&mut self, index: usize, life: u64, slot: Slot, op: u64, told: bool) {
        let answer = match self.log.get(&slot) {
            _ if !told => GetAnswer::Fault,
            Some((bytes, _)) => GetAnswer::Found { bytes: bytes.clone(), total_len: bytes.len() as u64 },
            None => GetAnswer::NotFound,
        };
        self.reply(index, life, Event::GetReply { slot, op, answer, date: self.now });
    }

    fn node_step(&mut self, index: usize, event: Event) {
        let now = Duration::from_millis(self.now);
        let node = &mut self.nodes[index];
        let at = |date: u64| Answered { date_ms: Some(date as i64), now };
        match event {
            Event::PutReply { slot, op, outcome, date } => node.core.on_put(slot, op, &outcome, at(date), &node.state),
            Event::GetReply { slot, op, answer, date } => node.core.on_get(slot, op, answer, at(date), &node.state),
            Event::HeadReply { slot, op, len, date } => node.core.on_head(slot, op, len, at(date), &node.state),
            Event::FloorReply { op, floor } => node.core.on_floor(op, floor, now, &node.state),
            Event::Client => self.client(index),
            Event::Crash => return self.restart(index),
            _ => {}
        }
        self.poll(index);
    }

    fn client(&mut self, index: usize) {
        let now = Duration::from_millis(self.now);
        match self.random.below(100) {
            0..60 => {
                let name = format!("t{}", self.names);
                self.names += 1;
                let op = OpKind::CreateTopic(CreateTopic {
                    namespace: "default".into(),
                    name: name.clone(),
                    topic_id: u128::from(self.names).to_be_bytes().to_vec(),
                    partitions: 1,
                    configs: Vec::new(),
                });
                let group = Some(GroupRef { namespace: "default".into(), id: name.clone() });
                let claim = OpKind::ClaimGroup(ClaimGroup { group, replaces: 0 });
                let ops = vec![op.into(), claim.into()];
                let number = self.nodes[index].core.submit(ops, vec![Bytes::from_static(b"data")], now);
                self.nodes[index].asked.insert(number, name);
            }
            60..85 => {
                let id = self.nodes[index].core.barrier();
                let before = self.acknowledged.clone();
                self.nodes[index].barriers.insert(id, before);
            }
            85..88 if self.faults => {
                let pauses = if self.cleaning { [300, 4_000, 9_000] } else { [1_000, 61_000, 3_660_000] };
                let pause = pauses[self.random.below(3) as usize];
                self.nodes[index].paused = true;
                self.after(index, pause, Event::Resume);
            }
            88..90 if self.faults => self.after(index, 1, Event::Crash),
            90..92 if self.faults => {
                // A false suspicion of another node.
                let other = self.random.below(self.nodes.len() as u64) as usize;
                let incarnation = self.nodes[other].core.incarnation().0;
                let op = OpKind::NodeDown(NodeDown { incarnation });
                self.nodes[index].core.submit(vec![op.into()], Vec::new(), now);
            }
            _ => {}
        }
        let gap = 1 + self.random.below(150);
        if self.faults {
            self.after(index, gap, Event::Client);
        }
    }

    /// What replay of the whole log gives: here, a snapshot of its end.
    fn replay(&mut self) -> State {
        let mut state = self.empty();
        while let Some(bytes) = self.truth.get(&state.slot().next()) {
            let slot = state.slot().next();
            let content = match commit::open(slot, bytes, bytes.len() as u64) {
                Ok(Opened::Content(content)) => content,
                other => panic!("slot {slot}: {other:?}"),
            };
            let _applied = state.apply(slot, &content);
            self.check_hash(&state);
        }
        state
    }

    /// Moves the floor past whatever is old enough, and deletes some of what is below it. A snapshot is always at hand.
    fn clean(&mut self) {
        let age = self.empty().waits().slot_age_ms as u64;
        while self.log.get(&self.floor).is_some_and(|(_, since)| self.now - since >= age) {
            self.floor = self.floor.next();
        }
        let below: Vec<Slot> = self.log.range(..self.floor).map(|(slot, _)| *slot).collect();
        for slot in below {
            if self.random.chance(70) {
                self.log.remove(&slot);
            }
        }
        let gap = 100 + self.random.below(1_000);
        if self.faults {
            self.after(0, gap, Event::Clean);
        }
    }

    /// The process dies; a new one replays the log.
    fn restart(&mut self, index: usize) {
        let state = self.replay();
        self.begin(index, state);
    }

    fn begin(&mut self, index: usize, state: State) {
        let core = self.core(&state);
        let node = &mut self.nodes[index];
        (node.core, node.state, node.life, node.paused) = (core, state, node.life + 1, false);
        node.held.clear();
        node.asked.clear();
        node.barriers.clear();
        self.after(index, 1, Event::Wake);
        self.after(index, 10, Event::Client);
    }

    fn check_hash(&mut self, state: &State) {
        let hash = *self.hashes.entry(state.slot()).or_insert_with(|| state.hash());
        assert_eq!(hash, state.hash(), "states differ at slot {}", state.slot());
    }

    fn poll(&mut self, index: usize) {
        let time =
            TimeView { now: Duration::from_millis(self.now), wall_ms: self.now as i64 + 1_000_000_000, verified: true };
        let World { nodes, random, .. } = self;
        let node = &mut nodes[index];
        let actions = node.core.poll(&mut node.state, time, &mut || u128::from(random.next()));
        let state = node.state.clone();
        self.check_hash(&state);
        for action in actions {
            self.act(index, action);
        }
        let node = &self.nodes[index];
        if let Some(at) = node.core.next_wake(&node.state) {
            let ms = (at.as_millis() as u64).saturating_sub(self.now) + 1;
            self.after(index, ms, Event::Wake);
        }
    }

    fn act(&mut self, index: usize, action: Action) {
        match action {
            Action::Put { slot, body, op } => self.send_put(index, slot, op, &body.to_bytes()),
            Action::Get { slot, op } => {
                let told = !(self.faults && self.random.chance(10));
                let delay = 1 + self.random.below(40);
                self.after(index, delay, Event::GetArrives { slot, op, told });
            }
            Action::Head { slot, op } => {
                let delay = 1 + self.random.below(40);
                self.after(index, delay, Event::HeadArrives { slot, op });
            }
            Action::ReadFloor { op } => {
                self.floor_checks += 1;
                let delay = 1 + self.random.below(40);
                self.after(index, delay, Event::FloorArrives { op });
            }
            Action::Overtaken { slot, floor } => {
                assert!(slot < floor && floor <= self.floor);
                self.overtaken += 1;
                self.restart(index);
            }
            Action::Applied { .. } => {}
            Action::Resolve(resolved) => {
                let Some(name) = self.nodes[index].asked.remove(&resolved.number) else { return };
                let [OpOutcome::TopicCreated, OpOutcome::GroupClaimed { epoch }] = resolved.outcomes.as_slice() else {
                    panic!("{name} at slot {}: {:?}", resolved.slot, resolved.outcomes);
                };
                assert!(self.epochs.insert(*epoch), "the epoch {epoch} was given twice");
                self.acknowledged.insert(name);
            }
            Action::BarrierPassed(id) => {
                self.barriers += 1;
                let before = self.nodes[index].barriers.remove(&id).unwrap_or_default();
                let state = &self.nodes[index].state;
                let missing = before.iter().find(|name| !has(state, name));
                assert_eq!(missing, None, "a barrier passed at slot {} without what was acknowledged", state.slot());
            }
            Action::Fenced => {
                self.fenced += 1;
                let state = self.nodes[index].state.clone();
                self.begin(index, state);
            }
            Action::Diverged { slot, author } => panic!("diverged at {slot} from {author}"),
            Action::Halt(why) => panic!("halted: {why}"),
        }
    }

    fn send_put(&mut self, index: usize, slot: Slot, op: u64, bytes: &Bytes) {
        let delay = 1 + self.random.below(60);
        let faults = self.faults;
        if faults && self.random.chance(8) {
            // Lost, or landing minutes later, after the sender has given it up.
            if self.random.chance(50) {
                let late = if self.cleaning { 1_000 } else { 100_000 }
                    + self.random.below(if self.cleaning { 20_000 } else { 400_000 });
                self.after(index, late, Event::PutArrives { slot, op: 0, bytes: bytes.clone(), told: false });
            }
            let outcome = Created::Unknown(timeout());
            self.after(index, delay + 50, Event::PutReply { slot, op, outcome, date: 0 });
            return;
        }
        let told = !(faults && self.random.chance(8));
        if faults && self.random.chance(8) {
            let late = delay + self.random.below(if self.cleaning { 8_000 } else { 1_000 });
            self.after(index, late, Event::PutArrives { slot, op: 0, bytes: bytes.clone(), told: true });
        }
        self.after(index, delay, Event::PutArrives { slot, op, bytes: bytes.clone(), told });
    }

    fn finish(&mut self) {
        self.faults = false;
        (0..self.nodes.len()).for_each(|index| self.resume(index));
        // Invariant 11: within 30 s of simulated time everything pending has committed.
        let end = self.now + 30_000;
        while let Some(Reverse((at, _))) = self.events.peek()
            && *at <= end
        {
            self.run(1);
        }
        let truth = self.replay();
        let lost = self.acknowledged.iter().find(|name| !has(&truth, name));
        assert_eq!(lost, None, "acknowledged, and not in what was first written");
        for node in &self.nodes {
            let core = node.core.describe();
            assert!(node.asked.is_empty(), "still pending at slot {}: {:?}; {core}", node.state.slot(), node.asked);
            assert!(node.barriers.is_empty(), "a barrier never passed");
            self.acknowledged.iter().for_each(|name| {
                let last = self.nodes.iter().map(|n| n.state.slot()).max();
                assert!(
                    has(&node.state, name) || Some(node.state.slot()) < last,
                    "{name} was acknowledged and is gone"
                );
            });
        }
        self.conflicts = self.nodes.iter().map(|n| n.core.counters().conflicts).sum();
    }
}

fn has(state: &State, name: &str) -> bool {
    state.topic_by_name(&Namespace::default(), &TopicName::new(name).expect("a name")).is_some()
}

fn timeout() -> Fault {
    Fault { kind: FaultKind::Timeout, message: "no reply".into() }
}

fn simulate(seed: u64) -> World {
    let mut world = World::new(seed);
    world.run(3_000);
    world.finish();
    world
}

#[test]
fn many_schedules() {
    let seeds = std::env::var("LAKEBED_CORE_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(300);
    let first = std::env::var("LAKEBED_CORE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    let (mut acknowledged, mut conflicts, mut voids, mut fenced, mut barriers) = (0, 0, 0, 0, 0);
    let (mut overtaken, mut reused, mut floor_checks) = (0, 0, 0);
    for seed in first..first + seeds {
        let caught = std::panic::catch_unwind(|| simulate(seed));
        let Ok(world) = caught else { panic!("seed {seed}: run LAKEBED_CORE_SEED={seed} LAKEBED_CORE_SEEDS=1") };
        acknowledged += world.acknowledged.len();
        conflicts += world.conflicts;
        voids += world.voids;
        fenced += world.fenced;
        barriers += world.barriers;
        overtaken += world.overtaken;
        reused += world.reused;
        floor_checks += world.floor_checks;
    }
    println!(
        "{seeds} seeds: {acknowledged} acknowledged, {conflicts} conflicts, {voids} void, {fenced} fenced, {barriers} barriers"
    );
    println!("{overtaken} overtaken by the floor, {reused} slots reused, {floor_checks} reads of CURRENT");
    if seeds >= 100 {
        assert!([acknowledged as u64, conflicts, voids, fenced, barriers, overtaken, reused].iter().all(|n| *n > 0));
    }
}
