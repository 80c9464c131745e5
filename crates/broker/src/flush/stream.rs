//! The node's one flush stream: a driver starts flushes when the planner says so, segments upload in parallel, a
//! submitter hands their groups to the manifest in the order of the flushes, and outcomes answer the requests.
//!
//! Acknowledged is only what an outcome of an applied group says. A crash at any point leaves the requests unanswered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use lakebed_manifest::{Manifest, Receipt, SubmitError};
use lakebed_record::ops::{BatchOutcome, InlinePlace, OpKind, OpOutcome, Place, SegmentPlace};
use lakebed_record::{DataObject, Incarnation, segment};
use lakebed_store::Store;
use lakebed_store::env::Env;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use super::assemble::{Assembled, Batch, Grouped, assemble};
use super::connection::Connection;
use super::planner::{ConnectionId, Policy, Shape};
use super::queue::{Queue, Step, Taken};
use super::request::Outcome;
use super::upload::{Segment, upload};
use crate::api::{AppendError, Appended};
use crate::fetch::ring::Ring;
use crate::metrics::{Metrics, Stage};

pub struct Stream {
    queue: Mutex<Queue>,
    /// Wakes the driver.
    changed: Notify,
    /// Told whenever a flush has settled.
    settled: Notify,
    driver_done: AtomicBool,
    segments: AtomicU64,
    manifest: Manifest,
    store: Arc<dyn Store>,
    env: Env,
    ring: Arc<Ring>,
    metrics: Metrics,
}

/// A flush on its way to the submitter.
struct Started {
    number: u64,
    shape: Shape,
    bytes: u64,
    body: Content,
}

enum Content {
    Inline(Assembled),
    Segment(JoinHandle<(Assembled, Option<Segment>)>),
}

/// A group under way.
struct Submitted {
    number: u64,
    shape: Shape,
    at: Duration,
    flush: Assembled,
    members: Vec<Vec<usize>>,
    /// Whose name its segment bears.
    named_by: Option<Incarnation>,
}

impl Stream {
    /// Spawns the stream's tasks; they end with [`Stream::shutdown`].
    pub fn spawn(
        policy: Policy,
        manifest: Manifest,
        store: Arc<dyn Store>,
        env: Env,
        ring: Arc<Ring>,
        metrics: Metrics,
    ) -> Arc<Stream> {
        let stream = Arc::new(Stream {
            queue: Mutex::new(Queue::new(policy)),
            changed: Notify::new(),
            settled: Notify::new(),
            driver_done: AtomicBool::new(false),
            segments: AtomicU64::new(1),
            manifest,
            store,
            env,
            ring,
            metrics,
        });
        let (started, flushes) = mpsc::unbounded_channel();
        tokio::spawn(drive(Arc::clone(&stream), started));
        tokio::spawn(submit_in_order(Arc::clone(&stream), flushes));
        stream
    }

    /// Queues batches in their order. They are answered through their requests.
    pub fn push(&self, batches: Vec<Batch>) {
        let now = self.env.clock.monotonic();
        let mut queue = self.queue.lock();
        if queue.is_closed() {
            drop(queue);
            return batches.iter().for_each(|b| b.request.finish(b.index, Err(AppendError::Stopping)));
        }
        batches.into_iter().for_each(|b| queue.push(b, now));
        self.wake(&queue, now);
    }

    /// All that the connection sent has been read: it may be waiting for us. Or no more so.
    pub fn set_drained(&self, connection: ConnectionId, drained: bool) {
        let mut queue = self.queue.lock();
        queue.planner.drained(connection, drained);
        self.wake(&queue, self.env.clock.monotonic());
    }

    /// Flushes are at least this far apart from now on.
    pub fn slow_down(&self, spacing: Duration) {
        self.queue.lock().planner.slow_down(spacing);
    }

    /// The connection is gone.
    pub fn forget(&self, connection: &Connection) {
        connection.gone(self.env.clock.monotonic());
        self.queue.lock().planner.forget(connection.id);
    }

    /// Lets go of what was answered as dropped.
    pub fn some_expired(&self) {
        self.queue.lock().some_expired();
        self.changed.notify_one();
    }

    /// Bytes that wait for a flush.
    pub fn pending(&self) -> u64 {
        self.queue.lock().planner.pending()
    }

