//! A test per rule; random ops beside a naive model are in `random`, snapshots in `snapshots`.

mod random;
mod snapshots;

use lakebed_record::ops::{
    CreateTopic, DeleteTopic, ExpireGroup, Group, GroupOutcome, NodeDown, NodeUp, OpKind, PartitionOffset,
    TopicPartitions,
};
use lakebed_record::{CommitId, GroupId, Incarnation, Slot};

use super::*;
use crate::commit::{Commit, SlotContent};
use crate::waits::Waits;

pub(in crate::state) const A: Incarnation = Incarnation(0xa);
pub(in crate::state) const B: Incarnation = Incarnation(0xb);
const T0: i64 = 1_700_000_000_000;
const DAY: i64 = 24 * 60 * 60 * 1000;
const TOPIC: u128 = 7;
const OTHER: u128 = 8;

/// A log of commits and the state that they give.
pub(in crate::state) struct Log {
    pub state: State,
    pub history: Vec<SlotContent>,
    numbers: std::collections::BTreeMap<Incarnation, u64>,
    wall: i64,
}

impl Log {
    /// Nodes A and B, topic 7 with three partitions and topic 8 with one.
    pub fn new() -> Log {
        let mut log = Log { state: State::new(), history: Vec::new(), numbers: Default::default(), wall: T0 };
        for node in [A, B] {
            let fence = log.state.log_time().0;
            log.apply(node, vec![OpKind::NodeUp(NodeUp { fence, ..NodeUp::default() })]);
        }
        for (id, name, partitions) in [(TOPIC, "t", 3), (OTHER, "u", 1)] {
            assert_eq!(log.one(A, create_topic("default", id, name, partitions)), OpOutcome::TopicCreated);
        }
        log
    }

    /// One group of ops in a commit of its own, at the present wall clock.
    pub fn apply(&mut self, node: Incarnation, ops: Vec<OpKind>) -> Vec<OpOutcome> {
        let number = self.numbers.entry(node).or_default();
        *number += 1;
        let ops = ops.into_iter().map(Into::into).collect();
        let group = Group { incarnation: node.0, number: *number, ops, ..Group::default() };
        match self.commit(vec![group], false).pop() {
            Some(GroupOutcome::Applied(outcomes)) => outcomes,
            other => panic!("{other:?}"),
        }
    }

    pub fn one(&mut self, node: Incarnation, op: OpKind) -> OpOutcome {
        self.apply(node, vec![op]).pop().expect("an outcome")
    }

    /// Log time and wall clock move on.
    pub fn tick(&mut self, ms: i64) {
        self.wall += ms;
        let _none = self.commit(Vec::new(), true);
    }

    fn commit(&mut self, groups: Vec<Group>, verified_time: bool) -> Vec<GroupOutcome> {
        let slot = self.state.slot().next();
        let commit = SlotContent::Commit(Commit {
            slot,
            id: CommitId(slot.0.into()),
            writer: A,
            wall_ms: self.wall,
            verified_time,
            groups,
            assert: None,
            payload_start: 0,
            payload_len: 0,
        });
        let outcomes = self.state.apply(slot, &commit).outcomes;
        self.history.push(commit);
        outcomes
    }

    fn group(&self, id: &str) -> &ConsumerGroup {
        self.state.consumer_group(&key(id)).expect("the group is there")
    }

    /// Claims a group for A that there is not yet.
    fn claimed(&mut self, id: &str) -> u64 {
        match self.one(A, claim(id, 0)) {
            OpOutcome::GroupClaimed { epoch } => epoch,
            other => panic!("{other:?}"),
        }
    }
}

pub(in crate::state) fn key(id: &str) -> GroupKey {
    GroupKey { namespace: Namespace::default(), id: GroupId::new(id).expect("a group id") }
}

fn group(id: &str) -> Option<GroupRef> {
    Some(GroupRef { namespace: "default".into(), id: id.into() })
}

fn create_topic(namespace: &str, id: u128, name: &str, partitions: u32) -> OpKind {
    OpKind::CreateTopic(CreateTopic {
        namespace: namespace.into(),
        name: name.into(),
        topic_id: id.to_be_bytes().to_vec(),
        partitions,
        configs: Vec::new(),
    })
}

