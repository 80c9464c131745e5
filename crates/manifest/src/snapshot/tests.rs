//! Snapshots on the memory store: read back, parts reused, CURRENT contended.

use std::sync::Arc;

use lakebed_record::ops::{CreateTopic, Group, NodeUp, OpKind};
use lakebed_record::{CommitId, FEATURE_LEVEL};
use lakebed_store::Swapped;
use lakebed_store::memory::MemoryStore;

use super::*;
use crate::commit::{Commit, SlotContent};
use crate::control;

const NODE: Incarnation = Incarnation(5);

fn commit(slot: Slot, number: u64, op: OpKind) -> SlotContent {
    let group = Group { incarnation: NODE.0, number, ops: vec![op.into()], ..Group::default() };
    SlotContent::Commit(Commit {
        slot,
        id: CommitId(slot.0.into()),
        writer: NODE,
        wall_ms: 1_000_000,
        verified_time: false,
        groups: vec![group],
        assert: None,
        payload_start: 0,
        payload_len: 0,
    })
}

/// A state with so many topics of 100 partitions.
fn state(topics: u64) -> State {
    let mut state = State::new();
    let up = commit(Slot(1), 1, OpKind::NodeUp(NodeUp::default()));
    let _applied = state.apply(Slot(1), &up);
    (0..topics).for_each(|n| grow(&mut state, n));
    state
}

fn grow(state: &mut State, n: u64) {
    let topic = CreateTopic {
        namespace: "default".into(),
        name: format!("t{n}"),
        topic_id: u128::from(n + 1).to_be_bytes().to_vec(),
        partitions: 100,
        configs: Vec::new(),
    };
    let slot = state.slot().next();
    let _applied = state.apply(slot, &commit(slot, n + 2, OpKind::CreateTopic(topic)));
}

async fn bucket() -> (Arc<MemoryStore>, Env, Namer) {
    let env = Env::system();
    let store = Arc::new(MemoryStore::new(&env));
    let first = control::seal(Kind::Current, &Current::first(1));
    assert!(matches!(store.swap(&keys::current(), None, &first).await.value, Swapped::Yes(_)));
    (store, env, Namer { node: NODE, next: 0 })
}

#[tokio::test]
async fn reads_back_what_was_written_and_reuses_parts() {
    let (store, env, mut namer) = bucket().await;
    let mut state = state(100);
    let written = write(store.as_ref(), &env, &state, &mut namer, 1).await.expect("writes");
    assert_eq!(written, Written::Swapped { parts: 2, reused: 0 });
    let (current, _) = current::read(store.as_ref(), &env).await.expect("reads");
    let back = read(store.as_ref(), &env, &current.snapshots[0]).await.expect("reads");
    assert_eq!((back.slot(), back.hash()), (state.slot(), state.hash()));

    // The same slot again is not newer.
    let again = write(store.as_ref(), &env, &state, &mut namer, 1).await.expect("writes");
    assert_eq!(again, Written::NotNewer(state.slot()));

    // A void slot changes no bucket: every part is reused, under a new index.
    let slot = state.slot().next();
    let _applied = state.apply(slot, &SlotContent::Void);
    let written = write(store.as_ref(), &env, &state, &mut namer, 1).await.expect("writes");
    assert_eq!(written, Written::Swapped { parts: 2, reused: 2 });

    for n in 100..104 {
        grow(&mut state, n);
        let written = write(store.as_ref(), &env, &state, &mut namer, 1).await.expect("writes");
        assert_eq!(written, Written::Swapped { parts: 2, reused: 0 });
    }
    let (current, _) = current::read(store.as_ref(), &env).await.expect("reads");
    let slots: Vec<u64> = current.snapshots.iter().map(|s| s.slot).collect();
    assert_eq!(slots, [state.slot().0, state.slot().0 - 1, state.slot().0 - 2], "three are kept, newest first");
    assert_eq!(current.serial, 7);
    for kept in &current.snapshots {
        read(store.as_ref(), &env, kept).await.expect("each is whole");
    }
}

#[tokio::test]
async fn a_damaged_part_is_noticed() {
    let (store, env, mut namer) = bucket().await;
    let state = state(1);
    let (refs, _) = write_parts(store.as_ref(), &env, &state, &BTreeMap::new(), &mut namer).await.expect("writes");
    let other = self::state(2);
    let globals = crate::state::encode_globals(&state);
    let index = Index { globals, parts: refs, state_hash: other.hash() };
    let key = keys::snapshot_index(Slot(9), NODE, 99);
    let body = seal(Kind::SnapshotIndex, &state, &index.encode_to_vec());
    settled::create(store.as_ref(), &env, &key, &body).await.expect("creates");
    let snapshot = SnapshotRef { slot: 9, index: key.as_str().into() };
    let read = read(store.as_ref(), &env, &snapshot).await;
    assert!(matches!(read, Err(SnapshotError::Hash(_))), "{:?}", read.map(|s| s.slot()));
}

#[tokio::test]
async fn two_writers_leave_the_newer_one() {
    let (store, env, mut namer) = bucket().await;
    let mut other = Namer { node: Incarnation(6), next: 0 };
    let (older, newer) = (state(3), state(4));
    let (a, b) = tokio::join!(
        write(store.as_ref(), &env, &older, &mut namer, 1),
        write(store.as_ref(), &env, &newer, &mut other, 1)
    );
    let (current, _) = current::read(store.as_ref(), &env).await.expect("reads");
    assert_eq!(current.snapshots[0].slot, newer.slot().0, "{a:?} {b:?}");
    assert!(current.min_reader <= FEATURE_LEVEL);
}
