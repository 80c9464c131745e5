//! What clients asked for and were told, and what must follow from it: section 10 of the design as assertions.
//!
//! Every batch that is sent is one of a kind, so that wherever it turns up it is known whose it is. Checks that need only
//! the past are made at once, with what had been known *when the call began*; the rest when the run is over, against the
//! log as a fresh node reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use lakebed_record::batch;
use lakebed_record::{Slot, TopicPartition};

/// Index of a batch in the history.
pub type SentId = usize;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Nothing yet, or nothing that says whether it is stored.
    Unknown,
    Acked {
        base_offset: i64,
    },
    /// It is not stored and never will be.
    Refused,
}

#[derive(Clone, Debug)]
pub struct Sent {
    pub tp: TopicPartition,
    pub bytes: Bytes,
    /// What the client gave each record as its time (ms).
    pub times: Vec<i64>,
    /// Its topic has LogAppendTime.
    pub stamped: bool,
    /// Connection and place in it; order is kept among those that appear.
    pub connection: (u64, u64),
    /// Producer id, epoch and first sequence.
    pub producer: Option<(i64, i16, i32)>,
    pub told: Told,
    /// A try of it ended without a verdict, so that a later refusal proves nothing.
    pub maybe: bool,
    /// When it first reached a node, in true time.
    pub first_try: Option<Duration>,
    /// What the clocks of the nodes showed that it reached (ms): one of them is its LogAppendTime.
    pub walls: Vec<i64>,
    /// LogAppendTime as a reader saw it.
    pub stamp: Option<i64>,
    /// Which process acknowledged it first, and when.
    pub acked: Option<(Process, Duration)>,
}

/// A batch as a client made it.
#[derive(Clone, Debug)]
pub struct Draft {
    pub bytes: Bytes,
    pub times: Vec<i64>,
}

/// Node and number of its start.
pub type Process = (u8, u64);

impl Sent {
    pub fn new(
        tp: TopicPartition,
        draft: Draft,
        stamped: bool,
        connection: (u64, u64),
        producer: Option<(i64, i16, i32)>,
    ) -> Sent {
        Sent {
            tp,
            bytes: draft.bytes,
            times: draft.times,
            stamped,
            connection,
            producer,
            told: Told::Unknown,
            maybe: false,
            first_try: None,
            walls: Vec::new(),
            stamp: None,
            acked: None,
        }
    }

    pub fn count(&self) -> i64 {
        self.times.len() as i64
    }

    /// The stored time of each record, if it is known.
    fn stored_times(&self) -> Option<Vec<i64>> {
        if !self.stamped {
            return Some(self.times.clone());
        }
        let only = if let [only] = self.walls[..] { Some(only) } else { None };
        Some(vec![self.stamp.or(only)?; self.times.len()])
    }

    /// Whether these are the bytes as they must have been stored.
    fn is_stored_as(&self, read: &Bytes, max_timestamp: i64) -> bool {
        if !self.stamped {
            return self.bytes[UNCHANGED_FROM..] == read[UNCHANGED_FROM..];
        }
        let mut expected = self.bytes.to_vec();
        batch::stamp_log_append_time(&mut expected, max_timestamp);
        self.walls.contains(&max_timestamp) && expected[UNCHANGED_FROM..] == read[UNCHANGED_FROM..]
    }
}

/// A question for the first record at or past a time, and its answer.
#[derive(Clone, Copy, Debug)]
pub struct LookedUp {
    pub tp: TopicPartition,
    pub time: i64,
    /// One past the highest offset that was known when it was asked.
    pub known: i64,
    /// The answer: −1 if there is none.
    pub offset: i64,
    pub timestamp: i64,
}

/// A long poll of one partition.
#[derive(Clone, Copy, Debug)]
pub struct Polled {
    pub process: Process,
    pub tp: TopicPartition,
    pub offset: i64,
    /// When the process had the question, the offset being one that it knew.
    pub begun: Duration,
    /// So many bytes had to be waited for.
    pub enough: usize,
}

/// A batch as a reader got it.
#[derive(Clone, Debug)]
pub struct Read {
    pub base_offset: i64,
    pub bytes: Bytes,
}

