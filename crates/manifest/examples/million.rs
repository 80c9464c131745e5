//! Fills an empty bucket with the manifest of many partitions, to see what a node needs to start from it.
//!
//! Topics and entries come by ordinary ops, and a snapshot is left behind. The segments that the entries name are not made: a
//! start does not read them. Each entry is as long as merging makes one, and lies with others in a segment of its round.
//!
//!     cargo run --release -p lakebed-manifest --example million -- file:///directory [partitions] [entries of each]

use std::sync::Arc;
use std::time::Duration;

use lakebed_manifest::state::{MAX_ENTRY_LEN, MAX_PARTITIONS};
use lakebed_manifest::{ApplyListener, Manifest, ManifestConfig};
use lakebed_record::ops::{
    Append, BatchMeta, BatchOutcome, CreateTopic, OpKind, OpOutcome, PartitionAppend, Place, SegmentPlace,
};
use lakebed_record::{SegmentName, Slot, TopicId, TopicPartition};
use lakebed_store::env::Env;
use lakebed_store::profile::Profile;
use lakebed_store::{Body, Store, url};

/// Partitions whose records lie in one segment, and whose entries come by one op.
const TOGETHER: u32 = 10_000;
/// Slots without a snapshot while the bucket is filled.
const NEVER: u64 = 1 << 40;

struct Nobody;

impl ApplyListener for Nobody {
    fn applied(&self, _: &[TopicPartition], _: Slot) {}
    fn inline_data(&self, _: Slot, _: &Body) {}
}

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let at = args.next().expect("where the bucket is: file:///directory").parse().expect("the URL of a store");
    let mut number = |default| args.next().map_or(default, |n| n.parse::<u32>().expect("a number"));
    let (partitions, entries) = (number(1_000_000), number(10));
    let env = Env::system();
    let store = url::open(&at, &env, Profile::None).await.expect("the store opens");
    fill(&open(&store, &env, NEVER).await, partitions, entries).await;
    // A node that makes a snapshot of its first commit.
    let node = open(&store, &env, 1).await;
    while node.status().last_snapshot == Slot(0) {
        env.clock.sleep(Duration::from_millis(100)).await;
    }
    node.shutdown().await;
    node.read(|s| println!("{} partitions, {} entries, slot {}", s.partition_count(), s.entry_count(), s.slot()));
}

async fn open(store: &Arc<dyn Store>, env: &Env, snapshot_every: u64) -> Manifest {
    let config = ManifestConfig { snapshot_every, ..ManifestConfig::default() };
    let opened = Manifest::open(Arc::clone(store), env.clone(), config, Arc::new(Nobody)).await;
    opened.expect("the node registers")
}

async fn fill(node: &Manifest, partitions: u32, entries: u32) {
    let topics: Vec<(u128, u32)> = (0..partitions)
        .step_by(MAX_PARTITIONS as usize)
        .map(|first| (u128::from(first) + 1, MAX_PARTITIONS.min(partitions - first)))
        .collect();
    for (id, count) in &topics {
        let op = CreateTopic {
            namespace: "default".into(),
            name: format!("topic-{id}"),
            topic_id: id.to_be_bytes().to_vec(),
            partitions: *count,
            configs: Vec::new(),
        };
        assert_eq!(commit(node, OpKind::CreateTopic(op)).await, OpOutcome::TopicCreated);
    }
    let mut segment = SegmentName::BACKGROUND;
    for round in 0..entries {
        for (id, count) in &topics {
            for first in (0..*count).step_by(TOGETHER as usize) {
                segment += 1;
                let some = first..count.min(&(first + TOGETHER)).to_owned();
                append(node, TopicId(*id), some, segment, round).await;
            }
        }
    }
    node.shutdown().await;
}

async fn append(node: &Manifest, topic: TopicId, partitions: std::ops::Range<u32>, number: u64, round: u32) {
    let fence = node.fence().await.expect("the node runs").0;
    let len = MAX_ENTRY_LEN;
    let place = SegmentPlace { fence, node: node.incarnation().0, number, total_len: len * partitions.len() as u64 };
    let batch = BatchMeta { len: len as u32, offsets: 1_000, max_timestamp: fence + i64::from(round), producer: None };
    let of_partition = |(n, partition): (u64, u32)| PartitionAppend {
        topic_id: topic.0.to_be_bytes().to_vec(),
        partition: partition as i32,
        start: n * len,
        batches: vec![batch],
    };
    let partitions: Vec<_> = (0..).zip(partitions).map(of_partition).collect();
    let count = partitions.len();
    let OpOutcome::Appended(outcomes) =
        commit(node, OpKind::Append(Append { place: Some(Place::Segment(place)), partitions })).await
    else {
        panic!("the entries were refused");
    };
    let taken = outcomes.iter().flatten().filter(|o| matches!(o, BatchOutcome::Appended { .. })).count();
    assert_eq!(taken, count);
}

async fn commit(node: &Manifest, op: OpKind) -> OpOutcome {
    let receipt = node.submit(vec![op.into()], Vec::new()).await.expect("committed");
    receipt.outcomes.into_iter().next().expect("one op has one outcome")
}
