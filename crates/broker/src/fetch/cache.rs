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

/// Bytes of a block.
pub const BLOCK: u64 = 1 << 20;
const CONCURRENT_READS: usize = 16;
const TRIES: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The same order in every run: simulations repeat.
type Hasher = BuildHasherDefault<DefaultHasher>;
type BlockId = (DataObject, u64);

#[derive(Clone, Debug, thiserror::Error)]
pub enum LoadError {
    #[error("the object is not there")]
    NotFound,
    #[error("the object store does not answer: {0}")]
    Fault(String),
}

pub struct Cache {
    blocks: moka::future::Cache<BlockId, Bytes, Hasher>,
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
            .weigher(|_: &BlockId, block: &Bytes| u32::try_from(block.len() + 64).unwrap_or(u32::MAX))
            .build_with_hasher(Hasher::default());
        Cache { blocks, reads: Semaphore::new(CONCURRENT_READS), store, env, metrics }
    }

    /// Blocks that together hold bytes `start .. start + len` of the object.
    pub fn block_numbers(start: u64, len: u64) -> std::ops::RangeInclusive<u64> {
        start / BLOCK..=(start + len.max(1) - 1) / BLOCK
    }

    /// The range, extended to whole blocks; shorter if the object ends before.
    pub async fn load(&self, object: DataObject, start: u64, len: u64) -> Result<Rope, LoadError> {
        let numbers = Self::block_numbers(start, len);
        let first = *numbers.start();
        let blocks = futures_util::future::try_join_all(numbers.map(|n| self.block(object, n))).await?;
        Ok(Rope::new(first * BLOCK, blocks))
    }

    pub async fn block(&self, object: DataObject, number: u64) -> Result<Bytes, LoadError> {
        if let Some(block) = self.blocks.get(&(object, number)).await {
            self.metrics.read(Source::Cache, block.len());
            return Ok(block);
        }
        let loaded = self.blocks.try_get_with((object, number), self.read(object, number)).await;
        loaded.map_err(|e: Arc<LoadError>| (*e).clone())
    }

    async fn read(&self, object: DataObject, number: u64) -> Result<Bytes, LoadError> {
        let key = keys::data(&object);
        let range = number * BLOCK..(number + 1) * BLOCK;
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
        for number in Self::block_numbers(start, len) {
            self.blocks.invalidate(&(object, number)).await;
        }
    }

    pub fn bytes(&self) -> u64 {
        self.blocks.weighted_size()
    }
}
