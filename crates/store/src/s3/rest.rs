//! The pause that the store asks for: Retry-After of a 429 or 503. Kept for all requests of this store; pure.

use std::time::Duration;

use parking_lot::Mutex;

/// A store cannot ask for more.
const LONGEST: Duration = Duration::from_secs(60);
/// Who comes so shortly before the end of the pause waits here.
const BRIEF: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(super) struct Rest {
    /// Monotonic.
    until: Mutex<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Now,
    In(Duration),
    /// Nobody should wait so long for an answer: try again later.
    Later(Duration),
}

impl Rest {
    pub(super) fn wanted(&self, wait: Duration, now: Duration) {
        let mut until = self.until.lock();
        *until = (*until).max(now + wait.min(LONGEST));
    }

    pub(super) fn turn(&self, now: Duration) -> Turn {
        match self.until.lock().saturating_sub(now) {
            Duration::ZERO => Turn::Now,
            wait if wait <= BRIEF => Turn::In(wait),
            wait => Turn::Later(wait),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_pause_that_was_asked_for_counts_up_to_a_minute() {
        let s = Duration::from_secs;
        let rest = Rest::default();
        assert_eq!(rest.turn(s(0)), Turn::Now);
        rest.wanted(s(10), s(100));
        rest.wanted(s(1), s(101));
        assert_eq!(
            [100, 105, 109, 110].map(|now| rest.turn(s(now))),
            [Turn::Later(s(10)), Turn::In(s(5)), Turn::In(s(1)), Turn::Now]
        );
        rest.wanted(s(86_400), s(200));
        assert_eq!([201, 260].map(|now| rest.turn(s(now))), [Turn::Later(s(59)), Turn::Now]);
    }
}
