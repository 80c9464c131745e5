//! When records are due and how they are batched. Pure.
//!
//! Due times depend on nothing but the schedule, so a slow broker cannot slow the load down; a sender that is late sends
//! what has become due meanwhile, in batches of the allowed size.

use std::time::Duration;

/// One connection's records, numbered from 0. All times count from the start of the run.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// When record 0 is due; spreads the connections over one interval.
    pub phase: Duration,
    /// Records a second.
    pub rate: f64,
    pub linger: Duration,
    /// Most records in a batch, at least 1.
    pub batch_records: u64,
    /// Records due at or past this are not sent.
    pub end: Duration,
}

impl Schedule {
    pub fn due(&self, record: u64) -> Duration {
        self.phase + Duration::from_secs_f64(record as f64 / self.rate)
    }

    /// When the batch that starts with record `first` is sent: it is full, or has lingered. None: the run is over.
    pub fn send_at(&self, first: u64) -> Option<Duration> {
        let due = self.due(first);
        (due < self.end).then(|| self.due(first + self.batch_records - 1).min(due + self.linger))
    }

    /// How many records from `first` on go into a batch that is sent at `now`.
    pub fn batch_at(&self, first: u64, now: Duration) -> u64 {
        let is_in = |n: &u64| self.due(first + n) <= now && self.due(first + n) < self.end;
        (1..self.batch_records).take_while(is_in).count() as u64 + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn schedule() -> Schedule {
        Schedule { phase: ms(3), rate: 100.0, linger: ms(0), batch_records: 4, end: ms(1000) }
    }

    #[test]
    fn without_linger_each_record_goes_when_it_is_due() {
        let s = schedule();
        assert_eq!((s.send_at(0), s.send_at(5)), (Some(ms(3)), Some(ms(53))));
        assert_eq!(s.batch_at(5, ms(53)), 1);
    }

    #[test]
    fn a_late_sender_sends_what_is_due_up_to_the_batch_size() {
        assert_eq!(schedule().batch_at(0, ms(24)), 3);
        assert_eq!(schedule().batch_at(0, ms(900)), 4);
    }

    #[test]
    fn a_batch_goes_when_full_or_when_it_has_lingered() {
        let long = Schedule { linger: ms(500), ..schedule() };
        assert_eq!(long.send_at(0), Some(ms(33)));
        let short = Schedule { linger: ms(15), ..schedule() };
        assert_eq!(short.send_at(0), Some(ms(18)));
    }

    #[test]
    fn nothing_is_due_past_the_end() {
        let s = schedule();
        assert_eq!((s.send_at(99).is_some(), s.send_at(100)), (true, None));
        assert_eq!(s.batch_at(98, ms(5000)), 2);
    }
}
