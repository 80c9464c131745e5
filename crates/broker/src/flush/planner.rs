//! When the next flush starts: a pure planner. Time, sizes and hints come in, a [`Decision`] goes out.
//!
//! A flush starts at the size trigger, or when something is pending and the gap since the last start has passed; after
//! an idle time the first record goes at once. What would ride in a commit waits here while as many commits are under way
//! as the log attempts. A connection whose window is [full](Window::Full) brings no more company
//! once its socket is drained, so when only such ones have records pending, the flush starts as early as the profile's
//! PUT rate allows. `flush.max.puts.per.second` holds for every start.

use std::collections::BTreeMap;
use std::time::Duration;

use lakebed_manifest::PIPELINE;

use crate::config::{BrokerConfig, FlushProfile};

/// After this silence a drained connection with a full window is believed to wait for us.
const QUIET: Duration = Duration::from_millis(15);
/// PUTs that early starts may be ahead of their average rate: after a slow one, the next goes sooner.
const EARLY_CREDIT: u32 = 3;
/// Shortest gap of profile `latency`: a local store's commit takes microseconds.
const SHORTEST_GAP: Duration = Duration::from_millis(1);
/// And its longest, that of `economy`: a process that was stopped for hours has seen a commit that took hours.
const LONGEST_GAP: Duration = Duration::from_millis(400);
const MIB: u64 = 1 << 20;

/// Names a connection within its broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gap {
    Fixed(Duration),
    HalfCommit,
}

/// A profile in numbers; sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    size_trigger: u64,
    inline_gap: Gap,
    segment_gap: Gap,
    /// Up to here records ride in the commit.
    inline_max: u64,
    /// The same while only window-limited connections wait: one PUT for them instead of two, one after the other.
    waiting_inline_max: u64,
    /// Average time per PUT that early starts for waiting connections keep to.
    early_put_spacing: Duration,
    /// The same for every start (`flush.max.puts.per.second`).
    put_spacing: Duration,
    max_uploads: usize,
    max_unsettled: usize,
    /// Records under way, of which not all need be in the memory budget: small requests are free while they wait for their
    /// answer, and may be answered before their records are settled.
    max_unsettled_bytes: u64,
}

impl Policy {
    pub fn new(config: &BrokerConfig) -> Policy {
        let (inline_gap, segment_gap, early) = match config.flush {
            FlushProfile::Latency => (Gap::HalfCommit, Gap::HalfCommit, Duration::ZERO),
            FlushProfile::Balanced => (
                Gap::Fixed(Duration::from_millis(100)),
                Gap::Fixed(Duration::from_millis(200)),
                Duration::from_millis(84),
            ),
            FlushProfile::Economy => (Gap::Fixed(LONGEST_GAP), Gap::Fixed(LONGEST_GAP), Duration::from_millis(167)),
        };
        Policy {
            size_trigger: if config.flush == FlushProfile::Economy { 16 * MIB } else { 8 * MIB },
            inline_gap,
            segment_gap,
            inline_max: MIB / 4,
            waiting_inline_max: 2 * MIB,
            early_put_spacing: early,
            put_spacing: config
                .flush_max_puts_per_second
                .map_or(Duration::ZERO, |puts| Duration::from_secs(1) / puts.get()),
            max_uploads: 24,
            max_unsettled: 64,
            max_unsettled_bytes: config.buffer_bytes() as u64,
        }
    }

    /// Most bytes that one flush takes.
    pub fn max_flush(&self) -> u64 {
        self.size_trigger.saturating_mul(2)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Flush(Reason, Shape),
    /// Ask again at this time (monotonic), or when something has changed.
    WakeAt(Duration),
    /// Nothing to do until something changes.
    Idle,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Size,
    Gap,
    /// Only connections that wait for us have records pending.
    Waiting,
    /// The node stops.
    Closing,
}

/// Where the records of a flush go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Into the commit: one PUT.
    Inline,
    /// Into an object of their own, named by the commit: two PUTs.
    Segment,
}

impl Shape {
    const fn puts(self) -> u32 {
        match self {
            Shape::Inline => 1,
            Shape::Segment => 2,
        }
    }
}

/// What a connection's past says of its client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Window {
    /// It sends whether or not it is answered.
    #[default]
    Open,
    /// It sends only when answered: after a while its requests in flight are as many as it allows itself.
    Full,
    /// As many as ever are in flight: nothing more will come.
    Complete,
}

#[derive(Debug, Default, PartialEq)]
struct Connection {
    pending: u64,
    /// All that it sent has been read.
    drained: bool,
    window: Window,
}

impl Connection {
    /// More may come at any time.
    fn is_busy(&self) -> bool {
        self.pending > 0 && (self.window == Window::Open || (self.window == Window::Full && !self.drained))
    }

    /// More may come, but not after a silence.
    fn is_unsure(&self) -> bool {
        self.pending > 0 && self.window == Window::Full && self.drained
    }
}

/// Keeps count of what is pending and decides. Every method is O(log connections).
#[derive(Debug)]
pub struct Planner {
    policy: Policy,
    pending: u64,
    connections: BTreeMap<ConnectionId, Connection>,
    /// Connections with pending bytes that may still send more: at any time, or before a silence.
    busy: usize,
    unsure: usize,
    last_push: Duration,
    last_start: Option<(Duration, Shape)>,
    /// When the PUTs so far will have been paid for at the rate of early starts.
    paid_at: Duration,
    uploads: usize,
    unsettled: usize,
    unsettled_inline: u64,
    unsettled_bytes: u64,
    closing: bool,
    /// Flushes are at least this far apart.
    slowdown: Duration,
}

