//! Consumer groups: which node serves one, and what that node keeps of it in memory.
//!
//! The claim, the generation and the offsets are in the log; membership is in the memory of the claim's owner ([`owned`]). A crash of the owner loses
//! nothing that a client was told: another node, or the same one again, claims the group and goes on with its generation.

mod beat;
mod offsets;
mod owned;
mod place;
mod topics;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lakebed_groups::{
    Config, ConsumerAnswer, ConsumerHeartbeat, Group, JoinRefused, JoinRequest, Joined, Kind, Leaving, Reply,
    RestoreError, SyncRequest, Synced,
};
use lakebed_manifest::state::ConsumerGroup;
use lakebed_manifest::{FollowGuard, Manifest, State};
use lakebed_record::ops::{ClaimGroup, GroupRef, OpKind, OpOutcome};
use lakebed_record::{GroupClaim, GroupId, GroupKey, Incarnation, Namespace, TopicPartition};
use lakebed_store::env::Env;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use self::beat::Beat;
use self::owned::{Call, Owned};
use self::place::{Peer, Place};
use crate::api::NodeInfo;

pub use lakebed_groups::{Description, GroupError, GroupState, MemberRef, Members};
pub use lakebed_manifest::state::{CommittedOffset, MAX_OFFSET_METADATA};

pub use self::offsets::{CommitOffset, CommitRefused, CommitResult};
pub use self::owned::DeleteError;

/// Calls that wait for a group's task; past it callers wait.
const INBOX: usize = 256;
/// Groups of which a claim may be under way at once are told apart by this many locks.
const CLAIM_LOCKS: usize = 64;
/// A claim that somebody else won is looked at again so often, before the client is to ask again.
const CLAIM_TRIES: usize = 3;
/// How long this node listens to the log after it was asked for what another one owns.
const LISTEN: Duration = Duration::from_secs(30);

/// Cheap to clone.
#[derive(Clone)]
pub struct Groups {
    inner: Arc<Inner>,
}

struct Inner {
    manifest: Manifest,
    env: Env,
    config: Config,
    /// `host:port` that this node tells clients.
    address: String,
    /// How long commits of offsets may wait for company.
    commit_patience: Duration,
    owned: Mutex<HashMap<GroupKey, Task>>,
    claiming: Vec<tokio::sync::Mutex<()>>,
    beat: Arc<Beat>,
    listening: Mutex<Option<(FollowGuard, Duration)>>,
}

/// A group's task, and the claim for which it runs.
struct Task {
    claim: GroupClaim,
    calls: mpsc::Sender<Call>,
}

impl Inner {
    fn now(&self) -> Duration {
        self.env.clock.monotonic()
    }
}

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedGroup {
    pub id: GroupId,
    pub description: Description,
}

/// Whether a group that is not there may come to be by what is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IfAbsent {
    Create,
    Refuse,
}

impl Groups {
    pub(crate) fn new(
        manifest: Manifest,
        env: Env,
        config: Config,
        address: String,
        commit_patience: Duration,
    ) -> Groups {
        let inner = Inner {
            manifest,
            env,
            config,
            address,
            commit_patience,
            owned: Mutex::default(),
            claiming: (0..CLAIM_LOCKS).map(|_| tokio::sync::Mutex::default()).collect(),
            beat: Arc::default(),
            listening: Mutex::default(),
        };
        let groups = Groups { inner: Arc::new(inner) };
        if groups.has_former_self() {
            groups.listen();
        }
        groups
    }

    /// Gives the signs of life, until it is dropped.
    pub(crate) fn beating(&self) -> impl Future<Output = ()> + Send + use<> {
        let inner = &self.inner;
        beat::run(Arc::clone(&inner.beat), inner.manifest.clone(), inner.env.clone())
    }

