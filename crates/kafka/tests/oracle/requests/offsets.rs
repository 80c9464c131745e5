//! Of offsets: those of groups, of epochs, and those below which records go.

use kafka_protocol::messages::{self as theirs, BrokerId, GroupId, TopicName};
use lakebed_kafka::wire::offset_fetch::OffsetFetchGroup;
use lakebed_kafka::wire::{ApiKey, Request};
use uuid::Uuid;

use super::groups::{group, id};
use super::{id_of, name, string, through};
use crate::draw::Draw;

pub fn offset_commit(version: i16, d: &mut Draw<'_>) {
    use theirs::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
    let partition = |d: &mut Draw<'_>| {
        OffsetCommitRequestPartition::default()
            .with_partition_index(d.i32())
            .with_committed_offset(d.i64())
            .with_committed_leader_epoch(d.when(version >= 6, -1, Draw::i32))
            .with_committed_metadata(d.option(Draw::string))
    };
    let topic =
        |d: &mut Draw<'_>| OffsetCommitRequestTopic::default().with_name(d.name()).with_partitions(d.vec(partition));
    let sent = theirs::OffsetCommitRequest::default()
        .with_group_id(group(d))
        .with_generation_id_or_member_epoch(d.i32())
        .with_member_id(d.string())
        .with_group_instance_id(d.when(version >= 7, None, |d| d.option(Draw::string)))
        .with_retention_time_ms(d.when(version <= 4, -1, Draw::i64))
        .with_topics(d.vec(topic));
    through(ApiKey::OffsetCommit, version, &sent, d, |read| {
        let Request::OffsetCommit(r) = read else { panic!() };
        let topics = r.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|p| {
                OffsetCommitRequestPartition::default()
                    .with_partition_index(p.index)
                    .with_committed_offset(p.offset)
                    .with_committed_leader_epoch(p.leader_epoch)
                    .with_committed_metadata(p.metadata.map(string))
            });
            OffsetCommitRequestTopic::default().with_name(id_of(topic.topic).0).with_partitions(partitions.collect())
        });
        let back = theirs::OffsetCommitRequest::default()
            .with_group_id(id(r.group_id))
            .with_generation_id_or_member_epoch(r.generation_or_member_epoch)
            .with_member_id(string(r.member_id))
            .with_group_instance_id(r.group_instance_id.map(string))
            .with_retention_time_ms(sent.retention_time_ms)
            .with_topics(topics.collect());
        assert_eq!(back, sent);
    });
}

/// The group's id, member id and epoch, topics with partitions.
type Asked = (GroupId, Option<String>, i32, Option<Vec<(TopicName, Uuid, Vec<i32>)>>);

fn asked(group: &OffsetFetchGroup<'_>) -> Asked {
    let topics = group.topics.map(|topics| {
        let topics = topics.iter().map(|topic| {
            let (name, id) = id_of(topic.topic);
            (name, id, topic.partitions.iter().collect())
        });
        topics.collect()
    });
    (id(group.group_id), group.member_id.map(str::to_owned), group.member_epoch, topics)
}

pub fn offset_fetch(version: i16, d: &mut Draw<'_>) {
    if version < 8 { offset_fetch_of_one(version, d) } else { offset_fetch_of_many(version, d) }
}

fn offset_fetch_of_one(version: i16, d: &mut Draw<'_>) {
    use theirs::offset_fetch_request::OffsetFetchRequestTopic;
    let topic = |d: &mut Draw<'_>| {
        OffsetFetchRequestTopic::default().with_name(d.name()).with_partition_indexes(d.vec(Draw::i32))
    };
    let topics = d.vec(topic);
    let sent = theirs::OffsetFetchRequest::default()
        .with_group_id(group(d))
        .with_topics(if version >= 2 && d.bool() { None } else { Some(topics) })
        .with_require_stable(d.when(version >= 7, false, Draw::bool));
    through(ApiKey::OffsetFetch, version, &sent, d, |read| {
        let Request::OffsetFetch(r) = read else { panic!() };
        assert_eq!(r.require_stable, sent.require_stable);
        let topics = sent
            .topics
            .as_ref()
            .map(|topics| topics.iter().map(|t| (t.name.clone(), Uuid::nil(), t.partition_indexes.clone())).collect());
        let read: Vec<_> = r.groups.iter().map(|group| asked(&group)).collect();
        assert_eq!(read, [(sent.group_id.clone(), None, -1, topics)]);
    });
}

