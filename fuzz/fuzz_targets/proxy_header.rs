//! What a connection of a proxy begins with.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| dropchute::transfer::fuzzing::proxy_header(input));
