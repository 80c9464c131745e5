//! Changing a topic that exists: more partitions, other configs.

use std::sync::Arc;

use lakebed_record::ops::{AlterTopicConfigs, CreatePartitions, OpOutcome};
use lakebed_record::{TopicId, TopicPartition};

use super::apply::{MAX_PARTITIONS, topic_hash};
use super::partition::PartitionState;
use super::{State, Topic, configs, hash};

impl State {
    pub(super) fn alter_topic_configs(&mut self, op: &AlterTopicConfigs) -> OpOutcome {
        let Some(topic) = self.topic_of(&op.topic_id) else { return OpOutcome::UnknownTopic };
        let changed = op.change.as_ref().and_then(|change| configs::changed_configs(&topic.configs, change));
        let Some(configs) = changed else { return OpOutcome::Refused };
        let id = topic.id;
        self.update_topic(id, |topic| topic.configs = configs);
        OpOutcome::Done
    }

    pub(super) fn create_partitions(&mut self, op: &CreatePartitions, changed: &mut Vec<TopicPartition>) -> OpOutcome {
        let Some(topic) = self.topic_of(&op.topic_id) else { return OpOutcome::UnknownTopic };
        let (id, partitions) = (topic.id, topic.partitions);
        if partitions != op.expected_now {
            return OpOutcome::PartitionsNow { partitions };
        }
        if op.count <= partitions || op.count > MAX_PARTITIONS {
            return OpOutcome::Refused;
        }
        self.update_topic(id, |topic| topic.partitions = op.count);
        for p in partitions..op.count {
            let tp = TopicPartition::new(id, p as i32);
            self.insert_partition(tp, PartitionState::default());
            changed.push(tp);
        }
        OpOutcome::PartitionsCreated
    }

    fn topic_of(&self, id: &[u8]) -> Option<&Arc<Topic>> {
        self.topic(TopicId::from_bytes(id)?)
    }

    /// Changes all but id and name.
    fn update_topic(&mut self, id: TopicId, change: impl FnOnce(&mut Topic)) {
        self.topic_changes += 1;
        let bucket = self.bucket(hash::bucket_of(id.0));
        if let Some(topic) = bucket.topics.get_mut(&id).map(Arc::make_mut) {
            bucket.hash = bucket.hash.wrapping_sub(topic_hash(topic));
            change(topic);
            bucket.hash = bucket.hash.wrapping_add(topic_hash(topic));
        }
    }
}

#[cfg(test)]
mod tests;
