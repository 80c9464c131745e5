//! Golden fixtures: what this version persists, byte for byte. A file under `testdata/golden/v1` is never edited: a later version
//! gets a folder of its own and still reads these. `LAKEBED_GOLDEN=1` writes the files that are missing.

mod groups;

use std::path::Path;

use bytes::Bytes;
use lakebed_record::entries::{self, IndexPage};
use lakebed_record::envelope::{self, Kind};
use lakebed_record::ops::{
    Append, BatchMeta, ConfigEntry, CreateTopic, GrantProducerId, Group, InlinePlace, NodeUp, OpKind, PartitionAppend,
    Place, ProducerMeta, SegmentPlace, StateAssertion,
};
use lakebed_record::{
    CommitId, DataObject, Incarnation, LogTime, SegmentName, Slot, TopicId, TopicPartition, crc, keys, segment,
};

use crate::commit::{self, Commit, Draft, Opened, SlotContent};
use crate::control::{self, Current, Format, SnapshotRef};
use crate::state::{State, decode_globals, encode_globals};

const NODE: Incarnation = Incarnation(0x0123_4567_89ab_cdef);
const TOPIC: u128 = 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff;

/// Compares with the fixture and returns the fixture's bytes.
fn fixture(name: &str, bytes: &[u8]) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/golden/v1").join(name);
    if std::env::var_os("LAKEBED_GOLDEN").is_some() && !path.exists() {
        std::fs::write(&path, bytes).expect("writable");
    }
    let golden = std::fs::read(&path).expect("the fixture is there");
    assert_eq!(golden, bytes, "{name} is encoded in another way than before");
    golden
}

fn group(number: u64, ops: Vec<OpKind>, inline_len: u64) -> Group {
    Group {
        incarnation: NODE.0,
        number,
        principal: String::new(),
        ops: ops.into_iter().map(Into::into).collect(),
        inline_start: 0,
        inline_len,
    }
}

fn append(place: Place, producer: Option<ProducerMeta>) -> OpKind {
    let batches = vec![BatchMeta { len: 70, offsets: 2, max_timestamp: 1_700_000_000_000, producer }];
    let topic_id = TOPIC.to_be_bytes().to_vec();
    OpKind::Append(Append {
        place: Some(place),
        partitions: vec![PartitionAppend { topic_id, partition: 1, start: 0, batches }],
    })
}

fn seal(slot: u64, groups: &[Group], inline: &[Bytes]) -> (Commit, Vec<u8>) {
    let draft = Draft {
        slot: Slot(slot),
        id: CommitId(0xfeed << 64 | u128::from(slot)),
        writer: NODE,
        wall_ms: 1_700_000_000_000 + slot as i64,
        verified_time: groups.is_empty(),
        feature_level: 1,
        assert: Some(StateAssertion { slot: slot - 1, hash: 0xdead_beef }),
    };
    let last = groups.len().wrapping_sub(1);
    let (commit, body) = draft.seal(groups.iter().enumerate().map(|(i, g)| (g, if i == last { inline } else { &[] })));
    assert_eq!(crc::crc32c(&body.to_bytes()), body.crc32c());
    (commit, body.to_bytes().to_vec())
}

/// Three commits: registration and a topic; records; a tick.
fn commits() -> Vec<(Commit, Vec<u8>)> {
    let up = NodeUp { fence: 0, kafka_address: "broker.example:9092".into(), rack: "a".into() };
    let topic = CreateTopic {
        namespace: "default".into(),
        name: "events".into(),
        topic_id: TOPIC.to_be_bytes().to_vec(),
        partitions: 2,
        configs: vec![ConfigEntry { name: "max.message.bytes".into(), value: "1000".into() }],
    };
    let first = [group(1, vec![OpKind::NodeUp(up)], 0), group(2, vec![OpKind::CreateTopic(topic)], 0)];
    let producer = ProducerMeta { id: 1, epoch: 0, sequence: 0, transactional: false };
    let segment = SegmentPlace { fence: 1_700_000_000_001, node: NODE.0, number: 3, total_len: 134 };
    let second = [
        group(3, vec![OpKind::GrantProducerId(GrantProducerId {}), append(Place::Segment(segment), None)], 0),
        group(4, vec![append(Place::Inline(InlinePlace {}), Some(producer))], 70),
    ];
    vec![seal(1, &first, &[]), seal(2, &second, &[Bytes::from(vec![0x5a; 70])]), seal(3, &[], &[])]
}

