//! `bench fetch`: reads a topic with plain fetch requests, one under way on each connection.
//!
//! Partitions are dealt out to the connections in turn. From the start it reads up to where the partitions ended when the
//! run began, and latency is that of a request; from the end it follows for the whole duration, and latency is the age of
//! a batch's newest record.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::ensure;
use lakebed_record::batch::batches;
use lakebed_store::env::Env;
use tokio::task::JoinSet;

use crate::args::{FetchArgs, From};
use crate::connection::Connection;
use crate::probe::Probe;
use crate::report::{Report, Run};
use crate::tally::Tally;
use crate::wire::{self, FetchLimits};

const MAX_WAIT_MS: i32 = 500;

pub async fn fetch(args: &FetchArgs, env: &Env) -> anyhow::Result<Report> {
    let target = &args.target;
    Connection::open(&target.bootstrap).await?.ensure_topic(&target.topic, target.partitions).await?;
    let mut readers = Vec::new();
    for number in 0..target.connections.min(target.partitions as u32) {
        readers.push(Reader::open(args, env, number).await?);
    }
    let probe = Probe::new(&args.measuring)?;
    let before = probe.read().await?;
    let start = env.clock.monotonic();
    let mut running = JoinSet::new();
    readers.into_iter().for_each(|reader| drop(running.spawn(reader.read(start))));
    let mut tally = Tally::new(target.duration, args.measuring.windows);
    while let Some(one) = running.join_next().await {
        tally.merge(&one?);
    }
    let seconds = (env.clock.monotonic() - start).as_secs_f64();
    let usage = probe.read().await?.since(&before);
    Ok(Report::new(Run { mode: "fetch", target, seconds }, &tally, usage))
}

/// One connection and its partitions.
struct Reader {
    args: FetchArgs,
    env: Env,
    connection: Connection,
    /// Where to go on in each partition.
    next: BTreeMap<i32, i64>,
    /// Where to stop.
    end: BTreeMap<i32, i64>,
}

impl Reader {
    async fn open(args: &FetchArgs, env: &Env, number: u32) -> anyhow::Result<Reader> {
        let target = &args.target;
        let mut connection = Connection::open(&target.bootstrap).await?;
        let partitions: Vec<i32> = (number as i32..target.partitions).step_by(target.connections as usize).collect();
        let earliest = connection.offsets(&target.topic, &partitions, wire::EARLIEST).await?;
        let latest = connection.offsets(&target.topic, &partitions, wire::LATEST).await?;
        let by_partition = |offsets: Vec<i64>| partitions.iter().copied().zip(offsets).collect::<BTreeMap<_, _>>();
        let (earliest, latest) = (by_partition(earliest), by_partition(latest));
        let (next, end) = match args.from {
            From::Earliest => (earliest, latest),
            From::Latest => (latest, BTreeMap::new()),
        };
        Ok(Reader { args: args.clone(), env: env.clone(), connection, next, end })
    }

    async fn read(mut self, start: Duration) -> Tally {
        let mut tally = Tally::new(self.args.target.duration, self.args.measuring.windows);
        while let Some(from) = self.wanted(self.env.clock.monotonic() - start) {
            if let Err(error) = self.step(start, &from, &mut tally).await {
                tally.error(format!("{error:#}"), 1);
                break;
            }
        }
        tally
    }

    /// The partitions that are not read to their end and where to go on; None: done.
    fn wanted(&self, now: Duration) -> Option<Vec<(i32, i64)>> {
        let open = |(p, offset): &(&i32, &i64)| self.end.get(p).is_none_or(|end| *offset < end);
        let from: Vec<_> = self.next.iter().filter(open).map(|(p, offset)| (*p, *offset)).collect();
        (now < self.args.target.duration && !from.is_empty()).then_some(from)
    }

    async fn step(&mut self, start: Duration, from: &[(i32, i64)], tally: &mut Tally) -> anyhow::Result<()> {
        let limits = FetchLimits {
            max_wait_ms: MAX_WAIT_MS,
            min_bytes: 1,
            max_bytes: self.args.max_bytes,
            partition_max_bytes: self.args.partition_max_bytes,
        };
        let topic = self.args.target.topic.clone();
        let asked = self.env.clock.monotonic() - start;
        let answer = self.connection.call(|c| wire::fetch(c, &topic, from, limits)).await?;
        let arrived = self.env.clock.monotonic() - start;
        let (error, partitions) = wire::read_fetch(answer)?;
        ensure!(error == 0, "error {error}");
        if self.args.from == From::Earliest {
            tally.latency(asked, arrived - asked);
        }
        for fetched in partitions {
            ensure!(fetched.error == 0, "error {}", fetched.error);
            self.take(fetched.partition, &fetched.records, arrived, tally)?;
        }
        Ok(())
    }

    fn take(&mut self, partition: i32, records: &[u8], arrived: Duration, tally: &mut Tally) -> anyhow::Result<()> {
        let wall = self.env.clock.wall_ms();
        let next = self.next.entry(partition).or_default();
        // The last batch may be cut off; every client leaves it and asks again.
        for (header, batch) in batches(records).map_while(Result::ok) {
            let after = header.base_offset + i64::from(header.last_offset_delta) + 1;
            ensure!(after > *next && header.base_offset <= *next, "a gap in partition {partition} at offset {next}");
            *next = after;
            tally.records += header.count as u64;
            tally.bytes += batch.len() as u64;
            if self.args.from == From::Latest {
                tally.latency(arrived, Duration::from_millis((wall - header.max_timestamp).max(0) as u64));
            }
        }
        Ok(())
    }
}
