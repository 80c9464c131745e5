//! Whole nodes on the memory store and on time that runs only while they wait: days of cleaning and expiry.

use std::sync::Arc;
use std::time::Duration;

use lakebed_manifest::{ApplyListener, Cleaning, Manifest, ManifestConfig, OpenError, SubmitError};
use lakebed_record::ops::{CreateTopic, GrantProducerId, OpKind};
use lakebed_record::{Slot, TopicPartition, keys};
use lakebed_store::env::{Clock, Env};
use lakebed_store::memory::MemoryStore;
use lakebed_store::{Body, BoxFuture, Store};
use parking_lot::Mutex;

const HOUR: Duration = Duration::from_secs(3_600);
const T: i64 = 1_700_000_000_000;

struct Paused(tokio::time::Instant);

impl Clock for Paused {
    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    fn wall_ms(&self) -> i64 {
        T + self.0.elapsed().as_millis() as i64
    }

    fn sleep<'a>(&'a self, how_long: Duration) -> BoxFuture<'a, ()> {
        Box::pin(tokio::time::sleep(how_long))
    }
}

#[derive(Default)]
struct Heard(Mutex<Vec<TopicPartition>>);

impl ApplyListener for Heard {
    fn applied(&self, changed: &[TopicPartition], _slot: Slot) {
        self.0.lock().extend(changed);
    }

    fn inline_data(&self, _slot: Slot, _object: &Body) {}
}

fn env() -> Env {
    Env { clock: Arc::new(Paused(tokio::time::Instant::now())), entropy: Env::system().entropy }
}

async fn open(store: &Arc<MemoryStore>, env: &Env, cleaning: Option<Cleaning>) -> (Manifest, Arc<Heard>) {
    let config = ManifestConfig { snapshot_every: 10, cleaning, ..ManifestConfig::default() };
    let heard = Arc::new(Heard::default());
    let manifest = Manifest::open(store.clone(), env.clone(), config, heard.clone()).await.expect("opens");
    (manifest, heard)
}

fn topic(n: u64) -> OpKind {
    OpKind::CreateTopic(CreateTopic {
        namespace: "default".into(),
        name: format!("t{n}"),
        topic_id: u128::from(n + 1).to_be_bytes().to_vec(),
        partitions: 1,
        configs: Vec::new(),
    })
}

/// So many topics, two minutes apart, so that every tenth slot gets its snapshot.
async fn create(manifest: &Manifest, topics: std::ops::Range<u64>) {
    for n in topics {
        manifest.submit(vec![topic(n).into()], Vec::new()).await.expect("applies");
        tokio::time::sleep(Duration::from_secs(120)).await;
    }
}

fn slots(store: &MemoryStore) -> Vec<u64> {
    let slot = |key: &keys::Key| match keys::parse(key) {
        Some(keys::Name::Log(slot)) => Some(slot.0),
        _ => None,
    };
    store.keys().iter().filter_map(slot).collect()
}

fn snapshot_objects(store: &MemoryStore) -> usize {
    store.keys().iter().filter(|key| key.as_str().starts_with("snapshots/")).count()
}

#[tokio::test(start_paused = true)]
async fn the_log_is_cleaned_after_a_day_and_an_idle_cluster_writes_nothing() {
    let env = env();
    let store = Arc::new(MemoryStore::new(&env));
    let (manifest, _) = open(&store, &env, Some(Cleaning::default())).await;
    create(&manifest, 0..60).await;
    assert_eq!(slots(&store)[0], 1, "nothing is old yet");
    let written = slots(&store).len();
    tokio::time::sleep(24 * HOUR).await;
    let status = manifest.status().cleaning;
    assert!(status.floor > Slot(1) && status.slots_deleted + 1 == status.floor.0, "{status:?}");
    assert_eq!(slots(&store)[0], status.floor.0);
    // Three snapshots, each an index and a part of its own or an older one's.
    assert!(snapshot_objects(&store) <= 6, "{:?}", store.keys());
    assert_eq!(status.alarm, None);
    assert_eq!(written as u64, status.slots_deleted + slots(&store).len() as u64, "nothing was written meanwhile");
    let head = manifest.read(|s| s.slot());
    tokio::time::sleep(100 * HOUR).await;
    assert_eq!(manifest.read(|s| s.slot()), head);
    // The looks for duties that rest have kept evidence.
    let checks = manifest.status().counters.floor_checks;
    create(&manifest, 60..65).await;
    assert_eq!(manifest.status().counters.floor_checks, checks);
    let hash = manifest.read(|s| (s.slot(), s.hash()));
    drop(manifest);
    let (again, _) = open(&store, &env, None).await;
    assert_eq!(again.read(|s| s.topics().count()), 65);
    assert!(again.read(|s| s.slot()) > hash.0);
    // Who does not clean does not look: days later there is no evidence left, and one read of CURRENT makes up for it.
    tokio::time::sleep(100 * HOUR).await;
    let checks = again.status().counters.floor_checks;
    create(&again, 65..70).await;
    assert_eq!(again.status().counters.floor_checks, checks + 1);
}