#[test]
fn commits_are_encoded_as_ever() {
    for (commit, bytes) in commits() {
        let golden = fixture(&format!("commit-{}.bin", commit.slot), &bytes);
        let total = golden.len() as u64;
        let opened = commit::open(commit.slot, &golden, total).expect("reads");
        let Opened::Content(SlotContent::Commit(back)) = opened else { panic!("{opened:?}") };
        assert_eq!(format!("{back:?}"), format!("{commit:?}"));
        // The ops are read without the payload; a missing or extra byte makes it void.
        let head = &golden[..back.payload_start as usize];
        assert!(matches!(commit::open(commit.slot, head, total), Ok(Opened::Content(SlotContent::Commit(_)))));
        for stored in [total - 1, total + 1, 63] {
            assert!(matches!(commit::open(commit.slot, head, stored), Ok(Opened::Content(SlotContent::Void))));
        }
        let mut damaged = golden.clone();
        damaged[70] ^= 1;
        assert!(commit::open(commit.slot, &damaged, total).is_err());
    }
}

fn state() -> State {
    let mut state = State::new();
    for (commit, _) in commits() {
        let _applied = state.apply(commit.slot, &SlotContent::Commit(commit));
    }
    state
}

#[test]
fn the_state_hashes_as_ever() {
    let state = state();
    assert_eq!(
        state
            .partition(lakebed_record::TopicPartition::new(lakebed_record::TopicId(TOPIC), 1))
            .map(|p| p.next_offset()),
        Some(4)
    );
    fixture("state-hash.txt", format!("{:016x}\n", state.hash()).as_bytes());
}

#[test]
fn snapshot_parts_are_encoded_as_ever() {
    let state = state();
    let globals = fixture("snapshot-globals.bin", &encode_globals(&state));
    let part = fixture("snapshot-part.bin", &state.encode_part(0..256));
    let mut back = decode_globals(&globals).expect("reads");
    back.decode_part(&part).expect("reads");
    assert_eq!(back.hash(), state.hash());
}

#[test]
fn control_objects_are_encoded_as_ever() {
    let format = Format { cluster_id: "AAAAAAAAAAAAAAAAAAAAAA".into(), format: 1, time_scale: 1 };
    let golden = fixture("FORMAT", &control::seal(Kind::Format, &format).to_bytes());
    assert_eq!(control::open::<Format>(Kind::Format, &golden), Ok(format));
    let snapshot = SnapshotRef { slot: 5000, index: keys::snapshot_index(Slot(5000), NODE, 2).as_str().into() };
    let current = Current::first(1).with_snapshot(snapshot, 2);
    let golden = fixture("CURRENT", &control::seal(Kind::Current, &current).to_bytes());
    assert_eq!(control::open::<Current>(Kind::Current, &golden), Ok(current));
}

#[test]
fn segments_and_keys_are_as_ever() {
    let payload = [0x5a; 70];
    let (mut bytes, crc) = {
        let (header, crc) = segment::header(1, 70, crc::crc32c(&payload));
        (header.to_vec(), crc)
    };
    bytes.extend_from_slice(&payload);
    assert_eq!(crc::crc32c(&bytes), crc);
    let golden = fixture("segment.bin", &bytes);
    assert_eq!(envelope::open(Kind::Segment, &golden).expect("reads").total_len(), 134);
    let name = SegmentName { fence: LogTime(1_700_000_000_001), node: NODE, number: 3 };
    let all = [
        keys::format(),
        keys::current(),
        keys::log(Slot(7)),
        keys::segment(&name),
        keys::snapshot_part(Slot(7), NODE, 9),
    ];
    let text: String = all.iter().map(|k| format!("{k}\n")).collect();
    fixture("keys.txt", text.as_bytes());
}

#[test]
fn an_index_page_is_encoded_as_ever() {
    let segment = |number| DataObject::Segment(SegmentName { fence: LogTime(1_700_000_000_001), node: NODE, number });
    let place = |offsets, number, start, len| entries::Place { offsets, object: segment(number), start, len };
    let merged = SegmentName::BACKGROUND | 3;
    let page = IndexPage {
        partition: TopicPartition::new(TopicId(TOPIC), 1),
        base_offset: 1_000,
        entries: vec![
            (place(2, merged, 64, 70), 1_700_000_000_000),
            (place(300, merged, 134, 1 << 20), -1),
            (place(1, 4, 64, 90), 1_700_000_000_005),
        ],
    };
    let (bytes, crc) = page.encode(1);
    assert_eq!(crc::crc32c(&bytes), crc);
    assert_eq!(IndexPage::decode(&fixture("index-page.bin", &bytes)), Ok(page));
}
