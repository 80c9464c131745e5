//! The committed offsets of one group.

use std::sync::Arc;

use lakebed_record::ops::PartitionOffset;
use lakebed_record::{LogTime, TopicPartition};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next record that the group wants.
    pub offset: i64,
    /// −1: not known.
    pub leader_epoch: i32,
    pub committed_at: LogTime,
    /// The consumer's business.
    pub metadata: Arc<str>,
}

impl CommittedOffset {
    pub(super) fn new(op: &PartitionOffset, committed_at: LogTime) -> CommittedOffset {
        let (offset, leader_epoch) = (op.offset, op.leader_epoch);
        CommittedOffset { offset, leader_epoch, committed_at, metadata: shared(&op.metadata) }
    }
}

/// Nearly all are empty, and those share one.
pub(super) fn shared(metadata: &str) -> Arc<str> {
    if metadata.is_empty() { Arc::default() } else { metadata.into() }
}

/// A chunk that grows past this is split in two.
const CHUNK: usize = 128;

type Chunk = Vec<(TopicPartition, CommittedOffset)>;

/// Offsets by partition, in shared chunks: a copy-on-write clone copies pointers, and a change after it one chunk.
#[derive(Clone, Debug, Default)]
pub struct Offsets {
    /// In order, none empty.
    chunks: Vec<Arc<Chunk>>,
    len: usize,
}

/// However they are cut into chunks.
impl PartialEq for Offsets {
    fn eq(&self, other: &Offsets) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Offsets {}

impl Offsets {
    pub fn get(&self, tp: TopicPartition) -> Option<&CommittedOffset> {
        let chunk = self.chunks.get(self.chunk_of(tp))?;
        let index = chunk.binary_search_by_key(&tp, |(k, _)| *k).ok()?;
        Some(&chunk[index].1)
    }

    /// In the order of topic ids and partitions.
    pub fn iter(&self) -> impl Iterator<Item = (TopicPartition, &CommittedOffset)> {
        self.chunks.iter().flat_map(|c| c.iter()).map(|(tp, offset)| (*tp, offset))
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first chunk that does not end before `tp`.
    fn chunk_of(&self, tp: TopicPartition) -> usize {
        self.chunks.partition_point(|c| c.last().is_some_and(|(last, _)| *last < tp))
    }

    pub(super) fn insert(&mut self, tp: TopicPartition, offset: CommittedOffset) {
        // What lies behind all goes to the end of the last chunk.
        let at = self.chunk_of(tp).min(self.chunks.len().saturating_sub(1));
        let Some(chunk) = self.chunks.get_mut(at) else {
            self.chunks.push(Arc::new(vec![(tp, offset)]));
            self.len = 1;
            return;
        };
        let chunk = Arc::make_mut(chunk);
        match chunk.binary_search_by_key(&tp, |(k, _)| *k) {
            Ok(index) => chunk[index].1 = offset,
            Err(index) => {
                chunk.insert(index, (tp, offset));
                self.len += 1;
            }
        }
        if chunk.len() > CHUNK {
            let behind = chunk.split_off(chunk.len() / 2);
            self.chunks.insert(at + 1, Arc::new(behind));
        }
    }

    pub(super) fn remove(&mut self, tp: TopicPartition) {
        let at = self.chunk_of(tp);
        let Some(index) = self.chunks.get(at).and_then(|c| c.binary_search_by_key(&tp, |(k, _)| *k).ok()) else {
            return;
        };
        let chunk = Arc::make_mut(&mut self.chunks[at]);
        chunk.remove(index);
        self.len -= 1;
        if chunk.is_empty() {
            self.chunks.remove(at);
        }
    }

    /// How many chunks are not shared with `other`.
    #[cfg(test)]
    pub(super) fn unshared(&self, other: &Offsets) -> (usize, usize) {
        let shared = |c: &Arc<Chunk>| other.chunks.iter().any(|o| Arc::ptr_eq(o, c));
        (self.chunks.iter().filter(|c| !shared(c)).count(), self.chunks.len())
    }
}
