//! `bench produce`: records at a fixed rate, and how long after they were due each was acknowledged.
//!
//! Every connection has a sender that follows its [`Schedule`] and a receiver that matches answers in order; they share
//! nothing but a queue of what is under way. A connection that breaks ends there: its remaining records count as errors.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Buf;
use lakebed_record::batch::BatchBuilder;
use lakebed_store::env::{Clock, Env};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::args::{Acks, ProduceArgs};
use crate::connection::{Connection, Receiver};
use crate::payload::Payload;
use crate::probe::Probe;
use crate::report::{Report, Run};
use crate::schedule::Schedule;
use crate::tally::Tally;
use crate::wire;

/// Values under way on one connection, at most; past it the sender waits and what is due meanwhile is late.
const MAX_UNDER_WAY_BYTES: usize = 256 << 20;

/// How long after the end answers are waited for.
const GRACE: Duration = Duration::from_secs(35);

pub async fn produce(args: &ProduceArgs, env: &Env) -> anyhow::Result<Report> {
    let target = &args.target;
    Connection::open(&target.bootstrap).await?.ensure_topic(&target.topic, target.partitions).await?;
    let mut connections = Vec::new();
    for _ in 0..target.connections {
        connections.push(Connection::open(&target.bootstrap).await?);
    }
    let payload = Payload::new(env.entropy.u64(), args.record_size);
    let probe = Probe::new(&args.measuring)?;
    let before = probe.read().await?;
    let start = env.clock.monotonic();
    let mut running = JoinSet::new();
    for (number, connection) in (0..).zip(connections) {
        let load =
            Load { args: args.clone(), schedule: schedule(args, number), clock: env.clock.clone(), start, number };
        running.spawn(drive(Arc::new(load), connection, payload.another(number)));
    }
    let mut tally = Tally::new(target.duration, args.measuring.windows);
    while let Some(one) = running.join_next().await {
        tally.merge(&one?);
    }
    let seconds = (env.clock.monotonic() - start).as_secs_f64();
    let usage = probe.read().await?.since(&before);
    Ok(Report::new(Run { mode: "produce", target, seconds }, &tally, usage))
}

fn schedule(args: &ProduceArgs, number: u32) -> Schedule {
    let interval = Duration::from_secs_f64(1.0 / args.rate);
    Schedule {
        phase: interval * number / args.target.connections,
        rate: args.rate,
        linger: Duration::from_millis(args.linger_ms),
        batch_records: (args.batch_size / args.record_size.max(1)).max(1) as u64,
        end: args.target.duration,
    }
}

/// What sender and receiver of one connection share.
struct Load {
    args: ProduceArgs,
    schedule: Schedule,
    clock: Arc<dyn Clock>,
    start: Duration,
    number: u32,
}

impl Load {
    fn now(&self) -> Duration {
        self.clock.monotonic() - self.start
    }
}

/// A request that has no answer yet: the records `first .. first + records`.
struct UnderWay {
    correlation: i32,
    first: u64,
    records: u64,
}

async fn drive(load: Arc<Load>, connection: Connection, payload: Payload) -> Tally {
    let batch_bytes = load.args.batch_size.max(load.args.record_size);
    let (queue, under_way) = mpsc::channel((MAX_UNDER_WAY_BYTES / batch_bytes.max(1)).clamp(4, 10_000));
    let Connection { sender, receiver, .. } = connection;
    let sending = tokio::spawn(send(load.clone(), sender, payload, queue));
    let mut tally = receive(&load, receiver, under_way).await;
    match sending.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tally.error(format!("{error:#}"), 1),
        Err(panicked) => tally.error(panicked.to_string(), 1),
    }
    tally
}

async fn send(
    load: Arc<Load>,
    mut socket: OwnedWriteHalf,
    mut payload: Payload,
    queue: mpsc::Sender<UnderWay>,
) -> anyhow::Result<()> {
    let (mut first, mut correlation) = (0, 0);
    while let Some(at) = load.schedule.send_at(first) {
        let now = load.now();
        if at > now {
            load.clock.sleep(at - now).await;
        }
        let records = load.schedule.batch_at(first, load.now());
        correlation += 1;
        let batch = batch(records, &mut payload, load.clock.wall_ms());
        let partition = ((u64::from(load.number) + correlation as u64) % load.args.target.partitions as u64) as i32;
        let acks = if load.args.acks == Acks::All { -1 } else { 1 };
        let head = wire::produce_head(correlation, &load.args.target.topic, partition, acks, batch.len());
        if queue.send(UnderWay { correlation, first, records }).await.is_err() {
            return Ok(()); // the receiver has given up and said why
        }
        socket.write_all_buf(&mut head.chain(batch)).await.context("cannot send")?;
        first += records;
    }
    // Closing our half of the socket would tell the broker that nobody waits for answers.
    queue.closed().await;
    Ok(())
}

fn batch(records: u64, payload: &mut Payload, timestamp: i64) -> bytes::Bytes {
    let mut builder = BatchBuilder::new();
    for _ in 0..records {
        builder.push(timestamp, None, Some(payload.next_value()), []);
    }
    builder.build()
}

async fn receive(load: &Load, mut receiver: Receiver, mut under_way: mpsc::Receiver<UnderWay>) -> Tally {
    let mut tally = Tally::new(load.args.target.duration, load.args.measuring.windows);
    let give_up = load.args.target.duration + GRACE;
    let mut answered = 0;
    while load.schedule.send_at(answered).is_some() {
        let Some(request) = under_way.recv().await else { break };
        let left = give_up.saturating_sub(load.now());
        let error = match tokio::time::timeout(left, receiver.answer(request.correlation)).await {
            Ok(Ok(answer)) => wire::read_produce(answer).map_err(anyhow::Error::from),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(anyhow::anyhow!("no answer in time")),
        };
        match error {
            Ok(0) => count(&mut tally, load, &request),
            Ok(code) => tally.error(format!("error {code}"), request.records),
            Err(error) => {
                tally.error(format!("{error:#}"), request.records);
                break;
            }
        }
        answered = request.first + request.records;
    }
    tally
}

fn count(tally: &mut Tally, load: &Load, request: &UnderWay) {
    let now = load.now();
    for record in request.first..request.first + request.records {
        let due = load.schedule.due(record);
        tally.latency(due, now.saturating_sub(due));
    }
    tally.records += request.records;
    tally.bytes += request.records * load.args.record_size as u64;
}
