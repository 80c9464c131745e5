//! What happened in a run, in order: the same seed must give the same lines, byte for byte.

use std::fmt;

use parking_lot::Mutex;
use std::fmt::Write;

use crate::time::TrueTime;

/// What becomes of the lines; they are always hashed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lines {
    #[default]
    Dropped,
    Kept,
    /// To standard output, as they come.
    Printed,
}

pub struct Trace {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    lines: Lines,
    kept: String,
    scratch: String,
    hash: u64,
    count: u64,
}

impl Trace {
    pub fn new(lines: Lines) -> Trace {
        Trace { state: Mutex::new(State { lines, ..State::default() }) }
    }

    pub fn note(&self, time: TrueTime, node: u8, what: &str, detail: &dyn fmt::Display) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        state.scratch.clear();
        let now = time.now();
        writeln!(state.scratch, "{:>9}.{:06} n{node} {what} {detail}", now.as_secs(), now.subsec_micros())
            .expect("writing to a string does not fail");
        state.count += 1;
        state.hash = xxhash_rust::xxh3::xxh3_64_with_seed(state.scratch.as_bytes(), state.hash);
        match state.lines {
            Lines::Dropped => {}
            Lines::Kept => state.kept.push_str(&state.scratch),
            Lines::Printed => print!("{}", state.scratch),
        }
    }

    pub fn hash(&self) -> u64 {
        self.state.lock().hash
    }

    pub fn count(&self) -> u64 {
        self.state.lock().count
    }

    pub fn text(&self) -> String {
        self.state.lock().kept.clone()
    }
}
