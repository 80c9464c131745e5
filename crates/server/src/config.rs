//! What was typed, parsed once: every value has its final type, every default is filled in. Pure but for the default
//! store's directory and the memory's size, which are looked up here.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::str::FromStr;

use anyhow::{Context, Result, bail};

use lakebed_http::Origin;
use lakebed_store::url::StoreUrl;

use crate::cli::{FlushProfile, Hedging, LogFormat, ServeArgs, StoreProfile};
use crate::memory;

pub const KAFKA_PORT: u16 = 9092;
pub const HTTP_PORT: u16 = 8080;
const DATA_DIRECTORY: &str = "lakebed-data";

#[derive(Debug)]
pub struct Config {
    pub store: StoreUrl,
    pub store_profile: StoreProfile,
    pub cleaning: bool,
    pub time_scale: NonZeroU32,
    pub kafka: Vec<Listen>,
    pub http: Vec<Listen>,
    pub cors_origins: Vec<Origin>,
    pub advertise: Option<HostPort>,
    pub flush: FlushProfile,
    pub max_puts_per_second: Option<NonZeroU32>,
    pub hedging: Hedging,
    /// Bytes.
    pub memory_budget: u64,
    pub default_partitions: i32,
    pub auto_create_topics: bool,
    pub reach: Reach,
    pub log_format: LogFormat,
}

/// Who may reach a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// This machine alone.
    Loopback,
    /// Other machines too, without a login.
    Remote,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    pub at: HostPort,
    pub wish: Wish,
}

/// Whether a listener was asked for, or is one of the defaults, which a machine without IPv6 may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Typed,
    Default,
}

/// `host:port`, an IPv6 address in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    pub host: String,
    pub port: u16,
}

impl Config {
    pub fn resolve(args: ServeArgs) -> Result<Config> {
        let reach = if args.remote_without_login { Reach::Remote } else { Reach::Loopback };
        match &args.advertise {
            Some(HostPort { port: 0, .. }) => bail!("--advertise needs the port that clients are to use, not 0"),
            Some(told) if told.is_wildcard() => bail!(
                "--advertise {told} is nowhere a client could connect to; give the name or address that clients know this node by"
            ),
            _ => {}
        }
        Ok(Config {
            store: store_or_default(args.store)?,
            store_profile: args.store_profile,
            cleaning: args.cleaning,
            time_scale: NonZeroU32::new(args.time_scale).unwrap_or(NonZeroU32::MIN),
            kafka: listeners(args.kafka_listen, KAFKA_PORT),
            http: listeners(args.http_listen, HTTP_PORT),
            cors_origins: args.http_cors_origin,
            advertise: args.advertise,
            flush: args.flush,
            max_puts_per_second: args.flush_max_puts_per_second,
            hedging: args.hedging,
            memory_budget: args.memory_budget.unwrap_or_else(memory::default_budget),
            default_partitions: args.default_partitions,
            auto_create_topics: !args.no_auto_create_topics,
            reach,
            log_format: args.log_format,
        })
    }
}

/// What clients are told to use: as typed, or the first listener, a wildcard or loopback one as `localhost`.
pub fn advertised(typed: Option<&HostPort>, first: &HostPort) -> HostPort {
    if let Some(typed) = typed {
        return typed.clone();
    }
    let loopback = first.host.parse().is_ok_and(is_loopback);
    if loopback { HostPort { host: "localhost".into(), port: first.port } } else { first.connectable() }
}

pub fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// What was typed, or the directory that a broker without configuration uses.
pub fn store_or_default(typed: Option<StoreUrl>) -> Result<StoreUrl> {
    typed.map_or_else(default_store, Ok)
}

fn default_store() -> Result<StoreUrl> {
    let here =
        std::env::current_dir().context("the current directory cannot be read; say where to keep data: --store")?;
    Ok(StoreUrl::file(here.join(DATA_DIRECTORY)))
}

fn listeners(typed: Vec<HostPort>, port: u16) -> Vec<Listen> {
    if typed.is_empty() {
        let at = |host: &str| Listen { at: HostPort { host: host.into(), port }, wish: Wish::Default };
        return vec![at("127.0.0.1"), at("::1")];
    }
    typed.into_iter().map(|at| Listen { at, wish: Wish::Typed }).collect()
}

impl HostPort {
    /// Good to listen on, but not to connect to.
    fn is_wildcard(&self) -> bool {
        self.host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_unspecified())
    }

    /// Where this machine connects to what listens here.
    pub fn connectable(&self) -> HostPort {
        HostPort { host: if self.is_wildcard() { "localhost".into() } else { self.host.clone() }, port: self.port }
    }
}

