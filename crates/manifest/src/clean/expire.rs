//! What has expired and goes by an op: incarnations that fell silent, tombstones, producer states, committed offsets and consumer
//! groups. Apply checks each again.

mod groups;

use lakebed_record::Incarnation;
use lakebed_record::ops::{DropTombstones, ExpireProducers, NodeDown, OpKind, PartitionProducers};

use crate::state::{BUCKETS, State};

/// Nodes, and tombstones, in one group.
const MOST: usize = 1_000;
/// Producer states in one group. With a group a minute, more than the most that a cluster may ever have go in the time that they
/// are kept for: expiry keeps up.
const MOST_PRODUCERS: usize = 4_000;

/// Ops for all that has expired by now, a bounded number; empty if there is nothing. Gives way to other tasks between buckets.
pub async fn plan(state: &State, me: Incarnation) -> Vec<OpKind> {
    let mut ops = nodes(state, me);
    let partitions = producers(state).await;
    if !partitions.is_empty() {
        ops.push(OpKind::ExpireProducers(ExpireProducers { partitions }));
    }
    ops.extend(groups::plan(state).await);
    ops
}

async fn producers(state: &State) -> Vec<PartitionProducers> {
    let (mut partitions, mut left) = (Vec::new(), MOST_PRODUCERS);
    for bucket in (0..BUCKETS).filter(|_| state.producer_count() > 0) {
        for (tp, mut producer_ids) in state.idle_producers(bucket) {
            producer_ids.truncate(left);
            left -= producer_ids.len();
            let (topic_id, partition) = (tp.topic.0.to_be_bytes().to_vec(), tp.partition.0);
            partitions.push(PartitionProducers { topic_id, partition, producer_ids });
            if left == 0 {
                return partitions;
            }
        }
        tokio::task::yield_now().await;
    }
    partitions
}

fn nodes(state: &State, me: Incarnation) -> Vec<OpKind> {
    let silent = state.silent_nodes().filter(|incarnation| *incarnation != me).take(MOST);
    let mut ops: Vec<OpKind> = silent.map(|i| OpKind::NodeDown(NodeDown { incarnation: i.0 })).collect();
    let incarnations: Vec<u64> = state.droppable_tombstones().take(MOST).map(|i| i.0).collect();
    if !incarnations.is_empty() {
        ops.push(OpKind::DropTombstones(DropTombstones { incarnations }));
    }
    ops
}

#[cfg(test)]
mod tests;
