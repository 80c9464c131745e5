//! Making batches, as a producer does. Builders are used by tests, load generators and front ends other than Kafka's.

use std::io::{self, Write};

use bytes::{Bytes, BytesMut};

use super::TimestampType;
use super::decompress::XERIAL_HEADER;
use super::header::{BATCH_OVERHEAD, CONTROL, CRC_START, Codec, LOG_APPEND_TIME, TRANSACTIONAL};
use crate::crc;

/// What Java's `SnappyOutputStream` puts into one block.
const XERIAL_BLOCK: usize = 32 << 10;

/// Collects records and encodes them as one batch.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    codec: Codec,
    attributes: i16,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    records: Vec<u8>,
    count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl BatchBuilder {
    /// Uncompressed, CreateTime, not idempotent.
    pub const fn new() -> Self {
        Self {
            codec: Codec::None,
            attributes: 0,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            records: Vec::new(),
            count: 0,
            base_timestamp: -1,
            max_timestamp: -1,
        }
    }

    #[must_use]
    pub const fn codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    #[must_use]
    pub const fn producer(mut self, id: i64, epoch: i16, base_sequence: i32) -> Self {
        self.producer_id = id;
        self.producer_epoch = epoch;
        self.base_sequence = base_sequence;
        self
    }

    #[must_use]
    pub const fn timestamp_type(mut self, timestamp_type: TimestampType) -> Self {
        match timestamp_type {
            TimestampType::CreateTime => self.attributes &= !LOG_APPEND_TIME,
            TimestampType::LogAppendTime => self.attributes |= LOG_APPEND_TIME,
        }
        self
    }

    #[must_use]
    pub const fn transactional(mut self) -> Self {
        self.attributes |= TRANSACTIONAL;
        self
    }

    #[must_use]
    pub const fn control(mut self) -> Self {
        self.attributes |= CONTROL;
        self
    }

    pub const fn count(&self) -> i32 {
        self.count
    }

    /// Bytes of the records so far, before compression.
    pub const fn records_len(&self) -> usize {
        self.records.len()
    }

    /// Adds a record with a timestamp in ms (−1: none) and headers as (key, value).
    pub fn push<'a>(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>), IntoIter: Clone>,
    ) {
        if self.count == 0 {
            self.base_timestamp = timestamp;
            self.max_timestamp = timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let headers = headers.into_iter();
        let timestamp_delta = timestamp - self.base_timestamp;
        let headers_count = headers.clone().count() as i64;
        let length = 1
            + varint_len(timestamp_delta)
            + varint_len(i64::from(self.count))
            + nullable_len(key)
            + nullable_len(value)
            + varint_len(headers_count)
            + headers.clone().map(|(k, v)| nullable_len(Some(k)) + nullable_len(v)).sum::<usize>();
        let out = &mut self.records;
        put_varint(out, length as i64);
        out.push(0);
        put_varint(out, timestamp_delta);
        put_varint(out, i64::from(self.count));
        put_nullable(out, key);
        put_nullable(out, value);
        put_varint(out, headers_count);
        for (k, v) in headers {
            put_nullable(out, Some(k));
            put_nullable(out, v);
        }
        self.count += 1;
    }

    /// The batch with base offset 0 and leader epoch −1, as producers send it.
    pub fn build(&self) -> Bytes {
        let compressed;
        let records = match self.codec {
            Codec::None => &self.records,
            codec => {
                compressed = compress(codec, &self.records);
                &compressed
            }
        };
        let total = BATCH_OVERHEAD + records.len();
        let length = i32::try_from(total - 12).expect("a batch stays below 2 GiB");
        let mut out = BytesMut::with_capacity(total);
        out.extend_from_slice(&0i64.to_be_bytes());
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&(-1i32).to_be_bytes());
        out.extend_from_slice(&[2, 0, 0, 0, 0]);
        out.extend_from_slice(&(self.attributes | self.codec.bits()).to_be_bytes());
        out.extend_from_slice(&(self.count - 1).to_be_bytes());
        out.extend_from_slice(&self.base_timestamp.to_be_bytes());
        out.extend_from_slice(&self.max_timestamp.to_be_bytes());
        out.extend_from_slice(&self.producer_id.to_be_bytes());
        out.extend_from_slice(&self.producer_epoch.to_be_bytes());
        out.extend_from_slice(&self.base_sequence.to_be_bytes());
        out.extend_from_slice(&self.count.to_be_bytes());
        out.extend_from_slice(records);
        let crc = crc::crc32c(&out[CRC_START..]);
        out[17..CRC_START].copy_from_slice(&crc.to_be_bytes());
        out.freeze()
    }
}

/// Compresses the records of a batch in the form that every Kafka client reads.
pub fn compress(codec: Codec, records: &[u8]) -> Vec<u8> {
    let written = match codec {
        Codec::None => Ok(records.to_vec()),
        Codec::Gzip => gzip(records),
        Codec::Snappy => snappy(records),
        Codec::Lz4 => lz4(records),
        Codec::Zstd => zstd::bulk::compress(records, zstd::DEFAULT_COMPRESSION_LEVEL),
    };
    written.expect("writing to memory does not fail")
}

fn gzip(records: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    out.write_all(records)?;
    out.finish()
}

/// Java's reader wants independent blocks and neither a dictionary nor linked ones.
fn lz4(records: &[u8]) -> io::Result<Vec<u8>> {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    let info = FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
    let mut out = FrameEncoder::with_frame_info(info, Vec::new());
    out.write_all(records)?;
    out.finish().map_err(io::Error::other)
}

fn snappy(records: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = snap::raw::Encoder::new();
    let mut out = XERIAL_HEADER.to_vec();
    for chunk in records.chunks(XERIAL_BLOCK) {
        let block = encoder.compress_vec(chunk).map_err(io::Error::other)?;
        out.extend_from_slice(&(block.len() as u32).to_be_bytes());
        out.extend_from_slice(&block);
    }
    Ok(out)
}

const fn zigzag(n: i64) -> u64 {
    (n << 1 ^ n >> 63) as u64
}

const fn varint_len(n: i64) -> usize {
    let bits = 64 - (zigzag(n) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

fn put_varint(out: &mut Vec<u8>, n: i64) {
    let mut raw = zigzag(n);
    while raw >= 0x80 {
        out.push(raw as u8 | 0x80);
        raw >>= 7;
    }
    out.push(raw as u8);
}

fn nullable_len(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |b| varint_len(b.len() as i64) + b.len())
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varint(out, -1),
        Some(b) => {
            put_varint(out, b.len() as i64);
            out.extend_from_slice(b);
        }
    }
}
