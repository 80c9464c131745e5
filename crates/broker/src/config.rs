//! What an operator decides, resolved: no strings, no defaults left to guess.

use std::num::NonZeroU32;

use lakebed_store::hedge::Eagerness;

/// How long records wait for company before they are stored: latency against PUT requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlushProfile {
    /// A flush starts half a commit's median time after the last one.
    Latency,
    /// Every 100 ms while what is pending fits into the commit, else every 200 ms: about 10 PUT/s.
    #[default]
    Balanced,
    /// Every 400 ms, segments of up to 16 MiB: about 5 PUT/s.
    Economy,
}

impl FlushProfile {
    /// How eagerly slow creates are sent a second time.
    pub(crate) fn eagerness(self) -> Eagerness {
        match self {
            FlushProfile::Latency => Eagerness::EAGER,
            FlushProfile::Balanced | FlushProfile::Economy => Eagerness::SPARING,
        }
    }
}

#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// Host and port that Kafka clients are told.
    pub advertised_host: String,
    pub advertised_port: u16,
    /// Zone of this node; empty: none.
    pub rack: String,
    pub flush: FlushProfile,
    /// `flush.max.puts.per.second`: cost cap; flushes wait longer to keep it.
    pub flush_max_puts_per_second: Option<NonZeroU32>,
    /// Bytes that buffered requests, replies, recent records and cached blocks may take together.
    pub memory_budget: usize,
    /// Share of the budget for recent records and cached blocks, in bytes.
    pub cache_bytes: usize,
    /// Partitions of a topic that is created without saying how many.
    pub default_partitions: i32,
    pub auto_create_topics: bool,
}

impl BrokerConfig {
    /// Defaults around an advertised address and a memory budget in bytes; half of the budget is cache.
    pub fn new(advertised_host: impl Into<String>, advertised_port: u16, memory_budget: usize) -> BrokerConfig {
        BrokerConfig {
            advertised_host: advertised_host.into(),
            advertised_port,
            rack: String::new(),
            flush: FlushProfile::default(),
            flush_max_puts_per_second: None,
            memory_budget,
            cache_bytes: memory_budget / 2,
            default_partitions: 1,
            auto_create_topics: true,
        }
    }

    /// What requests and replies may take, in bytes.
    pub(crate) fn buffer_bytes(&self) -> usize {
        self.memory_budget.saturating_sub(self.cache_bytes).max(1)
    }
}
