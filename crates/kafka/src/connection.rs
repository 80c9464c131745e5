//! One connection: reads requests ahead, lets them run side by side, and sends the replies in the order of the requests.
//!
//! One task and, while idle, no buffer. What is held is bounded: a request past 64 KiB, or past 64 KiB of requests under
//! way, needs a permit of the broker's memory budget before its bytes are read; while replies pile up, nothing new is
//! started. A client that hangs up takes nothing back: what it has sent may still be stored. A request that ends the
//! connection takes no answer from those before it. Nothing is started behind a request that waits to be started.

use std::io;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lakebed_broker::api::Unavailable;
use lakebed_broker::{MemoryBudget, MemoryPermit, Turn};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use crate::frames::{Frames, Next};
use crate::outbox::Outbox;
use crate::peer::{Foreign, foreign};
use crate::running::{Finished, Running};
use crate::wire::Reply;

/// Requests under way that need no permit may take so many bytes together.
const FREE_BYTES: usize = 64 * 1024;
/// What a request under way is charged besides its bytes.
const REQUEST_OVERHEAD: usize = 512;
/// Requests under way.
const MAX_UNDER_WAY: usize = 8192;
/// Requests under way other than Produce: their replies may be large.
const MAX_QUERIES: usize = 4;
/// Replies not yet taken by the client: past this nothing new is started.
const MAX_UNSENT: usize = 1 << 20;
/// After so many bytes read without a pause, others get their turn.
const YIELD_AFTER: usize = 1 << 20;

/// A request has to arrive this fast, besides the time that it may stand still.
const SLOWEST: f64 = 65_536.0;

/// Who answers requests: one per connection.
pub(crate) trait Handler: Send {
    /// Starts a request. Nothing later of the connection is started before this returns.
    fn start(&mut self, request: Admitted) -> Started;

    /// The socket is empty and the client has requests under way: it may be waiting for nothing but the replies.
    fn set_waiting(&mut self, waiting: bool);
}

/// A request with the memory that it was given.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// A request without its size, in memory of its own: slices of it may be kept.
    pub frame: Bytes,
    pub permit: Option<MemoryPermit>,
    pub arrived: Instant,
    /// Whether the topics that it names and that were not known here were looked up.
    pub looked_up: LookedUp,
    /// To do what takes long, once that was waited for.
    pub turn: Option<Turn>,
    /// Memory for its reply.
    pub room: Room,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LookedUp {
    NotYet,
    Fully,
    Failed(Unavailable),
}

/// What a request has waited for before it was started.
#[derive(Debug)]
pub(crate) enum Room {
    NotAsked,
    Given(MemoryPermit),
    /// Nothing came free in time, or the node stops.
    Refused,
}