#[derive(Default)]
pub struct History {
    sent: Vec<Sent>,
    /// By the records as they were sent, which storing never changes.
    by_content: BTreeMap<Bytes, SentId>,
    /// What readers saw during the run.
    seen: BTreeMap<(TopicPartition, i64), SentId>,
    /// The highest offset that anybody has been told to exist, plus one.
    high: BTreeMap<TopicPartition, i64>,
    looked_up: Vec<LookedUp>,
    hashes: BTreeMap<Slot, u64>,
    violations: Vec<String>,
}

/// Where the bytes of a batch start that storing changes only for LogAppendTime.
const UNCHANGED_FROM: usize = 16;

impl History {
    pub fn sent(&mut self, sent: Sent) -> SentId {
        let id = self.sent.len();
        let twin = self.by_content.insert(sent.bytes.slice(batch::BATCH_OVERHEAD..), id);
        assert!(twin.is_none(), "the simulation sent two batches alike");
        self.sent.push(sent);
        id
    }

    /// A batch reaches a node whose clock shows `wall_ms`.
    pub fn tries(&mut self, id: SentId, at: Duration, wall_ms: i64) {
        let sent = &mut self.sent[id];
        sent.first_try.get_or_insert(at);
        sent.walls.push(wall_ms);
    }

    /// What came with an acknowledgement.
    pub fn acknowledged(&mut self, id: SentId, process: Process, at: Duration, log_append_time: i64) {
        let sent = &mut self.sent[id];
        sent.acked.get_or_insert((process, at));
        let possible = if sent.stamped { sent.walls.contains(&log_append_time) } else { log_append_time == -1 };
        if !possible {
            let what = format!("{} was acknowledged with the time {log_append_time}", describe(sent));
            self.violations.push(what);
        }
    }

    /// An answer for a batch; a batch may be sent several times and be told several things.
    pub fn told(&mut self, id: SentId, told: Told) {
        let sent = &mut self.sent[id];
        match (sent.told, told) {
            (Told::Acked { base_offset: before }, Told::Acked { base_offset }) if before != base_offset => {
                let what = format!("{} was acknowledged at {before} and again at {base_offset}", describe(sent));
                self.violations.push(what);
            }
            // A later refusal says nothing of an earlier try that was acknowledged, or that nobody knows the end of.
            (Told::Acked { .. }, _) => {}
            (_, Told::Unknown) => {
                sent.maybe = true;
                sent.told = Told::Unknown;
            }
            (_, Told::Refused) if sent.maybe => {}
            (_, told) => sent.told = told,
        }
        if let Told::Acked { base_offset } = told {
            let (tp, end) = (self.sent[id].tp, base_offset + self.sent[id].count());
            self.exists(tp, end);
        }
    }

    pub fn get(&self, id: SentId) -> &Sent {
        &self.sent[id]
    }

    /// Somebody was told that offsets below `end` exist.
    pub fn exists(&mut self, tp: TopicPartition, end: i64) {
        let high = self.high.entry(tp).or_default();
        *high = (*high).max(end);
    }

    /// One past the highest offset that anybody knows of.
    pub fn high(&self, tp: TopicPartition) -> i64 {
        self.high.get(&tp).copied().unwrap_or(0)
    }

    pub fn violation(&mut self, what: String) {
        self.violations.push(what);
    }

    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// Invariant 2, as far as it shows on running nodes.
    pub fn state_hash(&mut self, node: u8, slot: Slot, hash: u64) {
        let first = *self.hashes.entry(slot).or_insert(hash);
        if first != hash {
            self.violations.push(format!("node {node} has another state at slot {slot} than was seen before"));
        }
    }

    pub fn hashes(&self) -> &BTreeMap<Slot, u64> {
        &self.hashes
    }

    /// Batches that a fetch from `offset` returned.
    pub fn fetched(&mut self, tp: TopicPartition, offset: i64, high_watermark: i64, batches: &[Read]) {
        let mut next = None;
        for read in batches {
            let Some(id) = self.identify(tp, read) else { return };
            let end = read.base_offset + self.sent[id].count();
            let fits = match next {
                None => (read.base_offset..end).contains(&offset),
                Some(next) => read.base_offset == next,
            };
            if !fits {
                let what =
                    format!("a fetch of {tp} from {offset} returned a batch at {} out of place", read.base_offset);
                self.violations.push(what);
            }
            next = Some(end);
            if *self.seen.entry((tp, read.base_offset)).or_insert(id) != id {
                self.violations.push(format!("{tp}: two readers saw different batches at {}", read.base_offset));
            }
        }
        if next.is_some_and(|n| n > high_watermark) {
            self.violations.push(format!("{tp}: a fetch returned records past its high watermark {high_watermark}"));
        }
        self.exists(tp, high_watermark);
    }

