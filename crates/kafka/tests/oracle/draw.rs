//! Draws values from a string of bytes, so that proptest shrinks messages by shrinking bytes.

use bytes::Bytes;
use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

pub struct Draw<'a>(&'a [u8]);

/// Longer than what a compact length says in one byte.
const LONG: &str = match std::str::from_utf8(&[b'x'; 200]) {
    Ok(text) => text,
    Err(_) => unreachable!(),
};

impl<'a> Draw<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn fixed<const N: usize>(&mut self) -> [u8; N] {
        let mut drawn = [0; N];
        let n = N.min(self.0.len());
        drawn[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        drawn
    }

    pub fn below(&mut self, n: usize) -> usize {
        usize::from(self.fixed::<1>()[0]) % n
    }

    pub fn bool(&mut self) -> bool {
        self.below(2) == 1
    }

    pub fn i8(&mut self) -> i8 {
        i8::from_be_bytes(self.fixed())
    }

    pub fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.fixed())
    }

    pub fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.fixed())
    }

    pub fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.fixed())
    }

    pub fn uuid(&mut self) -> Uuid {
        Uuid::from_bytes(self.fixed())
    }

    pub fn str(&mut self) -> &'static str {
        let some = ["", "a", "topic", "späte Äpfel", "💧", "t.t-t_t"];
        match self.below(some.len() + 1) {
            long if long == some.len() => &LONG[..120 + self.below(20)],
            i => some[i],
        }
    }

    pub fn text(&mut self) -> String {
        self.str().to_owned()
    }

    pub fn string(&mut self) -> StrBytes {
        self.text().into()
    }

    pub fn name(&mut self) -> TopicName {
        TopicName(self.string())
    }

    pub fn option<T>(&mut self, draw: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.bool().then(|| draw(self))
    }

    pub fn slice(&mut self) -> &'static [u8] {
        &LONG.as_bytes()[..self.below(LONG.len())]
    }

    pub fn bytes(&mut self) -> Bytes {
        Bytes::from_static(self.slice())
    }

    /// If this version has the field, else its default.
    pub fn when<T>(&mut self, has: bool, default: T, draw: impl FnOnce(&mut Self) -> T) -> T {
        if has { draw(self) } else { default }
    }

    pub fn vec<T>(&mut self, mut draw: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let len = if self.below(40) == 39 { 130 } else { self.below(4) };
        (0..len).map(|_| draw(self)).collect()
    }
}
