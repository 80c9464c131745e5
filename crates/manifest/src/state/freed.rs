//! Slots that the last live inline entry has left a short while ago: a reader with an older state may still want them, so the log
//! floor waits for the window of log time before it passes them (`tests/model`, `merge -DM_NOHOLD`).
//!
//! Only the lowest of them matters to the floor, so two numbers per window are kept, of two windows, however many slots there are:
//! a slot holds the floor up for one window at least and two at most. Part of the state, its hash and its snapshots.

use lakebed_record::{LogTime, Slot};

/// Slots that became free within a window of log time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// When the first of them did.
    pub since: LogTime,
    pub lowest: Slot,
}

/// The newest span first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Freed(pub [Option<Span>; 2]);

impl Freed {
    /// The last live inline entry of `slot` leaves at `now`.
    pub fn add(&mut self, slot: Slot, now: LogTime, window_ms: i64) {
        match &mut self.0[0] {
            Some(span) if now.0 <= span.since.0.saturating_add(window_ms) => span.lowest = span.lowest.min(slot),
            // The span that drops out began more than two windows ago: nothing of it is held up any more.
            newest => self.0 = [Some(Span { since: now, lowest: slot }), *newest],
        }
    }

    /// The lowest slot that a reader may still want at `now`. What a span holds came into it a window after its beginning at the
    /// latest, and stays for as long as log time is not *past* the window after that.
    pub fn lowest(&self, now: LogTime, window_ms: i64) -> Option<Slot> {
        let holds = |span: &&Span| now.0 <= span.since.0.saturating_add(window_ms.saturating_mul(2));
        self.0.iter().flatten().filter(holds).map(|span| span.lowest).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const W: i64 = 600;

    #[test]
    fn a_slot_is_held_for_a_window_at_least_and_for_two_at_most() {
        // Every schedule of three slots that become free in steps of a third of a window.
        let steps = || 0..8_i64;
        for (a, b, c) in steps().flat_map(|a| steps().flat_map(move |b| steps().map(move |c| (a, b, c)))) {
            let at = [a, a + b, a + b + c].map(|step| step * W / 3);
            for slots in [[7, 5, 3], [3, 5, 7], [5, 3, 7], [7, 3, 5]] {
                let mut freed = Freed::default();
                for (slot, since) in slots.into_iter().zip(at) {
                    freed.add(Slot(slot), LogTime(since), W);
                }
                for now in (at[2]..at[2] + 3 * W).step_by(50) {
                    let held = freed.lowest(LogTime(now), W);
                    for (slot, since) in slots.into_iter().zip(at).filter(|(_, since)| now <= since + W) {
                        assert!(
                            held.is_some_and(|held| held <= Slot(slot)),
                            "{slot}, free at {since}, passed at {now}"
                        );
                    }
                    let within_two = slots.into_iter().zip(at).filter(|(_, since)| now <= since + 2 * W);
                    let lowest = within_two.map(|(slot, _)| Slot(slot)).min();
                    assert!(
                        held.is_none() || held >= lowest && lowest.is_some(),
                        "{held:?} at {now}: {at:?} {slots:?}"
                    );
                }
            }
        }
    }
}
