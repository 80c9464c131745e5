//! The 61 bytes in front of the records, and cutting a run of batches into its parts.

use bytes::Bytes;

use super::BatchError;
use crate::crc;

/// Bytes of a batch before its records.
pub const BATCH_OVERHEAD: usize = 61;
/// Where the bytes start that the CRC covers.
pub(super) const CRC_START: usize = 21;
/// Base offset and length, which the length itself does not count.
const LOG_OVERHEAD: usize = 12;

const CODEC_MASK: i16 = 0x07;
pub(super) const LOG_APPEND_TIME: i16 = 0x08;
pub(super) const TRANSACTIONAL: i16 = 0x10;
pub(super) const CONTROL: i16 = 0x20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Codec {
    pub const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    pub(super) const fn bits(self) -> i16 {
        match self {
            Codec::None => 0,
            Codec::Gzip => 1,
            Codec::Snappy => 2,
            Codec::Lz4 => 3,
            Codec::Zstd => 4,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimestampType {
    CreateTime,
    LogAppendTime,
}

/// The fields of a batch header, as they stand there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    pub base_offset: i64,
    /// Bytes after the length field.
    pub length: i32,
    pub leader_epoch: i32,
    pub crc: u32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    /// ms since the epoch, as are all timestamps; −1: none.
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    /// −1: not idempotent.
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub count: i32,
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`: checks that it is there, magic 2 and of a possible length; nothing else.
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        if let Some(&magic) = bytes.get(16)
            && magic != 2
        {
            return Err(BatchError::Magic(magic as i8));
        }
        let head: &[u8; BATCH_OVERHEAD] =
            bytes.first_chunk().ok_or(BatchError::Corrupt("fewer bytes than a batch header"))?;
        let header = BatchHeader {
            base_offset: i64::from_be_bytes(array(head, 0)),
            length: i32::from_be_bytes(array(head, 8)),
            leader_epoch: i32::from_be_bytes(array(head, 12)),
            crc: u32::from_be_bytes(array(head, 17)),
            attributes: i16::from_be_bytes(array(head, 21)),
            last_offset_delta: i32::from_be_bytes(array(head, 23)),
            base_timestamp: i64::from_be_bytes(array(head, 27)),
            max_timestamp: i64::from_be_bytes(array(head, 35)),
            producer_id: i64::from_be_bytes(array(head, 43)),
            producer_epoch: i16::from_be_bytes(array(head, 51)),
            base_sequence: i32::from_be_bytes(array(head, 53)),
            count: i32::from_be_bytes(array(head, 57)),
        };
        if header.length < (BATCH_OVERHEAD - LOG_OVERHEAD) as i32 {
            return Err(BatchError::Corrupt("the batch length is less than a header"));
        }
        Ok(header)
    }

    /// Length of the whole batch in bytes.
    pub const fn total_len(&self) -> usize {
        LOG_OVERHEAD + self.length as usize
    }

    pub const fn codec(&self) -> Result<Codec, BatchError> {
        match self.attributes & CODEC_MASK {
            0 => Ok(Codec::None),
            1 => Ok(Codec::Gzip),
            2 => Ok(Codec::Snappy),
            3 => Ok(Codec::Lz4),
            4 => Ok(Codec::Zstd),
            other => Err(BatchError::Codec(other as u8)),
        }
    }

    pub const fn timestamp_type(&self) -> TimestampType {
        if self.attributes & LOG_APPEND_TIME == 0 { TimestampType::CreateTime } else { TimestampType::LogAppendTime }
    }

    pub const fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    pub const fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    pub const fn is_idempotent(&self) -> bool {
        self.producer_id >= 0
    }
}

fn array<const N: usize>(head: &[u8; BATCH_OVERHEAD], at: usize) -> [u8; N] {
    head[at..at + N].try_into().expect("a range of N bytes has N bytes")
}

/// Whether the CRC-32C in the header is that of the whole batch's bytes.
pub fn crc_matches(header: &BatchHeader, batch: &[u8]) -> bool {
    batch.get(CRC_START..).is_some_and(|covered| crc::crc32c(covered) == header.crc)
}

/// Cuts the first batch off; `None` at the end. Fails if what is left is not a whole batch.
pub fn split_first(bytes: &mut Bytes) -> Result<Option<(BatchHeader, Bytes)>, BatchError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let header = BatchHeader::parse(bytes)?;
    if header.total_len() > bytes.len() {
        return Err(BatchError::Corrupt("the batch is longer than the bytes that are there"));
    }
    Ok(Some((header, bytes.split_to(header.total_len()))))
}

/// Walks a run of whole batches. After an error there is nothing more.
pub fn batches(bytes: &[u8]) -> Batches<'_> {
    Batches { rest: bytes }
}

#[derive(Clone, Debug)]
pub struct Batches<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<(BatchHeader, &'a [u8]), BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut self.rest);
        Some(BatchHeader::parse(rest).and_then(|header| {
            let (batch, after) = rest
                .split_at_checked(header.total_len())
                .ok_or(BatchError::Corrupt("the batch is longer than the bytes that are there"))?;
            self.rest = after;
            Ok((header, batch))
        }))
    }
}