    /// A long poll answers as soon as there is enough: not only when what was sent after that is there as well.
    pub fn check_woken(&mut self, poll: &Polled, high_watermark: i64) {
        let Polled { process, tp, offset, begun, enough } = *poll;
        let there = |s: &&Sent| {
            let place = if let Told::Acked { base_offset } = s.told { base_offset } else { -1 };
            s.tp == tp && (offset..high_watermark).contains(&place)
        };
        let there: Vec<&Sent> = self.sent.iter().filter(there).collect();
        let Some(last_sent) = there.iter().filter_map(|s| s.first_try).max() else { return };
        let before = |s: &&&Sent| s.acked.is_some_and(|(by, at)| by == process && at.max(begun) < last_sent);
        let early: usize = there.iter().filter(before).map(|s| s.bytes.len()).sum();
        if early >= enough.max(1) {
            let node = process.0;
            self.violations
                .push(format!("{tp}: a poll for {enough} bytes on node {node} slept on although {early} were there"));
        }
    }

    /// A record's time that is known in this partition; `pick` chooses among so many.
    pub fn some_time(&self, tp: TopicPartition, pick: impl FnOnce(usize) -> usize) -> Option<i64> {
        let there = |s: &&Sent| s.tp == tp && matches!(s.told, Told::Acked { .. });
        let times: Vec<i64> = self.sent.iter().filter(there).filter_map(Sent::stored_times).flatten().collect();
        (!times.is_empty()).then(|| times[pick(times.len())])
    }

    pub fn looked_up(&mut self, question: LookedUp) {
        let tp = question.tp;
        let acked = self.sent.iter().enumerate().filter(|(_, s)| s.tp == tp).filter_map(|(id, s)| match s.told {
            Told::Acked { base_offset } => Some((id, base_offset)),
            _ => None,
        });
        let seen = self.seen.range((tp, 0)..=(tp, i64::MAX)).map(|(&(_, place), id)| (*id, place));
        let known = acked.chain(seen).collect();
        self.check_looked_up(&question, &known);
        self.looked_up.push(question);
    }

    /// The offset for a time is the first whose record has that time or a later one.
    fn check_looked_up(&mut self, question: &LookedUp, places: &BTreeMap<SentId, i64>) {
        let LookedUp { tp, time, known, offset, timestamp } = *question;
        let records = places.iter().flat_map(|(id, place)| {
            let times = self.sent[*id].stored_times().unwrap_or_default();
            (*place..).zip(times).collect::<Vec<_>>()
        });
        let at_or_past: Vec<(i64, i64)> = records.clone().filter(|(_, t)| *t >= time).collect();
        let first = at_or_past.iter().min().copied();
        let there = records.clone().find(|(o, _)| *o == offset);
        let what = match first {
            Some((first, _)) if offset < 0 && first < known => format!("there is none, but {first} is"),
            _ if offset < 0 => return,
            _ if timestamp < time => format!("offset {offset} has the time {timestamp}"),
            Some((first, _)) if first < offset => format!("it is {offset}, but {first} is before"),
            _ if there.is_some_and(|(_, t)| t != timestamp) => {
                format!("offset {offset} has the time {timestamp}, but the record there {there:?}")
            }
            _ => return,
        };
        self.violations.push(format!("{tp}: asked for the first record from {time} on: {what}"));
    }

    fn identify(&mut self, tp: TopicPartition, read: &Read) -> Option<SentId> {
        let id = read.bytes.get(batch::BATCH_OVERHEAD..).and_then(|c| self.by_content.get(c)).copied();
        let header = batch::BatchHeader::parse(&read.bytes);
        let what = match (id.map(|id| &mut self.sent[id]), header) {
            (None, _) => format!("{tp}: the batch at {} is none that was sent", read.base_offset),
            (Some(sent), _) if sent.tp != tp => format!("{tp} holds {}", describe(sent)),
            (Some(_), Ok(header)) if (header.base_offset, header.leader_epoch) != (read.base_offset, 0) => {
                format!("{tp}: the batch at {} says that it is elsewhere", read.base_offset)
            }
            (Some(sent), Ok(header)) if sent.is_stored_as(&read.bytes, header.max_timestamp) => {
                if !sent.stamped || *sent.stamp.get_or_insert(header.max_timestamp) == header.max_timestamp {
                    return id;
                }
                format!("{} has another LogAppendTime than a reader saw", describe(sent))
            }
            (Some(sent), header) => format!("{} is stored otherwise than it was sent: {header:?}", describe(sent)),
        };
        self.violations.push(what);
        None
    }

