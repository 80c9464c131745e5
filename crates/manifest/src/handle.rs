//! The handle that the rest of a node holds, and the task that drives the core against the store.
//!
//! One task owns the core; handles send it requests and share the state behind a lock. Dropping every handle ends the task.

mod task;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use lakebed_record::ops::{Op, OpOutcome};
use lakebed_record::{BrokerId, Incarnation, LogTime, Slot, TopicPartition};
use lakebed_store::env::Env;
use lakebed_store::{Body, Store};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{mpsc, oneshot};

use crate::clean::Cleaning;
use crate::log::Counters;
use crate::open::{self, OpenError};
use crate::state::State;

/// What a node tells the cluster of itself, and how its log behaves.
#[derive(Clone, Debug)]
pub struct ManifestConfig {
    /// `host:port` that Kafka clients are told.
    pub kafka_address: String,
    pub rack: String,
    /// A snapshot is the duty of the author of every slot that is a multiple of this, scaled ([`crate::Waits::slots_apart`]).
    pub snapshot_every: u64,
    /// Believe the store's clock although the host's differs by more than 5 min (4.4).
    pub trust_store_clock: bool,
    /// The log floor, slots and snapshot parts below it, expiry; `None` deletes nothing and expires nothing.
    pub cleaning: Option<Cleaning>,
    /// What the waiting times are divided by ([`crate::Waits::scaled`]). A new bucket keeps it; an old one must have the same.
    pub time_scale: u32,
}

impl Default for ManifestConfig {
    fn default() -> Self {
        Self {
            kafka_address: String::new(),
            rack: String::new(),
            snapshot_every: 5_000,
            trust_store_clock: false,
            cleaning: None,
            time_scale: 1,
        }
    }
}

/// Told of every applied slot, in order, before anything it answers is answered.
pub trait ApplyListener: Send + Sync + 'static {
    fn applied(&self, changed: &[TopicPartition], slot: Slot);
    /// The whole commit object, where this node has it: its own commits, and those it read whole.
    fn inline_data(&self, slot: Slot, object: &Body);
}

/// Nothing is known of what was asked: ask again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    #[error("this incarnation of the node was fenced; it may or may not have happened")]
    Fenced,
    #[error("{0}")]
    Stopped(String),
}

/// Where a group applied, and what came of its ops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub slot: Slot,
    /// Where its inline bytes start in the commit object.
    pub inline_start: u64,
    pub outcomes: Vec<OpOutcome>,
}

/// Resolves with the group's outcome. Dropping it stops nothing.
#[must_use]
pub struct Ticket(oneshot::Receiver<Result<Receipt, SubmitError>>);

impl Future for Ticket {
    type Output = Result<Receipt, SubmitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|r| r.unwrap_or_else(|_| Err(stopped())))
    }
}

fn stopped() -> SubmitError {
    SubmitError::Stopped("this node is stopping".into())
}

/// For `/readyz`, `/metrics` and logs.
#[derive(Clone, Debug, Default)]
pub struct Status {
    pub registered: bool,
    pub applied: Slot,
    pub log_time: LogTime,
    /// Age of the oldest group without an outcome.
    pub oldest_pending: Option<Duration>,
    pub counters: Counters,
    /// Median duration of the last commit PUTs.
    pub commit_p50: Duration,
    /// This node wrote the last applied commit: what is the duty of one node is this one's (4.6).
    pub last_author: bool,
    /// This node's state may be wrong, or it serves no more: nothing is to be done for the cluster by it.
    pub in_doubt: bool,
    pub last_snapshot: Slot,
    pub snapshots_written: u64,
    pub fenced: u64,
    /// How often the log floor had passed this node, so that it jumped by snapshot.
    pub overtaken: u64,
    pub cleaning: CleaningStatus,
    /// Somebody's state was not what the log gives: whose, and since which slot.
    pub alarm: Option<String>,
    /// Why this node serves no more.
    pub halted: Option<String>,
    /// How far the host's clock is ahead of the store's, if that is more than 5 min.
    pub host_clock_ahead_ms: Option<i64>,
}

/// What this node's rounds of cleaning did since it started.
#[derive(Clone, Debug, Default)]
pub struct CleaningStatus {
    /// The log floor as this node last saw it in CURRENT.
    pub floor: Slot,
    pub rounds: u64,
    /// Rounds that the store cut short.
    pub failures: u64,
    pub slots_deleted: u64,
    /// Parts and indexes.
    pub snapshot_objects_deleted: u64,
    /// Groups with what has expired.
    pub expiries: u64,
    /// Something that nobody may delete is gone.
    pub alarm: Option<String>,
}

enum Request {
    /// `within`: how long it may wait for others to share a commit with.
    Submit {
        ops: Vec<Op>,
        inline: Vec<Bytes>,
        within: Duration,
        reply: oneshot::Sender<Result<Receipt, SubmitError>>,
    },
    Barrier(oneshot::Sender<()>),
    Fence(oneshot::Sender<LogTime>),
    Follow,
    Shutdown(oneshot::Sender<()>),
}

