//! Answers of SFTP version 3, written one behind the other.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::files::{Entry, EntryKind, HomeError};

/// The codes of version 3 that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    Ok = 0,
    Eof = 1,
    NoSuchFile = 2,
    PermissionDenied = 3,
    Failure = 4,
    Unsupported = 8,
}

/// Extensions the server tells of, with their versions.
const EXTENSIONS: &[(&str, &str)] = &[
    ("posix-rename@openssh.com", "1"),
    ("statvfs@openssh.com", "2"),
    ("fsync@openssh.com", "1"),
    ("limits@openssh.com", "1"),
];

/// Length, kind, id and length of the data, before the data of a DATA answer.
pub(super) const DATA_HEADER_BYTES: usize = 13;

pub(super) fn version(out: &mut Vec<u8>) {
    packet(out, 2, |out| {
        number(out, 3);
        for (name, version) in EXTENSIONS {
            bytes(out, name.as_bytes());
            bytes(out, version.as_bytes());
        }
    });
}

pub(super) fn status(out: &mut Vec<u8>, id: u32, code: Code, sentence: &str) {
    packet(out, 101, |out| {
        number(out, id);
        number(out, code as u32);
        bytes(out, sentence.as_bytes());
        bytes(out, b"en");
    });
}

/// The status for a refused wish, with the sentence that says why.
pub(super) fn refusal(out: &mut Vec<u8>, id: u32, error: &HomeError) {
    let code = match error {
        HomeError::NotFound => Code::NoSuchFile,
        HomeError::Refused(_) => Code::PermissionDenied,
        _ => Code::Failure,
    };
    status(out, id, code, &error.to_string());
}

pub(super) fn handle(out: &mut Vec<u8>, id: u32, handle: &[u8]) {
    packet(out, 102, |out| {
        number(out, id);
        bytes(out, handle);
    });
}

/// The beginning of a DATA answer, with room for `length` bytes behind it. `end_data` must follow.
pub(super) fn begin_data(id: u32, length: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(DATA_HEADER_BYTES + length);
    out.extend_from_slice(&[0, 0, 0, 0, 103]);
    number(&mut out, id);
    number(&mut out, 0);
    out
}

/// Puts the lengths in; returns how many bytes of data there are.
pub(super) fn end_data(out: &mut [u8]) -> usize {
    let (length, count) = (out.len() - 4, out.len() - DATA_HEADER_BYTES);
    out[..4].copy_from_slice(&(length as u32).to_be_bytes());
    out[9..13].copy_from_slice(&(count as u32).to_be_bytes());
    count
}

/// The answer to REALPATH: one name, no attributes.
pub(super) fn path(out: &mut Vec<u8>, id: u32, path: &[u8]) {
    packet(out, 104, |out| {
        number(out, id);
        number(out, 1);
        bytes(out, path);
        bytes(out, path);
        number(out, 0);
    });
}

pub(super) fn names(out: &mut Vec<u8>, id: u32, entries: &[Entry], now: Timestamp) {
    packet(out, 104, |out| {
        number(out, id);
        number(out, entries.len() as u32);
        for entry in entries {
            bytes(out, &entry.name);
            bytes(out, &long_name(entry, now));
            write_attributes(out, entry);
        }
    });
}

pub(super) fn attributes(out: &mut Vec<u8>, id: u32, entry: &Entry) {
    packet(out, 105, |out| {
        number(out, id);
        write_attributes(out, entry);
    });
}

/// The answer to `limits@openssh.com`: packet, read, write, handles.
pub(super) fn limits(out: &mut Vec<u8>, id: u32, limits: [u64; 4]) {
    packet(out, 201, |out| {
        number(out, id);
        for limit in limits {
            out.extend_from_slice(&limit.to_be_bytes());
        }
    });
}

/// The answer to `statvfs@openssh.com`; numbers of files are not told.
pub(super) fn space(out: &mut Vec<u8>, id: u32, free_bytes: u64, total_bytes: u64) {
    const BLOCK_BYTES: u64 = 4096;
    let (free, total) = (free_bytes / BLOCK_BYTES, total_bytes / BLOCK_BYTES);
    packet(out, 201, |out| {
        number(out, id);
        let fields = [BLOCK_BYTES, BLOCK_BYTES, total, free, free, 0, 0, 0, 0, 0, 255];
        for field in fields {
            out.extend_from_slice(&field.to_be_bytes());
        }
    });
}

fn write_attributes(out: &mut Vec<u8>, entry: &Entry) {
    const LENGTH: u32 = 1;
    const OWNER: u32 = 2;
    const PERMISSIONS: u32 = 4;
    const TIMES: u32 = 8;
    let kind = if entry.kind == EntryKind::Folder { 0o040_000 } else { 0o100_000 };
    let modified =
        (entry.version.modified_ns / 1_000_000_000).clamp(0, i128::from(u32::MAX)) as u32;
    number(out, LENGTH | OWNER | PERMISSIONS | TIMES);
    out.extend_from_slice(&entry.version.bytes.to_be_bytes());
    for field in [0, 0, kind | entry.mode, modified, modified] {
        number(out, field);
    }
}

/// A line as of `ls -l`, which some clients show or even read.
fn long_name(entry: &Entry, now: Timestamp) -> Vec<u8> {
    const HALF_A_YEAR_SECONDS: i64 = 180 * 24 * 3600;
    let folder = if entry.kind == EntryKind::Folder { 'd' } else { '-' };
    let mut mode = String::new();
    for bit in (0..9).rev() {
        let letter = ['x', 'w', 'r'][bit % 3];
        mode.push(if entry.mode & (1 << bit) != 0 { letter } else { '-' });
    }
    let seconds = (entry.version.modified_ns / 1_000_000_000) as i64;
    let modified = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
    let recent = (now.as_second() - seconds).abs() < HALF_A_YEAR_SECONDS;
    let format = if recent { "%b %e %H:%M" } else { "%b %e  %Y" };
    let date = modified.to_zoned(TimeZone::UTC).strftime(format).to_string();
    let bytes = entry.version.bytes;
    let mut line =
        format!("{folder}{mode}    1 0        0        {bytes:>12} {date} ").into_bytes();
    line.extend_from_slice(&entry.name);
    line
}

fn packet(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, kind]);
    body(out);
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

fn number(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    number(out, value.len() as u32);
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FileVersion;

    #[test]
    fn lines_look_like_those_of_ls() {
        let version = FileVersion { device: 0, inode: 0, bytes: 12, modified_ns: 1_000_000_000 };
        let entry = Entry { name: b"a\xff".to_vec(), kind: EntryKind::File, mode: 0o640, version };
        let line = long_name(&entry, Timestamp::from_second(100).unwrap());
        let expected = b"-rw-r-----    1 0        0                  12 Jan  1 00:00 a\xff";
        assert_eq!(line, expected);
    }

    #[test]
    fn data_stands_behind_its_lengths() {
        let mut out = begin_data(1, 4);
        assert_eq!((out.len(), out.capacity()), (DATA_HEADER_BYTES, DATA_HEADER_BYTES + 4));
        out.extend_from_slice(b"ab");
        assert_eq!(end_data(&mut out), 2);
        assert_eq!(out, b"\0\0\0\x0b\x67\0\0\0\x01\0\0\0\x02ab");
    }
}
