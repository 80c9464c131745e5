//! The task that owns the core: carries out its actions, feeds it answers, keeps the shared state and status.

mod duties;
mod hearing;
mod take_over;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{self, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use lakebed_record::ops::{NodeDown, Op, OpKind};
use lakebed_record::{Incarnation, LogTime, Slot, keys};
use lakebed_store::env::Env;
use lakebed_store::{BoxFuture, Created, ReadError, Store};
use tokio::sync::{mpsc, oneshot};

pub(super) use hearing::Hearing;

use super::{ApplyListener, ManifestConfig, Receipt, Request, Shared, SubmitError};
use crate::clean::{Cleaned, Progress};
use crate::commit::{self, SlotContent};
use crate::current;
use crate::log::{Action, Answered, Config, Core, Dated, Evidence, GetAnswer, LogClock, Moment, Resolved, TimeView};
use crate::open::{self, OpenError};
use crate::snapshot::{Namer, SnapshotError, Written};
use crate::state::State;
use take_over::Watch;

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
    Floor { op: u64, floor: Option<Slot> },
    Snapshot { namer: Namer, slot: Slot, result: Result<Written, SnapshotError> },
    Looked(Option<take_over::Look>),
    Cleaned { progress: Progress, cleaned: Cleaned, result: Result<(), SnapshotError> },
    Date,
    Reloaded(Box<Result<open::Loaded, OpenError>>),
}

/// What was done, and what the reply says of the store's clock.
type Finished = (Done, Option<Dated>);

/// A group without a number yet.
struct Patient {
    ops: Vec<Op>,
    inline: Vec<Bytes>,
    reply: Reply,
}