pub(crate) enum Started {
    /// It runs; its reply is sent in its turn.
    Running {
        kind: Kind,
        outcome: BoxFuture<'static, Outcome>,
    },
    /// It has to wait for this, and everything after it too; then it is started again.
    Later(BoxFuture<'static, Admitted>),
    /// As `Later`, once everything before it has its outcome.
    InTurn(BoxFuture<'static, Admitted>),
    Refused(Closed),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Produce,
    /// Changes something: as a query, but it goes on when the client is gone.
    Change,
    Query,
}

pub(crate) enum Outcome {
    /// With the memory that the reply was given, until it is written.
    Reply(Reply, Option<MemoryPermit>),
    /// Acks = 0: the client does not expect one.
    NoReply,
    Close(Closed),
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Closed {
    #[error("the client closed it")]
    ByPeer,
    #[error("the client closed it in the middle of a request")]
    MidRequest,
    #[error("this node is stopping")]
    Stopping,
    #[error("nothing was asked for {} s", .0.as_secs())]
    Idle(Duration),
    #[error("the client stopped in the middle of a request, or of taking a reply")]
    Stalled,
    #[error("{0}")]
    Foreign(Foreign),
    #[error("no memory came free in {} s for the rest of a request", .0.as_secs())]
    Starved(Duration),
    #[error("no memory came free in {} s for a large reply", .0.as_secs())]
    NoRoom(Duration),
    #[error("malformed request: {0}")]
    Malformed(String),
    #[error("not served: API {api}, version {version}")]
    NotServed { api: i16, version: i16 },
    #[error("a request with acks = 0, which cannot be answered, failed: {0}")]
    Unanswerable(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Closed {
    /// It is one request that ends the connection: those before it still get their answers.
    pub fn is_of_a_request(&self) -> bool {
        matches!(
            self,
            Self::Malformed(_) | Self::NotServed { .. } | Self::Unanswerable(_) | Self::Starved(_) | Self::NoRoom(_)
        )
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The largest request, in bytes.
    pub max_frame: usize,
    /// A connection on which nothing happens ends after so long.
    pub idle: Duration,
    /// A peer in the middle of a request or of a reply that does not move for so long is gone; and so long a connection
    /// that ends waits for the next reply that is still due.
    pub stalled: Duration,
    /// A request that cannot grow for so long is given up, so that several that hold memory do not wait for each other.
    pub growth: Duration,
    /// A reply that holds memory has to be taken within this.
    pub taking: Duration,
}

pub(crate) struct Connection<H> {
    socket: TcpStream,
    handler: H,
    memory: MemoryBudget,
    limits: Limits,
    shutdown: watch::Receiver<bool>,
    frames: Frames,
    outbox: Outbox,
    running: Running,
    free_bytes: usize,
    queries: usize,
    produces: usize,
    /// Waits for memory for the frame that was announced, or for more of it.
    permit: Option<BoxFuture<'static, Option<MemoryPermit>>>,
    /// What the frame that is being read needs more, while it waits for that.
    growth: Option<usize>,
    /// Bytes of the budget that the frame that is being read holds.
    charged: usize,
    /// Until then it has to be complete.
    complete_by: Instant,
    /// The permit of the frame that is being read.
    admitted: Option<Option<MemoryPermit>>,
    later: Option<BoxFuture<'static, Admitted>>,
    /// What is later waits for everything before it.
    in_turn: bool,
    /// A frame was seen, so what follows is Kafka.
    is_kafka: bool,
    waiting: bool,
    /// Nothing more is read: what was, is answered, and then the connection ends for this reason.
    ending: Option<Closed>,
    moved: Instant,
    since_yield: usize,
}

impl<H: Handler> Connection<H> {
    pub fn new(
        socket: TcpStream,
        handler: H,
        memory: MemoryBudget,
        limits: Limits,
        shutdown: watch::Receiver<bool>,
    ) -> Self {
        Self {
            socket,
            handler,
            memory,
            limits,
            shutdown,
            frames: Frames::new(limits.max_frame),
            outbox: Outbox::default(),
            running: Running::default(),
            free_bytes: 0,
            queries: 0,
            produces: 0,
            permit: None,
            growth: None,
            charged: 0,
            complete_by: Instant::now(),
            admitted: None,
            later: None,
            in_turn: false,
            is_kafka: false,
            waiting: false,
            ending: None,
            moved: Instant::now(),
            since_yield: 0,
        }
    }

    /// Serves until the connection ends, and says why it did. The socket is handed back for a last word.
    pub async fn run(mut self) -> (Closed, TcpStream) {
        let timer = sleep_until(self.next_check());
        tokio::pin!(timer);
        loop {
            match self.step(timer.as_mut()).await {
                Ok(ControlFlow::Continue(())) => {}
                Err(closed) if closed.is_of_a_request() => self.end(closed),
                Err(closed) | Ok(ControlFlow::Break(closed)) => {
                    self.let_go();
                    return (closed, self.socket);
                }
            }
        }
    }

    /// Reads and starts nothing more; what was started is answered.
    fn end(&mut self, closed: Closed) {
        self.frames = Frames::new(self.limits.max_frame);
        (self.permit, self.growth, self.admitted) = (None, None, None);
        self.moved = Instant::now();
        self.ending = Some(closed);
    }

    fn let_go(&mut self) {
        self.running.let_go();
        self.later = None;
        (self.free_bytes, self.queries, self.produces) = (0, 0, 0);
    }

    /// Starts what can be started, then waits for one thing to happen. Breaks off when nothing is due any more.
    async fn step(&mut self, mut timer: Pin<&mut Sleep>) -> Result<ControlFlow<Closed>, Closed> {
        let reads = self.start_ready()? && self.ending.is_none();
        if self.is_done()
            && let Some(closed) = self.ending.take()
        {
            return Ok(ControlFlow::Break(closed));
        }
        if reads && self.since_yield >= YIELD_AFTER {
            self.since_yield = 0;
            tokio::task::yield_now().await;
        }
        // Between two requests, with records under way: if the socket is empty too, the client may only wait for replies.
        let may_wait = reads && self.produces > 0 && !self.waiting && self.frames.next() == Ok(Next::Nothing);
        tokio::select! {
            biased;
            Some(first) = self.running.next(), if !self.running.is_empty() => self.finished(first)?,
            result = self.outbox.flush_some(&self.socket), if !self.outbox.is_empty() => {
                result?;
                self.moved = Instant::now();
            }
            permit = async { self.permit.as_mut().expect("checked").await }, if self.permit.is_some() => {
                self.permit = None;
                self.granted(permit)?;
            }
            request = async { self.later.as_mut().expect("checked").await }, if self.is_its_turn() => {
                self.later = None;
                self.start(request)?;
            }
            read = self.frames.fill(&self.socket), if reads => self.received(read?),
            () = stopping(&mut self.shutdown), if self.ending.is_none() => self.ending = Some(Closed::Stopping),
            () = timer.as_mut() => {
                timer.reset(self.next_check());
                return self.check_progress(reads);
            }
            // Comes last: so there was nothing to read.
            () = std::future::ready(()), if may_wait => self.set_waiting(true),
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Starts every complete frame as far as the limits allow. Says whether more bytes are of use.
    fn start_ready(&mut self) -> Result<bool, Closed> {
        loop {
            if self.later.is_some() || self.permit.is_some() || self.is_full() {
                self.set_waiting(false);
                return Ok(false);
            }
            match self.next()? {
                Next::Complete => {
                    let Some(frame) = self.frames.take() else { return Ok(true) };
                    let permit = self.admitted.take().flatten();
                    let (arrived, looked_up, room) = (Instant::now(), LookedUp::NotYet, Room::NotAsked);
                    self.start(Admitted { frame, permit, arrived, looked_up, room, turn: None })?;
                }
                Next::Announced(size) => self.announced(size)?,
                Next::Short(bytes) => self.grow(bytes)?,
                Next::Partial => {
                    self.set_waiting(false);
                    return Ok(true);
                }
                Next::Nothing => return Ok(true),
            }
        }
    }

    fn next(&mut self) -> Result<Next, Closed> {
        if !self.is_kafka
            && let Some(other) = foreign(self.frames.first_bytes())
        {
            return Err(Closed::Foreign(other));
        }
        let next = self.frames.next().map_err(|e| Closed::Malformed(e.to_string()))?;
        self.is_kafka |= matches!(next, Next::Announced(_));
        Ok(next)
    }

    fn is_full(&self) -> bool {
        self.outbox.len() >= MAX_UNSENT || self.queries >= MAX_QUERIES || self.running.len() >= MAX_UNDER_WAY
    }

    fn is_its_turn(&self) -> bool {
        self.later.is_some() && (!self.in_turn || self.running.is_empty())
    }

    fn is_done(&self) -> bool {
        self.running.is_empty() && self.outbox.is_empty() && self.later.is_none() && self.permit.is_none()
    }

    /// Memory is taken as bytes arrive: an announcement alone holds little.
    fn announced(&mut self, size: usize) -> Result<(), Closed> {
        self.complete_by = self.patience(size);
        self.charged = 0;
        if self.free_bytes + size + REQUEST_OVERHEAD <= FREE_BYTES {
            self.admit(None);
            return Ok(());
        }
        self.charged = (self.frames.first_part(size) + REQUEST_OVERHEAD).min(self.memory.total());
        let (memory, bytes) = (self.memory.clone(), self.charged);
        self.wait_for(async move { Some(memory.acquire(bytes).await) }.boxed())
    }

    fn grow(&mut self, bytes: usize) -> Result<(), Closed> {
        self.growth = Some(bytes);
        let more = bytes.min(self.memory.total() - self.charged);
        self.charged += more;
        let wait = self.limits.growth;
        self.complete_by += wait;
        let memory = self.memory.clone();
        self.wait_for(async move { timeout(wait, memory.acquire(more)).await.ok() }.boxed())
    }

    fn wait_for(&mut self, mut permit: BoxFuture<'static, Option<MemoryPermit>>) -> Result<(), Closed> {
        match (&mut permit).now_or_never() {
            Some(permit) => self.granted(permit),
            None => {
                self.permit = Some(permit);
                Ok(())
            }
        }
    }

    fn granted(&mut self, permit: Option<MemoryPermit>) -> Result<(), Closed> {
        let permit = permit.ok_or(Closed::Starved(self.limits.growth))?;
        let Some(bytes) = self.growth.take() else {
            self.admit(Some(permit));
            return Ok(());
        };
        match self.admitted.as_mut() {
            Some(Some(held)) => held.merge(permit),
            _ => self.admitted = Some(Some(permit)),
        }
        self.frames.grow(bytes);
        self.moved = Instant::now();
        Ok(())
    }

    fn patience(&self, size: usize) -> Instant {
        Instant::now() + self.limits.stalled + Duration::from_secs_f64(size as f64 / SLOWEST)
    }

    fn admit(&mut self, permit: Option<MemoryPermit>) {
        self.admitted = Some(permit);
        self.frames.admit();
        self.moved = Instant::now();
    }

    fn start(&mut self, request: Admitted) -> Result<(), Closed> {
        let free_bytes = if request.permit.is_some() { 0 } else { request.frame.len() + REQUEST_OVERHEAD };
        match self.handler.start(request) {
            Started::Running { kind, outcome } => {
                self.free_bytes += free_bytes;
                *self.count(kind) += 1;
                self.running.push(kind, free_bytes, outcome);
                Ok(())
            }
            Started::Later(later) => {
                (self.later, self.in_turn) = (Some(later), false);
                Ok(())
            }
            Started::InTurn(later) => {
                (self.later, self.in_turn) = (Some(later), true);
                Ok(())
            }
            Started::Refused(closed) => Err(closed),
        }
    }

    fn count(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::Produce => &mut self.produces,
            Kind::Change | Kind::Query => &mut self.queries,
        }
    }

    /// Takes this outcome and all that are ready behind it, so that one write carries many replies.
    fn finished(&mut self, first: Finished) -> Result<(), Closed> {
        let mut next = Some(first);
        while let Some(Finished { kind, free_bytes, outcome }) = next {
            self.free_bytes -= free_bytes;
            *self.count(kind) -= 1;
            match outcome {
                Outcome::Reply(reply, permit) => self.outbox.push(reply, permit, Instant::now()),
                Outcome::NoReply => {}
                Outcome::Close(closed) => {
                    self.let_go();
                    return Err(closed);
                }
            }
            next = if self.outbox.len() < MAX_UNSENT { self.running.next().now_or_never().flatten() } else { None };
        }
        self.moved = Instant::now();
        Ok(())
    }

    fn received(&mut self, bytes: usize) {
        if bytes == 0 {
            let between = self.frames.next() == Ok(Next::Nothing);
            self.ending = Some(if between { Closed::ByPeer } else { Closed::MidRequest });
        }
        self.set_waiting(false);
        self.moved = Instant::now();
        self.since_yield += bytes;
    }

    fn set_waiting(&mut self, waiting: bool) {
        if self.waiting != waiting {
            self.waiting = waiting;
            self.handler.set_waiting(waiting);
        }
    }

    fn next_check(&self) -> Instant {
        Instant::now() + (self.limits.stalled / 2).min(self.limits.idle)
    }

    /// While nothing is read, a client that is gone shows only here.
    fn has_hung_up(&self) -> bool {
        let ready = self.socket.ready(Interest::READABLE).now_or_never();
        ready.is_some_and(|ready| ready.is_ok_and(|ready| ready.is_read_closed()))
    }

    fn check_progress(&mut self, reads: bool) -> Result<ControlFlow<Closed>, Closed> {
        let still = self.moved.elapsed();
        if still >= self.limits.stalled
            && let Some(closed) = self.ending.take()
        {
            return Ok(ControlFlow::Break(closed));
        }
        if !reads && self.produces == 0 && self.has_hung_up() {
            return Err(Closed::ByPeer);
        }
        let in_request = reads && self.frames.next() != Ok(Next::Nothing);
        if !reads {
            // It is not for the client to hurry.
            self.complete_by += self.limits.stalled;
        } else if in_request && self.admitted.is_some() && Instant::now() >= self.complete_by {
            return Err(Closed::Stalled);
        }
        if still >= self.limits.stalled && (in_request || !self.outbox.is_empty()) {
            return Err(Closed::Stalled);
        }
        // However slowly it still moves: others wait for the memory.
        if self.outbox.charged_since().is_some_and(|since| since.elapsed() >= self.limits.taking) {
            return Err(Closed::Stalled);
        }
        if still >= self.limits.idle && self.is_done() {
            return Err(Closed::Idle(self.limits.idle));
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// A sender that is gone stops as well.
pub(crate) async fn stopping(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stop| *stop).await;
}

#[cfg(test)]
mod tests;
