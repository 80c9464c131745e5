use bytes::Bytes;

use super::*;

fn batch(codec: Codec) -> Bytes {
    let mut b = BatchBuilder::new().codec(codec);
    let big = vec![7u8; 100_000];
    b.push(1000, Some(b"k"), Some(b"v"), []);
    b.push(900, None, Some(&big), [(&b"h"[..], Some(&b"x"[..])), (&b"h"[..], None)]);
    b.push(1500, Some(b""), None, []);
    b.build()
}

#[test]
fn what_is_built_validates_and_reads_back() {
    for codec in Codec::ALL {
        let bytes = batch(codec);
        let v = validate(&bytes, Limits::default()).unwrap_or_else(|e| panic!("{codec:?}: {e}"));
        assert_eq!((v.min_timestamp, v.max_timestamp, v.header.max_timestamp), (900, 1500, 1500));
        assert_eq!(v.header.codec(), Ok(codec));
        let set = records(&bytes, Limits::default()).unwrap();
        let all: Vec<_> = set.iter().map(Result::unwrap).collect();
        assert_eq!(all.len(), 3);
        assert_eq!(all[0].key, Some(&b"k"[..]));
        assert_eq!(all[1].value.unwrap().len(), 100_000);
        let headers: Vec<_> = all[1].headers().collect();
        assert_eq!(headers, [Header { key: b"h", value: Some(b"x") }, Header { key: b"h", value: None }]);
        assert_eq!((all[2].key, all[2].value, all[2].timestamp, all[2].offset_delta), (Some(&b""[..]), None, 1500, 2));
    }
}

