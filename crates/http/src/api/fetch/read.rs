//! Reads record batches and shows their records in JSON, within memory that was taken before.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::FutureExt;
use lakebed_broker::api::{FetchPartition, FetchRequest, Fetched, TopicInfo};
use lakebed_broker::{Broker, MemoryPermit};
use lakebed_record::Partition;
use lakebed_record::batch::{self, BATCH_OVERHEAD, BatchError, BatchHeader, Codec, Limits};

use super::position::Positions;
use crate::api::Replies;
use crate::api::record::{Encoding, RecordOut};
use crate::body::take;
use crate::problem::{Kind, Problem};

/// What a batch may decompress to at first, and with more memory: as much as is accepted of producers.
const FEW: u64 = 4 << 20;
/// Of each partition at least so many bytes of batches are read.
const LEAST_OF_PARTITION: usize = 64 << 10;

/// What to read, and how much of it to show.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of batches as they are stored, and of JSON; a first record is shown whatever its size.
    pub max_bytes: usize,
    pub max_records: usize,
    pub encoding: Encoding,
}

/// What was found of one partition.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    pub log_start_offset: i64,
    pub high_watermark: i64,
}

/// Records in JSON, and where to go on behind each.
pub struct Shown {
    pub json: Vec<u8>,
    /// Where each record ends in `json`, its partition, and the offset behind it.
    pub ends: Vec<(usize, i32, i64)>,
    pub next: Positions,
    pub ranges: BTreeMap<i32, Range>,
    /// For `json`.
    pub permit: MemoryPermit,
}

/// What there is from these positions on, at once.
pub async fn read(
    broker: &Broker,
    replies: &Replies,
    topic: &TopicInfo,
    from: &Positions,
    bounds: Bounds,
) -> Result<Shown, Problem> {
    let mut permit = take(&replies.answers, 2 * bounds.max_bytes).await?;
    let order = rotated(from);
    let request = request(topic, &order, bounds.max_bytes, Duration::ZERO);
    let fetched = broker.fetch(request).await;
    let mut shown = Vec::new();
    for ((partition, offset), fetched) in order.into_iter().zip(fetched) {
        shown.push((partition, offset, fetched.map_err(|e| Problem::fetch(partition, &e))?));
    }
    let mut page = Page { bounds, json: Vec::new(), ends: Vec::new() };
    let (mut next, mut ranges) = (from.clone(), BTreeMap::new());
    for (partition, offset, fetched) in shown {
        let Fetched { log_start_offset, high_watermark, .. } = fetched;
        ranges.insert(partition, Range { log_start_offset, high_watermark });
        let behind = page.partition(broker, replies, partition, offset, fetched).await?;
        next.0.insert(partition, behind);
    }
    match page.json.len().checked_sub(permit.bytes()) {
        // A record that is larger than what was asked for: who holds memory does not wait for more.
        Some(missing) => {
            replies.answers.acquire(missing).now_or_never().into_iter().for_each(|more| permit.merge(more))
        }
        None => permit.shrink_to(page.json.len()),
    }
    Ok(Shown { json: page.json, ends: page.ends, next, ranges, permit })
}

/// Waits until there is something, or not any longer than `wait`.
pub async fn wait(broker: &Broker, topic: &TopicInfo, from: &Positions, wait: Duration) {
    let order: Vec<_> = from.0.iter().map(|(partition, offset)| (*partition, *offset)).collect();
    // Whatever is found is read again, with memory for it.
    let _found = broker.fetch(request(topic, &order, 1, wait)).await;
}

/// Not always the same partition first, or it might be the only one.
fn rotated(from: &Positions) -> Vec<(i32, i64)> {
    let mut order: Vec<_> = from.0.iter().map(|(partition, offset)| (*partition, *offset)).collect();
    let sum = order.iter().fold(0u64, |sum, (_, offset)| sum.wrapping_add(*offset as u64));
    let first = (sum % order.len().max(1) as u64) as usize;
    order.rotate_left(first);
    order
}

fn request(topic: &TopicInfo, order: &[(i32, i64)], max_bytes: usize, max_wait: Duration) -> FetchRequest {
    let each = (max_bytes / order.len().max(1)).max(LEAST_OF_PARTITION);
    let partitions = order.iter().map(|(partition, offset)| FetchPartition {
        topic: topic.id,
        partition: Partition(*partition),
        offset: *offset,
        max_bytes: each,
    });
    FetchRequest { partitions: partitions.collect(), min_bytes: 1, max_bytes, max_wait }
}

/// Whole batches that lie in pieces, which recent records share with others: put together one at a time.
struct Pieces(VecDeque<Bytes>);

