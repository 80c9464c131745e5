//! What a broker checks before it accepts a producer's batch.
//!
//! The checks are those of Kafka's `LogValidator`, so that no client that Kafka accepts is refused. Memory stays bounded
//! whatever is declared: compressed records are walked as a stream.

use super::header::{BATCH_OVERHEAD, BatchHeader, Codec, crc_matches};
use super::record::{Cursor, Source, finish, head};
use super::stream::Stream;
use super::{BatchError, Limits};

/// A batch that may be stored, with what its records say about time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validated {
    pub header: BatchHeader,
    /// Smallest and largest timestamp of the records (ms). Where the larger one is not `header.max_timestamp`, Kafka
    /// corrects the header: [`set_max_timestamp`](super::set_max_timestamp).
    pub min_timestamp: i64,
    pub max_timestamp: i64,
}

/// Checks that `bytes` is exactly one batch that a client may produce: CRC-32C, counts, and every record in it.
pub fn validate(bytes: &[u8], limits: Limits) -> Result<Validated, BatchError> {
    validate_counting(bytes, limits, &mut 0)
}

/// As [`validate`]; adds to `decompressed` what came out of the codec, also where that was not a batch: bytes.
pub fn validate_counting(bytes: &[u8], limits: Limits, decompressed: &mut u64) -> Result<Validated, BatchError> {
    let header = BatchHeader::parse(bytes)?;
    if header.total_len() != bytes.len() {
        return Err(BatchError::Corrupt("the batch length does not match the bytes that are there"));
    }
    if !crc_matches(&header, bytes) {
        return Err(BatchError::Corrupt("CRC-32C does not match"));
    }
    let codec = header.codec()?;
    check_header(&header)?;
    let records = &bytes[BATCH_OVERHEAD..];
    let (min_timestamp, max_timestamp) = match codec {
        Codec::None => {
            let mut cursor = Cursor::new(records);
            let timestamps = walk(&header, &mut cursor)?;
            if cursor.position() != records.len() as u64 {
                return Err(LEFT_OVER);
            }
            timestamps
        }
        codec => {
            let mut stream = Stream::new(codec, records, limits.max_decompressed)?;
            let timestamps = walk(&header, &mut stream)
                .and_then(|timestamps| if stream.is_at_end()? { Ok(timestamps) } else { Err(LEFT_OVER) });
            *decompressed += stream.read();
            timestamps?
        }
    };
    Ok(Validated { header, min_timestamp, max_timestamp })
}

const LEFT_OVER: BatchError = BatchError::Invalid("bytes follow the last record");

fn check_header(header: &BatchHeader) -> Result<(), BatchError> {
    if header.is_control() {
        return Err(BatchError::Invalid("clients may not write control batches"));
    }
    if header.count < 1 {
        return Err(BatchError::Invalid("the batch has no records"));
    }
    if header.last_offset_delta != header.count - 1 {
        return Err(BatchError::Invalid("the last offset delta does not match the record count"));
    }
    match (header.is_idempotent(), header.is_transactional()) {
        (true, _) if header.base_sequence < 0 || header.producer_epoch < 0 => {
            Err(BatchError::Invalid("a producer id comes without a sequence number or an epoch"))
        }
        (false, true) => Err(BatchError::Invalid("a transactional batch has no producer id")),
        _ => Ok(()),
    }
}

fn walk(header: &BatchHeader, source: &mut impl Source) -> Result<(i64, i64), BatchError> {
    let (mut min, mut max) = (i64::MAX, i64::MIN);
    for expected in 0..header.count {
        let head = head(source)?;
        finish(source, &head)?;
        if head.offset_delta != expected {
            return Err(BatchError::Invalid("the records' offset deltas do not run 0, 1, 2, …"));
        }
        let timestamp = header
            .base_timestamp
            .checked_add(head.timestamp_delta)
            .ok_or(BatchError::Invalid("a record's timestamp does not fit 64 bits"))?;
        min = min.min(timestamp);
        max = max.max(timestamp);
    }
    Ok((min, max))
}
