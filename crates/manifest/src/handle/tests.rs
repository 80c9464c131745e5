//! Whose state is wrong: commits that assert what is not so, and a node whose own memory is.

use std::ops::Range;

use lakebed_record::ops::{CreateTopic, Group, NodeUp, OpKind, StateAssertion};
use lakebed_record::{CommitId, keys};
use lakebed_store::env::Clock;
use lakebed_store::memory::MemoryStore;
use lakebed_store::{BoxFuture, Created, Fault, Listing, Meta, Object, ReadError, Reply, StoreKind, Swapped, Version};
use tokio::sync::watch;

use super::*;
use crate::commit::Draft;

const HOUR: Duration = Duration::from_secs(3_600);
const T: i64 = 1_700_000_000_000;
const WRONG: Incarnation = Incarnation(0xbad);

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

struct Deaf;

impl ApplyListener for Deaf {
    fn applied(&self, _: &[TopicPartition], _: Slot) {}
    fn inline_data(&self, _: Slot, _: &Body) {}
}

/// While shut, some requests are not answered.
#[derive(Default)]
struct Gate(watch::Sender<bool>);

impl Gate {
    fn shut(&self, shut: bool) {
        self.0.send_replace(shut);
    }

    async fn pass(&self) {
        self.0.subscribe().wait_for(|shut| !shut).await.expect("the sender is here");
    }
}

/// A store in which replay and HEADs can be held up.
struct Gated {
    inner: MemoryStore,
    /// GETs of FORMAT, with which each replay begins.
    replay: Gate,
    heads: Gate,
}

impl Store for Gated {
    fn create<'a>(&'a self, key: &'a keys::Key, body: &'a Body) -> BoxFuture<'a, Reply<Created>> {
        self.inner.create(key, body)
    }

    fn get<'a>(
        &'a self,
        key: &'a keys::Key,
        range: Option<Range<u64>>,
    ) -> BoxFuture<'a, Reply<Result<Object, ReadError>>> {
        Box::pin(async move {
            if *key == keys::format() {
                self.replay.pass().await;
            }
            self.inner.get(key, range).await
        })
    }

    fn head<'a>(&'a self, key: &'a keys::Key) -> BoxFuture<'a, Reply<Result<Meta, ReadError>>> {
        Box::pin(async move {
            self.heads.pass().await;
            self.inner.head(key).await
        })
    }

    fn swap<'a>(
        &'a self,
        key: &'a keys::Key,
        expected: Option<&'a Version>,
        body: &'a Body,
    ) -> BoxFuture<'a, Reply<Swapped>> {
        self.inner.swap(key, expected, body)
    }

    fn delete<'a>(&'a self, key: &'a keys::Key) -> BoxFuture<'a, Reply<Result<(), Fault>>> {
        self.inner.delete(key)
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a keys::Key>,
    ) -> BoxFuture<'a, Reply<Result<Listing, Fault>>> {
        self.inner.list(prefix, after)
    }

    fn kind(&self) -> StoreKind {
        StoreKind::Memory
    }

    fn refuses_short_bodies(&self) -> bool {
        true
    }
}

struct World {
    env: Env,
    store: Arc<Gated>,
}

impl World {
    fn new() -> World {
        let env = Env { clock: Arc::new(Paused(tokio::time::Instant::now())), entropy: Env::system().entropy };
        let store = Gated { inner: MemoryStore::new(&env), replay: Gate::default(), heads: Gate::default() };
        World { env, store: Arc::new(store) }
    }

    async fn open(&self, cleaning: Option<Cleaning>) -> Result<Manifest, OpenError> {
        let config = ManifestConfig { snapshot_every: 10, cleaning, ..ManifestConfig::default() };
        Manifest::open(self.store.clone(), self.env.clone(), config, Arc::new(Deaf)).await
    }

    /// The next slot is written by a node whose state is not what the log gives.
    async fn write_wrong(&self, after: &Manifest, groups: &[Group]) {
        let (slot, hash) = after.read(|s| (s.slot(), s.hash()));
        let draft = Draft {
            slot: slot.next(),
            id: CommitId(self.env.entropy.u128()),
            writer: WRONG,
            wall_ms: self.env.clock.wall_ms(),
            verified_time: false,
            feature_level: 1,
            assert: Some(StateAssertion { slot: slot.0, hash: hash ^ 1 }),
        };
        let (_, body) = draft.seal(groups.iter().map(|g| (g, [].as_slice())));
        assert!(matches!(self.store.create(&keys::log(slot.next()), &body).await.value, Created::Yes));
    }

    /// As its first group.
    async fn register_wrong(&self, after: &Manifest) {
        let up = NodeUp { fence: after.read(|s| s.log_time().0), ..NodeUp::default() };
        let group = Group { incarnation: WRONG.0, number: 1, ops: vec![OpKind::NodeUp(up).into()], ..Group::default() };
        self.write_wrong(after, &[group]).await;
    }
}

fn topic(n: u128) -> Vec<Op> {
    let (namespace, name, topic_id) = ("default".into(), format!("t{n}"), (n + 1).to_be_bytes().to_vec());
    vec![OpKind::CreateTopic(CreateTopic { namespace, name, topic_id, partitions: 1, configs: Vec::new() }).into()]
}

