//! What a seed stands for: how many of everything, and which faults how often.

use lakebed_manifest::{Cleaning, ManifestConfig, Waits};

use crate::entropy::Dice;
use crate::faults::Rates;
use crate::power::Strikes;

#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub nodes: usize,
    pub clients: usize,
    /// Operations of all clients together.
    pub operations: usize,
    pub rates: Rates,
    pub strikes: Strikes,
    pub snapshot_every: u64,
    /// Machines' clocks: by how much they may be fast or slow, and off.
    pub fast_ppm: i64,
    pub wall_off_ms: i64,
    /// The nemesis' own deeds (clock jumps, false `node down`s, shutdowns) come this many ms apart on average; 0: never.
    pub deeds_apart_ms: u64,
    /// Profile `economy` and large batches make segments, `latency` and small ones inline commits.
    pub large_batches_in_100: u32,
    /// Small entries are merged, sealed into pages, and what nothing names is deleted.
    pub background: bool,
    /// Slots and snapshots are cleaned, producers and nodes expire.
    pub cleaning: bool,
    /// What the waiting times of the bucket are divided by.
    pub time_scale: u32,
    /// Clients rest now and then, for so many ms at most: a run outlasts the waiting times.
    pub rests_ms: u64,
}

impl Plan {
    /// Faults and sizes vary independently: one seed has many nodes and a flaky store, another a single node that crashes.
    pub fn of(seed: u64) -> Plan {
        let dice = Dice::new(seed);
        let nodes = [1, 2, 2, 3, 3, 4, 5][dice.below(7)];
        let calm_store = dice.one_in(8);
        let plan = Plan {
            seed,
            nodes,
            clients: 1 + dice.below(4),
            operations: 200 + dice.below(40),
            rates: if calm_store { Rates::none() } else { Rates::random(&dice) },
            strikes: strikes(&dice),
            snapshot_every: [5, 10, 20, 50][dice.below(4)],
            fast_ppm: [0, 0, 100, 50_000][dice.below(4)],
            wall_off_ms: [0, 0, 1_000, 240_000, 7_200_000][dice.below(5)],
            deeds_apart_ms: [0, 5_000, 15_000, 60_000][dice.below(4)],
            large_batches_in_100: [0, 2, 10][dice.below(3)],
            background: dice.one_in(2),
            cleaning: false,
            time_scale: 1,
            rests_ms: 0,
        };
        if dice.below(10) < 4 { plan } else { plan.with_cleaning(&dice) }
    }

    /// Most of these are in a hurry, or nothing would be old enough; some have the times that operators have.
    fn with_cleaning(self, dice: &Dice) -> Plan {
        let time_scale = [1, 60, 300, 1_000, 1_000, 1_000][dice.below(6)];
        let rests_ms = [0, 10_000, 30_000][dice.below(3)];
        Plan { cleaning: true, background: self.background || dice.one_in(2), time_scale, rests_ms, ..self }
    }

    /// Rounds of cleaning are short, so that many are cut off by something; but where they come once a minute, the few of a rest
    /// must do for what hours have left.
    pub fn log(&self) -> ManifestConfig {
        let slots_per_round = if self.time_scale == 1 { 1_000 } else { 25 };
        let cleaning = self.cleaning.then_some(Cleaning { slots_per_round, parallel: 3 });
        let Plan { snapshot_every, time_scale, .. } = *self;
        ManifestConfig { snapshot_every, cleaning, time_scale, ..ManifestConfig::default() }
    }

    pub fn waits(&self) -> Waits {
        Waits::scaled(self.time_scale)
    }
}

fn strikes(dice: &Dice) -> Strikes {
    let rate = |choices: [u32; 4]| choices[dice.below(4)];
    let mut weights = [[10, 6, 3, 1, 1], [10, 0, 0, 0, 0], [2, 20, 4, 0, 0], [4, 4, 6, 3, 2]][dice.below(4)];
    if dice.one_in(6) {
        weights = [1, 0, 0, 0, 0];
    }
    Strikes {
        write_one_in: rate([0, 40, 80, 200]),
        read_one_in: rate([0, 150, 400, 1000]),
        sleep_one_in: rate([0, 1000, 3000, 10_000]),
        weights,
        most: [5, 15, 40][dice.below(3)],
        suspends_in_ten: [0, 3, 10][dice.below(3)],
    }
}
