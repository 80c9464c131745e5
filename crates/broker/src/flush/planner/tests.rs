//! Producers as schedules, flushes as the planner decides, commits that take a fixed time: simulated time, ms.

use std::num::NonZeroU32;

use super::super::connection;
use super::*;

const KIB: u64 = 1 << 10;

#[derive(Clone, Copy)]
enum Client {
    /// Sends `bytes` every `every` ms; its socket is drained between two sends.
    Open { every: u64, bytes: u64 },
    /// Sends `bytes`, and again as soon as it is answered.
    Closed { bytes: u64 },
}

#[derive(Debug, Default, PartialEq)]
struct Run {
    puts_per_second: f64,
    /// ms from sending to the answer.
    p50: u64,
    max: u64,
    largest: u64,
}

/// Client, when, bytes.
type Sent = (usize, u64, u64);

struct Sending {
    client: Client,
    connection: connection::Connection,
    next: Option<u64>,
}

fn policy(flush: FlushProfile, max_puts: Option<u32>) -> Policy {
    let mut config = BrokerConfig::new("localhost", 9092, 1 << 30);
    config.flush = flush;
    config.flush_max_puts_per_second = max_puts.and_then(NonZeroU32::new);
    Policy::new(&config)
}

/// Ten seconds; a PUT takes `put` ms.
fn run(policy: Policy, clients: &[Client], put: u64) -> Run {
    let mut planner = Planner::new(policy);
    let mut sending: Vec<_> = clients
        .iter()
        .enumerate()
        .map(|(n, c)| Sending {
            client: *c,
            connection: connection::Connection::new(ConnectionId(n as u64), String::new()),
            next: Some(0),
        })
        .collect();
    let mut waiting: Vec<Sent> = Vec::new();
    let mut under_way: Vec<(u64, Shape, Vec<Sent>)> = Vec::new();
    let (mut puts, mut largest, mut latencies) = (0, 0, Vec::new());
    const END: u64 = 10_000;
    for now in 0..END {
        let at = Duration::from_millis(now);
        let (done, rest): (Vec<_>, Vec<_>) = under_way.into_iter().partition(|(until, ..)| *until <= now);
        under_way = rest;
        for (_, shape, requests) in done {
            planner.settled(shape, requests.iter().map(|r| r.2).sum());
            if shape == Shape::Segment {
                planner.uploaded();
            }
            for (client, sent, _) in requests {
                latencies.push(now - sent);
                sending[client].connection.request_ended(at);
                if let Client::Closed { .. } = sending[client].client {
                    sending[client].next = Some(now + 2);
                }
            }
        }
        for (id, s) in sending.iter_mut().enumerate() {
            if s.next.is_none_or(|next| next > now) {
                continue;
            }
            let (bytes, next) = match s.client {
                Client::Open { every, bytes } => (bytes, Some(now + every)),
                Client::Closed { bytes } => (bytes, None),
            };
            s.next = next;
            let _reported = s.connection.request_came(at);
            planner.pushed(s.connection.id, s.connection.window(), bytes, at);
            planner.drained(s.connection.id, true);
            waiting.push((id, now, bytes));
        }
        if let Decision::Flush(_, shape) = planner.decide(at, Duration::from_millis(put)) {
            let requests = std::mem::take(&mut waiting);
            let bytes = requests.iter().map(|r| r.2).sum();
            planner.started(shape, bytes, at);
            for (id, _, bytes) in &requests {
                planner.taken(ConnectionId(*id as u64), *bytes);
            }
            puts += u64::from(shape.puts());
            largest = largest.max(bytes);
            under_way.push((now + put * u64::from(shape.puts()), shape, requests));
        }
    }
    latencies.sort_unstable();
    let p50 = latencies.get(latencies.len() / 2).copied().unwrap_or(0);
    let max = latencies.last().copied().unwrap_or(0);
    Run { puts_per_second: puts as f64 * 1000.0 / END as f64, p50, max, largest }
}

#[test]
fn balanced_at_200_messages_a_second() {
    let run = run(policy(FlushProfile::Balanced, None), &[Client::Open { every: 5, bytes: 1100 }], 45);
    assert!(run.puts_per_second <= 12.0 && run.p50 <= 100 && run.max <= 150, "{run:?}");
}

#[test]
fn latency_at_200_messages_a_second() {
    let run = run(policy(FlushProfile::Latency, None), &[Client::Open { every: 5, bytes: 1100 }], 45);
    assert!(run.p50 <= 72 && run.max <= 80, "{run:?}");
}

#[test]
fn twenty_slow_connections() {
    let run = run(policy(FlushProfile::Balanced, None), &[Client::Open { every: 100, bytes: 1100 }; 20], 45);
    assert!(run.puts_per_second <= 12.0 && run.max <= 150, "{run:?}");
}

#[test]
fn thirty_megabytes_a_second_stay_within_the_put_rates() {
    let client = [Client::Open { every: 33, bytes: 1_000_000 }];
    let balanced = run(policy(FlushProfile::Balanced, None), &client, 45);
    assert!(balanced.puts_per_second <= 12.0, "{balanced:?}");
    let economy = run(policy(FlushProfile::Economy, None), &client, 45);
    assert!(economy.puts_per_second <= 6.0, "{economy:?}");
}

