//! The core of the log: which slot to attempt with which groups, whose a slot is, what to send again, whom to answer.
//!
//! Pure: events come in through `submit`, `barrier` and the `on_…` methods, [`Core::poll`] applies what can be applied and
//! returns what is to be done. Rules are those of the design's 4.3; the names of the fields follow the model of it.
//! A crash loses this whole struct: whatever had no outcome was never acknowledged.

mod answers;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use lakebed_record::ops::{Group, GroupOutcome, NodeUp, Op, OpKind, OpOutcome, StateAssertion};
use lakebed_record::{BrokerId, CommitId, Incarnation, LogTime, Slot, TopicPartition};
use lakebed_store::Body;

use super::belief::{Belief, Evidence};
use super::flight::{Flight, Step};
use super::time::TimeView;
use crate::commit::{self, Draft, SlotContent};
use crate::state::State;

pub use self::answers::Answered;

/// A node attempts only this many slots after its applied prefix (rule 4).
pub const PIPELINE: u64 = 4;
/// A commit carries no further groups once its inlined bytes reach this.
const INLINE_LIMIT: u64 = 256 << 10;
/// Slots that are read in parallel while catching up.
const MAX_AHEAD: u64 = 64;
/// A larger step needs verified time (4.4).
const MAX_STEP_MS: i64 = crate::state::MAX_STEP_MS;
/// A hole is filled with an empty commit when nothing was pending for this long (rule 4).
const FILL_AFTER: Duration = Duration::from_secs(1);
const FOLLOW_EVERY: Duration = Duration::from_millis(100);
const FOLLOW_IDLE_EVERY: Duration = Duration::from_secs(1);
const FOLLOW_IDLE_AFTER: Duration = Duration::from_secs(10);
/// Reads of a slot with a bad CRC before the node stops (rule 6).
const CRC_TRIES: u32 = 8;
/// State hashes of this many slots are kept to compare with what commits assert.
const KEPT_HASHES: usize = 256;

#[derive(Clone, Debug)]
pub struct Config {
    pub kafka_address: String,
    pub rack: String,
    /// See [`lakebed_store::Store::refuses_short_bodies`].
    pub confirm_length: bool,
}

/// What the shell is to do.
#[derive(Debug)]
pub enum Action {
    Put {
        slot: Slot,
        body: Body,
        op: u64,
    },
    Get {
        slot: Slot,
        op: u64,
    },
    Head {
        slot: Slot,
        op: u64,
    },
    /// Read CURRENT now: answers that came before are in doubt (rule 7).
    ReadFloor {
        op: u64,
    },
    /// A slot was applied; `body` if this node holds the whole object.
    Applied {
        slot: Slot,
        changed: Vec<TopicPartition>,
        body: Option<Body>,
        own: bool,
    },
    Resolve(Resolved),
    BarrierPassed(u64),
    /// This incarnation applies no more: everything pending is answered with a retriable error, and a new one begins.
    Fenced,
    /// The floor has passed a slot that this node was at: jump by snapshot and begin anew. What is pending may have happened.
    Overtaken {
        slot: Slot,
        floor: Slot,
    },
    /// This author asserts another state than this node has: replay tells who is wrong.
    Diverged {
        slot: Slot,
        author: Incarnation,
    },
    /// Serving on would be wrong; an operator has to look.
    Halt(String),
}

/// A group's outcome, from the slot where it applied (rule 5).
#[derive(Debug)]
pub struct Resolved {
    pub number: u64,
    pub slot: Slot,
    /// Where the group's inline bytes start in the commit object.
    pub inline_start: u64,
    pub outcomes: Vec<OpOutcome>,
}

#[derive(Debug)]
pub enum GetAnswer {
    Found { bytes: Bytes, total_len: u64 },
    NotFound,
    Fault,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    pub commits: u64,
    pub conflicts: u64,
    pub ticks: u64,
    pub fillers: u64,
    pub void_slots: u64,
    pub retries: u64,
    pub probes: u64,
    /// 412 on PUT, then 404 on GET.
    pub vanished: u64,
    /// Reads of CURRENT because of an answer in doubt.
    pub floor_checks: u64,
}

