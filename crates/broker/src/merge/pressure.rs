//! How much merging is wanted: earlier, faster, and at last with fewer flushes. Pure.

use std::time::Duration;

/// Least time between flushes when as much waits as may.
const SLOWDOWN: Duration = Duration::from_millis(500);
/// The most there is: 1 h. By then next to nothing is flushed, and requests wait in the memory budget with their sockets unread.
const MOST_TIMES: f64 = 7_200.0;
/// What merging may move for each byte that is appended: three copies, each read and written, and some to catch up.
const BYTES_PER_APPENDED: f64 = 8.0;
/// However much is appended.
const MOST_BYTES_PER_SECOND: f64 = 1_073_741_824.0;
/// Seconds over which the rate of appends is taken.
const WINDOW: f64 = 60.0;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Nothing is put off.
    pub pressed: bool,
    /// Least time between flushes.
    pub apart: Duration,
}

impl Pressure {
    /// `all`: entries of the state; `waiting`: those of them that merging or sealing will make fewer; `most`: how many there may be
    /// before that is hurried, and twice as many before flushes are held apart.
    ///
    /// What merging can do nothing about takes room from what waits, but never all of it: slow producers would not help. The time between
    /// flushes grows with the square of what waits, so that it settles whatever the number of partitions.
    pub fn of(all: usize, waiting: usize, most: usize) -> Pressure {
        let rest = all.saturating_sub(waiting);
        let room = most.saturating_mul(2).saturating_sub(rest).max(most / 2).max(1);
        let times = waiting as f64 / room as f64;
        let apart = if times > 1.0 { SLOWDOWN.mul_f64((times * times).min(MOST_TIMES)) } else { Duration::ZERO };
        Pressure { pressed: all > most, apart }
    }
}

/// Bytes that merging may move in a second.
#[derive(Debug)]
pub struct Budget {
    least: u64,
    /// When (monotonic) the bytes appended so far were last seen, and how many.
    seen: Option<(Duration, u64)>,
    /// Bytes appended in a second, by all nodes.
    rate: f64,
}

impl Budget {
    pub fn new(least: u64) -> Budget {
        Budget { least, seen: None, rate: 0.0 }
    }

    /// `appended`: bytes so far; fewer than before after a jump by snapshot.
    pub fn note(&mut self, now: Duration, appended: u64) {
        let Some((then, before)) = self.seen.replace((now, appended)) else { return };
        let seconds = now.saturating_sub(then).as_secs_f64();
        if seconds == 0.0 {
            self.seen = Some((then, before));
        } else if appended >= before {
            let weight = 1.0 - (-seconds / WINDOW).exp();
            self.rate += weight * ((appended - before) as f64 / seconds - self.rate);
        }
    }

    pub fn bytes_per_second(&self, pressed: bool) -> u64 {
        let wanted = (self.rate * BYTES_PER_APPENDED).min(MOST_BYTES_PER_SECOND) as u64;
        self.least.max(wanted).saturating_mul(if pressed { 2 } else { 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn seconds(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn pressed_by_all_entries_and_slowed_by_those_that_wait() {
        let of = |all, waiting| Pressure::of(all, waiting, 1_000);
        assert_eq!(of(1_000, 1_000), Pressure::default());
        assert_eq!(of(1_001, 10), Pressure { pressed: true, apart: Duration::ZERO });
        assert_eq!(of(2_000, 2_000).apart, Duration::ZERO);
        assert!(of(2_100, 2_100).apart >= SLOWDOWN);
        // Settled ones take the room of those that wait.
        assert!(of(2_500, 1_000).apart > SLOWDOWN);
        // A million that nothing can be done about slows nobody down.
        assert_eq!(of(1_000_000, 400), Pressure { pressed: true, apart: Duration::ZERO });
    }

    #[test]
    fn the_time_between_flushes_grows_until_fewer_entries_come_than_go() {
        // 100,000 partitions in every flush, and 16,384 entries merged in a second.
        let (mut waiting, most) = (0.0, 1_000_000);
        for _ in 0..100_000 {
            let apart = Pressure::of(waiting as usize, waiting as usize, most).apart.as_secs_f64().max(0.2);
            waiting = (waiting + 100_000.0 - 16_384.0 * apart).max(0.0);
        }
        assert!(waiting < 8.0 * most as f64, "{waiting}");
        assert!(Pressure::of(usize::MAX, usize::MAX, 1).apart <= Duration::from_secs(3_600));
    }

    #[test]
    fn the_budget_follows_what_is_appended() {
        let mut budget = Budget::new(64 * MIB);
        let mut appended = 0;
        for second in 0..300 {
            budget.note(seconds(second), appended);
            appended += 30 * MIB;
        }
        let now = budget.bytes_per_second(false);
        assert!((230 * MIB..=240 * MIB).contains(&now), "{now}");
        assert_eq!(budget.bytes_per_second(true), 2 * now);
        // A jump by snapshot counts anew, and in silence it falls to the least.
        budget.note(seconds(300), 0);
        assert_eq!(budget.bytes_per_second(false), now);
        budget.note(seconds(1_200), 0);
        assert_eq!(budget.bytes_per_second(false), 64 * MIB);
        budget.note(seconds(1_300), u64::MAX / 2);
        assert_eq!(budget.bytes_per_second(false), 1 << 30);
    }
}
