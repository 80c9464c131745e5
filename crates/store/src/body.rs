//! Bytes to be stored: a rope, so that a segment is never concatenated, and the CRC-32C of the whole.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use lakebed_record::crc;

/// An object's content in pieces. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Body {
    chunks: Vec<Bytes>,
    len: u64,
    crc32c: u32,
}

impl Body {
    /// Computes the CRC-32C over all pieces.
    pub fn new(chunks: Vec<Bytes>) -> Body {
        let mut crc32c = crc::crc32c(&[]);
        for c in &chunks {
            crc32c = crc::combine(crc32c, crc::crc32c(c), c.len() as u64);
        }
        Body::with_crc(chunks, crc32c)
    }

    /// `crc32c` must be that of the concatenated pieces; S3 refuses the object otherwise.
    pub fn with_crc(chunks: Vec<Bytes>, crc32c: u32) -> Body {
        let len = chunks.iter().map(|c| c.len() as u64).sum();
        Body { chunks, len, crc32c }
    }

    pub fn chunks(&self) -> &[Bytes] {
        &self.chunks
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn crc32c(&self) -> u32 {
        self.crc32c
    }

    /// One piece; copies only if there are several.
    pub fn to_bytes(&self) -> Bytes {
        match self.chunks.as_slice() {
            [] => Bytes::new(),
            [one] => one.clone(),
            many => {
                let mut all = BytesMut::with_capacity(self.len as usize);
                many.iter().for_each(|c| all.extend_from_slice(c));
                all.freeze()
            }
        }
    }

    /// The bytes of `range` as far as there are any; copies only if they span pieces.
    pub fn slice(&self, range: Range<u64>) -> Bytes {
        let end = range.end.min(self.len);
        let mut parts = Vec::new();
        let mut at = 0;
        for chunk in &self.chunks {
            let next = at + chunk.len() as u64;
            let (from, to) = (range.start.max(at), end.min(next));
            if from < to {
                parts.push(chunk.slice((from - at) as usize..(to - at) as usize));
            }
            at = next;
        }
        // The checksum is not looked at.
        Body::with_crc(parts, 0).to_bytes()
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Body {
        Body::new(vec![bytes])
    }
}
