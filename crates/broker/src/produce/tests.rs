use lakebed_record::batch::{BatchBuilder, Codec};
use lakebed_record::{TopicId, TopicName};

use super::*;

const NOW: i64 = 1_700_000_000_000;

fn check_one(bytes: Bytes, partition: i32, config: TopicConfig) -> Result<Accepted, AppendError> {
    let name = TopicName::new("t").expect("a topic name");
    let topic = TopicInfo { id: TopicId(7), name, partitions: 2, config: Arc::new(config) };
    let mut budget = Decompression::patient(0);
    let checked = check(bytes, TopicPartition::new(TopicId(7), partition), &topic, &mut budget, NOW);
    checked.expect("all the time that it needs")
}

fn batch_at(timestamps: &[i64], len: usize) -> Bytes {
    let mut builder = BatchBuilder::new();
    timestamps.iter().for_each(|t| builder.push(*t, Some(b"k"), Some(&vec![7; len]), []));
    builder.build()
}

#[test]
fn the_crc_of_the_whole_batch_is_right_however_it_was_found() {
    for len in [1, COMBINE_FROM - 200, COMBINE_FROM, 300_000] {
        let batch = batch_at(&[NOW, NOW + 1], len);
        let checked = check_one(batch.clone(), 1, TopicConfig::default()).expect("a good batch");
        assert_eq!(checked.bytes, batch);
        assert_eq!(checked.crc, crc::crc32c(&batch));
        let meta = BatchMeta { len: batch.len() as u32, offsets: 2, max_timestamp: NOW + 1, producer: None };
        assert_eq!((checked.meta, checked.log_append_time), (meta, -1));
    }
}

#[test]
fn a_wrong_max_timestamp_is_corrected() {
    let mut batch = batch_at(&[NOW - 5, NOW], 10).to_vec();
    batch::set_max_timestamp(&mut batch, -1);
    let checked = check_one(batch.into(), 0, TopicConfig::default()).expect("a good batch");
    assert_eq!(checked.bytes, batch_at(&[NOW - 5, NOW], 10));
    assert_eq!(checked.crc, crc::crc32c(&checked.bytes));
}

#[test]
fn log_append_time_replaces_the_clients() {
    let config = TopicConfig { timestamp_type: TimestampType::LogAppendTime, ..TopicConfig::default() };
    let checked = check_one(batch_at(&[1, i64::MAX / 2], 10), 0, config).expect("any timestamp is fine");
    assert_eq!((checked.log_append_time, checked.meta.max_timestamp), (NOW, NOW));
    assert_eq!(checked.crc, crc::crc32c(&checked.bytes));
    let valid = batch::validate(&checked.bytes, Limits::default()).expect("its CRC was computed anew");
    assert_eq!(valid.header.max_timestamp, NOW);
}

#[test]
fn timestamps_outside_the_topics_range_are_refused() {
    let hour = 3_600_000;
    let check = |timestamps: &[i64], config| check_one(batch_at(timestamps, 1), 0, config).map(|_| ());
    assert_eq!(check(&[NOW + hour], TopicConfig::default()), Ok(()));
    let late = Err(AppendError::InvalidTimestamp(NOW + hour + 1));
    assert_eq!(check(&[0, NOW + hour + 1, 5], TopicConfig::default()), late);
    let recent = TopicConfig { timestamp_before_max_ms: 1000, ..TopicConfig::default() };
    assert_eq!(check(&[NOW - 1000], recent.clone()), Ok(()));
    assert_eq!(check(&[NOW, NOW - 1001], recent.clone()), Err(AppendError::InvalidTimestamp(NOW - 1001)));
    assert_eq!(check(&[-1], recent), Ok(()), "no timestamp at all");
}