pub(super) struct Task {
    store: Arc<dyn Store>,
    env: Env,
    config: ManifestConfig,
    listener: Arc<dyn ApplyListener>,
    shared: Arc<Shared>,
    clock: LogClock,
    core: Core,
    running: FuturesUnordered<BoxFuture<'static, Finished>>,
    replies: BTreeMap<u64, Reply>,
    /// Groups that wait for others to share a commit with, and until when.
    patient: Vec<Patient>,
    patient_until: Option<Duration>,
    barriers: BTreeMap<u64, oneshot::Sender<()>>,
    fences: Vec<oneshot::Sender<LogTime>>,
    registered: Option<oneshot::Sender<()>>,
    shutdown: Option<oneshot::Sender<()>>,
    /// `None` while a snapshot is being written.
    namer: Option<Namer>,
    last_snapshot: Slot,
    last_snapshot_at: Option<Duration>,
    writing_snapshot: Arc<AtomicBool>,
    /// This node wrote the last applied slot.
    last_author: bool,
    /// Since the last round of cleaning began.
    snapshot_written: bool,
    /// `None` while a round of cleaning is under way.
    progress: Option<Progress>,
    next_round: Duration,
    /// The group that carries what had expired, until it has an outcome.
    expiring: Option<u64>,
    /// When log time will be so old that a tick may be due.
    tick_at: Option<Duration>,
    watch: Watch,
    /// A look is under way.
    looking: bool,
    /// Until this node or another has written.
    taking_over: bool,
    puts: VecDeque<Duration>,
    verifying: bool,
    next_verify: Duration,
    /// Authors that replay has shown to be wrong.
    distrusted: BTreeSet<Incarnation>,
    /// What a commit asserts another state of than this node had, until replay has told who is wrong.
    diverged: Option<(Slot, Incarnation)>,
    /// This process's state was not what replay gave, once.
    was_wrong: bool,
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
        evidence: Option<Evidence>,
        disputed: &BTreeMap<Incarnation, Slot>,
        registered: oneshot::Sender<()>,
    ) -> Task {
        let mut core = new_core(store.as_ref(), &env, &config, &shared.state.read(), evidence);
        read_ahead.into_iter().for_each(|(slot, content)| core.add_read_ahead(slot, content));
        let namer = Some(Namer { node: core.incarnation(), next: 0 });
        let last_snapshot = shared.status.lock().last_snapshot;
        let watch = Watch::new(shared.state.read().waits().take_over_after, env.clock.monotonic());
        let mut task = Task {
            store,
            env,
            config,
            listener,
            shared,
            clock,
            core,
            running: FuturesUnordered::new(),
            replies: BTreeMap::new(),
            patient: Vec::new(),
            patient_until: None,
            barriers: BTreeMap::new(),
            fences: Vec::new(),
            registered: Some(registered),
            shutdown: None,
            namer,
            last_snapshot,
            last_snapshot_at: None,
            writing_snapshot: Arc::default(),
            last_author: false,
            snapshot_written: false,
            progress: Some(Progress::default()),
            next_round: Duration::ZERO,
            expiring: None,
            tick_at: None,
            watch,
            looking: false,
            taking_over: false,
            puts: VecDeque::new(),
            verifying: false,
            next_verify: Duration::ZERO,
            distrusted: BTreeSet::new(),
            diverged: None,
            was_wrong: false,
            over: false,
        };
        task.accuse(disputed);
        task
    }

    pub(super) async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Request>) {
        self.turn();
        while !self.over {
            let sleep = self.until_wake();
            tokio::select! {
                biased;
                Some(finished) = self.running.next() => self.on_finished(finished),
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
            while let Some(Some(finished)) = self.running.next().now_or_never() {
                self.on_finished(finished);
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
        let duties = self.duties_wake().into_iter().chain(self.watch_wake()).chain(self.patient_until);
        let env = self.env.clone();
        let now = self.now();
        async move {
            match wake.into_iter().chain(verify).chain(duties).min() {
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
            Request::Submit { ops, inline, within, reply } => {
                self.patient.push(Patient { ops, inline, reply });
                let until = now + within;
                self.patient_until = Some(self.patient_until.map_or(until, |earlier| earlier.min(until)));
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
                self.submit_patient(now);
                let down = NodeDown { incarnation: self.core.incarnation().0 };
                self.core.submit(vec![OpKind::NodeDown(down).into()], Vec::new(), now);
                self.shutdown = Some(done);
            }
        }
    }

    /// In the order in which they came: whoever must not wait takes those before it along.
    fn submit_patient(&mut self, now: Duration) {
        self.patient_until = None;
        for Patient { ops, inline, reply } in std::mem::take(&mut self.patient) {
            let number = self.core.submit(ops, inline, now);
            self.replies.insert(number, reply);
        }
    }

    fn on_finished(&mut self, (done, date): Finished) {
        let at = Answered { date_ms: date.map(|d| d.date_ms), now: self.now() };
        let shared = self.shared.clone();
        let state = || shared.state.read();
        if let Some(dated) = date {
            self.clock.observe(dated);
        }
        match done {
            Done::Put { slot, op, outcome, took } => {
                if matches!(outcome, Created::Yes) {
                    self.sample(took);
                }
                self.core.on_put(slot, op, &outcome, at, &state());
            }
            Done::Get { slot, op, answer } => self.core.on_get(slot, op, answer, at, &state()),
            Done::Head { slot, op, total_len } => self.core.on_head(slot, op, total_len, at, &state()),
            Done::Floor { op, floor } => self.core.on_floor(op, floor, at.now, &state()),
            Done::Snapshot { namer, slot, result } => self.on_snapshot(namer, slot, result),
            Done::Looked(look) => self.on_looked(look),
            Done::Cleaned { progress, cleaned, result } => self.on_cleaned(progress, cleaned, result),
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
        let ticking = self.ticking(time);
        self.core.want_log_time(!self.fences.is_empty() || ticking || self.takes_over());
        self.start_round(now);
        if self.patient_until.is_some_and(|until| until <= now) {
            self.submit_patient(now);
        }
        self.look_around(now);
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
        if let Action::Put { op, .. } | Action::Get { op, .. } = &action {
            self.shared.hearing.lock().sent(*op, sent.monotonic);
        }
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
            Action::ReadFloor { op } => self.running.push(Box::pin(async move {
                let floor = match current::read(store.as_ref(), &env).await {
                    Ok((current, _)) => Some(Slot(current.log_floor)),
                    Err(error) => {
                        tracing::warn!(%error, "cannot read the log floor");
                        None
                    }
                };
                (Done::Floor { op, floor }, None)
            })),
            Action::Applied { slot, changed, body, own } => self.applied(slot, &changed, body, own),
            Action::Resolve(resolved) => self.resolve(resolved),
            Action::BarrierPassed(id) => {
                if let Some(done) = self.barriers.remove(&id) {
                    let _gone = done.send(());
                }
            }
            Action::Fenced => self.on_fenced(),
            Action::Overtaken { slot, floor } => {
                tracing::warn!(%slot, %floor, "this node was away so long that the log was cleaned past it; jumping by snapshot");
                self.shared.status.lock().overtaken += 1;
                self.reload(Duration::ZERO);
            }
            Action::Diverged { slot, author } => {
                tracing::error!(%slot, %author, "a commit asserts another state than this node has; replaying from a snapshot");
                self.diverged = Some((slot, author));
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
        self.last_author = own;
        self.taking_over = false;
        self.snapshot_duty(slot, own);
    }

    /// The state was replaced: whoever waits for a partition must look again.
    fn jumped(&self, before: &State) {
        let (changed, slot) = {
            let state = self.shared.state.read();
            (state.differing(before), state.slot())
        };
        self.listener.applied(&changed, slot);
    }

    fn resolve(&mut self, resolved: Resolved) {
        let Resolved { number, slot, inline_start, outcomes } = resolved;
        self.expiring.take_if(|expiring| *expiring == number);
        if let Some(id) = self.core.registered() {
            *self.shared.incarnation.lock() = (self.core.incarnation(), id);
            self.shared.status.lock().registered = true;
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
        let evidence = self.core.evidence();
        self.begin_again(evidence);
    }

    fn begin_again(&mut self, evidence: Option<Evidence>) {
        self.shared.status.lock().fenced += 1;
        for (_, reply) in std::mem::take(&mut self.replies) {
            let _gone = reply.send(Err(SubmitError::Fenced));
        }
        self.running.clear();
        self.verifying = false;
        self.shared.hearing.lock().begin_again();
        self.core = new_core(self.store.as_ref(), &self.env, &self.config, &self.shared.state.read(), evidence);
        self.distrusted.iter().for_each(|author| self.core.distrust(*author));
        self.namer = Some(Namer { node: self.core.incarnation(), next: 0 });
        self.progress = Some(Progress::default());
        (self.expiring, self.last_author) = (None, false);
        (self.looking, self.taking_over) = (false, false);
        self.writing_snapshot.store(false, Ordering::Relaxed);
        let waiting = std::mem::take(&mut self.barriers);
        for (_, done) in waiting {
            self.barriers.insert(self.core.barrier(), done);
        }
    }

    /// Until the state has been replayed this node does nothing for the cluster: the one it has may be wrong.
    fn reload(&mut self, pause: Duration) {
        self.running.clear();
        (self.verifying, self.last_author) = (false, false);
        let (store, env, time_scale) = (self.store.clone(), self.env.clone(), self.config.time_scale);
        let watched = Some(self.shared.state.read().slot());
        self.running.push(Box::pin(async move {
            env.clock.sleep(pause).await;
            let loaded = open::load(store.as_ref(), &env, &mut LogClock::default(), time_scale, watched).await;
            (Done::Reloaded(Box::new(loaded)), None)
        }));
    }

    fn on_reloaded(&mut self, result: Result<open::Loaded, OpenError>) {
        match result {
            Ok(_) if self.shutdown.is_some() => {
                self.over = true;
                self.shutdown.take().into_iter().for_each(|done| {
                    let _gone = done.send(());
                });
            }
            Ok(loaded) => {
                if let Err(why) = self.compare(loaded.hash_at) {
                    return self.halt(why);
                }
                let before = std::mem::replace(&mut *self.shared.state.write(), loaded.state);
                self.jumped(&before);
                self.last_snapshot = self.last_snapshot.max(loaded.current.newest_snapshot());
                let old = self.core.incarnation();
                self.begin_again(loaded.evidence);
                // What the old incarnation still has on its way must not apply behind what the new one sends.
                let down = NodeDown { incarnation: old.0 };
                self.core.submit(vec![OpKind::NodeDown(down).into()], Vec::new(), self.env.clock.monotonic());
                self.distrusted.insert(old);
                self.accuse(&loaded.disputed);
                loaded.read_ahead.into_iter().for_each(|(slot, content)| self.core.add_read_ahead(slot, content));
            }
            Err(error) if error.is_transient() => {
                tracing::error!(%error, "replaying from a snapshot failed, trying again");
                self.reload(RELOAD_AFTER);
            }
            Err(error) => self.halt(error.to_string()),
        }
    }

    /// Whether this node was wrong itself; `replayed` is what replay gives at the slot up to which it had applied. Once it takes
    /// the replayed state. What disagrees with its own replay a second time must not serve on (4.6).
    fn compare(&mut self, replayed: Option<u64>) -> Result<(), String> {
        let (applied, hash) = {
            let state = self.shared.state.read();
            (state.slot(), state.hash())
        };
        let diverged = self.diverged.take();
        if replayed.is_none_or(|replayed| replayed == hash) {
            return Ok(());
        }
        let from = diverged.map(|(slot, author)| format!(" (slot {slot}, asserted by {author})")).unwrap_or_default();
        let why = format!("the state of this node at slot {applied} was not what replay of the log gives{from}");
        if std::mem::replace(&mut self.was_wrong, true) {
            return Err(format!("{why}, for the second time: look at this machine's memory, and compare builds"));
        }
        self.alarm(why);
        Ok(())
    }

    /// Authors that assert what the log does not give. This node goes on; they are signed off, as any node may sign off any, and
    /// find out by themselves from what others assert.
    fn accuse(&mut self, disputed: &BTreeMap<Incarnation, Slot>) {
        for (author, slot) in disputed {
            self.core.distrust(*author);
            let new = self.distrusted.insert(*author);
            let live = self.shared.state.read().node(*author).is_some_and(|n| n.down_at.is_none());
            if new && live {
                self.alarm(format!("{author} asserts another state at slot {slot} than replay of the log gives"));
                let down = NodeDown { incarnation: author.0 };
                self.core.submit(vec![OpKind::NodeDown(down).into()], Vec::new(), self.env.clock.monotonic());
            }
        }
    }

    fn alarm(&self, alarm: String) {
        tracing::error!("{alarm}");
        self.shared.status.lock().alarm = Some(alarm);
    }

    fn halt(&mut self, why: String) {
        tracing::error!(%why, "this node stops serving");
        self.last_author = false;
        self.shared.status.lock().halted = Some(why.clone());
        let patient = std::mem::take(&mut self.patient).into_iter().map(|p| p.reply);
        for reply in std::mem::take(&mut self.replies).into_values().chain(patient) {
            let _gone = reply.send(Err(SubmitError::Stopped(why.clone())));
        }
        self.over = true;
    }

    fn answer_fences(&mut self, time: TimeView) {
        if self.fences.is_empty() || self.core.registered().is_none() || self.core.is_stopped() {
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
            let mut hearing = self.shared.hearing.lock();
            if state.slot() != self.shared.status.lock().applied {
                hearing.observe(&state, now);
            }
            hearing.proved(self.core.caught_up());
            (state.slot(), state.log_time())
        };
        let mut status = self.shared.status.lock();
        status.registered = self.core.registered().is_some();
        status.applied = applied;
        status.log_time = log_time;
        status.last_author = self.last_author;
        status.in_doubt = self.core.is_stopped() || self.over;
        status.oldest_pending = self.core.oldest_pending(now);
        status.counters = self.core.counters();
        status.host_clock_ahead_ms = self.clock.host_disagrees();
    }
}

fn dated(date_ms: Option<i64>, sent: Moment, env: &Env) -> Option<Dated> {
    date_ms.map(|date_ms| Dated { date_ms, sent, received: Moment::now(env.clock.as_ref()) })
}

fn new_core(store: &dyn Store, env: &Env, config: &ManifestConfig, state: &State, evidence: Option<Evidence>) -> Core {
    let me = Incarnation(env.entropy.u64());
    let core = Config {
        kafka_address: config.kafka_address.clone(),
        rack: config.rack.clone(),
        confirm_length: !store.refuses_short_bodies(),
    };
    Core::new(me, core, state, evidence, env.clock.monotonic())
}
