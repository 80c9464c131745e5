//! From stored batches to those on the wire: finds the offset, patches each batch's first 16 bytes, cuts at whole batches.
//! Pure.

use bytes::{Bytes, BytesMut};
use lakebed_manifest::Entry;
use lakebed_record::batch::{BATCH_OVERHEAD, BatchError, BatchHeader, patched_header};
use lakebed_record::crc;

use super::rope::Rope;

/// Batches below this many bytes are copied; larger ones are referred to.
const SMALL: u64 = 4 << 10;
const PATCHED: u64 = 16;
/// The batch's CRC covers what follows here.
const CRC_START: u64 = 21;

/// Whether the bytes were checked since they left the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Out of this node's own memory, where a producer's checked bytes were put.
    Checked,
    /// Read from the store: every batch's CRC is computed.
    Check,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WalkError {
    #[error("the object ends before the batches that the index names")]
    Short,
    #[error("{0}")]
    Batch(#[from] BatchError),
    #[error("the stored batches do not add up to what the index says")]
    Index,
}

/// One batch of an entry, with the offset it got.
#[derive(Clone, Copy, Debug)]
pub struct StoredBatch {
    pub header: BatchHeader,
    pub base_offset: i64,
    /// Where it starts in the object.
    pub start: u64,
}

impl StoredBatch {
    pub fn len(&self) -> u64 {
        self.header.total_len() as u64
    }

    pub fn next_offset(&self) -> i64 {
        self.base_offset + i64::from(self.header.last_offset_delta) + 1
    }
}

/// The batches of an entry, in order; an error is the last item.
pub fn batches<'a>(entry: &Entry, rope: &'a Rope) -> impl Iterator<Item = Result<StoredBatch, WalkError>> + use<'a> {
    let Entry { start, len, base_offset, offsets, .. } = *entry;
    let (mut at, mut offset) = (start, base_offset);
    let (end, end_offset) = (start + len, base_offset + offsets as i64);
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let item = batch_at(rope, at, offset).and_then(|batch| {
            let (next, next_offset) = (at + batch.len(), batch.next_offset());
            // The last batch ends exactly where the entry does, in bytes and in offsets.
            let fits = next <= end && (next == end) == (next_offset == end_offset) && next_offset > offset;
            (at, offset) = (next, next_offset);
            if fits { Ok(batch) } else { Err(WalkError::Index) }
        });
        if item.is_err() {
            at = end;
        }
        Some(item)
    })
}

fn batch_at(rope: &Rope, at: u64, offset: i64) -> Result<StoredBatch, WalkError> {
    let mut head = [0; BATCH_OVERHEAD];
    if !rope.copy_to(at, &mut head) {
        return Err(WalkError::Short);
    }
    Ok(StoredBatch { header: BatchHeader::parse(&head)?, base_offset: offset, start: at })
}

pub fn verify(batch: &StoredBatch, rope: &Rope) -> Result<(), WalkError> {
    let range = batch.start + CRC_START..batch.start + batch.len();
    if !rope.covers(&range) {
        return Err(WalkError::Short);
    }
    let pieces = rope.slices(range);
    let sum = pieces.fold(crc::crc32c(&[]), |sum, p| crc::combine(sum, crc::crc32c(&p), p.len() as u64));
    if sum == batch.header.crc {
        Ok(())
    } else {
        Err(BatchError::Corrupt("stored batch: CRC-32C does not match").into())
    }
}

/// Collects the batches of one partition's answer.
#[derive(Debug)]
pub struct Collector {
    /// Batches that end at or before this offset are passed over; what is taken moves it on.
    offset: i64,
    limit: u64,
    /// The first batch is taken whatever its size.
    first_always: bool,
    pieces: Vec<Bytes>,
    small: BytesMut,
    len: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    Left,
    Full,
}

impl Collector {
    /// `limit` in bytes.
    pub fn new(offset: i64, limit: u64, first_always: bool) -> Collector {
        Collector { offset, limit, first_always, pieces: Vec::new(), small: BytesMut::new(), len: 0 }
    }

    /// `until`: batches from this offset on are not wanted.
    pub fn entry(&mut self, entry: &Entry, until: i64, rope: &Rope, trust: Trust) -> Result<Room, WalkError> {
        for batch in batches(entry, rope) {
            let batch = batch?;
            if batch.base_offset >= until {
                break;
            }
            if batch.next_offset() <= self.offset {
                continue;
            }
            let fits = self.len + batch.len() <= self.limit || (self.len == 0 && self.first_always);
            if !fits {
                return Ok(Room::Full);
            }
            if trust == Trust::Check {
                verify(&batch, rope)?;
            }
            self.take(&batch, rope)?;
        }
        Ok(if self.len < self.limit { Room::Left } else { Room::Full })
    }

    fn take(&mut self, batch: &StoredBatch, rope: &Rope) -> Result<(), WalkError> {
        let mut length = [0; 12];
        length[8..].copy_from_slice(&batch.header.length.to_be_bytes());
        self.small.extend_from_slice(&patched_header(batch.base_offset, &length));
        let rest = batch.start + PATCHED..batch.start + batch.len();
        if !rope.covers(&rest) {
            return Err(WalkError::Short);
        }
        if batch.len() < SMALL {
            rope.slices(rest).for_each(|piece| self.small.extend_from_slice(&piece));
        } else {
            self.pieces.push(self.small.split().freeze());
            self.pieces.extend(rope.slices(rest));
        }
        self.len += batch.len();
        self.offset = batch.next_offset();
        Ok(())
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn finish(mut self) -> Vec<Bytes> {
        if !self.small.is_empty() {
            self.pieces.push(self.small.freeze());
        }
        self.pieces
    }
}

#[cfg(test)]
mod tests;
