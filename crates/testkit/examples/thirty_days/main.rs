//! Simulated weeks of a small cluster that works and cleans: does anything grow with its age?
//!
//! Two whole nodes on one bucket in memory with S3's latencies, on simulated time. Producers with ids come and go, records are
//! kept for a day and topics for two, hourly bursts make segments; every eight hours a node is replaced, every other time
//! without a word. At the end of each day all records are read back and counted, and one line of tab-separated numbers is
//! printed: what the state holds, the newest snapshot's bytes, objects, requests of that day, what a start took.
//!
//!     cargo run --release -p lakebed-testkit --example thirty_days -- [days, 30 by default]

mod cluster;
mod day;
mod traffic;

use std::time::Duration;

use cluster::Cluster;
use day::{Day, Started};
use lakebed_testkit::time::TrueTime;
use traffic::Traffic;

const STEP: Duration = Duration::from_secs(5);
const STEPS_PER_HOUR: u32 = 720;
const REPLACED_EVERY_HOURS: u32 = 8;

fn main() {
    let days = std::env::args().nth(1).map_or(30, |n| n.parse().expect("the number of days"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(run(days));
}

async fn run(days: u32) {
    let time = TrueTime::start();
    let mut cluster = Cluster::start(time).await;
    let mut traffic = Traffic::start(&cluster, time).await;
    println!("{}", Day::HEAD);
    let (mut before, mut starts) = (cluster.requests(), Vec::new());
    for number in 1..=days {
        traffic.begin_day(&cluster, number).await;
        for hour in 0..24 {
            one_hour(&cluster, &mut traffic, time).await;
            if hour % REPLACED_EVERY_HOURS == 0 {
                starts.push(replace(&mut cluster, number + hour / REPLACED_EVERY_HOURS).await);
            }
        }
        let read = traffic.read_everything(&cluster).await;
        let now = cluster.requests();
        println!("{}", Day::take(number, &cluster, &now.since(&before), &starts, read).await);
        before = cluster.requests();
        starts.clear();
    }
    cluster.stop().await;
}

/// Everything is due at its step, however long the one before took.
async fn one_hour(cluster: &Cluster, traffic: &mut Traffic, time: TrueTime) {
    let start = time.now();
    for step in 0..STEPS_PER_HOUR {
        traffic.step(cluster).await;
        tokio::time::sleep((start + STEP * (step + 1)).saturating_sub(time.now())).await;
    }
    traffic.burst(cluster).await;
    traffic.truncate(cluster).await;
}

async fn replace(cluster: &mut Cluster, turn: u32) -> Started {
    let node = (turn % 2) as usize;
    if (turn / 2).is_multiple_of(2) {
        cluster.kill(node).await
    } else {
        cluster.sign_off(node).await
    }
    cluster.start_node(node).await
}
