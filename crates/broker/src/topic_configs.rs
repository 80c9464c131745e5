//! Kafka's topic configs, as its `LogConfig` has them: types, defaults, which values they take, and what they mean here. Topics are
//! created, altered and described by this one table.

use crate::api::{TimestampType, TopicConfig};

/// How a value is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigKind {
    Boolean,
    Text,
    Int,
    Long,
    Double,
    /// Separated by commas.
    List,
}

/// A config that topics may have.
#[derive(Clone, Copy, Debug)]
pub struct KnownConfig {
    pub name: &'static str,
    pub kind: ConfigKind,
    /// What holds where it is not set; none: Apache Kafka 4 knows it no more, it is kept where it is set.
    pub default: Option<&'static str>,
    values: Values,
    /// For people.
    pub documentation: &'static str,
}

/// Which values a config takes.
#[derive(Clone, Copy, Debug)]
enum Values {
    /// Any of its kind.
    Any,
    From(i64),
    Fraction,
    OneOf(&'static [&'static str]),
    /// Only "delete".
    Deletion,
    /// `index:broker` pairs, or `*`.
    Throttles,
}

use ConfigKind::{Boolean, Double, Int, List, Long, Text};

const fn known(
    name: &'static str,
    kind: ConfigKind,
    default: &'static str,
    values: Values,
    documentation: &'static str,
) -> KnownConfig {
    KnownConfig { name, kind, default: Some(default), values, documentation }
}

const fn retired(name: &'static str, kind: ConfigKind) -> KnownConfig {
    KnownConfig {
        name,
        kind,
        default: None,
        values: Values::Any,
        documentation: "Kept, without effect: Apache Kafka 4 has it no more.",
    }
}

const COMPACTION: &str = "Kept, without effect: logs are not compacted.";
const DISK: &str = "Kept, without effect: it tunes a disk, and records are kept in an object store.";
const PRODUCERS_COMPRESS: &str = "Kept, without effect: batches are kept as producers compress them.";
const REPLICAS: &str = "Kept, without effect: copies are the object store's affair.";
const TIERED: &str = "Kept, without effect: all records are always in the object store, nothing is tiered.";
const MAX_LONG: &str = "9223372036854775807";

/// Characters of a value that is refused that are repeated.
const SHOWN: usize = 80;

/// Ordered by name.
const KNOWN: &[KnownConfig] = &[
    known(
        "cleanup.policy",
        List,
        "delete",
        Values::Deletion,
        "What becomes of old records. Log compaction is not supported: delete only.",
    ),
    known("compression.gzip.level", Int, "-1", Values::From(-1), PRODUCERS_COMPRESS),
    known("compression.lz4.level", Int, "9", Values::From(1), PRODUCERS_COMPRESS),
    known(
        "compression.type",
        Text,
        "producer",
        Values::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
        PRODUCERS_COMPRESS,
    ),
    known("compression.zstd.level", Int, "3", Values::From(-131_072), PRODUCERS_COMPRESS),
    known("delete.retention.ms", Long, "86400000", Values::From(0), COMPACTION),
    known("file.delete.delay.ms", Long, "60000", Values::From(0), DISK),
    known("flush.messages", Long, MAX_LONG, Values::From(1), DISK),
    known("flush.ms", Long, MAX_LONG, Values::From(0), DISK),
    known("follower.replication.throttled.replicas", List, "", Values::Throttles, REPLICAS),
    known("index.interval.bytes", Int, "4096", Values::From(0), DISK),
    known("leader.replication.throttled.replicas", List, "", Values::Throttles, REPLICAS),
    known("local.retention.bytes", Long, "-2", Values::From(-2), TIERED),
    known("local.retention.ms", Long, "-2", Values::From(-2), TIERED),
    known("max.compaction.lag.ms", Long, MAX_LONG, Values::From(1), COMPACTION),
    known("max.message.bytes", Int, "1048588", Values::From(0), "The largest record batch, as it is sent, in bytes."),
    retired("message.downconversion.enable", Boolean),
    retired("message.format.version", Text),
    known(
        "message.timestamp.after.max.ms",
        Long,
        "3600000",
        Values::From(0),
        "How far the timestamp that a producer gives may lie past the broker's clock, in ms.",
    ),
    known(
        "message.timestamp.before.max.ms",
        Long,
        MAX_LONG,
        Values::From(0),
        "How far the timestamp that a producer gives may lie before the broker's clock, in ms.",
    ),
    retired("message.timestamp.difference.max.ms", Long),
    known(
        "message.timestamp.type",
        Text,
        "CreateTime",
        Values::OneOf(&["CreateTime", "LogAppendTime"]),
        "Whether records bear the producer's time or that of the broker.",
    ),
    known("min.cleanable.dirty.ratio", Double, "0.5", Values::Fraction, COMPACTION),
    known("min.compaction.lag.ms", Long, "0", Values::From(0), COMPACTION),
    known("min.insync.replicas", Int, "1", Values::From(1), REPLICAS),
    known("preallocate", Boolean, "false", Values::Any, DISK),
    known("remote.log.copy.disable", Boolean, "false", Values::Any, TIERED),
    known("remote.log.delete.on.disable", Boolean, "false", Values::Any, TIERED),
    known("remote.storage.enable", Boolean, "false", Values::Any, TIERED),
    known(
        "retention.bytes",
        Long,
        "-1",
        Values::From(-1),
        "How large a partition may grow before old records go, in bytes; -1: without bound.",
    ),
    known(
        "retention.ms",
        Long,
        "-1",
        Values::From(-1),
        "How old records may grow before they go, in ms; -1: they stay.",
    ),
    known("segment.bytes", Int, "1073741824", Values::From(14), DISK),
    known("segment.index.bytes", Int, "10485760", Values::From(4), DISK),
    known("segment.jitter.ms", Long, "0", Values::From(0), DISK),
    known("segment.ms", Long, "604800000", Values::From(1), DISK),
    known("unclean.leader.election.enable", Boolean, "false", Values::Any, REPLICAS),
];

