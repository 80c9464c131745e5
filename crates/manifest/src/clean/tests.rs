//! Rounds on the memory store, whose clock stands still unless told.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use bytes::Bytes;
use lakebed_record::envelope::Kind;
use lakebed_record::ops::{
    Append, BatchMeta, CreateTopic, DeleteTopic, Group, InlinePlace, NodeUp, OpKind, PartitionAppend, Place,
};
use lakebed_record::{CommitId, Incarnation};
use lakebed_store::env::Clock;
use lakebed_store::memory::MemoryStore;
use lakebed_store::{
    Body, BoxFuture, Created, FaultKind, Listing, Meta, Object, ReadError, Reply, StoreKind, Swapped, Version,
};
use parking_lot::Mutex;

use super::*;
use crate::commit::{Draft, SlotContent};
use crate::control;
use crate::log::LogClock;
use crate::open;
use crate::snapshot::Namer;

const NODE: Incarnation = Incarnation(5);
const DAY: i64 = 86_400_000;
const T: i64 = 1_700_000_000_000;
static NO_SNAPSHOT: AtomicBool = AtomicBool::new(false);
const AT_ONCE: FloorSwaps<'static> = FloorSwaps { at_least: 1, snapshot_under_way: &NO_SNAPSHOT };

/// Ms since `T`.
struct Still(AtomicI64);

impl Clock for Still {
    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed).unsigned_abs())
    }

    fn wall_ms(&self) -> i64 {
        T + self.0.load(Ordering::Relaxed)
    }

    fn sleep<'a>(&'a self, _: Duration) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }
}

/// A store that says what it was asked to delete, and whose next swap goes as told.
struct Watched {
    inner: MemoryStore,
    /// Somebody else swaps CURRENT (nothing changes but its serial number) at the next HEAD.
    swap_at_head: AtomicBool,
    deleted: Mutex<Vec<Key>>,
    /// CURRENT's floor at each delete.
    floors: Mutex<Vec<u64>>,
    swap: Mutex<Option<Swap>>,
}

#[derive(Clone, Copy)]
enum Swap {
    Fails,
    /// It takes effect, and the answer is lost.
    Untold,
    /// Neither effect nor answer.
    Lost,
}

impl lakebed_store::testing::PassThrough for Watched {
    fn inner(&self) -> &dyn Store {
        &self.inner
    }

    fn head<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Reply<Result<Meta, ReadError>>> {
        Box::pin(async move {
            if self.swap_at_head.swap(false, Ordering::Relaxed) {
                let object = self.inner.get(&keys::current(), None).await.value.expect("CURRENT is there");
                let current: Current = control::open(Kind::Current, &object.bytes).expect("reads");
                let next = control::seal(Kind::Current, &current.with_floor(Slot(0), 77));
                let swapped = self.inner.swap(&keys::current(), Some(&object.meta.version), &next).await.value;
                assert!(matches!(swapped, Swapped::Yes(_)));
            }
            self.inner.head(key).await
        })
    }

    fn swap<'a>(
        &'a self,
        key: &'a Key,
        expected: Option<&'a Version>,
        body: &'a Body,
    ) -> BoxFuture<'a, Reply<Swapped>> {
        Box::pin(async move {
            let unknown = || Swapped::Unknown(Fault { kind: FaultKind::Timeout, message: "no reply".into() });
            let how = self.swap.lock().take();
            let value = match how {
                None => return self.inner.swap(key, expected, body).await,
                Some(Swap::Fails) => Swapped::Mismatch,
                Some(Swap::Lost) => unknown(),
                Some(Swap::Untold) => {
                    assert!(matches!(self.inner.swap(key, expected, body).await.value, Swapped::Yes(_)));
                    unknown()
                }
            };
            Reply { value, date_ms: None }
        })
    }

    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Reply<Result<(), Fault>>> {
        Box::pin(async move {
            let object = self.inner.get(&keys::current(), None).await.value.expect("CURRENT is there");
            let current: Current = control::open(Kind::Current, &object.bytes).expect("reads");
            self.floors.lock().push(current.log_floor);
            self.deleted.lock().push(key.clone());
            self.inner.delete(key).await
        })
    }
}

struct World {
    clock: Arc<Still>,
    env: Env,
    store: Arc<Watched>,
    state: State,
    namer: Namer,
    progress: Progress,
    groups: u64,
}

