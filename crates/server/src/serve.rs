//! `lakebed serve`: listeners, store, broker and front ends in that order, and the way down.
//!
//! What is up is said in one line each on standard error. A crash at any point leaves nothing that the next start has to
//! clean up; whatever was acknowledged is in the store.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lakebed_broker::{Background, Broker, BrokerConfig, FlushProfile, Hedging};
use lakebed_http::HttpConfig;
use lakebed_kafka::{KafkaConfig, KafkaMetrics};
use lakebed_manifest::{Cleaning, ManifestConfig};
use lakebed_store::env::Env;
use lakebed_store::metered::Metered;
use lakebed_store::pace::Paced;
use lakebed_store::{BoxFuture, Store};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::cli;
use crate::config::{Config, HostPort, advertised, is_loopback};
use crate::listen::{self, Bound, Purpose};
use crate::logging::say;
use crate::metrics::StoreMetrics;
use crate::node::NodeView;
use crate::open;
use crate::probe::Probe;
use crate::signals::Signals;

/// A store that is reachable registers a node within seconds.
const START_LIMIT: Duration = Duration::from_secs(60);
/// From the signal to the end; the contract says 10 s.
const STOP_LIMIT: Duration = Duration::from_millis(9_500);
/// What answers need after the last commit.
const ANSWER_LIMIT: Duration = Duration::from_millis(500);

pub async fn serve(config: Config) -> Result<()> {
    let env = Env::system();
    let mut signals = Signals::install()?;
    let kafka = listen::bind(Purpose::Kafka, &config.kafka, config.reach).await?;
    let http = listen::bind(Purpose::Http, &config.http, config.reach).await?;
    let told = advertised(config.advertise.as_ref(), first(&kafka)?);
    let http_at = first(&http)?.connectable();
    warn_of_localhost(&config, &told, &kafka);

    let view = NodeView::default();
    let (stop, stopping) = watch::channel(false);
    let mut servers = JoinSet::new();
    for bound in http {
        let settings = HttpConfig { kafka_at: told.to_string(), cors_origins: config.cors_origins.clone() };
        servers.spawn(lakebed_http::serve(bound.listener, Arc::new(view.clone()), settings, stopping.clone()));
        listening(Purpose::Http, bound.address);
    }
    let started = tokio::select! {
        started = start(&config, &told, &env) => started?,
        signal = signals.next() => {
            tracing::info!(signal, "stopped before the start was complete");
            return Ok(());
        }
    };
    let Started { broker, store, pace } = started;
    let kafka_metrics = KafkaMetrics::default();
    broker.metrics().register(|registry| {
        kafka_metrics.register(registry);
        registry.register_collector(Box::new(StoreMetrics { requests: Arc::clone(&store), pace }));
    });
    let probe = Probe::new(store, env.clone());
    view.started(broker.clone(), probe.clone());
    let probing = tokio::spawn(probe.watch());
    for bound in kafka {
        let settings = KafkaConfig {
            http_address: Some(format!("http://{http_at}")),
            metrics: kafka_metrics.clone(),
            ..KafkaConfig::default()
        };
        servers.spawn(lakebed_kafka::serve(bound.listener, broker.clone(), settings, stopping.clone()));
        listening(Purpose::Kafka, bound.address);
    }
    introduce(&config, &told, &broker);
    say(format_args!("ready"));

    let outcome = tokio::select! {
        signal = signals.next() => {
            tracing::info!(signal, "stopping: what was taken is stored and answered first");
            Ok(())
        }
        Some(ended) = servers.join_next() => Err(broken_server(ended)),
        why = halted(&broker, &env) => Err(anyhow::anyhow!("{why}")),
    };
    tokio::select! {
        () = wind_down(stop, &broker, servers) => {}
        () = env.clock.sleep(STOP_LIMIT) => tracing::warn!("left before everything was answered: the store is too slow"),
        signal = signals.next() => tracing::warn!(signal, "told twice: leaving at once"),
    }
    probing.abort();
    outcome
}

struct Started {
    broker: Broker,
    store: Arc<Metered>,
    pace: Arc<Paced>,
}

