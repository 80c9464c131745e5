//! What a fetch will read: taken from the index in one short look at the state. Pure.

use lakebed_manifest::{Entry, State};
use lakebed_record::TopicPartition;

use crate::api::{FetchError, FetchPartition, FetchRequest};
use crate::pages::{AtHand, Blocked, Lacking, entries_from};

/// One partition's share of the answer.
#[derive(Clone, Debug)]
pub struct PartitionPlan {
    pub partition: TopicPartition,
    pub offset: i64,
    pub log_start: i64,
    pub high_watermark: i64,
    /// Most bytes of batches for this partition.
    pub limit: u64,
    /// Hold at least `limit` bytes from `offset` on, if there are so many.
    pub entries: Vec<Entry>,
}

#[derive(Debug, Default)]
pub struct Plan {
    pub partitions: Vec<Result<PartitionPlan, FetchError>>,
    /// Bytes that are there to be read, at most what was asked for; a little more where an offset lies inside an entry.
    pub available: u64,
    /// Pages without which more cannot be planned.
    pub lacking: Vec<Lacking>,
}

impl Plan {
    pub fn of(state: &State, request: &FetchRequest, pages: &AtHand) -> Plan {
        let mut plan = Plan::default();
        // The first batch may be larger than the limits, so one more entry than they allow is always planned.
        let mut left = (request.max_bytes as u64).max(1);
        for wanted in &request.partitions {
            let planned = partition(state, wanted, left, pages, &mut plan.lacking);
            if let Ok(p) = &planned {
                let bytes = p.entries.iter().map(|e| e.len).sum::<u64>();
                plan.available += bytes;
                left = left.saturating_sub(bytes.min(p.limit));
            }
            plan.partitions.push(planned);
        }
        plan
    }

    pub fn has_errors(&self) -> bool {
        self.partitions.iter().any(Result::is_err)
    }
}

fn partition(
    state: &State,
    wanted: &FetchPartition,
    left: u64,
    pages: &AtHand,
    lacking: &mut Vec<Lacking>,
) -> Result<PartitionPlan, FetchError> {
    let tp = TopicPartition { topic: wanted.topic, partition: wanted.partition };
    let known = state.partition(tp).ok_or(FetchError::UnknownPartition)?;
    let (log_start, high_watermark) = (known.log_start(), known.next_offset());
    if !(log_start..=high_watermark).contains(&wanted.offset) {
        return Err(FetchError::OutOfRange { offset: wanted.offset, log_start_offset: log_start, high_watermark });
    }
    let limit = (wanted.max_bytes as u64).min(left);
    let mut entries = Vec::new();
    // Bytes past the first entry, of which an unknown part lies before the offset.
    let mut sure = 0;
    if left > 0 {
        for entry in entries_from(tp, known, pages, wanted.offset) {
            let entry = match entry {
                Ok(entry) => entry,
                Err(Blocked::Lacking(page)) => {
                    lacking.push(page);
                    break;
                }
                // What comes before it is good; the error comes back with the next fetch.
                Err(Blocked::Failed(_)) if !entries.is_empty() => break,
                Err(Blocked::Failed(error)) => return Err(error),
            };
            let whole = entry.base_offset >= wanted.offset;
            entries.push(*entry);
            sure += if whole { entry.len } else { 0 };
            if sure >= limit {
                break;
            }
        }
    }
    Ok(PartitionPlan { partition: tp, offset: wanted.offset, log_start, high_watermark, limit, entries })
}
