//! How long a request may take to arrive, and its connection to be silent: what is known of a connection by its requests.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::time::Instant;

use crate::sniff::Sniffing;

/// Every request has so long to arrive …
const ARRIVAL: Duration = Duration::from_secs(60);
/// … and as much more as its bytes take at this pace, in bytes a second.
const PACE: u64 = 64 << 10;
/// What an answer needs after that.
const ANSWER: Duration = Duration::from_secs(15);

/// Until when a connection may be silent whatever else holds for it; shared with the connection.
#[derive(Clone, Debug, Default)]
pub struct Reprieve(Arc<Mutex<Option<Instant>>>);

impl Reprieve {
    /// Never takes back what was given.
    pub fn extend(&self, until: Instant) {
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *given = Some(given.map_or(until, |given| given.max(until)));
    }

    pub fn until(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connection that a request came on.
#[derive(Clone, Debug)]
pub struct Peer {
    pub address: SocketAddr,
    pub reprieve: Reprieve,
}

impl Connected<IncomingStream<'_, Sniffing>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Sniffing>) -> Peer {
        Peer { address: *stream.remote_addr(), reprieve: stream.io().reprieve() }
    }
}

/// One request that arrives.
#[derive(Clone, Debug)]
pub struct Patience {
    begun: Instant,
    received: u64,
    reprieve: Reprieve,
}

impl Patience {
    pub fn new(reprieve: Reprieve) -> Patience {
        let patience = Patience { begun: Instant::now(), received: 0, reprieve };
        patience.reprieve.extend(patience.until() + ANSWER);
        patience
    }

    pub fn received(&mut self, bytes: usize) {
        self.received += bytes as u64;
        self.reprieve.extend(self.until() + ANSWER);
    }

    /// By then the next bytes have to be there.
    pub fn until(&self) -> Instant {
        self.begun + ARRIVAL + Duration::from_millis(self.received.saturating_mul(1000) / PACE)
    }

    /// Answering takes so long at most.
    pub fn work(&self, longest: Duration) {
        self.reprieve.extend(Instant::now() + longest + ANSWER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_sends_has_time() {
        let reprieve = Reprieve::default();
        let mut patience = Patience::new(reprieve.clone());
        let begun = Instant::now();
        assert_eq!(patience.until(), begun + ARRIVAL);
        patience.received(640 << 10);
        assert_eq!(patience.until(), begun + ARRIVAL + Duration::from_secs(10));
        let given = reprieve.until();
        patience.work(Duration::from_secs(1));
        assert_eq!(reprieve.until(), given, "never less");
    }
}