/// Replaces bytes and corrects the CRC.
fn edited(bytes: &[u8], edits: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (at, with) in edits {
        bytes[*at..at + with.len()].copy_from_slice(with);
    }
    let crc = crc::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn with_records(codec: Codec, records: &[u8], count: i32) -> Vec<u8> {
    let mut bytes = BatchBuilder::new().build().to_vec();
    bytes[22] = codec.bits() as u8;
    bytes.extend_from_slice(records);
    let length = bytes.len() as i32 - 12;
    edited(&bytes, &[(8, &length.to_be_bytes()), (23, &(count - 1).to_be_bytes()), (57, &count.to_be_bytes())])
}

fn one_record() -> Vec<u8> {
    let mut b = BatchBuilder::new();
    b.push(5, Some(b"key"), Some(b"value"), [(&b"h"[..], None)]);
    b.build()[BATCH_OVERHEAD..].to_vec()
}

fn refusal(bytes: &[u8]) -> BatchError {
    validate(bytes, Limits::default()).expect_err("the batch has to be refused")
}

#[test]
fn broken_transport_is_corrupt() {
    let good = batch(Codec::None);
    assert!(matches!(refusal(&good[..good.len() - 1]), BatchError::Corrupt(_)));
    assert!(matches!(refusal(&[&good[..], &[0]].concat()), BatchError::Corrupt(_)));
    assert!(matches!(refusal(&good[..60]), BatchError::Corrupt(_)));
    assert!(matches!(refusal(&[]), BatchError::Corrupt(_)));
    assert!(matches!(refusal(&edited(&good, &[(8, &[0, 0, 0, 48])])), BatchError::Corrupt(_)));
    assert!(matches!(refusal(&edited(&good, &[(8, &[0xff; 4])])), BatchError::Corrupt(_)));
    let mut flipped = good.to_vec();
    flipped[100] ^= 1;
    assert!(matches!(refusal(&flipped), BatchError::Corrupt(_)));
    assert_eq!(refusal(&edited(&good, &[(16, &[1])])), BatchError::Magic(1));
    assert_eq!(refusal(&edited(&good, &[(22, &[5])])), BatchError::Codec(5));
    assert_eq!(refusal(&edited(&good, &[(22, &[7])])), BatchError::Codec(7));
}

#[test]
fn headers_that_contradict_themselves_are_invalid() {
    let good = batch(Codec::None);
    let cases: &[&[(usize, &[u8])]] = &[
        &[(57, &[0, 0, 0, 0]), (23, &[0xff; 4])],
        &[(57, &[0xff; 4]), (23, &[0xff, 0xff, 0xff, 0xfe])],
        &[(57, &[0, 0, 0, 4])],
        &[(57, &[0, 0, 0, 4]), (23, &[0, 0, 0, 3])],
        &[(57, &[0, 0, 0, 2]), (23, &[0, 0, 0, 1])],
        &[(23, &[0, 0, 0, 5])],
        // A control batch, a transactional one without an id, an id without a sequence.
        &[(22, &[0x20])],
        &[(22, &[0x10])],
        &[(43, &[0, 0, 0, 0, 0, 0, 0, 1])],
    ];
    for edits in cases {
        assert!(matches!(refusal(&edited(&good, edits)), BatchError::Invalid(_)), "{edits:?}");
    }
}

#[test]
fn records_that_break_the_format_are_invalid() {
    let good = one_record();
    validate(&with_records(Codec::None, &good, 1), Limits::default()).unwrap();
    // length, attributes, timestamp delta, offset delta, key length … (see `one_record`)
    let cases: &[(usize, u8)] = &[
        (0, 1),           // negative length
        (0, good[0] - 2), // one byte short
        (0, good[0] + 2), // one byte long
        (3, 2),           // offset delta 1
        (4, 3),           // key length −2
        (4, 100),         // key past the record
        (8, 3),           // value length −2
        (14, 1),          // headers −1
        (14, 4),          // two headers, one is there
        (14, 0),          // none, one is there
        (15, 1),          // a header without a key
    ];
    for &(at, byte) in cases {
        let mut records = good.clone();
        records[at] = byte;
        for codec in Codec::ALL {
            let error = refusal(&with_records(codec, &compress(codec, &records), 1));
            assert!(matches!(error, BatchError::Invalid(_)), "{at} {byte} {codec:?}: {error:?}");
        }
    }
    for codec in Codec::ALL {
        let twice = compress(codec, &[&good[..], &good].concat());
        assert!(matches!(refusal(&with_records(codec, &twice, 2)), BatchError::Invalid(_)), "deltas 0, 0");
        assert!(matches!(refusal(&with_records(codec, &twice, 1)), BatchError::Invalid(_)), "left over");
        assert!(matches!(refusal(&with_records(codec, &compress(codec, &good), 2)), BatchError::Invalid(_)), "missing");
    }
}

#[test]
fn varints_longer_than_their_type_are_invalid() {
    let mut five = vec![0xff, 0xff, 0xff, 0xff, 0x1f];
    five.extend([0; 20]);
    assert!(matches!(refusal(&with_records(Codec::None, &five, 1)), BatchError::Invalid(_)));
    let ten = [&[30, 0][..], &[0xff; 9], &[0x02, 0, 1, 1, 0, 0]].concat();
    assert!(matches!(refusal(&with_records(Codec::None, &ten, 1)), BatchError::Invalid(_)));
}

#[test]
fn snappy_is_read_raw_and_in_joined_frames() {
    let record = one_record();
    let raw = snap::raw::Encoder::new().compress_vec(&record).unwrap();
    validate(&with_records(Codec::Snappy, &raw, 1), Limits::default()).unwrap();
    let (first, second) = record.split_at(7);
    let joined = [compress(Codec::Snappy, first), compress(Codec::Snappy, second)].concat();
    validate(&with_records(Codec::Snappy, &joined, 1), Limits::default()).unwrap();
    assert!(matches!(refusal(&with_records(Codec::Snappy, &joined[..joined.len() - 1], 1)), BatchError::Invalid(_)));
}

#[test]
fn truncated_compressed_records_are_invalid() {
    let bytes = batch(Codec::Gzip);
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let whole = compress(codec, &batch(Codec::None)[BATCH_OVERHEAD..]);
        validate(&with_records(codec, &whole, 3), Limits::default()).unwrap();
        for cut in [0, 1, whole.len() / 2] {
            let error = refusal(&with_records(codec, &whole[..cut], 3));
            assert!(matches!(error, BatchError::Invalid(_)), "{codec:?} {cut}: {error:?}");
        }
    }
    assert!(records(&bytes[..bytes.len() - 1], Limits::default()).is_err());
}

