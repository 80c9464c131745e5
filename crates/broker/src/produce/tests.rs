use lakebed_record::batch::BatchBuilder;
use lakebed_record::{TopicId, TopicName};

use super::*;

const NOW: i64 = 1_700_000_000_000;

fn topic(config: TopicConfig) -> TopicInfo {
    let name = TopicName::new("t").expect("a topic name");
    TopicInfo { id: TopicId(7), name, partitions: 2, config: Arc::new(config) }
}

fn check_one(bytes: Bytes, partition: i32, config: TopicConfig) -> Result<Checked, AppendError> {
    check(bytes, TopicPartition::new(TopicId(7), partition), &topic(config), NOW)
}

fn batch_at(timestamps: &[i64]) -> Bytes {
    let mut builder = BatchBuilder::new();
    for t in timestamps {
        builder.record(*t, Some(b"k"), Some(&[7; 100]), &[]);
    }
    builder.build()
}
