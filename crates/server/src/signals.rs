//! SIGTERM, SIGINT and SIGHUP: the first one asks for an orderly end, a second one leaves at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

pub struct Signals {
    term: Signal,
    int: Signal,
    /// None where whoever started this process wants it to outlive the terminal, as `nohup` does.
    hup: Option<Signal>,
}

impl Signals {
    /// From now on no such signal ends the process by itself.
    pub fn install() -> io::Result<Signals> {
        let ignored = ignores_hangup(&std::fs::read_to_string("/proc/self/status").unwrap_or_default());
        Ok(Signals {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: if ignored { None } else { Some(signal(SignalKind::hangup())?) },
        })
    }

    /// The name of the next signal.
    pub async fn next(&mut self) -> &'static str {
        let Signals { term, int, hup } = self;
        let hangup = async {
            match hup {
                Some(hup) => hup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = term.recv() => "SIGTERM",
            _ = int.recv() => "SIGINT",
            _ = hangup => "SIGHUP",
        }
    }
}

/// Of Linux's /proc/self/status: the lowest bit of the mask is signal 1.
fn ignores_hangup(status: &str) -> bool {
    let mask = status.lines().find_map(|l| l.strip_prefix("SigIgn:"));
    mask.and_then(|m| u64::from_str_radix(m.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_tells_what_nohup_did() {
        assert!(ignores_hangup("SigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n"));
        assert!(!ignores_hangup("SigBlk:\t0000000000000001\nSigIgn:\t0000000000001000\n"));
        assert!(!ignores_hangup(""));
    }
}