    fn wake(&self, queue: &Queue, now: Duration) {
        if queue.should_wake(now) {
            self.changed.notify_one();
        }
    }

    /// Takes nothing more, flushes everything and waits until it is answered, at most `limit`.
    pub async fn shutdown(&self, limit: Duration) {
        self.queue.lock().close();
        self.changed.notify_one();
        let drained = async {
            loop {
                let settled = self.settled.notified();
                if self.driver_done.load(Ordering::Acquire) && self.queue.lock().planner.unsettled() == 0 {
                    return;
                }
                settled.await;
            }
        };
        tokio::select! {
            biased;
            () = drained => {}
            () = self.env.clock.sleep(limit) => {
                tracing::warn!("stopping with records that are not stored; their producers were told so");
                self.queue.lock().refuse_rest();
            }
        }
    }

    fn start(&self, taken: Taken, started: &mpsc::UnboundedSender<Started>, stream: &Arc<Stream>) {
        let Taken { number, shape, reason, batches } = taken;
        let now = self.env.clock.monotonic();
        batches.iter().for_each(|b| self.metrics.stage(Stage::Wait, now.saturating_sub(b.queued)));
        let flush = assemble(batches);
        let bytes = flush.len;
        self.metrics.flush(shape, reason, bytes);
        let body = match shape {
            Shape::Inline => Content::Inline(flush),
            Shape::Segment => Content::Segment(tokio::spawn(Arc::clone(stream).upload(flush))),
        };
        // The receiver lives until this sender is gone.
        let _ = started.send(Started { number, shape, bytes, body });
    }

    async fn upload(self: Arc<Self>, flush: Assembled) -> (Assembled, Option<Segment>) {
        let start = self.env.clock.monotonic();
        let segment = upload(&self.manifest, &*self.store, &self.env, &self.segments, &flush).await;
        if let Some(segment) = &segment {
            self.ring.insert(DataObject::Segment(segment.name), segment.chunks.clone());
        }
        self.metrics.stage(Stage::Upload, self.env.clock.monotonic().saturating_sub(start));
        self.queue.lock().planner.uploaded();
        self.changed.notify_one();
        (flush, segment)
    }

    /// Groups what is still wanted and submits it; returns before the outcome is known.
    async fn submit(self: &Arc<Self>, started: Started) {
        let (flush, grouped, inline, named_by) = match started.body {
            Content::Inline(flush) => {
                let grouped = flush.group(Place::Inline(InlinePlace {}), 0);
                let inline = flush.chunks.clone();
                (flush, grouped, inline, None)
            }
            Content::Segment(uploading) => match uploading.await {
                Ok((flush, Some(segment))) => {
                    let grouped = flush.group(place(&segment), segment::PAYLOAD_START);
                    (flush, grouped, Vec::new(), Some(segment.name.node))
                }
                Ok((flush, None)) => {
                    // Nobody waits for it, or the node stops.
                    flush.batches.iter().for_each(|b| self.finish(b, Err(AppendError::Stopping)));
                    return self.settle_one(started.shape, started.bytes);
                }
                Err(error) => {
                    tracing::error!(%error, "an upload task failed");
                    return self.settle_one(started.shape, started.bytes);
                }
            },
        };
        let Some(Grouped { op, members }) = grouped else {
            return self.settle_one(started.shape, started.bytes);
        };
        let ticket = self.manifest.submit(vec![OpKind::Append(op).into()], inline);
        let at = self.env.clock.monotonic();
        let submitted = Submitted { number: started.number, shape: started.shape, at, flush, members, named_by };
        let stream = Arc::clone(self);
        tokio::spawn(async move { stream.settle(submitted, ticket.await) });
    }

