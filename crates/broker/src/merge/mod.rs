//! Merging: index entries become fewer and larger, slots and small segments are no longer needed, old entries go into pages.
//!
//! Every node with merging on looks at its state now and then, so that each knows whether to slow its producers down; the one
//! on [duty] does the work, one job at a time, and any other if what should be merged is left lying. Several at once are safe
//! and only waste what they read: every op names its inputs, and is refused if one of them is not there any more. Nothing
//! here is kept over a crash.

mod ages;
mod barred;
mod job;
mod join;
mod levels;
pub(crate) mod output;
pub(crate) mod own;
pub(crate) mod plan;
mod pressure;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lakebed_manifest::{Manifest, State};
use lakebed_record::{LogTime, SegmentName, TopicPartition, keys};
use lakebed_store::env::Env;
use parking_lot::Mutex;

use crate::config::BrokerConfig;
use crate::duty;
use crate::flush::stream::Stream;
use crate::idle::Running;
use crate::metrics::{Alarm, Metrics, Outcome};
use crate::pages;
use ages::Ages;
use barred::Barred;
use job::MergeError;
pub(crate) use job::{Inputs, Merged, WAVE_BYTES, place_of};
use output::{Output, OutputError, Pace};
use plan::{Gather, Merge, Rules, Survey, Take, View};
use pressure::{Budget, Pressure};

/// Entries of one merge: their op has some 75 bytes for each if all are of different partitions, 1.2 MB.
const MOST_ENTRIES: usize = 16_384;
/// Partitions looked at under one lock.
const AT_ONCE: usize = 32;
/// While flushes are held apart, the PUTs that they save go to merging: so many times as often.
const HURRY: u32 = 4;
/// Time of looking is at most this part of all: a look is followed by a pause of so many times its length.
const REST: u32 = 3;

/// Partitions that may have something to merge: those that got records, until nothing is left to do for them.
#[derive(Debug, Default)]
pub struct Candidates {
    partitions: Mutex<BTreeSet<TopicPartition>>,
    /// Merged segments of which little is in use.
    sparse: Mutex<Arc<BTreeSet<SegmentName>>>,
}

impl Candidates {
    pub fn add(&self, partitions: impl IntoIterator<Item = TopicPartition>) {
        self.partitions.lock().extend(partitions);
    }

    /// These segments, named by entries of these partitions, are sparse now, and no others.
    pub fn set_sparse(&self, sparse: BTreeSet<SegmentName>, partitions: impl IntoIterator<Item = TopicPartition>) {
        *self.sparse.lock() = Arc::new(sparse);
        self.add(partitions);
    }

    /// From the one after `after` on, and around.
    fn take(&self, after: Option<TopicPartition>) -> Vec<TopicPartition> {
        let mut all: Vec<TopicPartition> = std::mem::take(&mut *self.partitions.lock()).into_iter().collect();
        let first = all.partition_point(|tp| Some(*tp) <= after);
        all.rotate_left(first);
        all
    }

    fn sparse(&self) -> Arc<BTreeSet<SegmentName>> {
        Arc::clone(&self.sparse.lock())
    }
}

pub struct Merger {
    inputs: Inputs,
    output: Output,
    candidates: Arc<Candidates>,
    stream: Arc<Stream>,
    rules: Rules,
    poll: Duration,
    most_unmerged: usize,
    ages: Ages,
    barred: Barred,
    budget: Budget,
    put_spacing: Duration,
    /// Where the next look begins, so that none waits behind those that always have something to do.
    after: Option<TopicPartition>,
    running: Running,
    pressed: bool,
    /// When (monotonic) something was merged by levels last.
    levels_at: Duration,
}

/// What a look at the state found.
struct Found {
    merge: Option<(Take, Merge)>,
    seal: Option<pages::seal::Seal>,
    own: Option<Merge>,
    overdue: bool,
}

