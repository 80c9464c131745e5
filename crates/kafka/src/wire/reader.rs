//! A cursor over a request's bytes, and arrays that are walked where they lie.

use std::marker::PhantomData;

use lakebed_record::TopicId;

/// Why bytes are not the message that they claim to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("the message ends in the middle of a field")]
    Truncated,
    #[error("a length of {0} does not fit in the message")]
    Length(i64),
    #[error("a field that must not be null is")]
    Null,
    #[error("a string is not UTF-8")]
    Utf8,
    #[error("a variable-length integer has more than 32 bits")]
    Varint,
    #[error("a boolean is neither 0 nor 1")]
    Boolean,
    #[error("more than {MAX_ELEMENTS} topics, partitions and the like")]
    TooMany,
}

/// Elements of all arrays of one request together: each costs many times its bytes to answer.
pub const MAX_ELEMENTS: usize = 25_000;

pub type Result<T> = std::result::Result<T, DecodeError>;

/// What can be an element of an [`Array`]. Every element takes at least one byte: that bounds the count.
pub trait Decode<'a>: Sized {
    fn decode(r: &mut Reader<'a>) -> Result<Self>;
}

/// A cursor that knows the version of the message and whether that version is flexible (KIP-482).
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
    /// Of the arrays met so far.
    elements: usize,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8], version: i16, flexible: bool) -> Self {
        Self { rest: bytes, version, flexible, elements: 0 }
    }

    pub fn version(&self) -> i16 {
        self.version
    }

    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    pub fn i8(&mut self) -> Result<i8> {
        self.fixed().map(i8::from_be_bytes)
    }

    pub fn i16(&mut self) -> Result<i16> {
        self.fixed().map(i16::from_be_bytes)
    }

    pub fn i32(&mut self) -> Result<i32> {
        self.fixed().map(i32::from_be_bytes)
    }

    pub fn i64(&mut self) -> Result<i64> {
        self.fixed().map(i64::from_be_bytes)
    }

    pub fn bool(&mut self) -> Result<bool> {
        match self.i8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Boolean),
        }
    }

    pub fn topic_id(&mut self) -> Result<TopicId> {
        self.fixed().map(|b| TopicId(u128::from_be_bytes(b)))
    }

    /// The field if this version has it, else `default`.
    pub fn since<T>(&mut self, version: i16, default: T, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.version >= version { read(self) } else { Ok(default) }
    }

    pub fn unsigned_varint(&mut self) -> Result<u32> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.fixed()?;
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && byte > 0x0f {
                return Err(DecodeError::Varint);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Varint)
    }

    /// A length that must fit in what is left; `None` is null.
    fn length(&mut self, old: impl FnOnce(&mut Self) -> Result<i64>) -> Result<Option<usize>> {
        let length = if self.flexible { i64::from(self.unsigned_varint()?) - 1 } else { old(self)? };
        match usize::try_from(length) {
            Ok(n) if n <= self.rest.len() => Ok(Some(n)),
            _ if length == -1 => Ok(None),
            _ => Err(DecodeError::Length(length)),
        }
    }

    fn text(&mut self, length: Option<usize>) -> Result<Option<&'a str>> {
        let Some(length) = length else { return Ok(None) };
        std::str::from_utf8(self.take(length)?).map(Some).map_err(|_| DecodeError::Utf8)
    }

    pub fn nullable_string(&mut self) -> Result<Option<&'a str>> {
        let length = self.length(|r| r.i16().map(i64::from))?;
        self.text(length)
    }

    pub fn string(&mut self) -> Result<&'a str> {
        self.nullable_string()?.ok_or(DecodeError::Null)
    }

    /// With the two-byte length of old, which the client id in the header keeps in flexible versions too.
    pub fn old_nullable_string(&mut self) -> Result<Option<&'a str>> {
        let flexible = std::mem::replace(&mut self.flexible, false);
        let text = self.nullable_string();
        self.flexible = flexible;
        text
    }

    /// Record batches, as they lie in the frame.
    pub fn records(&mut self) -> Result<Option<&'a [u8]>> {
        match self.length(|r| r.i32().map(i64::from))? {
            Some(length) => self.take(length).map(Some),
            None => Ok(None),
        }
    }

    /// Bytes that mean nothing here.
    pub fn bytes(&mut self) -> Result<&'a [u8]> {
        self.records()?.ok_or(DecodeError::Null)
    }

    /// A structure behind a byte that says whether it is there.
    pub fn nullable_struct<T: Decode<'a>>(&mut self) -> Result<Option<T>> {
        if self.i8()? < 0 { Ok(None) } else { T::decode(self).map(Some) }
    }

    /// Checks the whole array and steps over it; iterating decodes again, over the same bytes.
    pub fn nullable_array<T: Decode<'a>>(&mut self) -> Result<Option<Array<'a, T>>> {
        let Some(count) = self.length(|r| r.i32().map(i64::from))? else { return Ok(None) };
        self.elements += count;
        if self.elements > MAX_ELEMENTS {
            return Err(DecodeError::TooMany);
        }
        self.elements_of(count).map(Some)
    }

    fn elements_of<T: Decode<'a>>(&mut self, count: usize) -> Result<Array<'a, T>> {
        let body = *self;
        for _ in 0..count {
            T::decode(self)?;
        }
        Ok(Array { count, body, element: PhantomData })
    }

    /// One element, as the versions have it in which there could not be more.
    pub fn one<T: Decode<'a>>(&mut self) -> Result<Array<'a, T>> {
        self.elements_of(1)
    }

    pub fn array<T: Decode<'a>>(&mut self) -> Result<Array<'a, T>> {
        self.nullable_array()?.ok_or(DecodeError::Null)
    }

    pub fn empty_array<T: Decode<'a>>(&self) -> Array<'a, T> {
        Array { count: 0, body: *self, element: PhantomData }
    }

    /// Steps over the tagged fields that end every structure of a flexible version; none of them matters here.
    pub fn tags(&mut self) -> Result<()> {
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.unsigned_varint()? {
            self.unsigned_varint()?;
            let size = self.unsigned_varint()?;
            self.take(size as usize)?;
        }
        Ok(())
    }
}