#[tokio::test(start_paused = true)]
async fn another_node_takes_over_what_rests_once_the_last_author_is_gone() {
    let env = env();
    let store = Arc::new(MemoryStore::new(&env));
    let mut idle = Vec::new();
    for _ in 0..2 {
        idle.push(open(&store, &env, Some(Cleaning::default())).await.0);
    }
    let (author, _) = open(&store, &env, Some(Cleaning::default())).await;
    create(&author, 0..60).await;
    let before = author.read(|s| s.slot());
    drop(author);
    // Nothing is old for a day: nobody writes, or reads more than a look takes.
    tokio::time::sleep(21 * HOUR).await;
    assert_eq!(slots(&store).last(), Some(&before.0));
    tokio::time::sleep(27 * HOUR).await;
    let floors = idle.iter().map(|manifest| manifest.status().cleaning.floor).max();
    assert!(floors > Some(Slot(40)), "{floors:?}");
    assert_eq!(slots(&store).first().copied(), floors.map(|floor| floor.0));
    let written = slots(&store);
    tokio::time::sleep(200 * HOUR).await;
    assert_eq!(slots(&store), written, "with nothing to do nobody writes");
    // A tombstone has to go, though the one that left it was the last author.
    let leaving = idle.remove(0);
    leaving.barrier().await.expect("passes");
    let gone = leaving.incarnation();
    leaving.shutdown().await;
    idle[0].barrier().await.expect("passes");
    assert!(idle[0].read(|s| s.node(gone).is_some_and(|node| node.down_at.is_some())));
    tokio::time::sleep(2 * HOUR).await;
    assert!(idle[0].read(|s| s.node(gone).is_none()), "the tombstone");
}

#[tokio::test(start_paused = true)]
async fn steady_commits_cost_no_reads_of_current() {
    let env = env();
    let store = Arc::new(MemoryStore::new(&env));
    let (manifest, _) = open(&store, &env, None).await;
    for n in 0..3_000 {
        manifest.submit(vec![topic(n).into()], Vec::new()).await.expect("applies");
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    assert_eq!(manifest.status().counters.floor_checks, 0);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_the_floor_has_passed_jumps_and_serves_on() {
    let env = env();
    let store = Arc::new(MemoryStore::new(&env));
    let (idle, heard) = open(&store, &env, None).await;
    let before = (idle.incarnation(), idle.read(|s| s.slot()));
    let (writer, _) = open(&store, &env, Some(Cleaning::default())).await;
    create(&writer, 0..60).await;
    tokio::time::sleep(25 * HOUR).await;
    assert!(writer.status().cleaning.floor > before.1.next());
    // A slot that was cleaned is there for the taking: it must not be taken.
    let ticket = idle.submit(vec![topic(1_000).into()], Vec::new());
    assert_eq!(ticket.await, Err(SubmitError::Fenced), "nothing is known of it");
    idle.barrier().await.expect("passes");
    assert_eq!(idle.status().overtaken, 1);
    assert_ne!(idle.incarnation(), before.0);
    assert_eq!(idle.read(|s| s.topics().count()), 60);
    assert!(heard.0.lock().len() >= 60, "whoever waits for a partition was told");
    let receipt = idle.submit(vec![topic(2_000).into()], Vec::new()).await.expect("applies");
    writer.barrier().await.expect("passes");
    assert!(writer.read(|s| s.slot()) >= receipt.slot);
    assert_eq!(writer.read(|s| s.topics().count()), 61);
}

#[tokio::test(start_paused = true)]
async fn what_waits_to_expire_keeps_log_time_going_until_it_is_gone() {
    let env = env();
    let store = Arc::new(MemoryStore::new(&env));
    let (first, _) = open(&store, &env, None).await;
    first.submit(vec![OpKind::GrantProducerId(GrantProducerId {}).into()], Vec::new()).await.expect("applies");
    first.shutdown().await;
    let (manifest, _) = open(&store, &env, Some(Cleaning::default())).await;
    assert_eq!(manifest.read(|s| s.nodes().count()), 2, "one of them a tombstone");
    tokio::time::sleep(HOUR / 4).await;
    assert_eq!(manifest.read(|s| s.nodes().count()), 1);
    let status = manifest.status();
    assert_eq!(status.cleaning.expiries, 1);
    // Ten ticks or so, and then silence.
    let head = manifest.read(|s| s.slot());
    assert!(head < Slot(20), "{head}");
    tokio::time::sleep(48 * HOUR).await;
    assert_eq!(manifest.read(|s| s.slot()), head);
}

#[tokio::test(start_paused = true)]
async fn a_bucket_keeps_its_time_scale() {
    let env = env();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(&env));
    let config = |time_scale| ManifestConfig {
        time_scale,
        cleaning: Some(Cleaning::default()),
        snapshot_every: 10,
        ..ManifestConfig::default()
    };
    let open = |time_scale| Manifest::open(store.clone(), env.clone(), config(time_scale), Arc::new(Heard::default()));
    let manifest = open(60).await.expect("a new bucket");
    let refused = open(1).await.map(|_| ()).expect_err("another scale");
    assert!(matches!(refused, OpenError::TimeScale { bucket: 60, node: 1 }), "{refused}");
    assert!(refused.to_string().contains("--time-scale 60"));
    // A day is 24 minutes here.
    for n in 0..60 {
        manifest.submit(vec![topic(n).into()], Vec::new()).await.expect("applies");
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    tokio::time::sleep(Duration::from_secs(25 * 60)).await;
    assert!(manifest.status().cleaning.floor > Slot(30), "{:?}", manifest.status());
    drop(manifest);
    let again = open(60).await.expect("from a snapshot");
    assert_eq!(again.read(|s| s.waits().scale()), 60);
}