struct Pending {
    group: Group,
    inline: Vec<Bytes>,
    submitted: Duration,
}

/// A slot read ahead of the applied prefix.
struct Foreign {
    content: SlotContent,
    body: Option<Body>,
}

#[derive(Clone, Copy)]
struct Get {
    op: u64,
    /// Not before, after a fault.
    retry_at: Option<Duration>,
    tries: u32,
}

/// A read of CURRENT that is under way, or that failed and waits.
struct FloorCheck {
    op: u64,
    retry_at: Option<Duration>,
    tries: u32,
}

pub struct Core {
    me: Incarnation,
    config: Config,
    belief: Belief,
    floor_check: Option<FloorCheck>,
    registered: Option<BrokerId>,
    /// Own groups without an outcome, by number.
    groups: BTreeMap<u64, Pending>,
    next_number: u64,
    /// The next group to pack is this one (the model's `nxt`).
    next_to_send: u64,
    /// While not 0: one slot at a time, until this group has an outcome (rule 2).
    serial_until: u64,
    flights: BTreeMap<Slot, Flight>,
    foreign: BTreeMap<Slot, Foreign>,
    gets: BTreeMap<Slot, Get>,
    bad_crc: BTreeMap<Slot, u32>,
    /// How many slots past the applied prefix are known or suspected to be written by others.
    ahead: u64,
    /// Doubles with each slot of others that is found, so that a lagging node catches up in few round trips.
    burst: u64,
    ops: u64,
    barriers: Vec<(u64, u64)>,
    next_barrier: u64,
    /// The last operation that showed, when it was sent, all that had been committed by then to be applied here.
    caught_up: u64,
    /// Slots that own PUTs created, and when those were sent, until they have applied.
    created: BTreeMap<Slot, u64>,
    following: bool,
    last_probe: Duration,
    last_commit_seen: Duration,
    idle_since: Duration,
    wanted_log_time: bool,
    hashes: VecDeque<(Slot, u64)>,
    /// Authors that replay has shown to be wrong: what they assert is worth nothing.
    distrusted: BTreeSet<Incarnation>,
    counters: Counters,
    actions: Vec<Action>,
    stopped: bool,
}

impl Core {
    /// A new incarnation on a state that was replayed up to `state.slot()`. Its first group is its `node up`.
    pub fn new(me: Incarnation, config: Config, state: &State, evidence: Option<Evidence>, now: Duration) -> Core {
        let up = NodeUp {
            fence: state.log_time().0,
            kafka_address: config.kafka_address.clone(),
            rack: config.rack.clone(),
        };
        let mut core = Core {
            me,
            config,
            belief: Belief::new(*state.waits(), evidence),
            floor_check: None,
            registered: None,
            groups: BTreeMap::new(),
            next_number: 1,
            next_to_send: 1,
            serial_until: 0,
            flights: BTreeMap::new(),
            foreign: BTreeMap::new(),
            gets: BTreeMap::new(),
            bad_crc: BTreeMap::new(),
            ahead: 0,
            burst: 1,
            ops: 0,
            barriers: Vec::new(),
            next_barrier: 1,
            caught_up: 0,
            created: BTreeMap::new(),
            following: false,
            last_probe: now,
            last_commit_seen: now,
            idle_since: now,
            wanted_log_time: false,
            hashes: VecDeque::from([(state.slot(), state.hash())]),
            distrusted: BTreeSet::new(),
            counters: Counters::default(),
            actions: Vec::new(),
            stopped: false,
        };
        core.submit(vec![OpKind::NodeUp(up).into()], Vec::new(), now);
        core
    }

    pub fn incarnation(&self) -> Incarnation {
        self.me
    }

