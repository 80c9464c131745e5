//! Keeps what any peer can cause from filling the log.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

const PERIOD: Duration = Duration::from_secs(10);

/// Lets one line pass in ten seconds and counts the others.
#[derive(Debug, Default)]
pub struct LogLimit(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    left_out: u64,
}

impl LogLimit {
    /// Calls `log` with the number of lines left out before this one, or not at all.
    pub fn log(&self, log: impl FnOnce(u64)) {
        if let Some(left_out) = self.admit(Instant::now()) {
            log(left_out);
        }
    }

    fn admit(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.last.is_some_and(|last| now - last < PERIOD) {
            state.left_out += 1;
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_leaves_one_line_and_a_count() {
        let (limit, start) = (LogLimit::default(), Instant::now());
        assert_eq!((0..100).filter_map(|_| limit.admit(start)).collect::<Vec<_>>(), [0]);
        assert_eq!(limit.admit(start + PERIOD), Some(99));
        assert_eq!(limit.admit(start + PERIOD * 2), Some(0));
    }
}
