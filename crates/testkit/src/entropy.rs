//! Randomness from a seed.

use lakebed_store::env::Entropy;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Every draw follows from the seed and the number of draws before it.
pub struct SeededEntropy(Mutex<StdRng>);

impl SeededEntropy {
    pub fn new(seed: u64) -> SeededEntropy {
        SeededEntropy(Mutex::new(StdRng::seed_from_u64(seed)))
    }
}

impl Entropy for SeededEntropy {
    fn u64(&self) -> u64 {
        self.0.lock().random()
    }
}

/// Shared dice for decisions of the simulation itself.
pub struct Dice(Mutex<StdRng>);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(Mutex::new(StdRng::seed_from_u64(seed)))
    }

    pub fn u64(&self) -> u64 {
        self.0.lock().random()
    }

    /// True once in about `n` throws; never for 0.
    pub fn one_in(&self, n: u32) -> bool {
        n > 0 && self.0.lock().random_range(0..n) == 0
    }

    pub fn below(&self, n: usize) -> usize {
        self.0.lock().random_range(0..n.max(1))
    }

    /// Uniform in `from ..= to`.
    pub fn between(&self, from: u64, to: u64) -> u64 {
        self.0.lock().random_range(from..=to)
    }

    /// Index into `weights`, in proportion to them.
    pub fn weighted(&self, weights: &[u32]) -> usize {
        let total: u32 = weights.iter().sum();
        let mut left = self.0.lock().random_range(0..total.max(1));
        for (i, w) in weights.iter().enumerate() {
            if left < *w {
                return i;
            }
            left -= w;
        }
        0
    }
}
