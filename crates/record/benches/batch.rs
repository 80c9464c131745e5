//! How fast batches are walked, checked and read: 1 KiB records, 16 KiB and 1 MiB batches.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lakebed_record::batch::{self, BatchBuilder, Codec, Limits};
use std::hint::black_box;

fn batch(codec: Codec, records: usize) -> bytes::Bytes {
    let mut builder = BatchBuilder::new().codec(codec);
    let mut noise = 1u64;
    for i in 0..records {
        let value: Vec<u8> = (0..1024)
            .map(|_| {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (noise >> 56) as u8 & 0x3f
            })
            .collect();
        builder.push(1_700_000_000_000 + i as i64, None, Some(&value), []);
    }
    builder.build()
}

fn walk(c: &mut Criterion) {
    let mut group = c.benchmark_group("walk");
    for records in [16, 1000] {
        let bytes = batch(Codec::None, records);
        group.throughput(Throughput::Elements(records as u64));
        group.bench_function(BenchmarkId::new("records", records), |b| {
            let set = batch::records(&bytes, Limits::default()).expect("a sound batch");
            b.iter(|| set.iter().map(|r| r.expect("a sound record").value.map_or(0, <[u8]>::len)).sum::<usize>());
        });
    }
    group.finish();
}

fn validate(c: &mut Criterion) {
    let mut group = c.benchmark_group("validate");
    for codec in Codec::ALL {
        let bytes = batch(codec, 1000);
        group.throughput(Throughput::Elements(1000));
        group.bench_function(format!("{codec:?}"), |b| {
            b.iter(|| batch::validate(black_box(&bytes), Limits::default()).expect("a sound batch"));
        });
    }
    group.finish();
}

criterion_group!(benches, walk, validate);
criterion_main!(benches);