    pub fn registered(&self) -> Option<BrokerId> {
        self.registered
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// What a new incarnation on the same store may rest on.
    pub fn evidence(&self) -> Option<Evidence> {
        self.belief.last()
    }

    /// Age of the oldest own group without an outcome.
    pub fn oldest_pending(&self, now: Duration) -> Option<Duration> {
        self.groups.values().next().map(|p| now.saturating_sub(p.submitted))
    }

    #[cfg(test)]
    pub fn describe(&self) -> String {
        let flights: Vec<_> = self.flights.iter().map(|(s, f)| (s.0, f.step, f.groups_carried())).collect();
        let gets: Vec<_> = self.gets.iter().map(|(s, g)| (s.0, g.op, g.retry_at)).collect();
        format!(
            "next to send {} of {}, serial until {}, flights {flights:?}, foreign {:?}, gets {gets:?}, ahead {}, stopped {}",
            self.next_to_send,
            self.next_number,
            self.serial_until,
            self.foreign.keys().collect::<Vec<_>>(),
            self.ahead,
            self.stopped
        )
    }

    /// Numbers the group; it is answered once, by [`Action::Resolve`] or by [`Action::Fenced`].
    pub fn submit(&mut self, ops: Vec<Op>, inline: Vec<Bytes>, now: Duration) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        let inline_len = inline.iter().map(|b| b.len() as u64).sum();
        let group =
            Group { incarnation: self.me.0, number, principal: String::new(), ops, inline_start: 0, inline_len };
        self.groups.insert(number, Pending { group, inline, submitted: now });
        number
    }

    /// A read barrier: passed once this node is known not to lag behind what was committed before this call.
    pub fn barrier(&mut self) -> u64 {
        let id = self.next_barrier;
        self.next_barrier += 1;
        self.barriers.push((id, self.ops));
        id
    }

    /// Forgets barriers that nobody waits for any more.
    pub fn retain_barriers(&mut self, wanted: impl Fn(u64) -> bool) {
        self.barriers.retain(|(id, _)| wanted(*id));
    }

    /// While set, the slot after the applied prefix is probed for commits of others.
    pub fn set_following(&mut self, following: bool, now: Duration) {
        if following && !self.following {
            self.last_commit_seen = now;
        }
        self.following = following;
    }

    /// While set, log time is brought within a minute of the store's clock (for whoever wants to name a segment).
    pub fn want_log_time(&mut self, wanted: bool) {
        self.wanted_log_time = wanted;
    }

    /// What this author asserts is not looked at any more.
    pub fn distrust(&mut self, author: Incarnation) {
        self.distrusted.insert(author);
    }

    /// Nothing is applied or sent any more.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Slots beyond the applied prefix that start-up has read.
    pub fn add_read_ahead(&mut self, slot: Slot, content: SlotContent) {
        self.foreign.insert(slot, Foreign { content, body: None });
    }

    /// The last operation that proved that this node, when it was sent, lagged behind nothing; operations are numbered as they are
    /// sent, and 0 is none.
    pub fn caught_up(&self) -> u64 {
        self.caught_up
    }

    fn pass_barriers(&mut self, op: u64) {
        self.caught_up = self.caught_up.max(op);
        let actions = &mut self.actions;
        self.barriers.retain(|(id, since)| {
            let waits = op <= *since;
            if !waits {
                actions.push(Action::BarrierPassed(*id));
            }
            waits
        });
    }

    fn halt(&mut self, why: String) {
        if !self.stopped {
            self.stopped = true;
            self.actions.push(Action::Halt(why));
        }
    }

    /// Applies what can be applied, starts what can be started; returns what is to be done.
    pub fn poll(&mut self, state: &mut State, time: TimeView, entropy: &mut dyn FnMut() -> u128) -> Vec<Action> {
        if !self.stopped {
            self.drain(state, time.now);
        }
        if !self.stopped {
            self.check_floor(time.now);
            self.send_again(time.now);
            // Reading comes first: after a loss nothing is attempted before the way ahead is known.
            self.start_gets(state, time.now);
            self.start_commits(state, time, entropy);
        }
        std::mem::take(&mut self.actions)
    }

