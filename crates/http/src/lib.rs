//! The HTTP front end for operators: is the node alive, may it get traffic, and what does it count.
//!
//! Pages read what the node tells through [`Node`] and never touch the store themselves, so that they answer while the
//! store is away. Nothing here has state: a crash loses nothing.

mod log_limit;
mod pages;
mod process;
mod sniff;

pub use pages::serve;

/// What the pages ask of the node. Every call must return at once.
pub trait Node: Send + Sync + 'static {
    /// For `/readyz`: one sentence per reason; none if the node may get traffic.
    fn not_ready(&self) -> Vec<String>;
    /// The node's metrics in OpenMetrics text, without the closing `# EOF`.
    fn metrics(&self) -> String;
    /// One line for `/`: which cluster and broker this is.
    fn about(&self) -> String;
}
