//! Changing topics that exist: more partitions, other configs, fewer records. Each is one op; its outcome alone decides.

use lakebed_manifest::state::changed_configs;
use lakebed_record::ops::{AlterTopicConfigs, ConfigChange, CreatePartitions, OpKind, OpOutcome, Truncate};
use lakebed_record::{TopicId, TopicPartition};

use crate::api::*;
use crate::broker::Broker;
use crate::topics::MAX_PARTITIONS;

/// Of one topic (`lakebed_manifest::state::MAX_CONFIGS_BYTES` and its like).
pub(crate) const CONFIGS_TOO_LARGE: &str =
    "the configs of the topic are too many or too long: 64 KiB in all, 32 KiB each";

impl Broker {
    /// Names and values that the topic was created or altered with, ordered by name; none if this node does not know it.
    pub fn topic_configs(&self, id: TopicId) -> Option<Vec<(String, String)>> {
        self.manifest().read(|s| s.topic(id).map(|topic| topic.configs.clone()))
    }

    /// Gives the topic `count` partitions in all. `new`: how many the client believes that these are more, if it says so.
    pub async fn create_partitions(
        &self,
        id: TopicId,
        count: i32,
        new: Option<usize>,
        validate_only: bool,
    ) -> Result<(), CreatePartitionsError> {
        loop {
            let topic = self.local_topic(id).ok_or(CreatePartitionsError::Unknown)?;
            check_growth(topic.partitions, count, new)?;
            if validate_only {
                return Ok(());
            }
            let op = CreatePartitions {
                topic_id: id.0.to_be_bytes().to_vec(),
                count: count as u32,
                expected_now: topic.partitions as u32,
            };
            match self.change(OpKind::CreatePartitions(op)).await? {
                OpOutcome::PartitionsCreated => return Ok(()),
                // Somebody was faster, and this node has applied it. A topic only grows, so this ends.
                OpOutcome::PartitionsNow { partitions } if partitions as i32 != topic.partitions => {}
                OpOutcome::UnknownTopic => return Err(CreatePartitionsError::Unknown),
                _ => return Err(CreatePartitionsError::Invalid("the cluster takes no more partitions".into())),
            }
        }
    }

    /// Whether a topic with these configs may be altered so; what is set has to be known and a value of its kind.
    pub fn check_topic_configs(
        &self,
        present: &[(String, String)],
        change: &ConfigChange,
    ) -> Result<(), AlterConfigsError> {
        let set: Vec<_> = change.set.iter().map(|c| (c.name.clone(), c.value.clone())).collect();
        TopicConfig::parse(&set).map_err(AlterConfigsError::Invalid)?;
        match changed_configs(present, change) {
            Some(_) => Ok(()),
            None => Err(AlterConfigsError::Invalid(CONFIGS_TOO_LARGE.into())),
        }
    }

    /// What was checked before.
    pub async fn alter_topic_configs(&self, id: TopicId, change: ConfigChange) -> Result<(), AlterConfigsError> {
        let op = AlterTopicConfigs { topic_id: id.0.to_be_bytes().to_vec(), change: Some(change) };
        match self.change(OpKind::AlterTopicConfigs(op)).await? {
            OpOutcome::Done => Ok(()),
            OpOutcome::UnknownTopic => Err(AlterConfigsError::Unknown),
            _ => Err(AlterConfigsError::Invalid(CONFIGS_TOO_LARGE.into())),
        }
    }

    /// Records below `before` go, `None`: all that there are now. Gives the offset at which the partition starts then.
    pub async fn truncate(&self, at: TopicPartition, before: Option<i64>) -> Result<i64, TruncateError> {
        let log_start = match before {
            Some(offset) => offset,
            None => self.end_offset(at).await?.ok_or(TruncateError::UnknownPartition)?,
        };
        let op = Truncate { topic_id: at.topic.0.to_be_bytes().to_vec(), partition: at.partition.0, log_start };
        match self.change(OpKind::Truncate(op)).await? {
            OpOutcome::Truncated { log_start_offset } => Ok(log_start_offset),
            OpOutcome::OffsetOutOfRange => Err(TruncateError::OutOfRange),
            _ => Err(TruncateError::UnknownPartition),
        }
    }

    /// The high watermark, after a read barrier; `None`: no such partition.
    pub async fn end_offset(&self, at: TopicPartition) -> Result<Option<i64>, Unavailable> {
        self.barrier().await?;
        Ok(self.manifest().read(|s| s.partition(at).map(|p| p.next_offset())))
    }

    /// Where the partition starts, and the high watermark, as this node knows them.
    pub fn offset_range(&self, at: TopicPartition) -> Option<(i64, i64)> {
        self.manifest().read(|s| s.partition(at).map(|p| (p.log_start(), p.next_offset())))
    }

    /// Bytes of the record batches of one topic's partitions from `first` on, as this node knows them: so many at most.
    pub fn partition_sizes(&self, id: TopicId, first: i32, most: usize) -> Vec<(i32, u64)> {
        self.manifest().read(|s| {
            let partitions = s.topic(id).map_or(0, |topic| topic.partitions as i32);
            let some = (first..partitions).take(most);
            some.filter_map(|p| Some((p, s.partition(TopicPartition::new(id, p))?.bytes()))).collect()
        })
    }

    /// The idempotent producers that a partition knows, ordered by id; `None`: this node knows no such partition.
    pub fn producers(&self, at: TopicPartition) -> Option<Vec<KnownProducer>> {
        self.manifest().read(|s| {
            let producers = s.partition(at)?.producers();
            Some(
                producers
                    .map(|(id, state)| KnownProducer {
                        id,
                        epoch: state.epoch,
                        last_sequence: state.batches.last().map_or(-1, |batch| batch.last_sequence),
                        last_append_ms: state.last_append.0,
                    })
                    .collect(),
            )
        })
    }

    /// How many [`Broker::producers`] tells of.
    pub fn producer_count(&self, at: TopicPartition) -> usize {
        self.manifest().read(|s| s.partition(at).map_or(0, |p| p.producers().count()))
    }
}

fn check_growth(present: i32, count: i32, new: Option<usize>) -> Result<(), CreatePartitionsError> {
    use CreatePartitionsError::{Invalid, InvalidAssignment};
    let many = |n: i32| if n == 1 { "1 partition".to_owned() } else { format!("{n} partitions") };
    if count < present {
        return Err(Invalid(format!("the topic has {}, more than the {count} that are asked for", many(present))));
    }
    if count == present {
        return Err(Invalid(format!("the topic has {} already", many(present))));
    }
    if count > MAX_PARTITIONS {
        return Err(Invalid(format!("a topic has 1 to {MAX_PARTITIONS} partitions, not {count}")));
    }
    match new {
        Some(new) if new != (count - present) as usize => {
            Err(InvalidAssignment(format!("{} more would be there, {new} are assigned", many(count - present))))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_only_grow_and_by_what_is_assigned() {
        assert!(check_growth(1, 3, None).is_ok() && check_growth(1, 3, Some(2)).is_ok());
        let invalid =
            |present, count| matches!(check_growth(present, count, None), Err(CreatePartitionsError::Invalid(_)));
        assert!(invalid(3, 3) && invalid(3, 2) && invalid(3, 0) && invalid(3, -1) && invalid(3, MAX_PARTITIONS + 1));
        assert!(!invalid(3, MAX_PARTITIONS));
        for assigned in [0, 1, 3] {
            let refused = check_growth(1, 3, Some(assigned));
            assert!(matches!(refused, Err(CreatePartitionsError::InvalidAssignment(_))), "{assigned}");
        }
    }
}
