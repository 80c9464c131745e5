//! What has expired and goes by an op: incarnations that fell silent, tombstones, producer states. Apply checks each again.

use std::collections::BTreeSet;

use lakebed_record::Incarnation;
use lakebed_record::ops::{DropTombstones, ExpireProducers, NodeDown, OpKind};

use crate::state::{BUCKETS, State};

/// Of each kind, in one group.
const MOST: usize = 1_000;
/// Applying the expiry of one producer id looks at every partition: no more of them than this in one op.
const MOST_LOOKED_AT: usize = 4_000_000;

/// Ops for all that has expired by now, a bounded number; empty if there is nothing. Gives way to other tasks between buckets.
pub async fn plan(state: &State, me: Incarnation) -> Vec<OpKind> {
    let mut ops = nodes(state, me);
    let most = (MOST_LOOKED_AT / state.partition_count().max(1)).clamp(1, MOST);
    let mut ids = BTreeSet::new();
    if state.producer_count() > 0 {
        for bucket in 0..BUCKETS {
            add_producers(state, bucket, most, &mut ids);
            tokio::task::yield_now().await;
        }
    }
    if !ids.is_empty() {
        ops.push(OpKind::ExpireProducers(ExpireProducers { producer_ids: ids.into_iter().collect() }));
    }
    ops
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

fn add_producers(state: &State, bucket: usize, most: usize, ids: &mut BTreeSet<i64>) {
    for id in state.idle_producers(bucket) {
        if ids.len() == most {
            return;
        }
        ids.insert(id);
    }
}

#[cfg(test)]
mod tests;
