#![no_main]

libfuzzer_sys::fuzz_target!(|frame: &[u8]| lakebed_kafka::fuzzing::request(frame));
