//! What a broker checks before it accepts a producer's batch.
//!
//! The checks are those of Kafka's `LogValidator`, so that no client that Kafka accepts is refused. Memory stays bounded
//! whatever is declared: compressed records are walked as a stream through a buffer of 16 KiB.

use std::io::{self, Read};

use super::header::{BATCH_OVERHEAD, BatchHeader, Codec, crc_matches};
use super::record::{Cursor, Source, finish, head};
use super::{BatchError, Limits, decompress};

const STREAM_BUFFER: usize = 16 << 10;

/// A batch that may be stored, with what its records say about time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validated {
    pub header: BatchHeader,
    /// Smallest and largest timestamp of the records (ms). Where the larger one is not `header.max_timestamp`, Kafka
    /// corrects the header: [`set_max_timestamp`](super::set_max_timestamp).
    pub min_timestamp: i64,
    pub max_timestamp: i64,
    /// Bytes of its records after decompression; 0 if they were not compressed.
    pub decompressed: u64,
}

/// Checks that `bytes` is exactly one batch that a client may produce: CRC-32C, counts, and every record in it.
pub fn validate(bytes: &[u8], limits: Limits) -> Result<Validated, BatchError> {
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
    let ((min_timestamp, max_timestamp), decompressed) = match codec {
        Codec::None => {
            let mut cursor = Cursor::new(records);
            let timestamps = walk(&header, &mut cursor)?;
            if cursor.position() != records.len() as u64 {
                return Err(LEFT_OVER);
            }
            (timestamps, 0)
        }
        codec => {
            let mut stream = Stream::new(codec, records, limits.max_decompressed)?;
            let timestamps = walk(&header, &mut stream)?;
            let read = stream.read;
            stream.expect_end()?;
            (timestamps, read)
        }
    };
    Ok(Validated { header, min_timestamp, max_timestamp, decompressed })
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

/// Decompressed records, passed over without being kept.
struct Stream<'a> {
    reader: Box<dyn Read + 'a>,
    cap: u64,
    buffer: Vec<u8>,
    at: usize,
    /// Bytes that were read into the buffer, ever.
    read: u64,
}

impl<'a> Stream<'a> {
    fn new(codec: Codec, compressed: &'a [u8], cap: u64) -> Result<Self, BatchError> {
        let reader = decompress::reader(codec, compressed, cap).map_err(|e| decompress::read_error(&e, cap))?;
        Ok(Self { reader, cap, buffer: Vec::with_capacity(STREAM_BUFFER), at: 0, read: 0 })
    }

    /// Bytes that can be taken now; none only at the end.
    fn fill(&mut self) -> Result<usize, BatchError> {
        if self.at == self.buffer.len() {
            self.at = 0;
            self.buffer.resize(STREAM_BUFFER, 0);
            let n = loop {
                match self.reader.read(&mut self.buffer) {
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    result => break result.map_err(|e| decompress::read_error(&e, self.cap)),
                }
            };
            self.buffer.truncate(*n.as_ref().unwrap_or(&0));
            self.read += n? as u64;
            if self.read > self.cap {
                return Err(BatchError::TooLarge(self.cap));
            }
        }
        Ok(self.buffer.len() - self.at)
    }

    fn expect_end(mut self) -> Result<(), BatchError> {
        if self.fill()? == 0 { Ok(()) } else { Err(LEFT_OVER) }
    }
}

const STREAM_END: BatchError = BatchError::Invalid("the records end in the middle of one");

impl Source for Stream<'_> {
    type Taken = ();

    #[inline]
    fn byte(&mut self) -> Result<u8, BatchError> {
        if self.fill()? == 0 {
            return Err(STREAM_END);
        }
        self.at += 1;
        Ok(self.buffer[self.at - 1])
    }

    fn take(&mut self, mut n: usize) -> Result<(), BatchError> {
        while n > 0 {
            let step = self.fill()?.min(n);
            if step == 0 {
                return Err(STREAM_END);
            }
            self.at += step;
            n -= step;
        }
        Ok(())
    }

    fn position(&self) -> u64 {
        self.read - (self.buffer.len() - self.at) as u64
    }
}
