//! Where a partition is to start once what is too old, or too much, is gone. Pure.
//!
//! As in Apache Kafka what goes is whole and the oldest: its segments are our index pages and the entries that are in no page. So
//! of what is younger, or within the size, nothing goes ever, and what is older may stay with the youngest record of its page (up to 1 GiB)
//! or entry (1 MiB).

use lakebed_manifest::PartitionState;
use lakebed_record::{DataObject, LogTime};

use crate::api::TopicConfig;

/// `retention.ms` and `retention.bytes` of a topic; at least one of them is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// In ms.
    age: Option<i64>,
    bytes: Option<u64>,
}

/// A page, or an entry that is in none.
#[derive(Clone, Debug)]
struct Piece {
    end_offset: i64,
    bytes: u64,
    /// Its records are no younger than this (ms of log time); `None`: nobody knows.
    time: Option<i64>,
}

impl Retention {
    /// `None`: records stay for ever.
    pub fn of(config: &TopicConfig) -> Option<Retention> {
        let age = (config.retention_ms >= 0).then_some(config.retention_ms);
        let bytes = u64::try_from(config.retention_bytes).ok();
        (age.is_some() || bytes.is_some()).then_some(Retention { age, bytes })
    }

    /// What is too old by `ms` and more, however much there is.
    pub fn overdue_by(self, ms: i64) -> Retention {
        Retention { age: self.age.map(|age| age.saturating_add(ms)), bytes: None }
    }

    /// The offset at which the partition is to start; `None`: all of it stays. `window_ms`: so long after the time in its name a segment
    /// may be committed.
    pub fn log_start(&self, partition: &PartitionState, now: LogTime, window_ms: i64) -> Option<i64> {
        let end = self.end_of_old(|| pieces(partition, window_ms), now);
        end.filter(|end| *end > partition.log_start())
    }

    /// Where the last piece ends that goes.
    fn end_of_old<I: Iterator<Item = Piece>>(&self, pieces: impl Fn() -> I, now: LogTime) -> Option<i64> {
        let old = self.age.and_then(|age| {
            let is_old = |p: &Piece| p.time.is_some_and(|time| now.0.saturating_sub(time) > age);
            pieces().take_while(is_old).last()
        });
        let too_much = self.bytes.and_then(|bytes| {
            let mut left: u64 = pieces().map(|p| p.bytes).sum();
            let is_spare = |p: &Piece| {
                left -= p.bytes;
                left >= bytes
            };
            pieces().take_while(is_spare).last()
        });
        old.into_iter().chain(too_much).map(|p| p.end_offset).max()
    }
}

/// In offset order.
fn pieces(partition: &PartitionState, window_ms: i64) -> impl Iterator<Item = Piece> {
    let pages = partition.pages().iter().map(move |p| Piece {
        end_offset: p.end_offset,
        bytes: p.bytes,
        time: time_of(p.max_timestamp, DataObject::Segment(p.name), window_ms),
    });
    let entries = partition.entries().map(move |e| Piece {
        end_offset: e.end_offset(),
        bytes: e.len,
        time: time_of(e.max_timestamp, e.object, window_ms),
    });
    pages.chain(entries)
}

/// Records without a timestamp (−1) are as old as the object that they lie in, as in Apache Kafka as old as their file.
fn time_of(max_timestamp: i64, object: DataObject, window_ms: i64) -> Option<i64> {
    match object {
        _ if max_timestamp >= 0 => Some(max_timestamp),
        DataObject::Segment(name) => Some(name.fence.0.saturating_add(window_ms)),
        DataObject::Inline(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use lakebed_record::{Incarnation, SegmentName, Slot};
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_000;

    fn retention(ms: i64, bytes: i64) -> Option<Retention> {
        Retention::of(&TopicConfig { retention_ms: ms, retention_bytes: bytes, ..TopicConfig::default() })
    }

    /// Of pieces of ten offsets with these bytes and times.
    fn end(ms: i64, bytes: i64, of: &[(u64, Option<i64>)]) -> Option<i64> {
        let piece = |(n, (bytes, time)): (usize, &(u64, Option<i64>))| Piece {
            end_offset: 10 * (n as i64 + 1),
            bytes: *bytes,
            time: *time,
        };
        retention(ms, bytes)?.end_of_old(|| of.iter().enumerate().map(piece), LogTime(NOW))
    }

    #[test]
    fn what_is_older_than_the_retention_goes_up_to_the_first_that_is_not() {
        let log = [(1, Some(700)), (1, Some(899)), (1, Some(900)), (1, Some(500))];
        assert_eq!(end(100, -1, &log), Some(20), "as old as the retention is not older");
        assert_eq!(end(99, -1, &log), Some(40), "the last of them as well: partitions may be empty");
        assert_eq!(end(300, -1, &log), None);
        assert_eq!(end(0, -1, &[(1, Some(NOW))]), None);
        assert_eq!(end(5, -1, &[(1, Some(NOW + 10)), (1, Some(1))]), None, "times that are to come");
        assert_eq!(end(5, -1, &[(1, None), (1, Some(1))]), None, "times that nobody knows");
        assert_eq!(end(5, -1, &[]), None);
    }

    #[test]
    fn the_oldest_go_while_what_is_left_is_enough() {
        let log = [(40, None), (30, None), (20, None), (10, None)];
        let ends = [(61, None), (60, Some(10)), (31, Some(10)), (30, Some(20)), (1, Some(30)), (0, Some(40))];
        for (bytes, expected) in ends {
            assert_eq!(end(-1, bytes, &log), expected, "{bytes}");
        }
    }

    #[test]
    fn without_one_of_the_two_everything_stays() {
        assert_eq!(retention(-1, -1), None);
        assert!(retention(0, -1).is_some() && retention(-1, 0).is_some());
        let overdue = retention(5, 7).map(|r| r.overdue_by(10));
        assert_eq!(overdue, retention(15, -1));
    }

    #[test]
    fn records_without_a_time_are_as_old_as_their_object_and_no_older() {
        let segment = DataObject::Segment(SegmentName { fence: LogTime(70), node: Incarnation(1), number: 1 });
        assert_eq!(time_of(-1, segment, 10), Some(80));
        assert_eq!(time_of(0, segment, 10), Some(0));
        assert_eq!(time_of(-1, DataObject::Inline(Slot(3)), 10), None);
    }

    proptest! {
        /// Piece by piece, as `UnifiedLog.deleteOldSegments` goes through segments: by time, then by what is left in size.
        #[test]
        fn it_is_what_going_through_segments_gives(
            log in prop::collection::vec((0u64..50, prop::option::of(900i64..1_010)), 0..12),
            ms in -1i64..100,
            bytes in -1i64..300,
        ) {
            let mut left = &log[..];
            while let [(_, time), rest @ ..] = left {
                if ms < 0 || !time.is_some_and(|t| NOW - t > ms) {
                    break;
                }
                left = rest;
            }
            let mut diff = left.iter().map(|(len, _)| *len as i64).sum::<i64>() - bytes;
            while let [(len, _), rest @ ..] = left {
                if bytes < 0 || diff - (*len as i64) < 0 {
                    break;
                }
                diff -= *len as i64;
                left = rest;
            }
            let gone = log.len() - left.len();
            prop_assert_eq!(end(ms, bytes, &log), (gone > 0).then_some(10 * gone as i64));
        }
    }
}
