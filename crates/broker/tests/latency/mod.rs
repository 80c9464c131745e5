//! How long producers wait on the latencies of S3, in simulated time: what the broker adds to a PUT, and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lakebed_broker::{Broker, BrokerConfig, FlushProfile};
use lakebed_store::env::{Entropy, Env};
use lakebed_store::memory::MemoryStore;
use lakebed_store::metered::{Metered, Operation};
use lakebed_store::profile::{Profile, Profiled};
use tokio::time::Instant;

use super::MS;
use super::support::*;

struct SplitMix(AtomicU64);

impl Entropy for SplitMix {
    fn u64(&self) -> u64 {
        let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[derive(Debug)]
struct Run {
    /// ms from sending to the answer.
    p50: f64,
    p99: f64,
    puts_per_second: f64,
}

/// 200 messages a second over one connection for so many seconds.
async fn run(flush: FlushProfile, seconds: u32, seed: u64) -> Run {
    let env = Env { entropy: Arc::new(SplitMix(AtomicU64::new(seed))), ..env(1) };
    let store = Arc::new(MemoryStore::new(&env));
    let store = Arc::new(Metered::new(Arc::new(Profiled::new(store, Profile::S3Standard, &env)), &env));
    let config = BrokerConfig { flush, ..config() };
    let broker = Broker::open(store.clone(), env, config).await.expect("the broker opens");
    let t = topic(&broker, "t", 1, &[]).await;
    let mut producer = broker.producer();
    let start = Instant::now();
    let mut answers = Vec::new();
    for n in 0..seconds * 200 {
        tokio::time::sleep_until(start + 5 * n * MS).await;
        let answer = producer.append(vec![append(t.id, 0, numbered(n, 1024))], Duration::from_secs(30));
        producer.set_waiting(true);
        answers.push(tokio::spawn(async move {
            let sent = Instant::now();
            answer.await[0].as_ref().expect("stored");
            sent.elapsed().as_secs_f64() * 1000.0
        }));
    }
    let mut took = Vec::new();
    for answer in answers {
        took.push(answer.await.expect("answered"));
    }
    took.sort_by(f64::total_cmp);
    let at = |part: f64| took[(took.len() as f64 * part) as usize];
    let creates = store.snapshot().counts.into_iter().filter(|(op, ..)| *op == Operation::Create);
    let puts: u64 = creates.map(|(_, _, count)| count.requests).sum();
    broker.shutdown().await;
    Run { p50: at(0.5), p99: at(0.99), puts_per_second: puts as f64 / start.elapsed().as_secs_f64() }
}

/// The mean of so many runs.
async fn mean(flush: FlushProfile, seconds: u32, seeds: u32) -> Run {
    let mut mean = Run { p50: 0.0, p99: 0.0, puts_per_second: 0.0 };
    for seed in 1..=seeds {
        let run = run(flush, seconds, seed.into()).await;
        mean.p50 += run.p50 / f64::from(seeds);
        mean.p99 += run.p99 / f64::from(seeds);
        mean.puts_per_second += run.puts_per_second / f64::from(seeds);
    }
    mean
}

/// The targets are p50 <= 1.6 × 45 = 72 ms and p99 <= 200 ms, measured from the client: a few ms of that are not the broker's.
#[tokio::test(start_paused = true)]
async fn profile_latency() {
    let run = mean(FlushProfile::Latency, 300, 10).await;
    assert!(run.p50 <= 69.0 && run.p99 <= 180.0 && run.puts_per_second <= 50.0, "{run:?}");
}

#[tokio::test(start_paused = true)]
async fn profile_balanced() {
    let run = run(FlushProfile::Balanced, 600, 1).await;
    assert!(run.p50 <= 120.0 && run.p99 <= 250.0 && run.puts_per_second <= 12.0, "{run:?}");
}
