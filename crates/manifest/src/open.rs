//! Start-up (4.6): FORMAT, CURRENT, the newest snapshot's parts in parallel, then the ops of the slots after it in windows of
//! parallel GETs, up to the first slot that is missing.
//!
//! Slots below the floor may be gone or made anew, so nothing that was read counts before CURRENT, read after the last answer, shows
//! that the floor has passed none of it (rule 7). If it has, everything starts over from the new snapshot; so does what failed on
//! a snapshot that CURRENT has replaced meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use lakebed_record::envelope::{FormatError, Kind};
use lakebed_record::keys::{self, Key};
use lakebed_record::{FEATURE_LEVEL, Incarnation, Slot};
use lakebed_store::env::Env;
use lakebed_store::{Created, Fault, ReadError, Store, Swapped};

use crate::commit::{self, Opened, SlotContent};
use crate::control::{self, Current, FORMAT_VERSION, Format};
use crate::current::{self, CurrentError};
use crate::log::{Dated, Evidence, LogClock, Moment};
use crate::settled::{self, GaveUp, Tries};
use crate::snapshot::{self, SnapshotError};
use crate::state::State;
use crate::waits::Waits;

/// First bytes of a slot that replay reads: header and ops of nearly all commits.
const FIRST_BYTES: u64 = 16 << 10;
const MAX_PARALLEL: usize = 256;
/// After so many slots replay looks whether a newer snapshot would take it further than as many again.
const LOOK_EVERY: u64 = 2_048;
/// Slots past the first missing one whose content, if there is any, tells of a hole.
const READ_AHEAD: u64 = 4;
const SLOT_TRIES: u32 = 8;
/// How often replay starts over because the floor passed it.
const LOAD_TRIES: u32 = 8;

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the store does not answer as it must: {0}")]
    Store(#[from] GaveUp),
    #[error("{0}")]
    Snapshot(#[from] SnapshotError),
    #[error("{0}")]
    Current(CurrentError),
    #[error("{key}: {error}")]
    Format { key: Key, error: FormatError },
    #[error("this bucket has format {0}; this build reads format {FORMAT_VERSION}: use a newer build")]
    FormatVersion(u32),
    #[error("this bucket needs feature level {0}; this build has {FEATURE_LEVEL}: use a newer build")]
    TooOld(u16),
    #[error(
        "this bucket was created with --time-scale {bucket}, and this node has --time-scale {node}: all nodes must have the bucket's"
    )]
    TimeScale { bucket: u32, node: u32 },
    #[error(
        "the log is cleaned faster than this node reads it; start again, and if that does not help give it more bandwidth"
    )]
    Overtaken,
    #[error(
        "FORMAT exists but CURRENT does not: the first start was cut short or CURRENT was deleted; if {0} is missing as well, delete FORMAT and start again, else restore CURRENT"
    )]
    NoCurrent(Key),
    #[error("{0}")]
    Halted(String),
}

impl From<CurrentError> for OpenError {
    fn from(error: CurrentError) -> OpenError {
        match error {
            CurrentError::Store(error) => OpenError::Store(error),
            other @ CurrentError::Format(_) => OpenError::Current(other),
        }
    }
}

impl OpenError {
    /// Trying again may help: the store was away, or cleaning was faster.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(
            self,
            OpenError::Store(_)
                | OpenError::Overtaken
                | OpenError::Snapshot(SnapshotError::Store(GaveUp::Fault { .. }))
        )
    }
}

/// What replay gives.
pub struct Loaded {
    pub cluster_id: String,
    pub state: State,
    /// Slots past the first missing one.
    pub read_ahead: Vec<(Slot, SlotContent)>,
    /// As it was read after the log.
    pub current: Current,
    pub replayed: u64,
    /// That the first missing slot is missing is believed.
    pub evidence: Option<Evidence>,
    /// Authors that assert another state than replay gives, and the first slot of which each does.
    pub disputed: BTreeMap<Incarnation, Slot>,
    /// Hash of the state at the slot that was asked about, if replay came by it.
    pub hash_at: Option<u64>,
}

