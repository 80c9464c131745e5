//! What the requests and the storage would cost on S3. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

/// US dollars, S3 Standard in us-east-1, November 2026.
const PER_PUT: f64 = 0.005 / 1000.0;
const PER_GET: f64 = 0.0004 / 1000.0;
const PER_GB_MONTH: f64 = 0.023;

/// Requests by kind (`put`, `get`, `head`, `list`, `delete`), every attempt counted.
pub type Requests = BTreeMap<String, f64>;

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cost {
    pub requests_usd_per_gb: f64,
    /// A month of keeping it.
    pub storage_usd_per_gb_month: f64,
    pub usd_per_gb: f64,
}

/// For `gb` (10^9 bytes of values) sent.
pub fn per_gb(requests: &Requests, gb: f64) -> Cost {
    let price = |(kind, n): (&String, &f64)| n * price_of(kind);
    let requests_usd_per_gb = if gb > 0.0 { requests.iter().map(price).sum::<f64>() / gb } else { 0.0 };
    Cost { requests_usd_per_gb, storage_usd_per_gb_month: PER_GB_MONTH, usd_per_gb: requests_usd_per_gb + PER_GB_MONTH }
}

fn price_of(kind: &str) -> f64 {
    match kind {
        "delete" => 0.0,
        "get" | "head" => PER_GET,
        _ => PER_PUT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_puts_a_second_at_thirty_megabytes_a_second() {
        let requests = [("put", 600.0), ("get", 1000.0), ("list", 1.0), ("delete", 5.0)];
        let requests = requests.map(|(kind, n)| (kind.to_owned(), n)).into();
        let cost = per_gb(&requests, 1.8);
        assert!((cost.requests_usd_per_gb - (601.0 * 5e-6 + 1000.0 * 4e-7) / 1.8).abs() < 1e-12);
        assert!((cost.usd_per_gb - cost.requests_usd_per_gb - 0.023).abs() < 1e-12);
    }

    #[test]
    fn nothing_sent_costs_nothing_per_gb() {
        assert_eq!(per_gb(&Requests::new(), 0.0).requests_usd_per_gb, 0.0);
    }
}