struct Shared {
    state: RwLock<State>,
    status: Mutex<Status>,
    hearing: Mutex<task::Hearing>,
    env: Env,
    incarnation: Mutex<(Incarnation, BrokerId)>,
    cluster_id: String,
    followers: AtomicUsize,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Manifest {
    shared: Arc<Shared>,
    requests: mpsc::UnboundedSender<Request>,
}

/// While one exists, commits of other nodes are looked for.
pub struct FollowGuard(Arc<Shared>);

impl Drop for FollowGuard {
    fn drop(&mut self) {
        self.0.followers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Manifest {
    /// Replays the log, registers this node and starts its task. Returns once the node is registered.
    pub async fn open(
        store: Arc<dyn Store>,
        env: Env,
        config: ManifestConfig,
        listener: Arc<dyn ApplyListener>,
    ) -> Result<Manifest, OpenError> {
        let mut clock = crate::log::LogClock::default();
        let loaded = open::load(store.as_ref(), &env, &mut clock, config.time_scale, None).await?;
        tracing::info!(slot = %loaded.state.slot(), replayed = loaded.replayed, "replayed the log");
        let (requests, inbox) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            state: RwLock::new(loaded.state),
            status: Mutex::new(Status {
                last_snapshot: loaded.current.newest_snapshot(),
                cleaning: CleaningStatus { floor: Slot(loaded.current.log_floor), ..CleaningStatus::default() },
                ..Status::default()
            }),
            hearing: Mutex::default(),
            env: env.clone(),
            incarnation: Mutex::new((Incarnation(0), BrokerId(0))),
            cluster_id: loaded.cluster_id,
            followers: AtomicUsize::new(0),
        });
        let (up, registered) = oneshot::channel();
        let task = task::Task::new(
            store,
            env,
            config,
            listener,
            shared.clone(),
            clock,
            loaded.read_ahead,
            loaded.evidence,
            &loaded.disputed,
            up,
        );
        tokio::spawn(task.run(inbox));
        if registered.await.is_err() {
            let halted = shared.status.lock().halted.clone();
            return Err(OpenError::Halted(halted.unwrap_or_else(|| "this node is stopping".into())));
        }
        Ok(Manifest { shared, requests })
    }

    /// Groups get their numbers in the order of the calls.
    pub fn submit(&self, ops: Vec<Op>, inline: Vec<Bytes>) -> Ticket {
        self.submit_within(ops, inline, Duration::ZERO)
    }

    /// As [`submit`](Self::submit), but it may wait so long for a commit that goes out anyway: it costs no PUT then.
    pub fn submit_within(&self, ops: Vec<Op>, inline: Vec<Bytes>, within: Duration) -> Ticket {
        let (reply, ticket) = oneshot::channel();
        self.send(Request::Submit { ops, inline, within, reply });
        Ticket(ticket)
    }

    fn send(&self, request: Request) {
        // If the task is gone, dropping the request answers it.
        let _gone = self.requests.send(request);
    }

    pub fn read<R>(&self, f: impl FnOnce(&State) -> R) -> R {
        f(&self.shared.state.read())
    }

    /// Read barrier (section 6): when it returns, this node has applied all that was acknowledged anywhere before the call.
    /// Waits as long as the store is away; fails only when the node stops.
    pub async fn barrier(&self) -> Result<(), SubmitError> {
        let (done, passed) = oneshot::channel();
        self.send(Request::Barrier(done));
        passed.await.map_err(|_| stopped())
    }

    /// Waits until log time is within a minute of the store's clock (4.4); then the fence to name a segment by.
    pub async fn fence(&self) -> Result<LogTime, SubmitError> {
        let (done, fence) = oneshot::channel();
        self.send(Request::Fence(done));
        fence.await.map_err(|_| stopped())
    }

    pub fn follow(&self) -> FollowGuard {
        if self.shared.followers.fetch_add(1, Ordering::Relaxed) == 0 {
            self.send(Request::Follow);
        }
        FollowGuard(self.shared.clone())
    }

    /// Changes when the node is fenced; segments are named by the incarnation that submits them.
    pub fn incarnation(&self) -> Incarnation {
        self.shared.incarnation.lock().0
    }

    pub fn broker_id(&self) -> BrokerId {
        self.shared.incarnation.lock().1
    }

    /// For how long no group of this incarnation has been applied here, by this process's monotonic time; `None` if it is not registered or
    /// down. An owner of consumer groups asks it of itself.
    pub fn heard(&self, incarnation: Incarnation) -> Option<Duration> {
        self.shared.hearing.lock().heard(incarnation, self.shared.env.clock.monotonic())
    }

    /// For how long this incarnation has provably committed nothing, the store having served this node all that time: what a
    /// challenger of a consumer group's owner asks. `None` if it is not registered or down. It grows only while this node probes: while
    /// a [`FollowGuard`] lives, or it commits.
    pub fn silent(&self, incarnation: Incarnation) -> Option<Duration> {
        self.shared.hearing.lock().silent(incarnation, self.shared.env.clock.monotonic())
    }

    pub fn cluster_id(&self) -> &str {
        &self.shared.cluster_id
    }

    pub fn commit_p50(&self) -> Duration {
        self.shared.status.lock().commit_p50
    }

    pub fn status(&self) -> Status {
        self.shared.status.lock().clone()
    }

    /// Commits what is pending and signs this incarnation off. Bounded by the caller.
    pub async fn shutdown(&self) {
        let (done, down) = oneshot::channel();
        self.send(Request::Shutdown(done));
        let _gone = down.await;
    }
}
