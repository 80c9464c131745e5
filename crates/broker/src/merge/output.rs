//! How background work stores an object and keeps to its budget.
//!
//! The name is taken last, so that its fence is still admitted when the op that names it applies. What is stored and then
//! refused is deleted at once: its group has its outcome, so nothing can name it any more. What a crash left is an orphan, which the
//! collector finds by that fence.

use std::time::Duration;

use bytes::Bytes;
use lakebed_manifest::Manifest;
use lakebed_record::ops::{ObjectRef, OpKind, OpOutcome, SegmentPlace};
use lakebed_record::{SegmentName, keys};
use lakebed_store::env::Env;
use lakebed_store::own::{self, Stored};
use lakebed_store::{Body, Store};

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const TRIES: u32 = 6;

/// What background work of this node may use up.
#[derive(Debug)]
pub struct Pace {
    /// Read and written together.
    bytes_per_second: u64,
    /// Time from one PUT to the next.
    put_spacing: Duration,
    last_put: Option<Duration>,
}

impl Pace {
    pub fn new(bytes_per_second: u64, put_spacing: Duration) -> Pace {
        Pace { bytes_per_second: bytes_per_second.max(1), put_spacing, last_put: None }
    }

    pub fn adjust(&mut self, bytes_per_second: u64, put_spacing: Duration) {
        (self.bytes_per_second, self.put_spacing) = (bytes_per_second.max(1), put_spacing);
    }

    /// Waits until so many bytes may have been moved since then (monotonic).
    pub async fn moved(&self, env: &Env, since: Duration, bytes: u64) {
        let until = since + Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        let left = until.saturating_sub(env.clock.monotonic());
        if !left.is_zero() {
            env.clock.sleep(left).await;
        }
    }

    async fn put(&mut self, env: &Env) {
        let next = self.last_put.map_or(Duration::ZERO, |last| last + self.put_spacing);
        let left = next.saturating_sub(env.clock.monotonic());
        if !left.is_zero() {
            env.clock.sleep(left).await;
        }
        self.last_put = Some(env.clock.monotonic());
    }
}

/// Why an object is not there, or not named.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutputError {
    #[error("the store did not take it: {0}")]
    Store(String),
    #[error("what it replaces is not there any more")]
    InputGone,
    #[error("it was not named in time")]
    Late,
    #[error("the node stops, or was fenced")]
    Stopped,
}

/// Stores and names objects of one node's background work, one after another.
pub struct Output {
    manifest: Manifest,
    store: std::sync::Arc<dyn Store>,
    env: Env,
    pub pace: Pace,
    next: u64,
}

impl Output {
    pub fn new(manifest: Manifest, store: std::sync::Arc<dyn Store>, env: Env, pace: Pace) -> Output {
        Output { manifest, store, env, pace, next: 0 }
    }

    /// `chunks`: the whole object, with its CRC-32C.
    pub async fn store(&mut self, chunks: Vec<Bytes>, crc: u32) -> Result<SegmentPlace, OutputError> {
        let body = Body::with_crc(chunks, crc);
        self.pace.put(&self.env).await;
        let fence = self.manifest.fence().await.map_err(|_| OutputError::Stopped)?;
        let number = SegmentName::BACKGROUND | self.next;
        self.next += 1;
        let name = SegmentName { fence, node: self.manifest.incarnation(), number };
        let key = keys::segment(&name);
        let started = self.env.clock.monotonic();
        let mut pause = FIRST_PAUSE;
        let mut last = String::new();
        for _ in 0..TRIES {
            match own::create(&*self.store, &key, &body).await {
                Stored::Yes => {
                    self.pace.moved(&self.env, started, body.len()).await;
                    let ObjectRef { fence, node, number } = name.into();
                    return Ok(SegmentPlace { fence, node, number, total_len: body.len() });
                }
                Stored::Foreign => {
                    tracing::error!(%key, "the name of a new segment is taken by an object of another length");
                    return Err(OutputError::Store("its name is taken".into()));
                }
                Stored::Unknown(fault) => last = fault.to_string(),
            }
            self.env.clock.sleep(pause).await;
            pause *= 2;
        }
        Err(OutputError::Store(last))
    }

    pub async fn submit(&self, op: OpKind) -> Result<(), OutputError> {
        let receipt = self.manifest.submit(vec![op.into()], Vec::new()).await;
        match receipt.map(|mut r| r.outcomes.pop()) {
            Ok(Some(OpOutcome::Done)) => Ok(()),
            Ok(Some(OpOutcome::InputGone)) => Err(OutputError::InputGone),
            Ok(Some(OpOutcome::OutsideWindow)) => Err(OutputError::Late),
            // Named by the incarnation before a fence, or an entry list that changed under a page: planned anew.
            Ok(_) => Err(OutputError::InputGone),
            Err(_) => Err(OutputError::Stopped),
        }
    }

    /// Deletes what `submit` said can never be named, as far as that is sure: while a group has no outcome, it may still apply.
    pub async fn discard(&self, place: &SegmentPlace, why: &OutputError) {
        let name = SegmentName::from(place);
        let refused = matches!(why, OutputError::InputGone | OutputError::Late);
        if !refused || self.manifest.read(|s| s.needs_segment(&name)) {
            return;
        }
        if let Err(fault) = self.store.delete(&keys::segment(&name)).await.value {
            tracing::debug!(%fault, "an object that nothing names is left to the collector");
        }
    }
}
