//! ListOffsets: earliest, latest, and the first record at or past a time.

use bytes::Bytes;
use lakebed_manifest::Entry;
use lakebed_record::TopicPartition;
use lakebed_record::batch::{self, Limits};

use crate::api::{FetchError, ListedOffset, OffsetSpec};
use crate::fetch::{Reader, StoredBatch, WalkError, batches_of};
use crate::off_worker::off_worker;
use crate::pages::with_max_timestamp;

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
            OffsetSpec::AtTime(timestamp) => match self.first_at(tp, timestamp).await? {
                Some(listed) => Ok(listed),
                None => {
                    // "None" may only mean that this node lags.
                    self.barrier().await?;
                    self.log_bounds(tp).ok_or(FetchError::UnknownPartition)?;
                    Ok(self.first_at(tp, timestamp).await?.unwrap_or(NONE))
                }
            },
        }
    }

    fn log_bounds(&self, tp: TopicPartition) -> Option<(i64, i64)> {
        self.manifest.read(|s| s.partition(tp).map(|p| (p.log_start(), p.next_offset())))
    }

    /// The first record that is not truncated, at or past a time (ms).
    async fn first_at(&self, tp: TopicPartition, timestamp: i64) -> Result<Option<ListedOffset>, FetchError> {
        let mut from = 0;
        loop {
            let look = self.look(tp, |p, pages| {
                let from = p.log_start().max(from);
                let entry = with_max_timestamp(tp, p, pages, from, timestamp).next().transpose()?;
                Ok(entry.map(|e| (*e, from)))
            });
            let Some((entry, least)) = look.await?.flatten() else { return Ok(None) };
            let (entry, found) = self.first_in(tp, &entry, least, timestamp).await?;
            if found.is_some() {
                return Ok(found);
            }
            // Its records at that time are truncated.
            from = entry.end_offset();
        }
    }

    /// The entry that was read, which is another one if it has moved; and its first record from offset `least` on at that time.
    async fn first_in(
        &self,
        tp: TopicPartition,
        entry: &Entry,
        least: i64,
        timestamp: i64,
    ) -> Result<(Entry, Option<ListedOffset>), FetchError> {
        let (entry, loaded) = self.load_surely(tp, entry).await?;
        let found = batches_of(&entry, &loaded.rope).find_map(|b| match b {
            Err(error) => Some(Err(error)),
            Ok(b) if b.header.max_timestamp < timestamp || b.next_offset() <= least => None,
            Ok(b) => {
                let bytes = whole(loaded.rope.slices(b.start..b.start + b.len()));
                first_record(&b, &bytes, least, timestamp).transpose()
            }
        });
        match found {
            Some(Err(error)) => Err(self.data.corrupt(tp, &entry, &error).await),
            Some(Ok(listed)) => Ok((entry, Some(listed))),
            None => Ok((entry, None)),
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

fn first_record(
    batch: &StoredBatch,
    bytes: &[u8],
    least: i64,
    timestamp: i64,
) -> Result<Option<ListedOffset>, WalkError> {
    for record in &off_worker(|| batch::records(bytes, Limits::default()))? {
        let record = record?;
        let offset = batch.base_offset + i64::from(record.offset_delta);
        if record.timestamp >= timestamp && offset >= least {
            return Ok(Some(ListedOffset { offset, timestamp: record.timestamp }));
        }
    }
    Ok(None)
}