impl KnownConfig {
    /// Ordered by name.
    pub fn all() -> &'static [KnownConfig] {
        KNOWN
    }

    pub fn find(name: &str) -> Option<&'static KnownConfig> {
        KNOWN.binary_search_by(|known| known.name.cmp(name)).ok().map(|i| &KNOWN[i])
    }

    /// A sentence for people if the value is none of its kind or is not taken.
    fn check(&self, value: &str) -> Result<(), String> {
        if self.values_take(value)? {
            return Ok(());
        }
        let what = match (self.values, self.kind) {
            (Values::From(least), Int) => format!("a number from {least} to {}", i32::MAX),
            (Values::From(least), _) => format!("a number from {least} to {}", i64::MAX),
            (Values::Fraction, _) => "a number from 0 to 1".to_owned(),
            (Values::OneOf(values), _) => format!("one of {}", values.join(", ")),
            (Values::Throttles, _) => "partition:broker,partition:broker, or *".to_owned(),
            (_, Boolean) => "true or false".to_owned(),
            (_, Int | Long) => "a number".to_owned(),
            _ => "delete".to_owned(),
        };
        let value: String = value.chars().take(SHOWN).collect();
        Err(format!("invalid value {value} for configuration {}: it must be {what}", self.name))
    }

    fn values_take(&self, value: &str) -> Result<bool, String> {
        let number = || value.trim().parse::<i64>().ok();
        let of_kind = match self.kind {
            Boolean => ["true", "false"].iter().any(|b| b.eq_ignore_ascii_case(value.trim())),
            Int => number().is_some_and(|n| i32::try_from(n).is_ok()),
            Long => number().is_some(),
            Double | Text | List => true,
        };
        Ok(of_kind
            && match self.values {
                Values::Any => true,
                Values::From(least) => number().is_some_and(|n| n >= least),
                Values::Fraction => value.trim().parse::<f64>().is_ok_and(|n| (0.0..=1.0).contains(&n)),
                Values::OneOf(values) => values.contains(&value),
                Values::Deletion => {
                    if elements(value).any(|policy| policy == "compact") {
                        return Err("log compaction is not supported; delete only".into());
                    }
                    elements(value).count() > 0 && elements(value).all(|policy| policy == "delete")
                }
                Values::Throttles => value.trim() == "*" || elements(value).all(is_replica),
            })
    }
}

/// Of a list; those that are empty do not count.
pub fn elements(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|element| !element.is_empty())
}

