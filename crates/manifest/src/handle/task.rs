//! The task that owns the core: carries out its actions, feeds it answers, keeps the shared state and status.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::{self, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use lakebed_record::ops::{NodeDown, OpKind};
use lakebed_record::{Incarnation, LogTime, Slot, keys};
use lakebed_store::env::Env;
use lakebed_store::{BoxFuture, Created, ReadError, Store};
use tokio::sync::{mpsc, oneshot};

use super::{ApplyListener, ManifestConfig, Receipt, Request, Shared, SubmitError};
use crate::commit::{self, SlotContent};
use crate::log::{Action, Config, Core, Dated, GetAnswer, LogClock, Moment, Resolved, TimeView};
use crate::open::{self, OpenError};
use crate::snapshot::{self, Namer, SnapshotError, Written};
use crate::state::State;

/// A snapshot is taken over when CURRENT names one this many times its interval behind (7,500 slots at 5,000).
const TAKE_OVER_HALVES: u64 = 3;
/// Snapshots of one node are at least this far apart.
const SNAPSHOT_APART: Duration = Duration::from_secs(60);
const SAMPLES: usize = 64;
/// While time must be verified and nothing else is asked of the store, CURRENT is read this often to see its `Date`.
const VERIFY_EVERY: Duration = Duration::from_millis(2_100);

/// Wait before replay is tried again when the store was away.
const RELOAD_AFTER: Duration = Duration::from_secs(1);
/// Barriers past this number are looked through for those that nobody waits for.
const MANY_BARRIERS: usize = 1_000;

type Reply = oneshot::Sender<Result<Receipt, SubmitError>>;

enum Done {
    Put { slot: Slot, op: u64, outcome: Created, took: Duration },
    Get { slot: Slot, op: u64, answer: GetAnswer },
    Head { slot: Slot, op: u64, total_len: Option<u64> },
    Snapshot { namer: Namer, slot: Slot, result: Result<Written, SnapshotError> },
    Date,
    Reloaded(Box<Result<open::Loaded, OpenError>>),
}

/// An answer, and what it says of the store's clock.
type Answered = (Done, Option<Dated>);

pub(super) struct Task {
    store: Arc<dyn Store>,
    env: Env,
    config: ManifestConfig,
    listener: Arc<dyn ApplyListener>,
    shared: Arc<Shared>,
    clock: LogClock,
    core: Core,
    running: FuturesUnordered<BoxFuture<'static, Answered>>,
    replies: BTreeMap<u64, Reply>,
    barriers: BTreeMap<u64, oneshot::Sender<()>>,
    fences: Vec<oneshot::Sender<LogTime>>,
    registered: Option<oneshot::Sender<()>>,
    shutdown: Option<oneshot::Sender<()>>,
    /// `None` while a snapshot is being written.
    namer: Option<Namer>,
    last_snapshot: Slot,
    last_snapshot_at: Option<Duration>,
    puts: VecDeque<Duration>,
    verifying: bool,
    next_verify: Duration,
    over: bool,
}

impl Task {
    #[expect(clippy::too_many_arguments, reason = "called once, by Manifest::open, with all that a node is given")]
    pub(super) fn new(
        store: Arc<dyn Store>,
        env: Env,
        config: ManifestConfig,
        listener: Arc<dyn ApplyListener>,
        shared: Arc<Shared>,
        clock: LogClock,
        read_ahead: Vec<(Slot, SlotContent)>,
        registered: oneshot::Sender<()>,
    ) -> Task {
        let mut core = new_core(store.as_ref(), &env, &config, &shared.state.read());
        read_ahead.into_iter().for_each(|(slot, content)| core.add_read_ahead(slot, content));
        let namer = Some(Namer { node: core.incarnation(), next: 0 });
        let last_snapshot = shared.status.lock().last_snapshot;
        Task {
            store,
            env,
            config,
            listener,
            shared,
            clock,
            core,
            running: FuturesUnordered::new(),
            replies: BTreeMap::new(),
            barriers: BTreeMap::new(),
            fences: Vec::new(),
            registered: Some(registered),
            shutdown: None,
            namer,
            last_snapshot,
            last_snapshot_at: None,
            puts: VecDeque::new(),
            verifying: false,
            next_verify: Duration::ZERO,
            over: false,
        }
    }