#[test]
fn the_header_of_a_max_timestamp_can_be_corrected() {
    let mut bytes = edited(&batch(Codec::Zstd), &[(35, &0i64.to_be_bytes())]);
    let v = validate(&bytes, Limits::default()).unwrap();
    assert_eq!((v.header.max_timestamp, v.max_timestamp), (0, 1500));
    set_max_timestamp(&mut bytes, v.max_timestamp);
    assert_eq!(bytes, batch(Codec::Zstd));
}

/// One record of so many bytes, compressed as Java's producer does it at this level: without knowing their number.
fn zstd_at_level(level: i32, len: usize) -> Vec<u8> {
    use std::io::Write;
    let mut b = BatchBuilder::new();
    b.push(5, None, Some(&vec![7; len]), []);
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), level).unwrap();
    b.build()[BATCH_OVERHEAD..].chunks(1 << 20).for_each(|chunk| encoder.write_all(chunk).unwrap());
    with_records(Codec::Zstd, &encoder.finish().unwrap(), 1)
}

#[test]
fn zstd_holds_no_more_than_8_mib_whatever_its_window() {
    for (level, len) in [(3, 20 << 20), (19, 20 << 20), (22, 7 << 20)] {
        validate(&zstd_at_level(level, len), Limits::default()).unwrap_or_else(|e| panic!("{level}: {e}"));
    }
    let mut used = 0;
    let error = validate_counting(&zstd_at_level(22, 20 << 20), Limits::default(), &mut used).unwrap_err();
    assert!(matches!(error, BatchError::Invalid(why) if why.contains("window")), "{error:?}");
    assert!(used <= 9 << 20, "{used}");
}

#[test]
fn what_came_out_of_the_codec_is_counted_also_where_it_is_no_batch() {
    let used = |bytes: &[u8], max_decompressed| {
        let mut used = 0;
        let valid = validate_counting(bytes, Limits { max_decompressed }, &mut used).is_ok();
        (valid, used)
    };
    let good = batch(Codec::Zstd);
    let len = batch(Codec::None).len() as u64 - BATCH_OVERHEAD as u64;
    assert_eq!(used(&good, 1 << 20), (true, len));
    assert_eq!(used(&batch(Codec::None), 1 << 20), (true, 0));
    let (valid, early) = used(&edited(&good, &[(57, &[0, 0, 0, 4]), (23, &[0, 0, 0, 3])]), 1 << 20);
    assert_eq!((valid, early), (false, len), "a record is missing");
    let zeros = compress(Codec::Zstd, &vec![0; 50 << 20]);
    let (valid, broken) = used(&with_records(Codec::Zstd, &zeros, 1), 64 << 20);
    assert!(!valid && broken <= 64 << 10, "{broken}");
}

#[test]
fn the_first_record_at_a_time_is_found_without_the_others() {
    for codec in Codec::ALL {
        let bytes = batch(codec);
        let at = |timestamp| {
            let found = first_at(&bytes, 0, timestamp, Limits::default()).unwrap();
            found.map(|f| (f.offset_delta, f.timestamp))
        };
        assert_eq!((at(0), at(1000)), (Some((0, 1000)), Some((0, 1000))));
        assert_eq!((at(1001), at(1500), at(1501)), (Some((2, 1500)), Some((2, 1500)), None));
        let past_the_first = first_at(&bytes, 1, 0, Limits::default()).unwrap().map(|f| f.offset_delta);
        assert_eq!(past_the_first, Some(1));
        let mut stamped = bytes.to_vec();
        stamp_log_append_time(&mut stamped, 7000);
        let found = first_at(&stamped, 0, 6000, Limits::default()).unwrap();
        assert_eq!(found, Some(Found { offset_delta: 0, timestamp: 7000 }));
        assert!(first_at(&bytes[..bytes.len() - 1], 0, 1501, Limits::default()).is_err());
    }
    // Nothing past the record that was looked for is decompressed.
    let mut many = BatchBuilder::new().codec(Codec::Zstd);
    (0..100).for_each(|n| many.push(n, None, Some(&vec![0; 100_000]), []));
    let found = first_at(&many.build(), 0, 5, Limits { max_decompressed: 1 << 20 }).unwrap();
    assert_eq!(found, Some(Found { offset_delta: 5, timestamp: 5 }));
}
