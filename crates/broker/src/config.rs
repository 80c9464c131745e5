//! What an operator decides, resolved: no strings, no defaults left to guess.

use std::num::NonZeroU32;
use std::time::Duration;

use lakebed_store::hedge::Eagerness;

use crate::nodes::Reach;

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
    /// How long commits of consumer offsets wait for a commit that goes out anyway.
    pub(crate) fn offset_patience(self) -> Duration {
        match self {
            FlushProfile::Latency => Duration::from_millis(5),
            FlushProfile::Balanced => Duration::from_millis(100),
            FlushProfile::Economy => Duration::from_millis(400),
        }
    }

    /// How eagerly slow creates are sent a second time.
    pub(crate) fn eagerness(self) -> Eagerness {
        match self {
            FlushProfile::Latency => Eagerness::EAGER,
            FlushProfile::Balanced | FlushProfile::Economy => Eagerness::SPARING,
        }
    }
}

/// Whether slow requests to the store are sent a second time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hedging {
    #[default]
    On,
    /// To measure what it gains.
    Off,
}

#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// Host and port that Kafka clients are told.
    pub advertised_host: String,
    pub advertised_port: u16,
    /// Tells whether another node takes connections; `None`: only the log tells of others.
    pub reach: Option<Reach>,
    /// Zone of this node; empty: none.
    pub rack: String,
    pub flush: FlushProfile,
    /// `flush.max.puts.per.second`: cost cap; flushes wait longer to keep it.
    pub flush_max_puts_per_second: Option<NonZeroU32>,
    pub hedging: Hedging,
    /// Bytes that buffered requests, replies, recent records and cached blocks may take together.
    pub memory_budget: usize,
    /// Share of the budget for recent records, cached blocks and pages, and what merging works on, in bytes.
    pub cache_bytes: usize,
    /// Partitions of a topic that is created without saying how many.
    pub default_partitions: i32,
    /// The kind of the store, as clients are told where records are kept: `memory`, `file`, `s3`.
    pub store_kind: &'static str,
    pub auto_create_topics: bool,
    pub background: Background,
    /// Of consumer groups.
    pub groups: lakebed_groups::Config,
}

/// Work that keeps the state and the bucket small, and what it may use up. All of it but retention is off by default.
#[derive(Clone, Debug)]
pub struct Background {
    /// Entries are merged, and old ones sealed into index pages.
    pub merging: bool,
    /// Segments and pages that nothing names any more are deleted.
    pub collecting: bool,
    /// Records ride in commits and small segments for this long before they are merged; a tenth of it when too much waits.
    pub merge_age: Duration,
    /// What makes less than a quarter of an output waits for company until some of it is this old.
    pub merge_patience: Duration,
    /// How often it is looked whether there is something to do.
    pub poll: Duration,
    /// Bytes of a merged segment; `None`: 64 MiB, or an eighth of the memory budget if that is less. A merge takes this much memory,
    /// and 16 MiB, of the cache's share.
    pub merge_bytes: Option<u64>,
    /// Entries of an index page: some 20 bytes each there, 128 in the state.
    pub page_entries: usize,
    /// Bytes read and written together, per second, by merging; eight for each byte appended if that is more.
    pub bytes_per_second: u64,
    /// Time from one PUT of merging to the next; `None`: what the flush profile allows (2, 1 and half a PUT/s).
    pub put_spacing: Option<Duration>,
    /// With more entries than this in the state, nothing is put off; when so many wait to be merged or sealed that there are twice
    /// as many in all, flushes are held apart. `None`: as many as an eighth of the memory budget holds.
    pub most_unmerged: Option<usize>,
    /// Time from one search for orphans to the next; the first comes after a twenty-fourth of it.
    pub orphans_every: Duration,
    /// How often segments that wait to be deleted are looked at.
    pub collect_every: Duration,
    /// How often records past their topic's retention are looked for; this is always on.
    pub retain_every: Duration,
}

/// However far waiting times are scaled down.
const LEAST_POLL: Duration = Duration::from_millis(20);