pub(in crate::state) fn claim(id: &str, replaces: u64) -> OpKind {
    OpKind::ClaimGroup(ClaimGroup { group: group(id), replaces })
}

/// A classic generation, one past the one before.
fn write(id: &str, epoch: u64, from: i32, members: u32) -> WriteGroup {
    WriteGroup {
        group: group(id),
        epoch,
        from_generation: from,
        generation: from + 1,
        kind: GroupKind::Classic.into(),
        members,
        metadata: vec![from as u8; 3],
    }
}

fn commit(id: &str, epoch: u64, generation: Option<i32>, topic: u128, offsets: &[(i32, i64)]) -> OpKind {
    let offset = |&(partition, offset): &(i32, i64)| PartitionOffset {
        partition,
        offset,
        leader_epoch: -1,
        metadata: String::new(),
    };
    let topic_id = topic.to_be_bytes().to_vec();
    let topics = vec![TopicOffsets { topic_id, offsets: offsets.iter().map(offset).collect() }];
    OpKind::CommitOffsets(CommitOffsets { group: group(id), epoch, generation, topics })
}

fn tp(topic: u128, partition: i32) -> TopicPartition {
    TopicPartition::new(TopicId(topic), partition)
}

fn committed(n: usize) -> OpOutcome {
    OpOutcome::OffsetsCommitted(vec![vec![CommitOutcome::Committed; n]])
}

fn expire(id: &str, partitions: &[TopicPartition]) -> OpKind {
    let topics = TopicPartitions::of(partitions.iter().copied());
    OpKind::ExpireOffsets(ExpireOffsets { groups: vec![ExpireGroup { group: group(id), topics }] })
}

#[test]
fn a_claim_applies_only_in_place_of_the_one_that_it_names() {
    let mut log = Log::new();
    assert_eq!(log.one(A, claim("g", 3)), OpOutcome::ClaimRefused { present: None });
    assert_eq!(log.one(A, claim("g", 0)), OpOutcome::GroupClaimed { epoch: 1 });
    let by_a = GroupClaim { epoch: 1, owner: A };
    assert_eq!(log.one(B, claim("g", 0)), OpOutcome::ClaimRefused { present: Some(by_a) });
    assert_eq!(log.one(B, claim("h", 0)), OpOutcome::GroupClaimed { epoch: 2 });
    assert_eq!(log.one(B, claim("g", 1)), OpOutcome::GroupClaimed { epoch: 3 });
    assert_eq!(log.one(A, claim("g", 1)), OpOutcome::ClaimRefused { present: Some(GroupClaim { epoch: 3, owner: B }) });
    assert_eq!(log.one(A, claim("", 0)), OpOutcome::Refused);
    // An epoch never comes again, not even after the group was deleted.
    let delete = OpKind::DeleteGroup(DeleteGroup { group: group("g"), epoch: 3 });
    assert_eq!(log.one(B, delete), OpOutcome::Done);
    assert_eq!(log.one(A, claim("g", 0)), OpOutcome::GroupClaimed { epoch: 4 });
}

#[test]
fn a_claim_takes_over_everything_but_the_owner() {
    let mut log = Log::new();
    let epoch = log.claimed("g");
    assert_eq!(log.one(A, OpKind::WriteGroup(write("g", epoch, 0, 2))), OpOutcome::Done);
    assert_eq!(log.one(A, commit("g", epoch, Some(1), TOPIC, &[(0, 5)])), committed(1));
    log.one(B, OpKind::NodeDown(NodeDown { incarnation: A.0 }));
    let before = log.group("g").clone();
    assert_eq!(log.one(B, claim("g", epoch)), OpOutcome::GroupClaimed { epoch: 2 });
    assert_eq!(*log.group("g"), ConsumerGroup { claim: GroupClaim { epoch: 2, owner: B }, ..before });
}