impl Pieces {
    fn next_batch(&mut self) -> Result<Option<(BatchHeader, Bytes)>, BatchError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let header = BatchHeader::parse(&self.take(BATCH_OVERHEAD, Peek::Only))?;
        let mut batch = self.take(header.total_len(), Peek::Away);
        batch::split_first(&mut batch)
    }

    /// So many bytes, or what there is.
    fn take(&mut self, len: usize, peek: Peek) -> Bytes {
        let there = self.0.iter().map(Bytes::len).sum::<usize>();
        let mut taken = Vec::with_capacity(len.min(there));
        for piece in &mut self.0 {
            let part = piece.len().min(len - taken.len());
            taken.extend_from_slice(&piece[..part]);
            if peek == Peek::Away {
                piece.advance(part);
            }
            if taken.len() == len {
                break;
            }
        }
        while self.0.front().is_some_and(Bytes::is_empty) {
            self.0.pop_front();
        }
        taken.into()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Peek {
    Only,
    Away,
}

struct Page {
    bounds: Bounds,
    json: Vec<u8>,
    ends: Vec<(usize, i32, i64)>,
}

impl Page {
    fn is_full(&self) -> bool {
        self.json.len() >= self.bounds.max_bytes || self.ends.len() >= self.bounds.max_records
    }

    /// Shows records from `offset` on; gives the offset behind the last.
    async fn partition(
        &mut self,
        broker: &Broker,
        replies: &Replies,
        partition: i32,
        mut offset: i64,
        fetched: Fetched,
    ) -> Result<i64, Problem> {
        let mut pieces = Pieces(fetched.records.into());
        while !self.is_full()
            && let Some((header, batch)) = pieces.next_batch().map_err(damaged)?
        {
            offset = match header.codec().map_err(damaged)? {
                Codec::None => self.batch(partition, offset, &header, &batch, u64::MAX).map_err(damaged)?,
                _ => self.compressed(broker, replies, partition, offset, &header, &batch).await?,
            };
        }
        Ok(offset)
    }

    /// Most batches are small; one that is not needs memory for the most that it may be.
    async fn compressed(
        &mut self,
        broker: &Broker,
        replies: &Replies,
        partition: i32,
        offset: i64,
        header: &BatchHeader,
        batch: &Bytes,
    ) -> Result<i64, Problem> {
        let most = Limits::default().max_decompressed;
        for limit in [FEW, most] {
            // A vector that grows is twice as large at worst.
            let _memory = take(&replies.decompressed, (2 * limit) as usize).await?;
            let turn = broker.turn().await;
            match turn.run(|| self.batch(partition, offset, header, batch, limit)) {
                Err(BatchError::TooLarge(_)) if limit < most => {}
                shown => return shown.map_err(damaged),
            }
        }
        Err(damaged(BatchError::TooLarge(most)))
    }

    fn batch(
        &mut self,
        partition: i32,
        from: i64,
        header: &BatchHeader,
        batch: &[u8],
        max_decompressed: u64,
    ) -> Result<i64, BatchError> {
        let records = batch::records(batch, Limits { max_decompressed })?;
        for record in &records {
            let record = record?;
            let offset = header.base_offset + i64::from(record.offset_delta);
            if offset < from {
                continue;
            }
            if self.is_full() {
                return Ok(offset);
            }
            let out = RecordOut { partition, offset, record: &record, encoding: self.bounds.encoding };
            serde_json::to_writer(&mut self.json, &out).map_err(|_| BatchError::Invalid("no JSON"))?;
            self.ends.push((self.json.len(), partition, offset + 1));
        }
        Ok(header.base_offset + i64::from(header.last_offset_delta) + 1)
    }
}

fn damaged(error: BatchError) -> Problem {
    Problem::new(Kind::INTERNAL, format!("a stored record batch cannot be shown: {error}"))
}

#[cfg(test)]
mod tests {
    use lakebed_record::batch::BatchBuilder;

    use super::*;

    #[test]
    fn batches_are_put_together_from_any_pieces() {
        let batch = |value: &[u8]| {
            let mut builder = BatchBuilder::new();
            builder.push(1, None, Some(value), []);
            builder.build()
        };
        let (first, second) = (batch(b"first"), batch(&[7; 100]));
        let whole = [&first[..], &second[..]].concat();
        for size in [1, 16, 61, 70, 1000] {
            let mut pieces = Pieces(whole.chunks(size).map(Bytes::copy_from_slice).collect());
            let mut next = || pieces.next_batch().expect("a batch").map(|(_, batch)| batch);
            assert_eq!((next(), next(), next()), (Some(first.clone()), Some(second.clone()), None), "{size}");
        }
        let mut cut = Pieces([Bytes::copy_from_slice(&whole[..whole.len() - 1])].into());
        assert!(cut.next_batch().is_ok() && cut.next_batch().is_err());
    }
}
