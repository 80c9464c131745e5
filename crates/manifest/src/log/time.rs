//! The clock that commits carry (4.4): the store's last `Date` plus monotonic time since, never the raw host clock on S3.

use std::time::Duration;

/// What the core is told of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeView {
    /// Monotonic time of this process.
    pub now: Duration,
    /// The store's clock as this node knows it, in ms since the epoch.
    pub wall_ms: i64,
    /// Two replies at least 2 s apart agree (with the host's clock as well, or the node stops: see [`LogClock::host_disagrees`]).
    pub verified: bool,
}

const APART: Duration = Duration::from_secs(2);
/// Replies have one-second dates, and some time passes on the way.
const AGREE_MS: i64 = 2_000;
const HOST_MS: i64 = 5 * 60 * 1000;
/// A verification older than this is made anew.
const VERIFIED_FOR: Duration = Duration::from_secs(60);

/// Follows the store's clock through the `Date` of its replies.
#[derive(Debug, Default)]
pub struct LogClock {
    last: Option<Seen>,
    /// The reply that a later one is compared with.
    reference: Option<Seen>,
    verified_at: Option<Duration>,
    /// The host's clock differs from the store's by more than 5 min.
    host_disagrees: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    date_ms: i64,
    at: Duration,
}

impl Seen {
    fn extrapolated(&self, now: Duration) -> i64 {
        self.date_ms + now.saturating_sub(self.at).as_millis() as i64
    }
}

impl LogClock {
    /// A reply that was asked for at `sent` carried this date. Dates never take the clock back by themselves within their own
    /// resolution: the newest reply wins.
    pub fn observe(&mut self, date_ms: i64, sent: Duration, host_wall_ms: i64) {
        let seen = Seen { date_ms, at: sent };
        if self.last.is_none_or(|l| l.at <= sent) {
            self.last = Some(seen);
        }
        let Some(reference) = self.reference else {
            self.reference = Some(seen);
            return;
        };
        if sent < reference.at + APART {
            return;
        }
        let differ = (reference.extrapolated(sent) - date_ms).abs();
        let host_differ = host_wall_ms - date_ms;
        self.reference = Some(seen);
        if differ > AGREE_MS {
            self.verified_at = None;
        } else {
            self.verified_at = Some(sent);
            self.host_disagrees = (host_differ.abs() > HOST_MS).then_some(host_differ);
        }
    }

    pub fn view(&self, now: Duration) -> Option<TimeView> {
        let wall_ms = self.last?.extrapolated(now);
        let verified = self.verified_at.is_some_and(|at| now.saturating_sub(at) <= VERIFIED_FOR);
        Some(TimeView { now, wall_ms, verified })
    }

    /// How far the host's clock is ahead of the store's (ms), if that is more than 5 min although the store's replies agree.
    pub fn host_disagrees(&self) -> Option<i64> {
        self.host_disagrees
    }
}

#[cfg(test)]
mod tests;
