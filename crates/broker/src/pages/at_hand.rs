//! Looking entries up where some of them stand in pages: a look at the state says which pages it lacks, they are loaded, and
//! it is done again. The look itself is pure.

use std::collections::BTreeMap;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use lakebed_manifest::state::Page;
use lakebed_manifest::{Entry, PartitionState};
use lakebed_record::entries::IndexPage;
use lakebed_record::envelope::FormatError;
use lakebed_record::{DataObject, SegmentName, TopicPartition};

use crate::api::FetchError;
use crate::fetch::cache::{Cache, LoadError};

/// The same order in every run: simulations repeat.
type Hasher = BuildHasherDefault<DefaultHasher>;

/// A page that a look lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lacking {
    pub partition: TopicPartition,
    pub name: SegmentName,
    len: u64,
    base_offset: i64,
    end_offset: i64,
}

impl Lacking {
    pub fn new(partition: TopicPartition, page: &Page) -> Lacking {
        let Page { name, len, base_offset, end_offset, .. } = *page;
        Lacking { partition, name, len, base_offset, end_offset }
    }
}

/// Pages that were loaded for a look, or the reason why they were not.
#[derive(Clone, Debug, Default)]
pub struct AtHand(BTreeMap<SegmentName, Result<Arc<[Entry]>, FetchError>>);

impl AtHand {
    pub fn insert(&mut self, name: SegmentName, page: Result<Arc<[Entry]>, FetchError>) {
        self.0.insert(name, page);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    fn entries(&self, tp: TopicPartition, page: &Page) -> Result<&[Entry], Blocked> {
        match self.0.get(&page.name) {
            Some(Ok(entries)) => Ok(entries),
            Some(Err(error)) => Err(Blocked::Failed(error.clone())),
            None => Err(Blocked::Lacking(Lacking::new(tp, page))),
        }
    }
}

/// Why a look ends before there is nothing left.
#[derive(Clone, Debug)]
pub enum Blocked {
    Lacking(Lacking),
    Failed(FetchError),
}

/// Entries that end past `offset`, the one that holds it first; an error is the last item.
pub fn entries_from<'a>(
    tp: TopicPartition,
    partition: &'a PartitionState,
    at_hand: &'a AtHand,
    offset: i64,
) -> impl Iterator<Item = Result<&'a Entry, Blocked>> {
    with_max_timestamp(tp, partition, at_hand, offset, i64::MIN)
}

/// The same, only those with a record at or past `timestamp` (ms).
pub fn with_max_timestamp<'a>(
    tp: TopicPartition,
    partition: &'a PartitionState,
    at_hand: &'a AtHand,
    offset: i64,
    timestamp: i64,
) -> impl Iterator<Item = Result<&'a Entry, Blocked>> {
    let pages = partition.pages();
    let first = pages.partition_point(|p| p.end_offset <= offset);
    let wanted = move |e: &&'a Entry| e.end_offset() > offset && e.max_timestamp >= timestamp;
    let in_pages = pages[first..].iter().filter(move |p| p.max_timestamp >= timestamp).flat_map(move |page| {
        let (entries, blocked) = match at_hand.entries(tp, page) {
            Ok(entries) => (entries, None),
            Err(blocked) => (&[][..], Some(Err(blocked))),
        };
        entries.iter().filter(wanted).map(Ok).chain(blocked)
    });
    let in_state = partition.entries_from(offset).filter(wanted).map(Ok);
    let mut over = false;
    in_pages.chain(in_state).take_while(move |item| !std::mem::replace(&mut over, item.is_err()))
}

/// Decoded pages.
pub struct Pages {
    decoded: moka::future::Cache<SegmentName, Arc<[Entry]>, Hasher>,
}

#[derive(Clone, Debug)]
pub enum PageError {
    Load(LoadError),
    Damaged(FormatError),
}

impl Pages {
    /// `capacity` in bytes.
    pub fn new(capacity: u64) -> Pages {
        let weigh = |_: &SegmentName, entries: &Arc<[Entry]>| {
            u32::try_from(std::mem::size_of_val::<[Entry]>(entries) + 128).unwrap_or(u32::MAX)
        };
        let decoded = moka::future::Cache::builder().max_capacity(capacity).weigher(weigh);
        Pages { decoded: decoded.build_with_hasher(Hasher::default()) }
    }

    pub async fn load(&self, blocks: &Cache, lacking: &Lacking) -> Result<Arc<[Entry]>, PageError> {
        if let Some(entries) = self.decoded.get(&lacking.name).await {
            return Ok(entries);
        }
        let object = DataObject::Segment(lacking.name);
        let rope = blocks.load(object, 0, lacking.len).await.map_err(PageError::Load)?;
        let bytes: Vec<u8> = rope.slices(0..lacking.len).flatten().collect();
        match decode(lacking, &bytes) {
            Ok(entries) => {
                self.decoded.insert(lacking.name, Arc::clone(&entries)).await;
                Ok(entries)
            }
            Err(error) => {
                blocks.forget(object, 0, lacking.len).await;
                Err(PageError::Damaged(error))
            }
        }
    }
}

fn decode(lacking: &Lacking, bytes: &[u8]) -> Result<Arc<[Entry]>, FormatError> {
    let page = IndexPage::decode(bytes)?;
    let entries: Arc<[Entry]> = Entry::of_page(&page).into();
    let end_offset = entries.last().map_or(page.base_offset, Entry::end_offset);
    if (page.partition, page.base_offset, end_offset) != (lacking.partition, lacking.base_offset, lacking.end_offset) {
        return Err(FormatError::Body("the page is another one than the state names".into()));
    }
    Ok(entries)
}
