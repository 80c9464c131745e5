//! CRC-32C (Castagnoli), as Kafka, S3 and the persisted formats use it.

use crc_fast::{CrcAlgorithm, checksum_combine};

const CRC_32C: CrcAlgorithm = CrcAlgorithm::Crc32Iscsi;

/// CRC-32C of one piece of memory.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(CRC_32C, bytes) as u32
}

/// CRC-32C of the concatenation of two pieces, from theirs and the second one's length.
pub fn combine(first: u32, second: u32, second_len: u64) -> u32 {
    checksum_combine(CRC_32C, u64::from(first), u64::from(second), second_len) as u32
}
