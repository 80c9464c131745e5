//! One consumer group of either protocol: what the driver in the broker holds.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;

use crate::GroupError;
use crate::classic::Classic;
use crate::commit::CommitPermit;
use crate::config::Config;
use crate::consumer::Consumer;
use crate::core::Core;
use crate::describe::{Description, GroupState, Members};
use crate::effect::{
    ConsumerHeartbeat, Effect, JoinRefused, JoinRequest, Kind, Leaving, MemberRef, Persist, PersistOutcome, Reply,
    SyncRequest, Token,
};
use crate::outbox::Outbox;
use crate::persisted::{PersistedGroup, RestoreError};
use crate::topics::Topics;

/// A group as it is in the memory of its owner. Every call returns what is to be done then, in this order.
#[derive(Debug)]
pub struct Group {
    core: Core,
    body: Body,
    /// The claim is gone.
    lost: bool,
}

#[derive(Debug)]
enum Body {
    Simple,
    Classic(Classic),
    Consumer(Consumer),
}

impl Group {
    /// A group as the manifest holds it: a new one has [`Kind::Simple`], generation 0 and no metadata. Members go on with the same
    /// generation and assignments, and have a full session time-out from `now`.
    pub fn restore(
        config: Config,
        kind: Kind,
        generation: i32,
        metadata: &[u8],
        now: Duration,
    ) -> Result<Group, RestoreError> {
        let core = Core { config, generation, out: Outbox::new(generation) };
        let PersistedGroup { classic, consumer } = PersistedGroup::decode(metadata)?;
        let body = match (kind, classic, consumer) {
            (Kind::Simple, None, None) => Body::Simple,
            (Kind::Classic, Some(classic), None) => Body::Classic(Classic::restore(classic, now)?),
            (Kind::Consumer, None, Some(consumer)) => Body::Consumer(Consumer::restore(consumer, &core, now)?),
            _ => return Err(RestoreError::Invalid("it is not of the group's kind")),
        };
        Ok(Group { core, body, lost: false })
    }

    /// JoinGroup. Answered once the generation is complete and written.
    #[must_use]
    pub fn join(&mut self, token: Token, request: JoinRequest, now: Duration) -> Vec<Effect> {
        let refused = if self.lost {
            Some(GroupError::NotCoordinator)
        } else if matches!(&self.body, Body::Consumer(consumer) if !consumer.members.is_empty()) {
            Some(GroupError::InconsistentGroupProtocol)
        } else {
            None
        };
        if let Some(error) = refused {
            self.core.out.reply(token, Reply::Join(Err(JoinRefused { error, member_id: request.member_id })));
            return self.finish(now);
        }
        if !matches!(self.body, Body::Classic(_)) {
            self.body = Body::Classic(Classic::new());
        }
        if let Body::Classic(classic) = &mut self.body {
            classic.join(&mut self.core, token, request, now);
        }
        self.finish(now)
    }

    /// SyncGroup. Answered once the leader's assignments are written.
    #[must_use]
    pub fn sync(&mut self, token: Token, request: SyncRequest, now: Duration) -> Vec<Effect> {
        match &mut self.body {
            Body::Classic(classic) if !self.lost => classic.sync(&mut self.core, token, request, now),
            _ => {
                let error = self.no_classic_member();
                self.core.out.reply(token, Reply::Sync(Err(error)));
            }
        }
        self.finish(now)
    }

    /// Heartbeat of the classic protocol.
    pub fn heartbeat(&mut self, who: &MemberRef, now: Duration) -> Result<(), GroupError> {
        match &mut self.body {
            Body::Classic(classic) if !self.lost => classic.heartbeat(&self.core, who, now),
            _ => Err(self.no_classic_member()),
        }
    }

    /// LeaveGroup; also how an administrator takes members out.
    #[must_use]
    pub fn leave(&mut self, token: Token, leaving: &[Leaving], now: Duration) -> Vec<Effect> {
        match &mut self.body {
            _ if self.lost => self.core.out.reply(token, Reply::Leave(Err(GroupError::NotCoordinator))),
            Body::Classic(classic) => classic.leave(&mut self.core, token, leaving, now),
            _ => {
                let unknown = leaving.iter().map(|_| Err(GroupError::UnknownMemberId)).collect();
                self.core.out.reply(token, Reply::Leave(Ok(unknown)));
            }
        }
        self.finish(now)
    }

    /// ConsumerGroupHeartbeat (KIP-848). Answered once what it says is written; at once if it changes nothing.
    #[must_use]
    pub fn consumer_heartbeat(
        &mut self,
        token: Token,
        request: ConsumerHeartbeat,
        topics: &dyn Topics,
        now: Duration,
    ) -> Vec<Effect> {
        let refused = match &self.body {
            _ if self.lost => Some(GroupError::NotCoordinator),
            Body::Classic(classic) if !classic.is_vacant() => Some(GroupError::GroupIdNotFound),
            _ => None,
        };
        if let Some(error) = refused {
            self.core.out.reply(token, Reply::ConsumerHeartbeat(Err(error)));
            return self.finish(now);
        }
        if !matches!(self.body, Body::Consumer(_)) {
            self.body = Body::Consumer(Consumer::new(self.core.generation));
        }
        if let Body::Consumer(consumer) = &mut self.body {
            consumer.heartbeat(&mut self.core, token, request, topics, now);
        }
        self.finish(now)
    }

