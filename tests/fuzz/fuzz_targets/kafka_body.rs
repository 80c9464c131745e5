#![no_main]

libfuzzer_sys::fuzz_target!(|input: (u8, u8, &[u8])| {
    let (row, version, body) = input;
    lakebed_kafka::fuzzing::body(usize::from(row), i16::from(version), body);
});