fn is_replica(pair: &str) -> bool {
    pair.split_once(':')
        .is_some_and(|(partition, broker)| partition.parse::<u32>().is_ok() && broker.parse::<u32>().is_ok())
}

impl Default for TopicConfig {
    fn default() -> TopicConfig {
        TopicConfig {
            max_message_bytes: 1_048_588,
            timestamp_type: TimestampType::CreateTime,
            timestamp_after_max_ms: 3_600_000,
            timestamp_before_max_ms: i64::MAX,
            retention_ms: -1,
            retention_bytes: -1,
        }
    }
}

impl TopicConfig {
    /// Later entries win; a sentence for people if one cannot be.
    pub fn parse(entries: &[(String, String)]) -> Result<TopicConfig, String> {
        let mut config = TopicConfig::default();
        for (name, value) in entries {
            let known = KnownConfig::find(name).ok_or_else(|| format!("unknown topic config name: {name}"))?;
            known.check(value)?;
            config.set(known.name, value);
        }
        Ok(config)
    }

    /// With a value that was checked; most mean nothing here.
    fn set(&mut self, name: &str, value: &str) {
        let number = |or: i64| value.trim().parse().unwrap_or(or);
        match name {
            "max.message.bytes" => self.max_message_bytes = number(i64::from(self.max_message_bytes)) as u32,
            "message.timestamp.after.max.ms" => self.timestamp_after_max_ms = number(self.timestamp_after_max_ms),
            "message.timestamp.before.max.ms" => self.timestamp_before_max_ms = number(self.timestamp_before_max_ms),
            "retention.ms" => self.retention_ms = number(self.retention_ms),
            "retention.bytes" => self.retention_bytes = number(self.retention_bytes),
            "message.timestamp.type" => {
                self.timestamp_type = match value {
                    "LogAppendTime" => TimestampType::LogAppendTime,
                    _ => TimestampType::CreateTime,
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(entries: &[(&str, &str)]) -> Result<TopicConfig, String> {
        let entries: Vec<_> = entries.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        TopicConfig::parse(&entries)
    }

    #[test]
    fn configs_resolve_against_defaults() {
        assert_eq!(parse(&[]), Ok(TopicConfig::default()));
        let config = parse(&[
            ("max.message.bytes", "5000"),
            ("message.timestamp.type", "LogAppendTime"),
            ("message.timestamp.before.max.ms", "7"),
            ("retention.ms", "8"),
            ("retention.bytes", "9"),
        ]);
        let expected = TopicConfig {
            max_message_bytes: 5000,
            timestamp_type: TimestampType::LogAppendTime,
            timestamp_before_max_ms: 7,
            retention_ms: 8,
            retention_bytes: 9,
            ..TopicConfig::default()
        };
        assert_eq!(config, Ok(expected));
    }

    #[test]
    fn the_defaults_are_values_that_hold_by_default() {
        assert!(KNOWN.is_sorted_by(|a, b| a.name < b.name));
        let defaults = KNOWN.iter().filter_map(|known| Some((known.name, known.default?)));
        assert_eq!(parse(&defaults.collect::<Vec<_>>()), Ok(TopicConfig::default()));
    }

    #[test]
    fn nonsense_is_refused() {
        let nonsense = [
            ("max.message.bytes", "-5"),
            ("max.message.bytes", "many"),
            ("max.message.bytes", "2147483648"),
            ("message.timestamp.type", "createtime"),
            ("retention.msec", "5"),
            ("retention.ms", "-2"),
            ("cleanup.policy", ""),
            ("cleanup.policy", "delete,other"),
            ("compression.type", "brotli"),
            ("preallocate", "yes"),
            ("min.cleanable.dirty.ratio", "1.5"),
            ("leader.replication.throttled.replicas", "1-2"),
        ];
        for (name, value) in nonsense {
            assert!(parse(&[(name, value)]).is_err(), "{name}={value}");
        }
    }

    #[test]
    fn compaction_is_refused_with_a_sentence() {
        for policy in ["compact", "delete,compact", " compact , delete"] {
            let refused = parse(&[("cleanup.policy", policy)]);
            assert_eq!(refused, Err("log compaction is not supported; delete only".into()));
        }
    }
}
