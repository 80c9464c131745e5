//! The waiting times of the design's 4.3 to 4.6, all divided by one number that FORMAT keeps for the life of the bucket.
//!
//! Apply depends on some of them and cleaning on others, so every node of a bucket must have the same: a node that asks for
//! another scale does not start. Clock tolerances (a step of log time, the host's clock) are not waiting times and stay.

use std::time::Duration;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// Snapshots of a scaled bucket are at least this many slots apart, if they would be without the scale.
const LEAST_SLOTS: u64 = 100;

/// In ms of log time or of the store's clock, where they are not durations of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    scale: u32,
    /// Admission window of `node up` and of segments; tombstones and pending deletes stay longer than it.
    pub window_ms: i64,
    /// Producer states may go after this long without an append.
    pub producer_expiry_ms: i64,
    /// Offsets of a consumer group without members are kept for this long (Kafka's `offsets.retention.minutes`).
    pub offset_retention_ms: i64,
    /// An incarnation without groups for this long may be signed off by any node.
    pub node_silence_ms: i64,
    /// How far log time may lie behind the store's clock before a node ticks.
    pub stale_ms: i64,
    /// The log floor passes no slot that is younger.
    pub slot_age_ms: i64,
    /// An answer is believed if its `Date` is at most this long after that of the evidence …
    pub evidence_after_ms: i64,
    /// … and at most this long before it.
    pub evidence_before_ms: i64,
    /// Snapshots of one node are at least this far apart.
    pub snapshot_apart: Duration,
    /// Between two rounds of cleaning, and between two of expiry.
    pub round_every: Duration,
    /// How long nobody has written before another node than the last author looks whether work of the cluster rests: longer than
    /// the last author lets small entries wait to be merged.
    pub take_over_after: Duration,
    /// Between two lists of what lies below the floor, and of snapshots that nobody names.
    pub list_every: Duration,
}

impl Default for Waits {
    fn default() -> Waits {
        Waits::scaled(1)
    }
}

impl Waits {
    pub const MAX_SCALE: u32 = 3_600;

    /// Every time divided by `scale` (1 to [`Waits::MAX_SCALE`]), but kept above the one-second steps of a store's clock and above
    /// the times that it must exceed.
    pub fn scaled(scale: u32) -> Waits {
        let scale = scale.clamp(1, Waits::MAX_SCALE);
        let ms = |whole: i64, least: i64| (whole / i64::from(scale)).max(least);
        let duration = |whole: i64, least: i64| Duration::from_millis(ms(whole, least) as u64);
        Waits {
            scale,
            window_ms: ms(10 * MINUTE, 10 * SECOND),
            producer_expiry_ms: ms(24 * HOUR, 30 * SECOND),
            offset_retention_ms: ms(7 * 24 * HOUR, 30 * SECOND),
            node_silence_ms: ms(24 * HOUR, 30 * SECOND),
            stale_ms: ms(MINUTE, 2 * SECOND),
            slot_age_ms: ms(24 * HOUR, 30 * SECOND),
            evidence_after_ms: ms(HOUR, 5 * SECOND),
            evidence_before_ms: ms(5 * MINUTE, 2 * SECOND),
            snapshot_apart: duration(MINUTE, SECOND),
            round_every: duration(MINUTE, SECOND),
            take_over_after: duration(20 * MINUTE, 5 * SECOND),
            list_every: duration(24 * HOUR, 30 * SECOND),
        }
    }

    pub fn scale(&self) -> u32 {
        self.scale
    }

    /// How many slots lie between two snapshots that are to be `slots` apart at scale 1: slots are no time, but at an even load
    /// they come with it, and the floor passes no snapshot that is kept.
    pub fn slots_apart(&self, slots: u64) -> u64 {
        (slots / u64::from(self.scale)).max(slots.min(LEAST_SLOTS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_design_s_times_at_scale_one() {
        let waits = Waits::default();
        assert_eq!((waits.window_ms, waits.slot_age_ms), (600_000, 86_400_000));
        assert_eq!((waits.evidence_after_ms, waits.evidence_before_ms), (3_600_000, 300_000));
        assert_eq!(waits.list_every, Duration::from_secs(86_400));
    }

    #[test]
    fn slots_between_snapshots_are_scaled_down_to_a_hundred_and_never_up() {
        let apart = |scale, slots| Waits::scaled(scale).slots_apart(slots);
        assert_eq!([1, 2, 10, 50, 60, 1_000].map(|scale| apart(scale, 5_000)), [5_000, 2_500, 500, 100, 100, 100]);
        assert_eq!([1, 60, 1_000].map(|scale| apart(scale, 10)), [10, 10, 10]);
        assert_eq!(apart(7, 150), 100);
    }

    #[test]
    fn what_must_be_longer_stays_longer_at_every_scale() {
        for waits in (1..=Waits::MAX_SCALE).map(Waits::scaled) {
            // Evidence must be worthless long before a slot that came after it may be deleted.
            assert!(4 * (waits.evidence_after_ms + waits.evidence_before_ms) < waits.slot_age_ms, "{waits:?}");
            // A segment named by log time that is only just fresh is still admitted.
            assert!(2 * waits.stale_ms < waits.window_ms, "{waits:?}");
            assert!(waits.evidence_before_ms > 1_000 && waits.stale_ms > 1_000, "{waits:?}");
        }
    }
}