/// An array that was checked and is decoded anew at each iteration.
pub struct Array<'a, T> {
    count: usize,
    body: Reader<'a>,
    element: PhantomData<fn() -> T>,
}

impl<T> Clone for Array<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Array<'_, T> {}

impl<'a, T: Decode<'a>> Array<'a, T> {
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn iter(&self) -> ArrayIter<'a, T> {
        ArrayIter { left: self.count, body: self.body, element: PhantomData }
    }
}

impl<'a, T: Decode<'a>> IntoIterator for Array<'a, T> {
    type Item = T;
    type IntoIter = ArrayIter<'a, T>;

    fn into_iter(self) -> ArrayIter<'a, T> {
        self.iter()
    }
}

impl<'a, T: Decode<'a> + std::fmt::Debug> std::fmt::Debug for Array<'a, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

pub struct ArrayIter<'a, T> {
    left: usize,
    body: Reader<'a>,
    element: PhantomData<fn() -> T>,
}

impl<'a, T: Decode<'a>> Iterator for ArrayIter<'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.left = self.left.checked_sub(1)?;
        // Checked when the array was met: it does not fail here.
        T::decode(&mut self.body).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<'a, T: Decode<'a>> ExactSizeIterator for ArrayIter<'a, T> {}

impl<'a> Decode<'a> for i8 {
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        r.i8()
    }
}

impl<'a> Decode<'a> for i32 {
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        r.i32()
    }
}

impl<'a> Decode<'a> for &'a str {
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        r.string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declared_length_never_exceeds_what_is_there() {
        let huge = [0x7f, 0xff, 0xff, 0xff, 1, 2, 3];
        assert_eq!(Reader::new(&huge, 0, false).array::<i32>().unwrap_err(), DecodeError::Length(0x7fff_ffff));
        let compact = [0xff, 0xff, 0xff, 0xff, 0x0f];
        assert_eq!(Reader::new(&compact, 9, true).array::<i32>().unwrap_err(), DecodeError::Length(0xffff_fffe));
        assert_eq!(Reader::new(&[0xff, 0xfe], 0, false).string().unwrap_err(), DecodeError::Length(-2));
    }

    #[test]
    fn the_elements_of_all_arrays_count_together() {
        let array = |n: usize| [&(n as i32).to_be_bytes()[..], &vec![0; 4 * n]].concat();
        let bytes = [array(20_000), array(5_000), array(1)].concat();
        let mut r = Reader::new(&bytes, 0, false);
        assert_eq!(r.array::<i32>().unwrap().iter().count(), 20_000);
        assert_eq!(r.array::<i32>().unwrap().iter().count(), 5_000);
        assert_eq!(r.array::<i32>().unwrap_err(), DecodeError::TooMany);
    }

    #[test]
    fn varints_end_at_32_bits() {
        let read = |bytes: &[u8]| Reader::new(bytes, 0, true).unsigned_varint();
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Ok(u32::MAX));
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0x1f]), Err(DecodeError::Varint));
        assert_eq!(read(&[0x80, 0x80, 0x80, 0x80, 0x80, 0]), Err(DecodeError::Varint));
        assert_eq!(read(&[0xac, 0x02]), Ok(300));
        assert_eq!(read(&[0x80]), Err(DecodeError::Truncated));
    }

    #[test]
    fn an_endless_run_of_tags_ends_with_the_bytes() {
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0], 0, true).tags(), Err(DecodeError::Truncated));
    }
}
