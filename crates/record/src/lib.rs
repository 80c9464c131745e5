//! Ids, names, offsets, record batches and the layout of everything Lakebed persists.
//!
//! This crate is pure: it does no I/O, reads no clock and draws no random numbers.

pub mod batch;
pub mod crc;
pub mod entries;
pub mod envelope;
pub mod groups;
pub mod ids;
pub mod keys;
pub mod ops;
pub mod segment;

pub use envelope::FEATURE_LEVEL;
pub use groups::*;
pub use ids::*;
