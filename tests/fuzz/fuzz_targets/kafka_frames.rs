#![no_main]

libfuzzer_sys::fuzz_target!(|input: (&[u8], &[u8])| {
    let (pieces, arriving) = input;
    lakebed_kafka::fuzzing::frames(arriving, pieces);
});
