//! Latencies counted in buckets of at most 0.8 % width: exact below 256 µs, then 128 buckets per power of two.
//!
//! Pure. Memory grows with the largest value seen (about 14 KiB for one second), not with the number of values.

/// Each power of two is cut into 2^this buckets.
const PRECISION_BITS: u32 = 7;

/// Counts of values in µs.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    sum: u128,
    max: u64,
}

impl Histogram {
    pub fn record(&mut self, micros: u64) {
        let bucket = bucket_of(micros);
        if bucket >= self.counts.len() {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += 1;
        self.total += 1;
        self.sum += u128::from(micros);
        self.max = self.max.max(micros);
    }

    pub fn merge(&mut self, other: &Histogram) {
        if other.counts.len() > self.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }

    pub fn count(&self) -> u64 {
        self.total
    }

    /// The largest value, exactly.
    pub fn max(&self) -> u64 {
        self.max
    }

    pub fn mean(&self) -> f64 {
        if self.total == 0 { 0.0 } else { self.sum as f64 / self.total as f64 }
    }

    /// The smallest bucket's upper end such that at least this share (0 ..= 1) of the values lies at or below it; 0 if empty.
    pub fn quantile(&self, share: f64) -> u64 {
        let wanted = ((share * self.total as f64).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return upper_end(bucket).min(self.max);
            }
        }
        self.max
    }
}

fn bucket_of(value: u64) -> usize {
    let bits = u64::BITS - value.leading_zeros();
    let shift = bits.saturating_sub(PRECISION_BITS + 1);
    (u64::from(shift) << PRECISION_BITS) as usize + (value >> shift) as usize
}

/// The largest value that falls into this bucket.
fn upper_end(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 2 << PRECISION_BITS {
        return bucket;
    }
    let shift = (bucket >> PRECISION_BITS) - 1;
    let mantissa = bucket - (shift << PRECISION_BITS);
    ((mantissa + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantiles_of_one_to_a_million() {
        let mut h = Histogram::default();
        (1..=1_000_000).for_each(|v| h.record(v));
        for (share, exact) in [(0.5, 500_000.0), (0.9, 900_000.0), (0.99, 990_000.0), (0.999, 999_000.0)] {
            let got = h.quantile(share) as f64;
            assert!((exact..=exact * 1.008).contains(&got), "{share}: {got}");
        }
        assert_eq!((h.quantile(1.0), h.max(), h.count()), (1_000_000, 1_000_000, 1_000_000));
        assert!((h.mean() - 500_000.5).abs() < 1e-6);
    }

    #[test]
    fn empty_is_zero() {
        let h = Histogram::default();
        assert_eq!((h.quantile(0.99), h.max(), h.count()), (0, 0, 0));
    }

    #[test]
    fn merging_equals_recording_into_one() {
        let (mut a, mut b, mut both) = (Histogram::default(), Histogram::default(), Histogram::default());
        for v in 0..1000_u64 {
            if v % 3 == 0 { &mut a } else { &mut b }.record(v * v);
            both.record(v * v);
        }
        a.merge(&b);
        for share in [0.0, 0.1, 0.5, 0.999, 1.0] {
            assert_eq!(a.quantile(share), both.quantile(share));
        }
    }

    proptest! {
        #[test]
        fn a_bucket_holds_its_value_within_its_width(value in prop_oneof![0_u64..1 << 20, 0_u64..1 << 48]) {
            let bucket = bucket_of(value);
            prop_assert!(value <= upper_end(bucket));
            prop_assert!(bucket == 0 || value > upper_end(bucket - 1));
            prop_assert!(upper_end(bucket) as f64 <= value as f64 * 1.008 + 1.0);
        }
    }
}
