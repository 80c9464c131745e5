//! Records become batches: one partition after the other, in the order in which they came. Pure.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use lakebed_broker::api::{Append, TopicInfo};
use lakebed_broker::keyed::{KeyedBatch, RequestKey};
use lakebed_record::Partition;
use lakebed_record::batch::{BATCH_OVERHEAD, BatchBuilder};

use crate::api::partitioner::partition_of;
use crate::api::record::NewRecord;
use crate::problem::Problem;

/// What a record takes at most besides its bytes, and a header of it.
const RECORD_OVERHEAD: usize = 40;
const HEADER_OVERHEAD: usize = 10;

/// Collects records of one request for one topic.
pub struct Gathering {
    topic: TopicInfo,
    key: Option<RequestKey>,
    open: BTreeMap<i32, Open>,
    closed: Vec<Batch>,
    /// Batches that the request has had so far, by partition.
    ordinals: HashMap<i32, u32>,
    /// Where records without key go, until the next are taken.
    sticky: i32,
    taken: u32,
    bytes: usize,
}

struct Open {
    builder: BatchBuilder,
    keyed: Option<KeyedBatch>,
    /// Its number among those that are not taken.
    number: u32,
}

/// A batch as it is to be stored.
pub struct Batch {
    pub append: Append,
    pub records: u32,
    number: u32,
}

/// Where a record went: a batch among those that are taken with it, and its place there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    pub batch: u32,
    pub delta: u32,
}

impl Gathering {
    /// `random` chooses the partition of records without key, unless the request's key does.
    pub fn new(topic: TopicInfo, key: Option<RequestKey>, random: u64) -> Gathering {
        let (open, ordinals) = (BTreeMap::new(), HashMap::new());
        let mut gathering = Gathering { topic, key, open, closed: Vec::new(), ordinals, sticky: 0, taken: 0, bytes: 0 };
        gathering.stick(random);
        gathering
    }

    /// Bytes of the batches so far, at most.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn push(&mut self, record: &NewRecord<'_>, now_ms: i64) -> Result<Placed, Problem> {
        let index = self.partition_of(record)?;
        let size = size(record);
        let max = self.topic.config.max_message_bytes as usize;
        let full = |open: &Open| BATCH_OVERHEAD + open.builder.records_len() + size > max;
        if self.open.get(&index).is_some_and(full)
            && let Some(open) = self.open.remove(&index)
        {
            self.close(index, open);
        }
        let number = (self.closed.len() + self.open.len()) as u32;
        let open = self.open.entry(index).or_insert_with(|| {
            let ordinal = self.ordinals.entry(index).or_default();
            let keyed = self.key.as_ref().map(|key| key.batch(*ordinal));
            *ordinal += 1;
            self.bytes += BATCH_OVERHEAD;
            Open { builder: BatchBuilder::new(), keyed, number }
        });
        let placed = Placed { batch: open.number, delta: open.builder.count() as u32 };
        if let Some(keyed) = &mut open.keyed {
            add(keyed, record);
        }
        let headers = record.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_deref()));
        let timestamp = record.timestamp.unwrap_or(now_ms);
        open.builder.push(timestamp, record.key.as_deref(), record.value.as_deref(), headers);
        self.bytes += size;
        Ok(placed)
    }

    /// All that was gathered, in the order of their numbers. `random`: as for [`Gathering::new`].
    pub fn take(&mut self, random: u64) -> Vec<Batch> {
        while let Some((index, open)) = self.open.pop_first() {
            self.close(index, open);
        }
        self.taken += 1;
        self.bytes = 0;
        self.stick(random);
        let mut batches = std::mem::take(&mut self.closed);
        batches.sort_by_key(|batch| batch.number);
        batches
    }

    /// Kafka's producers stay with one partition for a while as well (KIP-480).
    fn stick(&mut self, random: u64) {
        let bits = self.key.as_ref().map_or(random, |key| key.bits(self.taken));
        self.sticky = (bits % self.topic.partitions.max(1) as u64) as i32;
    }

    fn partition_of(&self, record: &NewRecord<'_>) -> Result<i32, Problem> {
        match (record.partition, &record.key) {
            (Some(index), _) if !self.topic.has_partition(index) => {
                Err(Problem::no_partition(index, self.topic.partitions))
            }
            (Some(index), _) => Ok(index),
            (None, Some(key)) => Ok(partition_of(key, self.topic.partitions)),
            (None, None) => Ok(self.sticky),
        }
    }

    fn close(&mut self, index: i32, open: Open) {
        let records = open.builder.count() as u32;
        let builder = match open.keyed.map(|keyed| keyed.identity()) {
            Some(identity) => open.builder.producer(identity.id, identity.epoch, 0),
            None => open.builder,
        };
        let batch: Bytes = builder.build();
        let append = Append { topic: self.topic.id, partition: Partition(index), batch };
        self.closed.push(Batch { append, records, number: open.number });
    }
}

