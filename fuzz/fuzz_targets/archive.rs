//! A `.gz` or a `.zip` as it is unpacked; the first byte says which.
#![no_main]

use std::io::Cursor;

use dropchute::records::{Limits, Packing, unpack};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((first, packed)) = input.split_first() else { return };
    let packing = if first % 2 == 0 { Packing::Gzip } else { Packing::Zip };
    let limits = Limits { file_max_bytes: 1 << 20, ..Limits::default() };
    let mut out = Vec::new();
    let _refused = unpack(packing, Cursor::new(packed), packed.len() as u64, &limits, &mut out);
    assert!(out.len() <= 1 << 20, "{} bytes came out", out.len());
});
