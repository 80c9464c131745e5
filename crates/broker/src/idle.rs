//! Log time as it would be if somebody had just committed: an idle log's stands still.

use std::time::Duration;

use lakebed_record::LogTime;

pub(crate) struct Running {
    seen: LogTime,
    /// Monotonic.
    since: Duration,
}

impl Running {
    pub fn new(log_time: LogTime, monotonic: Duration) -> Running {
        Running { seen: log_time, since: monotonic }
    }

    pub fn now(&mut self, log_time: LogTime, monotonic: Duration) -> LogTime {
        if log_time != self.seen {
            *self = Running::new(log_time, monotonic);
        }
        LogTime(log_time.0 + monotonic.saturating_sub(self.since).as_millis() as i64)
    }
}
