//! How many requests of a kind may be sent in a second: any number, until one is throttled. Pure.

use std::time::Duration;

use super::{FLOOR, LONGEST_WAIT};

/// A throttled reply leaves this share of what was sent.
const CUT: f64 = 0.7;
/// Each answer allows this much more in a second, so that the rate grows by about as large a share each second.
const GAIN: f64 = 0.1;
/// Without a throttled reply for so long, there is no limit any more.
const FORGET: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Rate {
    /// Start of the second that is being counted, what was sent in it, and in the last whole one.
    since: Duration,
    sent: u32,
    before: u32,
    limit: Option<Limit>,
}

#[derive(Debug)]
struct Limit {
    per_second: f64,
    /// When the next request may be sent.
    next: Duration,
    /// When the rate was last cut. What was sent before that says nothing about the rate since.
    cut: Duration,
    /// The last throttled reply.
    throttled: Duration,
}

#[derive(Debug, PartialEq)]
pub(super) enum Turn {
    Now,
    In(Duration),
    /// The wait would be too long, and no turn was taken.
    TooLate,
}

/// What is worth a line in the log.
#[derive(Debug, PartialEq)]
pub(super) enum Change {
    Limited(u32),
    Lifted,
}

impl Rate {
    /// Takes the next turn to send a request.
    pub(super) fn turn(&mut self, now: Duration) -> (Turn, Option<Change>) {
        let change = self.forget(now);
        let turn = match &mut self.limit {
            None => Turn::Now,
            Some(limit) => limit.turn(now),
        };
        if turn != Turn::TooLate {
            self.count(now);
        }
        (turn, change)
    }

    /// Requests in a second, if there is a limit.
    pub(super) fn limit(&self, now: Duration) -> Option<f64> {
        self.limit.as_ref().filter(|limit| now < limit.throttled + FORGET).map(|limit| limit.per_second)
    }

    /// The request that was sent at `sent` was throttled.
    pub(super) fn throttled(&mut self, sent: Duration, now: Duration) -> Option<Change> {
        let seen = f64::from(self.before.max(self.sent));
        let Some(limit) = &mut self.limit else {
            let per_second = (seen * CUT).max(FLOOR);
            self.limit = Some(Limit { per_second, next: now + pause(per_second), cut: now, throttled: now });
            return Some(Change::Limited(per_second as u32));
        };
        limit.throttled = now;
        if sent >= limit.cut {
            limit.per_second = (limit.per_second.min(seen.max(FLOOR)) * CUT).max(FLOOR);
            limit.cut = now;
            limit.next = limit.next.max(now + pause(limit.per_second));
        }
        None
    }

    pub(super) fn answered(&mut self) {
        if let Some(limit) = &mut self.limit {
            limit.per_second += GAIN;
        }
    }

    fn forget(&mut self, now: Duration) -> Option<Change> {
        let over = self.limit.as_ref().is_some_and(|limit| now >= limit.throttled + FORGET);
        over.then(|| {
            self.limit = None;
            Change::Lifted
        })
    }

    fn count(&mut self, now: Duration) {
        if now >= self.since + SECOND {
            self.before = if now < self.since + 2 * SECOND { self.sent } else { 0 };
            self.since = now;
            self.sent = 0;
        }
        self.sent = self.sent.saturating_add(1);
    }
}

impl Limit {
    fn turn(&mut self, now: Duration) -> Turn {
        let at = self.next.max(now);
        let wait = at - now;
        if wait > LONGEST_WAIT {
            return Turn::TooLate;
        }
        self.next = at + pause(self.per_second);
        if wait.is_zero() { Turn::Now } else { Turn::In(wait) }
    }
}

fn pause(per_second: f64) -> Duration {
    SECOND.div_f64(per_second)
}
