//! One node on the memory store: registers, commits, restarts, snapshots.

use std::sync::Arc;

use bytes::Bytes;
use lakebed_manifest::{ApplyListener, Manifest, ManifestConfig, OpenError};
use lakebed_record::ops::{
    Append, BatchMeta, BatchOutcome, CreateTopic, InlinePlace, OpKind, OpOutcome, PartitionAppend, Place,
};
use lakebed_record::{DataObject, Incarnation, Slot, TopicPartition, keys};
use lakebed_store::env::Env;
use lakebed_store::memory::MemoryStore;
use lakebed_store::{Body, Store};

struct Deaf;

impl ApplyListener for Deaf {
    fn applied(&self, _changed: &[TopicPartition], _slot: Slot) {}
    fn inline_data(&self, _slot: Slot, _object: &Body) {}
}

const TOPIC: u128 = 7;

fn create_topic(name: &str) -> OpKind {
    OpKind::CreateTopic(CreateTopic {
        namespace: "default".into(),
        name: name.into(),
        topic_id: TOPIC.to_be_bytes().to_vec(),
        partitions: 2,
        configs: Vec::new(),
    })
}

fn append(len: u32, offsets: u32) -> OpKind {
    OpKind::Append(Append {
        place: Some(Place::Inline(InlinePlace {})),
        partitions: vec![PartitionAppend {
            topic_id: TOPIC.to_be_bytes().to_vec(),
            partition: 1,
            start: 0,
            batches: vec![BatchMeta { len, offsets, max_timestamp: 5, producer: None }],
        }],
    })
}

async fn open(store: &Arc<MemoryStore>, snapshot_every: u64) -> Manifest {
    let config = ManifestConfig { kafka_address: "localhost:9092".into(), snapshot_every, ..ManifestConfig::default() };
    let store: Arc<dyn Store> = store.clone();
    Manifest::open(store, Env::system(), config, Arc::new(Deaf)).await.expect("opens")
}

#[tokio::test]
async fn a_bucket_that_has_lost_current_is_not_begun_anew() {
    for left in [keys::log(Slot(9)), keys::snapshot_part(Slot(9), Incarnation(1), 1)] {
        let store = Arc::new(MemoryStore::new(&Env::system()));
        store.create(&left, &Body::from(Bytes::from_static(b"x"))).await;
        let refused = Manifest::open(store.clone(), Env::system(), ManifestConfig::default(), Arc::new(Deaf)).await;
        assert!(matches!(refused.map(|_| ()), Err(OpenError::NoCurrent(found)) if found == left));
        assert!(!store.keys().contains(&keys::current()));
    }
}

#[tokio::test]
async fn commits_and_survives_restarts() {
    let store = Arc::new(MemoryStore::new(&Env::system()));
    let manifest = open(&store, 10).await;
    assert_eq!(manifest.broker_id().0, 1);
    let receipt = manifest.submit(vec![create_topic("a").into()], Vec::new()).await.expect("applies");
    assert_eq!(receipt.outcomes, [OpOutcome::TopicCreated]);
    for i in 0..30 {
        let data = Bytes::from(vec![i as u8; 100]);
        let receipt = manifest.submit(vec![append(100, 3).into()], vec![data]).await.expect("applies");
        let expected = BatchOutcome::Appended { base_offset: i * 3, log_start_offset: 0 };
        assert_eq!(receipt.outcomes, [OpOutcome::Appended(vec![vec![expected]])]);
    }
    manifest.barrier().await.expect("passes");
    let tp = TopicPartition::new(lakebed_record::TopicId(TOPIC), 1);
    let (next, entry) = manifest
        .read(|s| s.partition(tp).map(|p| (p.next_offset(), *p.entry_at(40).expect("an entry"))))
        .expect("exists");
    assert_eq!(next, 90);
    assert_eq!((entry.base_offset, entry.offsets, entry.len), (39, 3, 100));
    let DataObject::Inline(slot) = entry.object else { panic!("{entry:?}") };
    let key = keys::log(slot);
    let bytes = store.get(&key, Some(entry.start..entry.start + entry.len)).await.value.expect("is there").bytes;
    assert_eq!(bytes, vec![13_u8; 100]);
    let hash = manifest.read(|s| (s.slot(), s.hash()));
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(manifest.status().snapshots_written >= 1, "{:?}", manifest.status());
    drop(manifest);
    let again = open(&store, 10).await;
    assert_eq!(again.broker_id().0, 1, "its address is the first one's");
    assert_eq!(again.read(|s| s.partition(tp).map(|p| p.next_offset())), Some(90));
    assert_eq!(again.read(|s| s.slot()), hash.0.next());
    again.shutdown().await;
}