/// True if nobody has used this bucket and prefix yet.
pub async fn is_new(store: &dyn Store, env: &Env) -> Result<bool, OpenError> {
    match settled::get(store, env, &keys::format(), Tries::Few).await {
        Ok(_) => Ok(false),
        Err(GaveUp::NotFound(_)) => Ok(true),
        Err(other) => Err(other.into()),
    }
}

/// `time_scale`: what FORMAT must state, and what a new one gets. `watched`: the slot to tell the state's hash at.
pub async fn load(
    store: &dyn Store,
    env: &Env,
    clock: &mut LogClock,
    time_scale: u32,
    watched: Option<Slot>,
) -> Result<Loaded, OpenError> {
    let format = read_or_create_format(store, env, time_scale).await?;
    if format.format != FORMAT_VERSION {
        return Err(OpenError::FormatVersion(format.format));
    }
    if format.time_scale != time_scale {
        return Err(OpenError::TimeScale { bucket: format.time_scale, node: time_scale });
    }
    let current = read_or_create_current(store, env).await?;
    load_from(store, env, clock, &format, current, watched).await
}

/// What `current` and the log say, confirmed by a CURRENT that is read after the log.
pub(crate) async fn load_from(
    store: &dyn Store,
    env: &Env,
    clock: &mut LogClock,
    format: &Format,
    mut current: Current,
    watched: Option<Slot>,
) -> Result<Loaded, OpenError> {
    let mut tries = 0;
    while tries < LOAD_TRIES {
        let needed = current.min_reader.max(current.min_writer);
        if needed > FEATURE_LEVEL {
            return Err(OpenError::TooOld(needed));
        }
        let first = current.newest_snapshot().next();
        let loaded = match replay(store, env, clock, format, &current, watched).await {
            Ok(Replayed::Behind(newer)) => {
                current = newer;
                continue;
            }
            Ok(Replayed::Whole(loaded)) => Ok(*loaded),
            Err(error) => Err(error),
        };
        let now = current::read(store, env).await?.0;
        let stands = Slot(now.log_floor) <= first;
        match loaded {
            Ok(loaded) if stands => return Ok(Loaded { current: now, ..loaded }),
            Err(error) if stands && now.newest_snapshot() == current.newest_snapshot() => return Err(error),
            Ok(_) | Err(_) => {
                tracing::warn!(%first, floor = now.log_floor, "cleaning overtook the replay of the log; starting over");
                current = now;
                tries += 1;
            }
        }
    }
    Err(OpenError::Overtaken)
}

enum Replayed {
    Whole(Box<Loaded>),
    /// There is a snapshot now past all that was applied, and the end is not in sight: this machine slept, or is slow.
    Behind(Current),
}

/// The newest snapshot and the slots after it; not to be believed yet.
async fn replay(
    store: &dyn Store,
    env: &Env,
    clock: &mut LogClock,
    format: &Format,
    current: &Current,
    watched: Option<Slot>,
) -> Result<Replayed, OpenError> {
    let snapshot = current.newest_snapshot();
    let state = match current.snapshots.first() {
        Some(newest) => snapshot::read(store, env, newest).await?,
        None => State::with_waits(Waits::scaled(format.time_scale)),
    };
    let mut replay = Replay::new(store, env, clock, state, watched);
    if let Some(newer) = replay.run().await? {
        return Ok(Replayed::Behind(newer));
    }
    let evidence = replay.evidence();
    let read_ahead = replay.results.into_iter().filter_map(|(s, c)| c.map(|c| (s, c))).collect();
    let replayed = replay.state.slot().0 - snapshot.0;
    let cluster_id = format.cluster_id.clone();
    let current = current.clone();
    let Replay { state, disputed, hash_at, .. } = replay;
    let loaded = Loaded { cluster_id, state, read_ahead, current, replayed, evidence, disputed, hash_at };
    Ok(Replayed::Whole(Box::new(loaded)))
}

async fn read_or_create_format(store: &dyn Store, env: &Env, time_scale: u32) -> Result<Format, OpenError> {
    let key = keys::format();
    let mut tries = 0;
    loop {
        match settled::get(store, env, &key, Tries::Few).await {
            Ok(object) => {
                return control::open(Kind::Format, &object.bytes)
                    .map_err(|error| OpenError::Format { key: key.clone(), error });
            }
            Err(GaveUp::NotFound(_)) => {}
            Err(other) => return Err(other.into()),
        }
        let cluster_id = cluster_id(env.entropy.u128());
        let body = control::seal(Kind::Format, &Format { cluster_id, format: FORMAT_VERSION, time_scale });
        // Whoever wins, the next read tells.
        if let Created::Unknown(fault) = store.create(&key, &body).await.value {
            tries = pause_after(fault, &key, tries, env).await?;
        }
    }
}

