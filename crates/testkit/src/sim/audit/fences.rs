//! Every object that a state ever named was admitted while log time was in its window (4.5), by a reading of the log of its own.

use std::collections::BTreeSet;

use bytes::Bytes;
use lakebed_record::envelope::{self, Kind};
use lakebed_record::ops::{CommitBody, Op, OpKind, Place, SegmentPlace};
use lakebed_record::{Incarnation, LogTime, SegmentName, Slot, keys};
use prost::Message;

use super::past::Past;
use crate::sim::world::World;

const MAX_STEP_MS: i64 = 5 * 60 * 1000;

pub fn check(world: &World, past: &Past) {
    let admissible = admissible(world);
    for (name, naming) in past.named() {
        if naming.last == past.head() {
            world.count("segments in the end");
        }
        if !admissible.contains(name) {
            world.violation(format!("segment {name:?} was named, but was never inside its window when it was"));
        }
    }
}

/// Follows the log, log time included.
fn admissible(world: &World) -> BTreeSet<SegmentName> {
    let window_ms = world.plan.waits().window_ms;
    let mut admissible = BTreeSet::new();
    let mut log_time = 0;
    let mut slot = Slot(1);
    while let Some(life) = world.bucket.ledger().first(&keys::log(slot)) {
        slot = slot.next();
        let Some(commit) = commit(&life.bytes) else { continue };
        for op in commit.groups.iter().flat_map(|g| &g.ops) {
            let Some(s) = named(op) else { continue };
            if (s.fence..=s.fence + window_ms).contains(&log_time) {
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
