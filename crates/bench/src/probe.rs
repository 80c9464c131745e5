//! What a run cost its broker: processor time and memory from Linux's /proc, object store requests from its metrics.

use std::collections::BTreeMap;

use anyhow::{Context, anyhow, ensure};
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::args::Measuring;
use crate::cost::Requests;

/// Kernel's USER_HZ: 100 on every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// The counter of store requests in Lakebed's metrics, and its label for the kind.
const STORE_REQUESTS: &str = "lakebed_store_requests_total";
const KIND: &str = "kind";

pub struct Probe {
    pid: Option<u32>,
    metrics: Option<Address>,
}

/// One reading.
pub struct Reading {
    process: Option<Process>,
    requests: Option<Requests>,
}

#[derive(Clone, Copy, Debug)]
struct Process {
    cpu_seconds: f64,
    resident: u64,
    peak: u64,
}

/// The difference of two readings.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    pub broker: Option<BrokerUsage>,
    pub requests: Option<Requests>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct BrokerUsage {
    pub cpu_seconds: f64,
    pub rss_before_mb: f64,
    pub rss_mb: f64,
    /// Since the broker started.
    pub peak_rss_mb: f64,
}

impl Probe {
    pub fn new(measuring: &Measuring) -> anyhow::Result<Probe> {
        let metrics = measuring.metrics.as_deref().map(Address::parse).transpose()?;
        Ok(Probe { pid: measuring.broker_pid, metrics })
    }

    pub async fn read(&self) -> anyhow::Result<Reading> {
        let process = self.pid.map(process).transpose()?;
        let requests = match &self.metrics {
            Some(address) => Some(requests_by_kind(&address.get().await?)),
            None => None,
        };
        Ok(Reading { process, requests })
    }
}

impl Reading {
    pub fn since(&self, before: &Reading) -> Usage {
        let broker = self.process.zip(before.process).map(|(now, then)| BrokerUsage {
            cpu_seconds: now.cpu_seconds - then.cpu_seconds,
            rss_before_mb: then.resident as f64 / 1e6,
            rss_mb: now.resident as f64 / 1e6,
            peak_rss_mb: now.peak as f64 / 1e6,
        });
        let requests = self.requests.as_ref().zip(before.requests.as_ref()).map(|(now, then)| {
            now.iter().map(|(kind, n)| (kind.clone(), n - then.get(kind).copied().unwrap_or(0.0))).collect()
        });
        Usage { broker, requests }
    }
}

fn process(pid: u32) -> anyhow::Result<Process> {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}"));
    let no_process = || format!("cannot read what process {pid} uses");
    let (stat, status) = (read("stat").with_context(no_process)?, read("status").with_context(no_process)?);
    let odd = || anyhow!("/proc/{pid} is not understood");
    Ok(Process {
        cpu_seconds: cpu_seconds(&stat).ok_or_else(odd)?,
        resident: memory(&status, "VmRSS:").ok_or_else(odd)?,
        peak: memory(&status, "VmHWM:").ok_or_else(odd)?,
    })
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    // The second field is the command in parentheses and may hold anything, spaces too.
    let mut after = stat[stat.rfind(')')? + 1..].split_whitespace().skip(11);
    let (user, system): (f64, f64) = (after.next()?.parse().ok()?, after.next()?.parse().ok()?);
    Some((user + system) / TICKS_PER_SECOND)
}

fn memory(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix(field))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

/// An `http://host:port/path`.
struct Address {
    authority: String,
    path: String,
}

impl Address {
    fn parse(url: &str) -> anyhow::Result<Address> {
        let rest = url.strip_prefix("http://").with_context(|| format!("{url} is not an http:// address"))?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let path = if path.is_empty() { "/metrics" } else { path };
        Ok(Address { authority: authority.to_owned(), path: path.to_owned() })
    }

    async fn get(&self) -> anyhow::Result<String> {
        let Address { authority, path } = self;
        let failed = || format!("no metrics from http://{authority}{path}");
        let mut socket = TcpStream::connect(authority).await.with_context(failed)?;
        // 1.0: the body ends where the connection does.
        let request = format!("GET {path} HTTP/1.0\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.with_context(failed)?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.with_context(failed)?;
        let (head, body) = answer.split_once("\r\n\r\n").with_context(failed)?;
        let status = head.split_whitespace().nth(1);
        ensure!(status == Some("200"), "http://{authority}{path} answered {}", status.unwrap_or("nothing"));
        Ok(body.to_owned())
    }
}

/// Sums the counter over all other labels; lines that are something else are left out.
fn requests_by_kind(text: &str) -> Requests {
    let mut requests = BTreeMap::new();
    for line in text.lines().filter_map(|l| l.strip_prefix(STORE_REQUESTS)) {
        let Some((labels, value)) = line.strip_prefix('{').and_then(|l| l.rsplit_once("} ")) else { continue };
        let Ok(value) = value.trim().parse::<f64>() else { continue };
        let label = labels.split(',').filter_map(|l| l.split_once('=')).find(|(name, _)| name.trim() == KIND);
        if let Some((_, kind)) = label {
            *requests.entry(kind.trim_matches('"').to_owned()).or_insert(0.0) += value;
        }
    }
    requests
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernel_s_files() {
        assert_eq!(memory("VmPeak:\t 9 kB\nVmRSS:\t    2048 kB\n", "VmRSS:"), Some(2 << 20));
        assert_eq!(cpu_seconds("1 (a) b) S 0 1 1 0 -1 4194560 1 2 3 4 250 50 0 0 20 0 1 0 5 6 7"), Some(3.0));
    }

    #[test]
    fn sums_requests_over_outcomes() {
        let text = "# TYPE lakebed_store_requests counter\n\
            lakebed_store_requests_total{kind=\"put\",outcome=\"ok\"} 7\n\
            lakebed_store_requests_total{outcome=\"error\",kind=\"put\"} 2\n\
            lakebed_store_requests_total{kind=\"get\",outcome=\"ok\"} 1.5e1\n\
            lakebed_store_requests_total_bytes 9\n";
        assert_eq!(requests_by_kind(text), [("get".to_owned(), 15.0), ("put".to_owned(), 9.0)].into());
    }

    #[test]
    fn addresses() {
        let address = Address::parse("http://[::1]:8080").expect("valid");
        assert_eq!((address.authority.as_str(), address.path.as_str()), ("[::1]:8080", "/metrics"));
        assert!(Address::parse("https://localhost/metrics").is_err());
    }
}
