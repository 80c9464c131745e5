//! What clients declare never decides what is allocated: measured by a counting allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use lakebed_record::batch::{self, BatchBuilder, BatchError, Codec, Limits};
use lakebed_record::crc::crc32c;

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

#[expect(unsafe_code, reason = "an allocator that counts can only be written so; it passes every call on unchanged")]
// SAFETY: every call goes to `System` with the same arguments.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.get() + layout.size();
        LIVE.set(live);
        PEAK.set(PEAK.get().max(live));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get().saturating_sub(layout.size()));
        unsafe { System.dealloc(ptr, layout) }
    }
}

/// Peak bytes that `f` holds beyond what was held before.
fn peak<T>(f: impl FnOnce() -> T) -> (T, usize) {
    let before = LIVE.get();
    PEAK.set(before);
    let value = f();
    (value, PEAK.get() - before)
}

fn batch(codec: Codec, value: &[u8]) -> Vec<u8> {
    let mut builder = BatchBuilder::new().codec(codec);
    builder.push(1, None, Some(value), []);
    builder.build().to_vec()
}

fn reseal(bytes: &mut [u8]) {
    let crc = crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
}

#[test]
fn an_uncompressed_batch_is_validated_without_allocating() {
    let bytes = batch(Codec::None, &[0; 100_000]);
    let (valid, peak) = peak(|| batch::validate(&bytes, Limits::default()));
    valid.unwrap();
    assert_eq!(peak, 0);
}

#[test]
fn a_bomb_is_refused_within_the_cap() {
    let zeros = vec![0; 32 << 20];
    let limits = Limits { max_decompressed: 1 << 20 };
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let bytes = batch(codec, &zeros);
        let (valid, most) = peak(|| batch::validate(&bytes, limits));
        assert_eq!(valid, Err(BatchError::TooLarge(1 << 20)), "{codec:?}");
        assert!(most < 4 * bytes.len() + (1 << 20), "{codec:?}: {most} bytes to refuse {}", bytes.len());
        let (read, most) = peak(|| batch::records(&bytes, limits).map(drop));
        assert_eq!(read, Err(BatchError::TooLarge(1 << 20)), "{codec:?}");
        assert!(most < 4 * bytes.len() + (5 << 20), "{codec:?}: {most} bytes to refuse {}", bytes.len());
    }
}

#[test]
fn declared_counts_and_lengths_allocate_nothing() {
    let bytes = batch(Codec::None, b"value");
    let most = (batch::BATCH_OVERHEAD..bytes.len())
        .map(|at| {
            let mut bytes = bytes.clone();
            bytes[57..61].copy_from_slice(&i32::MAX.to_be_bytes());
            bytes[23..27].copy_from_slice(&(i32::MAX - 1).to_be_bytes());
            bytes[at] = 0xfe;
            reseal(&mut bytes);
            peak(|| {
                assert!(batch::validate(&bytes, Limits::default()).is_err());
                batch::records(&bytes, Limits::default()).unwrap().iter().for_each(drop);
            })
            .1
        })
        .max();
    assert_eq!(most, Some(0));
}

#[test]
fn a_snappy_length_is_not_believed() {
    let mut bytes = batch(Codec::None, b"x");
    bytes[22] = 2;
    bytes.truncate(batch::BATCH_OVERHEAD);
    // One raw block that declares 4 GiB − 1.
    bytes.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0]);
    let length = bytes.len() as i32 - 12;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    reseal(&mut bytes);
    let (valid, most) = peak(|| batch::validate(&bytes, Limits { max_decompressed: u64::MAX }));
    assert!(matches!(valid, Err(BatchError::Invalid(_))), "{valid:?}");
    assert!(most < 64 << 10, "{most}");
}