async fn create(manifest: &Manifest, n: u128) -> Result<Receipt, SubmitError> {
    manifest.submit(topic(n), Vec::new()).await
}

/// What this node holds in memory is not what it applied.
fn spoil(manifest: &Manifest) {
    manifest.shared.state.write().spoil();
}

#[tokio::test(start_paused = true)]
async fn a_wrong_assertion_stops_nobody_and_its_author_is_signed_off() {
    let world = World::new();
    let manifest = world.open(None).await.expect("opens");
    create(&manifest, 0).await.expect("applies");
    let before = manifest.read(|s| s.slot());
    world.register_wrong(&manifest).await;
    manifest.barrier().await.expect("passes: the node replays and goes on");
    create(&manifest, 1).await.expect("applies");
    let status = manifest.status();
    assert_eq!(status.halted, None);
    let alarm = status.alarm.expect("an alarm");
    assert!(alarm.contains(&WRONG.to_string()) && alarm.contains(&format!("slot {before}")), "{alarm}");
    assert!(manifest.read(|s| s.node(WRONG).is_some_and(|n| n.down_at.is_some())), "it is signed off");

    // It goes on writing until it finds out; nobody replays for that again.
    let (incarnation, fenced) = (manifest.incarnation(), status.fenced);
    world.write_wrong(&manifest, &[]).await;
    manifest.barrier().await.expect("passes");
    create(&manifest, 2).await.expect("applies");
    assert_eq!((manifest.incarnation(), manifest.status().fenced), (incarnation, fenced));

    // Nor does it keep anybody from starting.
    let other = world.open(None).await.expect("opens");
    assert_eq!(other.read(|s| s.topics().count()), 3);
    assert_eq!(other.status().alarm, None, "the author is down already");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_starts_signs_off_whom_replay_contradicts() {
    let world = World::new();
    let first = world.open(None).await.expect("opens");
    world.register_wrong(&first).await;
    drop(first);
    let manifest = world.open(None).await.expect("opens");
    assert!(manifest.status().alarm.is_some_and(|a| a.contains(&WRONG.to_string())));
    create(&manifest, 0).await.expect("applies");
    assert!(manifest.read(|s| s.node(WRONG).is_some_and(|n| n.down_at.is_some())));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_wrong_itself_takes_what_replay_gives_and_stops_the_second_time() {
    let world = World::new();
    let [good, bad] = [world.open(None).await.expect("opens"), world.open(None).await.expect("opens")];
    good.barrier().await.expect("passes");
    spoil(&bad);
    // Its own commits assert the wrong state; the other one's contradict it.
    create(&good, 0).await.expect("applies");
    bad.barrier().await.expect("passes");
    create(&good, 1).await.expect("applies");
    bad.barrier().await.expect("passes");
    create(&bad, 2).await.expect("applies");
    good.barrier().await.expect("passes");
    assert_eq!(bad.read(|s| (s.slot(), s.hash())), good.read(|s| (s.slot(), s.hash())));
    let alarm = bad.status().alarm.expect("an alarm");
    assert!(alarm.contains("this node"), "{alarm}");
    assert_eq!((bad.status().halted, good.status().halted), (None, None));

    spoil(&bad);
    create(&good, 3).await.expect("applies");
    assert!(bad.barrier().await.is_err() || create(&good, 4).await.is_err() || bad.barrier().await.is_err());
    let halted = bad.status().halted.expect("it stops");
    assert!(halted.contains("second time") && halted.contains("asserted by"), "{halted}");
    assert!(!bad.status().last_author);
    assert_eq!(good.status().halted, None);
}

#[tokio::test(start_paused = true)]
async fn until_it_has_replayed_a_node_in_doubt_does_nothing_for_the_cluster() {
    let world = World::new();
    let manifest = world.open(Some(Cleaning::default())).await.expect("opens");
    for n in 0..40 {
        create(&manifest, n).await.expect("applies");
        tokio::time::sleep(Duration::from_secs(120)).await;
    }
    // A round of cleaning is in the middle of looking at slots that are old.
    world.store.heads.shut(true);
    tokio::time::sleep(30 * HOUR).await;
    assert_eq!((manifest.status().last_author, manifest.status().cleaning.floor), (true, Slot(1)));
    world.store.replay.shut(true);
    world.write_wrong(&manifest, &[]).await;
    let passing = manifest.barrier();
    let held = tokio::time::timeout(Duration::from_secs(60), passing).await;
    assert!(held.is_err(), "it is not known whether this node lags");
    assert!(!manifest.status().last_author, "no collector may go by this state");
    world.store.heads.shut(false);
    let fence = tokio::time::timeout(Duration::from_secs(60), manifest.fence()).await;
    assert!(fence.is_err(), "no object may be named by this state's log time");
    let floor = crate::current::read(world.store.as_ref(), &world.env).await.expect("reads").0.log_floor;
    assert_eq!(floor, 1, "the round that was under way goes no further");
    world.store.replay.shut(false);
    manifest.fence().await.expect("comes");
    create(&manifest, 99).await.expect("applies");
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(manifest.status().cleaning.floor > Slot(1), "and then it cleans");
}