    /// Whether this member may commit offsets (OffsetCommit); generation −1 without a member id is a consumer that assigns itself.
    pub fn check_commit(&mut self, who: &MemberRef, now: Duration) -> Result<CommitPermit<'_>, GroupError> {
        if self.lost {
            return Err(GroupError::NotCoordinator);
        }
        let generation = self.core.generation;
        match &mut self.body {
            Body::Simple if who.generation < 0 => Ok(CommitPermit::all(generation)),
            Body::Simple => Err(GroupError::IllegalGeneration),
            Body::Classic(classic) => {
                classic.check_commit(&self.core, who, now).map(|()| CommitPermit::all(generation))
            }
            Body::Consumer(consumer) => consumer.check_commit(generation, who),
        }
    }

    /// What came of the last [`Effect::Persist`].
    #[must_use]
    pub fn persisted(&mut self, outcome: PersistOutcome, now: Duration) -> Vec<Effect> {
        let told = self.core.out.persisted(outcome, now.saturating_add(self.core.config.persist_retry));
        for member in told {
            match &mut self.body {
                Body::Simple => {}
                Body::Classic(classic) => classic.touch(&self.core, &member, now),
                Body::Consumer(consumer) => consumer.touch(&self.core, &member, now),
            }
        }
        if outcome == PersistOutcome::Lost {
            self.lose();
        }
        self.finish(now)
    }

    /// Does what [`deadline`](Self::deadline) announced.
    #[must_use]
    pub fn tick(&mut self, now: Duration) -> Vec<Effect> {
        match &mut self.body {
            _ if self.lost => {}
            Body::Simple => {}
            Body::Classic(classic) => classic.tick(&mut self.core, now),
            Body::Consumer(consumer) => consumer.tick(&mut self.core, now),
        }
        self.finish(now)
    }

    /// When [`tick`](Self::tick) is to be called at the latest.
    pub fn deadline(&self) -> Option<Duration> {
        let members = match &self.body {
            _ if self.lost => return None,
            Body::Simple => None,
            Body::Classic(classic) => classic.deadline(),
            Body::Consumer(consumer) => consumer.deadline(),
        };
        members.into_iter().chain(self.core.out.deadline()).min()
    }

    /// The claim is gone: answers everybody who waits with NOT_COORDINATOR.
    #[must_use]
    pub fn close(mut self) -> Vec<Effect> {
        self.lose();
        self.core.out.take()
    }

    pub fn describe(&self) -> Description {
        match &self.body {
            Body::Simple => {
                Description { state: GroupState::Empty, generation: self.core.generation, members: Members::Simple }
            }
            Body::Classic(classic) => classic.describe(&self.core),
            Body::Consumer(consumer) => consumer.describe(&self.core),
        }
    }

    pub fn kind(&self) -> Kind {
        match &self.body {
            Body::Simple => Kind::Simple,
            Body::Classic(_) => Kind::Classic,
            Body::Consumer(_) => Kind::Consumer,
        }
    }

    pub fn members(&self) -> usize {
        match &self.body {
            Body::Simple => 0,
            Body::Classic(classic) => classic.members.len(),
            Body::Consumer(consumer) => consumer.members.len(),
        }
    }

    /// The shortest session time-out of its members; `None` without members.
    pub fn least_session(&self) -> Option<Duration> {
        match &self.body {
            Body::Simple => None,
            Body::Classic(classic) => classic.members.values().map(|m| m.session_timeout).min(),
            Body::Consumer(c) => (!c.members.is_empty()).then_some(self.core.config.consumer_session_timeout),
        }
    }

    /// Nothing is lost if this is dropped from memory: no members, nobody about to join, all written.
    pub fn is_idle(&self) -> bool {
        let vacant = match &self.body {
            Body::Simple => true,
            Body::Classic(classic) => classic.is_vacant(),
            Body::Consumer(consumer) => consumer.members.is_empty(),
        };
        vacant && self.core.out.is_clean()
    }

    /// Whether a member subscribes to the topic, so that its offsets are not to be deleted (OffsetDelete).
    pub fn subscribes(&self, topic: &str, topics: &dyn Topics) -> bool {
        match &self.body {
            Body::Simple => false,
            Body::Classic(classic) => classic.subscribes(topic),
            Body::Consumer(consumer) => consumer.subscribes(topic, topics),
        }
    }

    fn no_classic_member(&self) -> GroupError {
        if self.lost { GroupError::NotCoordinator } else { GroupError::UnknownMemberId }
    }

    fn lose(&mut self) {
        self.lost = true;
        let _told = self.core.out.refuse_all(GroupError::NotCoordinator);
        if let Body::Classic(classic) = &mut self.body {
            classic.refuse_waiting(&mut self.core, GroupError::NotCoordinator);
        }
    }

    fn finish(&mut self, now: Duration) -> Vec<Effect> {
        if !self.lost && self.core.out.wants_write(now) {
            let (classic, consumer) = match &self.body {
                Body::Simple => (None, None),
                Body::Classic(classic) => (Some(classic.to_persisted()), None),
                Body::Consumer(consumer) => (None, Some(consumer.to_persisted())),
            };
            let metadata: Bytes = PersistedGroup { classic, consumer }.encode_to_vec().into();
            let (kind, members) = (self.kind(), self.members() as u32);
            self.core.out.write(Persist {
                from_generation: 0,
                generation: self.core.generation,
                kind,
                members,
                metadata,
            });
        }
        self.core.out.take()
    }
}
