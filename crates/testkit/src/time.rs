//! Simulated time: one true clock, tokio's paused one, and what each machine believes of it.
//!
//! A machine's monotonic clock runs at its own rate and stands still while the machine is suspended; its wall clock is off
//! by an offset that may jump. Everything advances only when every task waits, so hours pass in microseconds.

use std::sync::Arc;
use std::time::Duration;

use lakebed_store::BoxFuture;
use lakebed_store::env::Clock;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::power::{Point, Power};

/// 2026-01-01T00:00:00Z in ms: when every simulation starts.
const EPOCH_MS: i64 = 1_767_225_600_000;

/// The true time, which the store's clock shows.
#[derive(Clone, Copy, Debug)]
pub struct TrueTime {
    start: Instant,
}

impl TrueTime {
    /// Starts now. Must be called inside the runtime whose clock is paused.
    pub fn start() -> TrueTime {
        TrueTime { start: Instant::now() }
    }

    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    pub fn wall_ms(&self) -> i64 {
        EPOCH_MS + self.now().as_millis() as i64
    }
}

/// The true time as a [`Clock`], for stores that are not part of any machine.
impl Clock for TrueTime {
    fn monotonic(&self) -> Duration {
        self.now()
    }

    fn wall_ms(&self) -> i64 {
        TrueTime::wall_ms(self)
    }

    fn sleep<'a>(&'a self, how_long: Duration) -> BoxFuture<'a, ()> {
        Box::pin(tokio::time::sleep(how_long))
    }
}

/// The clocks of one machine; they outlive its processes.
#[derive(Debug)]
pub struct MachineClock {
    time: TrueTime,
    state: Mutex<Running>,
    /// How far off the wall clock was set (ms), and when; from the start on, oldest first.
    settings: Mutex<Vec<(Duration, i64)>>,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    /// Parts per million by which the monotonic clock is fast.
    fast_ppm: i64,
    wall_offset_ms: i64,
    /// The monotonic clock stood at `mono` at true time `at`, and runs unless suspended.
    at: Duration,
    mono: Duration,
    suspended: bool,
}

const MILLION: i64 = 1_000_000;

impl MachineClock {
    pub fn new(time: TrueTime, fast_ppm: i64, wall_offset_ms: i64) -> MachineClock {
        let state = Running { fast_ppm, wall_offset_ms, at: time.now(), mono: Duration::ZERO, suspended: false };
        MachineClock { time, state: Mutex::new(state), settings: Mutex::new(vec![(time.now(), wall_offset_ms)]) }
    }

    pub fn monotonic(&self) -> Duration {
        let state = self.state.lock();
        state.mono + state.run_since(self.time.now())
    }

    pub fn wall_ms(&self) -> i64 {
        self.time.wall_ms() + self.state.lock().wall_offset_ms
    }

    /// The wall clock is set, to this much past the truth, as NTP or an operator may.
    pub fn set_off(&self, by_ms: i64) {
        self.state.lock().wall_offset_ms = by_ms;
        self.settings.lock().push((self.time.now(), by_ms));
    }

    /// The most by which the wall clock has been off, before or behind, since `since` (ms).
    pub fn most_off_since(&self, since: Duration) -> i64 {
        let settings = self.settings.lock();
        let first = settings.partition_point(|(at, _)| *at <= since).saturating_sub(1);
        settings[first..].iter().map(|(_, by_ms)| by_ms.abs()).max().unwrap_or(0)
    }

    pub fn suspend(&self, suspended: bool) {
        let now = self.time.now();
        let mut state = self.state.lock();
        let ran = state.run_since(now);
        state.mono += ran;
        state.at = now;
        state.suspended = suspended;
    }

    /// How long true time takes for this much of the monotonic clock.
    fn true_duration(&self, of: Duration) -> Duration {
        let ppm = MILLION + self.state.lock().fast_ppm;
        scale(of, MILLION, ppm) + Duration::from_micros(1)
    }
}

impl Running {
    fn run_since(&self, now: Duration) -> Duration {
        if self.suspended {
            Duration::ZERO
        } else {
            scale(now.saturating_sub(self.at), MILLION + self.fast_ppm, MILLION)
        }
    }
}

fn scale(d: Duration, by: i64, of: i64) -> Duration {
    Duration::from_nanos((d.as_nanos() * by as u128 / of as u128) as u64)
}

/// What a process is given as its clock: its machine's, with sleeps that end only while the process runs.
#[derive(Clone)]
pub struct SimClock {
    machine: Arc<MachineClock>,
    power: Arc<Power>,
}

impl SimClock {
    pub fn new(machine: Arc<MachineClock>, power: Arc<Power>) -> SimClock {
        SimClock { machine, power }
    }
}

impl Clock for SimClock {
    fn monotonic(&self) -> Duration {
        self.machine.monotonic()
    }

    fn wall_ms(&self) -> i64 {
        self.machine.wall_ms()
    }

    fn sleep<'a>(&'a self, how_long: Duration) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let until = self.monotonic() + how_long;
            loop {
                let left = until.saturating_sub(self.monotonic());
                if left.is_zero() {
                    break;
                }
                tokio::time::sleep(self.machine.true_duration(left)).await;
                self.power.point(Point::Sleep).await;
            }
        })
    }
}
