//! Lines about files: LIST as `ls -l` writes it, MLSD and MLST with their facts (RFC 3659).

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::files::{Entry, EntryKind};

/// LIST gives the year in place of the hour for what is older.
const RECENT_SECONDS: i64 = 180 * 24 * 3600;

/// The facts of MLST, and which of them a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts([bool; Facts::NAMES.len()]);

impl Facts {
    const NAMES: [&'static str; 5] = ["type", "size", "modify", "UNIX.mode", "unique"];

    pub(super) const ALL: Facts = Facts([true; Facts::NAMES.len()]);

    /// Those of `wanted` that there are; others are left out silently, as RFC 3659 has it.
    pub(super) fn chosen(wanted: &[u8]) -> Facts {
        Facts(Facts::NAMES.map(|name| {
            wanted.split(|b| *b == b';').any(|one| one.eq_ignore_ascii_case(name.as_bytes()))
        }))
    }

    /// What stands in FEAT: all facts, those in use with a star.
    pub(super) fn feature(self) -> String {
        let fact = |(name, on): (&str, bool)| format!("{name}{};", if on { "*" } else { "" });
        Facts::NAMES.into_iter().zip(self.0).map(fact).collect()
    }

    /// The facts in use.
    pub(super) fn names(self) -> String {
        let used = Facts::NAMES.into_iter().zip(self.0).filter(|(_, on)| *on);
        used.map(|(name, _)| format!("{name};")).collect()
    }

    /// The facts of an entry, with their values.
    pub(super) fn of(self, entry: &Entry) -> String {
        let version = &entry.version;
        let is_file = entry.kind == EntryKind::File;
        let values = [
            Some(if is_file { "file" } else { "dir" }.to_owned()),
            is_file.then(|| version.bytes.to_string()),
            Some(compact_time(entry)),
            Some(format!("{:04o}", entry.mode)),
            // An upload under way is no file yet.
            (version.inode != 0).then(|| format!("{:x}g{:x}", version.device, version.inode)),
        ];
        let facts = Facts::NAMES.into_iter().zip(self.0).zip(values);
        facts
            .filter_map(|((name, on), value)| Some(format!("{name}={};", value.filter(|_| on)?)))
            .collect()
    }
}

/// The time of the last change as MDTM and the facts write it.
pub(super) fn compact_time(entry: &Entry) -> String {
    modified(entry).strftime("%Y%m%d%H%M%S").to_string()
}

/// A line of MLSD, without its end.
pub(super) fn facts_line(entry: &Entry, facts: Facts) -> Vec<u8> {
    let mut line = facts.of(entry).into_bytes();
    line.push(b' ');
    line.extend(&entry.name);
    line
}

/// A line of LIST, without its end.
pub(super) fn long_line(entry: &Entry, now: Timestamp) -> Vec<u8> {
    let modified = modified(entry);
    let age = now.as_second() - modified.timestamp().as_second();
    // A day ahead is a clock that is a little fast, not last year.
    let recent = (-24 * 3600..RECENT_SECONDS).contains(&age);
    let time = modified.strftime(if recent { "%b %e %H:%M" } else { "%b %e  %Y" });
    let kind = if entry.kind == EntryKind::Folder { 'd' } else { '-' };
    let (mode, bytes) = (permissions(entry.mode), entry.version.bytes);
    let mut line = format!("{kind}{mode}   1 ftp      ftp      {bytes:>12} {time} ").into_bytes();
    line.extend(&entry.name);
    line
}

/// Whether a name can stand on a line; others cannot be told over FTP.
pub(super) fn can_be_told(name: &[u8]) -> bool {
    !name.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))
}

fn permissions(mode: u32) -> String {
    let bit = |shift: u32, letter| if mode >> shift & 1 == 1 { letter } else { '-' };
    (0..9u32).rev().zip("rwxrwxrwx".chars()).map(|(shift, letter)| bit(shift, letter)).collect()
}

fn modified(entry: &Entry) -> Zoned {
    let nanoseconds = entry.version.modified_ns;
    let time = Timestamp::from_nanosecond(nanoseconds).unwrap_or(Timestamp::UNIX_EPOCH);
    time.to_zoned(TimeZone::UTC)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FileVersion;

    fn entry(kind: EntryKind, modified: &str, name: &[u8]) -> Entry {
        let modified: Timestamp = modified.parse().unwrap();
        let modified_ns = modified.as_nanosecond();
        let version = FileVersion { device: 10, inode: 255, bytes: 1234, modified_ns };
        Entry { name: name.to_vec(), kind, mode: 0o640, version }
    }

    #[test]
    fn lines_are_as_clients_parse_them() {
        let now = "2026-11-23T08:30:00Z".parse().unwrap();
        let rows = [
            (
                entry(EntryKind::File, "2026-11-03T08:05:06.5Z", b"a b"),
                "-rw-r-----   1 ftp      ftp              1234 Nov  3 08:05 a b",
                "type=file;size=1234;modify=20261103080506;UNIX.mode=0640;unique=agff; a b",
            ),
            (
                entry(EntryKind::Folder, "2024-02-29T23:59:59Z", b"in"),
                "drw-r-----   1 ftp      ftp              1234 Feb 29  2024 in",
                "type=dir;modify=20240229235959;UNIX.mode=0640;unique=agff; in",
            ),
        ];
        for (entry, long, facts) in rows {
            assert_eq!(String::from_utf8(long_line(&entry, now)).unwrap(), long);
            assert_eq!(String::from_utf8(facts_line(&entry, Facts::ALL)).unwrap(), facts);
        }
        let latin = entry(EntryKind::File, "2026-11-03T08:05:06Z", b"\xfc");
        assert!(long_line(&latin, now).ends_with(b" \xfc"));
        assert!(can_be_told(b"\x1b[31m") && !can_be_told(b"a\nb") && !can_be_told(b"a\rb"));
    }

    #[test]
    fn clients_choose_their_facts() {
        let chosen = Facts::chosen(b"Size;type;perm;");
        assert_eq!(chosen.names(), "type;size;");
        assert_eq!(chosen.feature(), "type*;size*;modify;UNIX.mode;unique;");
        assert_eq!(Facts::chosen(b"").names(), "");
        let file = entry(EntryKind::File, "2026-11-03T08:05:06Z", b"a");
        assert_eq!(chosen.of(&file), "type=file;size=1234;");
    }
}
