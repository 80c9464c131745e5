//! Groups through snapshot parts; parts that nobody could have written.

use prost::Message;

use super::super::super::{decode_globals, encode_globals};
use super::*;

/// A part with nothing but consumer groups, as the field numbers say.
#[derive(Clone, PartialEq, Message)]
struct Part {
    #[prost(message, repeated, tag = "5")]
    groups: Vec<Raw>,
}

#[derive(Clone, PartialEq, Message)]
struct Raw {
    #[prost(string, tag = "1")]
    namespace: String,
    #[prost(string, tag = "2")]
    id: String,
    #[prost(uint64, tag = "3")]
    epoch: u64,
    #[prost(fixed64, tag = "4")]
    owner: u64,
    #[prost(int32, tag = "5")]
    kind: i32,
    #[prost(int32, tag = "6")]
    generation: i32,
    #[prost(uint32, tag = "7")]
    members: u32,
    #[prost(int64, optional, tag = "8")]
    empty_since: Option<i64>,
    #[prost(bytes = "vec", tag = "9")]
    metadata: Vec<u8>,
    #[prost(message, repeated, tag = "10")]
    topics: Vec<RawTopic>,
}

#[derive(Clone, PartialEq, Message)]
struct RawTopic {
    #[prost(bytes = "vec", tag = "1")]
    topic_id: Vec<u8>,
    #[prost(int32, repeated, tag = "2")]
    partitions: Vec<i32>,
    #[prost(int64, repeated, tag = "3")]
    offsets: Vec<i64>,
    #[prost(sint32, repeated, tag = "4")]
    leader_epochs: Vec<i32>,
    #[prost(sint64, repeated, tag = "5")]
    committed_at: Vec<i64>,
    #[prost(string, repeated, tag = "6")]
    metadata: Vec<String>,
}

fn raw() -> Raw {
    let topic = RawTopic {
        topic_id: TOPIC.to_be_bytes().to_vec(),
        partitions: vec![0, 2],
        offsets: vec![5, 6],
        leader_epochs: vec![-1, 0],
        committed_at: vec![T0, -3],
        metadata: vec![String::new(), "m".into()],
    };
    Raw {
        namespace: "default".into(),
        id: "g".into(),
        epoch: 2,
        owner: A.0,
        kind: 1,
        generation: 4,
        members: 1,
        empty_since: None,
        metadata: b"x".to_vec(),
        topics: vec![topic],
    }
}

/// Reads the groups into a state in which three claims were made.
fn read(groups: Vec<Raw>) -> Result<State, String> {
    let mut state = State::new();
    state.last_claim_epoch = 3;
    state.decode_part(&Part { groups }.encode_to_vec()).map_err(|e| e.to_string())?;
    Ok(state)
}

#[test]
fn a_part_says_what_its_fields_say() {
    let state = read(vec![raw(), Raw { id: "h".into(), members: 0, empty_since: Some(T0), ..raw() }]).expect("reads");
    let g = state.consumer_group(&key("g")).expect("is there");
    assert_eq!((g.claim, g.kind), (GroupClaim { epoch: 2, owner: A }, GroupKind::Classic));
    assert_eq!((g.generation, g.members, g.empty_since, g.metadata.as_ref()), (4, 1, None, &b"x"[..]));
    let offset = |offset, leader_epoch, at, metadata: &str| CommittedOffset {
        offset,
        leader_epoch,
        committed_at: LogTime(at),
        metadata: metadata.into(),
    };
    let expected = [(tp(TOPIC, 0), offset(5, -1, T0, "")), (tp(TOPIC, 2), offset(6, 0, T0 - 3, "m"))];
    assert!(g.offsets.iter().eq(expected.iter().map(|(tp, o)| (*tp, o))));
    let totals = state.group_totals();
    assert_eq!((totals.groups, totals.offsets, totals.empty), (2, 4, 1));
    assert_eq!(state.consumer_group(&key("h")).and_then(|h| h.empty_since), Some(LogTime(T0)));
}