    /// When to poll again if nothing happens before.
    pub fn next_wake(&self, state: &State) -> Option<Duration> {
        let puts = self.flights.values().filter_map(|f| match f.step {
            Step::Retry(at) => Some(at),
            _ => None,
        });
        if self.stopped {
            return None;
        }
        let gets = self.gets.values().filter_map(|g| g.retry_at);
        let probing = self.gets.contains_key(&state.slot().next());
        let follow = (self.following && !probing).then(|| self.next_probe());
        let fill = (self.hole(state) && self.free_slot(state).is_some()).then_some(self.idle_since + FILL_AFTER);
        let check = self.floor_check.as_ref().and_then(|c| c.retry_at);
        puts.chain(gets).chain(follow).chain(fill).chain(check).min()
    }

    /// Applies the contiguous prefix of what is known.
    fn drain(&mut self, state: &mut State, now: Duration) {
        loop {
            let slot = state.slot().next();
            let stored = self.flights.get(&slot).is_some_and(|f| f.step == Step::Stored);
            let (content, body, own) = if stored {
                let Some(flight) = self.flights.remove(&slot) else { break };
                (SlotContent::Commit(flight.commit), Some(flight.body), true)
            } else {
                let Some(foreign) = self.foreign.remove(&slot) else { break };
                (foreign.content, foreign.body, false)
            };
            self.gets.remove(&slot);
            self.apply(state, slot, &content, body, own);
            if self.stopped {
                return;
            }
            self.last_commit_seen = now;
        }
        self.belief.advance(state.slot().next());
        self.resend(state);
    }

    fn apply(&mut self, state: &mut State, slot: Slot, content: &SlotContent, body: Option<Body>, own: bool) {
        let applied = state.apply(slot, content);
        self.ahead = self.ahead.saturating_sub(1);
        self.remember_hash(state);
        match content {
            SlotContent::Commit(commit) => {
                if let Some(assert) = commit.assert.filter(|a| self.contradicts(a, commit.writer)) {
                    self.stopped = true;
                    self.actions.push(Action::Diverged { slot: Slot(assert.slot), author: commit.writer });
                    return;
                }
                self.actions.push(Action::Applied { slot, changed: applied.changed, body, own });
                for (group, outcome) in commit.groups.iter().zip(applied.outcomes) {
                    if group.incarnation == self.me.0 {
                        self.resolve(slot, commit.payload_start.saturating_add(group.inline_start), group, outcome);
                    }
                }
            }
            SlotContent::Void => {
                self.counters.void_slots += 1;
                self.actions.push(Action::Applied { slot, changed: applied.changed, body: None, own: false });
            }
        }
        if let Some(op) = self.created.remove(&slot) {
            self.pass_barriers(op);
        }
        let gone = || state.node(self.me).is_none_or(|n| n.down_at.is_some());
        if self.registered.is_some() && gone() {
            self.fenced();
        }
    }

    fn fenced(&mut self) {
        if !self.stopped {
            self.stopped = true;
            self.actions.push(Action::Fenced);
        }
    }

    /// Rule 5: only an outcome from here answers a group.
    fn resolve(&mut self, slot: Slot, inline_start: u64, group: &Group, outcome: GroupOutcome) {
        match outcome {
            GroupOutcome::Applied(outcomes) => {
                if let [OpOutcome::NodeUp { broker_id }] = outcomes.as_slice() {
                    self.registered = Some(*broker_id);
                }
                self.groups.remove(&group.number);
                self.actions.push(Action::Resolve(Resolved { number: group.number, slot, inline_start, outcomes }));
            }
            GroupOutcome::Fenced => self.fenced(),
            GroupOutcome::Ignored | GroupOutcome::Gap => {}
        }
    }

