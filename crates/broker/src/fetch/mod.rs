//! Reading record batches: plan from the index in the state, bytes from memory or from objects, long polls in between.

pub(crate) mod cache;
mod lookup;
mod plan;
mod read;
pub(crate) mod ring;
mod rope;
mod service;
pub(crate) mod wait;
mod walk;

pub(crate) use read::{BARRIER_LIMIT, Data};
pub(crate) use rope::Rope;
pub(crate) use service::Reader;
pub(crate) use walk::{StoredBatch, WalkError, batches as batches_of, verify};
