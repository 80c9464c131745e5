//! Consumer groups: the state machine of one group, of the classic protocol or of KIP-848, without I/O, clock or randomness.
//!
//! The owner of a group holds a [`Group`], hands it requests with a [`Token`] each, and does the [`Effect`]s that it gets back: replies to
//! send, and states to write. A reply that announces a generation, an epoch or an assignment comes only after the state it speaks of was reported
//! [written](Group::persisted). After a crash or a take-over [`Group::restore`] goes on from what was written last, which is all that any client was
//! ever told.
//!
//! Times are durations on the owner's monotonic clock. Requests come from anybody: what a group keeps is bounded by [`Config`].

mod assignor;
mod classic;
mod commit;
mod config;
mod consumer;
mod core;
mod describe;
mod effect;
mod error;
mod group;
mod outbox;
mod persisted;
mod protocol;
#[cfg(test)]
mod schedules;
#[cfg(test)]
mod testing;
mod topics;

pub use assignor::Assignor;
pub use commit::CommitPermit;
pub use config::Config;
pub use describe::{ClassicMember, ConsumerMember, Description, GroupState, Members};
pub use effect::{
    Client, ConsumerAnswer, ConsumerHeartbeat, Effect, JoinFeatures, JoinRefused, JoinRequest, Joined, JoinedMember,
    Kind, LeaderAssigns, Leaving, MemberRef, Persist, PersistOutcome, Reply, SyncRequest, Synced, Token,
};
pub use error::GroupError;
pub use group::Group;
pub use persisted::RestoreError;
pub use protocol::Protocol;
pub use topics::{TopicShape, Topics};
