//! The Kafka protocol in front of the broker: wire codec, connections, and requests put to [`lakebed_broker::Broker`].
//!
//! Nothing here outlives a connection, and a crash loses nothing but connections.

mod connection;
mod errors;
mod frames;
#[doc(hidden)]
pub mod fuzzing;
mod handle;
mod log_limit;
mod metrics;
mod outbox;
mod peer;
mod replies;
mod running;
mod serve;
pub mod wire;

pub use metrics::KafkaMetrics;
pub use serve::{KafkaConfig, serve};
