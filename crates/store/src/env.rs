//! Time and randomness, passed in so that simulations own them.

use std::sync::Arc;
use std::time::Duration;

use crate::BoxFuture;

/// A node's clocks. `monotonic` never goes back, but may stand still while the machine is suspended; `wall_ms` may jump.
pub trait Clock: Send + Sync + 'static {
    /// Time since some fixed moment of this process.
    fn monotonic(&self) -> Duration;
    /// The host's wall clock in ms since the Unix epoch; wrong on some hosts.
    fn wall_ms(&self) -> i64;
    fn sleep<'a>(&'a self, how_long: Duration) -> BoxFuture<'a, ()>;
}

/// A source of random bits: from the system in production, from a seed in simulations.
pub trait Entropy: Send + Sync + 'static {
    fn u64(&self) -> u64;

    fn u128(&self) -> u128 {
        u128::from(self.u64()) << 64 | u128::from(self.u64())
    }
}

/// What a node is given besides its store.
#[derive(Clone)]
pub struct Env {
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
}

impl Env {
    /// What comes of it, if that comes in time.
    pub async fn within<T>(&self, limit: Duration, what: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = what => Some(done),
            () = self.clock.sleep(limit) => None,
        }
    }

    /// The clocks and randomness of this machine.
    pub fn system() -> Env {
        Env { clock: Arc::new(SystemClock::new()), entropy: Arc::new(SystemEntropy) }
    }
}

pub struct SystemClock {
    start: std::time::Instant,
}

impl SystemClock {
    #[expect(clippy::new_without_default, reason = "reading the clock is worth a visible call")]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
    pub fn new() -> Self {
        Self { start: std::time::Instant::now() }
    }
}

impl Clock for SystemClock {
    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn wall_ms(&self) -> i64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |d| d.as_millis() as i64)
    }

    fn sleep<'a>(&'a self, how_long: Duration) -> BoxFuture<'a, ()> {
        Box::pin(tokio::time::sleep(how_long))
    }
}

struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn u64(&self) -> u64 {
        rand::random()
    }
}
