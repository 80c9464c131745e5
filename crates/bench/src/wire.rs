//! The six Kafka requests that a load generator needs, each at one version that every broker since 2.3 serves.
//!
//! Pure. One topic per request. The answers' fields that nobody here looks at are skipped; a short or odd answer is an
//! error, never a panic.

use bytes::{BufMut, Bytes, BytesMut};

pub const API_VERSIONS: (i16, i16) = (18, 0);
const METADATA: (i16, i16) = (3, 4);
const CREATE_TOPICS: (i16, i16) = (19, 4);
const PRODUCE: (i16, i16) = (0, 7);
const FETCH: (i16, i16) = (1, 11);
const LIST_OFFSETS: (i16, i16) = (2, 5);

const NO_TIMEOUT_MS: i32 = 30_000;

/// An answer that is not what the version of the request promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the broker's answer could not be read")
    }
}

impl std::error::Error for Malformed {}

/// A frame with its length in front: what goes onto the socket. `body` is left out of it, and follows it on the wire.
fn frame(api: (i16, i16), correlation: i32, fill: impl FnOnce(&mut BytesMut), body: usize) -> Bytes {
    let mut b = BytesMut::with_capacity(256);
    b.put_i32(0);
    b.put_i16(api.0);
    b.put_i16(api.1);
    b.put_i32(correlation);
    put_str(&mut b, "lakebed-bench");
    fill(&mut b);
    let len = (b.len() - 4 + body) as i32;
    b[..4].copy_from_slice(&len.to_be_bytes());
    b.freeze()
}

fn put_str(b: &mut BytesMut, s: &str) {
    b.put_i16(s.len() as i16);
    b.put_slice(s.as_bytes());
}

pub fn api_versions(correlation: i32) -> Bytes {
    frame(API_VERSIONS, correlation, |_| {}, 0)
}

pub fn metadata(correlation: i32, topic: &str) -> Bytes {
    let fill = |b: &mut BytesMut| {
        b.put_i32(1);
        put_str(b, topic);
        b.put_u8(0); // no auto-creation: topics are created with the partitions asked for
    };
    frame(METADATA, correlation, fill, 0)
}

pub fn create_topic(correlation: i32, topic: &str, partitions: i32) -> Bytes {
    let fill = |b: &mut BytesMut| {
        b.put_i32(1);
        put_str(b, topic);
        b.put_i32(partitions);
        b.put_i16(1); // replication factor
        b.put_i32(0); // assignments
        b.put_i32(0); // configs
        b.put_i32(NO_TIMEOUT_MS);
        b.put_u8(0); // not just validation
    };
    frame(CREATE_TOPICS, correlation, fill, 0)
}

/// All of a produce request but the record batch of `batch_len` bytes, which is written behind it, uncopied.
pub fn produce_head(correlation: i32, topic: &str, partition: i32, acks: i16, batch_len: usize) -> Bytes {
    let fill = |b: &mut BytesMut| {
        b.put_i16(-1); // transactional id
        b.put_i16(acks);
        b.put_i32(NO_TIMEOUT_MS);
        b.put_i32(1);
        put_str(b, topic);
        b.put_i32(1);
        b.put_i32(partition);
        b.put_i32(batch_len as i32);
    };
    frame(PRODUCE, correlation, fill, batch_len)
}

#[derive(Clone, Copy, Debug)]
pub struct FetchLimits {
    pub max_wait_ms: i32,
    pub min_bytes: i32,
    pub max_bytes: i32,
    pub partition_max_bytes: i32,
}

/// `from`: partitions and the offsets wanted.
pub fn fetch(correlation: i32, topic: &str, from: &[(i32, i64)], limits: FetchLimits) -> Bytes {
    let fill = |b: &mut BytesMut| {
        b.put_i32(-1); // not a replica
        b.put_i32(limits.max_wait_ms);
        b.put_i32(limits.min_bytes);
        b.put_i32(limits.max_bytes);
        b.put_u8(0); // read uncommitted
        b.put_i32(0); // no session
        b.put_i32(-1);
        b.put_i32(1);
        put_str(b, topic);
        b.put_i32(from.len() as i32);
        for &(partition, offset) in from {
            b.put_i32(partition);
            b.put_i32(-1); // leader epoch not known
            b.put_i64(offset);
            b.put_i64(-1); // log start, for replicas
            b.put_i32(limits.partition_max_bytes);
        }
        b.put_i32(0); // forgotten topics
        put_str(b, ""); // rack
    };
    frame(FETCH, correlation, fill, 0)
}

pub const EARLIEST: i64 = -2;
pub const LATEST: i64 = -1;

