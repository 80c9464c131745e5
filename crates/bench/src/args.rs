//! The command line of `lakebed bench`, as typed.

use std::time::Duration;

use clap::{Subcommand, ValueEnum};

/// Load a Kafka broker at a fixed rate and measure.
///
/// Speaks the Kafka protocol, so any broker can be measured. The load is open loop: records are due at times that do not
/// depend on the answers, and latency counts from the time a record was due, not from when it could be sent.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(subcommand)]
    pub what: What,
}

#[derive(Clone, Debug, Subcommand)]
pub enum What {
    /// Send records at a fixed rate and measure their acknowledgement
    Produce(ProduceArgs),
    /// Read records and measure throughput, or from the end: how old records are when they arrive
    Fetch(FetchArgs),
    /// Open connections that do nothing, and see what they cost
    Idle(IdleArgs),
    /// Stand between a client and a broker and delay every answer
    Delay(DelayArgs),
}

#[derive(clap::Args, Clone, Debug)]
pub struct Target {
    /// The broker; every request goes to this one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    pub bootstrap: String,

    /// The topic; created if it is not there
    #[arg(long, default_value = "bench")]
    pub topic: String,

    /// How many partitions a topic is created with, and used by the load
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..))]
    pub partitions: i32,

    /// How many connections carry the load
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub connections: u32,

    /// How long: 500ms, 60s, 10m
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub duration: Duration,
}

#[derive(clap::Args, Clone, Debug)]
pub struct Measuring {
    /// Cut the run into so many windows, each with percentiles of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub windows: u32,

    /// Process id of the broker: its CPU seconds and resident memory are reported (Linux)
    #[arg(long, value_name = "PID")]
    pub broker_pid: Option<u32>,

    /// Lakebed's metrics, such as http://127.0.0.1:8080/metrics: object store requests and their cost are reported
    ///
    /// Cost per GB = (PUT × $0.005 + GET × $0.0004) / 1000 / GB sent + $0.023 for the first month of storage, the prices of
    /// S3 Standard in us-east-1 as of November 2026. Every attempt counts, failed ones too. LIST is priced as PUT, HEAD as
    /// GET; DELETE is free; transfer within the region is free.
    #[arg(long, value_name = "URL")]
    pub metrics: Option<String>,

    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Table,
    Json,
}

#[derive(clap::Args, Clone, Debug)]
pub struct ProduceArgs {
    #[command(flatten)]
    pub target: Target,

    /// Records a second on each connection
    #[arg(long, value_name = "N", default_value_t = 200.0, value_parser = positive)]
    pub rate: f64,

    /// Bytes of random value in each record
    #[arg(long, value_name = "BYTES", default_value_t = 1024)]
    pub record_size: usize,

    /// Wait so long for more records before a batch is sent
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub linger_ms: u64,

    /// Send a batch when it has so many bytes of values
    #[arg(long, value_name = "BYTES", default_value_t = 1_000_000)]
    pub batch_size: usize,

    #[arg(long, value_enum, default_value_t = Acks::All)]
    pub acks: Acks,

    #[command(flatten)]
    pub measuring: Measuring,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Acks {
    #[value(name = "1")]
    Leader,
    #[value(name = "all", alias = "-1")]
    All,
}

#[derive(clap::Args, Clone, Debug)]
pub struct FetchArgs {
    #[command(flatten)]
    pub target: Target,

    /// Read what is there when the run starts and stop, or wait for what is yet to come
    #[arg(long, value_enum, default_value_t = From::Earliest)]
    pub from: From,

    /// At most so many bytes of one partition in an answer
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20)]
    pub partition_max_bytes: i32,

    /// At most so many bytes in an answer
    #[arg(long, value_name = "BYTES", default_value_t = 50 << 20)]
    pub max_bytes: i32,

    #[command(flatten)]
    pub measuring: Measuring,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum From {
    /// Latency is the time of a request
    Earliest,
    /// Latency is the age of a batch's newest record on arrival, by the wall clocks of producer and reader
    Latest,
}

#[derive(clap::Args, Clone, Debug)]
pub struct IdleArgs {
    #[command(flatten)]
    pub target: Target,

    #[command(flatten)]
    pub measuring: Measuring,
}

#[derive(clap::Args, Clone, Debug)]
pub struct DelayArgs {
    /// Where clients connect; the broker must advertise this address
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: String,

    /// The broker
    #[arg(long, value_name = "HOST:PORT")]
    pub to: String,

    /// How long every answer is held back; answers under way at the same time wait at the same time
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub by: Duration,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(n) if n.is_finite() && n > 0.0 => Ok(n),
        _ => Err("must be a number above 0".to_owned()),
    }
}

/// A number with the unit ms, s or m.
fn duration(text: &str) -> Result<Duration, String> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let seconds_per_unit = match &text[unit_at..] {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        _ => return Err("must be a number with a unit, such as 500ms, 60s or 10m".to_owned()),
    };
    positive(&text[..unit_at]).map(|n| Duration::from_secs_f64(n * seconds_per_unit))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn durations() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        for odd in ["", "10", "s", "0s", "-1s", "10h", "1..2s"] {
            assert!(duration(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn defaults_and_refusals() {
        let cli = Cli::try_parse_from(["bench", "produce", "--acks", "1", "--duration", "2m"]).expect("valid");
        let What::Produce(produce) = cli.args.what else { panic!("produce") };
        assert_eq!((produce.acks, produce.target.partitions, produce.record_size), (Acks::Leader, 1, 1024));
        for odd in [["--rate", "0"], ["--connections", "0"], ["--partitions", "-1"], ["--windows", "0"]] {
            assert!(Cli::try_parse_from(["bench", "produce", odd[0], odd[1]]).is_err(), "{odd:?}");
        }
    }
}
