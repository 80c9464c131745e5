//! ListOffsets: earliest, latest, and the first record at or past a time.

use bytes::Bytes;
use lakebed_manifest::Entry;
use lakebed_record::TopicPartition;
use lakebed_record::batch::{self, Limits};

use crate::api::{FetchError, ListedOffset, OffsetSpec};
use crate::fetch::{Reader, StoredBatch, WalkError, batches_of};
use crate::off_worker::off_worker;

const NONE: ListedOffset = ListedOffset { offset: -1, timestamp: -1 };

impl Reader {
    pub async fn list_offsets(&self, tp: TopicPartition, spec: OffsetSpec) -> Result<ListedOffset, FetchError> {
        match spec {
            OffsetSpec::Earliest => {
                if self.log_bounds(tp).is_none() {
                    self.barrier().await?;
                }
                let (log_start, _) = self.log_bounds(tp).ok_or(FetchError::UnknownPartition)?;
                Ok(ListedOffset { offset: log_start, timestamp: -1 })
            }
            OffsetSpec::Latest => {
                self.barrier().await?;
                let (_, next) = self.log_bounds(tp).ok_or(FetchError::UnknownPartition)?;
                Ok(ListedOffset { offset: next, timestamp: -1 })
            }
            OffsetSpec::AtTime(timestamp) => {
                if self.entry_at_time(tp, timestamp).is_none() {
                    // "None" may only mean that this node lags.
                    self.barrier().await?;
                }
                self.log_bounds(tp).ok_or(FetchError::UnknownPartition)?;
                match self.entry_at_time(tp, timestamp) {
                    Some(entry) => self.first_at(tp, &entry, timestamp).await,
                    None => Ok(NONE),
                }
            }
        }
    }

    fn log_bounds(&self, tp: TopicPartition) -> Option<(i64, i64)> {
        self.manifest.read(|s| s.partition(tp).map(|p| (p.log_start(), p.next_offset())))
    }

    fn entry_at_time(&self, tp: TopicPartition, timestamp: i64) -> Option<Entry> {
        self.manifest.read(|s| s.partition(tp).and_then(|p| p.entry_at_time(timestamp).copied()))
    }

    async fn first_at(&self, tp: TopicPartition, entry: &Entry, timestamp: i64) -> Result<ListedOffset, FetchError> {
        let barrier = async { Ok(self.barrier().await?) };
        let loaded = self.data.load_surely(&self.manifest, barrier, tp, entry).await?;
        let found = batches_of(entry, &loaded.rope).find_map(|b| match b {
            Err(error) => Some(Err(error)),
            Ok(b) if b.header.max_timestamp < timestamp => None,
            Ok(b) => first_record(&b, &whole(loaded.rope.slices(b.start..b.start + b.len())), timestamp).transpose(),
        });
        match found {
            Some(Ok(listed)) => Ok(listed),
            Some(Err(error)) => Err(self.data.corrupt(tp, entry, &error).await),
            None => Ok(NONE),
        }
    }
}

/// Most often one piece, which is not copied.
fn whole(mut pieces: impl Iterator<Item = Bytes>) -> Bytes {
    match (pieces.next(), pieces.next()) {
        (Some(only), None) => only,
        (first, second) => first.into_iter().chain(second).chain(pieces).flatten().collect(),
    }
}

fn first_record(batch: &StoredBatch, bytes: &[u8], timestamp: i64) -> Result<Option<ListedOffset>, WalkError> {
    for record in &off_worker(|| batch::records(bytes, Limits::default()))? {
        let record = record?;
        if record.timestamp >= timestamp {
            let offset = batch.base_offset + i64::from(record.offset_delta);
            return Ok(Some(ListedOffset { offset, timestamp: record.timestamp }));
        }
    }
    Ok(None)
}
