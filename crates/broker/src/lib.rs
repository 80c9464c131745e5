//! The protocol-neutral service: topics, produce, fetch.
//!
//! A front end holds a [`Broker`], takes a [`Producer`] per connection, and knows nothing of slots or segments.

mod admin;
pub mod api;
mod broker;
mod collect;
mod config;
mod duty;
mod fetch;
mod flush;
pub mod groups;
mod hash;
mod health;
mod idle;
pub mod keyed;
mod memory;
mod merge;
mod metrics;
mod nodes;
mod off_worker;
mod offsets;
mod pages;
mod produce;
mod retain;
mod topic_configs;
mod topics;
mod workers;

pub use broker::Broker;
pub use config::{Background, BrokerConfig, FlushProfile, Hedging};
pub use health::Status;
pub use lakebed_manifest::OpenError;
pub use memory::{MemoryBudget, MemoryPermit};
pub use metrics::Metrics;
pub use nodes::{Nodes, Reach};
pub use off_worker::Turn;
pub use produce::{Checked, Frame, Producer, TakesLong};
pub use topic_configs::{ConfigKind, KnownConfig, elements};
