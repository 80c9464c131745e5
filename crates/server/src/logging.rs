//! Log lines on standard error, as text or JSON. RUST_LOG filters; without it, `info` but for what the AWS credential
//! chain looks up in vain. Whoever reads standard error may go away: a line that cannot be written is lost, and the node
//! goes on.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use tracing_subscriber::EnvFilter;

use crate::cli::LogFormat;

pub fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,aws_config=error"));
    // What tracing-subscriber says about a failed write, it says with a macro that panics where writes fail.
    let builder = tracing_subscriber::fmt().with_env_filter(filter).log_internal_errors(false);
    let builder = builder.with_writer(|| Lossy(io::stderr()));
    match format {
        LogFormat::Text => builder.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().init(),
    }
}

/// A line on standard error that scripts or people wait for, whatever the log format.
pub fn say(line: fmt::Arguments<'_>) {
    // In one write, lest other lines come between; whoever does not listen does not get it.
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Takes everything, also what the inner writer does not.
struct Lossy<W>(W);

impl<W: Write> Write for Lossy<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = self.0.flush();
        Ok(())
    }
}
