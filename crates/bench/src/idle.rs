//! `bench idle`: what connections cost that have said hello and then nothing more.

use lakebed_store::env::Env;

use crate::args::IdleArgs;
use crate::connection::Connection;
use crate::probe::Probe;
use crate::report::{Report, Run};
use crate::tally::Tally;
use crate::wire;

pub async fn idle(args: &IdleArgs, env: &Env) -> anyhow::Result<Report> {
    let target = &args.target;
    Connection::open(&target.bootstrap).await?.ensure_topic(&target.topic, target.partitions).await?;
    let probe = Probe::new(&args.measuring)?;
    let before = probe.read().await?;
    let start = env.clock.monotonic();
    let mut tally = Tally::new(target.duration, args.measuring.windows);
    let mut connections = Vec::new();
    for _ in 0..target.connections {
        let asked = env.clock.monotonic();
        let mut connection = Connection::open(&target.bootstrap).await?;
        connection.call(wire::api_versions).await?;
        connection.call(|c| wire::metadata(c, &target.topic)).await?;
        tally.latency(asked - start, env.clock.monotonic() - asked);
        connections.push(connection);
    }
    env.clock.sleep(target.duration).await;
    let usage = probe.read().await?.since(&before);
    let seconds = (env.clock.monotonic() - start).as_secs_f64();
    drop(connections);
    Ok(Report::new(Run { mode: "idle", target, seconds }, &tally, usage))
}
