use lakebed_record::ops::{
    Append, BatchMeta, CreateTopic, GrantProducerId, Group, InlinePlace, NodeUp, PartitionAppend, Place, ProducerMeta,
};
use lakebed_record::{CommitId, Slot};

use super::*;
use crate::commit::{Commit, SlotContent};

mod groups;

const A: Incarnation = Incarnation(1);
const B: Incarnation = Incarnation(2);
const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;
const T: i64 = 1_700_000_000_000;

struct Log(State);

impl Log {
    /// A commit at log time `T + at`, with a verified tick before it.
    fn commit(&mut self, at: i64, groups: Vec<(Incarnation, u64, OpKind)>) {
        self.apply(at, Vec::new());
        self.apply(at, groups);
    }

    fn apply(&mut self, at: i64, groups: Vec<(Incarnation, u64, OpKind)>) {
        let slot = self.0.slot().next();
        let group = |(node, number, op): (Incarnation, u64, OpKind)| Group {
            incarnation: node.0,
            number,
            ops: vec![op.into()],
            inline_len: 100,
            ..Group::default()
        };
        let commit = Commit {
            slot,
            id: CommitId(slot.0.into()),
            writer: A,
            wall_ms: T + at,
            verified_time: true,
            groups: groups.into_iter().map(group).collect(),
            assert: None,
            payload_start: 0,
            payload_len: 100,
        };
        let _applied = self.0.apply(slot, &SlotContent::Commit(commit));
    }
}

fn up() -> OpKind {
    OpKind::NodeUp(NodeUp { fence: T, ..NodeUp::default() })
}

fn topic_id(n: u128) -> Vec<u8> {
    n.to_be_bytes().to_vec()
}

fn append(producer: i64) -> OpKind {
    append_to(0, producer)
}

fn append_to(partition: i32, producer: i64) -> OpKind {
    let producer = Some(ProducerMeta { id: producer, epoch: 0, sequence: 0, transactional: false });
    let batches = vec![BatchMeta { len: 10, offsets: 1, max_timestamp: 0, producer }];
    OpKind::Append(Append {
        place: Some(Place::Inline(InlinePlace {})),
        partitions: vec![PartitionAppend { topic_id: topic_id(9), partition, start: 0, batches }],
    })
}

fn log() -> Log {
    log_of(1)
}

fn log_of(partitions: u32) -> Log {
    let topic = CreateTopic {
        namespace: "default".into(),
        name: "t".into(),
        topic_id: topic_id(9),
        partitions,
        configs: Vec::new(),
    };
    let mut log = Log(State::new());
    log.apply(0, Vec::new());
    log.apply(0, vec![(A, 1, up()), (B, 1, up()), (A, 2, OpKind::CreateTopic(topic))]);
    log
}

#[tokio::test]
async fn silent_nodes_go_but_not_the_planner_itself() {
    let mut log = log();
    assert!(!log.0.anything_expires(), "silence alone keeps no idle cluster writing");
    log.commit(1, Vec::new());
    log.commit(DAY, Vec::new());
    assert_eq!(plan(&log.0, A).await, [], "24 h, and not a millisecond more");
    log.commit(DAY + 1, Vec::new());
    assert_eq!(plan(&log.0, A).await, [OpKind::NodeDown(NodeDown { incarnation: B.0 })]);
    log.commit(DAY + 1, vec![(B, 2, OpKind::GrantProducerId(GrantProducerId {}))]);
    assert_eq!(plan(&log.0, A).await, [], "it wrote a group");
}

#[tokio::test]
async fn tombstones_go_past_the_window() {
    let mut log = log();
    log.commit(0, vec![(A, 3, OpKind::NodeDown(NodeDown { incarnation: B.0 }))]);
    assert!(log.0.anything_expires());
    log.commit(10 * MINUTE, Vec::new());
    assert_eq!(plan(&log.0, A).await, []);
    log.commit(10 * MINUTE + 1, Vec::new());
    let drop = OpKind::DropTombstones(DropTombstones { incarnations: vec![B.0] });
    assert_eq!(plan(&log.0, A).await, std::slice::from_ref(&drop));
    log.commit(10 * MINUTE + 1, vec![(A, 4, drop)]);
    assert_eq!(plan(&log.0, A).await, []);
    assert!(!log.0.anything_expires() && log.0.slot() > Slot(0));
}

