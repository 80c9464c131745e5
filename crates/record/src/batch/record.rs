//! The records inside a batch: one parser for borrowed memory and for decompressed streams.
//!
//! A record is a varint length, then attributes, timestamp delta, offset delta, key, value and headers; every number is
//! a zigzag varint, every length is checked against the record's own end before anything is taken.

use std::borrow::Cow;

use super::header::{BATCH_OVERHEAD, BatchHeader, Codec};
use super::{BatchError, Limits, decompress};

/// Where record bytes come from.
pub(super) trait Source {
    /// What [`Source::take`] gives: the bytes, or nothing where they are only passed over.
    type Taken;

    fn byte(&mut self) -> Result<u8, BatchError>;
    fn take(&mut self, n: usize) -> Result<Self::Taken, BatchError>;
    /// Bytes read so far.
    fn position(&self) -> u64;
}

const CUT_SHORT: BatchError = BatchError::Invalid("the records end in the middle of one");
const VARINT: BatchError = BatchError::Invalid("a varint is longer than it may be");
const PAST_END: BatchError = BatchError::Invalid("a record holds more than its length says");

/// Borrowed memory.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }
}

impl<'a> Source for Cursor<'a> {
    type Taken = &'a [u8];

    #[inline]
    fn byte(&mut self) -> Result<u8, BatchError> {
        let byte = *self.bytes.get(self.position).ok_or(CUT_SHORT)?;
        self.position += 1;
        Ok(byte)
    }

    #[inline]
    fn take(&mut self, n: usize) -> Result<&'a [u8], BatchError> {
        let taken = self.bytes.get(self.position..).and_then(|rest| rest.get(..n)).ok_or(CUT_SHORT)?;
        self.position += n;
        Ok(taken)
    }

    #[inline]
    fn position(&self) -> u64 {
        self.position as u64
    }
}

#[inline]
fn varlong(source: &mut impl Source) -> Result<i64, BatchError> {
    let mut raw = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = source.byte()?;
        raw |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            // The tenth byte has one bit left.
            return if shift == 63 && byte > 1 { Err(VARINT) } else { Ok(unzigzag(raw)) };
        }
    }
    Err(VARINT)
}

#[inline]
fn varint(source: &mut impl Source) -> Result<i32, BatchError> {
    let mut raw = 0u32;
    for shift in (0..32).step_by(7) {
        let byte = source.byte()?;
        raw |= u32::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return if shift == 28 && byte > 0x0f { Err(VARINT) } else { Ok((raw >> 1) as i32 ^ -((raw & 1) as i32)) };
        }
    }
    Err(VARINT)
}

const fn unzigzag(raw: u64) -> i64 {
    (raw >> 1) as i64 ^ -((raw & 1) as i64)
}

/// A record as far as its headers.
pub(super) struct Head<T> {
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub key: Option<T>,
    pub value: Option<T>,
    pub headers: i32,
    /// Where the record ends in its source.
    pub end: u64,
}

#[inline]
pub(super) fn head<S: Source>(source: &mut S) -> Result<Head<S::Taken>, BatchError> {
    let length = varint(source)?;
    let length = u64::try_from(length).map_err(|_| BatchError::Invalid("a record has a negative length"))?;
    let end = source.position() + length;
    source.byte()?;
    let timestamp_delta = varlong(source)?;
    let offset_delta = varint(source)?;
    let key = nullable(source, end)?;
    let value = nullable(source, end)?;
    let headers = varint(source)?;
    if source.position() > end {
        return Err(PAST_END);
    }
    if headers < 0 || headers as u64 > end - source.position() {
        return Err(BatchError::Invalid("a record has an impossible number of headers"));
    }
    Ok(Head { timestamp_delta, offset_delta, key, value, headers, end })
}

/// Reads over the headers of a record and checks that it ends where it should.
#[inline]
pub(super) fn finish<S: Source, T>(source: &mut S, head: &Head<T>) -> Result<(), BatchError> {
    for _ in 0..head.headers {
        header(source, head.end)?;
    }
    if source.position() == head.end {
        Ok(())
    } else {
        Err(BatchError::Invalid("a record's length does not match its content"))
    }
}

