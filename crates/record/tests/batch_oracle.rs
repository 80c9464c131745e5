//! The batch format against an independent implementation, both ways, and against damage.

use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{self as oracle, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions};
use lakebed_record::batch::{self, BatchBuilder, BatchError, Codec, Limits, TimestampType};
use proptest::collection::vec;
use proptest::option::{of, weighted};
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Plain {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

#[derive(Clone, Copy, Debug)]
struct Producer {
    id: i64,
    epoch: i16,
    sequence: i32,
}

fn codec() -> impl Strategy<Value = Codec> {
    prop::sample::select(Codec::ALL.to_vec())
}

fn plain() -> impl Strategy<Value = Plain> {
    let bytes = prop_oneof![4 => vec(any::<u8>(), 0..80), 1 => vec(0u8..3, 200..20_000)];
    // The oracle keeps headers in a map, so keys are made different.
    let headers = vec(("[a-z]{0,6}", of(vec(any::<u8>(), 0..10))), 0..4)
        .prop_map(|h| h.into_iter().enumerate().map(|(i, (k, v))| (format!("{k}{i}"), v)).collect());
    (0i64..1 << 41, of(vec(any::<u8>(), 0..40)), weighted(0.9, bytes), headers)
        .prop_map(|(timestamp, key, value, headers)| Plain { timestamp, key, value, headers })
}

fn producer() -> impl Strategy<Value = Option<Producer>> {
    of((0i64..1 << 50, 0i16..100, 0i32..1 << 30).prop_map(|(id, epoch, sequence)| Producer { id, epoch, sequence }))
}

fn build(plains: &[Plain], codec: Codec, producer: Option<Producer>) -> Bytes {
    let mut builder = BatchBuilder::new().codec(codec);
    if let Some(p) = producer {
        builder = builder.producer(p.id, p.epoch, p.sequence);
    }
    for p in plains {
        let headers = p.headers.iter().map(|(k, v)| (k.as_bytes(), v.as_deref()));
        builder.push(p.timestamp, p.key.as_deref(), p.value.as_deref(), headers);
    }
    builder.build()
}

fn oracle_record(i: usize, p: &Plain, producer: Option<Producer>) -> oracle::Record {
    oracle::Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: producer.map_or(-1, |p| p.id),
        producer_epoch: producer.map_or(-1, |p| p.epoch),
        timestamp_type: oracle::TimestampType::Creation,
        offset: i as i64,
        sequence: producer.map_or(-1, |p| p.sequence) + i as i32,
        timestamp: p.timestamp,
        key: p.key.clone().map(Bytes::from),
        value: p.value.clone().map(Bytes::from),
        headers: p
            .headers
            .iter()
            .map(|(k, v)| (StrBytes::from_string(k.clone()), v.clone().map(Bytes::from)))
            .collect(),
    }
}

const fn oracle_codec(codec: Codec) -> oracle::Compression {
    match codec {
        Codec::None => oracle::Compression::None,
        Codec::Gzip => oracle::Compression::Gzip,
        Codec::Snappy => oracle::Compression::Snappy,
        Codec::Lz4 => oracle::Compression::Lz4,
        Codec::Zstd => oracle::Compression::Zstd,
    }
}

fn assert_reads_as(bytes: &[u8], plains: &[Plain], producer: Option<Producer>) {
    let valid = batch::validate(bytes, Limits::default()).expect("a sound batch");
    assert_eq!(valid.max_timestamp, plains.iter().map(|p| p.timestamp).max().unwrap());
    assert_eq!(valid.min_timestamp, plains.iter().map(|p| p.timestamp).min().unwrap());
    assert_eq!(valid.max_timestamp, valid.header.max_timestamp);
    assert_eq!(valid.header.is_idempotent(), producer.is_some());
    if let Some(p) = producer {
        let h = valid.header;
        assert_eq!((h.producer_id, h.producer_epoch, h.base_sequence), (p.id, p.epoch, p.sequence));
    }
    let set = batch::records(bytes, Limits::default()).unwrap();
    assert_eq!(set.iter().count(), plains.len());
    for (i, (record, p)) in set.iter().zip(plains).enumerate() {
        let record = record.unwrap();
        assert_eq!((record.offset_delta, record.timestamp), (i as i32, p.timestamp));
        assert_eq!((record.key, record.value), (p.key.as_deref(), p.value.as_deref()));
        let headers: Vec<_> = record
            .headers()
            .map(|h| (String::from_utf8(h.key.to_vec()).unwrap(), h.value.map(<[u8]>::to_vec)))
            .collect();
        assert_eq!(headers, p.headers);
    }
}

/// Takes the whole interface over bytes from nowhere in particular.
fn poke(bytes: &[u8]) {
    let limits = Limits { max_decompressed: 1 << 20 };
    let _ = batch::validate(bytes, limits);
    for item in batch::batches(bytes) {
        let Ok((_, one)) = item else { break };
        if let Ok(set) = batch::records(one, limits) {
            for record in set.iter().flatten() {
                record.headers().for_each(drop);
            }
        }
    }
    let mut owned = Bytes::copy_from_slice(bytes);
    while let Ok(Some(_)) = batch::split_first(&mut owned) {}
}