#[tokio::test]
async fn producers_go_after_a_day_without_an_append() {
    let mut log = log();
    let grant = || OpKind::GrantProducerId(GrantProducerId {});
    log.commit(0, vec![(A, 3, grant()), (A, 4, grant()), (A, 5, append(1))]);
    assert!(log.0.producer_count() > 0 && log.0.anything_expires());
    log.commit(MINUTE, vec![(A, 6, append(2))]);
    log.commit(MINUTE + 1, Vec::new());
    log.commit(DAY, vec![(B, 2, grant())]);
    assert_eq!(plan(&log.0, A).await, []);
    log.commit(DAY + 1, Vec::new());
    let expire = |ids: &[i64]| {
        let named = PartitionProducers { topic_id: topic_id(9), partition: 0, producer_ids: ids.to_vec() };
        OpKind::ExpireProducers(ExpireProducers { partitions: vec![named] })
    };
    assert_eq!(plan(&log.0, A).await, [expire(&[1])]);
    log.commit(DAY + MINUTE + 1, vec![(A, 7, grant())]);
    assert_eq!(plan(&log.0, A).await, [expire(&[1, 2])]);
    log.commit(DAY + MINUTE + 1, vec![(A, 8, expire(&[1, 2]))]);
    assert_eq!(log.0.producer_count(), 0);
    assert_eq!(plan(&log.0, A).await, []);
}

#[test]
fn the_node_that_makes_the_first_commit_is_not_silent() {
    let mut log = Log(State::new());
    let first = OpKind::NodeUp(NodeUp::default());
    log.apply(0, vec![(A, 1, first)]);
    log.apply(1, vec![(B, 1, up())]);
    assert_eq!(log.0.silent_nodes().collect::<Vec<_>>(), []);
    log.commit(DAY + 2, vec![(B, 2, OpKind::GrantProducerId(GrantProducerId {}))]);
    assert_eq!(log.0.silent_nodes().collect::<Vec<_>>(), [A]);
}

#[tokio::test]
async fn however_many_partitions_there_are_all_that_are_idle_go_and_no_others() {
    const PARTITIONS: u32 = 100_000;
    const PRODUCERS: i64 = 200;
    let mut log = log_of(PARTITIONS);
    let mut number = 3;
    let mut next = |op| {
        number += 1;
        (A, number - 1, op)
    };
    let grants = (0..PRODUCERS).map(|_| next(OpKind::GrantProducerId(GrantProducerId {}))).collect();
    log.commit(0, grants);
    let appends = (1..=PRODUCERS).map(|id| next(append_to(id as i32, id))).collect();
    log.commit(0, appends);
    // The last one is active in another partition, where its state is younger.
    log.commit(MINUTE, vec![next(append_to(0, PRODUCERS))]);
    log.commit(DAY + 1, vec![next(OpKind::GrantProducerId(GrantProducerId {}))]);
    let ops = plan(&log.0, A).await;
    let [OpKind::NodeDown(_), OpKind::ExpireProducers(expire)] = ops.as_slice() else { panic!("{} ops", ops.len()) };
    assert_eq!(expire.partitions.len() as i64, PRODUCERS);
    log.commit(DAY + 1, vec![next(ops[1].clone())]);
    let left: Vec<usize> = (0..BUCKETS).map(|b| log.0.idle_producers(b).count()).collect();
    assert_eq!(left.iter().sum::<usize>(), 0);
    assert!(log.0.producer_count() > 0, "the one that is younger stays");
}

/// The first commit after a weekend is dated before it; the tick that verified time allows follows some seconds later.
#[tokio::test]
async fn who_ends_a_long_silence_does_not_expire_with_the_tick_behind_it() {
    let mut log = log();
    log.commit(0, vec![(A, 3, OpKind::GrantProducerId(GrantProducerId {}))]);
    log.apply(2 * DAY, vec![(B, 2, append(1))]);
    assert_eq!(log.0.log_time().0, T, "only a tick may step so far");
    log.commit(2 * DAY, vec![]);
    assert_eq!(plan(&log.0, A).await, []);
    log.commit(2 * DAY + 1, vec![]);
    log.commit(3 * DAY + 1, vec![]);
    let down = |incarnation: Incarnation| OpKind::NodeDown(NodeDown { incarnation: incarnation.0 });
    let named = PartitionProducers { topic_id: topic_id(9), partition: 0, producer_ids: vec![1] };
    let expired = OpKind::ExpireProducers(ExpireProducers { partitions: vec![named] });
    assert_eq!(plan(&log.0, A).await, [down(B), expired], "a day later they do");
}
