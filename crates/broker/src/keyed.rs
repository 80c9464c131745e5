//! Requests that a client names by a key, so that it may send them again: what they store is stored once.
//!
//! Each record batch of such a request has a producer id of its own, derived from the key and the batch's place in the request, and sequence 0; its epoch
//! is derived from the records. So the log itself decides, when it applies the batch, whether it was stored before, on whichever node and after whatever crash, and
//! answers with the offset that it has. A batch with the key of another one whose records differ is refused, but for one in 2^15.
//!
//! Two keys meet in one id and epoch with a probability of 2^-77. A partition remembers an id for 24 h of log time.

use lakebed_record::FIRST_DERIVED_PRODUCER;
use sha2::{Digest, Sha256};

use crate::api::ProducerIdentity;

/// What a client names a request by.
#[derive(Clone, Debug)]
pub struct RequestKey([u8; 32]);

/// The records of one batch of the request, as they come.
#[derive(Clone, Debug)]
pub struct KeyedBatch {
    id: i64,
    content: Sha256,
}

impl RequestKey {
    pub fn new(key: &[u8]) -> RequestKey {
        RequestKey(Sha256::digest(key).into())
    }

    /// Evenly distributed bits, the same for each `n` whenever they are asked for.
    pub fn bits(&self, n: u32) -> u64 {
        let digest: [u8; 32] =
            Sha256::new_with_prefix(self.0).chain_update(b"bits").chain_update(n.to_be_bytes()).finalize().into();
        first_bits(&digest)
    }

    /// The `n`th batch that the request has for a partition.
    pub fn batch(&self, n: u32) -> KeyedBatch {
        let named = Sha256::new_with_prefix(self.0).chain_update(b"batch").chain_update(n.to_be_bytes());
        let digest: [u8; 32] = named.clone().finalize().into();
        KeyedBatch { id: FIRST_DERIVED_PRODUCER | (first_bits(&digest) >> 2) as i64, content: named }
    }
}

impl KeyedBatch {
    /// Some bytes of a record, or that there are none.
    pub fn add(&mut self, bytes: Option<&[u8]>) {
        // With their length, so that no two sequences of calls look alike.
        self.content.update(bytes.map_or(-1, |bytes| bytes.len() as i64).to_be_bytes());
        self.content.update(bytes.unwrap_or_default());
    }

    /// The id to be sent with sequence 0.
    pub fn identity(&self) -> ProducerIdentity {
        let content: [u8; 32] = self.content.clone().finalize().into();
        ProducerIdentity { id: self.id, epoch: (first_bits(&content) >> 49) as i16 }
    }
}

fn first_bits(digest: &[u8; 32]) -> u64 {
    digest.iter().take(8).fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use lakebed_record::is_derived_producer;

    use super::*;

    fn identity(key: &[u8], n: u32, parts: &[Option<&[u8]>]) -> ProducerIdentity {
        let mut batch = RequestKey::new(key).batch(n);
        parts.iter().for_each(|part| batch.add(*part));
        batch.identity()
    }

    #[test]
    fn an_identity_depends_on_key_place_and_records() {
        let first = identity(b"a", 0, &[Some(b"x"), None]);
        assert!(is_derived_producer(first.id) && first.epoch >= 0);
        assert_eq!(first, identity(b"a", 0, &[Some(b"x"), None]));
        assert_ne!(first.id, identity(b"b", 0, &[Some(b"x"), None]).id);
        assert_ne!(first.id, identity(b"a", 1, &[Some(b"x"), None]).id);
        for other in [&[Some(&b"x"[..]), Some(b"")][..], &[None, Some(b"x")], &[Some(b"x")]] {
            let other = identity(b"a", 0, other);
            assert_eq!(other.id, first.id);
            assert_ne!(other.epoch, first.epoch);
        }
    }
}