    /// The whole log of a partition, as it is when all is over.
    pub fn check_log(&mut self, tp: TopicPartition, log: &[Read]) {
        let mut places: BTreeMap<SentId, i64> = BTreeMap::new();
        let mut next = 0;
        for read in log {
            let Some(id) = self.identify(tp, read) else { continue };
            if read.base_offset != next {
                self.violations
                    .push(format!("{tp}: offset {next} is missing; the next batch is at {}", read.base_offset));
            }
            next = read.base_offset + self.sent[id].count();
            if let Some(before) = places.insert(id, read.base_offset) {
                let what = format!("{} stands at {before} and at {}", describe(&self.sent[id]), read.base_offset);
                self.violations.push(what);
            }
        }
        if next < self.high(tp) {
            self.violations.push(format!("{tp} ends at {next}, but offsets up to {} were known", self.high(tp)));
        }
        for question in self.looked_up.clone().iter().filter(|q| q.tp == tp) {
            self.check_looked_up(question, &places);
        }
        self.check_promises(tp, &places);
        self.check_readers(tp, &places);
        self.check_order(tp, &places);
    }

    /// Invariants 3 and 4.
    fn check_promises(&mut self, tp: TopicPartition, places: &BTreeMap<SentId, i64>) {
        for (id, sent) in self.sent.iter().enumerate().filter(|(_, s)| s.tp == tp) {
            let what = match (sent.told, places.get(&id)) {
                (Told::Acked { base_offset }, None) => format!("was acknowledged at {base_offset} and is lost"),
                (Told::Acked { base_offset }, Some(place)) if base_offset != *place => {
                    format!("was acknowledged at {base_offset} and stands at {place}")
                }
                (Told::Refused, Some(place)) => format!("was refused and stands at {place}"),
                _ => continue,
            };
            self.violations.push(format!("{} {what}", describe(sent)));
        }
    }

    /// Invariant 6: what was read once stays.
    fn check_readers(&mut self, tp: TopicPartition, places: &BTreeMap<SentId, i64>) {
        let there: BTreeSet<(i64, SentId)> = places.iter().map(|(id, place)| (*place, *id)).collect();
        for (&(of, place), id) in self.seen.range((tp, 0)..=(tp, i64::MAX)) {
            if !there.contains(&(place, *id)) {
                self.violations
                    .push(format!("{of}: a reader saw {} at {place}; it is gone", describe(&self.sent[*id])));
            }
        }
    }

    /// Invariant 5: per connection, and per idempotent producer without a gap.
    fn check_order(&mut self, tp: TopicPartition, places: &BTreeMap<SentId, i64>) {
        let mut connections: BTreeMap<u64, Vec<(u64, i64)>> = BTreeMap::new();
        // First sequence, place and number of records, by producer id and epoch.
        type Sequenced = Vec<(i32, i64, i64)>;
        let mut producers: BTreeMap<(i64, i16), Sequenced> = BTreeMap::new();
        for (id, place) in places {
            let sent = &self.sent[*id];
            match sent.producer {
                None => connections.entry(sent.connection.0).or_default().push((sent.connection.1, *place)),
                Some((pid, epoch, seq)) => {
                    producers.entry((pid, epoch)).or_default().push((seq, *place, sent.count()));
                }
            }
        }
        for (connection, mut batches) in connections {
            batches.sort_unstable();
            if !batches.is_sorted_by_key(|(_, place)| *place) {
                self.violations.push(format!("{tp}: connection {connection} is out of order: {batches:?}"));
            }
        }
        for (producer, mut batches) in producers {
            batches.sort_unstable();
            let gapless =
                batches.windows(2).all(|w| i64::from(w[0].0) + w[0].2 == i64::from(w[1].0) && w[0].1 < w[1].1);
            if batches[0].0 != 0 || !gapless {
                self.violations.push(format!("{tp}: producer {producer:?} has gaps or is out of order: {batches:?}"));
            }
        }
    }
}

fn describe(sent: &Sent) -> String {
    let Sent { tp, connection, producer, .. } = sent;
    format!("batch {}.{} {producer:?} of {tp}", connection.0, connection.1)
}
