//! What a run found, as a table or as JSON. Pure.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use crate::args::Target;
use crate::cost::{self, Cost};
use crate::histogram::Histogram;
use crate::probe::{BrokerUsage, Usage};
use crate::tally::Tally;

/// What was run.
pub struct Run<'a> {
    pub mode: &'static str,
    pub target: &'a Target,
    /// From the start until the last answer.
    pub seconds: f64,
}

/// MB and GB are 10^6 and 10^9 bytes of values (fetch: of record batches).
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub mode: &'static str,
    pub topic: String,
    pub partitions: i32,
    pub connections: u32,
    pub seconds: f64,
    pub records: u64,
    pub records_per_s: f64,
    pub mb_per_s: f64,
    pub latency: Latency,
    /// The first and the last 30 % of the windows: does it get worse?
    pub p99_first_windows_ms: f64,
    pub p99_last_windows_ms: f64,
    pub windows: Vec<Window>,
    pub errors: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker: Option<BrokerUsage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker_cpu_s_per_gb: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_requests_per_s: Option<BTreeMap<String, f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    pub count: u64,
    pub mean_ms: f64,
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Window {
    pub from_s: f64,
    #[serde(flatten)]
    pub latency: Latency,
}

impl Latency {
    fn of(h: &Histogram) -> Latency {
        let quantile = |share| ms(h.quantile(share));
        Latency {
            count: h.count(),
            mean_ms: h.mean() / 1000.0,
            p50_ms: quantile(0.5),
            p90_ms: quantile(0.9),
            p99_ms: quantile(0.99),
            p999_ms: quantile(0.999),
            max_ms: ms(h.max()),
        }
    }
}

fn ms(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

impl Report {
    pub fn new(run: Run<'_>, tally: &Tally, usage: Usage) -> Report {
        let gb = tally.bytes as f64 / 1e9;
        let (first, last) = tally.edges();
        let windows = tally.windows();
        let per_second = |(kind, n): (&String, &f64)| (kind.clone(), n / run.seconds);
        Report {
            mode: run.mode,
            topic: run.target.topic.clone(),
            partitions: run.target.partitions,
            connections: run.target.connections,
            seconds: run.seconds,
            records: tally.records,
            records_per_s: tally.records as f64 / run.seconds,
            mb_per_s: gb * 1000.0 / run.seconds,
            latency: Latency::of(&tally.all()),
            p99_first_windows_ms: ms(first.quantile(0.99)),
            p99_last_windows_ms: ms(last.quantile(0.99)),
            windows: windows.map(|(from, h)| Window { from_s: from.as_secs_f64(), latency: Latency::of(h) }).collect(),
            errors: tally.errors.clone(),
            broker: usage.broker,
            broker_cpu_s_per_gb: usage.broker.filter(|_| gb > 0.0).map(|b| b.cpu_seconds / gb),
            store_requests_per_s: usage.requests.as_ref().map(|r| r.iter().map(per_second).collect()),
            cost: usage.requests.as_ref().filter(|_| gb > 0.0).map(|r| cost::per_gb(r, gb)),
        }
    }

    pub fn table(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.write_table(&mut out);
        out
    }

    fn write_table(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "{} {}: {} partitions, {} connections, {:.1} s",
            self.mode, self.topic, self.partitions, self.connections, self.seconds
        )?;
        writeln!(out, "throughput   {:.1} MB/s, {:.0} records/s", self.mb_per_s, self.records_per_s)?;
        writeln!(out, "latency ms        p50      p90      p99    p99.9      max    count")?;
        row(out, "all", &self.latency)?;
        if self.windows.len() > 1 {
            for window in &self.windows {
                row(out, &format!("{:.0} s", window.from_s), &window.latency)?;
            }
            let (first, last) = (self.p99_first_windows_ms, self.p99_last_windows_ms);
            writeln!(out, "p99 of the first 30 % {first:.1} ms, of the last {last:.1} ms")?;
        }
        for (what, n) in &self.errors {
            writeln!(out, "errors       {n} × {what}")?;
        }
        self.write_usage(out)
    }

    fn write_usage(&self, out: &mut String) -> std::fmt::Result {
        if let Some(b) = &self.broker {
            let per_gb = self.broker_cpu_s_per_gb.map_or(String::new(), |c| format!(" ({c:.2} per GB)"));
            writeln!(out, "broker       {:.2} CPU seconds{per_gb}", b.cpu_seconds)?;
            let (before, now, peak) = (b.rss_before_mb, b.rss_mb, b.peak_rss_mb);
            writeln!(out, "memory       {before:.1} MB before, {now:.1} MB after, {peak:.1} MB at most")?;
        }
        if let Some(requests) = &self.store_requests_per_s {
            let rates: Vec<String> = requests.iter().map(|(kind, n)| format!("{n:.2} {kind}/s")).collect();
            writeln!(out, "store        {}", rates.join(", "))?;
        }
        if let Some(c) = &self.cost {
            let (requests, month) = (c.requests_usd_per_gb, c.storage_usd_per_gb_month);
            writeln!(
                out,
                "cost per GB  ${:.4} = requests ${requests:.4} + a month of storage ${month:.4}",
                c.usd_per_gb
            )?;
        }
        Ok(())
    }
}

fn row(out: &mut String, name: &str, l: &Latency) -> std::fmt::Result {
    writeln!(
        out,
        "{name:<12} {:>8.1} {:>8.1} {:>8.1} {:>8.1} {:>8.1} {:>8}",
        l.p50_ms, l.p90_ms, l.p99_ms, l.p999_ms, l.max_ms, l.count
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn says_all_that_was_measured() {
        let mut tally = Tally::new(Duration::from_secs(2), 2);
        for n in 1..=100_u64 {
            tally.latency(Duration::from_millis(n * 20), Duration::from_millis(n));
        }
        tally.records = 100;
        tally.bytes = 2_000_000;
        tally.error("error 7", 3);
        let broker = BrokerUsage { cpu_seconds: 0.5, rss_before_mb: 30.0, rss_mb: 40.0, peak_rss_mb: 50.0 };
        let requests = [("put".to_owned(), 20.0)].into();
        let target = Target {
            bootstrap: "localhost:9092".into(),
            topic: "t".into(),
            partitions: 1,
            connections: 2,
            duration: Duration::from_secs(2),
        };
        let usage = Usage { broker: Some(broker), requests: Some(requests) };
        let report = Report::new(Run { mode: "produce", target: &target, seconds: 2.0 }, &tally, usage);
        let expected = "\
produce t: 1 partitions, 2 connections, 2.0 s
throughput   1.0 MB/s, 50 records/s
latency ms        p50      p90      p99    p99.9      max    count
all              50.2     90.1     99.3    100.0    100.0      100
0 s              25.1     45.1     49.0     49.0     49.0       49
1 s              75.3     95.2    100.0    100.0    100.0       51
p99 of the first 30 % 49.0 ms, of the last 100.0 ms
errors       3 × error 7
broker       0.50 CPU seconds (250.00 per GB)
memory       30.0 MB before, 40.0 MB after, 50.0 MB at most
store        10.00 put/s
cost per GB  $0.0730 = requests $0.0500 + a month of storage $0.0230
";
        assert_eq!(report.table(), expected);
        let json = serde_json::to_value(&report).expect("serializes");
        assert_eq!(json["windows"][1]["count"], 51);
        assert_eq!(json["errors"]["error 7"], 3);
    }
}
