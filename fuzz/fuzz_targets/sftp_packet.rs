//! Requests of an SFTP client that has logged in, served on a tenant's tree in a temporary folder.
//!
//! The input is a list of packets without their frames: a length byte, a kind, a body; so the search
//! does not spend its time on getting lengths right. An input that begins with 0xff is sent as it is.
#![no_main]

use std::cell::RefCell;

use dropchute::transfer::fuzzing::SftpServer;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static SERVER: RefCell<SftpServer> = RefCell::new(SftpServer::new());
}

fuzz_target!(|input: &[u8]| {
    let bytes = match input.split_first() {
        Some((0xff, raw)) => raw.to_vec(),
        _ => framed(input),
    };
    SERVER.with_borrow_mut(|server| server.serve(&bytes));
});

fn framed(mut input: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut id = 0u32;
    while let [length, kind, rest @ ..] = input {
        let (body, after) = rest.split_at(rest.len().min(usize::from(*length)));
        out.extend_from_slice(&(body.len() as u32 + 5).to_be_bytes());
        out.push(*kind);
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(body);
        id += 1;
        input = after;
    }
    out
}
