//! What is remembered of one producing connection: in which flush its last records went, and whether its own window
//! limits it.
//!
//! A window is the number of requests that a client sends without an answer. It limits a client whose requests in flight
//! come up to the same number again and again and never exceed it, and that is silent before an answer and goes on right
//! behind it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::planner::{self, ConnectionId};

/// A client that is silent for so long before an answer, and goes on within so long of it, had been waiting for it.
const SILENCE: Duration = Duration::from_millis(25);
const RESUMES_WITHIN: Duration = Duration::from_millis(20);
/// … and the silence is so many times longer: a client that sends at intervals may meet an answer by chance.
const SILENCE_TO_PAUSE: u32 = 4;
/// Full windows in a row that make it likely, and that make it a habit.
const LIKELY: u32 = 2;
const HABIT: u32 = 16;
/// After so many requests a window that was not full any more is measured anew.
const REMEASURE: u32 = 64;
/// What a connection sent that is gone for so long is not stored any more, whatever time its requests had.
const LONG_GONE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Connection {
    pub id: ConnectionId,
    /// How the log names it.
    pub client: String,
    last_flush: AtomicU64,
    gone_since: OnceLock<Duration>,
    history: Mutex<History>,
}

#[derive(Debug, Default)]
struct History {
    /// Requests without an answer.
    in_flight: u32,
    /// The most there were, and the most since the last measurement began.
    window: u32,
    recent: u32,
    requests: u32,
    last_request: Duration,
    /// When the first answer since the last request was given, and how long the client had been silent by then.
    answered: Option<(Duration, Duration)>,
    /// The client waited for the last answer, then went on.
    resumed: bool,
    /// How often in a row the window was filled by a client that had waited for an answer.
    full: u32,
    reported: bool,
}

impl Connection {
    pub fn new(id: ConnectionId, client: String) -> Connection {
        Connection { id, client, last_flush: AtomicU64::new(0), gone_since: OnceLock::new(), history: Mutex::default() }
    }

    /// Number of the last flush that took records of this connection.
    pub fn last_flush(&self) -> u64 {
        self.last_flush.load(Ordering::Relaxed)
    }

    pub fn taken(&self, flush: u64) {
        self.last_flush.store(flush, Ordering::Relaxed);
    }

    /// It will send nothing more.
    pub fn gone(&self, now: Duration) {
        self.gone_since.get_or_init(|| now);
    }

    pub fn is_long_gone(&self, now: Duration) -> bool {
        self.gone_since.get().is_some_and(|since| now >= *since + LONG_GONE)
    }

    /// A request came. True once, when it has become plain that the connection's window holds it back.
    #[must_use]
    pub fn request_came(&self, now: Duration) -> bool {
        self.history.lock().request_came(now)
    }

    /// A request got its answer.
    pub fn request_ended(&self, now: Duration) {
        let mut history = self.history.lock();
        history.in_flight -= 1;
        let silence = now.saturating_sub(history.last_request);
        history.answered.get_or_insert((now, silence));
    }

    pub fn window(&self) -> planner::Window {
        let history = self.history.lock();
        match history.full {
            ..LIKELY => planner::Window::Open,
            _ if history.in_flight >= history.window => planner::Window::Complete,
            _ => planner::Window::Full,
        }
    }
}

impl History {
    fn request_came(&mut self, now: Duration) -> bool {
        self.in_flight += 1;
        self.last_request = now;
        if let Some((at, silence)) = self.answered.take() {
            let pause = now.saturating_sub(at);
            self.resumed = pause <= RESUMES_WITHIN && silence >= SILENCE.max(pause * SILENCE_TO_PAUSE);
        }
        self.measure();
        if self.in_flight == self.window {
            self.full = if self.resumed { self.full + 1 } else { 0 };
        }
        let report = self.full >= HABIT && !self.reported;
        self.reported |= report;
        report
    }

    fn measure(&mut self) {
        self.recent = self.recent.max(self.in_flight);
        self.requests += 1;
        if self.requests == REMEASURE {
            if self.recent != self.window {
                (self.window, self.full) = (self.recent, 0);
            }
            (self.recent, self.requests) = (self.in_flight, 0);
        }
        if self.in_flight > self.window {
            (self.window, self.full) = (self.in_flight, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// A client with `window` requests in flight, answered together after 90 ms, that goes on after `pause` ms.
    fn rounds(connection: &Connection, window: u32, pause: u64) -> usize {
        let mut now = Duration::ZERO;
        let mut reports = 0;
        for _ in 0..100 {
            for _ in 0..window {
                reports += usize::from(connection.request_came(now));
                now += ms(4);
            }
            now += ms(90);
            (0..window).for_each(|_| connection.request_ended(now));
            now += ms(pause);
        }
        reports
    }

    #[test]
    fn a_client_that_always_waits_for_us_is_reported_once() {
        for window in [1, 5, 9] {
            let connection = Connection::new(ConnectionId(1), "test".into());
            assert_eq!(rounds(&connection, window, 3), 1);
            assert_eq!(connection.window(), planner::Window::Full);
            (1..window).for_each(|_| assert!(!connection.request_came(ms(0))));
            let _reported = connection.request_came(ms(0));
            assert_eq!(connection.window(), planner::Window::Complete);
        }
    }

    #[test]
    fn a_slow_client_is_not() {
        let connection = Connection::new(ConnectionId(1), "test".into());
        assert_eq!(rounds(&connection, 1, 60), 0);
        assert_eq!(connection.window(), planner::Window::Open);
    }

    #[test]
    fn a_steady_stream_is_not() {
        let connection = Connection::new(ConnectionId(1), "test".into());
        let mut reports = 0;
        for n in 0..10_000u64 {
            reports += usize::from(connection.request_came(ms(n * 5)));
            // Answered in lots, every 100 ms, after some 45 to 150.
            if n % 20 == 19 {
                let answered = 20.min(n as u32 - n as u32 / 37 % 15);
                let answered = answered.min(connection.history.lock().in_flight);
                (0..answered).for_each(|_| connection.request_ended(ms(n * 5)));
            }
        }
        assert_eq!(reports, 0);
    }

    #[test]
    fn a_window_that_shrinks_is_measured_anew() {
        let connection = Connection::new(ConnectionId(1), "test".into());
        rounds(&connection, 9, 3);
        assert_eq!(rounds(&connection, 5, 3), 0, "reported before");
        assert_eq!(connection.history.lock().window, 5);
        assert_eq!(connection.window(), planner::Window::Full);
    }
}