impl Merger {
    pub fn new(config: &BrokerConfig, inputs: Inputs, candidates: Arc<Candidates>, stream: Arc<Stream>) -> Merger {
        let background = &config.background;
        let ms = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
        let rules = Rules {
            most_bytes: config.merge_bytes(),
            most_entries: MOST_ENTRIES,
            age_ms: ms(background.merge_age),
            patience_ms: ms(background.merge_patience),
            page_entries: background.page_entries.max(1),
        };
        // A clone costs pointers; going through all topics may take a while.
        let state = inputs.manifest.read(State::clone);
        let partitions = state.topics().flat_map(|t| (0..t.partitions as i32).map(|p| TopicPartition::new(t.id, p)));
        candidates.add(partitions);
        let (slot, log_time) = (state.slot(), state.log_time());
        drop(state);
        let now = inputs.env.clock.monotonic();
        let put_spacing = config.background_put_spacing();
        let pace = Pace::new(background.bytes_per_second, put_spacing);
        let output = Output::new(inputs.manifest.clone(), Arc::clone(&inputs.store), inputs.env.clone(), pace);
        Merger {
            inputs,
            output,
            candidates,
            stream,
            ages: Ages::new(slot, rules.patience_ms.saturating_mul(2)),
            rules,
            poll: background.poll,
            most_unmerged: config.most_unmerged(),
            barred: Barred::default(),
            budget: Budget::new(background.bytes_per_second),
            put_spacing,
            after: None,
            running: Running::new(log_time, now),
            pressed: false,
            levels_at: now,
        }
    }

    fn manifest(&self) -> &Manifest {
        &self.inputs.manifest
    }

    fn metrics(&self) -> &Metrics {
        &self.inputs.metrics
    }

    fn env(&self) -> &Env {
        &self.inputs.env
    }

    /// Until it is dropped.
    pub async fn run(mut self) {
        loop {
            let started = self.env().clock.monotonic();
            let found = self.look().await;
            let looked = self.env().clock.monotonic().saturating_sub(started);
            let ours = found.overdue || duty::is_ours(self.manifest());
            let worked = ours && self.work(found).await;
            let pause = if worked { looked * REST } else { self.poll.max(looked * REST) };
            if !pause.is_zero() {
                self.env().clock.sleep(pause).await;
            }
        }
    }

    fn note_time(&mut self) -> LogTime {
        let monotonic = self.env().clock.monotonic();
        let (slot, log_time) = self.manifest().read(|s| (s.slot(), s.log_time()));
        let now = self.running.now(log_time, monotonic);
        self.ages.note(slot, now);
        now
    }

    /// A few partitions at a time, each look by itself: what is found together may never have been so at one moment, which
    /// the ops that come of it find out.
    async fn look(&mut self) -> Found {
        let now = self.note_time();
        self.barred.forget(self.env().clock.monotonic());
        let candidates = self.candidates.take(self.after);
        let sparse = self.candidates.sparse();
        let patience = Duration::from_millis(self.rules.patience_ms as u64);
        let view = View {
            rules: &self.rules,
            ages: &self.ages,
            barred: &self.barred,
            sparse: &sparse,
            now,
            pressed: self.pressed,
            rested: self.env().clock.monotonic().saturating_sub(self.levels_at) >= patience,
        };
        let mut survey = Survey::default();
        let mut busy = Vec::new();
        for some in candidates.chunks(AT_ONCE) {
            self.manifest().read(|s| {
                let known = some.iter().filter_map(|tp| Some((*tp, s.partition(*tp)?)));
                busy.extend(known.filter(|(tp, p)| survey.add(*tp, p, &view)).map(|(tp, _)| tp));
            });
            tokio::task::yield_now().await;
        }
        let overdue = survey.is_overdue(&view);
        let own = survey.own.take().map(|run| Merge { runs: vec![run] });
        // What goes into a page, or moves by itself, is not merged from the same look: the second of the two would be refused.
        let apart = [survey.seal.as_ref().map(|s| s.partition), own.as_ref().map(|m| m.runs[0].partition)];
        let rest: Vec<TopicPartition> = busy.iter().filter(|tp| !apart.contains(&Some(**tp))).copied().collect();
        let merge = match survey.decide(&view) {
            Some(take) => self.gather(take, &rest, &view).await.map(|merge| (take, merge)),
            None => None,
        };
        let last = merge.as_ref().filter(|(take, _)| *take == Take::Levels).and_then(|(_, m)| m.runs.last());
        let next = apart.into_iter().flatten().next_back().or(last.map(|run| run.partition));
        self.candidates.add(busy);
        self.after = next.or(self.after);
        self.press(&survey);
        Found { merge, seal: survey.seal, own, overdue }
    }

