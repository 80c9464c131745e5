//! Fetching: one partition or several, generous limits or tight ones, at once or after a wait.

use std::time::Duration;

use lakebed_broker::api::{FetchError, FetchPartition, FetchRequest, Fetched};
use lakebed_record::TopicPartition;
use lakebed_record::batch::{self, BatchHeader};

use super::produce::LARGE;
use super::{CLIENT_TIMEOUT, Client, Gone};
use crate::history::{Polled, Read};
use crate::sim::world::{Called, Live};

/// What nothing is cut by that has less than [`LARGE`] more to come.
const FETCH_BYTES: usize = 1 << 20;
/// So much is in the few entries that a broker reads at once, however small they are.
const SURE_BYTES: usize = 1000;

type Answers = Vec<Result<Fetched, FetchError>>;

/// What the process and its clocks showed of a fetch.
struct Taken {
    /// When it reached the process, in true time.
    begun: Duration,
    /// By the process's monotonic clock.
    took: Duration,
    /// The node knew the first partition and its offset.
    known: bool,
    answers: Answers,
}

impl Client {
    pub(super) async fn fetch(&mut self) -> Result<(), Gone> {
        let several = if self.dice.one_in(3) { 1 + self.dice.below(3) } else { 0 };
        let mut wanted: Vec<FetchPartition> = Vec::new();
        for _ in 0..=several {
            let Some(tp) = self.partition().await? else { continue };
            if wanted.iter().all(|w| partition_of(w) != tp) {
                let offset = self.position(tp);
                let max_bytes = self.some_limit();
                wanted.push(FetchPartition { topic: tp.topic, partition: tp.partition, offset, max_bytes });
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let request = FetchRequest {
            partitions: wanted,
            min_bytes: [1, 1, 1, 200, SURE_BYTES, LARGE][self.dice.below(6)],
            max_bytes: self.some_limit(),
            max_wait: Duration::from_millis([0, 0, 100, 1000, 3000][self.dice.below(5)]),
        };
        let partitions: Vec<_> = request.partitions.iter().map(partition_of).collect();
        for (tp, next) in partitions.into_iter().zip(self.poll(request).await?) {
            if let Some(next) = next {
                self.positions.insert(tp, next);
            }
        }
        Ok(())
    }

    fn position(&self, tp: TopicPartition) -> i64 {
        match self.positions.get(&tp) {
            Some(position) if !self.dice.one_in(5) => *position,
            // Some offset that is known to exist, the end included.
            _ => self.dice.below(self.world.history.lock().high(tp) as usize + 1) as i64,
        }
    }

    fn some_limit(&self) -> usize {
        if self.dice.one_in(3) { [0, 1, 200, 2_000, LARGE][self.dice.below(5)] } else { FETCH_BYTES }
    }

    /// Reads on from offsets that exist; returns the next ones.
    pub async fn poll(&mut self, request: FetchRequest) -> Result<Vec<Option<i64>>, Gone> {
        self.world.count("operation fetch");
        let live = self.live();
        let Called::Answered(taken) = self.world.call(&live, CLIENT_TIMEOUT, self.take(&live, &request)).await else {
            return Err(Gone);
        };
        if taken.answers.len() != request.partitions.len() {
            self.world.violation(format!("{} answers for {request:?}", taken.answers.len()));
            return Ok(Vec::new());
        }
        self.check_limits(&request, &taken.answers);
        self.check_wait(&live, &request, &taken);
        Ok(request
            .partitions
            .iter()
            .zip(&taken.answers)
            .map(|(w, a)| self.taken(&live, w, &request, &taken, a))
            .collect())
    }

    async fn take(&self, live: &Live, request: &FetchRequest) -> Taken {
        let clock = &self.world.machines[usize::from(live.node)].clock;
        let (begun, start) = (self.world.time.now(), clock.monotonic());
        let first = &request.partitions[0];
        let end = live.broker.manifest().read(|s| s.partition(partition_of(first)).map(|p| p.next_offset()));
        let known = end.is_some_and(|end| first.offset <= end);
        let answers = live.broker.fetch(request.clone()).await;
        Taken { begun, took: clock.monotonic().saturating_sub(start), known, answers }
    }

    /// No more than was asked for, but for the first batch, which is never withheld.
    fn check_limits(&self, request: &FetchRequest, answers: &Answers) {
        let lens: Vec<usize> = answers.iter().map(|a| a.as_ref().map_or(0, |f| f.records_len)).collect();
        let first = lens.iter().position(|len| *len > 0);
        let single =
            first.and_then(|f| answers[f].as_ref().ok()).is_some_and(|f| split(&f.records.concat()).len() == 1);
        let total: usize = lens.iter().sum();
        let alone = single && first.is_some_and(|f| lens[f] == total);
        if total > request.max_bytes && !alone {
            self.world.violation(format!("{total} bytes are the answer to {request:?}"));
        }
        for (index, wanted) in request.partitions.iter().enumerate() {
            if lens[index] > wanted.max_bytes && !(first == Some(index) && single) {
                self.world.violation(format!("{} bytes of {wanted:?} are in an answer", lens[index]));
            }
        }
        let below =
            |(w, a): (&FetchPartition, &Result<Fetched, _>)| a.as_ref().is_ok_and(|f| w.offset < f.high_watermark);
        if total == 0 && answers.iter().all(Result::is_ok) && request.partitions.iter().zip(answers).any(below) {
            self.world.violation(format!("below the high watermark nothing was found by {request:?}"));
        }
        let left = |(w, a): (&FetchPartition, &Fetched)| {
            let next = split(&a.records.concat()).last().map_or(w.offset, |b| b.base_offset + last_delta(&b.bytes) + 1);
            next < a.high_watermark
        };
        if request.partitions.iter().zip(answers.iter().flatten()).any(left) {
            self.world.count("outcome fetch cut by a limit");
        }
        if total > request.max_bytes {
            self.world.count("outcome fetch first batch past max_bytes");
        }
        if lens.iter().filter(|len| **len > 0).count() > 1 {
            self.world.count("outcome fetch several partitions");
        }
    }

    /// Nobody is sent away with less than was to be waited for before the time is up.
    fn check_wait(&self, live: &Live, request: &FetchRequest, taken: &Taken) {
        if request.max_wait.is_zero() || taken.answers.iter().any(Result::is_err) {
            return;
        }
        let total: usize = taken.answers.iter().flatten().map(|f| f.records_len).sum();
        let early = taken.took < request.max_wait;
        let outcome = match taken.took.is_zero() {
            _ if !early => "timed out",
            true => "in time",
            false => "woken",
        };
        self.world.count(&format!("outcome poll {outcome}"));
        // What could not be read, or is cut by a limit, counts as well: only so much is for sure.
        let calm = self.world.plan.rates.is_none();
        let limited = request.max_bytes < FETCH_BYTES || request.partitions.iter().any(|w| w.max_bytes < FETCH_BYTES);
        // Elsewhere the first batch may be one of an entry that begins before.
        let at_entry = |(w, a): (&FetchPartition, &Fetched)| w.offset == 0 || w.offset == a.high_watermark;
        let sure = calm && !limited && request.partitions.iter().zip(taken.answers.iter().flatten()).all(at_entry);
        let asked = request.min_bytes.min(request.max_bytes);
        let least = if sure && asked <= SURE_BYTES { asked } else { asked.min(1) };
        if early && total < least {
            let what =
                format!("node {}: {total} bytes after {:?} are the answer to {request:?}", live.node, taken.took);
            self.world.violation(what);
        }
    }

    /// The answer for one partition; where it goes on.
    fn taken(
        &self,
        live: &Live,
        wanted: &FetchPartition,
        request: &FetchRequest,
        taken: &Taken,
        answer: &Result<Fetched, FetchError>,
    ) -> Option<i64> {
        let (tp, offset) = (partition_of(wanted), wanted.offset);
        match answer {
            Ok(fetched) => {
                let bytes = fetched.records.concat();
                let batches = split(&bytes);
                self.note("fetched", &format_args!("{tp} {offset}: {} of {}", batches.len(), fetched.high_watermark));
                self.world.count(if batches.is_empty() { "outcome fetch empty" } else { "outcome fetch records" });
                let whole: usize = batches.iter().map(|b| b.bytes.len()).sum();
                if whole != bytes.len() || whole != fetched.records_len {
                    self.world.violation(format!("{tp}: a fetch from {offset} returned batches that are cut"));
                }
                let mut history = self.world.history.lock();
                history.fetched(tp, offset, fetched.high_watermark, &batches);
                let enough = request.min_bytes.min(request.max_bytes);
                let alone = request.partitions.len() == 1 && enough <= wanted.max_bytes;
                // An index page has to be read before it is known how much there is, and then the end is another one.
                let at_once = !self.world.plan.background;
                if alone && at_once && taken.known && !request.max_wait.is_zero() {
                    let poll = Polled { process: live.process(), tp, offset, begun: taken.begun, enough };
                    history.check_woken(&poll, fetched.high_watermark);
                }
                return batches.last().map(|b| b.base_offset + last_delta(&b.bytes) + 1);
            }
            Err(FetchError::OutOfRange { high_watermark, .. }) => {
                let node = live.node;
                self.world.violation(format!(
                    "{tp}: offset {offset} exists, but node {node} says the end is {high_watermark}"
                ));
            }
            Err(FetchError::UnknownPartition) => {
                if !self.is_doomed(tp) {
                    self.world.violation(format!("fetch: {tp} exists, but node {} does not know it", live.node));
                }
                self.world.count("outcome fetch unknown partition");
            }
            Err(error @ FetchError::Storage(_)) => {
                if error.to_string().contains("missing from the store") || !self.world.nemesis.is_armed() {
                    self.world.violation(format!("{tp} {offset}: {error}"));
                }
                self.note("fetch failed", error);
                self.world.count("outcome fetch storage error");
            }
            Err(FetchError::Unavailable(_)) => self.world.count("outcome fetch unavailable"),
        }
        None
    }

    pub(super) async fn fetch_past_the_end(&mut self) -> Result<(), Gone> {
        let Some(tp) = self.partition().await? else { return Ok(()) };
        let live = self.live();
        let offset = 1 << 40;
        let called = self.world.call(&live, CLIENT_TIMEOUT, live.broker.fetch(whole(tp, offset))).await;
        let Called::Answered(answers) = called else { return Err(Gone) };
        match &answers[0] {
            Ok(_) => self.world.violation(format!("{tp}: a fetch from {offset} was answered")),
            Err(FetchError::OutOfRange { high_watermark, .. }) => {
                self.world.history.lock().exists(tp, *high_watermark);
                self.world.count("outcome fetch out of range");
            }
            Err(_) => self.world.count("outcome fetch unavailable"),
        }
        Ok(())
    }
}

/// Everything from an offset on, at once.
pub fn whole(tp: TopicPartition, offset: i64) -> FetchRequest {
    let max_bytes = FETCH_BYTES;
    let partition = FetchPartition { topic: tp.topic, partition: tp.partition, offset, max_bytes };
    FetchRequest { partitions: vec![partition], min_bytes: 1, max_bytes, max_wait: Duration::ZERO }
}

/// Whole batches, as a client takes a response apart.
pub fn split(records: &[u8]) -> Vec<Read> {
    let read = |(header, bytes): (BatchHeader, &[u8])| Read {
        base_offset: header.base_offset,
        bytes: bytes::Bytes::copy_from_slice(bytes),
    };
    batch::batches(records).map_while(Result::ok).map(read).collect()
}

fn partition_of(wanted: &FetchPartition) -> TopicPartition {
    TopicPartition { topic: wanted.topic, partition: wanted.partition }
}

fn last_delta(batch: &[u8]) -> i64 {
    BatchHeader::parse(batch).map_or(0, |h| i64::from(h.last_offset_delta))
}
