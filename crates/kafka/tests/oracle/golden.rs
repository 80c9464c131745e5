//! What is newer than kafka-protocol, against bytes that Apache Kafka 4.3.1 wrote (`golden/Golden.java` prints them).

use std::ops::RangeInclusive;

use lakebed_kafka::wire::describe_log_dirs::{DescribeLogDirsResponse, LogDir, LogDirPartition, LogDirTopic};
use lakebed_kafka::wire::list_offsets::{self, ListOffsetsResponsePartition, ListOffsetsResponseTopic};
use lakebed_kafka::wire::produce::TopicRef;
use lakebed_kafka::wire::{ApiKey, ErrorCode, Request, Served, Writer};
use lakebed_record::TopicId;

const OFFSET_COMMIT_REQUEST_10: &str = "0667726f757000000007076d656d62657209696e7374616e63650200112233445566778899aabbccddeeff0300\
    0000030000011f71fb04cb00000005056d65746100000000040000000000000000ffffffff00000000";
const OFFSET_FETCH_REQUEST_10: &str = "030667726f7570076d656d626572000000070200112233445566778899aabbccddeeff03000000000000000500\
    00066f7468657200ffffffff00000100";
const DESCRIBE_LOG_DIRS_REQUEST_5: &str = "0206746f7069630300000000000000050000";
const DESCRIBE_LOG_DIRS_RESPONSE_5: &str = "0000000000070200380c73333a2f2f6275636b65740206746f70696302000000050000001cbe991a1400000000\
    000000000000000000010000000000ffffffffffffffff000000";
const LIST_OFFSETS_REQUEST_11: &str = "ffffffff010206746f706963020000000500000000fffffffffffffffa00000000753000";
const LIST_OFFSETS_RESPONSE_11: &str =
    "000000000206746f70696302000000050007ffffffffffffffff000000000000004d00000000000000";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    Request,
    Response,
}

/// The versions that kafka-protocol does not know. All of them have a test here.
const NEWER: [(ApiKey, Message, i16); 6] = [
    (ApiKey::OffsetCommit, Message::Request, 10),
    (ApiKey::OffsetFetch, Message::Request, 10),
    (ApiKey::DescribeLogDirs, Message::Request, 5),
    (ApiKey::DescribeLogDirs, Message::Response, 5),
    (ApiKey::ListOffsets, Message::Request, 11),
    (ApiKey::ListOffsets, Message::Response, 11),
];

/// The versions to compare with kafka-protocol.
pub fn known(row: Served, message: Message) -> RangeInclusive<i16> {
    let newer = NEWER.contains(&(row.api, message, row.max));
    row.min..=row.max - i16::from(newer)
}

const TOPIC: TopicRef<'static> = TopicRef::Id(TopicId(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff));

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

fn decoded(api: ApiKey, version: i16, body: &[u8]) -> Request<'_> {
    for len in 0..body.len() {
        assert!(Request::decode(api, version, &body[..len]).is_err(), "{api} {version} cut at {len}");
    }
    Request::decode(api, version, body).unwrap()
}

/// What follows the frame's length and the header, which are nine bytes in flexible versions.
fn encoded(version: i16, write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut w = Writer::new(77, version, true, true);
    write(&mut w);
    w.finish().pieces.concat()[9..].to_vec()
}

#[test]
fn offset_commit_by_topic_id() {
    let body = unhex(OFFSET_COMMIT_REQUEST_10);
    let Request::OffsetCommit(r) = decoded(ApiKey::OffsetCommit, 10, &body) else { panic!() };
    assert_eq!((r.group_id, r.generation_or_member_epoch, r.member_id), ("group", 7, "member"));
    assert_eq!(r.group_instance_id, Some("instance"));
    let topics: Vec<_> = r.topics.iter().collect();
    let [topic] = &topics[..] else { panic!("{topics:?}") };
    assert_eq!(topic.topic, TOPIC);
    let partitions = topic.partitions.iter().map(|p| (p.index, p.offset, p.leader_epoch, p.metadata));
    assert!(partitions.eq([(3, 1_234_567_890_123, 5, Some("meta")), (4, 0, -1, None)]));
}

#[test]
fn offset_fetch_by_topic_id() {
    let body = unhex(OFFSET_FETCH_REQUEST_10);
    let Request::OffsetFetch(r) = decoded(ApiKey::OffsetFetch, 10, &body) else { panic!() };
    assert!(r.require_stable);
    let groups: Vec<_> = r.groups.iter().collect();
    let [group, other] = &groups[..] else { panic!("{groups:?}") };
    assert_eq!((group.group_id, group.member_id, group.member_epoch), ("group", Some("member"), 7));
    let topics = group.topics.unwrap().iter().map(|topic| (topic.topic, topic.partitions.iter().collect::<Vec<_>>()));
    assert!(topics.eq([(TOPIC, vec![0, 5])]));
    assert_eq!((other.group_id, other.member_id, other.member_epoch), ("other", None, -1));
    assert!(other.topics.is_none());
}

#[test]
fn describe_log_dirs() {
    let body = unhex(DESCRIBE_LOG_DIRS_REQUEST_5);
    let Request::DescribeLogDirs(r) = decoded(ApiKey::DescribeLogDirs, 5, &body) else { panic!() };
    let topics = r.topics.unwrap().iter().map(|topic| (topic.name, topic.partitions.iter().collect::<Vec<_>>()));
    assert!(topics.eq([("topic", vec![0, 5])]));

    let partitions = vec![LogDirPartition { index: 5, size: 123_456_789_012 }];
    let dir = LogDir {
        error: ErrorCode::KafkaStorageError,
        path: "s3://bucket",
        topics: vec![LogDirTopic { name: "topic", partitions }],
        total_bytes: 1 << 40,
        usable_bytes: -1,
    };
    let response = DescribeLogDirsResponse { error: ErrorCode::RequestTimedOut, dirs: vec![dir] };
    assert_eq!(encoded(5, |w| response.encode(w)), unhex(DESCRIBE_LOG_DIRS_RESPONSE_5));
}

#[test]
fn list_offsets() {
    let body = unhex(LIST_OFFSETS_REQUEST_11);
    let Request::ListOffsets(r) = decoded(ApiKey::ListOffsets, 11, &body) else { panic!() };
    assert_eq!(r.isolation_level, 1);
    let topics: Vec<_> = r.topics.iter().collect();
    let [topic] = &topics[..] else { panic!("{topics:?}") };
    assert_eq!(topic.name, "topic");
    let partitions = topic.partitions.iter().map(|p| (p.index, p.current_leader_epoch, p.timestamp));
    assert!(partitions.eq([(5, 0, -6)]));

    let error = ErrorCode::RequestTimedOut;
    let partition = ListOffsetsResponsePartition { index: 5, error, timestamp: -1, offset: 77, leader_epoch: 0 };
    let topics = [ListOffsetsResponseTopic { name: "topic", partitions: vec![partition] }];
    assert_eq!(encoded(11, |w| list_offsets::encode_response(w, &topics)), unhex(LIST_OFFSETS_RESPONSE_11));
}
