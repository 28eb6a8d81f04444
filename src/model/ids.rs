//! Ids: what names a tenant and a batch, in memory and on paper.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// An id whose text is not of the right form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {found:?} {allowed}")]
pub struct InvalidId {
    /// Which id: `tenant`, `batch`.
    pub what: &'static str,
    /// The text that was given.
    pub found: String,
    /// What is allowed, as a fragment that follows the text.
    pub allowed: &'static str,
}

/// The partner organisation: owns an inbox, an outbox and limits.
///
/// One to 64 of `a-z 0-9 - _`, beginning with a letter or digit: it is also a folder's name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(Arc<str>);

impl TenantId {
    /// Longest tenant id, in bytes.
    pub const MAX_BYTES: usize = 64;

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TenantId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<TenantId, InvalidId> {
        let bytes = text.as_bytes();
        let first_ok = bytes.first().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let rest_ok = bytes
            .iter()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'));
        if first_ok && rest_ok && bytes.len() <= TenantId::MAX_BYTES {
            return Ok(TenantId(text.into()));
        }
        Err(InvalidId {
            what: "tenant",
            found: text.to_owned(),
            allowed: "must be 1 to 64 of a-z, 0-9, '-' and '_', beginning with a letter or digit",
        })
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// All work from one claimed file. Sorts by time; printed as 13 characters of Crockford's base 32,
/// lower case, so that it can stand in a file name and be read over a telephone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchId(u64);

const CROCKFORD: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 2026-01-01T00:00:00Z in milliseconds: 42 bits of milliseconds from here reach the year 2165.
const BATCH_EPOCH_MS: i64 = 1_767_225_600_000;
const BATCH_DICE_BITS: u32 = 22;

impl BatchId {
    /// An id made of a moment and some dice.
    pub fn new(now: jiff::Timestamp, dice: u64) -> BatchId {
        let millis = (now.as_millisecond() - BATCH_EPOCH_MS).max(0) as u64;
        let low = dice & ((1 << BATCH_DICE_BITS) - 1);
        BatchId((millis << BATCH_DICE_BITS) | low)
    }

    /// The next id, for the caller that found this one taken.
    pub fn next(self) -> BatchId {
        BatchId(self.0.wrapping_add(1))
    }

    pub fn from_u64(raw: u64) -> BatchId {
        BatchId(raw)
    }

    pub fn as_u64(self) -> u64 {
        self.0
    }

    /// The stable name of one row's message: idempotency key and client reference at providers.
    pub fn message_id(self, row: u64) -> String {
        format!("{self}-{row}")
    }
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 13];
        for (index, byte) in text.iter_mut().rev().enumerate() {
            *byte = CROCKFORD[((self.0 >> (index * 5)) & 31) as usize];
        }
        f.write_str(std::str::from_utf8(&text).expect("the alphabet is ASCII"))
    }
}

impl FromStr for BatchId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<BatchId, InvalidId> {
        let invalid = || InvalidId {
            what: "batch",
            found: text.to_owned(),
            allowed: "must be the 13 letters and digits of a batch_id",
        };
        if text.len() != 13 {
            return Err(invalid());
        }
        let mut raw: u64 = 0;
        for (index, byte) in text.bytes().enumerate() {
            let lower = byte.to_ascii_lowercase();
            let digit = CROCKFORD.iter().position(|c| *c == lower).ok_or_else(invalid)? as u64;
            if index == 0 && digit > 15 {
                return Err(invalid());
            }
            raw = (raw << 5) | digit;
        }
        Ok(BatchId(raw))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batch_ids_sort_by_time_and_read_back() {
        let early = BatchId::new("2026-11-22T10:00:00Z".parse().unwrap(), u64::MAX);
        let late = BatchId::new("2026-11-22T10:00:00.001Z".parse().unwrap(), 0);
        assert!(early < late);
        assert!(early.to_string() < late.to_string());
        assert_eq!(early.to_string().parse::<BatchId>().unwrap(), early);
        assert_eq!(u64::MAX.to_string().parse::<BatchId>().ok(), None);
        assert_eq!(BatchId(u64::MAX).to_string().parse::<BatchId>().unwrap(), BatchId(u64::MAX));
    }

    #[test]
    fn tenant_ids_are_safe_folder_names() {
        for good in ["acme", "a", "0-x_y"] {
            assert!(good.parse::<TenantId>().is_ok(), "{good}");
        }
        for bad in ["", "Acme", "..", "-a", "a/b", "a b", "ä", &"a".repeat(65)] {
            assert!(bad.parse::<TenantId>().is_err(), "{bad}");
        }
    }
}
