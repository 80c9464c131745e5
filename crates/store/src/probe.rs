//! Does the store keep its promises? Run by `lakebed doctor` and on a bucket's first start.
//!
//! Lakebed is as safe as the store's conditional writes, so they are tried before they are trusted, and a store that
//! fails is refused with the broken promise named. Each run makes some small objects under `probe/<run>/` and deletes them
//! at its end, if it may; a crash leaves them. That deletes are forbidden is noted, not refused: they are needed for
//! cleaning only.

mod steps;
#[cfg(test)]
mod tests;

use crate::env::Env;
use crate::{Fault, Store};

/// How many concurrent creates the race consists of.
pub const RACERS: usize = 32;

/// What a store that passed has shown.
#[derive(Clone, Debug, Default)]
pub struct ProbeReport {
    /// The promises that were tried and kept, in words.
    pub kept: Vec<&'static str>,
    /// What an operator may want to know besides.
    pub notes: Vec<String>,
    /// The store's clock minus the host's, in ms, as far as it is known: S3 tells whole seconds.
    pub clock_offset_ms: i64,
}

/// The promise that a store does not keep.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Broken {
    #[error(
        "of {RACERS} concurrent creates of one key {0} were told that they won: the store has no conditional writes"
    )]
    SeveralWinners(usize),
    #[error("of {RACERS} concurrent creates of one key none won, though each was told that another had")]
    NoWinner,
    #[error("the object holds other bytes than those of the one create that succeeded")]
    WinnerOverwritten,
    #[error("a create of a key that exists already was not refused: the store ignores If-None-Match")]
    SecondCreate,
    #[error("a swap from an outdated version was not refused: the store ignores If-Match")]
    StaleSwap,
    #[error("a swap from the current version was refused")]
    FreshSwapRefused,
    #[error("of concurrent swaps from one version {0} succeeded instead of one")]
    SwapRace(usize),
    #[error("an object could not be read right after it was written: reads are not consistent with writes")]
    ReadAfterWrite,
    #[error(
        "an object was reported missing after it had been created because it was missing before: the store caches misses"
    )]
    NegativeCaching,
    #[error("a missing object was reported as present")]
    PhantomObject,
    #[error("a read returned {got} bytes instead of {expected}, as if nothing were wrong")]
    ShortRead { got: u64, expected: u64 },
    #[error("a read returned other bytes than were asked for ({0})")]
    WrongRange(String),
    #[error("a write whose checksum did not match was accepted")]
    CorruptBodyKept,
    #[error("an object could be read after it was deleted")]
    DeletedStays,
    #[error("replies carry no Date: the store's clock cannot be followed")]
    NoDate,
    #[error("the Date of replies went backwards by {0} ms: the store has no usable clock")]
    DateWentBack(i64),
    #[error("a new object's Last-Modified is {0} ms away from the Date of the reply: the store has no usable clock")]
    LastModifiedOff(i64),
    /// Not a lie: the store could not be asked.
    #[error("the store cannot be probed: {0}")]
    Unreachable(Fault),
}

/// Tries every promise in turn and stops at the first broken one. Takes some fifty small requests.
pub async fn probe(store: &dyn Store, env: &Env) -> Result<ProbeReport, Broken> {
    steps::Run::new(store, env).all().await
}