    /// After applying: what no attempt carries any more is packed again, and pipelining resumes when the loss is made good.
    fn resend(&mut self, state: &State) {
        let last = state.node(self.me).map_or(0, |n| n.last_group);
        if last >= self.serial_until {
            self.serial_until = 0;
        }
        let wanted = last + 1;
        if wanted < self.next_to_send && !self.flights.values().any(|f| f.carries(wanted)) {
            self.next_to_send = wanted;
        }
    }

    fn remember_hash(&mut self, state: &State) {
        if self.hashes.len() == KEPT_HASHES {
            self.hashes.pop_front();
        }
        self.hashes.push_back((state.slot(), state.hash()));
    }

    fn contradicts(&self, assert: &StateAssertion, author: Incarnation) -> bool {
        let differs = self.hashes.iter().any(|(slot, hash)| slot.0 == assert.slot && *hash != assert.hash);
        differs && !self.distrusted.contains(&author)
    }

    fn send_again(&mut self, now: Duration) {
        for (slot, flight) in &mut self.flights {
            if matches!(flight.step, Step::Retry(at) if at <= now) {
                self.ops += 1;
                flight.op = self.ops;
                flight.tries += 1;
                flight.step = Step::Putting;
                self.actions.push(Action::Put { slot: *slot, body: flight.body.clone(), op: flight.op });
            }
        }
    }

    fn start_commits(&mut self, state: &State, time: TimeView, entropy: &mut dyn FnMut() -> u128) {
        if self.next_to_send < self.next_number {
            self.idle_since = time.now;
        }
        while self.next_to_send < self.next_number {
            let Some(slot) = self.free_slot(state) else { return };
            // A tick goes first where it may take log time further than a commit with groups could.
            if self.tick_due(state, time) {
                self.send_empty(slot, state, time, entropy);
                continue;
            }
            let end = self.pack_until();
            let draft = self.draft(slot, state, time, false, entropy);
            let groups = self.groups.range(self.next_to_send..end);
            let (commit, body) = draft.seal(groups.map(|(_, p)| (&p.group, p.inline.as_slice())));
            self.next_to_send = end;
            self.counters.commits += 1;
            self.put(slot, commit, body);
        }
        let fill = self.hole(state) && time.now >= self.idle_since + FILL_AFTER;
        if (fill || self.tick_due(state, time))
            && let Some(slot) = self.free_slot(state)
        {
            self.counters.fillers += u64::from(fill);
            self.send_empty(slot, state, time, entropy);
        }
    }

    /// The next slot that may be attempted, if any may (rules 2 and 4).
    fn free_slot(&self, state: &State) -> Option<Slot> {
        let first = state.slot().next();
        let window = if self.serial_until == 0 { PIPELINE } else { 1 };
        let in_flight = self.flights.values().any(|f| f.step != Step::Stored);
        let catching_up = self.ahead > 0 && self.gets.contains_key(&first);
        if self.serial_until > 0 && (in_flight || catching_up) {
            return None;
        }
        (first.0..first.0 + window).map(Slot).find(|s| !self.flights.contains_key(s) && !self.foreign.contains_key(s))
    }

    /// One past the last group of the next commit: after a loss everything, else until the inlined bytes reach the limit.
    fn pack_until(&self) -> u64 {
        if self.serial_until > 0 {
            return self.next_number;
        }
        let mut bytes = 0;
        for (number, pending) in self.groups.range(self.next_to_send..) {
            bytes += pending.group.inline_len;
            if bytes > INLINE_LIMIT && *number > self.next_to_send {
                return *number;
            }
        }
        self.next_number
    }

    fn draft(
        &self,
        slot: Slot,
        state: &State,
        time: TimeView,
        verified: bool,
        entropy: &mut dyn FnMut() -> u128,
    ) -> Draft {
        Draft {
            slot,
            id: CommitId(entropy()),
            writer: self.me,
            wall_ms: time.wall_ms,
            verified_time: verified,
            feature_level: state.feature_level(),
            assert: Some(StateAssertion { slot: state.slot().0, hash: state.hash() }),
        }
    }

