//! Keeps what any peer can cause from filling the log.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Lines in one period.
const LINES: u32 = 10;
const PERIOD: Duration = Duration::from_secs(10);

/// Lets ten lines pass in ten seconds and counts the others.
#[derive(Debug, Default)]
pub(crate) struct LogLimit {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    since: Option<Instant>,
    lines: u32,
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
        let mut state = self.state.lock();
        if state.since.is_none_or(|since| now - since >= PERIOD) {
            (state.since, state.lines) = (Some(now), 0);
        }
        if state.lines >= LINES {
            state.left_out += 1;
            return None;
        }
        state.lines += 1;
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_leaves_ten_lines_and_a_count() {
        let (limit, start) = (LogLimit::default(), Instant::now());
        let passed = (0..100).filter(|_| limit.admit(start).is_some()).count();
        assert_eq!(passed, 10);
        assert_eq!(limit.admit(start + PERIOD), Some(90));
        assert_eq!(limit.admit(start + PERIOD), Some(0));
    }
}
