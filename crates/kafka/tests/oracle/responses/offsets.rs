//! Of offsets: those of groups, of epochs, and those below which records went.

use kafka_protocol::messages as theirs;
use lakebed_kafka::wire::delete_records::{DeleteRecordsResponsePartition, DeleteRecordsResponseTopic};
use lakebed_kafka::wire::offset_commit::OffsetCommitResponseTopic;
use lakebed_kafka::wire::offset_delete::{OffsetDeleteResponse, OffsetDeleteResponseTopic};
use lakebed_kafka::wire::offset_fetch::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponseTopic,
};
use lakebed_kafka::wire::offset_for_leader_epoch::{EpochEnd, EpochResponseTopic};
use lakebed_kafka::wire::partitions::PartitionResult;
use lakebed_kafka::wire::{ApiKey, ErrorCode, delete_records, offset_commit, offset_fetch, offset_for_leader_epoch};

use super::groups::id;
use super::{error, name, since, string, through, topic_ref};
use crate::draw::Draw;

fn result(d: &mut Draw<'_>) -> PartitionResult {
    PartitionResult { index: d.i32(), error: error(d) }
}

pub fn offset_commit(version: i16, d: &mut Draw<'_>) {
    use theirs::offset_commit_response as r;
    let drawn = d.vec(|d| (d.text(), d.uuid().as_u128(), d.vec(result)));
    let (mut ours, mut expected) = (Vec::new(), Vec::new());
    for (text, id, partitions) in &drawn {
        let (topic, name, id) = topic_ref(text, *id, version >= 10);
        ours.push(OffsetCommitResponseTopic { topic, partitions: partitions.clone() });
        let partitions = partitions.iter().map(|p| {
            r::OffsetCommitResponsePartition::default().with_partition_index(p.index).with_error_code(p.error as i16)
        });
        let topic = r::OffsetCommitResponseTopic::default().with_name(name).with_topic_id(id);
        expected.push(topic.with_partitions(partitions.collect()));
    }
    let expected = theirs::OffsetCommitResponse::default().with_topics(expected);
    through(ApiKey::OffsetCommit, version, |w| offset_commit::encode_response(w, &ours), expected);
}

type Fetched = Vec<(String, u128, Vec<OffsetFetchResponsePartition<'static>>)>;

pub fn offset_fetch(version: i16, d: &mut Draw<'_>) {
    let partition = |d: &mut Draw<'_>| OffsetFetchResponsePartition {
        index: d.i32(),
        offset: d.i64(),
        leader_epoch: d.i32(),
        metadata: d.option(Draw::str),
        error: error(d),
    };
    let group = |d: &mut Draw<'_>| (d.text(), error(d), d.vec(|d| (d.text(), d.uuid().as_u128(), d.vec(partition))));
    let drawn = if version < 8 { vec![group(d)] } else { d.vec(group) };
    let ours: Vec<_> = drawn.iter().map(|(id, error, topics)| described(version, id, *error, topics)).collect();
    let write = |w: &mut _| offset_fetch::encode_response(w, &ours);
    if version >= 8 {
        let groups = drawn.iter().map(|(id, error, topics)| expected_of_many(version, id, *error, topics));
        let expected = theirs::OffsetFetchResponse::default().with_groups(groups.collect());
        through(ApiKey::OffsetFetch, version, write, expected);
    } else {
        let (_, error, topics) = &drawn[0];
        through(ApiKey::OffsetFetch, version, write, expected_of_one(version, *error, topics));
    }
}

fn described<'a>(version: i16, id: &'a str, error: ErrorCode, topics: &'a Fetched) -> OffsetFetchResponseGroup<'a> {
    let topics = topics.iter().map(|(text, id, partitions)| OffsetFetchResponseTopic {
        topic: topic_ref(text, *id, version >= 10).0,
        partitions: partitions.clone(),
    });
    OffsetFetchResponseGroup { group_id: id, error, topics: topics.collect() }
}

