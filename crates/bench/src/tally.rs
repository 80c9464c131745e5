//! What the connections of a run counted: latencies by window, records, bytes, errors. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::histogram::Histogram;

/// Share of the windows, at the start and at the end, whose p99 are compared: three of ten.
const EDGE_SHARE: f64 = 0.3;

#[derive(Clone, Debug)]
pub struct Tally {
    window: Duration,
    windows: Vec<Histogram>,
    pub records: u64,
    pub bytes: u64,
    pub errors: BTreeMap<String, u64>,
}

impl Tally {
    /// `windows` equal parts of a run of this length.
    pub fn new(length: Duration, windows: u32) -> Tally {
        let windows = windows.max(1);
        Tally {
            window: length / windows,
            windows: vec![Histogram::default(); windows as usize],
            records: 0,
            bytes: 0,
            errors: BTreeMap::new(),
        }
    }

    /// Something due (or asked) at `at` took this long. What comes after the end counts for the last window.
    pub fn latency(&mut self, at: Duration, took: Duration) {
        let window = (at.as_nanos() / self.window.as_nanos().max(1)) as usize;
        let last = self.windows.len() - 1;
        self.windows[window.min(last)].record(took.as_micros() as u64);
    }

    pub fn error(&mut self, what: impl Into<String>, records: u64) {
        *self.errors.entry(what.into()).or_default() += records;
    }

    pub fn merge(&mut self, other: &Tally) {
        for (mine, theirs) in self.windows.iter_mut().zip(&other.windows) {
            mine.merge(theirs);
        }
        self.records += other.records;
        self.bytes += other.bytes;
        for (what, n) in &other.errors {
            self.error(what.clone(), *n);
        }
    }

    pub fn windows(&self) -> impl Iterator<Item = (Duration, &Histogram)> {
        self.windows.iter().enumerate().map(|(i, h)| (self.window * i as u32, h))
    }

    pub fn all(&self) -> Histogram {
        merged(&self.windows)
    }

    /// The first and the last 30 % of the windows.
    pub fn edges(&self) -> (Histogram, Histogram) {
        let n = ((self.windows.len() as f64 * EDGE_SHARE).ceil() as usize).min(self.windows.len());
        (merged(&self.windows[..n]), merged(&self.windows[self.windows.len() - n..]))
    }
}

fn merged(windows: &[Histogram]) -> Histogram {
    let mut all = Histogram::default();
    windows.iter().for_each(|h| all.merge(h));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_edges_and_errors() {
        let mut tally = Tally::new(Duration::from_secs(10), 10);
        for second in 0..11 {
            tally.latency(Duration::from_secs(second), Duration::from_micros(100 + second));
        }
        let mut other = tally.clone();
        other.error("timed out", 2);
        other.error("timed out", 1);
        tally.merge(&other);
        assert_eq!(tally.errors["timed out"], 3);
        assert_eq!(tally.windows().map(|(_, h)| h.count()).collect::<Vec<_>>(), [2, 2, 2, 2, 2, 2, 2, 2, 2, 4]);
        let (first, last) = tally.edges();
        assert_eq!((first.max(), last.max(), tally.all().count()), (102, 110, 22));
    }
}
