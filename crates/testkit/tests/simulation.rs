//! Whole nodes, random clients, every fault: many seeds, each repeatable.
//!
//! `LAKEBED_SIM_SEEDS=n` runs n seeds (default 200), from `LAKEBED_SIM_FIRST` on (default 1); `LAKEBED_SIM_SEED=n` runs one
//! and prints its trace; with `LAKEBED_SIM_LOG` set, it prints the nodes' logs as well.
//! `LAKEBED_SIM_VERBOSE` tells which seeds are under way.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use lakebed_testkit::faults::Fault;
use lakebed_testkit::sim::{self, Report};
use lakebed_testkit::trace::Lines;

const DEFAULT_SEEDS: u64 = 200;
/// Seeds run on this many threads.
const THREADS: usize = 2;
/// Fewer seeds than this need not show every fault and outcome.
const SEEDS_THAT_SHOW_ALL: u64 = 200;

/// Besides the faults, what must have happened at least once.
const OUTCOMES: &[&str] = &[
    "outcome connection lost",
    "outcome damage refused",
    "outcome fetch cut by a limit",
    "outcome fetch empty",
    "outcome fetch first batch past max_bytes",
    "outcome fetch out of range",
    "outcome fetch records",
    "outcome floor moved",
    "outcome jump over the floor",
    "outcome merge applied",
    "outcome merge refused, an input was gone",
    "outcome page deleted",
    "outcome page sealed",
    "outcome producer expired",
    "outcome segment deleted",
    "outcome silent node signed off",
    "outcome slot deleted",
    "outcome slot made anew below the floor",
    "outcome snapshot index deleted",
    "outcome snapshot part deleted",
    "outcome tombstone dropped",
    "outcome truncated by retention",
    "outcome fetch several partitions",
    "outcome fetch unknown partition",
    "outcome node serves",
    "outcome offset by time found",
    "outcome offset by time none",
    "outcome offsets listed",
    "outcome poll in time",
    "outcome poll timed out",
    "outcome poll woken",
    "outcome produce acknowledged",
    "outcome produce out of order sequence",
    "outcome produce stopping",
    "outcome produce timed out under way",
    "outcome produce timed out, dropped",
    "outcome produce unanswered",
    "outcome produce unknown partition",
    "outcome producer id granted",
    "outcome snapshot swapped",
    "outcome start failed",
    "outcome topic created",
    "outcome topic deleted",
    "outcome topic exists",
    "outcome topic found",
    "operation resend",
    "LogAppendTime batches in the end",
    "segments in the end",
    "snapshots in the end",
    "batches in the end",
];

/// Seeds that show what is rare as well.
const SEEDS_THAT_SHOW_RARE: u64 = 2000;

/// What happens in one run of some hundred.
const RARE: &[&str] = &[
    "outcome create unavailable",
    "outcome delete unavailable",
    "outcome fetch storage error",
    "outcome fetch unavailable",
    "outcome halted by its clock",
    "outcome offsets unavailable",
    "outcome producer id unavailable",
    "outcome second look",
    "outcome segment outside its window",
    "outcome topic unavailable",
];

fn number<T: FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok().map(|v| v.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 1..=10 {
        let (first, second) = (sim::run(seed, Lines::Kept), sim::run(seed, Lines::Kept));
        assert!(!first.trace.is_empty());
        let differ = first.trace.lines().zip(second.trace.lines()).position(|(a, b)| a != b);
        if let Some(line) = differ {
            let show = |text: &str| text.lines().skip(line.saturating_sub(3)).take(5).collect::<Vec<_>>().join("\n");
            panic!("seed {seed} differs in line {line}:\n{}\n---\n{}", show(&first.trace), show(&second.trace));
        }
        assert_eq!(first.trace_hash, second.trace_hash);
    }
}

#[test]
fn invariants_hold() {
    if let Some(seed) = number("LAKEBED_SIM_SEED") {
        return one(seed);
    }
    let seeds = number("LAKEBED_SIM_SEEDS").unwrap_or(DEFAULT_SEEDS);
    let first = number("LAKEBED_SIM_FIRST").unwrap_or(1);
    let counts = many(first, seeds);
    let summary: String = counts.iter().map(|(name, n)| format!("{n:>10}  {name}\n")).collect();
    println!("{seeds} seeds from {first}:\n{summary}");
    if seeds >= SEEDS_THAT_SHOW_ALL {
        let faults = Fault::ALL.iter().map(|f| format!("fault {f:?}"));
        let rare = if seeds >= SEEDS_THAT_SHOW_RARE { RARE } else { &[] };
        let expected = faults.chain(OUTCOMES.iter().chain(rare).map(ToString::to_string));
        let missing: Vec<_> = expected.filter(|name| !counts.contains_key(name)).collect();
        assert!(missing.is_empty(), "never happened: {missing:?}");
    }
}

fn one(seed: u64) {
    if std::env::var_os("LAKEBED_SIM_LOG").is_some() {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        tracing_subscriber::fmt().without_time().with_env_filter(filter).with_writer(std::io::stdout).init();
    }
    let report = sim::run(seed, Lines::Printed);
    println!("{:?}", report.counts);
    assert!(report.violations.is_empty(), "{}", failure(&report));
}

fn failure(report: &Report) -> String {
    let seed = report.seed;
    let what = report.violations.iter().take(10).cloned().collect::<Vec<_>>().join("\n  ");
    format!(
        "seed {seed}:\n  {what}\nrerun: LAKEBED_SIM_SEED={seed} cargo test -p lakebed-testkit --test simulation invariants_hold -- --nocapture"
    )
}

/// Runs the seeds; stops at the first failure and panics with it.
fn many(first: u64, seeds: u64) -> BTreeMap<String, u64> {
    let next = AtomicU64::new(first);
    let counts = Mutex::new(BTreeMap::new());
    let failed = Mutex::new(None);
    let verbose = std::env::var_os("LAKEBED_SIM_VERBOSE").is_some();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds || failed.lock().expect("no panic").is_some() {
                        return;
                    }
                    if verbose {
                        eprintln!("seed {seed}");
                    }
                    let report = sim::run(seed, Lines::Dropped);
                    if verbose {
                        eprintln!("seed {seed}: {:?} simulated, {} events", report.simulated, report.events);
                    }
                    let mut counts = counts.lock().expect("no panic");
                    report.counts.iter().for_each(|(name, n)| *counts.entry(name.clone()).or_insert(0) += n);
                    if !report.violations.is_empty() {
                        failed.lock().expect("no panic").get_or_insert_with(|| failure(&report));
                    }
                }
            });
        }
    });
    if let Some(failure) = failed.into_inner().expect("no panic") {
        panic!("{failure}");
    }
    counts.into_inner().expect("no panic")
}