/// As Kafka writes cluster ids: 16 random bytes in URL-safe base64 without padding, 22 characters.
fn cluster_id(random: u128) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    (0..22).rev().map(|i| char::from(ALPHABET[(random >> (6 * i)) as usize & 63])).collect()
}

async fn read_or_create_current(store: &dyn Store, env: &Env) -> Result<Current, OpenError> {
    let key = keys::current();
    let mut tries = 0;
    loop {
        match settled::get(store, env, &key, Tries::Few).await {
            Ok(object) => {
                return control::open(Kind::Current, &object.bytes)
                    .map_err(|error| OpenError::Format { key: key.clone(), error });
            }
            Err(GaveUp::NotFound(_)) => {}
            Err(other) => return Err(other.into()),
        }
        match sign_of_use(store).await {
            Ok(None) => {}
            Ok(Some(found)) => match settled::get(store, env, &key, Tries::Few).await {
                Err(GaveUp::NotFound(_)) => return Err(OpenError::NoCurrent(found)),
                _ => continue,
            },
            Err(fault) => {
                tries = pause_after(fault, &key, tries, env).await?;
                continue;
            }
        }
        let body = control::seal(Kind::Current, &Current::first(env.entropy.u128()));
        match store.swap(&key, None, &body).await.value {
            Swapped::Yes(_) | Swapped::Mismatch => {}
            Swapped::Unknown(fault) => tries = pause_after(fault, &key, tries, env).await?,
        }
    }
}

/// A bucket in use never lacks CURRENT: with slots or snapshots but without CURRENT something deleted it, and a log that was
/// cleaned does not begin with slot 1. Unless another first start made both since: then CURRENT was there before any slot.
async fn sign_of_use(store: &dyn Store) -> Result<Option<Key>, Fault> {
    for prefix in [&keys::log_prefix(), keys::SNAPSHOTS] {
        if let Some(found) = store.list(prefix, None).await.value?.objects.into_iter().next() {
            return Ok(Some(found.key));
        }
    }
    Ok(None)
}

/// Waits before another try, or gives up with what the store said.
async fn pause_after(fault: Fault, key: &Key, tries: u32, env: &Env) -> Result<u32, OpenError> {
    if tries == SLOT_TRIES {
        return Err(GaveUp::Fault { key: key.clone(), fault }.into());
    }
    env.clock.sleep(Duration::from_millis(50 << tries)).await;
    Ok(tries + 1)
}

type Read = (Slot, Result<Option<SlotContent>, OpenError>, Option<Dated>);

/// Reads slots in parallel and applies them in order.
struct Replay<'a> {
    store: &'a dyn Store,
    env: &'a Env,
    clock: &'a mut LogClock,
    state: State,
    /// Read but not applied; `None`: missing.
    results: BTreeMap<Slot, Option<SlotContent>>,
    next: Slot,
    /// The lowest slot known to be missing, and the `Date` of the answer that told so.
    end: Option<(Slot, Option<i64>)>,
    hashes: BTreeMap<u64, u64>,
    disputed: BTreeMap<Incarnation, Slot>,
    watched: Option<Slot>,
    hash_at: Option<u64>,
}

impl<'a> Replay<'a> {
    fn new(store: &'a dyn Store, env: &'a Env, clock: &'a mut LogClock, state: State, watched: Option<Slot>) -> Self {
        let mut replay = Self {
            store,
            env,
            clock,
            next: state.slot().next(),
            state,
            results: BTreeMap::new(),
            end: None,
            hashes: BTreeMap::new(),
            disputed: BTreeMap::new(),
            watched,
            hash_at: None,
        };
        replay.remember_hash();
        replay
    }

