//! Layout of a segment object: an [`envelope`](crate::envelope) of kind `Segment` with an empty body; the payload is record batches,
//! grouped by partition. Where which batch lies stands in the append op that refers to it, so a reader needs no index here.

use bytes::Bytes;

use crate::envelope::{self, HEADER_LEN, Kind};

/// Where the first batch starts in a segment object, in bytes.
pub const PAYLOAD_START: u64 = HEADER_LEN as u64;

/// The 64 bytes in front of the batches, and the CRC-32C of the whole object.
pub fn header(feature_level: u16, payload_len: u64, payload_crc: u32) -> (Bytes, u32) {
    envelope::seal(Kind::Segment, feature_level, &[], payload_len, payload_crc)
}