impl FromStr for HostPort {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const SHAPE: &str = "HOST:PORT is needed, like 127.0.0.1:9092, [::1]:9092 or broker.example:9092";
        let (host, port) = text.rsplit_once(':').ok_or(SHAPE)?;
        let host = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
            Some(v6) => v6,
            None if host.contains(':') => return Err("an IPv6 address goes in brackets, like [::1]:9092"),
            None => host,
        };
        let fine = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:%".contains(&b));
        match port.parse() {
            Ok(port) if fine => Ok(HostPort { host: host.to_owned(), port }),
            _ => Err(SHAPE),
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn host_port(text: &str) -> HostPort {
        text.parse().unwrap()
    }

    fn resolve(args: &[&str]) -> Result<Config> {
        let cli = Cli::try_parse_from([&["lakebed"], args].concat()).unwrap();
        Config::resolve(match cli.command {
            None => cli.serve,
            Some(Command::Serve(args)) => args,
            Some(other) => panic!("{other:?}"),
        })
    }

    #[test]
    fn defaults() {
        let c = resolve(&[]).unwrap();
        let shown: Vec<_> = c.kafka.iter().chain(&c.http).map(|l| l.at.to_string()).collect();
        assert_eq!(shown, ["127.0.0.1:9092", "[::1]:9092", "127.0.0.1:8080", "[::1]:8080"]);
        let store = c.store.to_string();
        assert!(store.starts_with("file:///") && store.ends_with("/lakebed-data"), "{store}");
        assert_eq!((c.default_partitions, c.auto_create_topics), (1, true));
        assert_eq!((c.flush, c.store_profile, c.reach), (FlushProfile::Balanced, StoreProfile::None, Reach::Loopback));
    }

    #[test]
    fn every_flag_with_and_without_the_subcommand() {
        let flags = "--store memory:// --kafka-listen 127.0.0.1:0 --kafka-listen [::1]:0 --http-listen 127.0.0.1:0 \
                     --advertise lb:9092 --flush economy --flush-max-puts-per-second 9 --memory-budget 67108864 \
                     --default-partitions 5 --no-auto-create-topics --store-profile s3-express --remote-without-login \
                     --log-format json --hedging off";
        let flags: Vec<_> = flags.split_whitespace().collect();
        for before in [&[][..], &["serve"]] {
            let c = resolve(&[before, &flags].concat()).unwrap();
            assert_eq!((&c.store, c.kafka.len(), c.http.len()), (&StoreUrl::Memory, 2, 1));
            assert_eq!(c.advertise, Some(host_port("lb:9092")));
            assert_eq!((c.flush, c.store_profile), (FlushProfile::Economy, StoreProfile::S3Express));
            assert_eq!((c.max_puts_per_second, c.hedging), (NonZeroU32::new(9), Hedging::Off));
            assert_eq!(c.memory_budget, 64 << 20);
            assert_eq!((c.default_partitions, c.auto_create_topics, c.reach), (5, false, Reach::Remote));
        }
    }

    #[test]
    fn addresses() {
        for good in ["127.0.0.1:9092", "[::1]:0", "broker-1.example_net:1", "localhost:65535"] {
            assert_eq!(host_port(good).to_string(), good);
        }
        for bad in ["9092", "::1:9092", ":9092", "a b:1", "host:70000", "host:"] {
            assert!(bad.parse::<HostPort>().is_err(), "{bad}");
        }
        for nowhere in ["lb:0", "0.0.0.0:9092", "[::]:9092"] {
            assert!(resolve(&["--advertise", nowhere]).is_err(), "{nowhere}");
        }
        assert_eq!(host_port("[::]:8080").connectable(), host_port("localhost:8080"));
        assert_eq!(host_port("127.0.0.1:8080").connectable(), host_port("127.0.0.1:8080"));
    }

    #[test]
    fn local_listeners_are_advertised_as_localhost() {
        let told = |first: &str| advertised(None, &host_port(first)).to_string();
        assert_eq!(told("127.0.0.1:9092"), "localhost:9092");
        assert_eq!(told("[::1]:1"), "localhost:1");
        assert_eq!(told("0.0.0.0:9"), "localhost:9");
        assert_eq!(told("[::]:9"), "localhost:9");
        assert_eq!(told("10.1.2.3:9"), "10.1.2.3:9");
        assert_eq!(told("broker.example:9"), "broker.example:9");
        assert_eq!(advertised(Some(&host_port("lb:7")), &host_port("127.0.0.1:9")).to_string(), "lb:7");
    }
}
