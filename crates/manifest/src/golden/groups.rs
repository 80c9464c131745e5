//! Consumer groups, configs and what changes a topic.

use lakebed_record::ops::{
    AlterTopicConfigs, ClaimGroup, CommitOffsets, ConfigChange, ConfigScope, CreatePartitions, DeleteGroup,
    DeleteOffsets, ExpireGroup, ExpireOffsets, GroupKind, GroupRef, PartitionOffset, SetConfigs, TopicOffsets,
    TopicPartitions, WriteGroup,
};
use lakebed_record::{GroupKey, TopicId};

use super::*;

fn named(id: &str) -> Option<GroupRef> {
    Some(GroupRef { namespace: "default".into(), id: id.into() })
}

fn change(name: &str, value: &str) -> Option<ConfigChange> {
    let set = vec![ConfigEntry { name: name.into(), value: value.into() }];
    Some(ConfigChange { replace: true, set, delete: vec!["retention.ms".into()] })
}

/// One of each op, behind the other commits: what is left are a group with members and offsets, one that is claimed, and configs.
fn commit_of_groups() -> (Commit, Vec<u8>) {
    let topic_id = TOPIC.to_be_bytes().to_vec();
    let offset = |partition, offset, leader_epoch, metadata: &str| PartitionOffset {
        partition,
        offset,
        leader_epoch,
        metadata: metadata.into(),
    };
    let partitions = |p| TopicPartitions::of([TopicPartition::new(TopicId(TOPIC), p)]);
    let claim = |id, replaces| OpKind::ClaimGroup(ClaimGroup { group: named(id), replaces });
    let set = |scope: ConfigScope, namespace: &str, name: &str| {
        OpKind::SetConfigs(SetConfigs {
            scope: scope.into(),
            namespace: namespace.into(),
            name: name.into(),
            change: change("consumer.session.timeout.ms", "45000"),
        })
    };
    let ops = vec![
        OpKind::CreatePartitions(CreatePartitions { topic_id: topic_id.clone(), count: 4, expected_now: 2 }),
        OpKind::AlterTopicConfigs(AlterTopicConfigs { topic_id: topic_id.clone(), change: change("a", "b") }),
        claim("payments", 0),
        OpKind::WriteGroup(WriteGroup {
            group: named("payments"),
            epoch: 1,
            from_generation: 0,
            generation: 3,
            kind: GroupKind::Consumer.into(),
            members: 2,
            metadata: b"members".to_vec(),
        }),
        OpKind::CommitOffsets(CommitOffsets {
            group: named("payments"),
            epoch: 1,
            generation: Some(3),
            topics: vec![TopicOffsets {
                topic_id,
                offsets: vec![offset(3, 1 << 40, -1, ""), offset(0, 7, 5, "here"), offset(1, 0, 0, "")],
            }],
        }),
        OpKind::DeleteOffsets(DeleteOffsets { group: named("payments"), epoch: 1, topics: partitions(1) }),
        claim("audit log", 0),
        claim("gone", 0),
        OpKind::DeleteGroup(DeleteGroup { group: named("gone"), epoch: 3 }),
        OpKind::ExpireOffsets(ExpireOffsets {
            groups: vec![ExpireGroup { group: named("payments"), topics: partitions(0) }],
        }),
        set(ConfigScope::Cluster, "", ""),
        set(ConfigScope::Group, "default", "payments"),
    ];
    seal(4, &[group(5, ops, 0)], &[])
}

#[test]
fn groups_and_configs_are_encoded_as_ever() {
    let (commit, bytes) = commit_of_groups();
    let golden = fixture("commit-groups.bin", &bytes);
    let opened = commit::open(commit.slot, &golden, golden.len() as u64).expect("reads");
    let Opened::Content(content) = opened else { panic!("{opened:?}") };
    assert_eq!(format!("{content:?}"), format!("{:?}", SlotContent::Commit(commit.clone())));
    let mut state = state();
    let outcomes = state.apply(commit.slot, &content).outcomes;
    assert!(!format!("{outcomes:?}").contains("Refused"), "{outcomes:?}");
    fixture("state-hash-groups.txt", format!("{:016x}\n", state.hash()).as_bytes());
    let globals = fixture("snapshot-globals-groups.bin", &encode_globals(&state));
    let part = fixture("snapshot-part-groups.bin", &state.encode_part(0..256));
    let mut back = decode_globals(&globals).expect("reads");
    back.decode_part(&part).expect("reads");
    assert_eq!(back.hash(), state.hash());
    let payments = back.consumer_group(&GroupKey::parse("default", "payments").expect("a key")).expect("is there");
    let offsets: Vec<_> = payments.offsets.iter().map(|(tp, o)| (tp.partition.0, o.offset)).collect();
    assert_eq!((payments.generation, payments.members, offsets), (3, 2, vec![(0, 7), (3, 1 << 40)]));
    assert_eq!((back.consumer_groups().count(), back.config_resources().count()), (2, 2));
    let topic = back.topic(TopicId(TOPIC)).expect("is there");
    assert_eq!((topic.partitions, topic.configs.clone()), (4, vec![("a".to_owned(), "b".to_owned())]));
}
