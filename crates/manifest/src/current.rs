//! Reading and swapping CURRENT, the only mutable object that the manifest trusts.
//!
//! Whoever changes it makes the next content from the one that was read and swaps from exactly that version. A lost answer is
//! settled by reading back: contents never repeat, so finding the own one proves that it is there. A swap whose answer was lost
//! and that is not found may have been replaced since or may still come: it counts as failed, and nothing may rest on it.

use lakebed_record::envelope::{FormatError, Kind};
use lakebed_record::keys;
use lakebed_store::env::Env;
use lakebed_store::{Store, Swapped, Version};

use crate::control::{self, Current};
use crate::settled::{self, GaveUp, Tries};

#[derive(Debug, thiserror::Error)]
pub enum CurrentError {
    #[error(transparent)]
    Store(#[from] GaveUp),
    #[error("CURRENT: {0}")]
    Format(#[from] FormatError),
}

pub async fn read(store: &dyn Store, env: &Env) -> Result<(Current, Version), CurrentError> {
    read_with(store, env, Tries::Few).await
}

async fn read_with(store: &dyn Store, env: &Env, tries: Tries) -> Result<(Current, Version), CurrentError> {
    let object = settled::get(store, env, &keys::current(), tries).await?;
    Ok((control::open(Kind::Current, &object.bytes)?, object.meta.version))
}

/// One swap to `next`, from exactly the CURRENT that `next` was made from. `true` only if it is known to have taken effect: what
/// `next` rests on, a snapshot's parts say, would be made in vain if an answer that is slow to come were given up.
pub async fn swap(store: &dyn Store, env: &Env, version: &Version, next: &Current) -> Result<bool, CurrentError> {
    let body = control::seal(Kind::Current, next);
    match store.swap(&keys::current(), Some(version), &body).await.value {
        Swapped::Yes(_) => Ok(true),
        Swapped::Mismatch => Ok(false),
        Swapped::Unknown(_) => Ok(read_with(store, env, Tries::Endless).await?.0 == *next),
    }
}
