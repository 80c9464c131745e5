//! Index pages: old entries of a partition that stand in an object of their own, sealed by background work, read through the
//! cache. A page is written whole and never changed; a crash before its op applies leaves an orphan.

mod at_hand;
pub(crate) mod seal;

use lakebed_record::entries::{IndexPage, ObjectTable};
use lakebed_record::ops::{OpKind, SealEntries};

pub(crate) use at_hand::{AtHand, Blocked, Lacking, PageError, Pages, entries_from, with_max_timestamp};

use crate::merge::output::{Output, OutputError};
use crate::merge::{Inputs, place_of};
use seal::Seal;

/// Stores the page and submits the op that puts it in place of its entries; takes the object away again if that is refused.
pub(crate) async fn write(inputs: &Inputs, output: &mut Output, seal: &Seal) -> Result<(), OutputError> {
    let base_offset = seal.entries[0].base_offset;
    let page = IndexPage {
        partition: seal.partition,
        base_offset,
        entries: seal.entries.iter().map(|e| (place_of(e), e.max_timestamp)).collect(),
    };
    let (bytes, crc) = page.encode(inputs.manifest.read(|s| s.feature_level()));
    let place = output.store(vec![bytes], crc).await?;
    let mut objects = ObjectTable::default();
    let run = objects.run(seal.partition, base_offset, seal.entries.iter().map(place_of));
    let op = SealEntries { page: Some(place), objects: objects.into_refs(), inputs: Some(run) };
    let named = output.submit(OpKind::SealEntries(op)).await;
    if let Err(error) = &named {
        output.discard(&place, error).await;
    }
    named
}
