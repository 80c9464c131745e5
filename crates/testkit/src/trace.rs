//! What happened in a run, in order: the same seed must give the same lines, byte for byte.

use std::fmt;

use parking_lot::Mutex;
use std::fmt::Write;

use crate::time::TrueTime;

/// Lines, if they are kept; always their hash.
#[derive(Default)]
pub struct Trace {
    lines: Mutex<Lines>,
}

#[derive(Default)]
struct Lines {
    keep: bool,
    kept: String,
    scratch: String,
    hash: u64,
    count: u64,
}

impl Trace {
    /// `keep`: the text as well as its hash.
    pub fn new(keep: bool) -> Trace {
        Trace { lines: Mutex::new(Lines { keep, ..Lines::default() }) }
    }

    pub fn note(&self, time: TrueTime, node: u8, what: &str, detail: &dyn fmt::Display) {
        let mut guard = self.lines.lock();
        let lines = &mut *guard;
        lines.scratch.clear();
        let now = time.now();
        writeln!(lines.scratch, "{:>9}.{:06} n{node} {what} {detail}", now.as_secs(), now.subsec_micros())
            .expect("writing to a string does not fail");
        lines.count += 1;
        lines.hash = xxhash_rust::xxh3::xxh3_64_with_seed(lines.scratch.as_bytes(), lines.hash);
        if lines.keep {
            let Lines { kept, scratch, .. } = lines;
            kept.push_str(scratch);
        }
    }

    pub fn hash(&self) -> u64 {
        self.lines.lock().hash
    }

    pub fn text(&self) -> String {
        self.lines.lock().kept.clone()
    }
}