#[test]
fn nothing_applies_without_the_claim() {
    let mut log = Log::new();
    let epoch = log.claimed("g");
    log.one(A, commit("g", epoch, None, TOPIC, &[(0, 5)]));
    let ops = |epoch| {
        let topics = TopicPartitions::of([tp(TOPIC, 0)]);
        [
            OpKind::WriteGroup(write("g", epoch, 0, 1)),
            commit("g", epoch, None, TOPIC, &[(0, 6)]),
            OpKind::DeleteOffsets(DeleteOffsets { group: group("g"), epoch, topics }),
            OpKind::DeleteGroup(DeleteGroup { group: group("g"), epoch }),
        ]
    };
    let hash = |log: &Log| log.state.buckets[hash::bucket_of_group(&key("g"))].hash;
    let before = hash(&log);
    // Another node's, a claim's that never was, one's of another group.
    let other = log.claimed("h");
    for (node, epoch) in [(B, epoch), (A, 0), (A, 99), (A, other)] {
        assert_eq!(log.apply(node, ops(epoch).to_vec()), vec![OpOutcome::NotOwner; 4]);
    }
    assert_eq!(log.group("g").offsets.get(tp(TOPIC, 0)).map(|o| o.offset), Some(5));
    // The one that was replaced.
    assert_eq!(log.one(B, claim("g", epoch)), OpOutcome::GroupClaimed { epoch: 3 });
    assert_eq!(log.apply(A, ops(epoch).to_vec()), vec![OpOutcome::NotOwner; 4]);
    assert_eq!(log.apply(A, ops(3).to_vec()), vec![OpOutcome::NotOwner; 4]);
    assert_eq!(log.one(B, claim("g", 3)), OpOutcome::GroupClaimed { epoch: 4 });
    assert_ne!(hash(&log), before, "another claim is another state");
    assert_eq!(log.one(B, commit("g", 4, None, TOPIC, &[(0, 6)])), committed(1));
}

#[test]
fn a_generation_follows_the_one_that_it_names() {
    let mut log = Log::new();
    let epoch = log.claimed("g");
    assert_eq!(log.one(A, OpKind::WriteGroup(write("g", epoch, 1, 1))), OpOutcome::IllegalGeneration { generation: 0 });
    assert_eq!(log.one(A, OpKind::WriteGroup(write("g", epoch, 0, 1))), OpOutcome::Done);
    assert_eq!(log.one(A, OpKind::WriteGroup(write("g", epoch, 0, 1))), OpOutcome::IllegalGeneration { generation: 1 });
    // The same generation may be written again: members come back, assignments are made.
    let again = WriteGroup { generation: 1, metadata: b"assigned".to_vec(), ..write("g", epoch, 1, 2) };
    assert_eq!(log.one(A, OpKind::WriteGroup(again)), OpOutcome::Done);
    let g = log.group("g");
    assert_eq!((g.generation, g.members, g.kind, g.metadata.as_ref()), (1, 2, GroupKind::Classic, &b"assigned"[..]));
    let refused = [
        WriteGroup { generation: 0, ..write("g", epoch, 1, 2) },
        WriteGroup { kind: 3, ..write("g", epoch, 1, 2) },
        // Members of another protocol, while there are some.
        WriteGroup { kind: GroupKind::Consumer.into(), ..write("g", epoch, 1, 2) },
        WriteGroup { kind: GroupKind::Simple.into(), ..write("g", epoch, 1, 0) },
        WriteGroup { metadata: vec![0; MAX_GROUP_METADATA + 1], ..write("g", epoch, 1, 2) },
        WriteGroup { group: None, ..write("g", epoch, 1, 2) },
    ];
    for op in refused {
        assert_eq!(log.one(A, OpKind::WriteGroup(op)), OpOutcome::Refused);
    }
    assert_eq!(log.one(A, OpKind::WriteGroup(write("g", epoch, 1, 0))), OpOutcome::Done);
    let simple = WriteGroup { kind: GroupKind::Simple.into(), ..write("g", epoch, 2, 1) };
    assert_eq!(
        log.one(A, OpKind::WriteGroup(simple)),
        OpOutcome::Refused,
        "a group that only keeps offsets has no members"
    );
    let upgraded = WriteGroup { kind: GroupKind::Consumer.into(), ..write("g", epoch, 2, 1) };
    assert_eq!(log.one(A, OpKind::WriteGroup(upgraded)), OpOutcome::Done);
    assert_eq!(log.group("g").kind, GroupKind::Consumer);
}

