use lakebed_record::ops::{ConfigChange, ConfigEntry, OpKind};

use super::super::groups::tests::{A, Log};
use super::*;

const TOPIC: TopicId = TopicId(7);

fn grow(id: &[u8], count: u32, expected_now: u32) -> OpKind {
    OpKind::CreatePartitions(CreatePartitions { topic_id: id.to_vec(), count, expected_now })
}

fn alter(id: &[u8], replace: bool, set: &[(&str, &str)], delete: &[&str]) -> OpKind {
    let set = set.iter().map(|(n, v)| ConfigEntry { name: (*n).into(), value: (*v).into() }).collect();
    let delete = delete.iter().map(|n| (*n).into()).collect();
    let change = Some(ConfigChange { replace, set, delete });
    OpKind::AlterTopicConfigs(AlterTopicConfigs { topic_id: id.to_vec(), change })
}

#[test]
fn a_topic_grows_and_never_shrinks() {
    let mut log = Log::new();
    let id = TOPIC.0.to_be_bytes();
    let partitions = |log: &Log| log.state.topic(TOPIC).expect("is there").partitions;
    assert_eq!(log.one(A, grow(&id, 5, 2)), OpOutcome::PartitionsNow { partitions: 3 });
    for count in [0, 2, 3, MAX_PARTITIONS + 1] {
        assert_eq!(log.one(A, grow(&id, count, 3)), OpOutcome::Refused);
    }
    assert_eq!(log.one(A, grow(&9_u128.to_be_bytes(), 5, 3)), OpOutcome::UnknownTopic);
    assert_eq!(log.one(A, grow(b"short", 5, 3)), OpOutcome::UnknownTopic);
    assert_eq!((partitions(&log), log.state.partition_count()), (3, 4));
    let before = log.state.clone();
    assert_eq!(log.one(A, grow(&id, 5, 3)), OpOutcome::PartitionsCreated);
    assert_eq!((partitions(&log), log.state.partition_count()), (5, 6));
    let mut new = log.state.differing(&before);
    new.sort_unstable();
    assert_eq!(new, [TopicPartition::new(TOPIC, 3), TopicPartition::new(TOPIC, 4)]);
    assert_eq!(log.one(A, grow(&id, 5, 3)), OpOutcome::PartitionsNow { partitions: 5 });
}

#[test]
fn configs_of_a_topic_change_by_name_or_as_a_whole() {
    let mut log = Log::new();
    let id = TOPIC.0.to_be_bytes();
    let configs = |log: &Log| log.state.topic(TOPIC).expect("is there").configs.clone();
    let pair = |n: &str, v: &str| (n.to_owned(), v.to_owned());
    let before = log.state.hash();
    assert_eq!(log.one(A, alter(&id, false, &[("b", "1"), ("a", "2")], &[])), OpOutcome::Done);
    assert_eq!(configs(&log), [pair("a", "2"), pair("b", "1")]);
    assert_ne!(log.state.hash(), before);
    assert_eq!(log.one(A, alter(&id, false, &[("b", "3")], &["a", "none"])), OpOutcome::Done);
    assert_eq!(configs(&log), [pair("b", "3")]);
    assert_eq!(log.one(A, alter(&id, true, &[("c", "4")], &[])), OpOutcome::Done);
    assert_eq!(configs(&log), [pair("c", "4")]);
    assert_eq!(log.one(A, alter(&id, false, &[("", "4")], &[])), OpOutcome::Refused);
    let none = AlterTopicConfigs { topic_id: id.to_vec(), change: None };
    assert_eq!(log.one(A, OpKind::AlterTopicConfigs(none)), OpOutcome::Refused);
    assert_eq!(log.one(A, alter(b"short", false, &[], &[])), OpOutcome::UnknownTopic);
    assert_eq!(configs(&log), [pair("c", "4")]);
    assert_eq!(log.one(A, alter(&id, true, &[], &[])), OpOutcome::Done);
    assert_eq!(configs(&log), []);
}
