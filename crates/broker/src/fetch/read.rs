//! The bytes of planned entries: from the ring, else from the block cache; and the alarms about what is not there or not what
//! was stored.

use std::sync::Arc;
use std::time::Duration;

use lakebed_manifest::Entry;
use lakebed_record::TopicPartition;

use super::cache::{Cache, LoadError};
use super::ring::Ring;
use super::rope::Rope;
use super::walk::{Trust, WalkError};
use crate::api::FetchError;
use crate::metrics::{Alarm, Metrics, Source};
use crate::pages::{Lacking, PageError, Pages};

/// Where the bytes of entries come from.
pub struct Data {
    pub ring: Arc<Ring>,
    pub cache: Arc<Cache>,
    pub pages: Pages,
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

    pub fn missing(&self, partition: TopicPartition, entry: &Entry) -> FetchError {
        self.metrics.alarm(Alarm::DataMissing);
        let key = lakebed_record::keys::data(&entry.object);
        tracing::error!(%partition, offset = entry.base_offset, %key, "an object that holds records is not in the store");
        FetchError::Storage(format!("object {key} is missing from the store"))
    }

    pub async fn page(&self, lacking: &Lacking) -> Result<Arc<[Entry]>, PageError> {
        self.pages.load(&self.cache, lacking).await
    }

    pub fn bad_page(&self, lacking: &Lacking, alarm: Alarm, why: &str) -> FetchError {
        self.metrics.alarm(alarm);
        let key = lakebed_record::keys::segment(&lacking.name);
        tracing::error!(partition = %lacking.partition, %key, why, "an index page cannot be read");
        FetchError::Storage(format!("index page {key}: {why}"))
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