    async fn gather(&self, take: Take, busy: &[TopicPartition], view: &View<'_>) -> Option<Merge> {
        let mut gather = Gather::new(take);
        for some in busy.chunks(AT_ONCE) {
            let room = self.manifest().read(|s| {
                let mut known = some.iter().filter_map(|tp| Some((*tp, s.partition(*tp)?)));
                known.all(|(tp, p)| gather.add(tp, p, view))
            });
            if !room {
                break;
            }
            tokio::task::yield_now().await;
        }
        gather.finish()
    }

    /// Too much in the state is merged earlier and faster; when that is not enough, there will be fewer flushes, which make
    /// fewer entries.
    fn press(&mut self, survey: &Survey) {
        let (all, appended) = self.manifest().read(|s| (s.entry_count(), s.appended_bytes()));
        let Pressure { pressed, apart } = Pressure::of(all, survey.waiting(), self.most_unmerged);
        self.pressed = pressed;
        self.budget.note(self.env().clock.monotonic(), appended);
        let put_spacing = if apart.is_zero() { self.put_spacing } else { self.put_spacing / HURRY };
        self.output.pace.adjust(self.budget.bytes_per_second(pressed), put_spacing);
        self.stream.slow_down(apart);
        let ms = apart.as_millis() as u64;
        self.metrics().background().backlog(survey.fresh.entries, survey.fresh.bytes, ms);
    }

    /// True if something was done.
    async fn work(&mut self, found: Found) -> bool {
        let mut worked = false;
        if let Some(seal) = found.seal {
            let sealed = pages::write(&self.inputs, &mut self.output, &seal).await;
            worked |= sealed.is_ok();
            self.metrics().background().page(outcome(&sealed));
            if let Err(error) = sealed {
                tracing::debug!(partition = %seal.partition, %error, "an index page was given up");
            }
        }
        if let Some(own) = found.own {
            worked |= self.merge(&own).await;
        }
        if let Some((take, merge)) = found.merge
            && self.merge(&merge).await
        {
            worked = true;
            if take == Take::Levels {
                self.levels_at = self.env().clock.monotonic();
            }
        }
        worked
    }

    async fn merge(&mut self, merge: &Merge) -> bool {
        match job::run(&self.inputs, &mut self.output, merge).await {
            Ok(merged) => {
                self.metrics().background().merged(&merged);
                tracing::debug!(?merged, "merged");
                true
            }
            Err(error) => {
                self.failed(error).await;
                false
            }
        }
    }

    async fn failed(&mut self, error: MergeError) {
        tracing::debug!(%error, "a merge was given up");
        let now = self.env().clock.monotonic();
        let outcome = match error {
            MergeError::Output(OutputError::InputGone) => Outcome::InputGone,
            _ => Outcome::Failed,
        };
        self.metrics().background().merge(outcome);
        match error {
            MergeError::Damaged(tp, offset) => self.barred.damaged(tp, offset, now),
            MergeError::Lost(object) => self.barred.lost(object, now),
            MergeError::Store(object, fault) => {
                let slot = self.manifest().read(|s| s.slot());
                if self.barred.unreadable(object, slot, now) {
                    self.metrics().alarm(Alarm::Unreadable);
                    let key = keys::data(&object);
                    tracing::error!(%key, fault, "the store does not give an object that holds records; it is tried again later");
                }
            }
            MergeError::Output(OutputError::InputGone) => {
                // Probably another node does the same: one of the two waits longer.
                let turns = self.env().entropy.u64() % 8;
                self.env().clock.sleep(self.poll * turns as u32).await;
            }
            MergeError::Output(_) => {}
        }
    }
}

fn outcome(done: &Result<(), OutputError>) -> Outcome {
    match done {
        Ok(()) => Outcome::Done,
        Err(OutputError::InputGone) => Outcome::InputGone,
        Err(_) => Outcome::Failed,
    }
}
