//! What is remembered of one producing connection: in which flush its last records went, and whether its own window
//! limits it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::planner::{self, ConnectionId};

/// A client that goes on within this time of an answer had been waiting for it.
const RESUMES_WITHIN: Duration = Duration::from_millis(20);
/// So many flushes in a row make it likely, and so many a habit.
const LIKELY: u32 = 2;
const HABIT: u32 = 16;

#[derive(Debug)]
pub struct Connection {
    pub id: ConnectionId,
    /// How the log names it.
    pub client: String,
    last_flush: AtomicU64,
    history: Mutex<History>,
}

#[derive(Debug, Default)]
struct History {
    /// Its socket was drained when its records were taken, and it has sent nothing since.
    stalled: bool,
    answered: Option<Duration>,
    /// Requests without an answer, and how many there were when it fell silent.
    in_flight: u32,
    most_in_flight: u32,
    streak: u32,
    reported: bool,
}

impl Connection {
    pub fn new(id: ConnectionId, client: String) -> Connection {
        Connection { id, client, last_flush: AtomicU64::new(0), history: Mutex::default() }
    }

    /// Number of the last flush that took records of this connection.
    pub fn last_flush(&self) -> u64 {
        self.last_flush.load(Ordering::Relaxed)
    }

    pub fn taken(&self, flush: u64, drained: bool) {
        let before = self.last_flush.swap(flush, Ordering::Relaxed);
        if before == flush {
            return;
        }
        let mut history = self.history.lock();
        if drained {
            history.stalled = true;
            history.answered = None;
            history.most_in_flight = history.in_flight.max(history.most_in_flight);
        } else {
            history.stalled = false;
            history.streak = 0;
        }
    }

    pub fn window(&self) -> planner::Window {
        let history = self.history.lock();
        match history.streak {
            ..LIKELY => planner::Window::Open,
            _ if history.in_flight >= history.most_in_flight => planner::Window::Complete,
            _ => planner::Window::Full,
        }
    }

    /// Records of one of its requests have got their outcome.

    pub fn answered(&self, now: Duration) {
        self.history.lock().answered = Some(now);
    }

    /// A request of it was answered.
    pub fn request_ended(&self) {
        self.history.lock().in_flight -= 1;
    }

    /// A request came. True once, when it has become plain that the connection's window holds it back.
    #[must_use]
    pub fn request_came(&self, now: Duration) -> bool {
        let mut history = self.history.lock();
        history.in_flight += 1;
        if !std::mem::take(&mut history.stalled) {
            return false;
        }
        match history.answered {
            Some(at) if now.saturating_sub(at) <= RESUMES_WITHIN => history.streak += 1,
            // It went on before it was answered, or long after.
            _ => (history.streak, history.most_in_flight) = (0, 0),
        }
        let report = history.streak >= HABIT && !history.reported;
        history.reported |= report;
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(pause: Duration, waiting: bool) -> usize {
        let connection = Connection::new(ConnectionId(1), "test".into());
        let mut now = Duration::ZERO;
        let mut reports = 0;
        for flush in 1..100 {
            reports += usize::from(connection.request_came(now));
            connection.taken(flush, waiting);
            now += Duration::from_millis(90);
            connection.answered(now);
            connection.request_ended();
            now += pause;
        }
        reports
    }

    #[test]
    fn a_client_that_always_waits_for_us_is_reported_once() {
        assert_eq!(run(Duration::from_millis(3), true), 1);
    }

    #[test]
    fn a_slow_client_is_not() {
        assert_eq!(run(Duration::from_millis(60), true), 0);
    }

    #[test]
    fn a_client_with_more_to_send_is_not() {
        assert_eq!(run(Duration::from_millis(3), false), 0);
    }
}
