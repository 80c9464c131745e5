//! Holds back what may not be said before it is durable.
//!
//! Every change that must outlive this process raises `revision`. One write is under way at a time; it carries the newest revision, so
//! that any number of changes in the meantime cost one more write. A reply that announces state waits until the revision it was made at is
//! written: a client never knows more than a restarted owner would.

use std::collections::VecDeque;
use std::time::Duration;

use crate::GroupError;
use crate::effect::{Effect, JoinRefused, Persist, PersistOutcome, Reply, Token};

#[derive(Debug)]
struct Gated {
    revision: u64,
    token: Token,
    member: String,
    reply: Reply,
}

#[derive(Debug)]
struct InFlight {
    revision: u64,
    generation: i32,
}

#[derive(Debug)]
pub(crate) struct Outbox {
    effects: Vec<Effect>,
    revision: u64,
    written: u64,
    written_generation: i32,
    in_flight: Option<InFlight>,
    retry_at: Option<Duration>,
    gated: VecDeque<Gated>,
}

impl Outbox {
    pub fn new(written_generation: i32) -> Self {
        Self {
            effects: Vec::new(),
            revision: 0,
            written: 0,
            written_generation,
            in_flight: None,
            retry_at: None,
            gated: VecDeque::new(),
        }
    }

    /// Something changed that must be durable before anybody is told of it.
    pub fn changed(&mut self) {
        self.revision += 1;
    }

    pub fn reply(&mut self, token: Token, reply: Reply) {
        self.effects.push(Effect::Reply(token, reply));
    }

    /// Answers once the state as it is now is written. `member` is whom it speaks to: see [`withdraw`](Self::withdraw).
    pub fn reply_when_written(&mut self, token: Token, member: &str, reply: Reply) {
        if self.revision == self.written {
            return self.reply(token, reply);
        }
        self.gated.push_back(Gated { revision: self.revision, token, member: member.into(), reply });
    }

    /// What was about to be said to this member holds no longer.
    pub fn withdraw(&mut self, member: &str, error: GroupError) {
        let (withdrawn, kept) = self.gated.drain(..).partition::<VecDeque<_>, _>(|g| g.member == member);
        self.gated = kept;
        for gated in withdrawn {
            self.effects.push(Effect::Reply(gated.token, refusal(&gated.reply, &gated.member, error)));
        }
    }

    /// Whether the member is being kept waiting by us, so that its silence is no fault of its own.
    pub fn holds_reply_for(&self, member: &str) -> bool {
        self.gated.iter().any(|g| g.member == member)
    }

    /// True if a write is due.
    pub fn wants_write(&self, now: Duration) -> bool {
        self.in_flight.is_none() && self.revision > self.written && self.retry_at.is_none_or(|at| at <= now)
    }

    /// Everything is written and nobody waits.
    pub fn is_clean(&self) -> bool {
        self.in_flight.is_none() && self.revision == self.written && self.gated.is_empty()
    }

    /// When a write that failed is to be tried again.
    pub fn deadline(&self) -> Option<Duration> {
        if self.in_flight.is_none() && self.revision > self.written { self.retry_at } else { None }
    }

    pub fn write(&mut self, mut persist: Persist) {
        persist.from_generation = self.written_generation;
        self.in_flight = Some(InFlight { revision: self.revision, generation: persist.generation });
        self.effects.push(Effect::Persist(persist));
    }

    /// Takes the outcome of the write under way. Returns the members who got their answer by it, or an error in its place.
    pub fn persisted(&mut self, outcome: PersistOutcome, retry_at: Duration) -> Vec<String> {
        let Some(flight) = self.in_flight.take() else { return Vec::new() };
        match outcome {
            PersistOutcome::Done => {
                self.retry_at = None;
                self.written = flight.revision;
                self.written_generation = flight.generation;
                let free = self.gated.partition_point(|g| g.revision <= flight.revision);
                let mut told = Vec::with_capacity(free);
                for gated in self.gated.drain(..free) {
                    self.effects.push(Effect::Reply(gated.token, gated.reply));
                    told.push(gated.member);
                }
                told
            }
            PersistOutcome::NotWritten => {
                self.retry_at = Some(retry_at);
                self.refuse_all(GroupError::CoordinatorNotAvailable)
            }
            PersistOutcome::Lost => self.refuse_all(GroupError::NotCoordinator),
        }
    }

    pub fn refuse_all(&mut self, error: GroupError) -> Vec<String> {
        let mut told = Vec::with_capacity(self.gated.len());
        for gated in self.gated.drain(..) {
            self.effects.push(Effect::Reply(gated.token, refusal(&gated.reply, &gated.member, error)));
            told.push(gated.member);
        }
        told
    }

    pub fn take(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }
}

/// The error in the shape of the answer it stands in for.
fn refusal(reply: &Reply, member: &str, error: GroupError) -> Reply {
    match reply {
        Reply::Join(_) => Reply::Join(Err(JoinRefused { error, member_id: member.into() })),
        Reply::Sync(_) => Reply::Sync(Err(error)),
        Reply::Leave(_) => Reply::Leave(Err(error)),
        Reply::ConsumerHeartbeat(_) => Reply::ConsumerHeartbeat(Err(error)),
    }
}
