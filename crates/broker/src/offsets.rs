//! ListOffsets: earliest, latest, and the first record at or past a time.

use bytes::Bytes;
use lakebed_manifest::Entry;
use lakebed_record::TopicPartition;
use lakebed_record::batch::{self, Codec, Limits};

use crate::api::{FetchError, ListedOffset, OffsetSpec};
use crate::fetch::{Reader, Rope, WalkError, batches_of};
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
        match self.search(&entry, &loaded.rope, least, timestamp).await {
            Ok(found) => Ok((entry, found)),
            Err(error) => Err(self.data.corrupt(tp, &entry, &error).await),
        }
    }

    async fn search(
        &self,
        entry: &Entry,
        rope: &Rope,
        least: i64,
        timestamp: i64,
    ) -> Result<Option<ListedOffset>, WalkError> {
        for batch in batches_of(entry, rope) {
            let batch = batch?;
            if batch.header.max_timestamp < timestamp || batch.next_offset() <= least {
                continue;
            }
            let bytes = whole(rope.slices(batch.start..batch.start + batch.len()));
            let look = || batch::first_at(&bytes, least - batch.base_offset, timestamp, Limits::default());
            let found = match batch.header.codec()? {
                Codec::None => look()?,
                _ => self.turns.next().await.run(look)?,
            };
            if let Some(found) = found {
                let offset = batch.base_offset + i64::from(found.offset_delta);
                return Ok(Some(ListedOffset { offset, timestamp: found.timestamp }));
            }
        }
        Ok(None)
    }
}

/// Most often one piece, which is not copied.
fn whole(mut pieces: impl Iterator<Item = Bytes>) -> Bytes {
    match (pieces.next(), pieces.next()) {
        (Some(only), None) => only,
        (first, second) => first.into_iter().chain(second).chain(pieces).flatten().collect(),
    }
}
