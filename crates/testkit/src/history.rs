//! What clients asked for and were told, and what must follow from it: section 10 of the design as assertions.
//!
//! Every batch that is sent is one of a kind, so that wherever it turns up it is known whose it is. Checks that need only
//! the past are made at once, with what had been known *when the call began*; the rest when the run is over, against the
//! log as a fresh node reads it.

use std::collections::{BTreeMap, BTreeSet};

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
    pub count: i64,
    /// Connection and place in it; order is kept among those that appear.
    pub connection: (u64, u64),
    /// Producer id, epoch and first sequence.
    pub producer: Option<(i64, i16, i32)>,
    pub told: Told,
    /// A try of it ended without a verdict, so that a later refusal proves nothing.
    pub maybe: bool,
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
    /// By the bytes that never change: all but base offset and leader epoch.
    by_content: BTreeMap<Bytes, SentId>,
    /// What readers saw during the run.
    seen: BTreeMap<(TopicPartition, i64), SentId>,
    /// The highest offset that anybody has been told to exist, plus one.
    high: BTreeMap<TopicPartition, i64>,
    hashes: BTreeMap<Slot, u64>,
    violations: Vec<String>,
}

/// Where the bytes of a batch start that storing never changes.
const UNCHANGED_FROM: usize = 16;

impl History {
    pub fn sent(&mut self, sent: Sent) -> SentId {
        let id = self.sent.len();
        let twin = self.by_content.insert(sent.bytes.slice(UNCHANGED_FROM..), id);
        assert!(twin.is_none(), "the simulation sent two batches alike");
        self.sent.push(sent);
        id
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
            let (tp, end) = (self.sent[id].tp, base_offset + self.sent[id].count);
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
            let end = read.base_offset + self.sent[id].count;
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

    fn identify(&mut self, tp: TopicPartition, read: &Read) -> Option<SentId> {
        let id = read.bytes.get(UNCHANGED_FROM..).and_then(|c| self.by_content.get(c)).copied();
        let what = match id.map(|id| &self.sent[id]) {
            None => format!("{tp}: the batch at {} is none that was sent", read.base_offset),
            Some(sent) if sent.tp != tp => format!("{tp} holds {}", describe(sent)),
            Some(_)
                if batch::BatchHeader::parse(&read.bytes).map(|h| (h.base_offset, h.leader_epoch))
                    != Ok((read.base_offset, 0)) =>
            {
                format!("{tp}: the batch at {} says that it is elsewhere", read.base_offset)
            }
            Some(_) => return id,
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
            next = read.base_offset + self.sent[id].count;
            if let Some(before) = places.insert(id, read.base_offset) {
                let what = format!("{} stands at {before} and at {}", describe(&self.sent[id]), read.base_offset);
                self.violations.push(what);
            }
        }
        if next < self.high(tp) {
            self.violations.push(format!("{tp} ends at {next}, but offsets up to {} were known", self.high(tp)));
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
                    producers.entry((pid, epoch)).or_default().push((seq, *place, sent.count));
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