fn size(record: &NewRecord<'_>) -> usize {
    let len = |bytes: &Option<std::borrow::Cow<'_, [u8]>>| bytes.as_ref().map_or(0, |b| b.len());
    let headers = record.headers.iter().map(|(name, value)| HEADER_OVERHEAD + name.len() + len(value));
    RECORD_OVERHEAD + len(&record.key) + len(&record.value) + headers.sum::<usize>()
}

/// All that the client says of the record.
fn add(keyed: &mut KeyedBatch, record: &NewRecord<'_>) {
    keyed.add(record.key.as_deref());
    keyed.add(record.value.as_deref());
    keyed.add(record.timestamp.map(i64::to_be_bytes).as_ref().map(|bytes| &bytes[..]));
    keyed.add(Some(&(record.headers.len() as u32).to_be_bytes()));
    for (name, value) in &record.headers {
        keyed.add(Some(name.as_bytes()));
        keyed.add(value.as_deref());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lakebed_broker::api::TopicConfig;
    use lakebed_record::batch::{BatchHeader, Limits, records};
    use lakebed_record::{TopicId, TopicName};

    use super::*;

    fn topic(partitions: i32, max_message_bytes: u32) -> TopicInfo {
        let config = Arc::new(TopicConfig { max_message_bytes, ..TopicConfig::default() });
        TopicInfo { id: TopicId(7), name: TopicName::new("t").expect("a name"), partitions, config }
    }

    fn record(key: Option<&'static str>, value: &'static str) -> NewRecord<'static> {
        let key = key.map(|key| key.as_bytes().into());
        NewRecord { key, value: Some(value.as_bytes().into()), ..NewRecord::default() }
    }

    /// Partition and values of each batch.
    fn shown(batches: &[Batch]) -> Vec<(i32, Vec<String>)> {
        let values = |batch: &Batch| {
            let set = records(&batch.append.batch, Limits::default()).expect("a batch");
            let values = set.iter().map(|r| String::from_utf8(r.expect("a record").value.expect("a value").into()));
            values.collect::<Result<Vec<_>, _>>().expect("text")
        };
        batches.iter().map(|b| (b.append.partition.0, values(b))).collect()
    }

    #[test]
    fn batches_keep_the_order_and_the_limit_of_the_topic() {
        let mut gathering = Gathering::new(topic(1, 110), None, 5);
        let mut placed = Vec::new();
        for value in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            placed.push(gathering.push(&record(None, value), 5).expect("a place"));
        }
        let batches = gathering.take(5);
        assert!(batches.len() > 1 && batches.iter().all(|b| b.append.batch.len() <= 110));
        let values: Vec<_> = shown(&batches).into_iter().flat_map(|(_, values)| values).collect();
        assert_eq!(values, ["a", "b", "c", "d", "e", "f", "g", "h"]);
        let counted: Vec<_> = (0u32..)
            .zip(&batches)
            .flat_map(|(batch, b)| (0..b.records).map(move |delta| Placed { batch, delta }))
            .collect();
        assert_eq!(placed, counted);
    }

    #[test]
    fn named_partitions_and_keys_decide() {
        let mut gathering = Gathering::new(topic(4, 1 << 20), None, 2);
        let named = NewRecord { partition: Some(3), ..record(Some("k"), "named") };
        gathering.push(&named, 0).expect("a place");
        gathering.push(&record(Some("k"), "keyed"), 0).expect("a place");
        gathering.push(&record(None, "stuck"), 0).expect("a place");
        let at = partition_of(b"k", 4);
        let batches = gathering.take(0);
        let expected = [(3, "named"), (at, "keyed"), (2, "stuck")];
        for (partition, value) in expected {
            assert!(shown(&batches).iter().any(|(p, v)| *p == partition && v.iter().any(|v| v == value)));
        }
        let wrong = NewRecord { partition: Some(4), ..record(None, "") };
        assert_eq!(gathering.push(&wrong, 0).expect_err("no partition").kind, crate::problem::Kind::NO_PARTITION);
    }

    #[test]
    fn the_same_request_has_the_same_identities_whenever_it_comes() {
        let identities = |now: i64, random: u64, values: [&'static str; 3]| {
            let mut gathering = Gathering::new(topic(9, 1 << 20), Some(RequestKey::new(b"key")), random);
            let mut found = Vec::new();
            for value in values {
                gathering.push(&record(None, value), now).expect("a place");
                for batch in gathering.take(random) {
                    let header = BatchHeader::parse(&batch.append.batch).expect("a header");
                    found.push((
                        batch.append.partition.0,
                        header.producer_id,
                        header.producer_epoch,
                        header.base_sequence,
                    ));
                }
            }
            found
        };
        let first = identities(1, 1, ["a", "b", "c"]);
        assert_eq!(first, identities(2, 2, ["a", "b", "c"]));
        let other = identities(1, 1, ["a", "x", "c"]);
        assert_eq!((first[0], first[2]), (other[0], other[2]));
        assert_eq!(first[1].1, other[1].1);
        assert_ne!(first[1].2, other[1].2);
    }
}