pub fn list_offsets(correlation: i32, topic: &str, partitions: &[i32], at: i64) -> Bytes {
    let fill = |b: &mut BytesMut| {
        b.put_i32(-1);
        b.put_u8(0);
        b.put_i32(1);
        put_str(b, topic);
        b.put_i32(partitions.len() as i32);
        for &partition in partitions {
            b.put_i32(partition);
            b.put_i32(-1);
            b.put_i64(at);
        }
    };
    frame(LIST_OFFSETS, correlation, fill, 0)
}

/// What is left of an answer. Starts behind the correlation id.
pub struct Answer(Bytes);

impl Answer {
    /// Splits a frame (without its length) into correlation id and the rest.
    pub fn open(frame: Bytes) -> Result<(i32, Answer), Malformed> {
        let mut answer = Answer(frame);
        let correlation = answer.i32()?;
        Ok((correlation, answer))
    }

    fn take(&mut self, n: usize) -> Result<Bytes, Malformed> {
        if n > self.0.len() { Err(Malformed) } else { Ok(self.0.split_to(n)) }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let bytes = self.take(N)?;
        <[u8; N]>::try_from(&bytes[..]).map_err(|_| Malformed)
    }

    fn i16(&mut self) -> Result<i16, Malformed> {
        self.array().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Result<i32, Malformed> {
        self.array().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, Malformed> {
        self.array().map(i64::from_be_bytes)
    }

    fn skip(&mut self, n: usize) -> Result<(), Malformed> {
        self.take(n).map(drop)
    }

    /// A string, empty for null.
    fn string(&mut self) -> Result<Bytes, Malformed> {
        let len = self.i16()?;
        self.take(len.max(0) as usize)
    }

    /// A count of elements, 0 for null.
    fn count(&mut self) -> Result<usize, Malformed> {
        self.i32().map(|n| n.max(0) as usize)
    }

    fn expect_one(&mut self) -> Result<(), Malformed> {
        if self.count()? == 1 { Ok(()) } else { Err(Malformed) }
    }
}

/// Number of partitions that have a leader, or the topic's error code.
pub fn read_metadata(mut a: Answer) -> Result<Result<i32, i16>, Malformed> {
    a.skip(4)?;
    for _ in 0..a.count()? {
        a.skip(4)?;
        a.string()?;
        a.skip(4)?;
        a.string()?;
    }
    a.string()?;
    a.skip(4)?;
    a.expect_one()?;
    let error = a.i16()?;
    a.string()?;
    a.skip(1)?;
    let mut led = 0;
    for _ in 0..a.count()? {
        a.skip(6)?;
        led += i32::from(a.i32()? >= 0);
        for _ in 0..2 {
            let nodes = a.count()?;
            a.skip(nodes.saturating_mul(4))?;
        }
    }
    Ok(if error == 0 { Ok(led) } else { Err(error) })
}

/// The error code and the broker's words for it.
pub fn read_create_topic(mut a: Answer) -> Result<(i16, String), Malformed> {
    a.skip(4)?;
    a.expect_one()?;
    a.string()?;
    let error = a.i16()?;
    let message = a.string()?;
    Ok((error, String::from_utf8_lossy(&message).into_owned()))
}

/// The partition's error code.
pub fn read_produce(mut a: Answer) -> Result<i16, Malformed> {
    a.expect_one()?;
    a.string()?;
    a.expect_one()?;
    a.skip(4)?;
    a.i16()
}

#[derive(Debug)]
pub struct FetchedPartition {
    pub partition: i32,
    pub error: i16,
    pub records: Bytes,
}

pub fn read_fetch(mut a: Answer) -> Result<(i16, Vec<FetchedPartition>), Malformed> {
    a.skip(4)?;
    let error = a.i16()?;
    a.skip(4)?;
    let mut partitions = Vec::new();
    for _ in 0..a.count()? {
        a.string()?;
        for _ in 0..a.count()? {
            let (partition, error) = (a.i32()?, a.i16()?);
            a.skip(24)?;
            let aborted = a.count()?;
            a.skip(aborted.saturating_mul(16))?;
            a.skip(4)?;
            let len = a.count()?;
            partitions.push(FetchedPartition { partition, error, records: a.take(len)? });
        }
    }
    Ok((error, partitions))
}

/// Partition, error code, offset.
pub fn read_list_offsets(mut a: Answer) -> Result<Vec<(i32, i16, i64)>, Malformed> {
    a.skip(4)?;
    a.expect_one()?;
    a.string()?;
    let mut offsets = Vec::new();
    for _ in 0..a.count()? {
        let (partition, error) = (a.i32()?, a.i16()?);
        a.skip(8)?;
        offsets.push((partition, error, a.i64()?));
        a.skip(4)?;
    }
    Ok(offsets)
}

#[cfg(test)]
mod tests;