impl Default for Background {
    fn default() -> Background {
        Background {
            merging: false,
            collecting: false,
            merge_age: Duration::from_secs(5 * 60),
            merge_patience: Duration::from_secs(15 * 60),
            poll: Duration::from_secs(5),
            merge_bytes: None,
            page_entries: 1_024,
            bytes_per_second: 64 << 20,
            put_spacing: None,
            most_unmerged: None,
            orphans_every: Duration::from_secs(24 * 60 * 60),
            collect_every: Duration::from_secs(60),
            retain_every: Duration::from_secs(60),
        }
    }
}

impl Background {
    /// Divides every waiting time by `scale`; what is asked of machine and store per second stays.
    pub fn scaled(self, scale: NonZeroU32) -> Background {
        let by = scale.get();
        Background {
            merge_age: self.merge_age / by,
            merge_patience: self.merge_patience / by,
            poll: (self.poll / by).max(LEAST_POLL),
            orphans_every: self.orphans_every / by,
            collect_every: self.collect_every / by,
            ..self
        }
    }
}

/// Bytes for recent records, for cached blocks, and for decoded index pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CacheShares {
    pub ring: u64,
    pub blocks: u64,
    pub pages: u64,
}

/// About what an entry takes in the state, with its share of what refers to it, in bytes.
const ENTRY_BYTES: usize = 128;

impl BrokerConfig {
    pub(crate) fn merge_bytes(&self) -> u64 {
        // A merge of eight entries that are not full must fit.
        self.background.merge_bytes.unwrap_or((64 << 20).min(self.memory_budget as u64 / 8)).max(8 << 20)
    }

    /// What a merge holds comes out of the cache's share, but for a third of that.
    pub(crate) fn cache_shares(&self) -> CacheShares {
        let all = self.cache_bytes as u64;
        let work = if self.background.merging { self.merge_bytes() + crate::merge::WAVE_BYTES } else { 0 };
        let left = all.saturating_sub(work).max(all / 3);
        let pages = left / 16;
        let blocks = left / 4 - pages;
        CacheShares { ring: left / 4 * 3, blocks, pages }
    }

    pub(crate) fn most_unmerged(&self) -> usize {
        self.background.most_unmerged.unwrap_or(self.memory_budget / 8 / ENTRY_BYTES).max(1)
    }

    pub(crate) fn background_put_spacing(&self) -> Duration {
        self.background.put_spacing.unwrap_or(match self.flush {
            FlushProfile::Latency => Duration::from_millis(500),
            FlushProfile::Balanced => Duration::from_secs(1),
            FlushProfile::Economy => Duration::from_secs(2),
        })
    }

    /// Defaults around an advertised address and a memory budget in bytes; half of the budget is cache.
    pub fn new(advertised_host: impl Into<String>, advertised_port: u16, memory_budget: usize) -> BrokerConfig {
        BrokerConfig {
            advertised_host: advertised_host.into(),
            advertised_port,
            reach: None,
            rack: String::new(),
            flush: FlushProfile::default(),
            flush_max_puts_per_second: None,
            hedging: Hedging::default(),
            memory_budget,
            cache_bytes: memory_budget / 2,
            default_partitions: 1,
            store_kind: "memory",
            auto_create_topics: true,
            background: Background::default(),
            groups: lakebed_groups::Config::default(),
        }
    }

    /// What requests and replies may take, in bytes.
    pub(crate) fn buffer_bytes(&self) -> usize {
        self.memory_budget.saturating_sub(self.cache_bytes).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_of_the_cache_and_a_merge_stay_within_its_bytes() {
        for (budget, merging) in [(64 << 20, true), (256 << 20, true), (1 << 30, true), (1 << 30, false)] {
            let background = Background { merging, ..Background::default() };
            let config = BrokerConfig { background, ..BrokerConfig::new("a", 1, budget) };
            let CacheShares { ring, blocks, pages } = config.cache_shares();
            let work = if merging { config.merge_bytes() + crate::merge::WAVE_BYTES } else { 0 };
            let all = ring + blocks + pages;
            assert!(all <= config.cache_bytes as u64 && all >= config.cache_bytes as u64 / 3 - 8, "{budget}");
            // A small budget is too small for a merge as well.
            assert!(all + work <= config.cache_bytes as u64 || budget <= 64 << 20, "{budget}: {all} and {work}");
            assert!(!merging || work <= config.cache_bytes as u64 * 5 / 6);
        }
    }
}
