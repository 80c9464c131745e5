//! The first record at or past a time, without keeping any: what is held at once does not grow with the batch.

use super::header::{BATCH_OVERHEAD, BatchHeader, Codec, TimestampType};
use super::record::{Cursor, Source, finish, head};
use super::stream::Stream;
use super::{BatchError, Limits};

/// Where a record lies, and when it is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Counts from the batch's base offset.
    pub offset_delta: i32,
    /// ms since the epoch.
    pub timestamp: i64,
}

/// The first record of the batch at the start of `bytes` with at least this offset delta and timestamp (ms). The CRC is not looked at, and
/// nothing past that record.
pub fn first_at(bytes: &[u8], from: i64, timestamp: i64, limits: Limits) -> Result<Option<Found>, BatchError> {
    let header = BatchHeader::parse(bytes)?;
    let records = bytes
        .get(BATCH_OVERHEAD..header.total_len())
        .ok_or(BatchError::Corrupt("the batch is longer than the bytes that are there"))?;
    match header.codec()? {
        Codec::None => search(&header, &mut Cursor::new(records), from, timestamp),
        codec => search(&header, &mut Stream::new(codec, records, limits.max_decompressed)?, from, timestamp),
    }
}

fn search(header: &BatchHeader, source: &mut impl Source, from: i64, wanted: i64) -> Result<Option<Found>, BatchError> {
    for _ in 0..header.count {
        let head = head(source)?;
        finish(source, &head)?;
        let timestamp = match header.timestamp_type() {
            TimestampType::CreateTime => header.base_timestamp.wrapping_add(head.timestamp_delta),
            TimestampType::LogAppendTime => header.max_timestamp,
        };
        if timestamp >= wanted && i64::from(head.offset_delta) >= from {
            return Ok(Some(Found { offset_delta: head.offset_delta, timestamp }));
        }
    }
    Ok(None)
}
