//! Layout of one flush: batches grouped by partition, their order kept, as a rope with its CRC; and the append op that
//! refers to it. Pure.
//!
//! Large batches stay where they were read from the socket; small ones are copied together, so that neither the rope
//! nor the memory it pins is made of crumbs.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use lakebed_record::ops::{self, BatchMeta, PartitionAppend, Place};
use lakebed_record::{TopicPartition, crc};

use super::connection::Connection;
use super::request::Request;

/// Batches below this many bytes are copied together.
const SMALL: usize = 16 << 10;

/// A validated batch on its way.
#[derive(Clone, Debug)]
pub struct Batch {
    pub request: Arc<Request>,
    /// Which one of the request's batches.
    pub index: usize,
    pub connection: Arc<Connection>,
    pub partition: TopicPartition,
    pub bytes: Bytes,
    /// CRC-32C of all of `bytes`.
    pub crc: u32,
    pub meta: BatchMeta,
    /// What was stamped (ms), or −1.
    pub log_append_time: i64,
    /// When it was queued (monotonic).
    pub queued: Duration,
}

impl Batch {
    pub fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// It still waits for its group, for somebody: a request whose time is up expires here, whoever waits for its answer.
    pub fn is_wanted(&self, now: Duration) -> bool {
        if self.request.is_due(now) || self.connection.is_long_gone(now) {
            self.request.expire();
        }
        self.request.is_queued(self.index)
    }
}

#[derive(Debug)]
pub struct Assembled {
    /// By partition, then in the order of their coming; this is the order of the bytes.
    pub batches: Vec<Batch>,
    pub chunks: Vec<Bytes>,
    pub len: u64,
    pub crc: u32,
}

pub fn assemble(mut batches: Vec<Batch>) -> Assembled {
    batches.sort_by_key(|b| b.partition);
    let mut chunks = Vec::new();
    for run in batches.chunk_by_mut(|a, b| a.bytes.len() < SMALL && b.bytes.len() < SMALL) {
        match run {
            [one] if one.bytes.len() >= SMALL => chunks.push(one.bytes.clone()),
            small => chunks.push(copy_together(small)),
        }
    }
    let len = batches.iter().map(Batch::len).sum();
    let crc = batches.iter().fold(crc::crc32c(&[]), |crc, b| crc::combine(crc, b.crc, b.len()));
    Assembled { batches, chunks, len, crc }
}

fn copy_together(batches: &mut [Batch]) -> Bytes {
    let mut all = BytesMut::with_capacity(batches.iter().map(|b| b.bytes.len()).sum());
    batches.iter().for_each(|b| all.extend_from_slice(&b.bytes));
    let all = all.freeze();
    let mut at = 0;
    for batch in batches {
        let end = at + batch.bytes.len();
        batch.bytes = all.slice(at..end);
        at = end;
    }
    all
}

/// The op for those batches that nobody gave up on meanwhile: from here on they may be stored.
#[derive(Debug)]
pub struct Grouped {
    pub op: ops::Append,
    /// For each partition of the op, for each of its batches: its index in [`Assembled::batches`].
    pub members: Vec<Vec<usize>>,
}

impl Assembled {
    pub fn is_wanted(&self, now: Duration) -> bool {
        self.batches.iter().any(|b| b.is_wanted(now))
    }

    /// `start`: where the first batch lies in the place's object. `None` if no batch is wanted any more.
    pub fn group(&self, place: Place, start: u64) -> Option<Grouped> {
        let mut partitions: Vec<PartitionAppend> = Vec::new();
        let mut members: Vec<Vec<usize>> = Vec::new();
        let mut open: Option<TopicPartition> = None;
        let mut at = start;
        for (index, batch) in self.batches.iter().enumerate() {
            if !batch.request.group(batch.index) {
                // Its bytes stay as a gap, so what follows starts a new range.
                open = None;
            } else {
                if open != Some(batch.partition) {
                    open = Some(batch.partition);
                    partitions.push(range(batch.partition, at));
                    members.push(Vec::new());
                }
                partitions.last_mut().expect("one was just opened").batches.push(batch.meta);
                members.last_mut().expect("one was just opened").push(index);
            }
            at += batch.len();
        }
        let op = ops::Append { place: Some(place), partitions };
        (!members.is_empty()).then_some(Grouped { op, members })
    }
}

fn range(partition: TopicPartition, start: u64) -> PartitionAppend {
    PartitionAppend {
        topic_id: partition.topic.0.to_be_bytes().to_vec(),
        partition: partition.partition.0,
        start,
        batches: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
