//! A small cluster as it should be, and with one thing wrong at a time.

use lakebed_record::ops::{
    Append, BatchMeta, CreateTopic, Group, InlinePlace, NodeUp, OpKind, PartitionAppend, Place, SegmentPlace, Truncate,
};
use lakebed_record::{CommitId, Incarnation, LogTime, SegmentName, TopicId};

use super::*;
use crate::commit::{Commit, SlotContent};
use crate::control::SnapshotRef;

const NODE: Incarnation = Incarnation(5);
const TOPIC: TopicId = TopicId(9);
const TP: TopicPartition = TopicPartition::new(TOPIC, 0);
const SEGMENT: SegmentName = SegmentName { fence: LogTime(1_000), node: NODE, number: 1 };

fn append(place: Place, start: u64, len: u32) -> OpKind {
    let batches = vec![BatchMeta { len, offsets: 2, max_timestamp: 5, producer: None }];
    let partitions = vec![PartitionAppend { topic_id: TOPIC.0.to_be_bytes().to_vec(), partition: 0, start, batches }];
    OpKind::Append(Append { place: Some(place), partitions })
}

fn apply(state: &mut State, ops: Vec<OpKind>, wall_ms: i64) {
    let slot = state.slot().next();
    let ops = ops.into_iter().map(Into::into).collect();
    let group = Group { incarnation: NODE.0, number: slot.0, ops, inline_len: 1_000, ..Group::default() };
    let commit = Commit {
        slot,
        id: CommitId(slot.0.into()),
        writer: NODE,
        wall_ms,
        verified_time: false,
        groups: vec![group],
        assert: None,
        payload_start: 100,
        payload_len: 1_000,
    };
    let _applied = state.apply(slot, &SlotContent::Commit(commit));
}

fn segment_place(total_len: u64) -> Place {
    Place::Segment(SegmentPlace { fence: SEGMENT.fence.0, node: NODE.0, number: SEGMENT.number, total_len })
}

struct Cluster {
    inventory: Inventory,
    current: Current,
    parts: Parts,
    state: State,
}

impl Cluster {
    /// Slots 1 to 4, of which 3 has inline records; one segment; a snapshot at slot 2.
    fn new() -> Cluster {
        let mut state = State::new();
        apply(&mut state, vec![OpKind::NodeUp(NodeUp::default())], 1_000);
        let topic = CreateTopic {
            namespace: "default".into(),
            name: "t".into(),
            topic_id: TOPIC.0.to_be_bytes().to_vec(),
            partitions: 1,
            configs: Vec::new(),
        };
        apply(&mut state, vec![OpKind::CreateTopic(topic)], 1_001);
        apply(&mut state, vec![append(Place::Inline(InlinePlace {}), 0, 80)], 1_002);
        apply(&mut state, vec![append(segment_place(200), 64, 100)], 1_003);
        let index = keys::snapshot_index(Slot(2), NODE, 2);
        let part = keys::snapshot_part(Slot(2), NODE, 1);
        let snapshot = SnapshotRef { slot: 2, index: index.as_str().into() };
        let current = Current { snapshots: vec![snapshot], ..Current::first(1) };
        let mut inventory: Inventory = (1..=4).map(|slot| (keys::log(Slot(slot)), 1_100)).collect();
        inventory.extend([(keys::segment(&SEGMENT), 200), (index.clone(), 50), (part.clone(), 50)]);
        inventory.extend([(keys::format(), 100), (keys::current(), 100)]);
        Cluster { inventory, current, parts: vec![(index, vec![part])], state }
    }

    fn findings(&self) -> Vec<String> {
        self.check(&[]).iter().map(ToString::to_string).collect()
    }

    fn check(&self, pages: &[(TopicPartition, Vec<Entry>)]) -> Vec<Finding> {
        check(&self.inventory, &self.current, &self.parts, &self.state, pages)
    }

    fn without(mut self, key: &Key) -> Vec<String> {
        self.inventory.remove(key).expect("it was there");
        self.findings()
    }
}

#[test]
fn nothing_to_find() {
    assert_eq!(Cluster::new().findings(), Vec::<String>::new());
}

