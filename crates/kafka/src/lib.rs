//! The Kafka protocol in front of the broker.

pub mod wire;
