//! Committed offsets and consumer groups that have expired.

use lakebed_record::ops::{ExpireGroup, ExpireOffsets, OpKind, TopicPartitions};

use crate::state::{BUCKETS, State};

/// Offsets and groups named in one op.
const MOST: usize = 10_000;

/// Gives way to other tasks between buckets.
pub(super) async fn plan(state: &State) -> Option<OpKind> {
    let mut groups = Vec::new();
    let mut left = MOST;
    if state.group_totals().groups > 0 {
        for bucket in 0..BUCKETS {
            for (key, offsets) in state.expired_offsets(bucket) {
                if left == 0 {
                    break;
                }
                // The group itself counts as one; what of it finds no place goes in a later round, and the group with it.
                let named = offsets.len().min(left - 1);
                left -= 1 + named;
                let topics = TopicPartitions::of(offsets.into_iter().take(named));
                groups.push(ExpireGroup { group: Some(key.into()), topics });
            }
            tokio::task::yield_now().await;
        }
    }
    (!groups.is_empty()).then_some(OpKind::ExpireOffsets(ExpireOffsets { groups }))
}