#[test]
fn offsets_are_committed_in_the_generation_or_without_members() {
    let mut log = Log::new();
    let epoch = log.claimed("g");
    assert_eq!(log.one(A, commit("g", epoch, None, TOPIC, &[(0, 5)])), committed(1));
    assert_eq!(
        log.one(A, commit("g", epoch, Some(1), TOPIC, &[(0, 6)])),
        OpOutcome::IllegalGeneration { generation: 0 }
    );
    log.one(A, OpKind::WriteGroup(write("g", epoch, 0, 1)));
    assert_eq!(log.one(A, commit("g", epoch, None, TOPIC, &[(0, 6)])), OpOutcome::NonEmpty);
    assert_eq!(
        log.one(A, commit("g", epoch, Some(0), TOPIC, &[(0, 6)])),
        OpOutcome::IllegalGeneration { generation: 1 }
    );
    assert_eq!(log.group("g").offsets.get(tp(TOPIC, 0)).map(|o| o.offset), Some(5));
    // Backwards as well: a consumer may seek.
    assert_eq!(log.one(A, commit("g", epoch, Some(1), TOPIC, &[(0, 2), (2, 0)])), committed(2));
    let offsets: Vec<_> = log.group("g").offsets.iter().map(|(tp, o)| (tp, o.offset)).collect();
    assert_eq!(offsets, [(tp(TOPIC, 0), 2), (tp(TOPIC, 2), 0)]);
    log.one(A, OpKind::WriteGroup(write("g", epoch, 1, 0)));
    assert_eq!(log.one(A, commit("g", epoch, None, TOPIC, &[(1, 9)])), committed(1));
}

#[test]
fn each_offset_has_an_outcome_of_its_own() {
    use CommitOutcome::{Committed, Invalid, UnknownPartition};
    let mut log = Log::new();
    assert_eq!(log.one(A, create_topic("elsewhere", 9, "t", 1)), OpOutcome::TopicCreated);
    let epoch = log.claimed("g");
    let offset = |partition, offset, metadata: usize| PartitionOffset {
        partition,
        offset,
        leader_epoch: 3,
        metadata: "m".repeat(metadata),
    };
    let topic = |id: &[u8], offsets| TopicOffsets { topic_id: id.to_vec(), offsets };
    let topics = vec![
        topic(
            &TOPIC.to_be_bytes(),
            vec![
                offset(0, 1, MAX_OFFSET_METADATA),
                offset(3, 1, 0),
                offset(-1, 1, 0),
                offset(1, -1, 0),
                offset(2, 1, 4_097),
            ],
        ),
        topic(&9_u128.to_be_bytes(), vec![offset(0, 1, 0)]),
        topic(&10_u128.to_be_bytes(), vec![offset(0, 1, 0)]),
        topic(b"short", vec![offset(0, 1, 0)]),
        topic(&OTHER.to_be_bytes(), vec![]),
    ];
    let op = CommitOffsets { group: group("g"), epoch, generation: None, topics };
    let expected = vec![
        vec![Committed, UnknownPartition, UnknownPartition, Invalid, Invalid],
        vec![UnknownPartition],
        vec![UnknownPartition],
        vec![UnknownPartition],
        vec![],
    ];
    assert_eq!(log.one(A, OpKind::CommitOffsets(op)), OpOutcome::OffsetsCommitted(expected));
    let kept: Vec<_> = log.group("g").offsets.iter().collect();
    let metadata = "m".repeat(MAX_OFFSET_METADATA).into();
    let only = CommittedOffset { offset: 1, leader_epoch: 3, committed_at: LogTime(T0), metadata };
    assert_eq!(kept, [(tp(TOPIC, 0), &only)]);
}

