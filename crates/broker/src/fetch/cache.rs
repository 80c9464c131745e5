//! Blocks of objects that were read from the store: coarse, byte-weighted, each fetched once however many want it.
//! Reads for consumers have their own limit of concurrent requests, so that replaying the past does not slow producers.

use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lakebed_record::{DataObject, keys};
use lakebed_store::env::Env;
use lakebed_store::{ReadError, Store};
use tokio::sync::Semaphore;

use super::rope::Rope;
use crate::metrics::{Metrics, Source};

/// Bytes of an aligned block: what small entries, which lie next to each other, share.
const BLOCK: u64 = 1 << 20;
/// An entry of at least this many bytes is a block of its own, so that none of its batches is cut.
const OWN_BLOCK: u64 = BLOCK / 2;
const CONCURRENT_READS: usize = 16;
const TRIES: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The same order in every run: simulations repeat.
type Hasher = BuildHasherDefault<DefaultHasher>;

/// A range of an object, from byte `start` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Block {
    object: DataObject,
    start: u64,
    len: u64,
}

impl Block {
    /// Blocks that lie behind each other and hold these bytes of an object.
    pub fn of(object: DataObject, start: u64, len: u64) -> impl Iterator<Item = Block> {
        let aligned = start / BLOCK * BLOCK;
        let (first, step) = if len >= OWN_BLOCK { (start, len) } else { (aligned, BLOCK) };
        (first..start + len).step_by(step as usize).map(move |start| Block { object, start, len: step })
    }
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum LoadError {
    #[error("the object is not there")]
    NotFound,
    #[error("the object store does not answer: {0}")]
    Fault(String),
}

pub struct Cache {
    blocks: moka::future::Cache<Block, Bytes, Hasher>,
    reads: Semaphore,
    store: Arc<dyn Store>,
    env: Env,
    metrics: Metrics,
}

impl Cache {
    /// `capacity` in bytes.
    pub fn new(capacity: u64, store: Arc<dyn Store>, env: Env, metrics: Metrics) -> Cache {
        let blocks = moka::future::Cache::builder()
            .max_capacity(capacity)
            .weigher(|_: &Block, block: &Bytes| u32::try_from(block.len() + 64).unwrap_or(u32::MAX))
            .build_with_hasher(Hasher::default());
        Cache { blocks, reads: Semaphore::new(CONCURRENT_READS), store, env, metrics }
    }

    /// The range, or more around it; shorter if the object ends before.
    pub async fn load(&self, object: DataObject, start: u64, len: u64) -> Result<Rope, LoadError> {
        let mut blocks = Block::of(object, start, len).peekable();
        let first = blocks.peek().map_or(start, |b| b.start);
        Ok(Rope::new(first, futures_util::future::try_join_all(blocks.map(|b| self.block(b))).await?))
    }

    pub async fn block(&self, block: Block) -> Result<Bytes, LoadError> {
        if let Some(bytes) = self.blocks.get(&block).await {
            self.metrics.read(Source::Cache, bytes.len());
            return Ok(bytes);
        }
        let loaded = self.blocks.try_get_with(block, self.read(block)).await;
        loaded.map_err(|e: Arc<LoadError>| (*e).clone())
    }

    /// Starts to read what is not there; errors come up again for whoever wants it.
    pub fn prefetch(self: &Arc<Self>, object: DataObject, start: u64, len: u64) {
        for block in Block::of(object, start, len) {
            if !self.blocks.contains_key(&block) {
                let cache = Arc::clone(self);
                tokio::spawn(async move { drop(cache.block(block).await) });
            }
        }
    }

    async fn read(&self, block: Block) -> Result<Bytes, LoadError> {
        let key = keys::data(&block.object);
        let range = block.start..block.start + block.len;
        let mut pause = FIRST_PAUSE;
        let mut tries = 0;
        loop {
            let reply = {
                let _permit = self.reads.acquire().await.expect("the semaphore is never closed");
                self.store.get(&key, Some(range.clone())).await
            };
            match reply.value {
                Ok(found) => {
                    self.metrics.read(Source::Store, found.bytes.len());
                    return Ok(found.bytes);
                }
                Err(ReadError::NotFound) => return Err(LoadError::NotFound),
                Err(ReadError::Fault(fault)) => {
                    tries += 1;
                    if tries == TRIES {
                        return Err(LoadError::Fault(fault.to_string()));
                    }
                }
            }
            self.env.clock.sleep(pause).await;
            pause *= 2;
        }
    }

    /// Forgets the object's blocks in this range: they were wrong or of no use.
    pub async fn forget(&self, object: DataObject, start: u64, len: u64) {
        for block in Block::of(object, start, len) {
            self.blocks.invalidate(&block).await;
        }
    }

    pub fn bytes(&self) -> u64 {
        self.blocks.weighted_size()
    }
}

#[cfg(test)]
mod tests {
    use lakebed_record::Slot;

    use super::*;

    #[test]
    fn blocks_hold_the_range_they_are_for() {
        let object = DataObject::Inline(Slot(1));
        let of = |start, len| Block::of(object, start, len).map(|b| (b.start, b.len)).collect::<Vec<_>>();
        assert_eq!(of(64, 100), [(0, BLOCK)]);
        assert_eq!(of(BLOCK - 1, 2), [(0, BLOCK), (BLOCK, BLOCK)]);
        assert_eq!(of(BLOCK, BLOCK / 2 - 1), [(BLOCK, BLOCK)]);
        assert_eq!(of(77, OWN_BLOCK), [(77, OWN_BLOCK)]);
        assert_eq!(of(77, 3 * BLOCK), [(77, 3 * BLOCK)]);
    }
}
