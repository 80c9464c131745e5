//! Which faults there are, how likely each is in a run, and how often each happened.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::entropy::Dice;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// It never reached the store; the caller is told of a time-out.
    RequestLost,
    /// It happened; the caller is told of a time-out.
    ResponseLost,
    /// It reached the store twice, the second time later; the first answer arrives.
    DuplicateLater,
    /// It reached the store twice; the second answer arrives.
    DuplicateAnswered,
    /// The caller is told of a time-out; it happens minutes later.
    LandsLate,
    Conflict409,
    Throttled429,
    Server500,
    /// 500, but it happened.
    Server500Done,
    Unavailable503,
    /// 503, but it happened.
    Unavailable503Done,
    SlowTail,
    /// Only the start of the body was stored; the caller is told that all is well.
    ShortBodyUntold,
    /// Only the start of the body was stored; the caller is told of an error.
    ShortBodyTold,
    /// A read broke off in the middle.
    ShortRead,
    Crash,
    Shutdown,
    Suspend,
    Pause1s,
    Pause61s,
    Pause61min,
    Pause25h,
    ClockJump,
    FalseNodeDown,
}

impl Fault {
    pub const ALL: [Fault; 24] = [
        Fault::RequestLost,
        Fault::ResponseLost,
        Fault::DuplicateLater,
        Fault::DuplicateAnswered,
        Fault::LandsLate,
        Fault::Conflict409,
        Fault::Throttled429,
        Fault::Server500,
        Fault::Server500Done,
        Fault::Unavailable503,
        Fault::Unavailable503Done,
        Fault::SlowTail,
        Fault::ShortBodyUntold,
        Fault::ShortBodyTold,
        Fault::ShortRead,
        Fault::Crash,
        Fault::Shutdown,
        Fault::Suspend,
        Fault::Pause1s,
        Fault::Pause61s,
        Fault::Pause61min,
        Fault::Pause25h,
        Fault::ClockJump,
        Fault::FalseNodeDown,
    ];
}

/// How often things happened, by name.
#[derive(Default)]
pub struct Tally(Mutex<BTreeMap<String, u64>>);

impl Tally {
    pub fn fault(&self, fault: Fault) {
        self.count(&format!("fault {fault:?}"), 1);
    }

    /// What happened no time has not happened.
    pub fn count(&self, name: &str, n: u64) {
        if n == 0 {
            return;
        }
        let mut counts = self.0.lock();
        match counts.get_mut(name) {
            Some(count) => *count += n,
            None => {
                counts.insert(name.to_owned(), n);
            }
        }
    }

    pub fn snapshot(&self) -> BTreeMap<String, u64> {
        self.0.lock().clone()
    }
}

/// Kinds of store calls, as far as faults tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Create,
    /// A write of FORMAT or CURRENT, or a delete: what has no body that could be cut short.
    Control,
    /// A get, a head or a list.
    Read,
}

/// Faults in 10,000 calls.
#[derive(Clone, Debug, Default)]
pub struct Rates(BTreeMap<Fault, u32>);

const WRITE_FAULTS: [Fault; 14] = [
    Fault::RequestLost,
    Fault::ResponseLost,
    Fault::DuplicateLater,
    Fault::DuplicateAnswered,
    Fault::LandsLate,
    Fault::Conflict409,
    Fault::Throttled429,
    Fault::Server500,
    Fault::Server500Done,
    Fault::Unavailable503,
    Fault::Unavailable503Done,
    Fault::SlowTail,
    Fault::ShortBodyUntold,
    Fault::ShortBodyTold,
];

const READ_FAULTS: [Fault; 6] = [
    Fault::RequestLost,
    Fault::Throttled429,
    Fault::Server500,
    Fault::Unavailable503,
    Fault::SlowTail,
    Fault::ShortRead,
];

impl Rates {
    pub fn none() -> Rates {
        Rates::default()
    }

    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// Every call that the fault can strike is struck.
    pub fn always(fault: Fault) -> Rates {
        Rates(BTreeMap::from([(fault, 10_000)]))
    }

    /// Each kind of fault is on or off in a run, and if on, rare or frequent: faults that always come together hide bugs.
    pub fn random(dice: &Dice) -> Rates {
        let mut rates = BTreeMap::new();
        for fault in WRITE_FAULTS.into_iter().chain([Fault::ShortRead]) {
            let per_10_000 = [0, 0, 30, 100, 300, 1000][dice.below(6)];
            rates.insert(fault, per_10_000);
        }
        Rates(rates)
    }

    /// Whether bodies cut short may be stored: then the store must not claim to refuse them.
    pub fn keep_short_bodies(&self) -> bool {
        let on = |f| self.0.get(&f).is_some_and(|n| *n > 0);
        on(Fault::ShortBodyTold) || on(Fault::ShortBodyUntold)
    }

    /// The fault that strikes this call, if one does.
    pub fn roll(&self, call: Call, dice: &Dice) -> Option<Fault> {
        let faults: &[Fault] = if call == Call::Read { &READ_FAULTS } else { &WRITE_FAULTS };
        let mut left = dice.below(10_000) as u32;
        for fault in faults {
            let rate = self.0.get(fault).copied().unwrap_or(0);
            let short = matches!(fault, Fault::ShortBodyTold | Fault::ShortBodyUntold);
            let rate = if short && call == Call::Control { 0 } else { rate };
            if left < rate {
                return Some(*fault);
            }
            left -= rate;
        }
        None
    }
}
