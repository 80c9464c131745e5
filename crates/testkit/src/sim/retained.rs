//! A topic whose records are kept for some seconds only.

use std::collections::BTreeMap;

use lakebed_record::{TopicId, TopicPartition};

pub const RETENTION_MS: i64 = 10_000;

/// What its producer knows.
#[derive(Default)]
pub struct Retained {
    pub topic: Option<TopicId>,
    /// The time of each record that was acknowledged (ms), by offset.
    pub acked: BTreeMap<i64, i64>,
}

impl Retained {
    /// The only one.
    pub fn partition(&self) -> Option<TopicPartition> {
        Some(TopicPartition::new(self.topic?, 0))
    }
}