    /// The node to ask for the group (FindCoordinator), as this node knows it: who claims in vain learns better, and whoever asks before
    /// anything else, on the connection that it fetches over, must not wait for a store that is away.
    pub fn coordinator(&self, id: &GroupId) -> Result<NodeInfo, GroupError> {
        let key = key_of(id);
        let at = match self.place(&key) {
            Place::Mine(_) => self.me(),
            Place::Other(node) => {
                self.listen();
                node
            }
            Place::Claimable(_) => {
                self.listen();
                let peers = self.peers();
                place::rendezvous(&key, self.me(), peers.into_iter())
            }
        };
        self.info(at).ok_or(GroupError::CoordinatorNotAvailable)
    }

    pub async fn join(&self, id: &GroupId, request: JoinRequest) -> Result<Joined, JoinRefused> {
        let member_id = request.member_id.clone();
        // Who has a member id has it of a group that there is.
        let if_absent = if member_id.is_empty() { IfAbsent::Create } else { IfAbsent::Refuse };
        let refused = |error| JoinRefused { error, member_id };
        match self.ask(id, if_absent, |answer| Call::Join(request, answer)).await.map_err(refused.clone())? {
            Reply::Join(result) => result,
            _ => Err(refused(GroupError::CoordinatorNotAvailable)),
        }
    }

    pub async fn sync(&self, id: &GroupId, request: SyncRequest) -> Result<Synced, GroupError> {
        match self.ask(id, IfAbsent::Refuse, |answer| Call::Sync(request, answer)).await? {
            Reply::Sync(result) => result,
            _ => Err(GroupError::CoordinatorNotAvailable),
        }
    }

    pub async fn heartbeat(&self, id: &GroupId, who: MemberRef) -> Result<(), GroupError> {
        self.ask(id, IfAbsent::Refuse, |answer| Call::Heartbeat(who, answer)).await?
    }

    /// One result for each that is to leave.
    pub async fn leave(&self, id: &GroupId, leaving: Vec<Leaving>) -> Result<Vec<Result<(), GroupError>>, GroupError> {
        match self.ask(id, IfAbsent::Refuse, |answer| Call::Leave(leaving, answer)).await? {
            Reply::Leave(result) => result,
            _ => Err(GroupError::CoordinatorNotAvailable),
        }
    }

    pub async fn consumer_heartbeat(
        &self,
        id: &GroupId,
        request: ConsumerHeartbeat,
    ) -> Result<ConsumerAnswer, GroupError> {
        let if_absent = if request.member_epoch == 0 { IfAbsent::Create } else { IfAbsent::Refuse };
        match self.ask(id, if_absent, |answer| Call::ConsumerHeartbeat(request, answer)).await? {
            Reply::ConsumerHeartbeat(result) => result,
            _ => Err(GroupError::CoordinatorNotAvailable),
        }
    }

    /// One result per offset. Answered once they are in the log.
    pub async fn commit(
        &self,
        id: &GroupId,
        who: MemberRef,
        offsets: Vec<CommitOffset>,
    ) -> Result<Vec<CommitResult>, GroupError> {
        let if_absent = if who.generation < 0 { IfAbsent::Create } else { IfAbsent::Refuse };
        let absent_error = |error| match error {
            GroupError::UnknownMemberId if who.generation >= 0 => GroupError::IllegalGeneration,
            other => other,
        };
        let asked = self.ask(id, if_absent, |answer| Call::Commit(who.clone(), offsets, answer)).await;
        asked.map_err(absent_error)?
    }

