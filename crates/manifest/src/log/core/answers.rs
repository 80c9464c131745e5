//! What the store answered: doubted or believed (rule 7), and what follows from what is believed.

use std::time::Duration;

use bytes::Bytes;
use lakebed_record::Slot;
use lakebed_record::envelope::FormatError;
use lakebed_store::{Body, Created};

use super::super::belief::{Answer, Believed, What};
use super::super::flight::{Step, backoff};
use super::{Action, CRC_TRIES, Core, FloorCheck, Foreign, Get, GetAnswer, MAX_AHEAD, PIPELINE};
use crate::commit::{self, Opened, SlotContent};
use crate::state::State;

/// An answer's place in time: the `Date` of the reply, by the store's clock, and this process's own time.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    pub date_ms: Option<i64>,
    pub now: Duration,
}

impl Core {
    pub fn on_put(&mut self, slot: Slot, op: u64, outcome: &Created, at: Answered, state: &State) {
        let Some(flight) = self.flights.get_mut(&slot).filter(|f| f.op == op && f.step == Step::Putting) else {
            return;
        };
        match outcome {
            // It stays as it is until the answer is believed.
            Created::Yes => self.judge(Answer { slot, op, date_ms: at.date_ms, what: What::Created }, at.now, state),
            Created::Exists => {
                flight.step = Step::Settling;
                self.get(slot);
            }
            Created::Unknown(_) => {
                flight.step = Step::Retry(at.now + backoff(flight.tries));
                self.counters.retries += 1;
            }
        }
    }

    /// The stored length of a slot that was answered as created.
    pub fn on_head(&mut self, slot: Slot, op: u64, total_len: Option<u64>, at: Answered, state: &State) {
        let Some(flight) = self.flights.get_mut(&slot).filter(|f| f.op == op && f.step == Step::Confirming) else {
            return;
        };
        match total_len {
            Some(len) => self.judge(Answer { slot, op, date_ms: at.date_ms, what: What::Length(len) }, at.now, state),
            None => flight.step = Step::Retry(at.now + backoff(flight.tries)),
        }
    }

    pub fn on_get(&mut self, slot: Slot, op: u64, answer: GetAnswer, at: Answered, state: &State) {
        let Some(get) = self.gets.get_mut(&slot).filter(|g| g.op == op) else { return };
        if slot <= state.slot() {
            self.gets.remove(&slot);
            return;
        }
        let what = match answer {
            GetAnswer::Found { bytes, total_len } => What::Found { bytes, total_len },
            GetAnswer::NotFound => What::Absent,
            GetAnswer::Fault => {
                get.tries += 1;
                get.retry_at = Some(at.now + backoff(get.tries));
                return;
            }
        };
        self.judge(Answer { slot, op, date_ms: at.date_ms, what }, at.now, state);
    }

    fn judge(&mut self, answer: Answer, now: Duration, state: &State) {
        if let Some(believed) = self.belief.judge(answer, self.ops) {
            self.accept(believed, now, state);
        }
    }

    /// The floor that CURRENT has; `None` if it could not be read.
    pub fn on_floor(&mut self, op: u64, floor: Option<Slot>, now: Duration, state: &State) {
        let Some(check) = self.floor_check.take_if(|c| c.op == op) else { return };
        let Some(floor) = floor else {
            let tries = check.tries + 1;
            self.floor_check = Some(FloorCheck { op, retry_at: Some(now + backoff(tries)), tries });
            return;
        };
        self.belief.advance(state.slot().next());
        match self.belief.on_floor(op, floor) {
            Ok(believed) => believed.into_iter().for_each(|b| self.accept(b, now, state)),
            Err(slot) if !self.stopped => {
                self.stopped = true;
                self.actions.push(Action::Overtaken { slot, floor });
            }
            Err(_) => {}
        }
    }

    /// One read of CURRENT for all that is in doubt, sent after those answers came.
    pub(super) fn check_floor(&mut self, now: Duration) {
        let (due, tries) = match &self.floor_check {
            None => (true, 0),
            Some(check) => (check.retry_at.is_some_and(|at| at <= now), check.tries),
        };
        if !due {
            return;
        }
        self.floor_check = None;
        if self.belief.in_doubt() {
            self.ops += 1;
            self.counters.floor_checks += 1;
            self.floor_check = Some(FloorCheck { op: self.ops, retry_at: None, tries });
            self.actions.push(Action::ReadFloor { op: self.ops });
        }
    }