async fn start(config: &Config, told: &HostPort, env: &Env) -> Result<Started> {
    let store = open::store(&config.store, config.store_profile, env).await?;
    let store = Arc::new(Metered::new(store, env));
    open::try_new(store.as_ref(), &config.store, env).await?;
    let pace = Arc::new(Paced::new(Arc::clone(&store) as Arc<dyn Store>, env));
    let log = ManifestConfig {
        cleaning: config.cleaning.then(Cleaning::default),
        time_scale: config.time_scale.get(),
        ..ManifestConfig::default()
    };
    let opened = Broker::open_with(Arc::clone(&pace) as Arc<dyn Store>, env.clone(), broker_config(config, told)?, log);
    tokio::select! {
        broker = opened => Ok(Started { broker: broker.with_context(|| config.store.to_string())?, store, pace }),
        () = env.clock.sleep(START_LIMIT) => {
            let fault = store.health().last_fault.map(|f| format!(" ({f})")).unwrap_or_default();
            bail!("{} did not take this node's registration within {} s{fault}; see that it can be written, then start again",
                config.store, START_LIMIT.as_secs())
        }
    }
}

fn broker_config(config: &Config, told: &HostPort) -> Result<BrokerConfig> {
    let budget =
        usize::try_from(config.memory_budget).context("--memory-budget is more than this machine can address")?;
    Ok(BrokerConfig {
        reach: Some(takes_connections),
        flush: match config.flush {
            cli::FlushProfile::Latency => FlushProfile::Latency,
            cli::FlushProfile::Balanced => FlushProfile::Balanced,
            cli::FlushProfile::Economy => FlushProfile::Economy,
        },
        flush_max_puts_per_second: config.max_puts_per_second,
        hedging: match config.hedging {
            cli::Hedging::On => Hedging::On,
            cli::Hedging::Off => Hedging::Off,
        },
        default_partitions: config.default_partitions,
        store_kind: config.store.kind(),
        auto_create_topics: config.auto_create_topics,
        background: Background { merging: config.cleaning, collecting: config.cleaning, ..Background::default() }
            .scaled(config.time_scale),
        ..BrokerConfig::new(told.host.clone(), told.port, budget)
    })
}

/// Whether a node listens at `host:port`; how long that may take is the caller's affair.
fn takes_connections(at: String) -> BoxFuture<'static, bool> {
    Box::pin(async move {
        let Some((host, port)) = at.rsplit_once(':') else { return false };
        let Ok(port) = port.parse() else { return false };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        tokio::net::TcpStream::connect((host, port)).await.is_ok()
    })
}

/// Stop accepting and reading; store what was taken; answer; sign off.
async fn wind_down(stop: watch::Sender<bool>, broker: &Broker, mut servers: JoinSet<std::io::Result<()>>) {
    stop.send_replace(true);
    broker.drain().await;
    let answered = async { while servers.join_next().await.is_some() {} };
    // Whoever does not take an answer by then has hung up or hangs.
    if tokio::time::timeout(ANSWER_LIMIT, answered).await.is_err() {
        tracing::debug!("some connections were still open");
    }
    broker.sign_off().await;
}

/// Resolves with the reason once the node can serve no more and has to be started anew.
async fn halted(broker: &Broker, env: &Env) -> String {
    loop {
        if let Some(why) = broker.status().log.halted {
            return why;
        }
        env.clock.sleep(Duration::from_secs(1)).await;
    }
}

fn broken_server(ended: Result<std::io::Result<()>, tokio::task::JoinError>) -> anyhow::Error {
    match ended {
        Ok(Ok(())) => anyhow::anyhow!("a listener ended without being told to; start the node again"),
        Ok(Err(e)) => anyhow::anyhow!("a listener broke ({e}); start the node again"),
        Err(e) => anyhow::anyhow!("a listener failed ({e}); please report this with the log"),
    }
}

fn first(bound: &[Bound]) -> Result<&HostPort> {
    bound
        .first()
        .map(|b| &b.typed)
        .context("none of the default addresses exists on this machine; name one to listen on")
}

/// Clients on other machines would be sent to their own.
fn warn_of_localhost(config: &Config, told: &HostPort, kafka: &[Bound]) {
    let remote = kafka.iter().any(|b| !is_loopback(b.address.ip()));
    if remote && config.advertise.is_none() && told.host == "localhost" {
        tracing::warn!("clients are told to use {told}: those on other machines need --advertise HOST:PORT");
    }
}

fn listening(purpose: Purpose, address: std::net::SocketAddr) {
    say(format_args!("listening {} {address}", purpose.word()));
}

/// For a person who has just started it; a log reader has the fields.
fn introduce(config: &Config, told: &HostPort, broker: &Broker) {
    tracing::info!(
        store = %config.store, advertised = %told, cluster = broker.cluster_id(), broker = %broker.node().id,
        memory_budget = config.memory_budget, "serving"
    );
    if config.log_format == cli::LogFormat::Text {
        say(format_args!("clients are told to use {told}; data is kept in {}", config.store));
        say(format_args!("try:  echo hello | kcat -b {told} -P -t test"));
        say(format_args!("      kcat -b {told} -C -t test -o beginning -e"));
    }
}
