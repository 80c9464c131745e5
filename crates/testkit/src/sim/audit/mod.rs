//! What the bucket shows, over all of its past: read off the ledger of what was ever written, by other code than the nodes'.

mod deletes;
mod fences;
mod leaks;
mod past;
mod retention;
mod swaps;

use super::rest::Rested;
use super::world::World;
use past::Past;

/// Once everything is over. `rested`: if the run ended with a rest, so that nothing may be left over.
pub async fn check(world: &World, rested: Option<Rested>) {
    let past = Past::of(world).await;
    let controls = swaps::controls(world);
    fences::check(world, &past);
    swaps::check_reuse(world, &controls);
    swaps::check_snapshots_stay(world, &controls);
    swaps::check_floors(world, &controls, &past);
    deletes::check_slots(world, &controls);
    deletes::check_segments(world, &past);
    deletes::check_named(world, &past);
    deletes::count_snapshots(world);
    retention::check_gone(world, &past);
    if let Some(rested) = rested {
        let until = controls.partition_point(|c| c.since <= rested.at);
        leaks::check_bucket(world, &controls[..until], &past, rested);
        leaks::check_state(world, &past, rested);
        retention::check_left(world, &past);
    }
    check_states(world, &past);
}

/// Invariant 2: what nodes had as their state at a slot is what the log makes of it.
fn check_states(world: &World, past: &Past) {
    let mut history = world.history.lock();
    let seen: Vec<_> = history.hashes().iter().map(|(slot, hash)| (*slot, *hash)).collect();
    for (slot, hash) in seen.into_iter().filter(|(slot, _)| *slot <= past.head()) {
        if past.after(slot).hash != hash {
            history.violation(format!("a node had another state at slot {slot} than the log gives"));
        }
    }
}
