use std::collections::BTreeMap;
use std::sync::Arc;

use lakebed_record::TopicPartition;

use super::Assigned;

/// In whose hands each partition is: the one thing that keeps two members from having it at once.
#[derive(Debug, Default)]
pub(super) struct Holders(BTreeMap<TopicPartition, Arc<str>>);

impl Holders {
    pub fn is_free_for(&self, member: &str, at: &TopicPartition) -> bool {
        self.0.get(at).is_none_or(|holder| &**holder == member)
    }

    /// All of these are free for `member`.
    pub fn take(&mut self, member: &str, partitions: &Assigned) {
        let member: Arc<str> = member.into();
        self.0.extend(partitions.keys().map(|at| (*at, member.clone())));
    }

    pub fn release(&mut self, member: &str, partitions: &Assigned) {
        for at in partitions.keys() {
            if self.0.get(at).is_some_and(|holder| &**holder == member) {
                self.0.remove(at);
            }
        }
    }
}
