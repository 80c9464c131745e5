//! Random and mutated bytes: nothing panics, and nothing is allocated because a peer says that much will come.
//! A binary of its own, because it counts what the whole process allocates.

#![expect(unsafe_code, reason = "counting allocations takes an allocator, and that trait is unsafe")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::BytesMut;
use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::{Encodable, StrBytes};
use lakebed_kafka::fuzzing;
use lakebed_kafka::wire::api::TABLE;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng};

/// Counts what this thread holds, and the most that it held.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn count(change: isize) {
    // A thread that ends still frees: then there is nobody to count for.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + change);
        let _ = MOST.try_with(|most| most.set(most.get().max(held.get())));
    });
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches only this thread's cells, which need no
// allocation (const initialised, without a destructor).
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // The old one and the new one may exist side by side.
        count(new_size as isize);
        let new = unsafe { System.realloc(ptr, layout, new_size) };
        count(-(layout.size() as isize));
        new
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most that `f` held at once, in bytes.
fn most_held(f: impl FnOnce()) -> usize {
    let before = HELD.get();
    MOST.set(before);
    f();
    (MOST.get() - before) as usize
}

fn assert_bounded(input: usize, f: impl FnOnce()) {
    let held = most_held(f);
    assert!(held <= 4 * input + 64 * 1024, "{held} bytes held for {input} of input");
}

fn rng() -> TestRng {
    TestRng::deterministic_rng(RngAlgorithm::ChaCha)
}

/// Valid requests to start from: with lengths, nested arrays, strings and records.
fn seeds() -> Vec<Vec<u8>> {
    use theirs::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
    let mut seeds = Vec::new();
    for version in 9..=13 {
        let partition = theirs::produce_request::PartitionProduceData::default()
            .with_records(Some(bytes::Bytes::from(vec![2; 200])));
        let mut topic = theirs::produce_request::TopicProduceData::default().with_partition_data(vec![partition; 3]);
        if version < 13 {
            topic.name = theirs::TopicName("topic".into());
        }
        let request = theirs::ProduceRequest::default().with_acks(-1).with_topic_data(vec![topic; 2]);
        seeds.push(framed(0, version, &request));
    }
    for version in 4..=12 {
        let partition = theirs::fetch_request::FetchPartition::default();
        let topic = theirs::fetch_request::FetchTopic::default()
            .with_topic(theirs::TopicName("topic".into()))
            .with_partitions(vec![partition; 3]);
        seeds.push(framed(1, version, &theirs::FetchRequest::default().with_topics(vec![topic; 3])));
    }
    for version in 2..=7 {
        let assignment = CreatableReplicaAssignment::default().with_broker_ids(vec![1.into(); 5]);
        let topic = CreatableTopic::default()
            .with_name(theirs::TopicName("topic".into()))
            .with_assignments(vec![assignment; 3]);
        seeds.push(framed(19, version, &theirs::CreateTopicsRequest::default().with_topics(vec![topic; 3])));
    }
    seeds
}

/// Bodies alone, of APIs that nobody answers yet: the row of the tables, how many versions above the lowest, the bytes.
fn bodies() -> Vec<(usize, i16, Vec<u8>)> {
    use theirs::*;
    let (topic, text) = (|| TopicName("topic".into()), || StrBytes::from_static_str("some text"));
    let group = || GroupId(text());
    let mut seeds = Vec::new();
    for version in 0..=9 {
        let protocol = join_group_request::JoinGroupRequestProtocol::default()
            .with_name(text())
            .with_metadata(bytes::Bytes::from_static(&[7; 60]));
        let request = JoinGroupRequest::default().with_group_id(group()).with_protocols(vec![protocol; 4]);
        seeds.push(body(11, version, &request));
    }
    for version in 2..=9 {
        let partition =
            offset_commit_request::OffsetCommitRequestPartition::default().with_committed_metadata(Some(text()));
        let topic = offset_commit_request::OffsetCommitRequestTopic::default()
            .with_name(topic())
            .with_partitions(vec![partition; 3]);
        seeds.push(body(8, version, &OffsetCommitRequest::default().with_topics(vec![topic; 3])));
    }
    for version in 1..=7 {
        let topic = offset_fetch_request::OffsetFetchRequestTopic::default()
            .with_name(topic())
            .with_partition_indexes(vec![1; 9]);
        seeds.push(body(9, version, &OffsetFetchRequest::default().with_topics(Some(vec![topic; 3]))));
    }
    for version in 8..=9 {
        let topic = offset_fetch_request::OffsetFetchRequestTopics::default()
            .with_name(topic())
            .with_partition_indexes(vec![1; 9]);
        let group = offset_fetch_request::OffsetFetchRequestGroup::default()
            .with_group_id(group())
            .with_topics(Some(vec![topic; 3]));
        seeds.push(body(9, version, &OffsetFetchRequest::default().with_groups(vec![group; 3])));
    }
    for version in 0..=1 {
        let owned = consumer_group_heartbeat_request::TopicPartitions::default().with_partitions(vec![1; 9]);
        let request = ConsumerGroupHeartbeatRequest::default()
            .with_subscribed_topic_names(Some(vec![topic(); 3]))
            .with_topic_partitions(Some(vec![owned; 3]));
        seeds.push(body(68, version, &request));
        let config = incremental_alter_configs_request::AlterableConfig::default().with_value(Some(text()));
        let resource = incremental_alter_configs_request::AlterConfigsResource::default()
            .with_resource_name(text())
            .with_configs(vec![config; 3]);
        seeds.push(body(44, version, &IncrementalAlterConfigsRequest::default().with_resources(vec![resource; 3])));
        let partition = alter_partition_reassignments_request::ReassignablePartition::default()
            .with_replicas(Some(vec![1.into(); 3]));
        let topic = alter_partition_reassignments_request::ReassignableTopic::default()
            .with_name(topic())
            .with_partitions(vec![partition; 3]);
        seeds.push(body(45, version, &AlterPartitionReassignmentsRequest::default().with_topics(vec![topic; 3])));
    }
    for version in 1..=4 {
        let resource =
            describe_configs_request::DescribeConfigsResource::default().with_configuration_keys(Some(vec![text(); 3]));
        seeds.push(body(32, version, &DescribeConfigsRequest::default().with_resources(vec![resource; 3])));
    }
    let cursor = describe_topic_partitions_request::Cursor::default().with_topic_name(topic());
    seeds.push(body(75, 0, &DescribeTopicPartitionsRequest::default().with_cursor(Some(cursor))));
    seeds
}

