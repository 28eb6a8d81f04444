//! Digests of files, for HASH (draft-bryan-ftp-hash) and its older relatives.

use std::fs::File;
use std::io::{self, Read};

use sha2::Digest;

/// Bytes read at once.
const PIECE_BYTES: usize = 256 << 10;

/// The digests a client may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Sha256,
    Sha1,
    Md5,
    Crc32,
}

impl Algorithm {
    /// In the order of preference.
    pub(super) const ALL: [Algorithm; 4] =
        [Algorithm::Sha256, Algorithm::Sha1, Algorithm::Md5, Algorithm::Crc32];

    pub(super) fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "SHA-256",
            Algorithm::Sha1 => "SHA-1",
            Algorithm::Md5 => "MD5",
            Algorithm::Crc32 => "CRC32",
        }
    }

    pub(super) fn named(name: &[u8]) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|one| one.name().as_bytes().eq_ignore_ascii_case(name))
    }
}

/// The digest of a file in hexadecimal, and how many bytes it has. Blocks.
pub(super) fn of_file(algorithm: Algorithm, file: &mut File) -> io::Result<(String, u64)> {
    let mut state = State::new(algorithm);
    let mut piece = vec![0; PIECE_BYTES];
    let mut bytes = 0;
    loop {
        let count = file.read(&mut piece)?;
        if count == 0 {
            return Ok((state.finish(), bytes));
        }
        state.add(&piece[..count]);
        bytes += count as u64;
    }
}

enum State {
    Sha256(sha2::Sha256),
    Sha1(sha1::Sha1),
    Md5(md5::Context),
    Crc32(crc32fast::Hasher),
}

impl State {
    fn new(algorithm: Algorithm) -> State {
        match algorithm {
            Algorithm::Sha256 => State::Sha256(sha2::Sha256::new()),
            Algorithm::Sha1 => State::Sha1(sha1::Sha1::new()),
            Algorithm::Md5 => State::Md5(md5::Context::new()),
            Algorithm::Crc32 => State::Crc32(crc32fast::Hasher::new()),
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        match self {
            State::Sha256(state) => state.update(bytes),
            State::Sha1(state) => state.update(bytes),
            State::Md5(state) => state.consume(bytes),
            State::Crc32(state) => state.update(bytes),
        }
    }

    fn finish(self) -> String {
        match self {
            State::Sha256(state) => hex::encode(state.finalize()),
            State::Sha1(state) => hex::encode(state.finalize()),
            State::Md5(state) => hex::encode(*state.finalize()),
            State::Crc32(state) => format!("{:08x}", state.finalize()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use super::*;

    #[test]
    fn digests_are_those_everybody_computes() {
        let rows = [
            (Algorithm::Sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (Algorithm::Sha1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (Algorithm::Md5, "900150983cd24fb0d6963f7d28e17f72"),
            (Algorithm::Crc32, "352441c2"),
        ];
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"abc").unwrap();
        for (algorithm, digest) in rows {
            file.rewind().unwrap();
            assert_eq!(of_file(algorithm, &mut file).unwrap(), (digest.to_owned(), 3));
            assert_eq!(Algorithm::named(algorithm.name().as_bytes()), Some(algorithm));
        }
    }
}
