//! Index entries as columns, in the ops that name them, and as whole index pages. Pure.
//!
//! An index page is an [`envelope`] of kind `IndexPage`: the body is a [`PageBody`], there is no payload. Its name has the
//! form of a segment's, and it lies among them. It is written once and named by a `seal entries` op; a crash in between leaves
//! an orphan.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;

use crate::envelope::{self, FormatError, Kind};
use crate::ops::{EntryRun, ObjectRef};
use crate::{DataObject, TopicId, TopicPartition};

/// Where an entry's batches lie, and how many offsets they take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub offsets: u64,
    pub object: DataObject,
    /// In bytes from the object's start.
    pub start: u64,
    pub len: u64,
}

/// The objects that an op or a page refers to, each once, by number.
#[derive(Debug, Default)]
pub struct ObjectTable {
    objects: Vec<ObjectRef>,
    numbers: BTreeMap<DataObject, u32>,
}

impl ObjectTable {
    fn number(&mut self, object: DataObject) -> u32 {
        *self.numbers.entry(object).or_insert_with(|| {
            self.objects.push(object.into());
            self.objects.len() as u32 - 1
        })
    }

    /// Entries of one partition that follow each other, as columns.
    pub fn run(&mut self, tp: TopicPartition, base_offset: i64, places: impl Iterator<Item = Place>) -> EntryRun {
        let mut run = EntryRun {
            topic_id: tp.topic.0.to_be_bytes().to_vec(),
            partition: tp.partition.0,
            base_offset,
            ..EntryRun::default()
        };
        for place in places {
            run.offsets.push(place.offsets);
            run.object.push(self.number(place.object));
            run.start.push(place.start);
            run.len.push(place.len);
        }
        run
    }

    pub fn into_refs(self) -> Vec<ObjectRef> {
        self.objects
    }
}

/// Body of an index page.
#[derive(Clone, PartialEq, Message)]
pub struct PageBody {
    #[prost(message, optional, tag = "1")]
    pub entries: Option<EntryRun>,
    #[prost(message, repeated, tag = "2")]
    pub objects: Vec<ObjectRef>,
    /// Of each entry: the largest timestamp of its records (ms).
    #[prost(int64, repeated, tag = "3")]
    pub max_timestamp: Vec<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexPage {
    pub partition: TopicPartition,
    pub base_offset: i64,
    /// Each with its largest timestamp (ms); their offsets follow each other from `base_offset` on.
    pub entries: Vec<(Place, i64)>,
}

impl IndexPage {
    /// The whole object, and its CRC-32C.
    pub fn encode(&self, feature_level: u16) -> (Bytes, u32) {
        let mut objects = ObjectTable::default();
        let places = self.entries.iter().map(|(place, _)| *place);
        let body = PageBody {
            entries: Some(objects.run(self.partition, self.base_offset, places)),
            objects: objects.into_refs(),
            max_timestamp: self.entries.iter().map(|(_, at)| *at).collect(),
        };
        envelope::seal(Kind::IndexPage, feature_level, &body.encode_to_vec(), 0, 0)
    }

    /// Takes nothing on trust but that the CRCs match.
    pub fn decode(object: &[u8]) -> Result<IndexPage, FormatError> {
        let header = envelope::open(Kind::IndexPage, object)?;
        if header.total_len() != object.len() as u64 || header.payload_len != 0 {
            return Err(FormatError::Body("the page's length is not the declared one".into()));
        }
        let body = PageBody::decode(envelope::body(&header, object)?).map_err(|e| FormatError::Body(e.to_string()))?;
        body.into_page().ok_or_else(|| FormatError::Body("the page's columns do not fit together".into()))
    }
}

impl PageBody {
    fn into_page(self) -> Option<IndexPage> {
        let run = self.entries?;
        let count = run.offsets.len();
        if count == 0 || [run.object.len(), run.start.len(), run.len.len(), self.max_timestamp.len()] != [count; 4] {
            return None;
        }
        let partition = TopicPartition::new(TopicId::from_bytes(&run.topic_id)?, run.partition);
        let mut end_offset = run.base_offset;
        let mut entries = Vec::with_capacity(count);
        for i in 0..count {
            let (offsets, start, len) = (run.offsets[i], run.start[i], run.len[i]);
            let object = DataObject::from(self.objects.get(run.object[i] as usize)?);
            end_offset = end_offset.checked_add_unsigned(offsets).filter(|_| offsets > 0)?;
            start.checked_add(len).filter(|_| len > 0)?;
            entries.push((Place { offsets, object, start, len }, self.max_timestamp[i]));
        }
        Some(IndexPage { partition, base_offset: run.base_offset, entries })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Incarnation, LogTime, SegmentName};

    fn page(entries: Vec<(u64, u64, u64, u64, i64)>) -> IndexPage {
        let entries = entries.into_iter().map(|(offsets, number, start, len, at)| {
            let object = DataObject::Segment(SegmentName { fence: LogTime(1), node: Incarnation(2), number });
            (Place { offsets, object, start, len }, at)
        });
        IndexPage { partition: TopicPartition::new(TopicId(7), 3), base_offset: 1000, entries: entries.collect() }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            entries in prop::collection::vec((1u64..1 << 40, 0u64..5, 0u64..1 << 40, 1u64..1 << 30, any::<i64>()), 1..50),
        ) {
            let page = page(entries);
            prop_assert_eq!(IndexPage::decode(&page.encode(1).0).unwrap(), page);
        }

        #[test]
        fn anything_else_is_refused_without_a_panic(
            at in 0usize..200, bit in 0u8..8, cut in 0usize..200, noise in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let good = page(vec![(3, 0, 64, 100, 5), (1, 1, 64, 70, -1)]).encode(1).0;
            let mut bad = good.to_vec();
            let at = at % bad.len();
            bad[at] ^= 1 << bit;
            prop_assert!(IndexPage::decode(&bad).is_err());
            prop_assert!(IndexPage::decode(&good[..cut.min(good.len() - 1)]).is_err());
            prop_assert!(IndexPage::decode(&noise).is_err());
            // Past the CRC: whatever a body says.
            let (object, _) = envelope::seal(Kind::IndexPage, 1, &noise, 0, 0);
            let _no_panic = IndexPage::decode(&object);
        }
    }

    #[test]
    fn columns_that_do_not_fit_are_refused() {
        let good = || {
            let (object, _) = page(vec![(3, 0, 64, 100, 5), (1, 1, 64, 70, -1)]).encode(1);
            let header = envelope::open(Kind::IndexPage, &object).unwrap();
            PageBody::decode(envelope::body(&header, &object).unwrap()).unwrap()
        };
        let spoil: [fn(&mut PageBody, &mut EntryRun); 8] = [
            |_, run| _ = run.offsets.pop(),
            |body, _| _ = body.max_timestamp.pop(),
            |body, _| _ = body.objects.pop(),
            |_, run| run.offsets[1] = 0,
            |_, run| run.offsets[1] = u64::MAX,
            |_, run| run.len[0] = 0,
            |_, run| run.start[0] = u64::MAX,
            |_, run| _ = run.topic_id.pop(),
        ];
        assert!(good().into_page().is_some());
        for (n, spoil) in spoil.into_iter().enumerate() {
            let (mut body, mut run) = (good(), good().entries.unwrap());
            spoil(&mut body, &mut run);
            body.entries = Some(run);
            assert!(body.into_page().is_none(), "{n}");
        }
    }
}
