//! Where reading starts: the offset of every partition that is read. `0:12,1:7` is partition 0 from offset 12 and partition 1 from 7. Pure but for
//! the look-ups of names and times.

use std::collections::BTreeMap;
use std::fmt;

use futures_util::future::join_all;
use lakebed_broker::Broker;
use lakebed_broker::api::{FetchError, OffsetSpec, TopicInfo};
use lakebed_record::TopicPartition;

use crate::api::decimal;
use crate::problem::Problem;

/// Partitions that one request reads: a position that names more would be larger than what it leads to.
pub const MAX_PARTITIONS: usize = 256;
/// Look-ups of one request at once.
const AT_ONCE: usize = 16;

/// The next offset of each partition that is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions(pub BTreeMap<i32, i64>);

/// `from`, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    Earliest,
    Latest,
    /// The first record at or past this time, ms.
    Time(i64),
    /// The same offset everywhere.
    Offset(i64),
    /// Partitions that are not named start at their earliest offset: they came to be later.
    Positions(Positions),
}

impl From {
    pub fn parse(text: &str) -> Option<From> {
        match text {
            "earliest" => Some(From::Earliest),
            "latest" => Some(From::Latest),
            _ => match text.strip_prefix("time:") {
                Some(time) => decimal::parse(time).map(From::Time),
                None if text.contains(':') => Positions::parse(text).map(From::Positions),
                None => decimal::parse(text).map(From::Offset),
            },
        }
    }
}

impl Positions {
    pub fn parse(text: &str) -> Option<Positions> {
        let one = |part: &str| {
            let (partition, offset) = part.split_once(':')?;
            Some((i32::try_from(decimal::parse(partition)?).ok()?, decimal::parse(offset)?))
        };
        let each: Vec<_> = text.split(',').take(MAX_PARTITIONS + 1).map(one).collect::<Option<_>>()?;
        (each.len() <= MAX_PARTITIONS).then(|| Positions(each.into_iter().collect()))
    }
}

impl fmt::Display for Positions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (partition, offset)) in self.0.iter().enumerate() {
            write!(f, "{}{partition}:{offset}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// `partition=0,3`: these; absent: all there are.
pub fn partitions(asked: Option<&str>, topic: &TopicInfo) -> Result<Vec<i32>, Problem> {
    let Some(asked) = asked else {
        return match topic.partitions as usize {
            ..=MAX_PARTITIONS => Ok((0..topic.partitions).collect()),
            n => Err(Problem::invalid(format!(
                "the topic has {n} partitions, and a request reads at most {MAX_PARTITIONS}: choose some with partition="
            ))),
        };
    };
    let one = |part: &str| decimal::parse(part).and_then(|n| i32::try_from(n).ok());
    let mut some: Vec<_> =
        asked.split(',').take(MAX_PARTITIONS + 1).map(one).collect::<Option<_>>().ok_or_else(|| {
            Problem::bad_request("partition is the number of a partition, or several separated by commas")
        })?;
    some.sort_unstable();
    some.dedup();
    match some.iter().find(|partition| !topic.has_partition(**partition)) {
        Some(unknown) => Err(Problem::no_partition(*unknown, topic.partitions)),
        None if some.len() > MAX_PARTITIONS => {
            Err(Problem::invalid(format!("a request reads at most {MAX_PARTITIONS} partitions")))
        }
        None => Ok(some),
    }
}

/// What `from` means for these partitions.
pub async fn resolve(
    broker: &Broker,
    topic: &TopicInfo,
    partitions: &[i32],
    from: &From,
) -> Result<Positions, Problem> {
    if let From::Positions(named) = from
        && let Some(unknown) = named.0.keys().find(|partition| !topic.has_partition(**partition))
    {
        return Err(Problem::no_partition(*unknown, topic.partitions));
    }
    if *from == From::Latest {
        // One look at the log for all of them.
        broker.barrier().await?;
    }
    let mut positions = Positions::default();
    for some in partitions.chunks(AT_ONCE) {
        let looking = some.iter().map(async |partition| resolve_one(broker, topic, *partition, from).await);
        for (partition, offset) in some.iter().zip(join_all(looking).await) {
            positions.0.insert(*partition, offset?);
        }
    }
    Ok(positions)
}

async fn resolve_one(broker: &Broker, topic: &TopicInfo, partition: i32, from: &From) -> Result<i64, Problem> {
    let at = TopicPartition::new(topic.id, partition);
    let range = || broker.offset_range(at).ok_or_else(|| Problem::fetch(partition, &FetchError::UnknownPartition));
    match from {
        From::Offset(offset) => Ok(*offset),
        From::Earliest => look_up(broker, topic, partition, OffsetSpec::Earliest).await,
        From::Latest => range().map(|(_, end)| end),
        From::Time(time) => match look_up(broker, topic, partition, OffsetSpec::AtTime(*time)).await? {
            // None was found as of now.
            -1 => range().map(|(_, end)| end),
            offset => Ok(offset),
        },
        From::Positions(named) => match named.0.get(&partition) {
            Some(offset) => Ok(*offset),
            None => look_up(broker, topic, partition, OffsetSpec::Earliest).await,
        },
    }
}

pub async fn look_up(broker: &Broker, topic: &TopicInfo, partition: i32, spec: OffsetSpec) -> Result<i64, Problem> {
    let listed = broker.list_offsets(TopicPartition::new(topic.id, partition), spec).await;
    listed.map(|listed| listed.offset).map_err(|e| Problem::fetch(partition, &e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_as_they_are_written() {
        let positions = Positions([(0, 12), (7, i64::MAX)].into());
        assert_eq!(positions.to_string(), "0:12,7:9223372036854775807");
        assert_eq!(Positions::parse(&positions.to_string()), Some(positions));
        for wrong in ["", ":", "0:", "0:-1", "0:1,", "0:1;1:2", "-1:0", "2147483648:0", "0:9223372036854775808"] {
            assert_eq!(Positions::parse(wrong), None, "{wrong}");
        }
        let many = |n: usize| (0..n).map(|i| format!("{i}:0")).collect::<Vec<_>>().join(",");
        assert!(Positions::parse(&many(MAX_PARTITIONS)).is_some());
        assert_eq!(Positions::parse(&many(MAX_PARTITIONS + 1)), None);
    }

    #[test]
    fn starts_have_five_forms() {
        assert_eq!(From::parse("earliest"), Some(From::Earliest));
        assert_eq!(From::parse("latest"), Some(From::Latest));
        assert_eq!(From::parse("time:5"), Some(From::Time(5)));
        assert_eq!(From::parse("5"), Some(From::Offset(5)));
        assert_eq!(From::parse("0:5"), Some(From::Positions(Positions([(0, 5)].into()))));
        for wrong in ["", "Earliest", "time:", "time:-1", "-1", "1.5", "0:x"] {
            assert_eq!(From::parse(wrong), None, "{wrong}");
        }
    }
}
