//! One consumer group in the memory of its owner: a task that feeds the state machine and does what it asks for.
//!
//! It ends when the claim is gone, when this node's own commits no longer get through in time, or when nothing has been asked of an idle group for a
//! while. Then all memory of the group goes with it: the next request starts from the manifest's state.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, OptionFuture};
use lakebed_groups::{
    ConsumerHeartbeat, Description, Effect, Group, GroupError, JoinRequest, Leaving, MemberRef, Persist,
    PersistOutcome, Reply, SyncRequest, Token,
};
use lakebed_manifest::{Receipt, SubmitError, Ticket};
use lakebed_record::ops::{CommitOffsets, DeleteGroup, DeleteOffsets, GroupRef, OpKind, OpOutcome, WriteGroup};
use lakebed_record::{GroupClaim, GroupKey, TopicPartition};
use tokio::sync::{mpsc, oneshot};

use super::Inner;
use super::offsets::{self, CommitOffset, CommitResult};
use super::topics::View;

/// An idle group of which nothing was asked for so long is forgotten.
const IDLE: Duration = Duration::from_secs(60);
/// How often it is looked whether the claim still stands when nothing else happens.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// What is asked of the owner of a group.
pub(super) enum Call {
    Join(JoinRequest, oneshot::Sender<Reply>),
    Sync(SyncRequest, oneshot::Sender<Reply>),
    Leave(Vec<Leaving>, oneshot::Sender<Reply>),
    ConsumerHeartbeat(ConsumerHeartbeat, oneshot::Sender<Reply>),
    Heartbeat(MemberRef, oneshot::Sender<Result<(), GroupError>>),
    Commit(MemberRef, Vec<CommitOffset>, oneshot::Sender<Result<Vec<CommitResult>, GroupError>>),
    /// Whether this member may read offsets at the epoch that it names.
    CheckMember(MemberRef, oneshot::Sender<Result<(), GroupError>>),
    /// Of each partition: whether it was deleted, which it is not while a member subscribes to the topic.
    DeleteOffsets(Vec<(String, TopicPartition)>, oneshot::Sender<Result<Vec<bool>, GroupError>>),
    Delete(oneshot::Sender<Result<(), DeleteError>>),
    Describe(oneshot::Sender<Description>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteError {
    #[error("the group has members")]
    NonEmpty,
    #[error(transparent)]
    Group(#[from] GroupError),
}

#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
enum Event {
    Asked(Call),
    Written(PersistOutcome),
    Time,
}

pub(super) struct Owned {
    inner: Arc<Inner>,
    key: GroupKey,
    claim: GroupClaim,
    group: Group,
    waiting: HashMap<Token, oneshot::Sender<Reply>>,
    next_token: u64,
    writing: OptionFuture<BoxFuture<'static, PersistOutcome>>,
    asked_at: Duration,
}

impl Owned {
    pub fn new(inner: Arc<Inner>, key: GroupKey, claim: GroupClaim, group: Group) -> Owned {
        let asked_at = inner.now();
        let (waiting, writing) = (HashMap::new(), OptionFuture::default());
        Owned { inner, key, claim, group, waiting, next_token: 0, writing, asked_at }
    }

    pub async fn run(mut self, mut inbox: mpsc::Receiver<Call>) {
        loop {
            let now = self.inner.now();
            if !self.holds() || (self.group.is_idle() && now >= self.asked_at + IDLE) {
                break;
            }
            self.inner.beat.set(&self.key, self.beat_within());
            let wake = self.group.deadline().map_or(now + CHECK_EVERY, |at| at.min(now + CHECK_EVERY));
            let (clock, nap) = (self.inner.env.clock.clone(), wake.saturating_sub(now));
            let event = tokio::select! {
                biased;
                Some(outcome) = &mut self.writing => {
                    self.writing = OptionFuture::default();
                    Event::Written(outcome)
                }
                call = inbox.recv() => match call {
                    Some(call) => Event::Asked(call),
                    None => break,
                },
                () = clock.sleep(nap.max(Duration::from_millis(1))) => Event::Time,
            };
            // What is asked of an owner that has lost its claim meanwhile must not be answered from memory.
            match event {
                Event::Asked(call) if self.holds() => self.asked(call),
                Event::Asked(_) => break,
                Event::Written(outcome) => {
                    let effects = self.group.persisted(outcome, self.inner.now());
                    self.perform(effects);
                    if outcome == PersistOutcome::Lost {
                        break;
                    }
                }
                Event::Time => self.tick(),
            }
        }
        self.inner.beat.set(&self.key, None);
        // Requests that are in the inbox are answered by dropping them.
        drop(inbox);
        for effect in self.group.close() {
            if let Effect::Reply(token, reply) = effect
                && let Some(answer) = self.waiting.remove(&token)
            {
                let _gone = answer.send(reply);
            }
        }
    }

    fn tick(&mut self) {
        let now = self.inner.now();
        if self.group.deadline().is_some_and(|at| at <= now) {
            let effects = self.group.tick(now);
            self.perform(effects);
        }
    }

    /// The claim is this node's, and what this node commits gets through: a node that is cut off from the store learns late that another one
    /// took the group.
    fn holds(&self) -> bool {
        let manifest = &self.inner.manifest;
        let claimed = manifest.read(|s| s.consumer_group(&self.key).is_some_and(|g| g.claim == self.claim));
        let heard = || manifest.heard(self.claim.owner);
        claimed
            && manifest.incarnation() == self.claim.owner
            && self.lag_limit().is_none_or(|limit| heard().is_some_and(|ago| ago < limit))
    }

    /// Within what time the owner must have heard of itself; nothing while the group has no members.
    fn lag_limit(&self) -> Option<Duration> {
        Some((self.group.least_session()? / 3).min(Duration::from_secs(7)))
    }

    /// Commits at least so often keep within that, with room for a slow one.
    fn beat_within(&self) -> Option<Duration> {
        let limit = self.lag_limit()?;
        Some(limit.saturating_sub(Duration::from_secs(2)).max(limit / 2))
    }

    fn token(&mut self, answer: oneshot::Sender<Reply>) -> Token {
        self.next_token += 1;
        let token = Token(self.next_token);
        self.waiting.insert(token, answer);
        token
    }

    fn asked(&mut self, call: Call) {
        let now = self.inner.now();
        self.asked_at = now;
        // Time that has come acts first: a member that is over must not be kept by being asked late.
        self.tick();
        match call {
            Call::Join(request, answer) => {
                let token = self.token(answer);
                let effects = self.group.join(token, request, now);
                self.perform(effects);
            }
            Call::Sync(request, answer) => {
                let token = self.token(answer);
                let effects = self.group.sync(token, request, now);
                self.perform(effects);
            }
            Call::Leave(leaving, answer) => {
                let token = self.token(answer);
                let effects = self.group.leave(token, &leaving, now);
                self.perform(effects);
            }
            Call::ConsumerHeartbeat(request, answer) => {
                let token = self.token(answer);
                let topics = View { manifest: &self.inner.manifest, namespace: &self.key.namespace };
                let effects = self.group.consumer_heartbeat(token, request, &topics, now);
                self.perform(effects);
            }
            Call::Heartbeat(who, answer) => {
                let _gone = answer.send(self.group.heartbeat(&who, now));
            }
            Call::CheckMember(who, answer) => {
                let _gone = answer.send(self.group.check_commit(&who, now).map(drop));
            }
            Call::Commit(who, offsets, answer) => self.commit(&who, offsets, answer),
            Call::DeleteOffsets(partitions, answer) => self.delete_offsets(partitions, answer),
            Call::Delete(answer) => self.delete(answer),
            Call::Describe(answer) => {
                let _gone = answer.send(self.group.describe());
            }
        }
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Reply(token, reply) => {
                    if let Some(answer) = self.waiting.remove(&token) {
                        let _gone = answer.send(reply);
                    }
                }
                Effect::Persist(persist) => self.write(persist),
            }
        }
    }

    fn write(&mut self, persist: Persist) {
        let op = WriteGroup {
            group: Some(GroupRef::from(&self.key)),
            epoch: self.claim.epoch,
            from_generation: persist.from_generation,
            generation: persist.generation,
            kind: persist.kind.into(),
            members: persist.members,
            metadata: persist.metadata.into(),
        };
        let ticket = self.inner.manifest.submit(vec![OpKind::WriteGroup(op).into()], Vec::new());
        let key = self.key.clone();
        let outcome = async move {
            match only(ticket.await) {
                Some(OpOutcome::Done) => PersistOutcome::Done,
                Some(outcome @ (OpOutcome::OutOfSpace | OpOutcome::Refused)) => {
                    tracing::warn!(group = %key, ?outcome, "a consumer group's state was not taken");
                    PersistOutcome::NotWritten
                }
                _ => PersistOutcome::Lost,
            }
        };
        self.writing = Some(outcome.boxed()).into();
    }

    fn commit(
        &mut self,
        who: &MemberRef,
        offsets: Vec<CommitOffset>,
        answer: oneshot::Sender<Result<Vec<CommitResult>, GroupError>>,
    ) {
        let permit = match self.group.check_commit(who, self.inner.now()) {
            Ok(permit) => permit,
            Err(error) => {
                let _gone = answer.send(Err(error));
                return;
            }
        };
        let allowed: Vec<bool> = offsets.iter().map(|o| permit.allows(&o.at)).collect();
        let generation = Some(permit.generation);
        let taken = offsets.iter().zip(&allowed).filter(|(_, allowed)| **allowed).map(|(o, _)| o);
        let topics = offsets::to_ops(taken);
        let (group, epoch) = (Some(GroupRef::from(&self.key)), self.claim.epoch);
        let op = CommitOffsets { group, epoch, generation, topics };
        let ticket = self.inner.manifest.submit_within(
            vec![OpKind::CommitOffsets(op).into()],
            Vec::new(),
            self.inner.commit_patience,
        );
        answer_later(ticket, answer, move |outcome| match outcome {
            Some(OpOutcome::OffsetsCommitted(outcomes)) => Ok(offsets::to_results(&offsets, &allowed, &outcomes)),
            // The group went on to another generation before this commit applied.
            Some(OpOutcome::IllegalGeneration { .. }) => Err(GroupError::RebalanceInProgress),
            Some(OpOutcome::OutOfSpace) => Err(GroupError::CoordinatorNotAvailable),
            _ => Err(GroupError::NotCoordinator),
        });
    }

    fn delete_offsets(
        &mut self,
        partitions: Vec<(String, TopicPartition)>,
        answer: oneshot::Sender<Result<Vec<bool>, GroupError>>,
    ) {
        let view = View { manifest: &self.inner.manifest, namespace: &self.key.namespace };
        let free: Vec<bool> = partitions.iter().map(|(topic, _)| !self.group.subscribes(topic, &view)).collect();
        let deleted = partitions.iter().zip(&free).filter(|(_, free)| **free).map(|((_, tp), _)| *tp);
        let topics = lakebed_record::ops::TopicPartitions::of(deleted);
        let op = DeleteOffsets { group: Some(GroupRef::from(&self.key)), epoch: self.claim.epoch, topics };
        let ticket = self.inner.manifest.submit(vec![OpKind::DeleteOffsets(op).into()], Vec::new());
        answer_later(ticket, answer, move |outcome| match outcome {
            Some(OpOutcome::Done) => Ok(free),
            _ => Err(GroupError::NotCoordinator),
        });
    }

    fn delete(&mut self, answer: oneshot::Sender<Result<(), DeleteError>>) {
        if self.group.members() > 0 {
            let _gone = answer.send(Err(DeleteError::NonEmpty));
            return;
        }
        let op = DeleteGroup { group: Some(GroupRef::from(&self.key)), epoch: self.claim.epoch };
        let ticket = self.inner.manifest.submit(vec![OpKind::DeleteGroup(op).into()], Vec::new());
        answer_later(ticket, answer, |outcome| match outcome {
            Some(OpOutcome::Done) => Ok(()),
            Some(OpOutcome::NonEmpty) => Err(DeleteError::NonEmpty),
            _ => Err(GroupError::NotCoordinator.into()),
        });
    }
}

/// The outcome goes to whoever asked, from a task of its own: the group's task must not wait for it.
fn answer_later<T: Send + 'static>(
    ticket: Ticket,
    answer: oneshot::Sender<T>,
    told: impl FnOnce(Option<OpOutcome>) -> T + Send + 'static,
) {
    tokio::spawn(async move {
        let _gone = answer.send(told(only(ticket.await)));
    });
}

fn only(receipt: Result<Receipt, SubmitError>) -> Option<OpOutcome> {
    receipt.ok()?.outcomes.pop()
}
