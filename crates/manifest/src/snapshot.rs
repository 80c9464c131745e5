//! Snapshots (4.6): the whole state at a slot, in parts, named by CURRENT. Writing one, and reading one back.
//!
//! A new part always gets a new name; a part is reused only if a snapshot kept by the CURRENT *read at the start of the attempt*
//! names it; the swap is from exactly that CURRENT, and if it fails everything starts over. A crash leaves parts that nobody
//! names.

use std::collections::BTreeMap;
use std::ops::Range;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use lakebed_record::envelope::{self, FormatError, Kind};
use lakebed_record::keys::{self, Key};
use lakebed_record::{Incarnation, Slot, crc};
use lakebed_store::env::Env;
use lakebed_store::{Body, Fault, Store};
use prost::Message;

use crate::control::{Current, SnapshotRef};
use crate::current::{self, CurrentError};
use crate::settled::{self, GaveUp, Tries};
use crate::state::{self, BUCKETS, State};

/// Elements per part, about; the number of parts is a power of two up to 256.
const PART_ELEMENTS: usize = 4096;
const PARALLEL: usize = 32;
const ATTEMPTS: u32 = 5;

#[derive(Clone, PartialEq, Message)]
struct Index {
    #[prost(bytes = "vec", tag = "1")]
    globals: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    parts: Vec<PartRef>,
    #[prost(fixed64, tag = "3")]
    state_hash: u64,
}

#[derive(Clone, PartialEq, Message)]
struct PartRef {
    #[prost(uint32, tag = "1")]
    first_bucket: u32,
    #[prost(uint32, tag = "2")]
    buckets: u32,
    #[prost(string, tag = "3")]
    key: String,
    /// Sum of the additive hashes of its buckets.
    #[prost(fixed64, tag = "4")]
    hash: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// CURRENT names it now.
    Swapped { parts: usize, reused: usize },
    /// CURRENT names a snapshot at this slot, which is new enough: nothing to do.
    NotNewer(Slot),
    /// CURRENT kept changing.
    Contended,
}