    fn send_empty(&mut self, slot: Slot, state: &State, time: TimeView, entropy: &mut dyn FnMut() -> u128) {
        let (commit, body) = self.draft(slot, state, time, time.verified, entropy).seal(std::iter::empty());
        self.counters.ticks += 1;
        self.put(slot, commit, body);
    }

    fn put(&mut self, slot: Slot, commit: commit::Commit, body: Body) {
        self.ops += 1;
        self.actions.push(Action::Put { slot, body: body.clone(), op: self.ops });
        let flight = Flight { commit, body, step: Step::Putting, tries: 1, op: self.ops };
        self.flights.insert(slot, flight);
    }

    /// A tick is due when somebody waits for log time or something is pending, log time is stale, no tick is under way, and the
    /// step would be honoured.
    fn tick_due(&self, state: &State, time: TimeView) -> bool {
        let step = time.wall_ms - state.log_time().0;
        let pending = !self.groups.is_empty();
        let honoured = if step <= MAX_STEP_MS { self.wanted_log_time && !pending } else { time.verified };
        let ticking = self.flights.values().any(|f| f.commit.groups.is_empty());
        step > state.waits().stale_ms
            && honoured
            && !ticking
            && (self.wanted_log_time || pending)
            && self.registered.is_some()
    }

    /// Whether verified time would let this node tick although it may not now.
    pub fn wants_verified_time(&self, state: &State, time: TimeView) -> bool {
        let step = time.wall_ms - state.log_time().0;
        let started = state.log_time().0 > 0;
        started && step > MAX_STEP_MS && !time.verified && (self.wanted_log_time || !self.groups.is_empty())
    }

    /// Later slots are known, but the next one is not, and nobody here is writing it.
    fn hole(&self, state: &State) -> bool {
        let next = state.slot().next();
        let later = self.foreign.keys().next_back().is_some_and(|s| *s > next)
            || self.flights.iter().any(|(s, f)| *s > next && f.step == Step::Stored);
        later && !self.foreign.contains_key(&next) && !self.flights.contains_key(&next)
    }

    fn next_probe(&self) -> Duration {
        let idle = self.last_probe.saturating_sub(self.last_commit_seen) > FOLLOW_IDLE_AFTER;
        self.last_probe.max(self.last_commit_seen) + if idle { FOLLOW_IDLE_EVERY } else { FOLLOW_EVERY }
    }

    fn start_gets(&mut self, state: &State, now: Duration) {
        let next = state.slot().next();
        let due: Vec<Slot> =
            self.gets.iter().filter(|(_, g)| g.retry_at.is_some_and(|at| at <= now)).map(|(s, _)| *s).collect();
        due.into_iter().for_each(|slot| self.get(slot));
        let probing = self.gets.contains_key(&next);
        let wanted = !self.barriers.is_empty() || self.ahead > 0 || (self.following && now >= self.next_probe());
        if wanted && !probing && !self.foreign.contains_key(&next) {
            self.last_probe = now;
            self.counters.probes += 1;
            self.get(next);
        }
        for slot in (next.0 + 1..next.0 + self.ahead.min(MAX_AHEAD)).map(Slot) {
            let known = self.foreign.contains_key(&slot) || self.gets.contains_key(&slot);
            if !known && !self.flights.contains_key(&slot) {
                self.get(slot);
            }
        }
    }

    fn get(&mut self, slot: Slot) {
        self.ops += 1;
        let tries = self.gets.get(&slot).map_or(0, |g| g.tries);
        self.gets.insert(slot, Get { op: self.ops, retry_at: None, tries });
        self.actions.push(Action::Get { slot, op: self.ops });
    }

    /// Log time as it is applied, if it is fresh enough to name a segment by.
    pub fn fresh_fence(state: &State, time: TimeView) -> Option<LogTime> {
        (time.wall_ms - state.log_time().0 <= state.waits().stale_ms).then(|| state.log_time())
    }
}