#[test]
fn a_full_window_flushes_as_early_as_the_rate_allows() {
    let one = run(policy(FlushProfile::Balanced, None), &[Client::Closed { bytes: 5 * 16 * KIB }], 45);
    // The credit is spent once: three more PUTs in these ten seconds.
    assert!(one.p50 <= 87 && one.puts_per_second <= 12.3, "{one:?}");
    // Sixteen partitions: more than fits inline otherwise, but one PUT beats two.
    let sixteen = run(policy(FlushProfile::Balanced, None), &[Client::Closed { bytes: 5 * 16 * 16 * KIB }], 60);
    assert!(sixteen.p50 <= 87 && sixteen.puts_per_second <= 12.3, "{sixteen:?}");
}

#[test]
fn fast_producers_flush_by_size() {
    let run = run(policy(FlushProfile::Balanced, None), &[Client::Open { every: 2, bytes: 1_000_000 }], 45);
    assert!(run.largest < 10 * MIB && run.max <= 120, "{run:?}");
}

#[test]
fn the_cost_cap_holds_for_every_start() {
    for clients in [vec![Client::Open { every: 5, bytes: 1100 }], vec![Client::Open { every: 10, bytes: 1_000_000 }]] {
        let run = run(policy(FlushProfile::Balanced, Some(3)), &clients, 45);
        assert!(run.puts_per_second <= 3.2, "{run:?}");
    }
}

#[test]
fn the_first_record_after_an_idle_time_goes_at_once() {
    let mut planner = Planner::new(policy(FlushProfile::Economy, None));
    let at = Duration::from_secs;
    for now in [0, 100] {
        assert_eq!(planner.decide(at(now), Duration::ZERO), Decision::Idle);
        planner.pushed(ConnectionId(1), Window::Open, 100, at(now));
        assert_eq!(planner.decide(at(now), Duration::ZERO), Decision::Flush(Reason::Gap, Shape::Inline));
        planner.started(Shape::Inline, 100, at(now));
        planner.taken(ConnectionId(1), 100);
        planner.settled(Shape::Inline, 100);
    }
}

/// How many flushes of so many bytes start while none settles.
fn start_all(planner: &mut Planner, bytes: u64) -> usize {
    let mut started = 0;
    for second in 0..200 {
        planner.pushed(ConnectionId(1), Window::Open, bytes, Duration::from_secs(second));
        while let Decision::Flush(_, shape) = planner.decide(Duration::from_secs(second), Duration::ZERO) {
            planner.taken(ConnectionId(1), planner.pending());
            planner.started(shape, bytes, Duration::from_secs(second));
            started += 1;
        }
    }
    started
}

#[test]
fn too_much_under_way_holds_the_next_flush_back() {
    let mut planner = Planner::new(policy(FlushProfile::Latency, None));
    assert_eq!(start_all(&mut planner, MIB), planner.policy.max_uploads);
    planner.uploaded();
    planner.settled(Shape::Segment, MIB);
    assert!(matches!(planner.decide(Duration::from_secs(300), Duration::ZERO), Decision::Flush(..)));
}

#[test]
fn records_wait_for_company_while_the_log_takes_no_more_commits() {
    let mut planner = Planner::new(policy(FlushProfile::Latency, None));
    assert_eq!(start_all(&mut planner, 1000) as u64, PIPELINE);
    planner.settled(Shape::Inline, 1000);
    let now = Duration::from_secs(300);
    assert_eq!(planner.decide(now, Duration::ZERO), Decision::Flush(Reason::Gap, Shape::Inline));
    planner.started(Shape::Inline, 1000, now);
    planner.taken(ConnectionId(1), planner.pending());
    planner.pushed(ConnectionId(1), Window::Open, MIB, now);
    assert!(matches!(planner.decide(now * 2, Duration::ZERO), Decision::Flush(_, Shape::Segment)));
}

#[test]
fn what_is_under_way_never_exceeds_the_memory_for_requests_by_more_than_a_flush() {
    let mut small = BrokerConfig::new("localhost", 9092, 4 * MIB as usize);
    small.cache_bytes = 0;
    small.flush = FlushProfile::Economy;
    let mut planner = Planner::new(Policy::new(&small));
    assert_eq!(start_all(&mut planner, 300 * KIB), 14);
    planner.settled(Shape::Segment, 300 * KIB);
    assert!(matches!(planner.decide(Duration::from_secs(300), Duration::ZERO), Decision::Flush(..)));
}

#[test]
fn closing_does_not_wait() {
    let mut planner = Planner::new(policy(FlushProfile::Economy, Some(1)));
    planner.started(Shape::Segment, 100, Duration::from_millis(10));
    planner.pushed(ConnectionId(1), Window::Open, 100, Duration::from_millis(11));
    assert!(matches!(planner.decide(Duration::from_millis(11), Duration::ZERO), Decision::WakeAt(_)));
    planner.close();
    let decision = planner.decide(Duration::from_millis(11), Duration::ZERO);
    assert_eq!(decision, Decision::Flush(Reason::Closing, Shape::Inline));
}

#[test]
fn a_commit_that_took_hours_does_not_hold_up_the_next_flush() {
    let mut planner = Planner::new(policy(FlushProfile::Latency, None));
    planner.started(Shape::Inline, KIB, Duration::ZERO);
    planner.settled(Shape::Inline, KIB);
    planner.pushed(ConnectionId(1), Window::Open, KIB, Duration::ZERO);
    let Decision::WakeAt(at) = planner.decide(Duration::ZERO, Duration::from_secs(25 * 3600)) else {
        panic!("a flush has just started");
    };
    assert!(at <= Duration::from_secs(1), "{at:?}");
}
