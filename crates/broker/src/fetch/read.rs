//! The bytes of planned entries: from the ring, else from the block cache; what is missing is looked up once more behind
//! a read barrier, and if it is still named and still missing, that is an alarm, never a silent skip.

use std::sync::Arc;
use std::time::Duration;

use lakebed_manifest::{Entry, Manifest};
use lakebed_record::TopicPartition;

use super::cache::{Cache, LoadError};
use super::ring::Ring;
use super::rope::Rope;
use super::walk::{Trust, WalkError};
use crate::api::FetchError;
use crate::metrics::{Alarm, Metrics, Source};

/// Where the bytes of entries come from.
pub struct Data {
    pub ring: Arc<Ring>,
    pub cache: Arc<Cache>,
    pub metrics: Metrics,
}

#[derive(Debug)]
pub struct Loaded {
    pub rope: Arc<Rope>,
    pub trust: Trust,
}

impl Data {
    pub fn recent(&self, entry: &Entry) -> Option<Loaded> {
        let rope = self.ring.get(&entry.object)?;
        if !rope.covers(&(entry.start..entry.start + entry.len)) {
            return None;
        }
        self.metrics.read(Source::Ring, entry.len as usize);
        Some(Loaded { rope, trust: Trust::Checked })
    }

    pub fn is_recent(&self, entry: &Entry) -> bool {
        self.ring.get(&entry.object).is_some()
    }

    pub async fn load(&self, entry: &Entry) -> Result<Loaded, LoadError> {
        if let Some(loaded) = self.recent(entry) {
            return Ok(loaded);
        }
        let rope = self.cache.load(entry.object, entry.start, entry.len).await?;
        Ok(Loaded { rope: Arc::new(rope), trust: Trust::Check })
    }

    /// As [`Data::load`]; an object that is not there is looked for again once the node is sure not to lag.
    pub async fn load_surely(
        &self,
        manifest: &Manifest,
        barrier: impl Future<Output = Result<(), FetchError>>,
        partition: TopicPartition,
        entry: &Entry,
    ) -> Result<Loaded, FetchError> {
        match self.load(entry).await {
            Ok(loaded) => return Ok(loaded),
            Err(LoadError::Fault(fault)) => return Err(FetchError::Storage(fault)),
            Err(LoadError::NotFound) => {}
        }
        barrier.await?;
        let again = manifest.read(|s| s.partition(partition).and_then(|p| p.entry_at(entry.base_offset).copied()));
        let Some(again) = again.filter(|e| e.base_offset == entry.base_offset) else {
            return Err(FetchError::Storage("the records moved while they were read; fetch again".into()));
        };
        match self.load(&again).await {
            Ok(loaded) if (again.start, again.len) == (entry.start, entry.len) => Ok(loaded),
            Ok(_) => Err(FetchError::Storage("the records moved while they were read; fetch again".into())),
            Err(LoadError::Fault(fault)) => Err(FetchError::Storage(fault)),
            Err(LoadError::NotFound) => Err(self.missing(partition, &again)),
        }
    }

    fn missing(&self, partition: TopicPartition, entry: &Entry) -> FetchError {
        self.metrics.alarm(Alarm::DataMissing);
        let key = lakebed_record::keys::data(&entry.object);
        tracing::error!(%partition, offset = entry.base_offset, %key, "an object that holds records is not in the store");
        FetchError::Storage(format!("object {key} is missing from the store"))
    }

    /// Stored bytes that are not what was stored: blocks are forgotten, so that the next read asks the store again.
    pub async fn corrupt(&self, partition: TopicPartition, entry: &Entry, error: &WalkError) -> FetchError {
        self.metrics.alarm(Alarm::DataCorrupt);
        let key = lakebed_record::keys::data(&entry.object);
        tracing::error!(%partition, offset = entry.base_offset, %key, %error, "stored records are damaged");
        self.cache.forget(entry.object, entry.start, entry.len).await;
        FetchError::Storage(format!("object {key} is damaged: {error}"))
    }
}

/// How long a read barrier may take before a client is told to ask again.
pub const BARRIER_LIMIT: Duration = Duration::from_secs(10);