fn offset_fetch_of_many(version: i16, d: &mut Draw<'_>) {
    use theirs::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
    let topic = |d: &mut Draw<'_>| {
        OffsetFetchRequestTopics::default().with_name(d.name()).with_partition_indexes(d.vec(Draw::i32))
    };
    let one = |d: &mut Draw<'_>| {
        OffsetFetchRequestGroup::default()
            .with_group_id(group(d))
            .with_member_id(d.when(version >= 9, None, |d| d.option(Draw::string)))
            .with_member_epoch(d.when(version >= 9, -1, Draw::i32))
            .with_topics(d.option(|d| d.vec(topic)))
    };
    let sent = theirs::OffsetFetchRequest::default().with_groups(d.vec(one)).with_require_stable(d.bool());
    through(ApiKey::OffsetFetch, version, &sent, d, |read| {
        let Request::OffsetFetch(r) = read else { panic!() };
        assert_eq!(r.require_stable, sent.require_stable);
        let groups = sent.groups.iter().map(|group| {
            let topics = group.topics.as_ref().map(|topics| {
                topics.iter().map(|t| (t.name.clone(), t.topic_id, t.partition_indexes.clone())).collect()
            });
            let member_id = group.member_id.as_ref().map(|id| id.to_string());
            (group.group_id.clone(), member_id, group.member_epoch, topics)
        });
        assert!(r.groups.iter().map(|group| asked(&group)).eq(groups));
    });
}

pub fn offset_delete(version: i16, d: &mut Draw<'_>) {
    use theirs::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
    let partition = |index| OffsetDeleteRequestPartition::default().with_partition_index(index);
    let topic = |d: &mut Draw<'_>| {
        OffsetDeleteRequestTopic::default().with_name(d.name()).with_partitions(d.vec(|d| partition(d.i32())))
    };
    let sent = theirs::OffsetDeleteRequest::default().with_group_id(group(d)).with_topics(d.vec(topic));
    through(ApiKey::OffsetDelete, version, &sent, d, |read| {
        let Request::OffsetDelete(r) = read else { panic!() };
        let topics = r.topics.iter().map(|topic| {
            OffsetDeleteRequestTopic::default()
                .with_name(name(topic.name))
                .with_partitions(topic.partitions.iter().map(partition).collect())
        });
        let back = theirs::OffsetDeleteRequest::default().with_group_id(id(r.group_id)).with_topics(topics.collect());
        assert_eq!(back, sent);
    });
}

pub fn offset_for_leader_epoch(version: i16, d: &mut Draw<'_>) {
    use theirs::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
    let partition = |d: &mut Draw<'_>| {
        OffsetForLeaderPartition::default()
            .with_partition(d.i32())
            .with_current_leader_epoch(d.i32())
            .with_leader_epoch(d.i32())
    };
    let topic =
        |d: &mut Draw<'_>| OffsetForLeaderTopic::default().with_topic(d.name()).with_partitions(d.vec(partition));
    let sent = theirs::OffsetForLeaderEpochRequest::default()
        .with_replica_id(BrokerId(d.when(version >= 3, -2, Draw::i32)))
        .with_topics(d.vec(topic));
    through(ApiKey::OffsetForLeaderEpoch, version, &sent, d, |read| {
        let Request::OffsetForLeaderEpoch(r) = read else { panic!() };
        let topics = r.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|p| {
                OffsetForLeaderPartition::default()
                    .with_partition(p.index)
                    .with_current_leader_epoch(p.current_leader_epoch)
                    .with_leader_epoch(p.leader_epoch)
            });
            OffsetForLeaderTopic::default().with_topic(name(topic.name)).with_partitions(partitions.collect())
        });
        assert_eq!(topics.collect::<Vec<_>>(), sent.topics);
    });
}

pub fn delete_records(version: i16, d: &mut Draw<'_>) {
    use theirs::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
    let partition =
        |d: &mut Draw<'_>| DeleteRecordsPartition::default().with_partition_index(d.i32()).with_offset(d.i64());
    let topic = |d: &mut Draw<'_>| DeleteRecordsTopic::default().with_name(d.name()).with_partitions(d.vec(partition));
    let sent = theirs::DeleteRecordsRequest::default().with_topics(d.vec(topic)).with_timeout_ms(d.i32());
    through(ApiKey::DeleteRecords, version, &sent, d, |read| {
        let Request::DeleteRecords(r) = read else { panic!() };
        let topics = r.topics.iter().map(|topic| {
            let partitions = topic
                .partitions
                .iter()
                .map(|p| DeleteRecordsPartition::default().with_partition_index(p.index).with_offset(p.offset));
            DeleteRecordsTopic::default().with_name(name(topic.name)).with_partitions(partitions.collect())
        });
        let back = theirs::DeleteRecordsRequest::default().with_topics(topics.collect()).with_timeout_ms(r.timeout_ms);
        assert_eq!(back, sent);
    });
}