impl Planner {
    pub fn new(policy: Policy) -> Planner {
        Planner {
            policy,
            pending: 0,
            connections: BTreeMap::new(),
            busy: 0,
            unsure: 0,
            last_push: Duration::ZERO,
            last_start: None,
            paid_at: Duration::ZERO,
            uploads: 0,
            unsettled: 0,
            unsettled_inline: 0,
            unsettled_bytes: 0,
            closing: false,
            slowdown: Duration::ZERO,
        }
    }

    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    pub fn pending(&self) -> u64 {
        self.pending
    }

    pub fn pushed(&mut self, connection: ConnectionId, window: Window, bytes: u64, now: Duration) {
        self.pending += bytes;
        self.last_push = self.last_push.max(now);
        self.change(connection, |c| {
            c.pending += bytes;
            c.drained = false;
            c.window = window;
        });
    }

    /// Bytes that left the queue: into a flush, or dropped at their time-out.
    pub fn taken(&mut self, connection: ConnectionId, bytes: u64) {
        self.pending -= bytes;
        self.change(connection, |c| c.pending -= bytes);
    }

    /// The connection's socket is drained, or no more so.
    pub fn drained(&mut self, connection: ConnectionId, drained: bool) {
        self.change(connection, |c| c.drained = drained);
    }

    pub fn forget(&mut self, connection: ConnectionId) {
        self.change(connection, |c| (c.drained, c.window) = (false, Window::Open));
    }

    /// A flush of so many bytes.
    pub fn started(&mut self, shape: Shape, bytes: u64, now: Duration) {
        self.last_start = Some((now, shape));
        self.paid_at = self.paid_at.max(now) + self.policy.early_put_spacing * shape.puts();
        self.unsettled += 1;
        self.unsettled_bytes += bytes;
        match shape {
            Shape::Inline => self.unsettled_inline += 1,
            Shape::Segment => self.uploads += 1,
        }
    }

    pub fn uploaded(&mut self) {
        self.uploads -= 1;
    }

    pub fn settled(&mut self, shape: Shape, bytes: u64) {
        self.unsettled -= 1;
        self.unsettled_inline -= u64::from(shape == Shape::Inline);
        self.unsettled_bytes -= bytes;
    }

    pub fn unsettled(&self) -> usize {
        self.unsettled
    }

    /// Every flush makes index entries: while there are too many, flushes are at least this far apart.
    pub fn slow_down(&mut self, spacing: Duration) {
        self.slowdown = spacing;
    }

    /// From now on everything pending goes at once.
    pub fn close(&mut self) {
        self.closing = true;
    }

    pub fn decide(&self, now: Duration, commit_p50: Duration) -> Decision {
        if self.pending == 0 || self.is_full() {
            return Decision::Idle;
        }
        let only_waiting = self.busy == 0;
        let shape = self.shape(only_waiting);
        // One commit more would wait for the log, where nothing joins it any more.
        if shape == Shape::Inline && self.unsettled_inline >= PIPELINE && !self.closing {
            return Decision::Idle;
        }
        let (at, reason) = self.due(shape, only_waiting, commit_p50);
        if at > now { Decision::WakeAt(at) } else { Decision::Flush(reason, shape) }
    }

    fn is_full(&self) -> bool {
        self.unsettled >= self.policy.max_unsettled
            || self.unsettled_bytes >= self.policy.max_unsettled_bytes
            || self.uploads >= self.policy.max_uploads
    }

    fn shape(&self, only_waiting: bool) -> Shape {
        let max = if only_waiting { self.policy.waiting_inline_max } else { self.policy.inline_max };
        if self.pending <= max { Shape::Inline } else { Shape::Segment }
    }

    /// When the flush may start, and why then.
    fn due(&self, shape: Shape, only_waiting: bool, commit_p50: Duration) -> (Duration, Reason) {
        let Some((start, last)) = self.last_start else { return (Duration::ZERO, Reason::Gap) };
        let floor = start + (self.policy.put_spacing * last.puts()).max(self.slowdown);
        if self.closing {
            return (Duration::ZERO, Reason::Closing);
        }
        if self.pending >= self.policy.size_trigger {
            return (floor, Reason::Size);
        }
        let gap = match shape {
            Shape::Inline => self.policy.inline_gap,
            Shape::Segment => self.policy.segment_gap,
        };
        let gap = match gap {
            Gap::Fixed(gap) => gap,
            Gap::HalfCommit => (commit_p50 / 2).clamp(SHORTEST_GAP, LONGEST_GAP),
        };
        let regular = start + gap;
        let silence = if self.unsure == 0 { self.last_push } else { self.last_push + QUIET };
        let credit = self.policy.early_put_spacing * EARLY_CREDIT;
        let early = self.paid_at.saturating_sub(credit).max(silence);
        if only_waiting && early < regular {
            (early.max(floor), Reason::Waiting)
        } else {
            (regular.max(floor), Reason::Gap)
        }
    }

    fn change(&mut self, id: ConnectionId, f: impl FnOnce(&mut Connection)) {
        let connection = self.connections.entry(id).or_default();
        let (was_busy, was_unsure) = (connection.is_busy(), connection.is_unsure());
        f(connection);
        let (is_busy, is_unsure) = (connection.is_busy(), connection.is_unsure());
        if *connection == Connection::default() {
            self.connections.remove(&id);
        }
        self.busy = self.busy + usize::from(is_busy) - usize::from(was_busy);
        self.unsure = self.unsure + usize::from(is_unsure) - usize::from(was_unsure);
    }
}

#[cfg(test)]
mod tests;
