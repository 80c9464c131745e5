//! A long rest after the faults: much time, a few records now and then, so that all that is garbage has its turn to be deleted.

use std::sync::Arc;
use std::time::Duration;

use super::finish;
use super::world::World;
use crate::entropy::Dice;

/// How often everything sleeps and wakes again.
const NIGHTS: u32 = 4;
/// Records between two nights.
const RECORDS: u32 = 10;
/// When a run came to rest, and how long what had become garbage by then may have been left over.
#[derive(Clone, Copy, Debug)]
pub struct Rested {
    pub at: Duration,
    pub allowance: Duration,
}

/// Hours of idling cost real time, so most of the rest all processes are held.
pub async fn rest(world: &Arc<World>) -> Rested {
    let dice = Dice::new(world.plan.seed ^ 0x2E57);
    let waits = world.plan.waits();
    let ms = |ms: i64| Duration::from_millis(ms as u64);
    // What is daily comes every night, also by a clock that is slow.
    let night = (ms(waits.slot_age_ms * 11 / 10) + Duration::from_secs(10)).max(finish::LANDED_AFTER);
    let day = 4 * waits.round_every + Duration::from_secs(60);
    for n in 0..NIGHTS {
        world.note(0, "night", &n);
        // Whoever died just now does not start before the morning.
        world.frozen.set(true);
        // A suspended machine's monotonic clock stands still, and with it what is to be done once a day.
        let suspended = n == 0 && dice.one_in(2);
        let running: Vec<_> = world.machines.iter().filter_map(|m| m.power.lock().clone()).collect();
        running.iter().filter(|p| p.is_running()).for_each(|p| p.hold(suspended, night));
        tokio::time::sleep(night).await;
        world.frozen.set(false);
        for _ in 0..RECORDS {
            tokio::time::sleep(day / RECORDS).await;
            let node = dice.below(world.machines.len());
            let went = finish::one_record_through(world, node);
            if tokio::time::timeout(Duration::from_secs(120), went).await.is_err() {
                world.violation(format!("node {node} takes no record although nothing fails"));
            }
        }
    }
    Rested { at: world.time.now(), allowance: 2 * (night + day) }
}
