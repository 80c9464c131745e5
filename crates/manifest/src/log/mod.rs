//! Writing and reading the log of commits: a pure core (rules of section 4.3) and what it keeps about slots and time.

mod belief;
mod core;
mod flight;
#[cfg(test)]
mod tests;
mod time;

pub use self::belief::Evidence;
pub use self::core::{Action, Answered, Config, Core, Counters, GetAnswer, PIPELINE, Resolved};
pub use time::{Dated, LogClock, Moment, TimeView};
