//! Rules about single file names.

use super::HomeError;

/// Longest name in an inbox, in bytes: answers add a suffix and must stay below 255.
const INBOX_NAME_MAX_BYTES: usize = 200;

const TEMPORARY_ENDINGS: &[&[u8]] = &[
    b".tmp",
    b".temp",
    b".part",
    b".partial",
    b".filepart",
    b".crdownload",
    b".writing",
    b".lock",
];

/// True for the names clients give a file they are still writing; such a file is never taken.
pub fn is_temporary_name(name: &[u8]) -> bool {
    if matches!(name.first(), Some(b'.' | b'~')) {
        return true;
    }
    TEMPORARY_ENDINGS.iter().any(|ending| {
        name.len() >= ending.len() && name[name.len() - ending.len()..].eq_ignore_ascii_case(ending)
    })
}

/// Holds a name in an inbox against the contract.
pub(super) fn check_inbox_name(name: &[u8]) -> Result<(), HomeError> {
    let Ok(text) = std::str::from_utf8(name) else {
        return Err(HomeError::NameRefused(
            "the file name is not valid UTF-8: rename it, with plain letters or as UTF-8",
        ));
    };
    if name.len() > INBOX_NAME_MAX_BYTES {
        return Err(HomeError::NameRefused(
            "the file name is longer than 200 bytes: rename it, shorter",
        ));
    }
    if text.chars().any(char::is_control) {
        return Err(HomeError::NameRefused(
            "the file name holds a control character: rename it, without",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_names_are_told_by_beginning_and_end() {
        for name in [".a.csv", "~a.csv", "a.csv.TMP", "a.filepart", "a.Part", ".", "a.csv.lock"] {
            assert!(is_temporary_name(name.as_bytes()), "{name}");
        }
        for name in ["a.csv", "tmp", "a.tmp.csv", "a~", "part", ""] {
            assert!(!is_temporary_name(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn inbox_names_are_utf8_short_and_printable() {
        for name in [b"M\xc3\xbcller.csv".as_slice(), &[b'a'; 200], b"a b;c.csv"] {
            assert!(check_inbox_name(name).is_ok(), "{name:?}");
        }
        for name in [b"M\xfcller.csv".as_slice(), &[b'a'; 201], b"a\nb", b"a\x7f", b"\xc2\x85"] {
            assert!(check_inbox_name(name).is_err(), "{name:?}");
        }
    }
}
