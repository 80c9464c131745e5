//! The command line, as typed. It is a contract: scripts outside this repository rely on these names and defaults.

use std::num::NonZeroU32;

use clap::{Args, Parser, Subcommand, ValueEnum};
use lakebed_http::Origin;
use lakebed_store::url::StoreUrl;

use crate::config::HostPort;

/// A message broker whose only state is a bucket.
///
/// Without a subcommand it serves.
#[derive(Debug, Parser)]
#[command(name = "lakebed", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub serve: ServeArgs,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve Kafka clients (what happens without a subcommand, too)
    Serve(ServeArgs),
    /// Try whether a store keeps the promises that Lakebed relies on
    Doctor(DoctorArgs),
    /// Show what a bucket holds, also when no node runs; reads only
    Inspect(InspectArgs),
    /// Compare a bucket with its manifest: what is missing, damaged or left over
    Fsck(FsckArgs),
    /// Load a broker and measure
    Bench(lakebed_bench::Args),
}

#[derive(Args, Debug)]
pub struct ServeArgs {
    /// Where everything is kept: file:///directory, s3://bucket/prefix or memory:// [default: ./lakebed-data]
    ///
    /// S3 settings come from the standard AWS variables and credential chain: AWS_ENDPOINT_URL, AWS_REGION,
    /// AWS_ACCESS_KEY_ID, AWS_PROFILE and so on.
    #[arg(long, value_name = "URL")]
    pub store: Option<StoreUrl>,

    /// Listen for Kafka clients here; repeatable, port 0 picks a free one [default: 127.0.0.1:9092 and [::1]:9092]
    #[arg(long, value_name = "HOST:PORT")]
    pub kafka_listen: Vec<HostPort>,

    /// Listen for HTTP here: the API under /v1, /healthz, /readyz, /metrics; repeatable [default: 127.0.0.1:8080 and [::1]:8080]
    #[arg(long, value_name = "HOST:PORT")]
    pub http_listen: Vec<HostPort>,

    /// Pages of this origin may use the HTTP API from a browser (CORS); repeatable [default: none]
    #[arg(long, value_name = "ORIGIN")]
    pub http_cors_origin: Vec<Origin>,

    /// The address that Kafka clients are told to use [default: the first Kafka listener; localhost for a wildcard or
    /// loopback one]
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise: Option<HostPort>,

    /// What to optimise: acknowledgement latency, a balance, or the number of requests to the store
    #[arg(long, value_enum, default_value_t = FlushProfile::Balanced)]
    pub flush: FlushProfile,

    /// Start at most so many flushes (PUT requests) a second [default: no limit]
    #[arg(long, value_name = "N")]
    pub flush_max_puts_per_second: Option<NonZeroU32>,

    /// Bytes for records in memory: buffered, tail and cache; KiB, MiB and GiB are understood [default: a quarter of the
    /// machine's or cgroup's memory]
    #[arg(long, value_name = "BYTES", value_parser = crate::memory::parse_bytes)]
    pub memory_budget: Option<u64>,

    /// Partitions of a topic that is created without saying how many
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(i32).range(1..=10_000))]
    pub default_partitions: i32,

    /// Do not create a topic because somebody asks for it
    #[arg(long)]
    pub no_auto_create_topics: bool,

    /// Merge small segments, and delete what nothing needs any more: slots, snapshots and segments (being tried out: not
    /// yet for data that matters)
    #[arg(long)]
    pub cleaning: bool,

    /// Divide all waiting times of the log and of cleaning by N; fixed when the bucket is first used. For tests
    #[arg(long, value_name = "N", default_value = "1", hide_short_help = true,
        value_parser = clap::value_parser!(u32).range(1..=lakebed_manifest::Waits::MAX_SCALE as i64))]
    pub time_scale: u32,

    /// Whether a slow request to the store is sent a second time. For measurements
    #[arg(long, value_enum, default_value_t = Hedging::On, hide_short_help = true)]
    pub hedging: Hedging,

    /// Delay every request to the store as that kind of store would: to try out what it would feel like
    #[arg(long, value_enum, default_value_t = StoreProfile::None)]
    pub store_profile: StoreProfile,

    /// Allow listeners that other machines can reach, although nobody has to log in
    #[arg(long)]
    pub remote_without_login: bool,

    /// How log lines on standard error look; RUST_LOG chooses what is logged (default: info)
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// The store to try: file:///directory, s3://bucket/prefix or memory://
    #[arg(long, value_name = "URL")]
    pub store: StoreUrl,

    /// How log lines on standard error look
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

#[derive(Args, Debug)]
pub struct InspectArgs {
    /// The store to look at: file:///directory or s3://bucket/prefix [default: ./lakebed-data]
    #[arg(long, value_name = "URL", global = true)]
    pub store: Option<StoreUrl>,

    #[command(subcommand)]
    pub what: Inspect,
}

#[derive(Debug, Subcommand)]
pub enum Inspect {
    /// The cluster: CURRENT, snapshots, nodes, topics, what waits to be deleted
    State,
    /// Commits, a line each
    Log {
        /// The first slot [default: so that the last commits are shown]
        #[arg(long, value_name = "SLOT")]
        from: Option<u64>,
        /// How many slots
        #[arg(long, value_name = "N", default_value_t = 20)]
        slots: u64,
    },
    /// One commit with its groups and ops
    Slot { slot: u64 },
    /// The record batches in a segment, given its key, or in a commit, given its slot; the entries of an index page
    Segment { key: String },
    /// The index of one partition: its offsets, and which bytes of which object hold them
    Partition {
        topic: String,
        partition: i32,
        #[arg(long, default_value = "default")]
        namespace: String,
    },
}

#[derive(Args, Debug)]
pub struct FsckArgs {
    /// The store to check: file:///directory or s3://bucket/prefix [default: ./lakebed-data]
    #[arg(long, value_name = "URL")]
    pub store: Option<StoreUrl>,

    /// Read every record batch and check its CRC-32C; without it lists and metadata are read only
    #[arg(long)]
    pub read: bool,

    /// Delete what nothing needs and nothing ever will
    #[arg(long)]
    pub remove_orphans: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FlushProfile {
    Latency,
    Balanced,
    Economy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Hedging {
    On,
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StoreProfile {
    None,
    S3Standard,
    S3Express,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}
