//! Looks at the index that may need pages, and second looks at what is not in the store.
//!
//! An object that is missing is looked up once more behind a read barrier: it may have been merged, and deleted after that. If
//! the state, now sure not to lag, still names it or names another one that is missing too, that is an alarm, never a silent
//! skip.

use std::sync::Arc;

use lakebed_manifest::{Entry, PartitionState};
use lakebed_record::TopicPartition;

use super::cache::LoadError;
use super::plan::Plan;
use super::read::Loaded;
use super::service::Reader;
use crate::api::{FetchError, FetchRequest};
use crate::metrics::Alarm;
use crate::pages::{AtHand, Blocked, Lacking, PageError, entries_from};

/// Pages that one fetch may hold, some 70 KB each; partitions behind them wait for the next fetch.
const MOST_PAGES: usize = 64;
/// Times that a look is repeated because the index changes meanwhile.
const MOST_LOOKS: usize = 16;

impl Reader {
    /// With the pages that it needs, which it may need again.
    pub(super) async fn plan(&self, request: &FetchRequest) -> (Plan, AtHand) {
        let mut pages = AtHand::default();
        loop {
            let plan = self.manifest.read(|state| Plan::of(state, request, &pages));
            let room = MOST_PAGES.saturating_sub(pages.len());
            if plan.lacking.is_empty() || room == 0 {
                return (plan, pages);
            }
            let lacking = plan.lacking.iter().take(room);
            let loaded = futures_util::future::join_all(lacking.clone().map(|l| self.page(l))).await;
            for (lacking, page) in lacking.zip(loaded) {
                // If there is none, the next look does not find it named any more.
                if let Some(page) = page.transpose() {
                    pages.insert(lacking.name, page);
                }
            }
        }
    }

    /// One look at a partition, repeated with the pages that it lacks. `None`: there is no such partition.
    pub(crate) async fn look<T>(
        &self,
        tp: TopicPartition,
        look: impl Fn(&PartitionState, &AtHand) -> Result<T, Blocked>,
    ) -> Result<Option<T>, FetchError> {
        let mut pages = AtHand::default();
        for _ in 0..MOST_LOOKS {
            let lacking = match self.manifest.read(|s| s.partition(tp).map(|p| look(p, &pages))) {
                None => return Ok(None),
                Some(Ok(found)) => return Ok(Some(found)),
                Some(Err(Blocked::Failed(error))) => return Err(error),
                Some(Err(Blocked::Lacking(lacking))) => lacking,
            };
            if let Some(page) = self.page(&lacking).await? {
                pages.insert(lacking.name, Ok(page));
            }
        }
        Err(FetchError::Storage("the index keeps changing; try again".into()))
    }

    /// `None`: the state does not name it any more.
    async fn page(&self, lacking: &Lacking) -> Result<Option<Arc<[Entry]>>, FetchError> {
        let first = self.data.page(lacking).await;
        if !matches!(first, Err(PageError::Load(LoadError::NotFound))) {
            return self.opened(lacking, first).map(Some);
        }
        self.data.metrics.second_look();
        self.barrier().await?;
        let named = |p: &PartitionState| p.pages().iter().any(|page| page.name == lacking.name);
        if !self.manifest.read(|s| s.partition(lacking.partition).is_some_and(named)) {
            return Ok(None);
        }
        let second = self.data.page(lacking).await;
        self.opened(lacking, second).map(Some)
    }

    fn opened(&self, lacking: &Lacking, page: Result<Arc<[Entry]>, PageError>) -> Result<Arc<[Entry]>, FetchError> {
        page.map_err(|error| match error {
            PageError::Load(LoadError::Fault(fault)) => FetchError::Storage(fault),
            PageError::Load(LoadError::NotFound) => {
                self.data.bad_page(lacking, Alarm::DataMissing, "it is missing from the store")
            }
            PageError::Damaged(error) => self.data.bad_page(lacking, Alarm::DataCorrupt, &error.to_string()),
        })
    }

    /// The entry's bytes, or those of the entry that its first offset has moved to: that one is returned with them.
    pub(crate) async fn load_surely(&self, tp: TopicPartition, entry: &Entry) -> Result<(Entry, Loaded), FetchError> {
        match self.data.load(entry).await {
            Ok(loaded) => return Ok((*entry, loaded)),
            Err(LoadError::Fault(fault)) => return Err(FetchError::Storage(fault)),
            Err(LoadError::NotFound) => {}
        }
        self.data.metrics.second_look();
        self.barrier().await?;
        let again = self.look(tp, |p, pages| {
            let found = entries_from(tp, p, pages, entry.base_offset).next().transpose()?;
            Ok(found.filter(|e| e.base_offset <= entry.base_offset).copied())
        });
        let again = again.await?.ok_or(FetchError::UnknownPartition)?;
        let Some(again) = again else {
            return Err(FetchError::Storage("the records were deleted while they were read; fetch again".into()));
        };
        match self.data.load(&again).await {
            Ok(loaded) => Ok((again, loaded)),
            Err(LoadError::Fault(fault)) => Err(FetchError::Storage(fault)),
            Err(LoadError::NotFound) => Err(self.data.missing(tp, &again)),
        }
    }
}
