//! A cluster with three snapshots, in a store that will not let one of their indexes be read.

use std::ops::Range;
use std::time::Duration;

use lakebed_manifest::{ApplyListener, Manifest, ManifestConfig};
use lakebed_record::Slot;
use lakebed_record::ops::{CreateTopic, OpKind};
use lakebed_store::env::Clock;
use lakebed_store::memory::MemoryStore;
use lakebed_store::{
    Body, BoxFuture, Created, Fault, FaultKind, Listing, Meta, Object, Reply, StoreKind, Swapped, Version,
};

use super::*;

struct Paused(tokio::time::Instant);

impl Clock for Paused {
    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    fn wall_ms(&self) -> i64 {
        1_700_000_000_000 + self.0.elapsed().as_millis() as i64
    }

    fn sleep<'a>(&'a self, how_long: Duration) -> BoxFuture<'a, ()> {
        Box::pin(tokio::time::sleep(how_long))
    }
}

struct Deaf;

impl ApplyListener for Deaf {
    fn applied(&self, _: &[TopicPartition], _: Slot) {}
    fn inline_data(&self, _: Slot, _: &Body) {}
}

/// Answers every GET of one object with this.
struct Unreadable {
    inner: Arc<MemoryStore>,
    key: Key,
    answer: ReadError,
}

impl Store for Unreadable {
    fn create<'a>(&'a self, key: &'a Key, body: &'a Body) -> BoxFuture<'a, Reply<Created>> {
        self.inner.create(key, body)
    }

    fn get<'a>(&'a self, key: &'a Key, range: Option<Range<u64>>) -> BoxFuture<'a, Reply<Result<Object, ReadError>>> {
        if *key == self.key {
            return Box::pin(async { Reply { value: Err(self.answer.clone()), date_ms: None } });
        }
        self.inner.get(key, range)
    }

    fn head<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Reply<Result<Meta, ReadError>>> {
        self.inner.head(key)
    }

    fn swap<'a>(
        &'a self,
        key: &'a Key,
        expected: Option<&'a Version>,
        body: &'a Body,
    ) -> BoxFuture<'a, Reply<Swapped>> {
        self.inner.swap(key, expected, body)
    }

    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Reply<Result<(), Fault>>> {
        self.inner.delete(key)
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a Key>) -> BoxFuture<'a, Reply<Result<Listing, Fault>>> {
        self.inner.list(prefix, after)
    }

    fn kind(&self) -> StoreKind {
        StoreKind::Memory
    }

    fn refuses_short_bodies(&self) -> bool {
        true
    }
}

/// The store of a cluster that CURRENT keeps three snapshots of.
async fn cluster(env: &Env) -> Arc<MemoryStore> {
    let store = Arc::new(MemoryStore::new(env));
    let config = ManifestConfig { snapshot_every: 10, ..ManifestConfig::default() };
    let manifest = Manifest::open(store.clone(), env.clone(), config, Arc::new(Deaf)).await.unwrap();
    for n in 1..35_u128 {
        let (namespace, name, topic_id) = ("default".into(), format!("t{n}"), n.to_be_bytes().to_vec());
        let topic = CreateTopic { namespace, name, topic_id, partitions: 1, configs: Vec::new() };
        manifest.submit(vec![OpKind::CreateTopic(topic).into()], Vec::new()).await.unwrap();
        env.clock.sleep(Duration::from_secs(61)).await;
    }
    store
}

#[tokio::test(start_paused = true)]
async fn parts_of_a_snapshot_whose_index_cannot_be_read_are_no_orphans() {
    let env = Env { clock: Arc::new(Paused(tokio::time::Instant::now())), entropy: Env::system().entropy };
    let inner = cluster(&env).await;
    let check = Check { store: inner.clone(), env: env.clone() };
    let (whole, _, found) = check.compare().await.unwrap();
    assert_eq!((whole.current.snapshots.len(), found), (3, Vec::new()));

    let key = Key::new(&whole.current.snapshots[2].index);
    let fault = |kind| ReadError::Fault(Fault { kind, message: "said so".into() });
    for answer in [fault(FaultKind::Denied), fault(FaultKind::Server)] {
        let store = Arc::new(Unreadable { inner: inner.clone(), key: key.clone(), answer });
        let told = Check { store, env: env.clone() }.compare().await.map(|(_, _, found)| found).unwrap_err();
        assert!(told.to_string().contains("said so"), "{told:#}");
    }
    // A store that contradicts itself: the object is there all the same.
    let store = Arc::new(Unreadable { inner, key, answer: ReadError::NotFound });
    let (_, _, found) = Check { store, env }.compare().await.unwrap();
    assert_eq!(found, []);
}