/// Corrects the CRC, so that damage reaches what lies behind it.
fn reseal(bytes: &mut [u8]) {
    if bytes.len() >= batch::BATCH_OVERHEAD {
        let crc = lakebed_record::crc::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_oracle_reads_what_is_built(plains in vec(plain(), 1..20), codec in codec(), producer in producer()) {
        let bytes = build(&plains, codec, producer);
        assert_reads_as(&bytes, &plains, producer);
        let set = RecordBatchDecoder::decode(&mut bytes.clone()).unwrap();
        prop_assert_eq!(set.compression, oracle_codec(codec));
        for (i, (theirs, p)) in set.records.iter().zip(&plains).enumerate() {
            let mut expected = oracle_record(i, p, producer);
            expected.sequence = theirs.sequence;
            prop_assert_eq!(theirs, &expected);
        }
        prop_assert_eq!(set.records.len(), plains.len());
    }

    #[test]
    fn what_the_oracle_builds_is_read(plains in vec(plain(), 1..20), codec in codec(), producer in producer()) {
        let records: Vec<_> = plains.iter().enumerate().map(|(i, p)| oracle_record(i, p, producer)).collect();
        let mut out = BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression: oracle_codec(codec) };
        RecordBatchEncoder::encode(&mut out, &records, &options).unwrap();
        assert_reads_as(&out, &plains, producer);
    }

    #[test]
    fn log_append_time_is_what_the_oracle_reads(plains in vec(plain(), 1..8), codec in codec(), time in 1i64..1 << 41) {
        let mut bytes = build(&plains, codec, None).to_vec();
        batch::stamp_log_append_time(&mut bytes, time);
        let valid = batch::validate(&bytes, Limits::default()).unwrap();
        prop_assert_eq!(valid.header.timestamp_type(), TimestampType::LogAppendTime);
        let set = batch::records(&bytes, Limits::default()).unwrap();
        prop_assert!(set.iter().all(|r| r.unwrap().timestamp == time));
        let theirs = RecordBatchDecoder::decode(&mut Bytes::from(bytes)).unwrap();
        prop_assert!(theirs.records.iter().all(|r| r.timestamp_type == oracle::TimestampType::LogAppend));
    }

    #[test]
    fn a_patched_header_moves_the_offsets_and_nothing_else(plains in vec(plain(), 1..8), base in 0i64..1 << 60) {
        let bytes = build(&plains, Codec::None, None);
        let mut served = batch::patched_header(base, &bytes).to_vec();
        served.extend_from_slice(&bytes[16..]);
        let header = batch::validate(&served, Limits::default()).unwrap().header;
        prop_assert_eq!((header.base_offset, header.leader_epoch), (base, 0));
        prop_assert_eq!(&served[16..], &bytes[16..]);
        let theirs = RecordBatchDecoder::decode(&mut Bytes::from(served)).unwrap();
        prop_assert!(theirs.records.iter().zip(0..).all(|(r, i)| r.offset == base + i));
    }

    #[test]
    fn runs_of_batches_come_apart_as_they_were_joined(runs in vec((vec(plain(), 1..4), codec()), 1..6), cut in 1usize..60) {
        let built: Vec<Bytes> = runs.iter().map(|(p, c)| build(p, *c, None)).collect();
        let joined = Bytes::from(built.concat());
        let walked: Vec<_> = batch::batches(&joined).map(|b| b.unwrap().1.to_vec()).collect();
        prop_assert_eq!(&walked, &built.iter().map(|b| b.to_vec()).collect::<Vec<_>>());
        let mut rest = joined.clone();
        for expected in &built {
            prop_assert_eq!(&batch::split_first(&mut rest).unwrap().unwrap().1, expected);
        }
        prop_assert!(batch::split_first(&mut rest).unwrap().is_none());
        let short = &joined[..joined.len() - cut];
        prop_assert!(batch::batches(short).any(|b| b.is_err()));
    }

    #[test]
    fn damage_is_refused(plains in vec(plain(), 1..5), codec in codec(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut bytes = build(&plains, codec, None).to_vec();
        // Base offset and leader epoch lie outside the CRC.
        let at = 16 + at.index(bytes.len() - 16);
        bytes[at] ^= 1 << bit;
        let error = batch::validate(&bytes, Limits::default()).unwrap_err();
        prop_assert!(matches!(error, BatchError::Corrupt(_) | BatchError::Magic(_)), "{:?}", error);
    }

    #[test]
    fn any_damage_behind_a_good_crc_is_survived(
        plains in vec(plain(), 1..5), codec in codec(),
        edits in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), cut in weighted(0.3, any::<prop::sample::Index>()),
    ) {
        let mut bytes = build(&plains, codec, None).to_vec();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
            if bytes.len() >= 12 {
                let length = bytes.len() as i32 - 12;
                bytes[8..12].copy_from_slice(&length.to_be_bytes());
            }
        }
        reseal(&mut bytes);
        poke(&bytes);
    }

    #[test]
    fn bytes_from_nowhere_are_survived(mut bytes in vec(any::<u8>(), 0..400), codec in 0u8..8) {
        poke(&bytes);
        if bytes.len() > batch::BATCH_OVERHEAD {
            let length = bytes.len() as i32 - 12;
            bytes[8..12].copy_from_slice(&length.to_be_bytes());
            bytes[16] = 2;
            bytes[21] = 0;
            bytes[22] = codec;
            let count = i32::from(codec) + 1;
            bytes[23..27].copy_from_slice(&(count - 1).to_be_bytes());
            bytes[43..57].fill(0xff);
            bytes[57..61].copy_from_slice(&count.to_be_bytes());
            reseal(&mut bytes);
            poke(&bytes);
        }
    }
}