    fn accept(&mut self, believed: Believed, now: Duration, state: &State) {
        let Answer { slot, op, what, .. } = believed.into_answer();
        match what {
            What::Created => self.created(slot, op),
            What::Length(len) => self.confirmed(slot, op, len),
            What::Found { .. } | What::Absent if self.gets.get(&slot).is_none_or(|g| g.op != op) => {}
            What::Found { bytes, total_len } => {
                self.gets.remove(&slot);
                self.last_commit_seen = now;
                self.burst = (self.burst * 2).min(MAX_AHEAD);
                self.ahead = self.ahead.max((slot.0 + self.burst).saturating_sub(state.slot().0));
                self.read(slot, bytes, total_len, now);
            }
            What::Absent => {
                self.gets.remove(&slot);
                self.absent(slot, op, state, now);
            }
        }
    }

    fn created(&mut self, slot: Slot, op: u64) {
        let Some(flight) = self.flights.get_mut(&slot).filter(|f| f.op == op && f.step == Step::Putting) else {
            return;
        };
        if self.config.confirm_length {
            flight.step = Step::Confirming;
            self.actions.push(Action::Head { slot, op });
        } else {
            flight.step = Step::Stored;
            self.created.insert(slot, op);
        }
    }

    fn confirmed(&mut self, slot: Slot, op: u64, total_len: u64) {
        let Some(flight) = self.flights.get_mut(&slot).filter(|f| f.op == op && f.step == Step::Confirming) else {
            return;
        };
        if total_len == flight.body.len() {
            flight.step = Step::Stored;
            self.created.insert(slot, op);
        } else {
            self.learn(slot, SlotContent::Void, None);
        }
    }

    /// A 404. Whatever was acknowledged before the GET was sent stands in slots before this one.
    fn absent(&mut self, slot: Slot, op: u64, state: &State, now: Duration) {
        let settling = self.flights.get_mut(&slot).filter(|f| f.step == Step::Settling);
        if let Some(flight) = settling {
            flight.step = Step::Retry(now + backoff(flight.tries));
            self.counters.vanished += 1;
            tracing::error!(%slot, "the store answered 412 to a PUT and then 404 to a GET of the same slot; trying again");
        }
        let next = state.slot().next();
        if slot == next {
            self.ahead = 0;
            self.burst = 1;
            self.pass_barriers(op);
        } else if slot > next {
            // Nothing to be had from there on, until a later find says otherwise; or it would be asked for without end while
            // an earlier slot is slow to come.
            self.ahead = self.ahead.min(slot.0 - next.0);
        }
    }

    fn read(&mut self, slot: Slot, bytes: Bytes, total_len: u64, now: Duration) {
        match commit::open(slot, &bytes, total_len) {
            Ok(Opened::Content(content)) => {
                self.bad_crc.remove(&slot);
                let whole = bytes.len() as u64 == total_len;
                self.learn(slot, content, whole.then(|| Body::from(bytes)));
            }
            // Slots are read whole here, so there is no more to be had than what came: treat it like a broken read.
            Ok(Opened::NeedBytes(_)) => self.reread(slot, "it ends early", now),
            Err(error @ (FormatError::FeatureLevel(_) | FormatError::Version(_))) => {
                self.halt(format!("slot {slot}: {error}"));
            }
            Err(error) => self.reread(slot, &error.to_string(), now),
        }
    }

    fn reread(&mut self, slot: Slot, why: &str, now: Duration) {
        let tries = self.bad_crc.entry(slot).or_default();
        *tries += 1;
        if *tries >= CRC_TRIES {
            self.halt(format!(
                "slot {slot} cannot be read: {why}; run `lakebed doctor` on the store and look at this object"
            ));
        } else {
            let retry_at = Some(now + backoff(*tries));
            self.gets.insert(slot, Get { op: self.ops, retry_at, tries: *tries });
        }
    }

    /// What a slot holds is known now; it may be this node's own.
    fn learn(&mut self, slot: Slot, content: SlotContent, body: Option<Body>) {
        if let Some(flight) = self.flights.get_mut(&slot) {
            let mine = matches!(&content, SlotContent::Commit(c) if c.id == flight.id());
            if mine {
                flight.step = Step::Stored;
                return;
            }
            self.lose(slot);
        }
        self.foreign.insert(slot, Foreign { content, body });
    }

    /// Rule 2: the lost slot's groups and all later ones go again, one slot at a time until all that was in flight has an outcome.
    fn lose(&mut self, slot: Slot) {
        self.counters.conflicts += 1;
        let Some(flight) = self.flights.remove(&slot) else { return };
        self.serial_until = self.serial_until.max(self.next_to_send - 1);
        if let Some(first) = flight.first_group() {
            self.next_to_send = self.next_to_send.min(first);
        }
        self.ahead = self.ahead.max(PIPELINE);
    }
}