fn topic_id(n: u128) -> Vec<u8> {
    n.to_be_bytes().to_vec()
}

impl World {
    async fn new() -> World {
        let clock = Arc::new(Still(AtomicI64::new(0)));
        let env = Env { clock: clock.clone(), entropy: Env::system().entropy };
        let store = Arc::new(Watched {
            inner: MemoryStore::new(&env),
            swap_at_head: AtomicBool::default(),
            deleted: Mutex::default(),
            floors: Mutex::default(),
            swap: Mutex::default(),
        });
        let loaded = open::load(store.as_ref(), &env, &mut LogClock::default(), 1, None).await.expect("a new bucket");
        let namer = Namer { node: NODE, next: 0 };
        let (state, progress) = (loaded.state, Progress::default());
        let mut world = World { clock, env, store, state, namer, progress, groups: 0 };
        world.commit(OpKind::NodeUp(NodeUp::default())).await;
        world
    }

    fn advance(&self, ms: i64) {
        self.clock.0.fetch_add(ms, Ordering::Relaxed);
    }

    /// Writes the next slot and applies it; log time stays.
    async fn commit(&mut self, op: OpKind) {
        self.groups += 1;
        let inline_len = if matches!(op, OpKind::Append(_)) { 10 } else { 0 };
        let group =
            Group { incarnation: NODE.0, number: self.groups, ops: vec![op.into()], inline_len, ..Group::default() };
        self.write(Some(group), T).await;
    }

    /// An empty commit that takes log time to this.
    async fn tick(&mut self, wall_ms: i64) {
        self.write(None, wall_ms).await;
    }

    async fn write(&mut self, group: Option<Group>, wall_ms: i64) {
        let slot = self.state.slot().next();
        let draft = Draft {
            slot,
            id: CommitId(slot.0.into()),
            writer: NODE,
            wall_ms,
            verified_time: group.is_none(),
            feature_level: 1,
            assert: None,
        };
        let inline = [Bytes::from(vec![0; group.as_ref().map_or(0, |g| g.inline_len) as usize])];
        let (commit, body) = draft.seal(group.iter().map(|g| (g, inline.as_slice())));
        assert!(matches!(self.store.create(&keys::log(slot), &body).await.value, Created::Yes));
        let _applied = self.state.apply(slot, &SlotContent::Commit(commit));
    }

    async fn create_topic(&mut self, n: u128) {
        let name = format!("t{n}");
        let (namespace, topic_id) = ("default".into(), topic_id(n));
        self.commit(OpKind::CreateTopic(CreateTopic { namespace, name, topic_id, partitions: 1, configs: vec![] }))
            .await;
    }

    async fn append(&mut self, n: u128) {
        let batches = vec![BatchMeta { len: 10, offsets: 1, max_timestamp: 0, producer: None }];
        self.commit(OpKind::Append(Append {
            place: Some(Place::Inline(InlinePlace {})),
            partitions: vec![PartitionAppend { topic_id: topic_id(n), partition: 0, start: 0, batches }],
        }))
        .await;
    }

    async fn snapshot(&mut self) {
        snapshot::write(self.store.as_ref(), &self.env, &self.state, &mut self.namer, 1).await.expect("writes");
        self.progress.on_snapshot();
    }

    /// Slots 1 to 30, a topic each but the first, with snapshots at 10, 20 and 30.
    async fn thirty() -> World {
        let mut world = World::new().await;
        while world.state.slot() < Slot(30) {
            world.create_topic(world.state.slot().0.into()).await;
            if world.state.slot().0.is_multiple_of(10) {
                world.snapshot().await;
            }
        }
        world
    }

    async fn round(&mut self) -> Cleaned {
        let config = Cleaning { slots_per_round: 1_000, parallel: 4 };
        self.round_with(&config, AT_ONCE).await
    }

    async fn round_with(&mut self, config: &Cleaning, swaps: FloorSwaps<'_>) -> Cleaned {
        let (cleaned, result) =
            round(self.store.as_ref(), &self.env, &self.state, config, swaps, &mut self.progress).await;
        result.expect("nothing fails here");
        cleaned
    }