#[test]
fn what_is_needed_is_missed() {
    let segment = keys::segment(&SEGMENT);
    assert_eq!(
        Cluster::new().without(&segment),
        [format!("missing   {segment}: an entry or page of the state needs it")]
    );
    let found = Cluster::new().without(&keys::log(Slot(3)));
    assert_eq!(found.len(), 2, "as a slot of the log and as an object with records: {found:?}");
    // Slot 1 is behind the snapshot: only the floor says that it should be there, and nobody needs it.
    assert_eq!(Cluster::new().without(&keys::log(Slot(1))), Vec::<String>::new());
    let part = keys::snapshot_part(Slot(2), NODE, 1);
    assert!(Cluster::new().without(&part)[0].starts_with("missing"));
}

#[test]
fn bytes_past_the_end_and_bytes_named_twice_also_by_a_page() {
    let mut cluster = Cluster::new();
    cluster.inventory.insert(keys::segment(&SEGMENT), 163);
    assert!(cluster.findings()[0].ends_with("163 bytes, 164 are needed"));

    let object = DataObject::Segment(SEGMENT);
    let entry = Entry { base_offset: 2, offsets: 2, object, start: 163, len: 20, max_timestamp: 5 };
    let found = Cluster::new().check(&[(TP, vec![entry])]);
    assert_eq!(found, [Finding::Overlap { key: keys::segment(&SEGMENT), at: 163, one: TP, other: TP }]);
}

#[test]
fn slots_beyond_a_hole() {
    let mut cluster = Cluster::new();
    cluster.inventory.insert(keys::log(Slot(7)), 100);
    let found = cluster.check(&[]);
    assert_eq!(found, [Finding::Hole { missing: Slot(5), beyond: Slot(7) }]);
    assert!(!found[0].is_damage(), "a writer that died may have left it");
    cluster.inventory.insert(keys::log(Slot(9)), 100);
    let found = cluster.check(&[]);
    assert_eq!(found, [Finding::LogCut { missing: Slot(5), last: Slot(9) }]);
    assert!(found[0].is_damage(), "no writer goes so far ahead");
}

#[test]
fn leftovers_are_found_as_a_collector_would() {
    let mut cluster = Cluster::new();
    let young = SegmentName { number: 2, ..SEGMENT };
    cluster.inventory.insert(keys::segment(&young), 70);
    assert_eq!(cluster.findings(), Vec::<String>::new(), "somebody may still name it");
    for wall in [300_000, 500_000, 601_001] {
        apply(&mut cluster.state, Vec::new(), wall);
        cluster.inventory.insert(keys::log(cluster.state.slot()), 1_000);
    }
    assert_eq!(cluster.findings(), [format!("orphan    {}: 70 bytes that nothing needs", keys::segment(&young))]);

    let mut cluster = Cluster::new();
    cluster.current.log_floor = 3;
    cluster.inventory.insert(keys::snapshot_part(Slot(1), NODE, 1), 10);
    cluster.inventory.insert(keys::snapshot_part(Slot(3), NODE, 1), 10);
    cluster.inventory.insert(Key::new("other"), 1);
    let found = cluster.findings();
    let part = keys::snapshot_part(Slot(1), NODE, 1);
    for key in [keys::log(Slot(1)), keys::log(Slot(2)), part] {
        assert!(found.iter().any(|f| f.starts_with(&format!("orphan    {key}:"))), "{key} in {found:?}");
    }
    assert_eq!(found.len(), 4, "and one name that is not ours: {found:?}");
}

#[test]
fn no_snapshot_object_is_garbage_while_an_index_is_unread() {
    let mut cluster = Cluster::new();
    let older = keys::snapshot_part(Slot(1), NODE, 1);
    cluster.inventory.insert(older.clone(), 10);
    assert_eq!(cluster.findings(), [format!("orphan    {older}: 10 bytes that nothing needs")]);
    cluster.parts.clear();
    assert_eq!(cluster.findings(), Vec::<String>::new(), "the index may name it");
}

#[test]
fn truncated_records_leave_no_gap() {
    let mut cluster = Cluster::new();
    let truncate = Truncate { topic_id: TOPIC.0.to_be_bytes().to_vec(), partition: 0, log_start: 3 };
    apply(&mut cluster.state, vec![OpKind::Truncate(truncate)], 1_004);
    cluster.inventory.insert(keys::log(Slot(5)), 1_100);
    assert_eq!(cluster.findings(), Vec::<String>::new());
}
