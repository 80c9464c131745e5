//! The protocol-neutral service: topics, produce, fetch.
//!
//! A front end holds a [`Broker`], takes a [`Producer`] per connection, and knows nothing of slots or segments.

pub mod api;
mod broker;
mod config;
mod fetch;
mod flush;
mod health;
mod memory;
mod metrics;
mod off_worker;
mod offsets;
mod produce;
mod topics;

pub use broker::Broker;
pub use config::{BrokerConfig, FlushProfile};
pub use health::Status;
pub use lakebed_manifest::OpenError;
pub use memory::{MemoryBudget, MemoryPermit};
pub use metrics::Metrics;
pub use produce::{Frame, Producer};