    async fn floor(&self) -> u64 {
        current::read(self.store.as_ref(), &self.env).await.expect("reads").0.log_floor
    }

    /// Slots that the store has.
    fn slots(&self) -> Vec<u64> {
        let slot = |key: &Key| match keys::parse(key) {
            Some(keys::Name::Log(slot)) => Some(slot.0),
            _ => None,
        };
        self.store.inner.keys().iter().filter_map(slot).collect()
    }

    /// No slot was deleted before CURRENT had a floor above it.
    fn deletes_in_order(&self) -> bool {
        let (deleted, floors) = (self.store.deleted.lock(), self.store.floors.lock());
        deleted.iter().zip(floors.iter()).all(|(key, floor)| match keys::parse(key) {
            Some(keys::Name::Log(slot)) => slot.0 < *floor,
            _ => true,
        })
    }
}

/// Between two looks at slots that become old, in ms.
const LOOKS_APART: i64 = DAY / LOOKS_PER_AGE;

#[tokio::test]
async fn old_slots_up_to_the_oldest_kept_snapshot_go() {
    let mut world = World::thirty().await;
    world.advance(DAY - 1);
    world.round().await;
    assert_eq!((world.floor().await, world.slots().len()), (1, 30), "not a millisecond too early");
    world.advance(LOOKS_APART);
    let cleaned = world.round().await;
    assert_eq!((cleaned.floor, cleaned.slots_deleted, cleaned.alarm), (Some(Slot(11)), 10, None));
    assert_eq!((world.floor().await, world.slots()), (11, (11..=30).collect()));
    assert!(world.deletes_in_order());
    // From every kept snapshot, and from the start, the log still leads to the same state.
    let loaded = open::load(world.store.as_ref(), &world.env, &mut LogClock::default(), 1, None).await.expect("opens");
    assert_eq!(loaded.state.hash(), world.state.hash());
    // Nothing more is to be done until a snapshot goes: not even CURRENT is read.
    assert_eq!(world.round().await.floor, None);
    world.create_topic(99).await;
    world.snapshot().await;
    world.advance(DAY);
    assert_eq!(world.round().await.floor, Some(Slot(21)));
}

#[tokio::test]
async fn a_hole_filled_late_stops_the_floor_though_later_slots_are_old() {
    let mut world = World::thirty().await;
    let key = keys::log(Slot(5));
    let body = Body::from(world.store.get(&key, None).await.value.expect("there").bytes);
    world.advance(1_000);
    world.store.inner.delete(&key).await.value.expect("deletes");
    assert!(matches!(world.store.create(&key, &body).await.value, Created::Yes));
    world.advance(DAY - 1_000);
    world.round().await;
    assert_eq!((world.floor().await, world.slots()), (5, (5..=30).collect()));
    world.advance(LOOKS_APART - 1);
    assert_eq!(world.round().await.floor, None, "young slots are not looked at all the time");
    world.advance(1);
    world.round().await;
    assert_eq!(world.floor().await, 11);
}

#[tokio::test]
async fn this_host_s_clock_says_nothing_of_a_slot_s_age() {
    let mut world = World::thirty().await;
    world.advance(2_000);
    let ahead = Arc::new(Still(AtomicI64::new(100 * DAY)));
    let env = Env { clock: ahead, entropy: world.env.entropy.clone() };
    let config = Cleaning::default();
    let (_, result) = round(world.store.as_ref(), &env, &world.state, &config, AT_ONCE, &mut world.progress).await;
    result.expect("nothing fails here");
    assert_eq!((world.floor().await, world.slots().len()), (1, 30));
}

#[tokio::test]
async fn a_slot_with_live_records_stays_until_they_are_gone_for_a_window() {
    let mut world = World::new().await;
    world.create_topic(1).await;
    world.create_topic(2).await;
    world.append(2).await;
    while world.state.slot() < Slot(10) {
        world.create_topic(world.state.slot().0.into()).await;
    }
    world.snapshot().await;
    world.advance(2 * DAY);
    world.round().await;
    assert_eq!((world.floor().await, world.slots()), (4, (4..=10).collect()));
    world.commit(OpKind::DeleteTopic(DeleteTopic { topic_id: topic_id(2) })).await;
    // Other nodes may not have applied that yet. One slot is held up for two windows, since only the oldest of many is known.
    let window = world.state.waits().window_ms;
    for after in [0, window, 2 * window] {
        world.tick(T + after).await;
        world.round().await;
        assert_eq!((world.floor().await, world.state.anything_expires()), (4, true), "{after} ms later");
    }
    world.tick(T + 2 * window + 1).await;
    world.round().await;
    assert_eq!((world.floor().await, world.state.anything_expires()), (11, false));
}

