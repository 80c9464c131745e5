//! The clock that commits carry (4.4): the store's last `Date` plus monotonic time since, never the raw host clock on S3.
//!
//! A reply tells that the store's clock showed `date` at some moment between sending and receiving, so all that is known is an
//! interval; a pause of this process in between only makes it wide. The view takes its lower end: never ahead of the store.

use std::time::Duration;

use lakebed_store::env::Clock;

/// What the core is told of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeView {
    /// Monotonic time of this process.
    pub now: Duration,
    /// The store's clock as this node knows it, in ms since the epoch; not ahead of it.
    pub wall_ms: i64,
    /// Two replies at least 2 s apart agree (with the host's clock as well, or the node stops: see [`LogClock::host_disagrees`]).
    pub verified: bool,
}

/// Both clocks of this host at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub monotonic: Duration,
    pub wall_ms: i64,
}

impl Moment {
    pub fn now(clock: &dyn Clock) -> Moment {
        Moment { monotonic: clock.monotonic(), wall_ms: clock.wall_ms() }
    }
}

/// A `Date`, and between which moments it was true.
#[derive(Clone, Copy, Debug)]
pub struct Dated {
    pub date_ms: i64,
    pub sent: Moment,
    pub received: Moment,
}

const APART: Duration = Duration::from_secs(2);
/// Dates come in steps of one second.
const STEP_MS: i64 = 1_000;
/// What two monotonic readings may drift against the store's clock between two replies.
const DRIFT_MS: i64 = 500;
const HOST_MS: i64 = 5 * 60 * 1000;
/// A reply that took longer says too little to verify anything.
const PROMPT: Duration = Duration::from_secs(10);
/// A verification older than this is made anew.
const VERIFIED_FOR: Duration = Duration::from_secs(60);

/// Follows the store's clock through the `Date` of its replies.
#[derive(Debug, Default)]
pub struct LogClock {
    known: Option<Offset>,
    /// The prompt reply that a later one is compared with: when it was sent, and what it says.
    reference: Option<(Duration, Offset)>,
    verified_at: Option<Duration>,
    /// The host's clock differs from the store's by more than 5 min.
    host_disagrees: Option<i64>,
}

/// The store's clock less this process's monotonic one lies between these (ms).
#[derive(Clone, Copy, Debug)]
struct Offset {
    low: i64,
    high: i64,
}

impl Offset {
    fn of(dated: &Dated) -> Offset {
        let ms = |d: Duration| d.as_millis() as i64;
        Offset {
            low: dated.date_ms - ms(dated.received.monotonic),
            high: dated.date_ms + STEP_MS - ms(dated.sent.monotonic),
        }
    }

    fn agrees(&self, other: &Offset) -> bool {
        self.low <= other.high + DRIFT_MS && other.low <= self.high + DRIFT_MS
    }
}

impl LogClock {
    pub fn observe(&mut self, dated: Dated) {
        let offset = Offset::of(&dated);
        self.known = Some(match self.known {
            Some(known) if known.agrees(&offset) => {
                Offset { low: known.low.max(offset.low), high: known.high.min(offset.high).max(offset.low) }
            }
            _ => offset,
        });
        let (sent, received) = (dated.sent.monotonic, dated.received.monotonic);
        if received.saturating_sub(sent) > PROMPT {
            return;
        }
        self.host_disagrees = host_differs(&dated);
        match self.reference {
            Some((at, _)) if sent < at + APART => {}
            Some((_, before)) => {
                self.verified_at = before.agrees(&offset).then_some(sent);
                self.reference = Some((sent, offset));
            }
            None => self.reference = Some((sent, offset)),
        }
    }

    pub fn view(&self, now: Duration) -> Option<TimeView> {
        let wall_ms = self.known?.low + now.as_millis() as i64;
        let verified = self.verified_at.is_some_and(|at| now.saturating_sub(at) <= VERIFIED_FOR);
        Some(TimeView { now, wall_ms, verified })
    }

    /// How far the host's clock is ahead of the store's (ms), if the last prompt reply showed more than 5 min.
    pub fn host_disagrees(&self) -> Option<i64> {
        self.host_disagrees
    }
}

/// Only what holds wherever between sending and receiving the date was taken.
fn host_differs(dated: &Dated) -> Option<i64> {
    let ahead = dated.sent.wall_ms - (dated.date_ms + STEP_MS);
    let behind = dated.date_ms - dated.received.wall_ms;
    if ahead > HOST_MS { Some(ahead) } else { (behind > HOST_MS).then_some(-behind) }
}

#[cfg(test)]
mod tests;