fn header<S: Source>(source: &mut S, end: u64) -> Result<(S::Taken, Option<S::Taken>), BatchError> {
    let key = nullable(source, end)?.ok_or(BatchError::Invalid("a record header has no key"))?;
    Ok((key, nullable(source, end)?))
}

#[inline]
fn nullable<S: Source>(source: &mut S, end: u64) -> Result<Option<S::Taken>, BatchError> {
    match varint(source)? {
        -1 => Ok(None),
        n if n < -1 => Err(BatchError::Invalid("a key, value or header has a negative length")),
        n if n as u64 > end.saturating_sub(source.position()) => Err(PAST_END),
        n => source.take(n as usize).map(Some),
    }
}

/// One record, borrowed from its batch.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// Counts from the batch's base offset.
    pub offset_delta: i32,
    /// ms since the epoch; −1: none.
    pub timestamp: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    headers: &'a [u8],
    headers_count: usize,
}

impl<'a> Record<'a> {
    /// In their order, duplicates included.
    pub fn headers(&self) -> Headers<'a> {
        Headers { cursor: Cursor::new(self.headers), left: self.headers_count }
    }
}

/// Key (UTF-8, as far as clients keep to the protocol) and value of one record header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    pub key: &'a [u8],
    pub value: Option<&'a [u8]>,
}

#[derive(Clone, Debug)]
pub struct Headers<'a> {
    cursor: Cursor<'a>,
    left: usize,
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        self.left = self.left.checked_sub(1)?;
        let end = self.cursor.bytes.len() as u64;
        let (key, value) = header(&mut self.cursor, end).expect("the headers were read over when the record was");
        Some(Header { key, value })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Headers<'_> {}

/// The records of one batch, decompressed if they have to be.
#[derive(Clone, Debug)]
pub struct RecordSet<'a> {
    header: BatchHeader,
    bytes: Cow<'a, [u8]>,
}

impl RecordSet<'_> {
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    pub fn iter(&self) -> Records<'_> {
        Records { cursor: Cursor::new(&self.bytes), header: self.header, left: self.header.count }
    }
}

impl<'a> IntoIterator for &'a RecordSet<'_> {
    type Item = Result<Record<'a>, BatchError>;
    type IntoIter = Records<'a>;

    fn into_iter(self) -> Records<'a> {
        self.iter()
    }
}

/// Opens the first batch in `bytes`, which need not have been validated. The CRC is not looked at.
pub fn records(bytes: &[u8], limits: Limits) -> Result<RecordSet<'_>, BatchError> {
    let header = BatchHeader::parse(bytes)?;
    let records = bytes
        .get(BATCH_OVERHEAD..header.total_len())
        .ok_or(BatchError::Corrupt("the batch is longer than the bytes that are there"))?;
    let bytes = match header.codec()? {
        Codec::None => Cow::Borrowed(records),
        codec => Cow::Owned(decompress::to_vec(codec, records, limits.max_decompressed)?),
    };
    Ok(RecordSet { header, bytes })
}

/// As many records as the header declares, as long as they can be read; an error is the last item.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    cursor: Cursor<'a>,
    header: BatchHeader,
    left: i32,
}

impl<'a> Records<'a> {
    #[inline]
    fn read(&mut self) -> Result<Record<'a>, BatchError> {
        let head = head(&mut self.cursor)?;
        let headers_start = self.cursor.position;
        finish(&mut self.cursor, &head)?;
        let timestamp = match self.header.timestamp_type() {
            super::TimestampType::CreateTime => self.header.base_timestamp.wrapping_add(head.timestamp_delta),
            super::TimestampType::LogAppendTime => self.header.max_timestamp,
        };
        Ok(Record {
            offset_delta: head.offset_delta,
            timestamp,
            key: head.key,
            value: head.value,
            headers: &self.cursor.bytes[headers_start..self.cursor.position],
            headers_count: head.headers as usize,
        })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, BatchError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            return None;
        }
        let record = self.read();
        self.left = if record.is_ok() { self.left - 1 } else { 0 };
        Some(record)
    }
}