    /// What the group has committed, of these partitions or of all, as of now (read barrier); `None` where it has nothing. A
    /// consumer that names its member epoch (KIP-848) is checked for it.
    pub async fn committed(
        &self,
        id: &GroupId,
        who: Option<MemberRef>,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<Vec<(TopicPartition, Option<CommittedOffset>)>, GroupError> {
        if let Some(who) = who {
            self.ask(id, IfAbsent::Refuse, |answer| Call::CheckMember(who, answer)).await??;
        }
        self.barrier().await?;
        let key = key_of(id);
        Ok(self.inner.manifest.read(|s| {
            let group = s.consumer_group(&key);
            match (partitions, group) {
                (Some(asked), group) => {
                    asked.iter().map(|tp| (*tp, group.and_then(|g| g.offsets.get(*tp).cloned()))).collect()
                }
                (None, Some(group)) => group.offsets.iter().map(|(tp, o)| (tp, Some(o.clone()))).collect(),
                (None, None) => Vec::new(),
            }
        }))
    }

    /// Of each partition: whether its offset was deleted, which it is not while a member subscribes to the topic.
    pub async fn delete_offsets(
        &self,
        id: &GroupId,
        partitions: Vec<(String, TopicPartition)>,
    ) -> Result<Vec<bool>, GroupError> {
        self.ask_known(id, |answer| Call::DeleteOffsets(partitions, answer)).await?
    }

    pub async fn delete(&self, id: &GroupId) -> Result<(), DeleteError> {
        self.ask_known(id, Call::Delete).await?
    }

    pub async fn describe(&self, id: &GroupId) -> Result<Description, GroupError> {
        self.ask_known(id, Call::Describe).await
    }

    /// Groups that this node serves, or would serve; as it knows them.
    pub async fn list(&self) -> Vec<ListedGroup> {
        let peers = self.peers();
        let me = self.me();
        let ours = Namespace::default();
        let here: Vec<(GroupKey, Stored)> = self.inner.manifest.read(|s| {
            let is_here = |key: &GroupKey| match self.place_in(s, key) {
                Place::Mine(_) => true,
                Place::Claimable(_) => place::rendezvous(key, me, peers.iter().copied()) == me,
                Place::Other(_) => false,
            };
            let here = s.consumer_groups().filter(|(key, _)| key.namespace == ours && is_here(key));
            here.map(|(key, group)| (key.clone(), Stored::of(group))).collect()
        });
        let mut listed = Vec::new();
        for (key, stored) in here {
            let description = match self.describe_in_memory(&key).await {
                Some(description) => description,
                None => stored.describe(),
            };
            listed.push(ListedGroup { id: key.id, description });
        }
        listed
    }

    /// The first ids behind this one in the order of their bytes, whichever node serves the groups; as this node knows them.
    pub fn ids_behind(&self, after: &str, most: usize) -> Vec<GroupId> {
        let ours = Namespace::default();
        let mut ids: Vec<GroupId> = self.inner.manifest.read(|s| {
            let behind = s.consumer_groups().filter(|(key, _)| key.namespace == ours && key.id.as_str() > after);
            behind.map(|(key, _)| key.id.clone()).collect()
        });
        ids.sort_unstable();
        ids.truncate(most);
        ids
    }

    /// As this node knows it.
    pub fn exists(&self, id: &GroupId) -> bool {
        self.inner.manifest.read(|s| s.consumer_group(&key_of(id)).is_some())
    }

    /// Random bits, for the id of a new member.
    pub fn entropy(&self) -> u128 {
        self.inner.env.entropy.u128()
    }

    /// How many groups there are, and the bytes of their ids.
    pub fn totals(&self) -> (usize, usize) {
        self.inner.manifest.read(|s| {
            s.consumer_groups().fold((0, 0), |(groups, bytes), (key, _)| (groups + 1, bytes + key.id.as_str().len()))
        })
    }

    /// Bytes of what is stored of the group besides its offsets, as this node knows it.
    pub fn stored_bytes(&self, id: &GroupId) -> usize {
        self.inner.manifest.read(|s| s.consumer_group(&key_of(id)).map_or(0, |g| g.metadata.len()))
    }

    /// How many offsets the group has committed, and the bytes of their metadata, as this node knows it.
    pub fn offset_totals(&self, id: &GroupId) -> (usize, usize) {
        self.inner.manifest.read(|s| {
            let offsets = s.consumer_group(&key_of(id)).into_iter().flat_map(|g| g.offsets.iter());
            offsets.fold((0, 0), |(offsets, bytes), (_, o)| (offsets + 1, bytes + o.metadata.len()))
        })
    }

    async fn describe_in_memory(&self, key: &GroupKey) -> Option<Description> {
        let owner = self.at_work(key)?;
        let (answer, told) = oneshot::channel();
        owner.send(Call::Describe(answer)).await.ok()?;
        told.await.ok()
    }

    /// As [`Groups::ask`]; a group that is not there is `GroupIdNotFound`.
    async fn ask_known<T>(&self, id: &GroupId, call: impl FnOnce(oneshot::Sender<T>) -> Call) -> Result<T, GroupError> {
        match self.ask(id, IfAbsent::Refuse, call).await {
            Err(GroupError::UnknownMemberId) => Err(GroupError::GroupIdNotFound),
            other => other,
        }
    }

    /// Asks the group's task, which is started if this node holds the claim or can have it.
    async fn ask<T>(
        &self,
        id: &GroupId,
        if_absent: IfAbsent,
        call: impl FnOnce(oneshot::Sender<T>) -> Call,
    ) -> Result<T, GroupError> {
        let key = key_of(id);
        let owner = self.owner(&key, if_absent).await?;
        let (answer, told) = oneshot::channel();
        // A task that ended in between took the question with it: the client asks again.
        owner.send(call(answer)).await.map_err(|_| GroupError::NotCoordinator)?;
        told.await.map_err(|_| GroupError::NotCoordinator)
    }

    async fn owner(&self, key: &GroupKey, if_absent: IfAbsent) -> Result<mpsc::Sender<Call>, GroupError> {
        if let Some(owner) = self.at_work(key) {
            return Ok(owner);
        }
        let _one_at_a_time = self.inner.claiming[lock_of(key)].lock().await;
        if let Some(owner) = self.at_work(key) {
            return Ok(owner);
        }
        let exists = || self.inner.manifest.read(|s| s.consumer_group(key).is_some());
        if if_absent == IfAbsent::Refuse && !exists() {
            self.barrier().await?;
            if !exists() {
                return Err(GroupError::UnknownMemberId);
            }
        }
        let claim = self.claim(key).await?;
        let group = self.restore(key, claim)?;
        let (sender, inbox) = mpsc::channel(INBOX);
        let mut owned = self.inner.owned.lock();
        owned.retain(|_, task| !task.calls.is_closed());
        owned.insert(key.clone(), Task { claim, calls: sender.clone() });
        tokio::spawn(Owned::new(Arc::clone(&self.inner), key.clone(), claim, group).run(inbox));
        Ok(sender)
    }

    /// The group's task, unless its time is over: that of a group that was deleted or claimed anew ends only when it comes to look.
    fn at_work(&self, key: &GroupKey) -> Option<mpsc::Sender<Call>> {
        let claim = self.inner.manifest.read(|s| s.consumer_group(key).map(|g| g.claim))?;
        let owned = self.inner.owned.lock();
        let task = owned.get(key).filter(|task| task.claim == claim && !task.calls.is_closed())?;
        Some(task.calls.clone())
    }

    async fn claim(&self, key: &GroupKey) -> Result<GroupClaim, GroupError> {
        for _ in 0..CLAIM_TRIES {
            let replaces = match self.place(key) {
                Place::Mine(claim) => return Ok(claim),
                Place::Other(_) => {
                    self.listen();
                    return Err(GroupError::NotCoordinator);
                }
                Place::Claimable(epoch) => epoch,
            };
            let op = ClaimGroup { group: Some(GroupRef::from(key)), replaces };
            let receipt = self.inner.manifest.submit(vec![OpKind::ClaimGroup(op).into()], Vec::new());
            let outcome = self.within_patience(receipt).await?.map_err(|_| GroupError::NotCoordinator)?.outcomes.pop();
            match outcome {
                Some(OpOutcome::GroupClaimed { epoch }) => {
                    tracing::debug!(group = %key, epoch, replaces, "claimed a consumer group");
                }
                Some(OpOutcome::ClaimRefused { .. }) => {}
                other => {
                    tracing::warn!(group = %key, ?other, "a consumer group could not be claimed");
                    return Err(GroupError::CoordinatorNotAvailable);
                }
            }
        }
        Err(GroupError::NotCoordinator)
    }

    fn restore(&self, key: &GroupKey, claim: GroupClaim) -> Result<Group, GroupError> {
        let found = self.inner.manifest.read(|s| s.consumer_group(key).filter(|g| g.claim == claim).map(Stored::of));
        let stored = found.ok_or(GroupError::NotCoordinator)?;
        stored.restore(self.inner.config.clone(), self.inner.now()).map_err(|error| {
            tracing::error!(group = %key, %error, "a consumer group cannot be read");
            GroupError::CoordinatorNotAvailable
        })
    }

    fn place(&self, key: &GroupKey) -> Place {
        self.inner.manifest.read(|s| self.place_in(s, key))
    }

    fn place_in(&self, state: &State, key: &GroupKey) -> Place {
        let claim = state.consumer_group(key).map(|g| g.claim);
        let owner = claim.and_then(|claim| self.peer(state, claim.owner));
        place::place(claim, self.me(), owner)
    }

    /// `None` if it is down.
    fn peer(&self, state: &State, incarnation: Incarnation) -> Option<Peer> {
        let node = state.node(incarnation).filter(|n| n.down_at.is_none())?;
        let silent = self.inner.manifest.silent(incarnation).unwrap_or_default();
        Some(Peer { incarnation, silent, has_my_address: node.kafka_address == self.inner.address })
    }

    fn peers(&self) -> Vec<Peer> {
        self.inner.manifest.read(|s| s.nodes().filter_map(|(incarnation, _)| self.peer(s, incarnation)).collect())
    }

    /// Another incarnation with this node's address is not down: this node listens, so that it soon knows that it is silent.
    fn has_former_self(&self) -> bool {
        let me = self.me();
        self.peers().iter().any(|p| p.has_my_address && p.incarnation != me)
    }

    fn me(&self) -> Incarnation {
        self.inner.manifest.incarnation()
    }

    fn info(&self, incarnation: Incarnation) -> Option<NodeInfo> {
        self.inner.manifest.read(|s| NodeInfo::of(s.node(incarnation)?))
    }

    async fn barrier(&self) -> Result<(), GroupError> {
        let barrier = self.inner.manifest.barrier();
        self.within_patience(barrier).await?.map_err(|_| GroupError::NotCoordinator)
    }

    /// A client that is told to ask again in time finds another node, or the store back.
    async fn within_patience<T>(&self, what: impl Future<Output = T>) -> Result<T, GroupError> {
        let done = self.inner.env.within(crate::fetch::BARRIER_LIMIT, what).await;
        done.ok_or(GroupError::CoordinatorNotAvailable)
    }

    /// Follows the log for a while: only who follows learns that an owner is silent.
    fn listen(&self) {
        let until = self.inner.now() + LISTEN;
        let mut listening = self.inner.listening.lock();
        match listening.as_mut() {
            Some((_, end)) => *end = until,
            None => {
                *listening = Some((self.inner.manifest.follow(), until));
                let inner = Arc::clone(&self.inner);
                tokio::spawn(async move {
                    loop {
                        let left = {
                            let mut listening = inner.listening.lock();
                            match listening.as_ref() {
                                Some((_, end)) if *end > inner.now() => *end - inner.now(),
                                _ => {
                                    *listening = None;
                                    return;
                                }
                            }
                        };
                        inner.env.clock.sleep(left).await;
                    }
                });
            }
        }
    }
}

fn key_of(id: &GroupId) -> GroupKey {
    GroupKey { namespace: Namespace::default(), id: id.clone() }
}

fn lock_of(key: &GroupKey) -> usize {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish() as usize % CLAIM_LOCKS
}

/// What the state has of a group besides its offsets.
struct Stored {
    kind: Kind,
    generation: i32,
    metadata: Bytes,
}

impl Stored {
    fn of(group: &ConsumerGroup) -> Stored {
        Stored { kind: group.kind, generation: group.generation, metadata: group.metadata.clone() }
    }

    fn restore(&self, config: Config, now: Duration) -> Result<Group, RestoreError> {
        Group::restore(config, self.kind, self.generation, &self.metadata, now)
    }

    /// What it tells of a group that nobody has in memory.
    fn describe(&self) -> Description {
        match self.restore(Config::default(), Duration::ZERO) {
            Ok(group) => group.describe(),
            Err(_) => Description { state: GroupState::Empty, generation: self.generation, members: Members::Simple },
        }
    }
}
