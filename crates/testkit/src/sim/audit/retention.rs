//! Retention by time: nothing younger is ever gone, and what is older goes, by the times that the producer gave.

use super::past::Past;
use crate::sim::retained::RETENTION_MS;
use crate::sim::world::World;

/// What was acknowledged was older than the retention when it went.
pub fn check_gone(world: &World, past: &Past) {
    let retained = world.retained.lock();
    let Some(tp) = retained.partition() else { return };
    world.nemesis.tally.count("outcome truncated by retention", past.truncations(tp).len() as u64);
    for (offset, time) in &retained.acked {
        let Some((_, log_time)) = past.truncations(tp).iter().find(|(start, _)| start > offset) else { continue };
        if log_time - time <= RETENTION_MS {
            world.violation(format!("{tp}: the record at {offset} of {time} was gone at {log_time}"));
        }
    }
}

/// After a rest all of it is gone.
pub fn check_left(world: &World, past: &Past) {
    let retained = world.retained.lock();
    let Some(tp) = retained.partition() else { return };
    let log_start = past.state.partition(tp).map_or(0, |p| p.log_start());
    if let Some((offset, time)) = retained.acked.last_key_value().filter(|(offset, _)| **offset >= log_start) {
        world.violation(format!("{tp}: the record at {offset} of {time} has outlived its retention"));
    }
}
