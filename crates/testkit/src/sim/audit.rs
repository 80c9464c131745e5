//! What the bucket itself shows, read with other code than the nodes': fences were kept, and snapshots swapped by the rules.
//!
//! Nothing is deleted yet, so that a reference outside its window or a part that CURRENT did not protect does no harm
//! today; with a collector it would.

use std::collections::BTreeSet;

use bytes::Bytes;
use lakebed_broker::Broker;
use lakebed_record::envelope::{self, Kind};
use lakebed_record::keys::{self, Key};
use lakebed_record::ops::{CommitBody, Op, OpKind, Place, SegmentPlace};
use lakebed_record::{DataObject, Incarnation, LogTime, SegmentName, Slot, TopicPartition};
use prost::Message;

use super::world::World;

const WINDOW_MS: i64 = 10 * 60 * 1000;
const MAX_STEP_MS: i64 = 5 * 60 * 1000;

#[derive(Clone, PartialEq, Message)]
struct SnapshotIndex {
    #[prost(message, repeated, tag = "2")]
    parts: Vec<SnapshotPart>,
}

#[derive(Clone, PartialEq, Message)]
struct SnapshotPart {
    #[prost(string, tag = "3")]
    key: String,
}

/// Every segment that the head state names was admitted while log time was in its window (4.5).
pub async fn check_fences(world: &World, broker: &Broker) {
    let admissible = admissible_segments(world).await;
    let named = broker.manifest().read(|state| {
        let mut named = BTreeSet::new();
        for topic in state.topics() {
            for partition in 0..topic.partitions as i32 {
                let entries = state.partition(TopicPartition::new(topic.id, partition)).map(|p| p.entries_from(0));
                named.extend(entries.into_iter().flatten().filter_map(|e| match e.object {
                    DataObject::Segment(name) => Some(name),
                    DataObject::Inline(_) => None,
                }));
            }
        }
        named
    });
    world.nemesis.tally.count("segments in the end", named.len() as u64);
    for name in named.difference(&admissible) {
        world.violation(format!("segment {name:?} is referred to, but was never inside its window when it was"));
    }
}

/// Follows the log, log time included.
async fn admissible_segments(world: &World) -> BTreeSet<SegmentName> {
    let mut admissible = BTreeSet::new();
    let mut log_time = 0;
    let mut slot = Slot(1);
    while let Some(bytes) = world.bucket.peek(&keys::log(slot)).await {
        slot = slot.next();
        let Some(commit) = commit(&bytes) else { continue };
        for op in commit.groups.iter().flat_map(|g| &g.ops) {
            let Some(s) = named(op) else { continue };
            if (s.fence..=s.fence + WINDOW_MS).contains(&log_time) {
                let name = SegmentName { fence: LogTime(s.fence), node: Incarnation(s.node), number: s.number };
                admissible.insert(name);
            } else {
                world.count("outcome segment outside its window");
            }
        }
        let step = commit.wall_ms - log_time;
        let verified = commit.groups.is_empty() && commit.verified_time;
        if step > 0 && (step <= MAX_STEP_MS || verified || log_time == 0) {
            log_time = commit.wall_ms;
        }
    }
    admissible
}

/// The object that an op brings into the state.
fn named(op: &Op) -> Option<&SegmentPlace> {
    match op.kind.as_ref()? {
        OpKind::Append(append) => match &append.place {
            Some(Place::Segment(s)) => Some(s),
            _ => None,
        },
        OpKind::MoveEntries(moved) => moved.output.as_ref(),
        OpKind::SealEntries(sealed) => sealed.page.as_ref(),
        _ => None,
    }
}

/// `None`: void.
fn commit(bytes: &Bytes) -> Option<CommitBody> {
    let header = envelope::open(Kind::Commit, bytes).ok().filter(|h| h.total_len() == bytes.len() as u64)?;
    CommitBody::decode(envelope::body(&header, bytes).ok()?).ok()
}

/// Each part of a new snapshot was named by the CURRENT that was swapped, or made while that was the current one (4.6).
pub async fn check_snapshots(world: &World) {
    let swaps = world.bucket.swaps_of_current();
    for pair in swaps.windows(2) {
        let [(since, before), (_, after)] = pair else { continue };
        let (kept, now) = (snapshots(before), snapshots(after));
        let mut protected = BTreeSet::new();
        for index in &kept {
            protected.extend(parts(world, index).await);
        }
        world.count("outcome snapshot swapped");
        for index in now.iter().filter(|i| !kept.contains(i)) {
            for part in parts(world, index).await {
                let fresh = world.bucket.ledger().lives(&part).last().is_some_and(|life| life.from >= *since);
                if !fresh && !protected.contains(&part) {
                    world.violation(format!("snapshot {index} names part {part}, which nothing had protected"));
                }
            }
        }
    }
}

fn snapshots(current: &Bytes) -> Vec<String> {
    let json = envelope::open(Kind::Current, current)
        .and_then(|h| envelope::body(&h, current))
        .ok()
        .and_then(|body| serde_json::from_slice::<serde_json::Value>(body).ok());
    let named = json.as_ref().and_then(|j| j["snapshots"].as_array());
    named.into_iter().flatten().filter_map(|s| s["index"].as_str().map(str::to_owned)).collect()
}

async fn parts(world: &World, index: &str) -> Vec<Key> {
    let Some(bytes) = world.bucket.peek(&Key::new(index)).await else { return Vec::new() };
    let index = envelope::open(Kind::SnapshotIndex, &bytes)
        .and_then(|h| envelope::body(&h, &bytes))
        .ok()
        .and_then(|body| SnapshotIndex::decode(body).ok());
    index.into_iter().flat_map(|i| i.parts).map(|p| Key::new(p.key)).collect()
}