#[test]
fn offsets_and_groups_are_deleted_but_no_group_with_members() {
    let mut log = Log::new();
    let epoch = log.claimed("g");
    log.one(A, commit("g", epoch, None, TOPIC, &[(0, 5), (1, 6), (2, 7)]));
    let topics = TopicPartitions::of([tp(TOPIC, 1), tp(TOPIC, 9), tp(OTHER, 0)]);
    let delete = DeleteOffsets { group: group("g"), epoch, topics };
    assert_eq!(log.one(A, OpKind::DeleteOffsets(delete)), OpOutcome::Done);
    let left: Vec<_> = log.group("g").offsets.iter().map(|(tp, _)| tp.partition.0).collect();
    assert_eq!(left, [0, 2]);
    let delete = || OpKind::DeleteGroup(DeleteGroup { group: group("g"), epoch });
    log.one(A, OpKind::WriteGroup(write("g", epoch, 0, 1)));
    assert_eq!(log.one(A, delete()), OpOutcome::NonEmpty);
    log.one(A, OpKind::WriteGroup(write("g", epoch, 1, 0)));
    assert_eq!(log.one(A, delete()), OpOutcome::Done);
    assert_eq!((log.state.consumer_group(&key("g")), log.state.group_totals()), (None, Totals::default()));
    assert_eq!(log.one(A, delete()), OpOutcome::NotOwner);
}

#[test]
fn offsets_of_a_group_without_members_live_seven_days() {
    let retention = Waits::default().offset_retention_ms;
    assert_eq!(retention, 7 * DAY, "Kafka's offsets.retention.minutes is 10,080");
    let mut log = Log::new();
    let epoch = log.claimed("g");
    log.one(A, OpKind::WriteGroup(write("g", epoch, 0, 1)));
    log.one(A, commit("g", epoch, Some(1), TOPIC, &[(0, 5), (1, 6)]));
    // With members they stay, however old.
    log.tick(30 * DAY);
    assert_eq!(log.one(A, expire("g", &[tp(TOPIC, 0)])), OpOutcome::Done);
    assert!(!log.state.anything_expires());
    assert_eq!(log.group("g").offsets.len(), 2);
    log.one(A, OpKind::WriteGroup(write("g", epoch, 1, 0)));
    assert!(log.state.anything_expires());
    // Written again without members: it has been without for as long as before.
    log.tick(DAY);
    log.one(A, OpKind::WriteGroup(write("g", epoch, 2, 0)));
    log.tick(retention - DAY);
    log.one(A, expire("g", &[tp(TOPIC, 0)]));
    assert_eq!(log.group("g").offsets.len(), 2, "the end belongs to the retention");
    log.one(A, commit("g", epoch, None, TOPIC, &[(1, 9)]));
    log.tick(1);
    log.one(A, expire("g", &[tp(TOPIC, 0), tp(TOPIC, 1)]));
    let left: Vec<_> = log.group("g").offsets.iter().map(|(tp, _)| tp.partition.0).collect();
    assert_eq!(left, [1], "one was committed a moment ago");
    log.tick(retention);
    log.one(A, expire("g", &[]));
    assert_eq!(log.group("g").offsets.len(), 1, "what is not named stays");
    log.one(A, expire("g", &[tp(TOPIC, 1)]));
    assert_eq!(log.state.consumer_group(&key("g")), None, "and with its last offset the group goes, claimed or not");
    assert!(!log.state.anything_expires());
}

#[test]
fn offsets_of_what_is_deleted_go_at_once() {
    let mut log = Log::new();
    let epoch = log.claimed("g");
    log.one(A, OpKind::WriteGroup(write("g", epoch, 0, 1)));
    log.one(A, commit("g", epoch, Some(1), TOPIC, &[(0, 5)]));
    log.one(A, commit("g", epoch, Some(1), OTHER, &[(0, 5)]));
    log.one(A, OpKind::DeleteTopic(DeleteTopic { topic_id: OTHER.to_be_bytes().to_vec() }));
    log.one(A, expire("g", &[tp(TOPIC, 0), tp(OTHER, 0)]));
    let left: Vec<_> = log.group("g").offsets.iter().map(|(tp, _)| tp.topic.0).collect();
    assert_eq!(left, [TOPIC]);
}

