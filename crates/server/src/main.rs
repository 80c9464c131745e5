//! The binary `lakebed`: reads the command line, wires the crates together, and turns whatever goes wrong into one
//! sentence and an exit code. It owns no state: a crash of this process loses nothing that was acknowledged.

mod cli;
mod config;
mod doctor;
mod fsck;
mod inspect;
mod listen;
mod logging;
mod memory;
mod metrics;
mod node;
mod open;
mod output;
mod probe;
mod serve;
mod signals;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

/// Threads for the file store's system calls. Each keeps a heap of some MB for ever, as work goes round among all of them: what a
/// burst has started never rests long enough to end.
const BLOCKING_THREADS: usize = 24;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    small_pages();
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            logging::say(format_args!("lakebed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Buffers are short-lived and large; the first touch of a huge page zeroes 2 MiB, and on a virtual machine that returned
/// it to its host also fetches it back: docs/benchmarks.md has the numbers. A kernel without the switch is as good.
fn small_pages() {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let command = cli.command.unwrap_or(Command::Serve(cli.serve));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().max_blocking_threads(BLOCKING_THREADS).build()?;
    let outcome = match command {
        Command::Serve(args) => {
            logging::start(args.log_format);
            let config = config::Config::resolve(args)?;
            runtime.block_on(serve::serve(config))
        }
        Command::Doctor(args) => {
            logging::start(args.log_format);
            runtime.block_on(doctor::doctor(args))
        }
        Command::Inspect(args) => {
            logging::start(cli::LogFormat::Text);
            runtime.block_on(inspect::inspect(args))
        }
        Command::Fsck(args) => {
            logging::start(cli::LogFormat::Text);
            runtime.block_on(fsck::fsck(args))
        }
        Command::Bench(args) => {
            logging::start(cli::LogFormat::Text);
            runtime.block_on(lakebed_bench::run(args))
        }
    };
    // What still runs waits for a store that does not answer; nothing of it was acknowledged.
    runtime.shutdown_background();
    outcome
}
