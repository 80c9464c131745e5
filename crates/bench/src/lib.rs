//! `lakebed bench`: an open-loop load generator for brokers that speak the Kafka protocol, ours or another.
//!
//! It has a small client of its own, so that it measures the broker and not a client library: one request per batch, any
//! number under way, no retries. The pure parts are apart: [`histogram`], `schedule`, `wire`, `cost`, `report`.

mod args;
mod connection;
mod cost;
mod delay;
mod fetch;
pub mod histogram;
mod idle;
mod payload;
mod probe;
mod produce;
mod report;
mod schedule;
mod tally;
mod wire;

use std::io::Write;

use anyhow::{Context, ensure};
use lakebed_store::env::Env;

pub use crate::args::Args;
use crate::args::{Format, What};
use crate::report::Report;

/// Runs and prints to standard output. Fails after printing if anything went wrong with a record or a request.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let env = Env::system();
    match &args.what {
        What::Produce(a) => print(&produce::produce(a, &env).await?, a.measuring.format),
        What::Fetch(a) => print(&fetch::fetch(a, &env).await?, a.measuring.format),
        What::Idle(a) => print(&idle::idle(a, &env).await?, a.measuring.format),
        What::Delay(a) => delay::delay(a, &env).await,
    }
}

fn print(report: &Report, format: Format) -> anyhow::Result<()> {
    let text = match format {
        Format::Table => report.table(),
        Format::Json => serde_json::to_string(report)? + "\n",
    };
    std::io::stdout().write_all(text.as_bytes()).context("cannot write the report")?;
    let failed: u64 = report.errors.values().sum();
    ensure!(failed == 0, "{failed} records or requests failed");
    Ok(())
}