#[test]
fn the_first_commit_after_a_long_silence_does_not_look_old() {
    let mut log = Log::new();
    let epoch = log.claimed("g");
    // The commit comes in the slot before the tick that takes log time over the silence.
    log.wall += 30 * DAY;
    log.one(A, commit("g", epoch, None, TOPIC, &[(0, 5)]));
    assert_eq!(log.state.log_time(), LogTime(T0), "such a step needs a tick");
    log.tick(0);
    log.one(A, expire("g", &[tp(TOPIC, 0)]));
    assert_eq!(log.group("g").offsets.len(), 1);
}

#[test]
fn what_groups_take_is_bounded() {
    let mut log = Log::new();
    let mut full = Vec::new();
    loop {
        let id = format!("g{}", full.len());
        let epoch = log.claimed(&id);
        let op = WriteGroup { metadata: vec![1; MAX_GROUP_METADATA], ..write(&id, epoch, 0, 0) };
        match log.one(A, OpKind::WriteGroup(op)) {
            OpOutcome::Done => full.push((id, epoch)),
            outcome => {
                assert_eq!(outcome, OpOutcome::OutOfSpace);
                break;
            }
        }
    }
    assert_eq!(full.len(), MAX_GROUP_BYTES / MAX_GROUP_METADATA - 1);
    let (id, epoch) = full[0].clone();
    let left = MAX_GROUP_BYTES - log.state.group_totals().bytes;
    let claims = (0..=left / head_cost(&key("0000"), 0)).map(|i| log.one(A, claim(&format!("{i:04}"), 0))).last();
    assert_eq!(claims, Some(OpOutcome::OutOfSpace));
    // What is there goes on.
    let fit = (MAX_GROUP_BYTES - log.state.group_totals().bytes) / offset_cost("");
    assert!((1..3).contains(&fit), "{fit}");
    let each = [vec![CommitOutcome::Committed; fit], vec![CommitOutcome::OutOfSpace; 3 - fit]].concat();
    let outcome = log.one(A, commit(&id, epoch, None, TOPIC, &[(0, 1), (1, 1), (2, 1)]));
    assert_eq!(outcome, OpOutcome::OffsetsCommitted(vec![each]));
    assert_eq!(log.one(A, commit(&id, epoch, None, TOPIC, &[(0, 2)])), committed(1));
    let again = WriteGroup { metadata: vec![2; MAX_GROUP_METADATA], ..write(&id, epoch, 1, 0) };
    assert_eq!(log.one(A, OpKind::WriteGroup(again)), OpOutcome::Done);
    assert!(log.state.group_totals().bytes <= MAX_GROUP_BYTES);
}

#[test]
fn a_commit_copies_a_chunk_and_not_a_group_of_ten_thousand_offsets() {
    let mut log = Log::new();
    log.one(A, create_topic("default", 70, "large", 10_000));
    let epoch = log.claimed("g");
    let all: Vec<(i32, i64)> = (0..10_000).map(|p| (p * 7_919 % 10_000, 1)).collect();
    assert_eq!(log.one(A, commit("g", epoch, None, 70, &all)), committed(10_000));
    let snapshot = log.state.clone();
    assert_eq!(log.one(A, commit("g", epoch, None, 70, &[(5_000, 2)])), committed(1));
    let before = &snapshot.consumer_group(&key("g")).expect("there").offsets;
    let (copied, chunks) = log.group("g").offsets.unshared(before);
    assert_eq!(copied, 1);
    assert!(chunks > 70, "{chunks}");
    let largest_first: Vec<_> = log.group("g").offsets.iter().map(|(tp, _)| tp.partition.0).collect();
    assert_eq!(largest_first, (0..10_000).collect::<Vec<_>>());
    assert_eq!(
        (before.get(tp(70, 5_000)).map(|o| o.offset), log.group("g").offsets.get(tp(70, 5_000)).map(|o| o.offset)),
        (Some(1), Some(2))
    );
    assert_eq!(log.state.slot(), Slot(snapshot.slot().0 + 1));
}
