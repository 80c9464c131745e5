//! Random and mutated bytes: nothing panics, and nothing is allocated because a peer says that much will come.
//! A binary of its own, because it counts what the whole process allocates.

#![expect(unsafe_code, reason = "counting allocations takes an allocator, and that trait is unsafe")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::BytesMut;
use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::Encodable;
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
        assert_bounded(bytes.len(), || fuzzing::body(round, version, &bytes));
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
