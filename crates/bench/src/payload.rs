//! Random values that nothing compresses, cut from one pool. Pure: the seed is passed in.

use bytes::Bytes;

const POOL: usize = 4 << 20;

pub struct Payload {
    pool: Bytes,
    at: usize,
    size: usize,
}

impl Payload {
    /// Values of `size` bytes.
    pub fn new(seed: u64, size: usize) -> Payload {
        let mut x = seed | 1;
        let mut pool = Vec::with_capacity(POOL + size);
        while pool.len() < POOL + size {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            pool.extend_from_slice(&x.to_le_bytes());
        }
        Payload { pool: pool.into(), at: 0, size }
    }

    /// The same pool, read from another place: for another connection.
    pub fn another(&self, connection: u32) -> Payload {
        Payload { pool: self.pool.clone(), at: (connection as usize * 104_729) % POOL, size: self.size }
    }

    pub fn next_value(&mut self) -> &[u8] {
        let value = &self.pool[self.at..self.at + self.size];
        self.at = (self.at + self.size.max(1)) % POOL;
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_differ_and_wrap_around() {
        let mut payload = Payload::new(42, 1024).another(3);
        let first = payload.next_value().to_vec();
        assert_ne!(payload.next_value(), first);
        (0..10_000).for_each(|_| assert_eq!(payload.next_value().len(), 1024));
    }
}
