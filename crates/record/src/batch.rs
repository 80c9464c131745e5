//! Kafka record batches, format v2 (magic 2): parsing, validation, patching and building.
//!
//! ```text
//!  0  8  base offset          21  2  attributes            43  8  producer id
//!  8  4  length after this    23  4  last offset delta     51  2  producer epoch
//! 12  4  leader epoch         27  8  base timestamp        53  4  base sequence
//! 16  1  magic                35  8  max timestamp         57  4  record count
//! 17  4  CRC-32C of 21..                                   61     records, compressed or not
//! ```
//! Numbers are big-endian. Base offset and leader epoch lie outside the CRC, so a stored batch is never re-encoded: a
//! fetch replaces its first 16 bytes ([`patched_header`]). Uncompressed records are borrowed; compressed ones are read
//! as a stream, so that no allocation follows a length that a client merely declared.

mod build;
mod decompress;
mod find;
mod header;
mod record;
mod stream;
mod validate;

pub use build::{BatchBuilder, compress};
pub use find::{Found, first_at};
pub use header::{BATCH_OVERHEAD, BatchHeader, Batches, Codec, TimestampType, batches, crc_matches, split_first};
pub use record::{Header, Headers, Record, RecordSet, Records, records};
pub use validate::{Validated, validate, validate_counting};

use crate::crc;

/// How much a batch may decompress to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all records of one batch after decompression.
    pub max_decompressed: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { max_decompressed: 64 << 20 }
    }
}

/// What is wrong with a batch; the kind tells which of Kafka's errors a client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Not the bytes that the producer meant: CORRUPT_MESSAGE.
    #[error("{0}")]
    Corrupt(&'static str),
    /// Message formats 0 and 1 (or one of the future): UNSUPPORTED_FOR_MESSAGE_FORMAT.
    #[error("record batch format {0} is not supported, only 2")]
    Magic(i8),
    /// UNSUPPORTED_COMPRESSION_TYPE.
    #[error("compression codec {0} is not known")]
    Codec(u8),
    /// The bytes arrived as they were sent, but break the format's rules: INVALID_RECORD.
    #[error("{0}")]
    Invalid(&'static str),
    /// MESSAGE_TOO_LARGE, or INVALID_RECORD.
    #[error("the records decompress to more than {0} bytes")]
    TooLarge(u64),
}

/// The first 16 bytes of `batch` as a fetch returns them: the offset it got, its length, leader epoch 0.
///
/// # Panics
/// If `batch` has fewer than 12 bytes.
pub fn patched_header(base_offset: i64, batch: &[u8]) -> [u8; 16] {
    let mut out = [0; 16];
    out[..8].copy_from_slice(&base_offset.to_be_bytes());
    out[8..12].copy_from_slice(&batch[8..12]);
    out
}

/// Makes `timestamp` (ms) the time of every record: LogAppendTime. Recomputes the CRC.
///
/// # Panics
/// If `batch` has fewer bytes than a batch header.
pub fn stamp_log_append_time(batch: &mut [u8], timestamp: i64) {
    batch[22] |= header::LOG_APPEND_TIME as u8;
    set_max_timestamp(batch, timestamp);
}

/// Replaces the max timestamp (ms) and recomputes the CRC, as Kafka does with what some producers leave unset.
///
/// # Panics
/// If `batch` has fewer bytes than a batch header.
pub fn set_max_timestamp(batch: &mut [u8], timestamp: i64) {
    batch[35..43].copy_from_slice(&timestamp.to_be_bytes());
    let crc = crc::crc32c(&batch[header::CRC_START..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

#[cfg(test)]
mod tests;