    /// Up to the first missing slot; or CURRENT, if it has a snapshot by now that is far ahead.
    async fn run(&mut self) -> Result<Option<Current>, OpenError> {
        let mut reads = FuturesUnordered::new();
        let mut parallel = 8;
        let mut look_at = self.state.slot().plus(LOOK_EVERY);
        loop {
            while reads.len() < parallel && self.worth_reading(self.next) {
                reads.push(read_slot(self.store, self.env, self.next));
                self.next = self.next.next();
            }
            let Some((slot, content, date)) = reads.next().await else { return Ok(None) };
            if let Some(dated) = date {
                self.clock.observe(dated);
            }
            match content? {
                Some(content) => {
                    parallel = (parallel * 2).min(MAX_PARALLEL);
                    self.results.insert(slot, Some(content));
                }
                None => {
                    self.results.insert(slot, None);
                    let date_ms = date.map(|d| d.date_ms);
                    self.end = Some(self.end.filter(|(end, _)| *end < slot).unwrap_or((slot, date_ms)));
                }
            }
            self.apply();
            if self.state.slot() >= look_at && self.watched.is_none() {
                look_at = self.state.slot().plus(LOOK_EVERY);
                let now = current::read(self.store, self.env).await.ok().map(|(now, _)| now);
                if let Some(now) = now.filter(|now| now.newest_snapshot() >= look_at) {
                    return Ok(Some(now));
                }
            }
        }
    }

    fn worth_reading(&self, slot: Slot) -> bool {
        self.end.is_none_or(|(end, _)| slot <= end.plus(READ_AHEAD))
    }

    fn evidence(&self) -> Option<Evidence> {
        let (slot, date_ms) = self.end?;
        date_ms.map(|date_ms| Evidence { slot, date_ms })
    }

    /// What the log says is right by definition: an author that asserts something else is wrong, or was.
    fn apply(&mut self) {
        loop {
            let slot = self.state.slot().next();
            let Some(Some(content)) = self.results.get(&slot) else { return };
            if let SlotContent::Commit(commit) = content
                && let Some(assert) = commit.assert
                && self.hashes.get(&assert.slot).is_some_and(|h| *h != assert.hash)
            {
                self.disputed.entry(commit.writer).or_insert(Slot(assert.slot));
            }
            let _outcomes = self.state.apply(slot, content);
            self.results.remove(&slot);
            self.remember_hash();
        }
    }

    fn remember_hash(&mut self) {
        let (slot, hash) = (self.state.slot(), self.state.hash());
        if self.watched == Some(slot) {
            self.hash_at = Some(hash);
        }
        self.hashes.insert(slot.0, hash);
        if self.hashes.len() > MAX_PARALLEL {
            self.hashes.pop_first();
        }
    }
}

pub(crate) async fn read_slot(store: &dyn Store, env: &Env, slot: Slot) -> Read {
    let key = keys::log(slot);
    let mut wanted = FIRST_BYTES;
    let mut tries = 0;
    loop {
        let sent = Moment::now(env.clock.as_ref());
        let reply = store.get(&key, Some(0..wanted)).await;
        let received = Moment::now(env.clock.as_ref());
        let date = reply.date_ms.map(|date_ms| Dated { date_ms, sent, received });
        let problem = match reply.value {
            Err(ReadError::NotFound) => return (slot, Ok(None), date),
            Err(ReadError::Fault(fault)) => OpenError::Store(GaveUp::Fault { key: key.clone(), fault }),
            Ok(object) => match commit::open(slot, &object.bytes, object.meta.total_len) {
                Ok(Opened::Content(content)) => return (slot, Ok(Some(content)), date),
                Ok(Opened::NeedBytes(more)) if more > wanted => {
                    wanted = more;
                    continue;
                }
                Ok(Opened::NeedBytes(_)) => ends_early(&key),
                Err(FormatError::FeatureLevel(level)) => return (slot, Err(OpenError::TooOld(level)), date),
                Err(error) => OpenError::Format { key: key.clone(), error },
            },
        };
        tries += 1;
        if tries == SLOT_TRIES {
            return (slot, Err(problem), date);
        }
        env.clock.sleep(Duration::from_millis(50 << tries.min(5))).await;
    }
}

fn ends_early(key: &Key) -> OpenError {
    OpenError::Format { key: key.clone(), error: FormatError::Body("the store sent less than it announced".into()) }
}
