//! Whether a process runs, is held or is dead, and where it is struck.
//!
//! Every store call and every sleep of a process passes [`Power::point`]: before sending, between a call's effect and its
//! reply, at every wake-up. There the process may be paused or killed. A dead process's futures wait for ever: it has no
//! further effect, which is what a crash is to everybody else; its memory goes with the runtime.

use std::future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use crate::entropy::Dice;
use crate::faults::{Fault, Tally};
use crate::switch::Switch;
use crate::time::{MachineClock, TrueTime};
use crate::trace::Trace;

/// Where a process may be struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    BeforeWrite,
    AfterWrite,
    BeforeRead,
    AfterRead,
    Sleep,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    Held,
    Dead,
}

/// How often, in points, and how hard processes of this run are struck.
#[derive(Clone, Debug, Default)]
pub struct Strikes {
    /// Strikes once in this many writes, reads and sleeps; 0: never.
    pub write_one_in: u32,
    pub read_one_in: u32,
    pub sleep_one_in: u32,
    /// Weights of: crash, pause of 1 s, 61 s, 61 min, 25 h.
    pub weights: [u32; 5],
    /// No more strikes than this in a run: a node that always dies while it starts shows nothing.
    pub most: u32,
    /// Of the pauses so many in ten suspend the whole machine.
    pub suspends_in_ten: u32,
}

const PAUSES: [(Fault, Duration); 4] = [
    (Fault::Pause1s, Duration::from_secs(1)),
    (Fault::Pause61s, Duration::from_secs(61)),
    (Fault::Pause61min, Duration::from_secs(61 * 60)),
    (Fault::Pause25h, Duration::from_secs(25 * 3600)),
];

/// Index of the first pause that takes long enough to be skipped, and how many of these a run has.
const LONG_FROM: usize = 3;
const MOST_LONG_PAUSES: u32 = 4;

/// What all processes of a run share.
pub struct Nemesis {
    pub time: TrueTime,
    pub dice: Dice,
    pub strikes: Strikes,
    pub tally: Tally,
    pub trace: Trace,
    /// Faults happen while it is true.
    pub armed: AtomicBool,
    pub struck: AtomicU32,
    pub long_pauses: AtomicU32,
    /// When the last pause of more than a minute will end, until somebody has taken note of it.
    pub long_pause: Switch<Option<Duration>>,
}

impl Nemesis {
    pub fn is_armed(&self) -> bool {
        self.armed.load(Ordering::Relaxed)
    }

    pub fn disarm(&self) {
        self.armed.store(false, Ordering::Relaxed);
    }
}

/// The power switch of one process.
pub struct Power {
    pub node: u8,
    state: Switch<State>,
    /// Counts what ended or replaced a pause, so that its own end does not end the next one.
    turns: AtomicU32,
    machine: Arc<MachineClock>,
    nemesis: Arc<Nemesis>,
}

impl Power {
    pub fn on(node: u8, machine: Arc<MachineClock>, nemesis: Arc<Nemesis>) -> Arc<Power> {
        Arc::new(Power { node, state: Switch::new(State::Running), turns: AtomicU32::new(0), machine, nemesis })
    }

    pub fn nemesis(&self) -> &Arc<Nemesis> {
        &self.nemesis
    }

    /// Returns while the process runs; perhaps it is struck first.
    pub async fn point(self: &Arc<Self>, point: Point) {
        self.running().await;
        let nemesis = &self.nemesis;
        if nemesis.is_armed()
            && nemesis.dice.one_in(nemesis.strikes.one_in(point))
            && nemesis.struck.fetch_add(1, Ordering::Relaxed) < nemesis.strikes.most
        {
            self.strike(point);
            self.running().await;
        }
    }

    /// Returns while the process runs; never if it is dead.
    pub async fn running(&self) {
        if self.state.when(|s| s != State::Held).await == State::Dead {
            future::pending::<()>().await;
        }
    }

    /// Returns when the process is dead.
    pub async fn died(&self) {
        self.state.when(|s| s == State::Dead).await;
    }

    pub fn is_running(&self) -> bool {
        self.state.get() == State::Running
    }

    pub fn is_dead(&self) -> bool {
        self.state.get() == State::Dead
    }

    pub fn kill(&self) {
        self.machine.suspend(false);
        self.state.set(State::Dead);
    }

    /// Ends a pause.
    pub fn resume(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
        self.machine.suspend(false);
        if self.state.get() == State::Held {
            self.state.set(State::Running);
        }
    }

    fn strike(self: &Arc<Self>, point: Point) {
        let nemesis = &self.nemesis;
        let mut index = nemesis.dice.weighted(&nemesis.strikes.weights);
        if index >= LONG_FROM && nemesis.long_pauses.fetch_add(1, Ordering::Relaxed) >= MOST_LONG_PAUSES {
            index = 1;
        }
        let Some((fault, how_long)) = index.checked_sub(1).map(|i| PAUSES[i]) else {
            nemesis.tally.fault(Fault::Crash);
            nemesis.trace.note(nemesis.time, self.node, "crash", &format_args!("{point:?}"));
            return self.kill();
        };
        let suspended = nemesis.dice.below(10) < nemesis.strikes.suspends_in_ten as usize;
        nemesis.tally.fault(fault);
        if suspended {
            nemesis.tally.fault(Fault::Suspend);
        }
        let how = if suspended { "suspend" } else { "pause" };
        nemesis.trace.note(nemesis.time, self.node, how, &format_args!("{point:?} {} s", how_long.as_secs()));
        self.hold(suspended, how_long);
    }

    /// Pauses the process, or suspends its machine.
    pub fn hold(self: &Arc<Self>, suspended: bool, how_long: Duration) {
        self.machine.suspend(suspended);
        self.state.set(State::Held);
        let turn = self.turns.fetch_add(1, Ordering::Relaxed) + 1;
        let me = Arc::clone(self);
        if how_long > Duration::from_secs(60) {
            self.nemesis.long_pause.set(Some(self.nemesis.time.now() + how_long));
        }
        tokio::spawn(async move {
            tokio::time::sleep(how_long).await;
            if !me.is_dead() && me.turns.load(Ordering::Relaxed) == turn {
                me.nemesis.trace.note(me.nemesis.time, me.node, "resume", &format_args!(""));
                me.resume();
            }
        });
    }
}

impl Strikes {
    fn one_in(&self, point: Point) -> u32 {
        match point {
            Point::BeforeWrite | Point::AfterWrite => self.write_one_in,
            Point::BeforeRead | Point::AfterRead => self.read_one_in,
            Point::Sleep => self.sleep_one_in,
        }
    }
}
