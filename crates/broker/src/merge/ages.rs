//! When what an object holds was committed, about, in log time. Pure.
//!
//! A segment's fence tells it. A slot's commit does not stand in the state, so the log's time is noted every few seconds and a
//! slot has the time of the first note at or past it: late by at most the time between two notes. Slots from before this node's
//! start count as older than everything, each a bucket older than the next, so that they are still merged one after another
//! and each is read once. It only decides what is merged when.

use std::collections::VecDeque;

use lakebed_record::{DataObject, LogTime, Slot};

/// What is committed within so many ms is of the same age.
pub const BUCKET_MS: i64 = 1_000;

#[derive(Debug)]
pub struct Ages {
    /// The last slot from before there were notes.
    start: Slot,
    notes: VecDeque<(Slot, LogTime)>,
    /// Differences further back than this (ms) are of no use.
    horizon_ms: i64,
}

impl Ages {
    /// `start`: the slot up to which this node does not know.
    pub fn new(start: Slot, horizon_ms: i64) -> Ages {
        Ages { start, notes: VecDeque::from([(start, LogTime(0))]), horizon_ms }
    }

    /// All up to `slot` is applied at log time `now`.
    pub fn note(&mut self, slot: Slot, now: LogTime) {
        if self.notes.back().is_some_and(|(last, _)| *last < slot) {
            self.notes.push_back((slot, now));
        }
        while self.notes.get(1).is_some_and(|(_, at)| at.0 < now.0 - self.horizon_ms) {
            self.notes.pop_front();
        }
    }

    pub fn of(&self, object: DataObject) -> LogTime {
        match object {
            DataObject::Segment(name) => name.fence,
            DataObject::Inline(slot) if slot <= self.start => {
                LogTime(((self.start.0 - slot.0) as i64).saturating_mul(-BUCKET_MS))
            }
            DataObject::Inline(slot) => {
                let note = self.notes.partition_point(|(noted, _)| *noted < slot);
                self.notes.get(note).map_or(LogTime(i64::MAX), |(_, at)| *at)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_has_the_time_of_the_next_note() {
        let mut ages = Ages::new(Slot(10), 1_000);
        ages.note(Slot(20), LogTime(500));
        ages.note(Slot(20), LogTime(600));
        ages.note(Slot(30), LogTime(700));
        let at = |ages: &Ages, slot| ages.of(DataObject::Inline(Slot(slot))).0;
        assert_eq!([1, 10, 11, 20, 21, 30, 31].map(|s| at(&ages, s)), [-9_000, 0, 500, 500, 700, 700, i64::MAX]);
        ages.note(Slot(40), LogTime(1_650));
        assert_eq!([1, 20, 21, 31].map(|s| at(&ages, s)), [-9_000, 500, 700, 1_650]);
    }
}
