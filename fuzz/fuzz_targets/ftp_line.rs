//! What a client says on an FTP control connection.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| dropchute::transfer::fuzzing::ftp_lines(input));
