//! Fetch: plan, wait if there is too little, read, answer.

use std::sync::Arc;

use lakebed_manifest::{Entry, Manifest};
use lakebed_store::env::Env;

use super::plan::{PartitionPlan, Plan};
use super::read::{BARRIER_LIMIT, Data, Loaded};
use super::wait::Waiters;
use super::walk::{Collector, Room};
use crate::api::{FetchError, FetchRequest, Fetched, Unavailable};
use crate::off_worker::Turns;
use crate::pages::{AtHand, entries_from};

/// Bytes, and entries, that are fetched ahead of a reader of old records.
const READ_AHEAD: u64 = 8 << 20;
const MOST_AHEAD: usize = 32;

/// Entries that one fetch reads, and how many of them from the store.
const MOST_ENTRIES: usize = 2_000;
const MOST_COLD_ENTRIES: usize = 32;

pub struct Reader {
    pub(crate) manifest: Manifest,
    pub(crate) env: Env,
    pub(crate) data: Data,
    pub(crate) waiters: Arc<Waiters>,
    pub(crate) turns: Turns,
}

impl Reader {
    pub async fn fetch(&self, request: FetchRequest) -> Vec<Result<Fetched, FetchError>> {
        let (mut plan, mut pages) = self.plan(&request).await;
        if plan.has_errors() {
            // "No such thing" may only mean that this node lags.
            if let Err(error) = self.barrier().await {
                return self.read_with(plan, &pages, &request, Some(error)).await;
            }
            (plan, pages) = self.plan(&request).await;
        }
        if !enough(&plan, &request) {
            (plan, pages) = self.wait(&request).await;
        }
        self.read_with(plan, &pages, &request, None).await
    }

    /// Bounded; fails if the store is away or the node stops.
    pub async fn barrier(&self) -> Result<(), Unavailable> {
        let passed = self.env.within(BARRIER_LIMIT, self.manifest.barrier()).await;
        passed.ok_or(Unavailable::Timeout)?.map_err(|_| Unavailable::Stopping)
    }

    /// Until there is enough, something is wrong with a partition, or time is up.
    async fn wait(&self, request: &FetchRequest) -> (Plan, AtHand) {
        let partitions = request.partitions.iter();
        let partitions = partitions.map(|p| lakebed_record::TopicPartition { topic: p.topic, partition: p.partition });
        let waiting = self.waiters.register(partitions.collect());
        let _following = self.manifest.follow();
        let time_up = self.env.clock.sleep(request.max_wait);
        tokio::pin!(time_up);
        loop {
            let (plan, pages) = self.plan(request).await;
            if enough(&plan, request) {
                return (plan, pages);
            }
            // While nothing comes, nothing is held that the cache may have again.
            drop((plan, pages));
            tokio::select! {
                biased;
                () = waiting.changed() => {}
                () = &mut time_up => return self.plan(request).await,
            }
        }
    }

    /// `lagging`: why "no such thing" could not be made sure of.
    async fn read_with(
        &self,
        mut plan: Plan,
        pages: &AtHand,
        request: &FetchRequest,
        lagging: Option<Unavailable>,
    ) -> Vec<Result<Fetched, FetchError>> {
        self.bound(&mut plan);
        let mut at_hand = self.load_all(&plan, pages).await.into_iter();
        let mut left = request.max_bytes as u64;
        let mut empty = true;
        let mut answers = Vec::with_capacity(plan.partitions.len());
        for planned in plan.partitions {
            let answer = match (planned, lagging) {
                (Ok(planned), _) => {
                    let at_hand = at_hand.by_ref().take(planned.entries.len()).collect();
                    self.read(&planned, at_hand, left.min(planned.limit), empty).await
                }
                (Err(_), Some(unavailable)) => Err(unavailable.into()),
                (Err(error), None) => Err(error),
            };
            if let Ok(fetched) = &answer {
                left = left.saturating_sub(fetched.records_len as u64);
                empty &= fetched.records_len == 0;
            }
            answers.push(answer);
        }
        answers
    }