fn body<M: Encodable>(api: i16, version: i16, message: &M) -> (usize, i16, Vec<u8>) {
    let row = TABLE.iter().position(|row| row.api as i16 == api).unwrap();
    let mut body = BytesMut::new();
    message.encode(&mut body, version).unwrap();
    let min = TABLE[row].min;
    (row, version - min, body.to_vec())
}

fn framed<M: Encodable>(api: i16, version: i16, message: &M) -> Vec<u8> {
    let header = theirs::RequestHeader::default().with_request_api_key(api).with_request_api_version(version);
    let mut frame = BytesMut::new();
    let key = theirs::ApiKey::try_from(api).unwrap();
    header.encode(&mut frame, key.request_header_version(version)).unwrap();
    message.encode(&mut frame, version).unwrap();
    frame.to_vec()
}

/// Flips, overwrites with extreme bytes, cuts, repeats.
fn mutate(bytes: &mut Vec<u8>, rng: &mut TestRng) {
    for _ in 0..rng.random_range(1..6) {
        if bytes.is_empty() {
            return;
        }
        let at = rng.random_range(0..bytes.len());
        match rng.random_range(0..5) {
            0 => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => bytes[at] = [0, 0x7f, 0x80, 0xff][rng.random_range(0..4)],
            2 => bytes[at..].iter_mut().take(4).for_each(|b| *b = 0x7f),
            3 => bytes.truncate(at),
            _ => bytes.extend_from_within(at..),
        }
    }
}

#[test]
fn mutated_requests() {
    let (seeds, mut rng) = (seeds(), rng());
    for round in 0..60_000 {
        let mut bytes = seeds[round % seeds.len()].clone();
        mutate(&mut bytes, &mut rng);
        assert_bounded(bytes.len(), || fuzzing::request(&bytes));
    }
}

#[test]
fn mutated_bodies() {
    let (seeds, mut rng) = (bodies(), rng());
    for (row, version, bytes) in &seeds {
        assert!(fuzzing::body(*row, *version, bytes), "what is not mutated is read");
    }
    for round in 0..60_000 {
        let (row, version, mut bytes) = seeds[round % seeds.len()].clone();
        mutate(&mut bytes, &mut rng);
        assert_bounded(bytes.len(), || {
            fuzzing::body(row, version, &bytes);
        });
    }
}

#[test]
fn random_bodies() {
    let mut rng = rng();
    for round in 0..60_000 {
        let mut bytes = vec![0; rng.random_range(0..300)];
        rng.fill_bytes(&mut bytes);
        // Many zeros and ones make lengths that fit.
        if round % 2 == 0 {
            bytes.iter_mut().for_each(|b| *b &= 0x03);
        }
        let version = (round / TABLE.len()) as i16;
        assert_bounded(bytes.len(), || {
            fuzzing::body(round, version, &bytes);
        });
        assert_bounded(bytes.len(), || fuzzing::request(&bytes));
    }
}

#[test]
fn declared_sizes_that_never_come() {
    let mut rng = rng();
    for size in [9, 16 * 1024, 16 * 1024 + 1, 1 << 20, 100 << 20] {
        for sent in [0, 1, 5000, 70_000, 300_000] {
            let mut bytes = i32::to_be_bytes(size).to_vec();
            bytes.extend(std::iter::repeat_n(7, sent.min(size as usize)));
            let pieces = [rng.random(), rng.random()];
            assert_bounded(bytes.len(), || {
                fuzzing::frames(&bytes, &pieces);
            });
        }
    }
}

#[test]
fn frames_of_all_sizes() {
    let mut rng = rng();
    for _ in 0..300 {
        let (mut bytes, mut sum) = (Vec::new(), 0);
        for _ in 0..rng.random_range(1..20) {
            let size = match rng.random_range(0..4) {
                0 => rng.random_range(8..40),
                1 => rng.random_range(8..17_000),
                2 => rng.random_range(16_000..20_000),
                _ => rng.random_range(8..200_000),
            };
            bytes.extend(i32::to_be_bytes(size as i32));
            bytes.resize(bytes.len() + size, 1);
            sum += size;
        }
        let pieces: Vec<u8> = (0..10).map(|_| rng.random()).collect();
        assert_bounded(bytes.len(), || assert_eq!(fuzzing::frames(&bytes, &pieces), sum));
    }
}