#[tokio::test]
async fn slots_go_only_when_the_swap_is_known_to_have_succeeded() {
    for (swap, floor, left) in [(Swap::Fails, 1, 30), (Swap::Lost, 1, 30), (Swap::Untold, 11, 20)] {
        let mut world = World::thirty().await;
        world.advance(DAY);
        *world.store.swap.lock() = Some(swap);
        world.round().await;
        assert_eq!((world.floor().await, world.slots().len()), (floor, left));
        // The next round makes good what failed.
        world.advance(60_000);
        world.create_topic(99).await;
        world.round().await;
        assert_eq!((world.floor().await, world.slots().len()), (11, 21));
        assert!(world.deletes_in_order());
    }
}

#[tokio::test]
async fn a_current_that_changes_while_slots_are_looked_at_does_not_keep_the_floor_down() {
    let mut world = World::thirty().await;
    world.advance(DAY);
    world.store.swap_at_head.store(true, Ordering::Relaxed);
    let cleaned = world.round().await;
    assert_eq!((cleaned.floor, world.floor().await, world.slots().len()), (Some(Slot(11)), 11, 20));
    assert!(world.deletes_in_order());
}

#[tokio::test]
async fn the_floor_waits_for_a_snapshot_and_for_a_step_that_is_worth_a_swap() {
    let mut world = World::thirty().await;
    let config = Cleaning { slots_per_round: 4, parallel: 2 };
    world.advance(DAY);
    let writing = AtomicBool::new(true);
    let waiting = FloorSwaps { at_least: 1, snapshot_under_way: &writing };
    world.round_with(&config, waiting).await;
    assert_eq!((world.floor().await, world.slots().len()), (1, 30), "a snapshot is being written");
    let steps = FloorSwaps { at_least: 8, ..AT_ONCE };
    world.round_with(&config, steps).await;
    assert_eq!(world.floor().await, 9, "what was looked at before counts");
    world.round_with(&config, steps).await;
    assert_eq!(world.floor().await, 11, "two slots only, but no more may go");
    let mut world = World::thirty().await;
    world.advance(DAY);
    world.round_with(&config, steps).await;
    assert_eq!((world.floor().await, world.slots().len()), (1, 30), "four slots are too few");
}

#[tokio::test]
async fn a_bounded_number_of_slots_in_a_round() {
    let mut world = World::thirty().await;
    world.advance(DAY);
    let config = Cleaning { slots_per_round: 4, parallel: 2 };
    for expected in [5, 9, 11] {
        world.round_with(&config, AT_ONCE).await;
        assert_eq!(world.floor().await, expected);
    }
}

#[tokio::test]
async fn a_slot_that_somebody_else_deleted_is_an_alarm_and_not_passed() {
    let mut world = World::thirty().await;
    world.advance(DAY);
    world.store.inner.delete(&keys::log(Slot(7))).await.value.expect("deletes");
    let cleaned = world.round().await;
    assert!(cleaned.alarm.is_some_and(|a| a.contains("slot 7")));
    assert_eq!(world.floor().await, 7);
}