    /// What is read is held until the answer is built, a whole block for each small entry, so a fetch reads only so much at
    /// once; the client asks for the rest.
    fn bound(&self, plan: &mut Plan) {
        let (mut all, mut cold) = (MOST_ENTRIES, MOST_COLD_ENTRIES);
        for planned in plan.partitions.iter_mut().flatten() {
            let fitting = planned.entries.iter().take_while(|e| {
                let from_store = usize::from(!self.data.is_recent(e));
                let fits = all > 0 && cold >= from_store;
                (all, cold) = if fits { (all - 1, cold - from_store) } else { (0, 0) };
                fits
            });
            let fitting = fitting.count();
            planned.entries.truncate(fitting);
        }
    }

    /// Loads every planned entry, all at once; what failed is `None` and is tried again when it is its turn.
    async fn load_all(&self, plan: &Plan, pages: &AtHand) -> Vec<Option<Loaded>> {
        let planned = plan.partitions.iter().flatten();
        let cold = planned.clone().filter(|p| p.entries.iter().any(|e| !self.data.is_recent(e)));
        cold.for_each(|p| self.read_ahead(p, pages));
        let entries = planned.flat_map(|p| &p.entries);
        futures_util::future::join_all(entries.map(|e| async { self.data.load(e).await.ok() })).await
    }

    /// Whoever reads old records in order wants the next ones soon.
    fn read_ahead(&self, plan: &PartitionPlan, pages: &AtHand) {
        let Some(last) = plan.entries.last() else { return };
        let mut left = READ_AHEAD;
        let next: Vec<Entry> = self.manifest.read(|s| {
            let tp = plan.partition;
            let entries = s.partition(tp).into_iter().flat_map(|p| entries_from(tp, p, pages, last.end_offset()));
            let entries = entries.map_while(Result::ok);
            let fitting = entries.take_while(|e| {
                let fits = left > 0;
                left = left.saturating_sub(e.len);
                fits
            });
            fitting.take(MOST_AHEAD).copied().collect()
        });
        for entry in next.into_iter().filter(|e| !self.data.is_recent(e)) {
            self.data.cache.prefetch(entry.object, entry.start, entry.len);
        }
    }

    async fn read(
        &self,
        plan: &PartitionPlan,
        at_hand: Vec<Option<Loaded>>,
        limit: u64,
        first_always: bool,
    ) -> Result<Fetched, FetchError> {
        let mut out = Collector::new(plan.offset, limit, first_always);
        for (entry, loaded) in plan.entries.iter().zip(at_hand) {
            match self.read_entry(plan, entry, loaded, &mut out).await {
                Ok(Room::Left) => {}
                Ok(Room::Full) => break,
                // What was read so far is good; the error comes back with the next fetch.
                Err(_) if out.len() > 0 => break,
                Err(error) => return Err(error),
            }
        }
        let records_len = out.len() as usize;
        Ok(Fetched {
            records: out.finish(),
            records_len,
            high_watermark: plan.high_watermark,
            last_stable_offset: plan.high_watermark,
            log_start_offset: plan.log_start,
        })
    }

    async fn read_entry(
        &self,
        plan: &PartitionPlan,
        entry: &Entry,
        loaded: Option<Loaded>,
        out: &mut Collector,
    ) -> Result<Room, FetchError> {
        let (found, Loaded { rope, trust }) = match loaded {
            Some(loaded) => (*entry, loaded),
            None => self.load_surely(plan.partition, entry).await?,
        };
        // It may have moved to a longer one, which reaches past what this answer may show.
        match out.entry(&found, entry.end_offset(), &rope, trust) {
            // It has moved to a shorter one: what follows here is not what follows there.
            Ok(Room::Left) if found.end_offset() < entry.end_offset() => Ok(Room::Full),
            Ok(room) => Ok(room),
            Err(error) => Err(self.data.corrupt(plan.partition, &found, &error).await),
        }
    }
}

/// Of what an answer may not hold, nothing is waited for.
fn enough(plan: &Plan, request: &FetchRequest) -> bool {
    let wanted = request.min_bytes.min(request.max_bytes) as u64;
    request.max_wait.is_zero() || plan.has_errors() || plan.available >= wanted
}
