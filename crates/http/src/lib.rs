//! The HTTP front end: the API of [`api`], and for operators whether the node is alive, whether it may get traffic, and what it counts.
//!
//! Pages read what the node tells through [`Node`] and never touch the store themselves, so that they answer while the
//! store is away. Nothing here has state that a crash could lose.

mod api;
mod body;
mod log_limit;
mod pages;
mod patience;
mod problem;
mod process;
mod serve;
mod sniff;

use lakebed_broker::Broker;

pub use serve::{HttpConfig, Origin, serve};

/// What the pages ask of the node. Every call must return at once.
pub trait Node: Send + Sync + 'static {
    /// For `/readyz`: one sentence per reason; none if the node may get traffic.
    fn not_ready(&self) -> Vec<String>;
    /// The node's metrics in OpenMetrics text, without the closing `# EOF`.
    fn metrics(&self) -> String;
    /// One line for `/`: which cluster and broker this is.
    fn about(&self) -> String;
    /// Once it is up.
    fn broker(&self) -> Option<Broker>;
}