#[test]
fn what_no_ops_could_have_made_is_refused() {
    let topic = |change: fn(&mut RawTopic)| {
        let mut r = raw();
        change(&mut r.topics[0]);
        vec![r]
    };
    let two = || vec![raw(), raw()];
    let twice = || {
        let mut r = raw();
        r.topics.push(r.topics[0].clone());
        vec![r]
    };
    let hostile = [
        ("name", vec![Raw { id: String::new(), ..raw() }]),
        ("name", vec![Raw { id: "g".repeat(32_768), ..raw() }]),
        ("name", vec![Raw { namespace: "..".into(), ..raw() }]),
        ("twice", two()),
        ("claim", vec![Raw { epoch: 0, ..raw() }]),
        ("claim", vec![Raw { epoch: 4, ..raw() }]),
        ("kind", vec![Raw { kind: 3, ..raw() }]),
        ("members", vec![Raw { kind: 0, ..raw() }]),
        ("members", vec![Raw { generation: -1, ..raw() }]),
        ("members", vec![Raw { empty_since: Some(1), ..raw() }]),
        ("members", vec![Raw { members: 0, ..raw() }]),
        ("too long", vec![Raw { metadata: vec![0; MAX_GROUP_METADATA + 1], ..raw() }]),
        ("offsets", twice()),
        ("offsets", topic(|t| t.topic_id.truncate(15))),
        ("offsets", topic(|t| t.partitions = vec![2, 0])),
        ("offsets", topic(|t| t.partitions = vec![2, 2])),
        ("offsets", topic(|t| t.partitions = vec![-1, 2])),
        ("offsets", topic(|t| t.partitions.push(3))),
        ("offsets", topic(|t| t.offsets.push(3))),
        ("offsets", topic(|t| t.offsets[1] = -1)),
        ("offsets", topic(|t| t.leader_epochs.truncate(1))),
        ("offsets", topic(|t| t.committed_at.truncate(1))),
        ("offsets", topic(|t| t.metadata.truncate(1))),
        ("offsets", topic(|t| t.metadata[0] = "m".repeat(MAX_OFFSET_METADATA + 1))),
    ];
    for (i, (word, groups)) in hostile.into_iter().enumerate() {
        let refused = read(groups).err().unwrap_or_default();
        assert!(refused.contains(word), "{i}: {refused:?} is not about {word:?}");
    }
    // Any bytes at all: an error or a state, never a panic.
    let good = Part { groups: vec![raw()] }.encode_to_vec();
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << bit;
            let mut state = State::new();
            state.last_claim_epoch = 3;
            let _any = state.decode_part(&bytes);
            let mut cut = State::new();
            let _any = cut.decode_part(&bytes[..at]);
        }
    }
}

#[test]
fn more_than_groups_may_take_is_refused() {
    let large = |i: usize| Raw { id: format!("g{i}"), metadata: vec![0; MAX_GROUP_METADATA], ..raw() };
    let mut state = State::new();
    state.last_claim_epoch = 3;
    let mut parts = (0..MAX_GROUP_BYTES / MAX_GROUP_METADATA).map(|i| Part { groups: vec![large(i)] }.encode_to_vec());
    let refused = parts.find_map(|part| state.decode_part(&part).err());
    assert!(refused.is_some_and(|e| e.to_string().contains("more than they may")));
}

#[test]
fn the_counter_of_claims_is_part_of_the_state() {
    let mut log = Log::new();
    let delete = |epoch| OpKind::DeleteGroup(DeleteGroup { group: group("g"), epoch });
    let before = log.state.clone();
    let epoch = log.claimed("g");
    log.one(A, delete(epoch));
    let mut back = decode_globals(&encode_globals(&log.state)).expect("globals");
    back.decode_part(&log.state.encode_part(0..256)).expect("a part");
    assert_eq!(back.hash(), log.state.hash());
    back.last_claim_epoch = before.last_claim_epoch;
    assert_ne!(back.hash(), log.state.hash());
}
