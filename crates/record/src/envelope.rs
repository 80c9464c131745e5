//! The envelope around every persisted object: magic, kind, version, feature level, key id, lengths and CRCs.
//!
//! ```text
//!  0  4  magic "LKBD"              20  4  CRC-32C of the body
//!  4  1  kind                      24  8  payload length
//!  5  1  format version (1)        32  4  CRC-32C of the payload
//!  6  2  feature level             36  2  shard of the log
//!  8  8  key id (0: not encrypted) 38 22  zero
//! 16  4  body length               60  4  CRC-32C of bytes 0..60
//! 64     body, then payload
//! ```
//! Numbers are big-endian. The *body* is metadata (protobuf, or JSON for FORMAT and CURRENT) and is read without the
//! *payload*, which holds record batches. An object whose stored length is not [`Header::total_len`] is *void*.

use bytes::{BufMut, Bytes, BytesMut};

use crate::crc;
use crate::keys::SHARD;

pub const MAGIC: [u8; 4] = *b"LKBD";
pub const VERSION: u8 = 1;
pub const HEADER_LEN: usize = 64;
/// The newest feature level this build knows. Apply is gated by the level in the state, which an op raises.
pub const FEATURE_LEVEL: u16 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Format,
    Current,
    Commit,
    Segment,
    SnapshotIndex,
    SnapshotPart,
    IndexPage,
}

impl Kind {
    const fn byte(self) -> u8 {
        match self {
            Kind::Format => b'F',
            Kind::Current => b'R',
            Kind::Commit => b'C',
            Kind::Segment => b'S',
            Kind::SnapshotIndex => b'I',
            Kind::SnapshotPart => b'P',
            Kind::IndexPage => b'X',
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub feature_level: u16,
    pub key_id: u64,
    pub body_len: u32,
    pub body_crc: u32,
    pub payload_len: u64,
    pub payload_crc: u32,
    pub shard: u16,
}

impl Header {
    /// Declared length of the whole object in bytes.
    pub const fn total_len(&self) -> u64 {
        self.payload_start().saturating_add(self.payload_len)
    }

    /// Where the payload starts in the object.
    pub const fn payload_start(&self) -> u64 {
        HEADER_LEN as u64 + self.body_len as u64
    }
}

/// What is wrong with stored bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    #[error("the object has {0} bytes, fewer than a header")]
    Short(u64),
    #[error("the object does not start with the magic of a Lakebed {0:?}")]
    Magic(Kind),
    #[error("format version {0} is newer than this build understands; upgrade this node")]
    Version(u8),
    #[error("feature level {0} is newer than this build knows; use a newer build for this node")]
    FeatureLevel(u16),
    #[error("the object is encrypted with key {0}; this build knows no encryption")]
    Encrypted(u64),
    #[error("{0}: CRC-32C does not match")]
    Crc(&'static str),
    #[error("{0}")]
    Body(String),
}

/// Encodes header and body; the payload follows as it is. Returns the bytes and the CRC-32C of the whole object.
pub fn seal(kind: Kind, feature_level: u16, body: &[u8], payload_len: u64, payload_crc: u32) -> (Bytes, u32) {
    let body_len = u32::try_from(body.len()).expect("metadata of one object stays below 4 GiB");
    let mut out = BytesMut::with_capacity(HEADER_LEN + body.len());
    out.put_slice(&MAGIC);
    out.put_u8(kind.byte());
    out.put_u8(VERSION);
    out.put_u16(feature_level);
    out.put_u64(0);
    out.put_u32(body_len);
    out.put_u32(crc::crc32c(body));
    out.put_u64(payload_len);
    out.put_u32(payload_crc);
    out.put_u16(SHARD);
    out.put_bytes(0, 22);
    let header_crc = crc::crc32c(&out);
    out.put_u32(header_crc);
    out.put_slice(body);
    let whole = crc::combine(crc::crc32c(&out), payload_crc, payload_len);
    (out.freeze(), whole)
}

/// Reads the header from the first bytes of an object.
pub fn open(kind: Kind, bytes: &[u8]) -> Result<Header, FormatError> {
    let head: &[u8; HEADER_LEN] =
        bytes.get(..HEADER_LEN).and_then(|b| b.try_into().ok()).ok_or(FormatError::Short(bytes.len() as u64))?;
    if head[..4] != MAGIC || head[4] != kind.byte() {
        return Err(FormatError::Magic(kind));
    }
    let u16_at = |i: usize| u16::from_be_bytes([head[i], head[i + 1]]);
    let u32_at = |i: usize| u32::from_be_bytes([head[i], head[i + 1], head[i + 2], head[i + 3]]);
    let u64_at = |i: usize| u64::from(u32_at(i)) << 32 | u64::from(u32_at(i + 4));
    if crc::crc32c(&head[..60]) != u32_at(60) {
        return Err(FormatError::Crc("header"));
    }
    if head[5] != VERSION {
        return Err(FormatError::Version(head[5]));
    }
    let header = Header {
        feature_level: u16_at(6),
        key_id: u64_at(8),
        body_len: u32_at(16),
        body_crc: u32_at(20),
        payload_len: u64_at(24),
        payload_crc: u32_at(32),
        shard: u16_at(36),
    };
    if header.key_id != 0 {
        return Err(FormatError::Encrypted(header.key_id));
    }
    Ok(header)
}

/// The body, its CRC checked. `bytes` starts at the header and holds at least header and body.
pub fn body<'a>(header: &Header, bytes: &'a [u8]) -> Result<&'a [u8], FormatError> {
    let end = HEADER_LEN + header.body_len as usize;
    let body = bytes.get(HEADER_LEN..end).ok_or(FormatError::Short(bytes.len() as u64))?;
    if crc::crc32c(body) != header.body_crc {
        return Err(FormatError::Crc("body"));
    }
    Ok(body)
}