    fn settle(&self, group: Submitted, result: Result<Receipt, SubmitError>) {
        let (now, shape, bytes) = (self.env.clock.monotonic(), group.shape, group.flush.len);
        self.metrics.stage(Stage::Commit, now.saturating_sub(group.at));
        match result.map(|mut receipt| receipt.outcomes.pop()) {
            Ok(Some(OpOutcome::Appended(outcomes))) => {
                let flat = group.members.iter().flatten().zip(outcomes.iter().flatten());
                flat.for_each(|(&index, outcome)| self.finish(&group.flush.batches[index], answer(outcome)));
            }
            Ok(Some(OpOutcome::OutsideWindow)) => self.flush_again(group, now),
            // Fenced between naming and submitting: the segment bears the name of the incarnation before.
            Ok(Some(OpOutcome::Refused)) if group.named_by.is_some_and(|i| i != self.manifest.incarnation()) => {
                self.flush_again(group, now);
            }
            Ok(outcome) => {
                tracing::error!(?outcome, "an append was refused as a whole");
                self.finish_all(&group, &AppendError::TimedOut);
            }
            // It may have been sent: nobody knows whether it applies.
            Err(SubmitError::Fenced | SubmitError::Stopped(_)) => {
                self.finish_all(&group, &AppendError::TimedOutUnderWay);
            }
        }
        self.settle_one(shape, bytes);
    }

    /// The segment's name was not valid any more, so nothing was stored. What has no successor from its connection is flushed once more; for
    /// the rest that would break the connection's order, so its client is asked to send again.
    fn flush_again(&self, group: Submitted, now: Duration) {
        let mut queue = self.queue.lock();
        let mut again = Vec::new();
        for &index in group.members.iter().flatten() {
            let batch = &group.flush.batches[index];
            if batch.connection.last_flush() != group.number || queue.is_closed() {
                self.finish(batch, Err(AppendError::TimedOut));
            } else if batch.request.requeue(batch.index) {
                again.push(batch.clone());
            }
        }
        // Within a connection, requests came in this order.
        again.sort_by_key(|b| b.queued);
        queue.push_front(again, now);
        self.wake(&queue, now);
    }

    fn finish_all(&self, group: &Submitted, error: &AppendError) {
        for &index in group.members.iter().flatten() {
            self.finish(&group.flush.batches[index], Err(error.clone()));
        }
    }

    fn finish(&self, batch: &Batch, mut outcome: Outcome) {
        if let Ok(appended) = &mut outcome {
            appended.log_append_time = batch.log_append_time;
        }
        batch.request.finish(batch.index, outcome);
    }

    fn settle_one(&self, shape: Shape, bytes: u64) {
        self.queue.lock().planner.settled(shape, bytes);
        self.changed.notify_one();
        self.settled.notify_waiters();
    }
}

async fn drive(stream: Arc<Stream>, started: mpsc::UnboundedSender<Started>) {
    loop {
        let commit_p50 = stream.manifest.commit_p50();
        let now = stream.env.clock.monotonic();
        let step = stream.queue.lock().step(now, commit_p50);
        match step {
            Step::Start(taken) => stream.start(taken, &started, &stream),
            Step::WakeAt(at) => {
                tokio::select! {
                    biased;
                    () = stream.changed.notified() => {}
                    () = stream.env.clock.sleep(at.saturating_sub(now)) => {}
                }
            }
            Step::Sleep => stream.changed.notified().await,
            Step::Finished => break,
        }
    }
    stream.driver_done.store(true, Ordering::Release);
    stream.settled.notify_waiters();
}

async fn submit_in_order(stream: Arc<Stream>, mut flushes: mpsc::UnboundedReceiver<Started>) {
    while let Some(started) = flushes.recv().await {
        stream.submit(started).await;
    }
}

fn place(segment: &Segment) -> Place {
    Place::Segment(SegmentPlace {
        fence: segment.name.fence.0,
        node: segment.name.node.0,
        number: segment.name.number,
        total_len: segment.total_len,
    })
}

fn answer(outcome: &BatchOutcome) -> Outcome {
    match *outcome {
        BatchOutcome::Appended { base_offset, log_start_offset }
        | BatchOutcome::Duplicate { base_offset, log_start_offset } => {
            Ok(Appended { base_offset, log_append_time: -1, log_start_offset })
        }
        BatchOutcome::UnknownPartition => Err(AppendError::UnknownPartition),
        BatchOutcome::OutOfOrderSequence => Err(AppendError::OutOfOrderSequence),
        BatchOutcome::InvalidProducerEpoch => Err(AppendError::InvalidProducerEpoch),
        BatchOutcome::UnknownProducerId => Err(AppendError::UnknownProducerId),
        BatchOutcome::ProducersExhausted => Err(AppendError::ProducersExhausted),
        BatchOutcome::OffsetsExhausted => Err(AppendError::OffsetsExhausted),
    }
}