#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error(transparent)]
    Store(#[from] GaveUp),
    #[error(transparent)]
    Current(#[from] CurrentError),
    #[error("cannot list {prefix}: {fault}")]
    List { prefix: String, fault: Fault },
    #[error("{key}: {error}")]
    Format { key: Key, error: FormatError },
    #[error("{key}: {error}")]
    Content { key: Key, error: state::PartError },
    #[error("{wanted_by} names an object by what is no key: {name:?}")]
    Name { wanted_by: String, name: String },
    #[error("{0}: the state in it does not have the hash that the index states")]
    Hash(Key),
}

/// Whose names new objects get.
pub struct Namer {
    pub node: Incarnation,
    /// Counts objects of this process; never goes back within an incarnation.
    pub next: u64,
}

impl Namer {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

/// Writes a snapshot of `state` and makes CURRENT name it, unless CURRENT names one fewer than `least` slots (at least 1) behind.
pub async fn write(
    store: &dyn Store,
    env: &Env,
    state: &State,
    namer: &mut Namer,
    least: u64,
) -> Result<Written, SnapshotError> {
    for _ in 0..ATTEMPTS {
        let (current, version) = current::read(store, env).await?;
        if let Some(newest) = current.snapshots.first().filter(|s| s.slot.saturating_add(least) > state.slot().0) {
            return Ok(Written::NotNewer(Slot(newest.slot)));
        }
        let kept = match kept_parts(store, env, &current).await {
            // Somebody made CURRENT drop the snapshot meanwhile, and cleaned.
            Err(SnapshotError::Store(GaveUp::NotFound(_))) if current::read(store, env).await?.1 != version => continue,
            kept => kept?,
        };
        let (parts, reused) = write_parts(store, env, state, &kept, namer).await?;
        let count = parts.len();
        let index = write_index(store, env, state, parts, namer).await?;
        let snapshot = SnapshotRef { slot: state.slot().0, index: index.as_str().to_owned() };
        let next = current.with_snapshot(snapshot, env.entropy.u128());
        if current::swap(store, env, &version, &next).await? {
            return Ok(Written::Swapped { parts: count, reused });
        }
    }
    Ok(Written::Contended)
}

/// Parts that the kept snapshots name, by buckets and hash.
async fn kept_parts(
    store: &dyn Store,
    env: &Env,
    current: &Current,
) -> Result<BTreeMap<(u32, u32, u64), String>, SnapshotError> {
    let mut kept = BTreeMap::new();
    for snapshot in &current.snapshots {
        let index = read_index(store, env, &snapshot.index).await?;
        kept.extend(index.parts.into_iter().map(|p| ((p.first_bucket, p.buckets, p.hash), p.key)));
    }
    Ok(kept)
}

fn ranges(state: &State) -> impl Iterator<Item = Range<usize>> {
    let elements = state.entry_count() + state.partition_count();
    let parts = (elements / PART_ELEMENTS).next_power_of_two().min(BUCKETS);
    let step = BUCKETS / parts;
    (0..BUCKETS).step_by(step).map(move |first| first..first + step)
}

fn hash_of(state: &State, buckets: Range<usize>) -> u64 {
    buckets.fold(0, |sum, b| sum.wrapping_add(state.bucket_hash(b)))
}

async fn write_parts(
    store: &dyn Store,
    env: &Env,
    state: &State,
    kept: &BTreeMap<(u32, u32, u64), String>,
    namer: &mut Namer,
) -> Result<(Vec<PartRef>, usize), SnapshotError> {
    let mut reused = 0;
    let mut refs = Vec::new();
    let mut fresh = Vec::new();
    for range in ranges(state) {
        let hash = hash_of(state, range.clone());
        let (first_bucket, buckets) = (range.start as u32, range.len() as u32);
        let key = match kept.get(&(first_bucket, buckets, hash)) {
            Some(key) => {
                reused += 1;
                key.clone()
            }
            None => {
                let key = keys::snapshot_part(state.slot(), namer.node, namer.number());
                fresh.push((key.clone(), range));
                key.as_str().to_owned()
            }
        };
        refs.push(PartRef { first_bucket, buckets, key, hash });
    }
    let puts = stream::iter(fresh).map(|(key, range)| async move {
        let body = seal(Kind::SnapshotPart, state, &state.encode_part(range));
        settled::create(store, env, &key, &body).await
    });
    puts.buffered(PARALLEL).try_collect::<Vec<()>>().await?;
    Ok((refs, reused))
}

async fn write_index(
    store: &dyn Store,
    env: &Env,
    state: &State,
    parts: Vec<PartRef>,
    namer: &mut Namer,
) -> Result<Key, SnapshotError> {
    let key = keys::snapshot_index(state.slot(), namer.node, namer.number());
    let index = Index { globals: state::encode_globals(state), parts, state_hash: state.hash() };
    settled::create(store, env, &key, &seal(Kind::SnapshotIndex, state, &index.encode_to_vec())).await?;
    Ok(key)
}

fn seal(kind: Kind, state: &State, body: &[u8]) -> Body {
    let (bytes, crc) = envelope::seal(kind, state.feature_level(), body, 0, crc::crc32c(&[]));
    Body::with_crc(vec![bytes], crc)
}

/// A key that an object names.
fn named(name: &str, wanted_by: &str) -> Result<Key, SnapshotError> {
    Key::listed(name).ok_or_else(|| SnapshotError::Name { wanted_by: wanted_by.into(), name: name.into() })
}

async fn read_index(store: &dyn Store, env: &Env, key: &str) -> Result<Index, SnapshotError> {
    let key = named(key, "CURRENT")?;
    let body = read_sealed(store, env, Kind::SnapshotIndex, &key).await?;
    let malformed = |e: prost::DecodeError| SnapshotError::Format { key, error: FormatError::Body(e.to_string()) };
    Index::decode(body.as_slice()).map_err(malformed)
}

/// The parts that a snapshot names.
pub async fn part_keys(store: &dyn Store, env: &Env, snapshot: &SnapshotRef) -> Result<Vec<Key>, SnapshotError> {
    let index = read_index(store, env, &snapshot.index).await?;
    index.parts.iter().map(|part| named(&part.key, &snapshot.index)).collect()
}

async fn read_sealed(store: &dyn Store, env: &Env, kind: Kind, key: &Key) -> Result<Vec<u8>, SnapshotError> {
    let object = settled::get(store, env, key, Tries::Few).await?;
    let body = envelope::open(kind, &object.bytes).and_then(|h| envelope::body(&h, &object.bytes).map(<[u8]>::to_vec));
    body.map_err(|error| SnapshotError::Format { key: key.clone(), error })
}

/// The state that a snapshot holds, its hash checked.
pub async fn read(store: &dyn Store, env: &Env, snapshot: &SnapshotRef) -> Result<State, SnapshotError> {
    let index = read_index(store, env, &snapshot.index).await?;
    let key = named(&snapshot.index, "CURRENT")?;
    let mut state =
        state::decode_globals(&index.globals).map_err(|error| SnapshotError::Content { key: key.clone(), error })?;
    let mut parts = stream::iter(index.parts)
        .map(|part| async move {
            let key = named(&part.key, &snapshot.index)?;
            let body = read_sealed(store, env, Kind::SnapshotPart, &key).await;
            body.map(|body| (key, body))
        })
        .buffered(PARALLEL);
    while let Some((key, body)) = parts.try_next().await? {
        state.decode_part(&body).map_err(|error| SnapshotError::Content { key, error })?;
    }
    if state.hash() == index.state_hash { Ok(state) } else { Err(SnapshotError::Hash(key)) }
}

#[cfg(test)]
mod tests;
