//! Merging: index entries become fewer and larger, slots and small segments are no longer needed, old entries go into pages.
//!
//! Every node with merging on looks at its state now and then, so that each knows whether to slow its producers down; the one
//! that wrote the last commit does the work, one job at a time. Several at once are safe and only waste what they read: every
//! op names its inputs, and is refused if one of them is not there any more. Nothing here is kept over a crash.

mod ages;
mod job;
mod join;
pub(crate) mod levels;
pub(crate) mod output;
mod plan;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lakebed_manifest::{Manifest, State};
use lakebed_record::{LogTime, TopicPartition};
use lakebed_store::env::Env;
use parking_lot::Mutex;

use crate::config::BrokerConfig;
use crate::flush::stream::Stream;
use crate::metrics::{Metrics, Outcome};
use crate::pages;
use ages::Ages;
use job::MergeError;
pub(crate) use job::{Inputs, Merged, place_of};
use output::{Output, OutputError, Pace};
use plan::{Barred, Gather, Merge, Rules, Survey, Take, View};

/// Entries of one merge: their op stays below some hundred KB.
const MOST_ENTRIES: usize = 16_384;
/// Partitions looked at under one lock.
const AT_ONCE: usize = 32;
/// More damaged entries than this are not told apart.
const MOST_BARRED: usize = 10_000;
/// Least time between flushes at twice the most entries that may wait, and the most there is.
const SLOWDOWN: Duration = Duration::from_millis(500);
const MOST_SLOWDOWN: Duration = Duration::from_secs(2);

/// Partitions that may have something to merge: those that got records, until nothing is left to do for them.
#[derive(Debug, Default)]
pub struct Candidates(Mutex<BTreeSet<TopicPartition>>);

impl Candidates {
    pub fn add(&self, partitions: impl IntoIterator<Item = TopicPartition>) {
        self.0.lock().extend(partitions);
    }

    fn take(&self) -> BTreeSet<TopicPartition> {
        std::mem::take(&mut *self.0.lock())
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
    /// Log time, and when (monotonic) it was first seen.
    log_time: (LogTime, Duration),
    pressed: bool,
    /// When (monotonic) something was merged by levels last.
    levels_at: Duration,
}

/// What a look at the state found.
struct Found {
    merge: Option<(Take, Merge)>,
    seal: Option<pages::seal::Seal>,
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
        let pace = Pace::new(background.bytes_per_second, config.background_put_spacing());
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
            barred: Barred::new(),
            log_time: (log_time, now),
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
            let found = self.look().await;
            let worked = self.manifest().status().last_author && self.work(found).await;
            if !worked {
                self.env().clock.sleep(self.poll).await;
            }
        }
    }

    /// Log time as it would be if somebody had just committed: an idle log's stands still.
    fn note_time(&mut self) -> LogTime {
        let monotonic = self.env().clock.monotonic();
        let (slot, log_time) = self.manifest().read(|s| (s.slot(), s.log_time()));
        if log_time != self.log_time.0 {
            self.log_time = (log_time, monotonic);
        }
        let since = monotonic.saturating_sub(self.log_time.1).as_millis() as i64;
        let now = LogTime(self.log_time.0.0 + since);
        self.ages.note(slot, now);
        now
    }

    /// A few partitions at a time, each look by itself: what is found together may never have been so at one moment, which
    /// the ops that come of it find out.
    async fn look(&mut self) -> Found {
        let now = self.note_time();
        let candidates: Vec<TopicPartition> = self.candidates.take().into_iter().collect();
        let patience = Duration::from_millis(self.rules.patience_ms as u64);
        let view = View {
            rules: &self.rules,
            ages: &self.ages,
            barred: &self.barred,
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
        let merge = match survey.decide(&view) {
            Some(take) => self.gather(take, &busy, &view).await.map(|merge| (take, merge)),
            None => None,
        };
        self.candidates.add(busy);
        self.press(&survey);
        Found { merge, seal: survey.seal }
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

    /// Too much that waits is merged earlier; when that is not enough, there will be fewer flushes, which make fewer entries.
    fn press(&mut self, survey: &Survey) {
        let waiting = survey.fresh.entries;
        self.pressed = waiting > self.most_unmerged;
        let slowdown = if waiting > 2 * self.most_unmerged {
            let times = waiting as f64 / (2 * self.most_unmerged) as f64;
            SLOWDOWN.mul_f64(times).min(MOST_SLOWDOWN)
        } else {
            Duration::ZERO
        };
        self.stream.slow_down(slowdown);
        let ms = slowdown.as_millis() as u64;
        self.metrics().background().backlog(waiting, survey.fresh.bytes, ms);
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
        if let Some((take, merge)) = found.merge {
            match job::run(&self.inputs, &mut self.output, &merge).await {
                Ok(merged) => {
                    worked = true;
                    if take == Take::Levels {
                        self.levels_at = self.env().clock.monotonic();
                    }
                    self.metrics().background().merged(&merged);
                    tracing::debug!(?merged, "merged");
                }
                Err(error) => self.failed(error).await,
            }
        }
        worked
    }

    async fn failed(&mut self, error: MergeError) {
        tracing::debug!(%error, "a merge was given up");
        match error {
            MergeError::Bad(tp, offset) => {
                self.metrics().background().merge(Outcome::Failed);
                if self.barred.len() < MOST_BARRED {
                    self.barred.insert((tp, offset));
                }
            }
            MergeError::Output(OutputError::InputGone) => {
                self.metrics().background().merge(Outcome::InputGone);
                // Probably another node does the same: one of the two waits longer.
                let turns = self.env().entropy.u64() % 8;
                self.env().clock.sleep(self.poll * turns as u32).await;
            }
            MergeError::Store(_) | MergeError::Output(_) => self.metrics().background().merge(Outcome::Failed),
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
