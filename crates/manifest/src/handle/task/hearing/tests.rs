use lakebed_record::ops::{Group, NodeUp, OpKind};
use lakebed_record::{CommitId, Slot};

use super::*;
use crate::commit::{Commit, SlotContent};

const X: Incarnation = Incarnation(7);

fn s(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

struct World {
    state: State,
    hearing: Hearing,
    op: u64,
    group: u64,
}

impl World {
    fn new() -> World {
        let mut world = World { state: State::new(), hearing: Hearing::default(), op: 0, group: 0 };
        world.group_of_x(0.0, vec![OpKind::NodeUp(NodeUp::default())]);
        world
    }

    /// A group of X is applied here.
    fn group_of_x(&mut self, at: f64, ops: Vec<OpKind>) {
        self.group += 1;
        let ops = ops.into_iter().map(Into::into).collect();
        let group = Group { incarnation: X.0, number: self.group, ops, ..Group::default() };
        let slot = self.state.slot().next();
        let commit = Commit {
            slot,
            id: CommitId(slot.0.into()),
            writer: X,
            wall_ms: 1_000,
            verified_time: false,
            groups: vec![group],
            assert: None,
            payload_start: 0,
            payload_len: 0,
        };
        let _applied = self.state.apply(slot, &SlotContent::Commit(commit));
        assert_ne!(slot, Slot(0));
        self.hearing.observe(&self.state, s(at));
    }

    /// A probe that is answered at once.
    fn probe(&mut self, at: f64) {
        self.op += 1;
        self.hearing.sent(self.op, s(at));
        self.hearing.proved(self.op);
    }

    fn probes(&mut self, from: u32, to: u32) {
        (from..=to).for_each(|at| self.probe(at.into()));
    }

    fn silent(&self, at: f64) -> Option<Duration> {
        self.hearing.silent(X, s(at))
    }
}

#[test]
fn silence_is_what_probes_prove() {
    let mut w = World::new();
    w.probes(1, 20);
    assert_eq!(w.silent(20.5), Some(s(19.0)));
    w.group_of_x(20.6, Vec::new());
    assert_eq!((w.silent(20.6), w.hearing.heard(X, s(23.6))), (Some(s(0.0)), Some(s(3.0))));
    w.probes(21, 25);
    assert_eq!(w.silent(25.0), Some(s(4.4)));
    assert_eq!((w.hearing.silent(Incarnation(8), s(25.0)), w.hearing.heard(Incarnation(8), s(25.0))), (None, None));
}

#[test]
fn a_time_without_the_store_is_nobody_s_silence() {
    let mut w = World::new();
    w.probes(1, 4);
    // Nothing is answered for half a minute; what was sent last proves nothing before its answer.
    w.op += 1;
    w.hearing.sent(w.op, s(5.0));
    assert_eq!(w.silent(6.9), Some(s(3.0)));
    assert_eq!(w.silent(30.0), Some(s(0.0)), "the last proof is old");
    w.probe(34.0);
    assert_eq!(w.silent(34.0), Some(s(0.0)));
    w.probes(35, 40);
    assert_eq!(w.silent(40.0), Some(s(6.0)));
}

#[test]
fn a_slow_answer_proves_only_what_was_there_when_it_was_asked_for() {
    let mut w = World::new();
    w.probes(1, 10);
    w.hearing.sent(11, s(11.0));
    w.hearing.sent(12, s(12.0));
    w.hearing.proved(11);
    assert_eq!(w.silent(13.9), Some(s(10.0)));
    w.hearing.proved(12);
    assert_eq!(w.silent(13.9), Some(s(11.0)));
}

#[test]
fn a_node_that_is_down_is_not_heard_of() {
    let mut w = World::new();
    w.probes(1, 3);
    let down = lakebed_record::ops::NodeDown { incarnation: X.0 };
    w.group_of_x(4.0, vec![OpKind::NodeDown(down)]);
    assert_eq!((w.silent(4.0), w.hearing.heard(X, s(4.0))), (None, None));
}

#[test]
fn what_is_remembered_of_operations_is_bounded() {
    let mut hearing = Hearing::default();
    (1..100_000_u64).for_each(|op| hearing.sent(op, Duration::from_millis(op)));
    assert_eq!(hearing.sent.len(), MOST_SENT);
    assert!(hearing.sent.front().is_some_and(|(_, at)| *at >= s(99.0 - 0.02 * MOST_SENT as f64 - 1.0)));
}