#[test]
fn refusals() {
    let good = batch_at(&[NOW], 100);
    let refuse = |bytes: Bytes, partition| check_one(bytes, partition, TopicConfig::default()).expect_err("refused");
    let altered = |at: usize, value: u8| {
        let mut bytes = good.to_vec();
        bytes[at] = value;
        Bytes::from(bytes)
    };
    assert_eq!(refuse(good.clone(), 2), AppendError::UnknownPartition);
    assert_eq!(refuse(good.clone(), -1), AppendError::UnknownPartition);
    assert!(matches!(refuse(altered(good.len() - 1, 0x55), 0), AppendError::Corrupt(_)));
    assert_eq!(refuse(altered(16, 1), 0), AppendError::UnsupportedFormat);
    assert!(matches!(refuse(good.slice(..good.len() - 1), 0), AppendError::Corrupt(_)));
    assert_eq!(refuse(batch_at(&[NOW], 2 << 20), 0), AppendError::TooLarge(batch_at(&[NOW], 2 << 20).len(), 1_048_588));
    let mut transactional = BatchBuilder::new().producer(1, 0, 0).transactional();
    transactional.push(NOW, None, None, []);
    assert_eq!(refuse(transactional.build(), 0), AppendError::Transactional);
}

#[test]
fn every_codec_is_accepted() {
    for codec in Codec::ALL {
        let mut builder = BatchBuilder::new().codec(codec).producer(5, 1, 77);
        (0..50).for_each(|i| builder.push(NOW + i, None, Some(&[1; 500]), []));
        let checked = check_one(builder.build(), 0, TopicConfig::default()).expect("a good batch");
        assert_eq!(checked.meta.producer, Some(ProducerMeta { id: 5, epoch: 1, sequence: 77, transactional: false }));
        assert_eq!((checked.meta.offsets, checked.meta.max_timestamp), (50, NOW + 49));
    }
}

/// A batch whose one record has so many zeros.
fn zeros(len: usize) -> Bytes {
    let mut builder = BatchBuilder::new().codec(Codec::Zstd);
    builder.push(NOW, None, Some(&vec![0; len]), []);
    builder.build()
}

#[test]
fn batches_of_one_request_share_what_they_may_decompress_to() {
    let mut budget = Decompression::patient(0);
    let mut validate = |bytes: &Bytes| budget.validate(bytes).expect("all the time that it needs");
    let (small, large) = (zeros(1 << 20), zeros(40 << 20));
    assert!(validate(&large).is_ok(), "more than is quickly done, but not too much");
    assert!(validate(&small).is_ok());
    assert!(matches!(validate(&large), Err(BatchError::TooLarge(_))));
    assert!(validate(&small).is_err(), "it is used up");
    assert!(validate(&batch_at(&[NOW], 100_000)).is_ok(), "not compressed");
}

#[test]
fn an_invalid_batch_costs_the_others_what_it_decompressed_to() {
    let mut invalid = zeros(40 << 20).to_vec();
    // Declares a second record. What there is, is decompressed to find out that there is none.
    invalid[23..27].copy_from_slice(&1i32.to_be_bytes());
    invalid[57..61].copy_from_slice(&2i32.to_be_bytes());
    batch::set_max_timestamp(&mut invalid, NOW);
    let mut budget = Decompression::patient(0);
    let mut validate = |bytes: &[u8]| budget.validate(bytes).expect("all the time that it needs");
    assert!(matches!(validate(&invalid), Err(BatchError::Invalid(_))));
    assert!(validate(&zeros(20 << 20)).is_ok());
}

#[test]
fn without_a_turn_nothing_is_done_that_takes_long() {
    let mut budget = Decompression::quick(0);
    assert!(budget.validate(&batch_at(&[NOW], 100_000)).is_ok());
    assert_eq!(budget.validate(&zeros(60 << 20)).err(), Some(TakesLong));
    assert!(QUICK - budget.left <= QUICK_RATIO * (60 << 10) + (64 << 10), "given up soon: {budget:?}");
    let mut incompressible = 7u64;
    let noise = (0..200_000).map(|_| {
        incompressible = incompressible.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (incompressible >> 56) as u8
    });
    let mut builder = BatchBuilder::new().codec(Codec::Lz4);
    builder.push(NOW, None, Some(&noise.collect::<Vec<_>>()), []);
    assert_eq!(Decompression::quick(0).validate(&builder.build()).err(), Some(TakesLong), "nobody knows before");
    assert_eq!(Decompression::quick(LARGE).validate(&batch_at(&[NOW], 10)).err(), Some(TakesLong));
}