fn expected_of_many(
    version: i16,
    text: &str,
    error: ErrorCode,
    topics: &Fetched,
) -> theirs::offset_fetch_response::OffsetFetchResponseGroup {
    use theirs::offset_fetch_response as r;
    let topics = topics.iter().map(|(text, id, partitions)| {
        let (_, name, id) = topic_ref(text, *id, version >= 10);
        let partitions = partitions.iter().map(|p| {
            r::OffsetFetchResponsePartitions::default()
                .with_partition_index(p.index)
                .with_committed_offset(p.offset)
                .with_committed_leader_epoch(p.leader_epoch)
                .with_metadata(p.metadata.map(string))
                .with_error_code(p.error as i16)
        });
        let topic = r::OffsetFetchResponseTopics::default().with_name(name).with_topic_id(id);
        topic.with_partitions(partitions.collect())
    });
    r::OffsetFetchResponseGroup::default()
        .with_group_id(id(text))
        .with_error_code(error as i16)
        .with_topics(topics.collect())
}

fn expected_of_one(version: i16, error: ErrorCode, topics: &Fetched) -> theirs::OffsetFetchResponse {
    use theirs::offset_fetch_response as r;
    let topics = topics.iter().map(|(text, _, partitions)| {
        let partitions = partitions.iter().map(|p| {
            let error = if version == 1 && p.error == ErrorCode::None { error } else { p.error };
            r::OffsetFetchResponsePartition::default()
                .with_partition_index(p.index)
                .with_committed_offset(p.offset)
                .with_committed_leader_epoch(since(version >= 5, p.leader_epoch, -1))
                .with_metadata(p.metadata.map(string))
                .with_error_code(error as i16)
        });
        r::OffsetFetchResponseTopic::default().with_name(name(text)).with_partitions(partitions.collect())
    });
    theirs::OffsetFetchResponse::default()
        .with_error_code(since(version >= 2, error as i16, 0))
        .with_topics(topics.collect())
}

pub fn offset_delete(version: i16, d: &mut Draw<'_>) {
    use theirs::offset_delete_response as r;
    let topics = d.vec(|d| OffsetDeleteResponseTopic { name: d.str(), partitions: d.vec(result) });
    let ours = OffsetDeleteResponse { error: error(d), topics };
    let topics = ours.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|p| {
            r::OffsetDeleteResponsePartition::default().with_partition_index(p.index).with_error_code(p.error as i16)
        });
        r::OffsetDeleteResponseTopic::default().with_name(name(topic.name)).with_partitions(partitions.collect())
    });
    let expected =
        theirs::OffsetDeleteResponse::default().with_error_code(ours.error as i16).with_topics(topics.collect());
    through(ApiKey::OffsetDelete, version, |w| ours.encode(w), expected);
}

pub fn offset_for_leader_epoch(version: i16, d: &mut Draw<'_>) {
    use theirs::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
    let end =
        |d: &mut Draw<'_>| EpochEnd { index: d.i32(), error: error(d), leader_epoch: d.i32(), end_offset: d.i64() };
    let ours = d.vec(|d| EpochResponseTopic { name: d.str(), partitions: d.vec(end) });
    let topics = ours.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|p| {
            EpochEndOffset::default()
                .with_partition(p.index)
                .with_error_code(p.error as i16)
                .with_leader_epoch(p.leader_epoch)
                .with_end_offset(p.end_offset)
        });
        OffsetForLeaderTopicResult::default().with_topic(name(topic.name)).with_partitions(partitions.collect())
    });
    let expected = theirs::OffsetForLeaderEpochResponse::default().with_topics(topics.collect());
    through(ApiKey::OffsetForLeaderEpoch, version, |w| offset_for_leader_epoch::encode_response(w, &ours), expected);
}

pub fn delete_records(version: i16, d: &mut Draw<'_>) {
    use theirs::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
    let partition =
        |d: &mut Draw<'_>| DeleteRecordsResponsePartition { index: d.i32(), low_watermark: d.i64(), error: error(d) };
    let ours = d.vec(|d| DeleteRecordsResponseTopic { name: d.str(), partitions: d.vec(partition) });
    let topics = ours.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|p| {
            DeleteRecordsPartitionResult::default()
                .with_partition_index(p.index)
                .with_low_watermark(p.low_watermark)
                .with_error_code(p.error as i16)
        });
        DeleteRecordsTopicResult::default().with_name(name(topic.name)).with_partitions(partitions.collect())
    });
    let expected = theirs::DeleteRecordsResponse::default().with_topics(topics.collect());
    through(ApiKey::DeleteRecords, version, |w| delete_records::encode_response(w, &ours), expected);
}
