#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sse_broadcaster::fuzzing::ndjson(bytes));