    pub(super) async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Request>) {
        self.turn();
        while !self.over {
            let sleep = self.until_wake();
            tokio::select! {
                biased;
                Some(answered) = self.running.next() => self.on_answer(answered),
                request = inbox.recv() => match request {
                    Some(request) => self.on_request(request),
                    None => return,
                },
                () = sleep => {}
            }
            // Whatever else is ready now goes into the same turn, so that groups share a commit.
            while let Ok(request) = inbox.try_recv() {
                self.on_request(request);
            }
            while let Some(Some(answered)) = self.running.next().now_or_never() {
                self.on_answer(answered);
            }
            self.turn();
        }
    }

    fn now(&self) -> Duration {
        self.env.clock.monotonic()
    }

    fn until_wake(&self) -> impl Future<Output = ()> + use<> {
        let wake = self.core.next_wake(&self.shared.state.read());
        let verify = self.verifying.then_some(self.next_verify);
        let env = self.env.clone();
        let now = self.now();
        async move {
            match wake.into_iter().chain(verify).min() {
                Some(at) => env.clock.sleep(at.saturating_sub(now).max(Duration::from_millis(1))).await,
                None => future::pending().await,
            }
        }
    }

    fn on_request(&mut self, request: Request) {
        let now = self.now();
        match request {
            Request::Submit { reply, .. } if self.shutdown.is_some() => {
                let _gone = reply.send(Err(super::stopped()));
            }
            Request::Submit { ops, inline, reply } => {
                let number = self.core.submit(ops, inline, now);
                self.replies.insert(number, reply);
            }
            Request::Barrier(done) => {
                if self.barriers.len() >= MANY_BARRIERS {
                    self.barriers.retain(|_, done| !done.is_closed());
                    self.core.retain_barriers(|id| self.barriers.contains_key(&id));
                }
                self.barriers.insert(self.core.barrier(), done);
            }
            Request::Fence(done) => self.fences.push(done),
            Request::Follow => {}
            Request::Shutdown(done) => {
                let down = NodeDown { incarnation: self.core.incarnation().0 };
                self.core.submit(vec![OpKind::NodeDown(down).into()], Vec::new(), now);
                self.shutdown = Some(done);
            }
        }
    }

    fn on_answer(&mut self, (done, date): Answered) {
        let now = self.now();
        if let Some(dated) = date {
            self.clock.observe(dated);
        }
        match done {
            Done::Put { slot, op, outcome, took } => {
                if matches!(outcome, Created::Yes) {
                    self.sample(took);
                }
                self.core.on_put(slot, op, &outcome, now);
            }
            Done::Get { slot, op, answer } => self.core.on_get(slot, op, answer, &self.shared.state.read(), now),
            Done::Head { slot, op, total_len } => self.core.on_head(slot, op, total_len, now),
            Done::Snapshot { namer, slot, result } => self.on_snapshot(namer, slot, result),
            Done::Date => {}
            Done::Reloaded(result) => self.on_reloaded(*result),
        }
    }

    fn sample(&mut self, took: Duration) {
        if self.puts.len() == SAMPLES {
            self.puts.pop_front();
        }
        self.puts.push_back(took);
        let mut sorted: Vec<_> = self.puts.iter().copied().collect();
        sorted.sort_unstable();
        self.shared.status.lock().commit_p50 = sorted[sorted.len() / 2];
    }

    /// Lets the core go on, carries out what it asks for, and brings status and waiters up to date. A core that begins
    /// again has something to send at once.
    fn turn(&mut self) {
        loop {
            let incarnation = self.core.incarnation();
            self.turn_once();
            if self.over || self.core.incarnation() == incarnation {
                return;
            }
        }
    }

    fn turn_once(&mut self) {
        let now = self.now();
        let time = self.clock.view(now).unwrap_or(TimeView { now, wall_ms: 0, verified: false });
        self.core.set_following(self.shared.followers.load(Ordering::Relaxed) > 0, now);
        self.core.want_log_time(!self.fences.is_empty());
        let entropy = self.env.entropy.clone();
        let actions = {
            let mut state = self.shared.state.write();
            self.core.poll(&mut state, time, &mut || entropy.u128())
        };
        actions.into_iter().for_each(|action| self.act(action));
        self.answer_fences(time);
        self.verify_time(time);
        self.publish(now);
    }

    fn act(&mut self, action: Action) {
        let sent = Moment::now(self.env.clock.as_ref());
        let (store, env) = (self.store.clone(), self.env.clone());
        match action {
            Action::Put { slot, body, op } => self.running.push(Box::pin(async move {
                let reply = store.create(&keys::log(slot), &body).await;
                let dated = dated(reply.date_ms, sent, &env);
                let took = env.clock.monotonic().saturating_sub(sent.monotonic);
                (Done::Put { slot, op, outcome: reply.value, took }, dated)
            })),
            Action::Get { slot, op } => self.running.push(Box::pin(async move {
                let reply = store.get(&keys::log(slot), None).await;
                let dated = dated(reply.date_ms, sent, &env);
                let answer = match reply.value {
                    Ok(object) => GetAnswer::Found { bytes: object.bytes, total_len: object.meta.total_len },
                    Err(ReadError::NotFound) => GetAnswer::NotFound,
                    Err(ReadError::Fault(_)) => GetAnswer::Fault,
                };
                (Done::Get { slot, op, answer }, dated)
            })),
            Action::Head { slot, op } => self.running.push(Box::pin(async move {
                let reply = store.head(&keys::log(slot)).await;
                let dated = dated(reply.date_ms, sent, &env);
                (Done::Head { slot, op, total_len: reply.value.ok().map(|m| m.total_len) }, dated)
            })),
            Action::Applied { slot, changed, body, own } => self.applied(slot, &changed, body, own),
            Action::Resolve(resolved) => self.resolve(resolved),
            Action::BarrierPassed(id) => {
                if let Some(done) = self.barriers.remove(&id) {
                    let _gone = done.send(());
                }
            }
            Action::Fenced => self.on_fenced(),
            Action::Diverged { slot, author } => {
                tracing::error!(%slot, %author, "a commit asserts another state than this node has; replaying from a snapshot");
                self.reload(Duration::ZERO);
            }
            Action::Halt(why) => self.halt(why),
        }
    }

    fn applied(
        &mut self,
        slot: Slot,
        changed: &[lakebed_record::TopicPartition],
        body: Option<lakebed_store::Body>,
        own: bool,
    ) {
        if let Some(body) = body
            && (own || commit::payload_intact(&body.to_bytes()))
        {
            self.listener.inline_data(slot, &body);
        }
        self.listener.applied(changed, slot);
        let every = self.config.snapshot_every;
        let behind = slot.0.saturating_sub(self.last_snapshot.0);
        let take_over = every * TAKE_OVER_HALVES / 2;
        if own && slot.0.is_multiple_of(every) {
            self.start_snapshot(1);
        } else if behind > take_over {
            self.start_snapshot(take_over);
        }
    }

    fn resolve(&mut self, resolved: Resolved) {
        let Resolved { number, slot, inline_start, outcomes } = resolved;
        if let Some(id) = self.core.registered() {
            *self.shared.incarnation.lock() = (self.core.incarnation(), id);
            if let Some(up) = self.registered.take() {
                let _gone = up.send(());
            }
        }
        if let Some(reply) = self.replies.remove(&number) {
            let _gone = reply.send(Ok(Receipt { slot, inline_start, outcomes }));
        }
    }

    /// A new incarnation on the same state; what was pending is answered with a retriable error.
    fn on_fenced(&mut self) {
        if let Some(done) = self.shutdown.take() {
            let _gone = done.send(());
            self.over = true;
            return;
        }
        tracing::warn!(incarnation = %self.core.incarnation(), "this incarnation was fenced; starting a new one");
        self.begin_again();
    }

    fn begin_again(&mut self) {
        self.shared.status.lock().fenced += 1;
        for (_, reply) in std::mem::take(&mut self.replies) {
            let _gone = reply.send(Err(SubmitError::Fenced));
        }
        self.running.clear();
        self.verifying = false;
        self.core = new_core(self.store.as_ref(), &self.env, &self.config, &self.shared.state.read());
        self.namer = Some(Namer { node: self.core.incarnation(), next: 0 });
        let waiting = std::mem::take(&mut self.barriers);
        for (_, done) in waiting {
            self.barriers.insert(self.core.barrier(), done);
        }
    }

    fn reload(&mut self, pause: Duration) {
        let (store, env) = (self.store.clone(), self.env.clone());
        self.running.push(Box::pin(async move {
            env.clock.sleep(pause).await;
            let loaded = open::load(store.as_ref(), &env, &mut LogClock::default()).await;
            (Done::Reloaded(Box::new(loaded)), None)
        }));
    }

    fn on_reloaded(&mut self, result: Result<open::Loaded, OpenError>) {
        match result {
            Ok(loaded) => {
                *self.shared.state.write() = loaded.state;
                let old = self.core.incarnation();
                self.begin_again();
                // What the old incarnation still has on its way must not apply behind what the new one sends.
                let down = NodeDown { incarnation: old.0 };
                self.core.submit(vec![OpKind::NodeDown(down).into()], Vec::new(), self.env.clock.monotonic());
                loaded.read_ahead.into_iter().for_each(|(slot, content)| self.core.add_read_ahead(slot, content));
            }
            Err(OpenError::Store(error)) => {
                tracing::error!(%error, "replaying from a snapshot failed, trying again");
                self.reload(RELOAD_AFTER);
            }
            Err(error) => self.halt(error.to_string()),
        }
    }

    fn halt(&mut self, why: String) {
        tracing::error!(%why, "this node stops serving");
        self.shared.status.lock().halted = Some(why.clone());
        for (_, reply) in std::mem::take(&mut self.replies) {
            let _gone = reply.send(Err(SubmitError::Stopped(why.clone())));
        }
        self.over = true;
    }

    /// `least`: how many slots CURRENT must be behind for the duty to be this node's.
    fn start_snapshot(&mut self, least: u64) {
        let now = self.now();
        if self.last_snapshot_at.is_some_and(|at| now < at + SNAPSHOT_APART) {
            return;
        }
        let Some(mut namer) = self.namer.take() else { return };
        self.last_snapshot_at = Some(now);
        let (store, env) = (self.store.clone(), self.env.clone());
        let state: State = self.shared.state.read().clone();
        self.running.push(Box::pin(async move {
            let slot = state.slot();
            let result = snapshot::write(store.as_ref(), &env, &state, &mut namer, least).await;
            (Done::Snapshot { namer, slot, result }, None)
        }));
    }

    fn on_snapshot(&mut self, namer: Namer, slot: Slot, result: Result<Written, SnapshotError>) {
        self.namer = Some(namer);
        match result {
            Ok(Written::Swapped { parts, reused }) => {
                tracing::info!(%slot, parts, reused, "wrote a snapshot");
                self.last_snapshot = self.last_snapshot.max(slot);
                let mut status = self.shared.status.lock();
                status.snapshots_written += 1;
                status.last_snapshot = self.last_snapshot;
            }
            Ok(Written::NotNewer(newest)) => self.last_snapshot = self.last_snapshot.max(newest),
            Ok(Written::Contended) => tracing::warn!(%slot, "gave a snapshot up: CURRENT kept changing"),
            Err(error) => tracing::warn!(%slot, %error, "writing a snapshot failed; the next duty tries again"),
        }
    }

    fn answer_fences(&mut self, time: TimeView) {
        if self.fences.is_empty() || self.core.registered().is_none() {
            return;
        }
        if let Some(fence) = Core::fresh_fence(&self.shared.state.read(), time) {
            for done in self.fences.drain(..) {
                let _gone = done.send(fence);
            }
        }
    }

    /// While a step of log time needs verified time, replies of the store at least 2 s apart are seen to.
    fn verify_time(&mut self, time: TimeView) {
        self.verifying = self.core.wants_verified_time(&self.shared.state.read(), time);
        if let Some(ahead) = self.clock.host_disagrees().filter(|_| self.verifying && !self.config.trust_store_clock) {
            let (ahead, than) = (ahead.abs() / 1000, if ahead > 0 { "ahead of" } else { "behind" });
            return self.halt(format!(
                "this host's clock is {ahead} s {than} the object store's: set it (NTP) and start again"
            ));
        }
        if !self.verifying || time.now < self.next_verify {
            return;
        }
        self.next_verify = time.now + VERIFY_EVERY;
        let (store, env) = (self.store.clone(), self.env.clone());
        let sent = Moment::now(env.clock.as_ref());
        self.running.push(Box::pin(async move {
            let reply = store.head(&keys::current()).await;
            (Done::Date, dated(reply.date_ms, sent, &env))
        }));
    }

    fn publish(&self, now: Duration) {
        let (applied, log_time) = {
            let state = self.shared.state.read();
            (state.slot(), state.log_time())
        };
        let mut status = self.shared.status.lock();
        status.registered = self.core.registered().is_some();
        status.applied = applied;
        status.log_time = log_time;
        status.oldest_pending = self.core.oldest_pending(now);
        status.counters = self.core.counters();
        status.host_clock_ahead_ms = self.clock.host_disagrees();
    }
}

fn dated(date_ms: Option<i64>, sent: Moment, env: &Env) -> Option<Dated> {
    date_ms.map(|date_ms| Dated { date_ms, sent, received: Moment::now(env.clock.as_ref()) })
}

fn new_core(store: &dyn Store, env: &Env, config: &ManifestConfig, state: &State) -> Core {
    let me = Incarnation(env.entropy.u64());
    let core = Config {
        kafka_address: config.kafka_address.clone(),
        rack: config.rack.clone(),
        confirm_length: !store.refuses_short_bodies(),
    };
    Core::new(me, core, state, env.clock.monotonic())
}
