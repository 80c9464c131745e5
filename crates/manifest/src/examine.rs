//! Reading a cluster without being part of it: of a dead one as well, and nothing is written.

use lakebed_record::Slot;
use lakebed_record::envelope::Kind;
use lakebed_record::keys::{self, Key};
use lakebed_store::Store;
use lakebed_store::env::Env;

use crate::commit::SlotContent;
use crate::control::{self, Current, Format, SnapshotRef};
use crate::log::LogClock;
use crate::open::{self, OpenError};
use crate::settled::{self, Tries};
use crate::snapshot::{self, SnapshotError};
use crate::state::State;

/// What the bucket says of a cluster.
pub struct Cluster {
    pub format: Format,
    /// As it was read after the log.
    pub current: Current,
    /// Replayed from the newest snapshot up to the first slot that is missing.
    pub state: State,
    /// Slots past the first missing one that hold something.
    pub beyond: Vec<Slot>,
}

/// Reads FORMAT, CURRENT, the newest snapshot and the log behind it.
pub async fn cluster(store: &dyn Store, env: &Env) -> Result<Cluster, OpenError> {
    let format: Format = sealed(store, env, Kind::Format, keys::format()).await?;
    let current: Current = sealed(store, env, Kind::Current, keys::current()).await?;
    let mut clock = LogClock::default();
    let loaded = open::load_from(store, env, &mut clock, &format, current, None).await?;
    let beyond = loaded.read_ahead.into_iter().map(|(slot, _)| slot).collect();
    Ok(Cluster { format, current: loaded.current, state: loaded.state, beyond })
}

async fn sealed<T: serde::de::DeserializeOwned>(
    store: &dyn Store,
    env: &Env,
    kind: Kind,
    key: Key,
) -> Result<T, OpenError> {
    let object = settled::get(store, env, &key, Tries::Few).await?;
    control::open(kind, &object.bytes).map_err(|error| OpenError::Format { key, error })
}

/// What a slot holds; `None` if there is nothing.
pub async fn slot(store: &dyn Store, env: &Env, slot: Slot) -> Result<Option<SlotContent>, OpenError> {
    open::read_slot(store, env, slot).await.1
}

/// The keys of a snapshot's parts.
pub async fn snapshot_parts(store: &dyn Store, env: &Env, snapshot: &SnapshotRef) -> Result<Vec<Key>, SnapshotError> {
    snapshot::part_keys(store, env, snapshot).await
}
