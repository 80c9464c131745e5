//! Consumer groups on nodes that share a store: claims across a restart, and who is heard of.

use std::sync::Arc;
use std::time::Duration;

use lakebed_manifest::{ApplyListener, Manifest, ManifestConfig};
use lakebed_record::ops::{
    ClaimGroup, CommitOffsets, CommitOutcome, CreateTopic, GroupRef, Op, OpKind, OpOutcome, PartitionOffset,
    TopicOffsets, WriteGroup,
};
use lakebed_record::{GroupClaim, GroupKey, Incarnation, Slot, TopicId, TopicPartition};
use lakebed_store::env::Env;
use lakebed_store::memory::MemoryStore;
use lakebed_store::{Body, Store};

struct Deaf;

impl ApplyListener for Deaf {
    fn applied(&self, _changed: &[TopicPartition], _slot: Slot) {}
    fn inline_data(&self, _slot: Slot, _object: &Body) {}
}

const TOPIC: u128 = 7;

async fn open(store: &Arc<MemoryStore>) -> Manifest {
    let config = ManifestConfig { snapshot_every: 10, ..ManifestConfig::default() };
    let store: Arc<dyn Store> = store.clone();
    Manifest::open(store, Env::system(), config, Arc::new(Deaf)).await.expect("opens")
}

async fn submit(manifest: &Manifest, ops: Vec<OpKind>) -> Vec<OpOutcome> {
    let ops: Vec<Op> = ops.into_iter().map(Into::into).collect();
    manifest.submit(ops, Vec::new()).await.expect("applies").outcomes
}

fn group() -> Option<GroupRef> {
    Some(GroupRef { namespace: "default".into(), id: "g".into() })
}

fn claim(replaces: u64) -> Vec<OpKind> {
    vec![OpKind::ClaimGroup(ClaimGroup { group: group(), replaces })]
}

fn commit(epoch: u64, generation: i32, offset: i64) -> OpKind {
    let offsets = vec![PartitionOffset { partition: 0, offset, leader_epoch: -1, metadata: "m".into() }];
    let topics = vec![TopicOffsets { topic_id: TOPIC.to_be_bytes().to_vec(), offsets }];
    OpKind::CommitOffsets(CommitOffsets { group: group(), epoch, generation: Some(generation), topics })
}

/// Claim, generation and committed offset.
fn kept(manifest: &Manifest) -> (GroupClaim, i32, Option<i64>) {
    let key = GroupKey::parse("default", "g").expect("a key");
    manifest.read(|s| {
        let g = s.consumer_group(&key).expect("the group is there");
        let offset = g.offsets.get(TopicPartition::new(TopicId(TOPIC), 0)).map(|o| o.offset);
        (g.claim, g.generation, offset)
    })
}

#[tokio::test]
async fn a_group_and_its_offsets_survive_their_owner() {
    let store = Arc::new(MemoryStore::new(&Env::system()));
    let manifest = open(&store).await;
    let topic = CreateTopic {
        namespace: "default".into(),
        name: "t".into(),
        topic_id: TOPIC.to_be_bytes().to_vec(),
        partitions: 1,
        configs: Vec::new(),
    };
    let first = [vec![OpKind::CreateTopic(topic)], claim(0)].concat();
    assert_eq!(submit(&manifest, first).await, [OpOutcome::TopicCreated, OpOutcome::GroupClaimed { epoch: 1 }]);
    let write = WriteGroup {
        group: group(),
        epoch: 1,
        from_generation: 0,
        generation: 1,
        kind: 1,
        members: 1,
        metadata: b"who".to_vec(),
    };
    assert_eq!(submit(&manifest, vec![OpKind::WriteGroup(write)]).await, [OpOutcome::Done]);
    let committed = [OpOutcome::OffsetsCommitted(vec![vec![CommitOutcome::Committed]])];
    for offset in 1..=25 {
        assert_eq!(submit(&manifest, vec![commit(1, 1, offset)]).await, committed);
    }
    let owner = manifest.incarnation();
    for _ in 0..1_000 {
        if manifest.status().snapshots_written > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(manifest.status().snapshots_written > 0);
    // Gone without a word, as by kill -9.
    drop(manifest);
    let next = open(&store).await;
    assert_eq!(kept(&next), (GroupClaim { epoch: 1, owner }, 1, Some(25)));
    assert_eq!(
        submit(&next, claim(0)).await,
        [OpOutcome::ClaimRefused { present: Some(GroupClaim { epoch: 1, owner }) }]
    );
    assert_eq!(submit(&next, claim(1)).await, [OpOutcome::GroupClaimed { epoch: 2 }]);
    assert_eq!(submit(&next, vec![commit(1, 1, 26)]).await, [OpOutcome::NotOwner]);
    assert_eq!(submit(&next, vec![commit(2, 1, 27)]).await, committed);
    assert_eq!(kept(&next), (GroupClaim { epoch: 2, owner: next.incarnation() }, 1, Some(27)));
}

async fn until(what: &str, done: impl Fn() -> bool) {
    let waiting = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(20), waiting).await.is_ok(), "not within 20 s: {what}");
}

#[tokio::test]
async fn a_node_that_follows_the_log_hears_the_others_and_their_silence() {
    let store = Arc::new(MemoryStore::new(&Env::system()));
    let (a, b) = (open(&store).await, open(&store).await);
    let (owner, me) = (a.incarnation(), b.incarnation());
    assert_eq!((b.heard(Incarnation(1)), b.silent(Incarnation(1))), (None, None));
    let second = Duration::from_secs(1);
    // Without probes nothing is known, however long ago the other was heard.
    until("heard long ago", || b.heard(owner).is_some_and(|since| since > 2 * second)).await;
    assert!(b.silent(owner).is_some_and(|silence| silence < second));
    let following = b.follow();
    until("silence", || b.silent(owner).is_some_and(|silence| silence > 2 * second)).await;
    // An empty group of ops is heard.
    assert_eq!(submit(&a, Vec::new()).await, []);
    until("the group", || b.heard(owner).is_some_and(|since| since < second)).await;
    assert!(b.silent(owner).is_some_and(|silence| silence < second));
    assert_eq!(submit(&b, Vec::new()).await, []);
    assert!(b.heard(me).is_some_and(|since| since < second));
    drop(following);
    a.shutdown().await;
    b.barrier().await.expect("passes");
    assert_eq!((b.heard(owner), b.silent(owner)), (None, None), "it signed off");
}