#[tokio::test]
async fn slots_made_anew_below_the_floor_are_found_by_a_daily_list() {
    let mut world = World::thirty().await;
    world.advance(DAY);
    world.round().await;
    let late = Body::from(Bytes::from_static(b"late"));
    assert!(matches!(world.store.create(&keys::log(Slot(3)), &late).await.value, Created::Yes));
    world.round().await;
    assert_eq!(world.slots()[0], 3, "only a list finds it");
    world.advance(DAY);
    assert_eq!(world.round().await.slots_deleted, 1);
    assert_eq!(world.slots(), (11..=30).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_attempts_left_goes_and_kept_snapshots_stay_whole() {
    let mut world = World::thirty().await;
    let body = Body::from(Bytes::from_static(b"part"));
    let crashed = keys::snapshot_part(Slot(29), Incarnation(9), 1);
    let under_way = keys::snapshot_part(Slot(30), Incarnation(9), 2);
    for key in [&crashed, &under_way] {
        assert!(matches!(world.store.create(key, &body).await.value, Created::Yes));
    }
    let cleaned = world.round().await;
    assert_eq!(cleaned.snapshot_objects_deleted, 1);
    let keys = world.store.inner.keys();
    assert!(!keys.contains(&crashed) && keys.contains(&under_way));
    // A fourth snapshot takes the first one's place: its index goes, and its parts.
    world.create_topic(99).await;
    world.snapshot().await;
    let cleaned = world.round().await;
    assert_eq!(cleaned.snapshot_objects_deleted, 3);
    let current = current::read(world.store.as_ref(), &world.env).await.expect("reads").0;
    for kept in &current.snapshots {
        snapshot::read(world.store.as_ref(), &world.env, kept).await.expect("each kept snapshot is whole");
    }
}

/// Between reading CURRENT and reading the slots behind its snapshot, a day goes by: snapshots, floor and slots move on.
#[tokio::test]
async fn replay_that_cleaning_overtakes_starts_over() {
    let mut world = World::new().await;
    while world.state.slot() < Slot(10) {
        world.create_topic(world.state.slot().0.into()).await;
    }
    world.snapshot().await;
    let mut later = World::thirty().await;
    while later.state.slot() < Slot(60) {
        later.create_topic(later.state.slot().0.into()).await;
        if later.state.slot().0.is_multiple_of(10) {
            later.snapshot().await;
        }
    }
    later.advance(DAY);
    later.round().await;
    assert_eq!(later.floor().await, 41);
    // What the reader meets from its first slot on is the later bucket; FORMAT and the first CURRENT are the same.
    let reader = Arc::new(Moved { before: world.store.clone(), after: later.store.clone(), moved: false.into() });
    let loaded = open::load(reader.as_ref(), &world.env, &mut LogClock::default(), 1, None).await.expect("opens");
    assert_eq!((loaded.state.slot(), loaded.current.newest_snapshot()), (Slot(60), Slot(60)));
    assert_eq!(loaded.state.hash(), later.state.hash());
    assert_eq!(loaded.evidence.map(|e| e.slot), Some(Slot(61)));
    // Whoever only looks is told of the CURRENT that the state goes with.
    let reader = Moved { before: world.store.clone(), after: later.store.clone(), moved: false.into() };
    let seen = crate::examine::cluster(&reader, &world.env).await.expect("reads");
    assert_eq!((seen.state.slot(), seen.current.newest_snapshot()), (Slot(60), Slot(60)));
}

/// One bucket until a slot is read, then another.
struct Moved {
    before: Arc<Watched>,
    after: Arc<Watched>,
    moved: std::sync::atomic::AtomicBool,
}

impl Moved {
    fn now(&self, key: &Key) -> &Watched {
        if matches!(keys::parse(key), Some(keys::Name::Log(_))) {
            self.moved.store(true, Ordering::Relaxed);
        }
        if self.moved.load(Ordering::Relaxed) { &self.after } else { &self.before }
    }
}

impl Store for Moved {
    fn create<'a>(&'a self, key: &'a Key, body: &'a Body) -> BoxFuture<'a, Reply<Created>> {
        self.now(key).create(key, body)
    }

    fn get<'a>(&'a self, key: &'a Key, range: Option<Range<u64>>) -> BoxFuture<'a, Reply<Result<Object, ReadError>>> {
        self.now(key).get(key, range)
    }

    fn head<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Reply<Result<Meta, ReadError>>> {
        self.now(key).head(key)
    }

    fn swap<'a>(
        &'a self,
        key: &'a Key,
        expected: Option<&'a Version>,
        body: &'a Body,
    ) -> BoxFuture<'a, Reply<Swapped>> {
        self.now(key).swap(key, expected, body)
    }

    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Reply<Result<(), Fault>>> {
        self.now(key).delete(key)
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a Key>) -> BoxFuture<'a, Reply<Result<Listing, Fault>>> {
        self.before.list(prefix, after)
    }

    fn kind(&self) -> StoreKind {
        StoreKind::Memory
    }

    fn refuses_short_bodies(&self) -> bool {
        true
    }
}
