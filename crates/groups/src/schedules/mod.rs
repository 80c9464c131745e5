//! Random schedules: members join, leave, die, pause, speak late; answers are lost; writes are slow, refused or unknown; the owner crashes and
//! another restores the group. Afterwards calm, in which everything has to come right.

mod classic;
mod consumer;

use std::time::Duration;

use crate::testing::{Random, Stored};
use crate::*;

/// How many schedules of each protocol; more by `LAKEBED_GROUP_SEEDS`.
fn seeds() -> u64 {
    std::env::var("LAKEBED_GROUP_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(100)
}

/// An owner, what is stored, and the write on its way.
struct Owner {
    config: Config,
    group: Group,
    stored: Stored,
    in_flight: Option<(Persist, Duration)>,
    faults: bool,
}

impl Owner {
    fn new(config: Config) -> Self {
        let stored = Stored::default();
        let group = stored.restore(&config, Duration::ZERO);
        Self { config, group, stored, in_flight: None, faults: true }
    }

    fn accept(&mut self, persist: Persist, random: &mut Random, now: Duration) {
        assert!(self.in_flight.is_none(), "two writes at once");
        assert!(persist.metadata.len() <= self.config.max_metadata, "{} bytes", persist.metadata.len());
        let late = if self.faults && random.chance(10) { 20_000 } else { 300 };
        self.in_flight = Some((persist, now + random.millis(late)));
    }

    /// The write's outcome, if it is due. The effects come from a group that may have been replaced since.
    fn settle(&mut self, random: &mut Random, now: Duration) -> Vec<Effect> {
        let Some((persist, _)) = self.in_flight.take_if(|(_, due)| *due <= now) else { return Vec::new() };
        match random.below(100) {
            0..8 if self.faults => self.group.persisted(PersistOutcome::NotWritten, now),
            8..11 if self.faults => {
                let effects = self.group.persisted(PersistOutcome::Lost, now);
                self.restore(now);
                effects
            }
            _ => {
                self.stored.write(&persist);
                self.group.persisted(PersistOutcome::Done, now)
            }
        }
    }

    /// The owner dies; nobody knows whether its last write was done.
    fn crash(&mut self, random: &mut Random, now: Duration) {
        if let Some((persist, _)) = self.in_flight.take()
            && random.chance(50)
        {
            self.stored.write(&persist);
        }
        self.restore(now);
    }

    fn restore(&mut self, now: Duration) {
        self.group = self.stored.restore(&self.config, now);
        let described = self.group.describe();
        assert_eq!(described.generation, self.stored.generation, "the generation is kept");
        assert_eq!(self.group.members(), self.stored.members as usize, "the members are kept");
    }
}
