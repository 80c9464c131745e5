//! Whether an answer about a slot is believed (rule 7): a paused process could create a slot that was deleted meanwhile, or read
//! a false 404.
//!
//! *Evidence* is a believed proof that some slot did not exist yet: an own create that succeeded, or a GET answered 404; nothing
//! else. No slot from there on can have been deleted before that slot is older than the waiting time for the floor, so it holds for
//! operations on slots at or past its own, as long as their `Date` is close to its. What no evidence covers is kept until CURRENT,
//! read *after* the answer came, tells that the floor has not passed the slot.
//!
//! [`Believed`] is made only here, and whatever acts on an answer takes one.

use std::collections::BTreeMap;

use bytes::Bytes;
use lakebed_record::Slot;

use crate::waits::Waits;

/// An answer of the store about a slot. A 412 is none: it concludes nothing until a GET tells what is there.
#[derive(Debug)]
pub struct Answer {
    pub slot: Slot,
    /// Serial number of the request.
    pub op: u64,
    /// `Date` of this reply.
    pub date_ms: Option<i64>,
    pub what: What,
}

#[derive(Debug)]
pub enum What {
    Created,
    /// Length of the object, from a HEAD.
    Length(u64),
    Found {
        bytes: Bytes,
        total_len: u64,
    },
    /// A GET's 404.
    Absent,
}

#[derive(Debug)]
pub struct Believed(Answer);

impl Believed {
    pub fn into_answer(self) -> Answer {
        self.0
    }
}

/// Proof that `slot` did not exist when the store's clock showed `date_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    pub slot: Slot,
    pub date_ms: i64,
}

#[derive(Debug)]
pub struct Belief {
    waits: Waits,
    /// By slot: `Date` of the reply that proved it absent.
    evidence: BTreeMap<Slot, i64>,
    /// Answers that no evidence covers, in the order in which they came, and the last request sent before each.
    doubted: Vec<(u64, Answer)>,
}

impl Belief {
    pub fn new(waits: Waits, evidence: Option<Evidence>) -> Belief {
        let evidence = evidence.map(|e| (e.slot, e.date_ms)).into_iter().collect();
        Belief { waits, evidence, doubted: Vec::new() }
    }

    /// What is known now, for a successor: it is about the store, not about who asked.
    pub fn last(&self) -> Option<Evidence> {
        self.evidence.first_key_value().map(|(slot, date_ms)| Evidence { slot: *slot, date_ms: *date_ms })
    }

    /// Believes the answer, or keeps it; `last_op` is the last request that was sent before it came.
    pub fn judge(&mut self, answer: Answer, last_op: u64) -> Option<Believed> {
        if self.covers(&answer) {
            return Some(self.believe(answer));
        }
        self.doubted.push((last_op, answer));
        None
    }

    /// Whether CURRENT has to be read.
    pub fn in_doubt(&self) -> bool {
        !self.doubted.is_empty()
    }

    /// CURRENT, asked for by request `op`, has this floor. Returns what is believed now; or the slot of an answer that the floor
    /// has passed, about which nothing will ever be known.
    pub fn on_floor(&mut self, op: u64, floor: Slot) -> Result<Vec<Believed>, Slot> {
        let mut believed = Vec::new();
        for (last_op, answer) in std::mem::take(&mut self.doubted) {
            let read_after = last_op < op;
            if read_after && answer.slot < floor {
                return Err(answer.slot);
            }
            if read_after || self.covers(&answer) {
                believed.push(self.believe(answer));
            } else {
                self.doubted.push((last_op, answer));
            }
        }
        Ok(believed)
    }

    /// Slots before `next` are applied: what was answered about them, and all proofs but the last, matter no more.
    pub fn advance(&mut self, next: Slot) {
        self.doubted.retain(|(_, answer)| answer.slot >= next);
        while let Some((second, _)) = self.evidence.iter().nth(1)
            && *second <= next
        {
            self.evidence.pop_first();
        }
    }

    fn covers(&self, answer: &Answer) -> bool {
        let Some(date_ms) = answer.date_ms else { return false };
        let close = |proved: i64| {
            date_ms.saturating_sub(proved) <= self.waits.evidence_after_ms
                && proved.saturating_sub(date_ms) <= self.waits.evidence_before_ms
        };
        self.evidence.range(..=answer.slot).any(|(_, proved)| close(*proved))
    }

    fn believe(&mut self, answer: Answer) -> Believed {
        if let (What::Created | What::Absent, Some(date_ms)) = (&answer.what, answer.date_ms) {
            self.prove(answer.slot, date_ms);
        }
        Believed(answer)
    }

    /// A later proof replaces an earlier one of the same slot; one dated just before it adds nothing, but if the clock was set back
    /// it is the one to go by.
    fn prove(&mut self, slot: Slot, date_ms: i64) {
        let known = self.evidence.entry(slot).or_insert(date_ms);
        if date_ms > *known || known.saturating_sub(date_ms) > self.waits.evidence_before_ms {
            *known = date_ms;
        }
    }
}

#[cfg(test)]
mod tests;
