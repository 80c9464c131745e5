//! The manifest: a pure state machine and the log of conditional writes that drives it.
//!
//! [`state`] decides, `log` (the core) races for slots, [`Manifest`] drives both against a store.

mod clean;
mod commit;
mod control;
mod current;
pub mod examine;
pub mod fsck;
#[cfg(test)]
mod golden;
mod handle;
mod log;
mod open;
mod settled;
mod snapshot;
pub mod state;
mod waits;

pub use clean::Cleaning;
pub use commit::{Commit, SlotContent};
pub use control::{Current, Format, SnapshotRef};
pub use handle::{
    ApplyListener, CleaningStatus, FollowGuard, Manifest, ManifestConfig, Receipt, Status, SubmitError, Ticket,
};
pub use log::{Counters, PIPELINE};
pub use open::{OpenError, is_new};
pub use settled::GaveUp;
pub use snapshot::SnapshotError;
pub use state::{Entry, NodeState, PartitionState, State, Topic};
pub use waits::Waits;
